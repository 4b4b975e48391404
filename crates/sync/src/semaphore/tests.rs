use super::{BoundedSemaphore, ReleaseError, Semaphore, SemaphoreError};
use crate::Fault;
use procession_shm::{Namespace, OpenError};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

fn semaphore(permits: usize, max: usize) -> Semaphore {
    let options = Semaphore::options().namespace(&Namespace::private());
    options.permits(permits).max(max).anonymous().unwrap()
}

#[test]
fn permits_are_taken_and_come_back() {
    let semaphore = semaphore(2, 4);
    let one = semaphore.acquire().unwrap();
    let two = semaphore.acquire_timeout(Duration::from_secs(9)).unwrap();
    assert_eq!(semaphore.available(), 0);
    assert!(matches!(semaphore.try_acquire(), Err(SemaphoreError::WouldBlock(_))));
    let short = Duration::from_millis(2);
    assert!(matches!(semaphore.acquire_timeout(short), Err(SemaphoreError::TimedOut(_))));
    let holders = semaphore.holders();
    assert_eq!((holders.len(), holders[0].0.pid, holders[0].1), (1, std::process::id(), 2));
    drop(one);
    assert_eq!(semaphore.available(), 1);
    drop(two);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn many_are_taken_together_or_not_at_all() {
    let semaphore = semaphore(3, 4);
    let two = semaphore.acquire_many(2).unwrap();
    assert_eq!((two.count(), semaphore.available()), (2, 1));
    assert!(matches!(semaphore.try_acquire_many(2), Err(SemaphoreError::WouldBlock(_))));
    assert_eq!(semaphore.available(), 1);
    assert!(matches!(semaphore.try_acquire_many(5), Err(SemaphoreError::TooMany { asked: 5, max: 4, .. })));
    assert_eq!(semaphore.acquire_many(0).unwrap().count(), 0);
    drop(two);
    assert_eq!(semaphore.try_acquire_many(3).unwrap().count(), 3);
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn what_is_forgotten_only_a_release_brings_back() {
    let semaphore = semaphore(1, 3);
    semaphore.acquire().unwrap().forget();
    assert_eq!(semaphore.available(), 0);
    semaphore.release(2).unwrap();
    assert_eq!(semaphore.available(), 2);
    let held = semaphore.acquire().unwrap();
    // A held permit is not released by another: there is room for one more.
    assert!(matches!(semaphore.release(2), Err(ReleaseError::Full { max: 3, .. })));
    assert_eq!(semaphore.available(), 1);
    semaphore.release(1).unwrap();
    assert!(matches!(semaphore.release(1), Err(ReleaseError::Full { max: 3, .. })));
    semaphore.release(0).unwrap();
    drop(held);
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn a_bounded_semaphore_is_never_above_its_bound() {
    let semaphore = bounded(2);
    assert!(matches!(semaphore.release(1), Err(ReleaseError::Full { max: 2, .. })));
    for _ in 0..100 {
        semaphore.acquire_many(2).unwrap().forget();
        let release = || usize::from(semaphore.release(1).is_ok());
        let done = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(release)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!((done, semaphore.available()), (2, 2));
    }
}

fn bounded(permits: usize) -> BoundedSemaphore {
    BoundedSemaphore::options().namespace(&Namespace::private()).permits(permits).anonymous().unwrap()
}

#[test]
fn a_release_for_which_there_is_room_all_the_time_is_never_refused() {
    const THREADS: usize = 4;
    let semaphore = bounded(THREADS);
    semaphore.acquire_many(THREADS).unwrap().forget();
    // Each thread fills one place, and makes one before it comes again.
    let cycle = || {
        for _ in 0..20_000 {
            semaphore.release(1).unwrap();
            semaphore.acquire().unwrap().forget();
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(cycle))));
    assert_eq!(semaphore.available(), 0);
    semaphore.release(THREADS).unwrap();
}

#[test]
fn of_two_that_release_two_into_room_for_three_one_succeeds_and_who_releases_one_always_does() {
    let semaphore = bounded(3);
    for _ in 0..1000 {
        semaphore.acquire_many(3).unwrap().forget();
        let start = std::sync::Barrier::new(3);
        let release = &|count| {
            start.wait();
            semaphore.release(count).is_ok()
        };
        let done = std::thread::scope(|scope| {
            let threads = [2, 2, 1].map(|count| scope.spawn(move || release(count)));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(done[2] && done[0] != done[1], "{done:?}");
        assert_eq!(semaphore.available(), 3);
    }
}

#[test]
fn threads_never_have_more_than_there_are_and_all_get_on() {
    const PERMITS: i64 = 3;
    let semaphore = semaphore(3, 3);
    let inside = AtomicI64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..6_u32 {
            let (semaphore, inside) = (&semaphore, &inside);
            scope.spawn(move || {
                for round in 0..300 {
                    let count = if thread < 2 { 2 } else { 1 };
                    let permit = semaphore.acquire_many(count).unwrap();
                    let now = inside.fetch_add(count as i64, Ordering::Relaxed) + count as i64;
                    assert!(now <= PERMITS);
                    if round % 16 == 0 {
                        std::thread::yield_now();
                    }
                    inside.fetch_sub(count as i64, Ordering::Relaxed);
                    drop(permit);
                }
            });
        }
    });
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn an_impossible_number_of_permits_is_refused() {
    let refused = |made: Result<Semaphore, OpenError>| matches!(made, Err(OpenError::Impossible { .. }));
    let options = || Semaphore::options().namespace(&Namespace::private());
    assert!(refused(options().permits(0).max(0).anonymous()));
    assert!(refused(options().permits(5).max(4).anonymous()));
    assert!(refused(options().permits(usize::MAX).anonymous()));
    assert!(refused(options().max(usize::MAX).create("x")));
    let none = options().permits(0).anonymous().unwrap();
    assert_eq!((none.available(), none.max()), (0, 1024));
    assert_eq!(options().permits(2000).anonymous().unwrap().max(), 2000);
}

#[test]
fn a_decision_that_nobody_made_is_an_error() {
    let semaphore = semaphore(1, 8);
    semaphore.release(2).unwrap();
    semaphore.cells.decide_at_random();
    assert!(matches!(semaphore.release(2), Err(ReleaseError::Fault(Fault::Corrupt { .. }))));
    // Other things go on.
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.available(), 4);
    assert_eq!(semaphore.acquire_many(4).unwrap().count(), 4);
}

#[test]
fn nonsense_in_the_cells_is_an_error() {
    let semaphore = semaphore(2, 8);
    let mapping = semaphore.body.segment().mapping();
    for offset in (4096..mapping.len()).step_by(8) {
        mapping.at::<std::sync::atomic::AtomicU64>(offset).unwrap().store(u64::MAX << 17, Ordering::Relaxed);
    }
    assert!(matches!(semaphore.try_acquire(), Err(SemaphoreError::Fault(_))));
    assert!(semaphore.release(1).is_err() && semaphore.release(3).is_err());
    assert_eq!(semaphore.available(), 0);
}

#[test]
fn permits_beyond_all_that_there_are_are_an_error_and_no_room() {
    let semaphore = semaphore(1, 4);
    let mapping = semaphore.body.segment().mapping();
    for index in 1..4 {
        let cell = mapping.at::<std::sync::atomic::AtomicU64>(mapping.len() - 8 * index);
        cell.unwrap().store(u64::MAX << 17, Ordering::Relaxed);
    }
    assert!(matches!(semaphore.release(2), Err(ReleaseError::Fault(Fault::Corrupt { .. }))));
    assert_eq!(semaphore.available(), 1);
}
