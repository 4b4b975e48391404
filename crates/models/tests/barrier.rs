//! Barrier: those who meet pass together or are told why not, and see what the others did, also when somebody
//! dies.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::cell::Cell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use procession_models::crash_point;
use procession_models::kernel::{expire, interrupt, set_interruptible, until_killed};
use std::sync::Arc;
use std::time::Duration;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::barrier::{Barrier, BarrierError, BreakCause, Member, MemberDeath};
        use $world as world;

        fn barrier(parties: u32) -> Barrier {
            Barrier::options().parties(parties as usize).anonymous().unwrap()
        }

        fn elastic(removes: bool) -> Barrier {
            let policy = if removes { MemberDeath::Remove } else { MemberDeath::Break };
            Barrier::options().parties(2).elastic().on_member_death(policy).anonymous().unwrap()
        }

        fn spawn<T: 'static>(
            barrier: &Barrier,
            slot: u32,
            act: impl FnOnce(&Barrier) -> T + 'static,
        ) -> thread::JoinHandle<T> {
            let barrier = barrier.of_process(slot);
            thread::spawn(move || act(&barrier))
        }

        fn cause(error: &BarrierError) -> Option<BreakCause> {
            match error {
                BarrierError::Broken { cause, .. } => Some(*cause),
                _ => None,
            }
        }

        /// What each party does before each meeting: loom reports a look at it that is not ordered after
        /// that.
        struct Done(Vec<Cell<u32>>);

        fn done(parties: u32, meetings: u32) -> Arc<Done> {
            Arc::new(Done((0..parties * meetings).map(|_| Cell::new(0)).collect()))
        }

        impl Done {
            fn meet(&self, barrier: &Barrier, parties: u32, slot: u32, meeting: u32) -> u32 {
                let of_meeting = (meeting * parties) as usize..((meeting + 1) * parties) as usize;
                self.0[of_meeting.start + slot as usize].set(1);
                let others = barrier.n_waiting();
                let index = barrier.wait().unwrap();
                self.0[of_meeting].iter().for_each(|done| assert_eq!(done.get(), 1));
                assert!(meeting > 0 || index >= others as u32, "indices in the order of arrival");
                index
            }
        }

        pub(super) fn all_meet(parties: u32, meetings: u32) {
            let (barrier, done) = (barrier(parties), done(parties, meetings));
            let meet = move |barrier: &Barrier, done: &Done, slot| -> Vec<u32> {
                (0..meetings).map(|meeting| done.meet(barrier, parties, slot, meeting)).collect()
            };
            let threads: Vec<_> = (1..parties)
                .map(|slot| {
                    let done = Arc::clone(&done);
                    spawn(&barrier, slot, move |barrier| meet(barrier, &done, slot))
                })
                .collect();
            let mut indices = vec![meet(&barrier, &done, 0)];
            indices.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
            for meeting in 0..meetings as usize {
                let mut indices: Vec<_> = indices.iter().map(|all| all[meeting]).collect();
                indices.sort_unstable();
                assert_eq!(indices, (0..parties).collect::<Vec<_>>(), "indices");
            }
        }

        /// One does something for all, and it is the last.
        pub(super) fn an_action_is_done_once() {
            let (barrier, count) = (barrier(2), Arc::new(AtomicU32::new(0)));
            let with_action = |barrier: Barrier| {
                let count = Arc::clone(&count);
                barrier.with_action(move || {
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            };
            let its = with_action(barrier.of_process(1));
            let other = thread::spawn(move || its.wait().unwrap());
            let index = with_action(barrier.of_process(0)).wait().unwrap();
            assert_eq!(count.load(Ordering::Relaxed), 1, "actions");
            assert_eq!(index + other.join().unwrap(), 1, "indices");
        }

        /// One waits for some time only: both pass, or neither.
        pub(super) fn the_time_passes() {
            let barrier = barrier(2);
            let hasty = spawn(&barrier, 1, |barrier| barrier.wait_timeout(Duration::ZERO));
            let patient = spawn(&barrier, 2, |barrier| barrier.wait());
            expire();
            let outcomes = (hasty.join().unwrap(), patient.join().unwrap());
            let agreed = match &outcomes {
                (Ok(first), Ok(second)) => first + second == 1,
                (Err(BarrierError::TimedOut { .. }), Err(error)) => {
                    cause(error) == Some(BreakCause::TimedOut)
                }
                _ => false,
            };
            assert!(agreed, "what became of it: {outcomes:?}");
        }

        /// Waits, and comes again if it was interrupted.
        fn wait_interruptibly(barrier: &Barrier) -> u32 {
            set_interruptible(true);
            let outcome = barrier.wait();
            set_interruptible(false);
            match outcome {
                Err(BarrierError::Interrupted { .. }) => barrier.wait().unwrap(),
                outcome => outcome.unwrap(),
            }
        }

        /// One of three is interrupted, perhaps after another has arrived: all three meet nevertheless.
        pub(super) fn one_is_interrupted() {
            let barrier = barrier(3);
            let interrupted = spawn(&barrier, 1, wait_interruptibly);
            let other = spawn(&barrier, 2, |barrier| barrier.wait().unwrap());
            interrupt();
            let index = barrier.wait().unwrap();
            let mut indices = [index, interrupted.join().unwrap(), other.join().unwrap()];
            indices.sort_unstable();
            assert_eq!(indices, [0, 1, 2], "indices");
        }

        /// One of three dies while it takes its arrival back: nobody passes without the third, and all are
        /// told of an abort.
        pub(super) fn who_is_interrupted_dies_at(label: &'static str) -> bool {
            let barrier = barrier(3);
            let interrupted = spawn(&barrier, 1, move |barrier| {
                until_killed(1, label, || {
                    set_interruptible(true);
                    let outcome = barrier.wait();
                    assert!(outcome.is_err(), "passed without the third");
                })
            });
            let other = spawn(&barrier, 2, |barrier| barrier.wait());
            interrupt();
            let died = interrupted.join().unwrap();
            barrier.abort();
            let outcome = other.join().unwrap();
            let told = outcome.as_ref().err().and_then(cause);
            assert_eq!(told, Some(BreakCause::Aborted), "what became of it");
            died
        }

        /// A member of an elastic barrier is interrupted, and comes again.
        pub(super) fn a_member_is_interrupted() {
            let barrier = elastic(false);
            let (mut mine, mut its) = (barrier.join().unwrap(), barrier.of_process(1).join().unwrap());
            let other = thread::spawn(move || {
                set_interruptible(true);
                let outcome = its.wait();
                set_interruptible(false);
                match outcome {
                    Err(BarrierError::Interrupted { .. }) => its.wait().unwrap(),
                    outcome => outcome.unwrap(),
                }
            });
            interrupt();
            let index = mine.wait().unwrap();
            assert_eq!(index + other.join().unwrap(), 1, "indices");
        }

        /// Waits until it has met somebody; how often it was told of a reset.
        fn meet_in_spite_of_resets(barrier: &Barrier) -> u32 {
            let mut resets = 0;
            loop {
                match barrier.wait() {
                    Ok(_) => return resets,
                    Err(error) => assert_eq!(cause(&error), Some(BreakCause::Reset), "what became of it"),
                }
                resets += 1;
            }
        }

        pub(super) fn one_resets() {
            let barrier = barrier(2);
            let other = spawn(&barrier, 1, meet_in_spite_of_resets);
            barrier.reset().unwrap();
            barrier.wait().unwrap();
            assert!(other.join().unwrap() <= 1, "what became of it");
        }

        pub(super) fn who_resets_dies_at(label: &'static str) -> bool {
            let barrier = barrier(2);
            let others =
                [spawn(&barrier, 1, meet_in_spite_of_resets), spawn(&barrier, 2, meet_in_spite_of_resets)];
            let died = until_killed(0, label, || barrier.reset().unwrap());
            let resets = others.map(|thread| thread.join().unwrap());
            assert!(resets.iter().all(|&resets| resets <= 1), "what became of it");
            died
        }

        /// Nobody passes what was aborted before all had come; a reset beside it makes it whole, or came
        /// before.
        pub(super) fn one_aborts() {
            let barrier = barrier(2);
            let other = spawn(&barrier, 1, |barrier| barrier.wait());
            barrier.abort();
            let outcome = other.join().unwrap();
            assert_eq!(
                outcome.as_ref().err().and_then(cause),
                Some(BreakCause::Aborted),
                "what became of it"
            );
            assert_eq!(barrier.broken(), Some(BreakCause::Aborted));
        }

        pub(super) fn one_aborts_beside_a_reset() {
            let barrier = barrier(2);
            let waiter = spawn(&barrier, 1, |barrier| barrier.wait());
            let other = spawn(&barrier, 2, |barrier| barrier.reset().unwrap());
            barrier.abort();
            other.join().unwrap();
            barrier.abort();
            let outcome = waiter.join().unwrap();
            let cause = outcome.as_ref().err().and_then(cause);
            assert!(
                matches!(cause, Some(BreakCause::Aborted | BreakCause::Reset)),
                "what became of it: {cause:?}"
            );
        }

        pub(super) fn one_aborts_after_a_reset_that_died() {
            let barrier = barrier(2);
            let waiter = spawn(&barrier, 1, |barrier| barrier.wait());
            let dead = barrier.of_process(2);
            until_killed(2, "barrier.resetting", || dead.reset().unwrap());
            barrier.abort();
            assert_eq!(
                barrier.wait().as_ref().err().and_then(cause),
                Some(BreakCause::Aborted),
                "what became of it"
            );
            assert!(waiter.join().unwrap().is_err(), "what became of it");
        }

        /// One that is no member dies: its arrival counts if it came to that.
        pub(super) fn a_party_dies_at(label: &'static str) -> bool {
            let barrier = barrier(2);
            let victim =
                spawn(&barrier, 1, move |barrier| until_killed(1, label, || assert!(barrier.wait().is_ok())));
            barrier.wait().unwrap();
            victim.join().unwrap()
        }

        /// Those who have the seats are dead.
        pub(super) fn seats_of_the_dead() {
            let barrier = barrier(2);
            for slot in [2, 3, 4] {
                let dead = barrier.of_process(slot);
                assert!(until_killed(slot, "barrier.seated", || drop(dead.wait())));
            }
            let other = spawn(&barrier, 1, |barrier| barrier.wait().unwrap());
            assert_eq!(barrier.wait().unwrap() + other.join().unwrap(), 1, "indices");
        }

        fn wait_as_member(mut member: Member) -> Result<u32, BarrierError> {
            crash_point("member.coming");
            member.wait()
        }

        /// A member dies: the other is told, or has met it.
        pub(super) fn a_member_dies_at(label: &'static str) -> bool {
            let barrier = barrier(2);
            let (mut mine, its) = (barrier.join().unwrap(), barrier.of_process(1).join().unwrap());
            let victim = thread::spawn(move || until_killed(1, label, || drop(wait_as_member(its))));
            let outcome = mine.wait();
            let died = victim.join().unwrap();
            match outcome {
                Ok(_) => assert!(label != "member.coming", "passed without the dead"),
                Err(error) => {
                    assert!(died && cause(&error) == Some(BreakCause::PeerDied { pid: 1 }), "{error}");
                    barrier.reset().unwrap();
                    assert!(barrier.broken().is_none());
                    drop(barrier.join().unwrap());
                }
            }
            died
        }

        /// One dies while it breaks the barrier for another that is dead.
        pub(super) fn who_breaks_it_dies_at(label: &'static str) -> bool {
            let barrier = barrier(3);
            let (mut mine, its, dead) = (
                barrier.join().unwrap(),
                barrier.of_process(1).join().unwrap(),
                barrier.of_process(2).join().unwrap(),
            );
            assert!(until_killed(2, "member.coming", || drop(wait_as_member(dead))));
            let victim = thread::spawn(move || until_killed(1, label, || drop(wait_as_member(its))));
            let outcome = mine.wait();
            let told = outcome.as_ref().err().and_then(cause);
            assert!(matches!(told, Some(BreakCause::PeerDied { .. })), "{outcome:?}");
            victim.join().unwrap()
        }

        /// The one that runs the action dies, which breaks it.
        pub(super) fn who_acts_dies_at(label: &'static str) -> bool {
            let barrier = barrier(2);
            let its = barrier.of_process(1).with_action(|| Ok(()));
            let victim = thread::spawn(move || until_killed(1, label, || drop(its.wait())));
            let outcome = barrier.wait();
            let died = victim.join().unwrap();
            let told = outcome.as_ref().err().and_then(cause);
            assert!(
                outcome.is_ok() != died && (!died || told == Some(BreakCause::PeerDied { pid: 1 })),
                "{outcome:?}"
            );
            died
        }

        pub(super) fn members_of_an_elastic_one_meet() {
            let (barrier, done) = (elastic(false), Arc::new(Cell::new(0)));
            let (mut mine, mut its) = (barrier.join().unwrap(), barrier.of_process(1).join().unwrap());
            let same = Arc::clone(&done);
            let other = thread::spawn(move || {
                same.set(1);
                its.wait().unwrap()
            });
            let index = mine.wait().unwrap();
            assert_eq!(done.get(), 1);
            assert_eq!(index + other.join().unwrap(), 1, "indices");
        }

        /// The others are enough when one has left.
        pub(super) fn a_member_leaves() {
            let barrier = elastic(false);
            let (mut mine, its) = (barrier.join().unwrap(), barrier.of_process(1).join().unwrap());
            let other = thread::spawn(move || drop(its));
            assert_eq!(mine.wait().unwrap(), 0);
            other.join().unwrap();
        }

        /// No generation ends without one that joined before its end.
        pub(super) fn a_member_joins() {
            let barrier = elastic(false);
            let mut mine = barrier.join().unwrap();
            let other = spawn(&barrier, 1, |barrier| {
                let mut member = barrier.join().unwrap();
                let is_second = barrier.n_waiting() == 1;
                let index = member.wait().unwrap();
                assert!(!is_second || index == 1, "passed without one that had joined");
            });
            mine.wait().unwrap();
            drop(mine);
            other.join().unwrap();
        }

        /// A member of an elastic barrier dies, which breaks it, or leaves the others to themselves.
        pub(super) fn an_elastic_member_dies_at(label: &'static str, removes: bool) -> bool {
            let barrier = elastic(removes);
            let (mut mine, its) = (barrier.join().unwrap(), barrier.of_process(1).join().unwrap());
            let victim = thread::spawn(move || until_killed(1, label, || drop(wait_as_member(its))));
            let outcome = mine.wait();
            let died = victim.join().unwrap();
            let told = outcome.as_ref().err().and_then(cause);
            let may_break = !removes && died;
            assert!(
                outcome.is_ok() || may_break && told == Some(BreakCause::PeerDied { pid: 1 }),
                "{outcome:?}"
            );
            assert!(outcome.is_err() || removes || label != "member.coming", "passed without the dead");
            died
        }
    };
}

