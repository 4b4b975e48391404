//! `_TestSemaphore`, of a `BoundedSemaphore`. Beyond what it has in common with the plain one, its bound is
//! exact: Python reads the value, and then releases.

use crate::ground::{Ground, Sent, child, conforms, elsewhere};
use procession::{BoundedSemaphore, Latch, ReleaseError, SemaphoreError};

conforms!(
    permits_are_counted_down_and_up_by_all_processes,
    releasing_beyond_the_bound_is_an_error,
    the_bound_is_exact_however_many_release_at_once,
);

fn is_refused(semaphore: Sent<BoundedSemaphore>) -> bool {
    matches!(semaphore.try_acquire(), Err(SemaphoreError::WouldBlock { .. }))
}

// test_bounded_semaphore
fn permits_are_counted_down_and_up_by_all_processes(ground: &Ground) {
    let semaphore = ground.make(BoundedSemaphore::options().permits(2));
    let permits = [semaphore.acquire().unwrap(), semaphore.try_acquire().unwrap()];
    assert!(is_refused(semaphore.send()) && elsewhere(is_refused, semaphore.send()));
    drop(permits);
    assert_eq!(elsewhere(|semaphore: Sent<BoundedSemaphore>| semaphore.available(), semaphore.send()), 2);
}

// The ValueError of `release`
fn releasing_beyond_the_bound_is_an_error(ground: &Ground) {
    let semaphore = ground.make(BoundedSemaphore::options().permits(2));
    let is_full = |semaphore: Sent<BoundedSemaphore>| {
        matches!(semaphore.release(1), Err(ReleaseError::Full { max: 2, .. }))
    };
    assert!(is_full(semaphore.send()) && elsewhere(is_full, semaphore.send()));
    // A permit in somebody's hands comes back only from there: to release it would be to release it twice.
    let permit = semaphore.acquire().unwrap();
    assert!(elsewhere(is_full, semaphore.send()));
    permit.forget();
    assert!(!elsewhere(is_full, semaphore.send()));
    assert_eq!(semaphore.available(), 2);
}

// None: Python's bound is racy.
fn the_bound_is_exact_however_many_release_at_once(ground: &Ground) {
    const ROOM: u32 = 5;
    let semaphore = ground.make(BoundedSemaphore::options().permits(ROOM as usize));
    let start = ground.make(Latch::options().count(4));
    semaphore.acquire_many(ROOM as usize).unwrap().forget();
    let release = |(semaphore, start): (Sent<BoundedSemaphore>, Sent<Latch>)| {
        start.arrive();
        start.wait().unwrap();
        (0..3).filter(|_| semaphore.release(1).is_ok()).count()
    };
    let children: Vec<_> = (0..4).map(|_| child(release, (semaphore.send(), start.send()))).collect();
    let released: usize = children.into_iter().map(|child| child.join().unwrap()).sum();
    assert_eq!((released, semaphore.available()), (ROOM as usize, ROOM as usize));
}
