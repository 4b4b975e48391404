use super::{Barrier, BarrierError, BreakCause};
use procession_shm::{Namespace, OpenError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn barrier(parties: u32) -> Barrier {
    Barrier::options().namespace(&Namespace::private()).parties(parties).anonymous().unwrap()
}

/// A thread that waits, and has arrived.
fn waits(barrier: &Barrier) -> std::thread::JoinHandle<Result<u32, BarrierError>> {
    let (other, before) = (barrier.clone(), barrier.n_waiting());
    let thread = std::thread::spawn(move || other.wait());
    while barrier.n_waiting() == before {
        std::thread::yield_now();
    }
    thread
}

#[test]
fn each_arrival_has_its_number_and_nobody_passes_before_all_are_there() {
    let (barrier, inside) = (barrier(4), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let rounds = || {
            let mut indexes = Vec::new();
            for round in 1..=100 {
                inside.fetch_add(1, Ordering::Relaxed);
                indexes.push(barrier.wait().unwrap());
                assert!(inside.load(Ordering::Relaxed) >= 4 * round);
            }
            indexes
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(rounds)).collect();
        let all: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for round in 0..100 {
            let mut indexes: Vec<_> = all.iter().map(|indexes| indexes[round]).collect();
            indexes.sort_unstable();
            assert_eq!(indexes, [0, 1, 2, 3]);
        }
    });
    assert_eq!((barrier.n_waiting(), barrier.broken(), barrier.parties()), (0, None, 4));
}

#[test]
fn a_timeout_breaks_it_for_all_until_it_is_reset() {
    let barrier = barrier(3);
    let waiter = waits(&barrier);
    assert!(matches!(barrier.wait_timeout(Duration::from_millis(5)), Err(BarrierError::TimedOut)));
    let cause = BreakCause::TimedOut;
    assert!(matches!(waiter.join().unwrap(), Err(BarrierError::Broken { cause: found }) if found == cause));
    assert!(matches!(barrier.wait(), Err(BarrierError::Broken { .. })));
    assert_eq!((barrier.n_waiting(), barrier.broken()), (0, Some(cause)));
    barrier.reset().unwrap();
    assert_eq!(barrier.broken(), None);
    let others = [waits(&barrier), waits(&barrier)];
    assert_eq!(barrier.wait().unwrap(), 2);
    assert!(others.into_iter().all(|other| other.join().unwrap().is_ok()));
}

#[test]
fn reset_and_abort_tell_those_who_wait() {
    let barrier = barrier(2);
    let waiter = waits(&barrier);
    barrier.reset().unwrap();
    let is = |found, cause| matches!(found, Err(BarrierError::Broken { cause: found }) if found == cause);
    assert!(is(waiter.join().unwrap(), BreakCause::Reset));
    assert_eq!(barrier.broken(), None);
    let waiter = waits(&barrier);
    barrier.abort();
    assert!(is(waiter.join().unwrap(), BreakCause::Aborted));
    assert!(is(barrier.wait(), BreakCause::Aborted));
    barrier.reset().unwrap();
    barrier.reset().unwrap();
    let waiter = waits(&barrier);
    assert!(barrier.wait().is_ok() && waiter.join().unwrap().is_ok());
}

#[test]
fn the_last_one_runs_the_action_before_anybody_passes() {
    let times = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&times);
    let barrier = barrier(2).with_action(move || {
        let before = counted.fetch_add(1, Ordering::Relaxed);
        if before == 1 { Err("no".into()) } else { Ok(()) }
    });
    let waiter = waits(&barrier);
    assert_eq!(barrier.wait().unwrap(), 1);
    assert_eq!((waiter.join().unwrap().unwrap(), times.load(Ordering::Relaxed)), (0, 1));
    let waiter = waits(&barrier);
    assert!(matches!(barrier.wait(), Err(BarrierError::Action(_))));
    let told = waiter.join().unwrap();
    assert!(matches!(told, Err(BarrierError::Broken { cause: BreakCause::ActionFailed })));
    barrier.reset().unwrap();
    let waiter = waits(&barrier);
    let panics = barrier.clone().with_action(|| panic!("in the action"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panics.wait())).is_err());
    assert!(waiter.join().unwrap().is_err());
}

#[test]
fn one_party_never_waits_and_places_are_counted() {
    let barrier = barrier(1);
    assert!((0..40).all(|_| barrier.wait().unwrap() == 0));
    let member = barrier.join().unwrap();
    assert!(matches!(barrier.join(), Err(BarrierError::NoPlace { parties: 1 })));
    assert_eq!(member.wait_timeout(Duration::ZERO).unwrap(), 0);
    drop(member);
    assert!(barrier.join().is_ok());
}

#[test]
fn impossible_parties_and_words_are_refused() {
    for parties in [0, 32_769, u32::MAX] {
        assert!(matches!(Barrier::options().parties(parties).create("x"), Err(OpenError::Impossible { .. })));
    }
    let barrier = barrier(2);
    barrier.body.word.store(!super::CAUSE, Ordering::Relaxed);
    assert!(matches!(barrier.wait(), Err(BarrierError::Fault(_))));
    barrier.reset().unwrap();
    assert!(barrier.wait_timeout(Duration::ZERO).is_err());
}
