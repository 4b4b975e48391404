//! `_TestLock`, of an `RLock`.
//!
//! On purpose different from Python: a guard cannot leave its thread, so "released by another"
//! (AssertionError) does not compile, and "released too often" cannot be written down. A holder that dies is
//! told.

use crate::ground::{Ground, Line, SHORT, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{Event, HolderEnd, LockError, RLock};
use std::time::{Duration, Instant};

conforms!(
    it_is_held_until_it_was_released_as_often_as_acquired,
    another_thread_of_the_same_process_is_another,
    who_waits_gets_it_when_the_last_guard_is_dropped,
    leaving_the_scopes_releases_it_and_a_panic_is_told,
    debug_shows_the_holder_and_how_often,
    a_timeout_runs_out_and_zero_does_not_wait,
    a_holder_that_is_killed_at_some_depth_is_told_and_the_lock_recovered,
);

fn is_refused(lock: Sent<RLock>) -> bool {
    matches!(lock.try_acquire(), Err(LockError::WouldBlock { .. }))
}

// test_rlock, test_rlock_locked_2processes (3.14)
fn it_is_held_until_it_was_released_as_often_as_acquired(ground: &Ground) {
    let lock = ground.make(RLock::options());
    let mut guards = Vec::new();
    for depth in 1..=3 {
        let guard = if depth == 2 { lock.try_acquire() } else { lock.acquire() };
        guards.push(guard.unwrap());
        assert_eq!(guards[0].depth(), depth);
    }
    while let Some(guard) = guards.pop() {
        assert!(elsewhere(is_refused, lock.send()));
        drop(guard);
    }
    assert!(lock.holder().is_none());
    assert!(!elsewhere(is_refused, lock.send()));
}

// test_repr_rlock (3.14), "SomeOtherThread"
fn another_thread_of_the_same_process_is_another(ground: &Ground) {
    let lock = ground.make(RLock::options());
    let _guard = lock.acquire().unwrap();
    let in_thread = |f: fn(Sent<RLock>) -> bool| {
        let lock = lock.send();
        std::thread::spawn(move || f(lock)).join().unwrap()
    };
    assert!(in_thread(is_refused));
    assert!(in_thread(|lock| matches!(lock.acquire_timeout(SHORT), Err(LockError::TimedOut { .. }))));
}

// test_rlock, where it blocks
fn who_waits_gets_it_when_the_last_guard_is_dropped(ground: &Ground) {
    let (lock, line) = (ground.make(RLock::options()), ground.line());
    let (outer, inner) = (lock.acquire().unwrap(), lock.acquire().unwrap());
    let wait = |(lock, line): (Sent<RLock>, Line)| {
        line.waits_now();
        lock.acquire_timeout(Duration::MAX).map(|guard| guard.depth()).ok()
    };
    let waiter = child(wait, (lock.send(), line.clone()));
    line.falls_asleep(&waiter);
    // In no order: the guards are alike.
    drop(outer);
    assert!(elsewhere(is_refused, lock.send()));
    line.falls_asleep(&waiter);
    drop(inner);
    assert_eq!(waiter.join().unwrap(), Some(1));
}

// test_rlock_context
fn leaving_the_scopes_releases_it_and_a_panic_is_told(ground: &Ground) {
    let lock = ground.make(RLock::options());
    {
        let _outer = lock.acquire().unwrap();
        {
            let _inner = lock.acquire().unwrap();
        }
        assert!(elsewhere(is_refused, lock.send()));
    }
    let panics = |lock: Sent<RLock>| {
        let _guards = [lock.acquire().unwrap(), lock.acquire().unwrap()];
        panic!("holding the lock");
    };
    let other: procession::Process<()> = child(panics, lock.send());
    assert!(other.join().unwrap_err().to_string().contains("holding the lock"));
    assert!(matches!(lock.acquire(), Err(LockError::OwnerDied { end: HolderEnd::Panicked, .. })));
    drop(lock.recover().unwrap());
    drop(lock.acquire().unwrap());
}

// test_repr_rlock (3.14)
fn debug_shows_the_holder_and_how_often(ground: &Ground) {
    let lock = ground.make(RLock::options());
    let show = |lock: Sent<RLock>| format!("{:?}", *lock);
    let free = show(lock.send());
    assert!(free.contains("holder: None") && free.contains("depth: 0"), "{free}");
    let _guards = [lock.acquire().unwrap(), lock.acquire().unwrap()];
    let mine = format!("holder: Some(Holder {{ pid: {}", std::process::id());
    for shown in [show(lock.send()), elsewhere(show, lock.send())] {
        assert!(shown.contains(&mine) && shown.contains("depth: 2"), "{shown}");
    }
}

// _TestSemaphore.test_timeout, of a lock
fn a_timeout_runs_out_and_zero_does_not_wait(ground: &Ground) {
    let lock = ground.make(RLock::options());
    let _guard = lock.acquire().unwrap();
    // Its holder does not wait for itself, however short the timeout.
    drop(lock.acquire_timeout(Duration::ZERO).unwrap());
    let times_out = |lock: Sent<RLock>| {
        assert!(matches!(lock.acquire_timeout(Duration::ZERO), Err(LockError::TimedOut { .. })));
        let start = Instant::now();
        assert!(matches!(lock.acquire_timeout(SHORT), Err(LockError::TimedOut { .. })));
        start.elapsed() >= SHORT
    };
    assert!(elsewhere(times_out, lock.send()));
}

// None: in Python all others hang.
fn a_holder_that_is_killed_at_some_depth_is_told_and_the_lock_recovered(ground: &Ground) {
    let (lock, held) = (ground.make(RLock::options()), ground.make(Event::options()));
    let die = |(lock, held): (Sent<RLock>, Sent<Event>)| {
        let _guards = [lock.acquire().unwrap(), lock.acquire().unwrap(), lock.acquire().unwrap()];
        held.set();
        for_ever();
    };
    let other: procession::Process<()> = child(die, (lock.send(), held.send()));
    held.wait().unwrap();
    kill(&other);
    let pid = other.pid();
    assert!(matches!(lock.acquire(), Err(LockError::OwnerDied { pid: died, .. }) if died == pid));
    let guard = lock.recover().unwrap();
    assert!(guard.recovers());
    assert_eq!(guard.depth(), 1);
    drop(guard);
    assert!(elsewhere(|lock: Sent<RLock>| lock.acquire().is_ok(), lock.send()));
}
