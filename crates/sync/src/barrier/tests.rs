use super::{Barrier, BarrierError, BreakCause, MemberDeath};
use procession_shm::{Namespace, OpenError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn barrier(parties: usize) -> Barrier {
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
    assert!(matches!(barrier.wait_timeout(Duration::from_millis(5)), Err(BarrierError::TimedOut { .. })));
    let cause = BreakCause::TimedOut;
    assert!(
        matches!(waiter.join().unwrap(), Err(BarrierError::Broken { cause: found, .. }) if found == cause)
    );
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
    let is = |found, cause| matches!(found, Err(BarrierError::Broken { cause: found, .. }) if found == cause);
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
    assert!(matches!(barrier.wait(), Err(BarrierError::Action { .. })));
    let told = waiter.join().unwrap();
    assert!(matches!(told, Err(BarrierError::Broken { cause: BreakCause::ActionFailed, .. })));
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
    let mut member = barrier.join().unwrap();
    assert!(matches!(barrier.join(), Err(BarrierError::NoPlace { parties: 1, .. })));
    assert_eq!(member.wait_timeout(Duration::ZERO).unwrap(), 0);
    drop(member);
    assert!(barrier.join().is_ok());
}

#[test]
fn impossible_parties_and_words_are_refused() {
    for parties in [0, 32_769, usize::MAX] {
        assert!(matches!(Barrier::options().parties(parties).create("x"), Err(OpenError::Impossible { .. })));
    }
    let removing = Barrier::options().parties(2).on_member_death(MemberDeath::Remove);
    assert!(matches!(removing.create("x"), Err(OpenError::Impossible { .. })));
    let barrier = barrier(2);
    barrier.body.word.store(!(super::word::STATE | super::RESETTING), Ordering::Relaxed);
    assert!(matches!(barrier.wait(), Err(BarrierError::Fault(_))));
    barrier.reset().unwrap();
    assert!(matches!(barrier.wait_timeout(Duration::ZERO), Err(BarrierError::TimedOut { .. })));
}

#[test]
fn random_bytes_in_the_body_are_answered_and_never_panic_or_hang() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let namespace = Namespace::private();
    for round in 0..200 {
        let options = Barrier::options().namespace(&namespace).parties(3);
        let options = if round % 2 == 0 { options.elastic() } else { options };
        let barrier = options.anonymous().unwrap();
        let mut member = barrier.join().unwrap();
        let words = barrier.body.segment().mapping();
        let place =
            if round % 3 == 0 { super::options::PLACES_OFFSET + 16 } else { procession_shm::HEADER_LEN };
        words.at::<super::AtomicU64>(place).unwrap().store(next(), Ordering::Relaxed);
        words
            .at::<super::AtomicU64>(super::options::PLACES_OFFSET + 24)
            .unwrap()
            .store(next(), Ordering::Relaxed);
        drop(member.wait_timeout(Duration::from_millis(1)));
        drop(barrier.wait_timeout(Duration::from_millis(1)));
        drop((format!("{barrier:?}"), barrier.broken(), barrier.n_waiting(), barrier.parties()));
        drop(barrier.reset());
        drop(barrier.join());
        barrier.abort();
    }
}

fn elastic(policy: MemberDeath) -> Barrier {
    let options = Barrier::options().namespace(&Namespace::private()).parties(8).elastic();
    options.on_member_death(policy).anonymous().unwrap()
}

/// A thread that waits as a member of its own, and has arrived; it hands the member back.
fn member_waits(barrier: &Barrier) -> std::thread::JoinHandle<(super::Member, Result<u32, BarrierError>)> {
    let (mut member, before) = (barrier.join().unwrap(), barrier.n_waiting());
    let thread = std::thread::spawn(move || {
        let outcome = member.wait();
        (member, outcome)
    });
    while barrier.n_waiting() == before {
        std::thread::yield_now();
    }
    thread
}

#[test]
fn an_elastic_barrier_waits_for_those_who_are_members_now() {
    let barrier = elastic(MemberDeath::Break);
    assert!(matches!(barrier.wait(), Err(BarrierError::NotAMember { .. })));
    assert_eq!((barrier.parties(), barrier.n_waiting()), (0, 0));
    let mut mine = barrier.join().unwrap();
    assert_eq!(mine.wait().unwrap(), 0);
    let other = member_waits(&barrier);
    let late = member_waits(&barrier);
    assert_eq!((barrier.parties(), barrier.n_waiting()), (3, 2));
    let shown = format!("{barrier:?}");
    assert!(shown.contains("parties: 3") && shown.contains("n_waiting: 2"), "{shown}");
    assert_eq!(mine.wait().unwrap(), 2);
    let (other, index) = other.join().unwrap();
    assert_eq!(index.unwrap(), 0);
    let (late, index) = late.join().unwrap();
    assert_eq!(index.unwrap(), 1);
    drop((other, late));
    assert_eq!((mine.wait().unwrap(), barrier.parties()), (0, 1));
    let all: Vec<_> = (0..7).map(|_| barrier.join().unwrap()).collect();
    assert!(matches!(barrier.join(), Err(BarrierError::NoPlace { parties: 8, .. })));
    drop(all);
}