mod the_barrier {
    models!(procession_models);
}

#[test]
fn all_parties_meet_and_see_what_was_done() {
    explore(3, || the_barrier::all_meet(2, 1));
    explore(1, || the_barrier::all_meet(3, 1));
}

#[test]
fn parties_meet_again_and_again() {
    explore(2, || the_barrier::all_meet(2, 2));
}

#[test]
fn an_action_is_done_once_for_all() {
    explore(2, the_barrier::an_action_is_done_once);
}

#[test]
fn who_comes_last_and_whose_time_is_over_agree() {
    explore(2, the_barrier::the_time_passes);
}

#[test]
fn a_reset_is_told_to_those_who_wait() {
    explore(2, the_barrier::one_resets);
    explore_deaths(
        1,
        &["barrier.resetting", "barrier.failed", "barrier.ended"],
        the_barrier::who_resets_dies_at,
    );
}

#[test]
fn an_abort_is_told_to_those_who_wait() {
    explore(3, the_barrier::one_aborts);
    explore(1, the_barrier::one_aborts_beside_a_reset);
    explore(2, the_barrier::one_aborts_after_a_reset_that_died);
}

#[test]
fn who_is_interrupted_is_as_if_it_had_not_come() {
    let labels = ["barrier.withdrawn", "barrier.failed", "barrier.taken_back"];
    explore(1, the_barrier::one_is_interrupted);
    explore_deaths(1, &labels, the_barrier::who_is_interrupted_dies_at);
    explore(1, the_barrier::a_member_is_interrupted);
}

