//! `_TestSemaphore`, of a `Semaphore`.
//!
//! On purpose different from Python: what is acquired is a permit, which comes back when it is dropped and
//! when its holder dies. A permit that is to be released by another is forgotten by the one who acquired it.

use crate::ground::{Ground, Line, SHORT, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{Event, ReleaseError, Semaphore, SemaphoreError};
use std::time::{Duration, Instant};

conforms!(
    permits_are_counted_down_and_up_by_all_processes,
    it_may_grow_beyond_what_it_began_with_up_to_its_maximum,
    a_timeout_runs_out_and_zero_does_not_wait,
    who_waits_gets_the_permit_that_another_process_releases,
    many_are_acquired_all_or_none,
    debug_shows_how_many_there_are,
    the_permits_of_a_killed_holder_come_back,
);

fn available(semaphore: Sent<Semaphore>) -> u32 {
    semaphore.available() as u32
}

fn is_refused(semaphore: Sent<Semaphore>) -> bool {
    matches!(semaphore.try_acquire(), Err(SemaphoreError::WouldBlock { .. }))
}

// test_semaphore
fn permits_are_counted_down_and_up_by_all_processes(ground: &Ground) {
    let semaphore = ground.make(Semaphore::options().permits(2));
    assert_eq!(elsewhere(available, semaphore.send()), 2);
    let one = semaphore.acquire().unwrap();
    assert_eq!(elsewhere(available, semaphore.send()), 1);
    let two = semaphore.acquire().unwrap();
    assert_eq!((semaphore.available(), elsewhere(available, semaphore.send())), (0, 0));
    assert!(is_refused(semaphore.send()) && elsewhere(is_refused, semaphore.send()));
    drop(one);
    assert_eq!(elsewhere(available, semaphore.send()), 1);
    drop(two);
    assert_eq!(elsewhere(available, semaphore.send()), 2);
}

// test_semaphore: a plain one goes from 2 to 4. Its maximum is 1024 unless said; Python's is SEM_VALUE_MAX.
fn it_may_grow_beyond_what_it_began_with_up_to_its_maximum(ground: &Ground) {
    let semaphore = ground.make(Semaphore::options().permits(2));
    let release = |(semaphore, count): (Sent<Semaphore>, u32)| semaphore.release(count as usize).is_ok();
    for count in 3..=4 {
        assert!(elsewhere(release, (semaphore.send(), 1)));
        assert_eq!(semaphore.available(), count);
    }
    assert!(!elsewhere(release, (semaphore.send(), 1021)));
    assert!(elsewhere(release, (semaphore.send(), 1020)));
    assert_eq!((semaphore.available(), semaphore.max()), (1024, 1024));
    assert!(matches!(semaphore.release(1), Err(ReleaseError::Full { max: 1024, .. })));
}

// test_timeout
fn a_timeout_runs_out_and_zero_does_not_wait(ground: &Ground) {
    let semaphore = ground.make(Semaphore::options().permits(0));
    let times_out = |semaphore: Sent<Semaphore>| {
        let start = Instant::now();
        assert!(is_refused(semaphore.clone()));
        assert!(matches!(semaphore.acquire_timeout(Duration::ZERO), Err(SemaphoreError::TimedOut { .. })));
        assert!(matches!(semaphore.acquire_timeout(SHORT), Err(SemaphoreError::TimedOut { .. })));
        start.elapsed() >= SHORT
    };
    assert!(times_out(semaphore.send()) && elsewhere(times_out, semaphore.send()));
}

// test_semaphore, where it blocks; the hand-off that Python does with a Lock
fn who_waits_gets_the_permit_that_another_process_releases(ground: &Ground) {
    let (semaphore, line) = (ground.make(Semaphore::options().permits(0)), ground.line());
    let wait = |(semaphore, line): (Sent<Semaphore>, Line)| {
        line.waits_now();
        semaphore.acquire_timeout(Duration::MAX).unwrap().forget();
    };
    let waiter = child(wait, (semaphore.send(), line.clone()));
    line.falls_asleep(&waiter);
    assert!(elsewhere(|semaphore: Sent<Semaphore>| semaphore.release(1).is_ok(), semaphore.send()));
    waiter.join().unwrap();
    // It was forgotten: nobody gets it back but by another release.
    assert_eq!(semaphore.available(), 0);
}

// None: Python has no acquire of several.
fn many_are_acquired_all_or_none(ground: &Ground) {
    let (semaphore, line) = (ground.make(Semaphore::options().permits(2)), ground.line());
    let wait = |(semaphore, line): (Sent<Semaphore>, Line)| {
        line.waits_now();
        semaphore.acquire_many(3).unwrap().count()
    };
    let waiter = child(wait, (semaphore.send(), line.clone()));
    line.falls_asleep(&waiter);
    // While it waits it has none.
    assert_eq!(semaphore.available(), 2);
    semaphore.release(1).unwrap();
    assert_eq!(waiter.join().unwrap(), 3);
    assert_eq!(semaphore.available(), 3);
}

// `<Semaphore(value=2)>`
fn debug_shows_how_many_there_are(ground: &Ground) {
    let semaphore = ground.make(Semaphore::options().permits(2));
    let _permit = semaphore.acquire().unwrap();
    let shown = elsewhere(|semaphore: Sent<Semaphore>| format!("{:?}", *semaphore), semaphore.send());
    assert!(shown.contains("available: 1, max: 1024"), "{shown}");
    assert!(shown.contains(&format!("pid: {}", std::process::id())), "{shown}");
}

// None: in Python they are lost.
fn the_permits_of_a_killed_holder_come_back(ground: &Ground) {
    let (semaphore, held) = (ground.make(Semaphore::options().permits(2)), ground.make(Event::options()));
    let die = |(semaphore, held): (Sent<Semaphore>, Sent<Event>)| {
        let _permits = semaphore.acquire_many(2).unwrap();
        held.set();
        for_ever();
    };
    let other: procession::Process<()> = child(die, (semaphore.send(), held.send()));
    held.wait().unwrap();
    assert_eq!(semaphore.available(), 0);
    kill(&other);
    drop(semaphore.acquire_many(2).unwrap());
    assert_eq!(elsewhere(available, semaphore.send()), 2);
}
