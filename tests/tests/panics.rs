//! A panic under a lock is told like a death: what the lock guards may be half-changed. And holds without a
//! borrowed guard.

use procession::{Condition, HolderEnd, Lock, LockError, OnOwnerDeath, RLock, RwLock, Value};
use procession_tests::Scratch;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

procession::test_support!();

/// Panics while it holds what `hold` gets.
fn panic_with<G>(hold: impl FnOnce() -> G) {
    let holder = || {
        let _guard = hold();
        panic!("on purpose");
    };
    catch_unwind(AssertUnwindSafe(holder)).unwrap_err();
}

/// Drops what `hold` gets while a panic is under way that began before.
fn hold_in_a_panic<G>(hold: impl Fn() -> G) {
    struct Holds<'a>(&'a dyn Fn());
    impl Drop for Holds<'_> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let panics = || {
        let holds = || drop(hold());
        let _holds = Holds(&holds);
        panic!("on purpose");
    };
    catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
}

/// Whether it says that this process panicked under it.
fn is_told<G>(outcome: Result<G, LockError>) -> bool {
    let me = std::process::id();
    matches!(outcome, Err(LockError::OwnerDied { pid, end: HolderEnd::Panicked, .. }) if pid == me)
}

#[test]
fn a_panic_under_a_lock_is_told_until_somebody_puts_it_right() {
    let scratch = Scratch::new();
    let lock = Lock::options().namespace(&scratch).anonymous().unwrap();
    panic_with(|| lock.acquire().unwrap());
    assert!(lock.holder().is_none() && lock.is_inconsistent());
    assert!(is_told(lock.acquire()) && is_told(lock.try_acquire()));
    let said = lock.acquire().unwrap_err().to_string();
    assert!(said.starts_with("a panic struck the holder of an unnamed lock (pid "), "{said}");
    // Who puts it right may panic, too.
    panic_with(|| lock.recover().unwrap());
    assert!(is_told(lock.acquire()));
    assert!(lock.recover().unwrap().recovers());
    drop(lock.acquire().unwrap());
}

#[test]
fn a_panic_that_began_before_is_none_of_a_guards_business() {
    let scratch = Scratch::new();
    let lock = Lock::options().namespace(&scratch).anonymous().unwrap();
    let rlock = RLock::options().namespace(&scratch).anonymous().unwrap();
    let rwlock = RwLock::options().namespace(&scratch).anonymous().unwrap();
    hold_in_a_panic(|| (lock.acquire().unwrap(), rlock.acquire().unwrap(), rwlock.write().unwrap()));
    drop((lock.acquire().unwrap(), rlock.acquire().unwrap(), rwlock.write().unwrap()));
}

#[test]
fn who_ignores_deaths_ignores_panics() {
    let scratch = Scratch::new();
    let ignore = OnOwnerDeath::Ignore;
    let lock = Lock::options().namespace(&scratch).on_owner_death(ignore).anonymous().unwrap();
    let rlock = RLock::options().namespace(&scratch).on_owner_death(ignore).anonymous().unwrap();
    let rwlock = RwLock::options().namespace(&scratch).on_owner_death(ignore).anonymous().unwrap();
    panic_with(|| (lock.acquire().unwrap(), rlock.acquire().unwrap(), rwlock.write().unwrap()));
    assert!(!lock.is_inconsistent() && !rlock.is_inconsistent() && !rwlock.is_inconsistent());
    drop((lock.acquire().unwrap(), rlock.acquire().unwrap(), rwlock.read().unwrap()));
}

#[test]
fn a_panic_at_any_depth_of_a_recursive_lock_is_told_when_the_last_guard_is_gone() {
    let scratch = Scratch::new();
    let lock = RLock::options().namespace(&scratch).anonymous().unwrap();
    let outer = lock.acquire().unwrap();
    panic_with(|| lock.acquire().unwrap());
    assert_eq!(outer.depth(), 1);
    drop(lock.acquire().unwrap());
    drop(outer);
    assert!(is_told(lock.acquire()));
    drop(lock.recover().unwrap());
    drop(lock.acquire().unwrap());
    panic_with(|| (lock.acquire().unwrap(), lock.acquire().unwrap()));
    assert!(is_told(lock.acquire()));
}

#[test]
fn a_writers_panic_is_told_to_readers_and_writers_and_a_readers_to_nobody() {
    let scratch = Scratch::new();
    let lock = RwLock::options().namespace(&scratch).anonymous().unwrap();
    panic_with(|| lock.read().unwrap());
    panic_with(|| lock.write().unwrap());
    assert!(lock.is_inconsistent() && lock.writer().is_none());
    assert!(is_told(lock.read()) && is_told(lock.try_write()));
    panic_with(|| lock.recover().unwrap());
    assert!(is_told(lock.write()));
    drop(lock.recover().unwrap());
    drop(lock.read().unwrap());
}

#[test]
fn a_panic_with_a_value_changes_nothing_and_makes_those_who_wait_look_again() {
    let scratch = Scratch::new();
    let stock = Value::<u32>::options().namespace(&scratch).initial(1).anonymous().unwrap();
    let changed = Condition::options().namespace(&scratch).anonymous().unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let (_stock, waited) = changed.wait_timeout(stock.acquire().unwrap(), Duration::MAX).unwrap();
            waited.timed_out()
        });
        procession_tests::until("it waits", || changed.waiters() == 1);
        // It was about to notify.
        panic_with(|| {
            let mut stock = stock.acquire().unwrap();
            *stock = 2;
            stock
        });
        assert!(!waits.join().unwrap());
    });
    assert_eq!(stock.get().unwrap(), 1);
}

#[test]
fn a_hold_that_owns_its_lock_ends_with_it_and_one_without_a_guard_by_release() {
    let scratch = Scratch::new();
    let lock = Lock::options().namespace(&scratch).anonymous().unwrap();
    let rlock = RLock::options().namespace(&scratch).anonymous().unwrap();
    let owned = lock.clone().acquire_owned().unwrap();
    assert!(matches!(lock.try_acquire(), Err(LockError::WouldBlock(_))));
    drop(owned);
    panic_with(|| lock.acquire_owned().unwrap());
    assert!(is_told(lock.acquire()) && lock.try_recover().unwrap().recovers());
    assert!(matches!(lock.release(), Err(LockError::NotHeld { .. })));
    std::mem::forget((lock.acquire().unwrap(), rlock.acquire().unwrap(), rlock.acquire().unwrap()));
    std::thread::scope(|scope| {
        let elsewhere = || matches!(lock.release(), Err(LockError::NotHeld { .. }));
        assert!(scope.spawn(elsewhere).join().unwrap());
    });
    lock.release().unwrap();
    drop(lock.acquire().unwrap());
    rlock.release().unwrap();
    assert!(rlock.holder().is_some());
    rlock.release().unwrap();
    assert!(rlock.holder().is_none() && matches!(rlock.release(), Err(LockError::NotHeld { .. })));
}