#[test]
fn the_arrival_of_a_party_that_died_counts() {
    let labels =
        ["barrier.arrived", "barrier.waiting", "barrier.slept", "barrier.ended", "barrier.seat_left"];
    explore_deaths(2, &labels, the_barrier::a_party_dies_at);
    explore(2, the_barrier::seats_of_the_dead);
}

#[test]
fn a_death_of_a_member_is_told() {
    let labels = ["member.coming", "barrier.arrived", "barrier.waiting", "barrier.slept", "barrier.ended"];
    explore_deaths(2, &labels, the_barrier::a_member_dies_at);
    let labels = ["barrier.member_found_dead", "barrier.ended", "barrier.broken_for_the_dead"];
    explore_deaths(1, &labels, the_barrier::who_breaks_it_dies_at);
    explore_deaths(2, &["barrier.acting"], the_barrier::who_acts_dies_at);
}

#[test]
fn members_of_an_elastic_barrier_meet_while_others_come_and_go() {
    explore(2, the_barrier::members_of_an_elastic_one_meet);
    explore(2, the_barrier::a_member_leaves);
    explore(2, the_barrier::a_member_joins);
}

#[test]
fn a_death_of_a_member_of_an_elastic_barrier_is_survived() {
    let labels = [
        "member.coming",
        "barrier.counted",
        "barrier.arrived",
        "barrier.waiting",
        "barrier.slept",
        "barrier.tripping",
        "barrier.ended",
    ];
    explore_deaths(1, &labels, |label| the_barrier::an_elastic_member_dies_at(label, false));
    explore_deaths(2, &labels, |label| the_barrier::an_elastic_member_dies_at(label, true));
}