#[test]
fn who_leaves_an_elastic_barrier_lets_the_others_go_on_and_one_of_them_acts() {
    let times = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&times);
    let barrier = elastic(MemberDeath::Break).with_action(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    for round in 1..=50 {
        let leaver = barrier.join().unwrap();
        let others = [member_waits(&barrier), member_waits(&barrier)];
        drop(leaver);
        let mut order = others.map(|other| other.join().unwrap().1.unwrap());
        order.sort_unstable();
        assert_eq!((order, times.load(Ordering::Relaxed)), ([0, 1], round));
    }
}

#[test]
fn a_storm_of_joins_waits_and_leaves_always_ends() {
    let barrier = elastic(MemberDeath::Break);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let barrier = &barrier;
            scope.spawn(move || {
                for round in 0..300 {
                    let mut member = barrier.join().unwrap();
                    for _ in 0..(round + thread) % 4 {
                        member.wait().unwrap();
                    }
                }
            });
        }
    });
    assert_eq!((barrier.parties(), barrier.n_waiting(), barrier.broken()), (0, 0, None));
}

#[test]
fn nobody_who_joined_is_left_out_of_a_generation() {
    let barrier = elastic(MemberDeath::Break);
    let passed = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let mut steady = barrier.join().unwrap();
        let counter = &passed;
        let runner = scope.spawn(move || {
            for _ in 0..2000 {
                steady.wait().unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        while !runner.is_finished() {
            let mut guest = barrier.join().unwrap();
            let before = passed.load(Ordering::SeqCst);
            std::thread::yield_now();
            // One may have been on its way back from a generation that ended before the guest joined.
            assert!(passed.load(Ordering::SeqCst) <= before + 1);
            guest.wait().unwrap();
        }
    });
}

#[test]
fn who_runs_the_action_cannot_wait_at_its_barrier() {
    for elastic in [false, true] {
        let options = Barrier::options().namespace(&Namespace::private()).parties(1);
        let options = if elastic { options.elastic() } else { options };
        let barrier = options.anonymous().unwrap();
        let inner = barrier.clone();
        let mut member = barrier.join().unwrap().with_action(move || {
            if elastic {
                assert!(matches!(inner.join(), Err(BarrierError::InAction { .. })));
            }
            inner.reset()?;
            assert!(matches!(inner.wait(), Err(BarrierError::InAction { .. })));
            Ok(())
        });
        let told = member.wait();
        assert!(matches!(told, Err(BarrierError::Broken { cause: BreakCause::Reset, .. })), "{told:?}");
    }
}

#[test]
fn more_waiters_than_places_wait_for_one() {
    let barrier = barrier(2);
    // As if so many had arrived before and were stopped.
    let me = barrier.keeper.owner().unwrap().to_bits() | super::place::WAITER;
    let seats = &barrier.places()[2..];
    seats.iter().for_each(|seat| seat.owner.store(me, Ordering::Relaxed));
    let late = barrier.clone();
    let waiter = std::thread::spawn(move || late.wait());
    while barrier.body.asked.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(barrier.n_waiting(), 0);
    seats[7].owner.store(0, Ordering::Relaxed);
    while barrier.n_waiting() == 0 {
        std::thread::yield_now();
    }
    assert_eq!((barrier.wait().unwrap(), waiter.join().unwrap().unwrap()), (1, 0));
}

#[test]
fn a_reset_that_was_never_finished_is_finished_by_whoever_comes_next() {
    let barrier = barrier(2);
    let stuck = super::word::with_state(0, super::RESET) | super::RESETTING;
    barrier.body.word.store(stuck, Ordering::Relaxed);
    assert_eq!((barrier.broken(), barrier.n_waiting()), (None, 0));
    barrier.abort();
    assert_eq!(barrier.broken(), Some(BreakCause::Aborted));
    barrier.body.word.store(stuck, Ordering::Relaxed);
    let waiter = waits(&barrier);
    assert!(barrier.wait().is_ok() && waiter.join().unwrap().is_ok());
}

#[test]
fn a_timeout_while_an_older_action_runs_breaks_it_for_all() {
    let (begin, begun) = std::sync::mpsc::channel::<()>();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (begin, ended) = (std::sync::Mutex::new(begin), std::sync::Mutex::new(ended));
    let slow = barrier(2);
    let acting = slow.clone().with_action(move || {
        begin.lock().unwrap().send(())?;
        ended.lock().unwrap().recv()?;
        Ok(())
    });
    let first = waits(&slow);
    let runner = std::thread::spawn({
        let acting = acting.clone();
        move || acting.wait()
    });
    begun.recv().unwrap();
    slow.reset().unwrap();
    assert!(first.join().unwrap().is_err());
    let second = waits(&slow);
    assert!(matches!(acting.wait_timeout(Duration::from_millis(5)), Err(BarrierError::TimedOut { .. })));
    assert_eq!(slow.broken(), Some(BreakCause::TimedOut));
    assert!(second.join().unwrap().is_err());
    end.send(()).unwrap();
    let told = runner.join().unwrap();
    assert!(matches!(told, Err(BarrierError::Broken { cause: BreakCause::Reset, .. })));
}
