//! `_TestLock`, of a `Lock`.
//!
//! On purpose different from Python: a lock belongs to the thread that acquired it, and only its guard
//! releases it. So "released by another" and "released when it is free" (ValueError) cannot be written down;
//! for handing on, there is a semaphore of one permit. And a holder that dies is told: in Python, everybody
//! else waits for ever.

use crate::ground::{Ground, SHORT, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{Event, HolderEnd, Lock, LockError};
use std::time::{Duration, Instant};

conforms!(
    it_is_refused_while_it_is_held_and_free_again_when_released,
    each_process_sees_who_of_them_holds_it,
    who_waits_gets_it_when_it_is_released,
    leaving_the_scope_releases_it_and_a_panic_is_told,
    debug_shows_this_process_another_one_or_none,
    a_timeout_runs_out_and_zero_does_not_wait,
    an_acquisition_by_the_holder_is_an_error_and_not_a_deadlock,
    a_holder_that_is_killed_is_told_and_the_lock_recovered,
    a_holder_that_ends_without_releasing_is_told_too,
);

fn is_refused(lock: Sent<Lock>) -> bool {
    matches!(lock.try_acquire(), Err(LockError::WouldBlock { .. }))
}

fn holder(lock: Sent<Lock>) -> Option<u32> {
    lock.holder().map(|holder| holder.pid)
}

/// Says when it has the lock, and releases it when it is told to.
fn hold((lock, held, release): (Sent<Lock>, Sent<Event>, Sent<Event>)) {
    let guard = lock.acquire().unwrap();
    held.set();
    release.wait().unwrap();
    drop(guard);
}

// test_lock
fn it_is_refused_while_it_is_held_and_free_again_when_released(ground: &Ground) {
    let lock = ground.make(Lock::options());
    let guard = lock.acquire().unwrap();
    assert!(matches!(lock.try_acquire(), Err(LockError::WouldBlock { .. })));
    assert!(elsewhere(is_refused, lock.send()));
    drop(guard);
    assert!(!elsewhere(is_refused, lock.send()));
    drop(lock.try_acquire().unwrap());
}

// test_lock_locked_2processes (3.14)
fn each_process_sees_who_of_them_holds_it(ground: &Ground) {
    let lock = ground.make(Lock::options());
    let (held, release) = (ground.make(Event::options()), ground.make(Event::options()));
    assert_eq!((holder(lock.send()), elsewhere(holder, lock.send())), (None, None));
    let other = child(hold, (lock.send(), held.send(), release.send()));
    held.wait().unwrap();
    assert_eq!(holder(lock.send()), Some(other.pid()));
    assert_eq!(elsewhere(holder, lock.send()), Some(other.pid()));
    assert!(is_refused(lock.send()));
    release.set();
    other.join().unwrap();
    assert_eq!(holder(lock.send()), None);
    let _guard = lock.acquire().unwrap();
    assert_eq!(elsewhere(holder, lock.send()), Some(std::process::id()));
}

// test_lock, where it blocks
fn who_waits_gets_it_when_it_is_released(ground: &Ground) {
    let (lock, line) = (ground.make(Lock::options()), ground.line());
    let guard = lock.acquire().unwrap();
    let wait = |(lock, line): (Sent<Lock>, crate::ground::Line)| {
        line.waits_now();
        lock.acquire_timeout(Duration::MAX).is_ok()
    };
    let waiter = child(wait, (lock.send(), line.clone()));
    line.falls_asleep(&waiter);
    drop(guard);
    assert!(waiter.join().unwrap());
}

// test_lock_context
fn leaving_the_scope_releases_it_and_a_panic_is_told(ground: &Ground) {
    let lock = ground.make(Lock::options());
    {
        let _guard = lock.acquire().unwrap();
        assert!(is_refused(lock.send()) && elsewhere(is_refused, lock.send()));
    }
    let panics = |lock: Sent<Lock>| {
        let _guard = lock.acquire().unwrap();
        panic!("holding the lock");
    };
    let other: procession::Process<()> = child(panics, lock.send());
    assert!(other.join().unwrap_err().to_string().contains("holding the lock"));
    // As with a `std::sync::Mutex`, and other than in Python: what it guards may be half-changed.
    assert!(matches!(lock.acquire(), Err(LockError::OwnerDied { end: HolderEnd::Panicked, .. })));
    drop(lock.recover().unwrap());
    drop(lock.acquire().unwrap());
}

// test_repr_lock (3.14)
fn debug_shows_this_process_another_one_or_none(ground: &Ground) {
    let lock = ground.make(Lock::options());
    let show = |lock: Sent<Lock>| format!("{:?}", *lock);
    assert!(show(lock.send()).contains("holder: None"), "{}", show(lock.send()));
    let _guard = lock.acquire().unwrap();
    let mine = format!("holder: Some(Holder {{ pid: {}", std::process::id());
    for shown in [show(lock.send()), elsewhere(show, lock.send())] {
        assert!(shown.contains(&mine), "{shown}");
    }
}

// _TestSemaphore.test_timeout, of a lock
fn a_timeout_runs_out_and_zero_does_not_wait(ground: &Ground) {
    let lock = ground.make(Lock::options());
    let _guard = lock.acquire().unwrap();
    let times_out = |lock: Sent<Lock>| {
        assert!(matches!(lock.acquire_timeout(Duration::ZERO), Err(LockError::TimedOut { .. })));
        let start = Instant::now();
        assert!(matches!(lock.acquire_timeout(SHORT), Err(LockError::TimedOut { .. })));
        start.elapsed() >= SHORT
    };
    assert!(elsewhere(times_out, lock.send()));
}

// None: in Python it hangs.
fn an_acquisition_by_the_holder_is_an_error_and_not_a_deadlock(ground: &Ground) {
    let lock = ground.make(Lock::options());
    let _guard = lock.acquire().unwrap();
    assert!(matches!(lock.acquire(), Err(LockError::Deadlock { .. })));
    assert!(matches!(lock.send().acquire_timeout(Duration::MAX), Err(LockError::Deadlock { .. })));
}

// None: in Python all others hang.
fn a_holder_that_is_killed_is_told_and_the_lock_recovered(ground: &Ground) {
    let (lock, held) = (ground.make(Lock::options()), ground.make(Event::options()));
    let die = |(lock, held): (Sent<Lock>, Sent<Event>)| {
        let _guard = lock.acquire().unwrap();
        held.set();
        for_ever();
    };
    let other: procession::Process<()> = child(die, (lock.send(), held.send()));
    held.wait().unwrap();
    kill(&other);
    let pid = other.pid();
    assert!(matches!(lock.acquire(), Err(LockError::OwnerDied { pid: died, .. }) if died == pid));
    assert!(elsewhere(|lock: Sent<Lock>| lock.is_inconsistent(), lock.send()));
    drop(lock.recover().unwrap());
    assert!(elsewhere(|lock: Sent<Lock>| lock.acquire().is_ok(), lock.send()));
}

// None: in Python the lock stays held for ever.
fn a_holder_that_ends_without_releasing_is_told_too(ground: &Ground) {
    let lock = ground.make(Lock::options());
    elsewhere(|lock: Sent<Lock>| std::mem::forget(lock.acquire().unwrap()), lock.send());
    assert!(matches!(lock.acquire(), Err(LockError::OwnerDied { .. })));
    drop(lock.recover().unwrap());
}