found_out! {
    barrier_that_arrives_relaxed by all_meet(2, 1) up to 3: "Causality violation";
    barrier_that_trips_relaxed by all_meet(2, 1) up to 3: "Causality violation";
    barrier_that_looks_relaxed by all_meet(2, 1) up to 3: "Causality violation";
    barrier_that_does_not_wake by all_meet(2, 1) up to 2: "deadlock";
    barrier_that_does_not_announce by all_meet(2, 1) up to 2: "exceeded maximum number of branches";
    barrier_whose_time_passes_for_the_next by the_time_passes up to 2: "what became of it";
    barrier_that_does_not_fail_the_places by one_resets up to 2: "deadlock";
    barrier_that_fails_the_places_too_late by one_resets up to 3: "deadlock";
    barrier_that_does_not_say_what_it_waits_for by one_resets up to 2: "deadlock";
    barrier_that_leaves_a_reset_to_the_dead by who_resets_dies_at("barrier.resetting") up to 2: "exceeded maximum number of branches";
    barrier_that_leaves_an_abort_to_a_reset by one_aborts_after_a_reset_that_died up to 2: "deadlock";
    barrier_that_does_not_ask by a_member_dies_at("member.coming") up to 2: "deadlock";
    barrier_that_frees_the_dead_first by who_breaks_it_dies_at("barrier.member_found_dead") up to 2: "deadlock";
    barrier_that_does_not_ask_who_acts by who_acts_dies_at("barrier.acting") up to 2: "deadlock";
    barrier_that_counts_who_has_gone by one_is_interrupted up to 1: "deadlock";
    barrier_that_lets_pass_whom_a_withdrawal_woke by one_is_interrupted up to 1: "deadlock";
    barrier_that_breaks_for_a_withdrawal by one_is_interrupted up to 1: "broken";
    barrier_that_gives_no_seat_back by seats_of_the_dead up to 2: "deadlock";
    barrier_that_acts_before_it_begins by an_action_is_done_once up to 2: "actions";
    elastic_barrier_that_arrives_without_a_fence by members_of_an_elastic_one_meet up to 2: "deadlock";
    elastic_barrier_that_leaves_without_a_fence by a_member_leaves up to 3: "deadlock";
    elastic_barrier_that_waits_without_a_fence by a_member_leaves up to 3: "deadlock";
    elastic_barrier_that_is_left_without_a_call by a_member_leaves up to 2: "deadlock";
    elastic_barrier_that_does_not_look_again by a_member_joins up to 2: "passed without";
}
