//! The lock word: exclusion, nobody sleeps for ever, and a death at any step is survived.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use procession_models::kernel::{expire, until_killed, wait};
use procession_models::{Deadline, Segment, Zeroed};

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::lock_word::{AcquireError, Claim, LockWord};
        use $world as world;

        /// A lock, and what it guards: loom reports an access that is not ordered by it.
        struct Shared {
            lock: LockWord,
            guarded: UnsafeCell<u32>,
        }

        fn shared() -> Arc<Shared> {
            Arc::new(Shared { lock: LockWord::zeroed(), guarded: UnsafeCell::new(0) })
        }

        /// One critical section of the process in `slot`.
        fn pass(shared: &Shared, slot: u32, claim: Claim, deadline: Deadline) -> Result<(), AcquireError> {
            let held = shared.lock.acquire(&Segment::of_process(slot), claim, deadline)?;
            shared.guarded.with_mut(|_| ());
            shared.lock.release(held, true);
            Ok(())
        }

        pub(super) fn two_exclude_each_other() {
            let shared = shared();
            let other = Arc::clone(&shared);
            let one = thread::spawn(move || pass(&other, 1, Claim::Report, Deadline::NEVER).unwrap());
            pass(&shared, 2, Claim::Report, Deadline::NEVER).unwrap();
            one.join().unwrap();
        }

        pub(super) fn three_exclude_each_other() {
            let shared = shared();
            let threads: Vec<_> = (1..3)
                .map(|slot| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || pass(&shared, slot, Claim::Report, Deadline::NEVER).unwrap())
                })
                .collect();
            pass(&shared, 3, Claim::Report, Deadline::NEVER).unwrap();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        /// One holds, one gives up at some time, one waits without a limit: a wake that came to the one who
        /// gave up is passed on.
        pub(super) fn one_gives_up() {
            let shared = shared();
            let held = shared.lock.acquire(&Segment::of_process(3), Claim::Report, Deadline::NEVER).unwrap();
            let [first, second] = [Arc::clone(&shared), Arc::clone(&shared)];
            let hasty = thread::spawn(move || match pass(&first, 1, Claim::Report, Deadline::SOME_TIME) {
                Ok(()) | Err(AcquireError::TimedOut) => {}
                Err(error) => panic!("{error:?}"),
            });
            let patient = thread::spawn(move || pass(&second, 2, Claim::Report, Deadline::NEVER).unwrap());
            shared.lock.release(held, true);
            expire();
            pass(&shared, 3, Claim::Report, Deadline::NEVER).unwrap();
            hasty.join().unwrap();
            patient.join().unwrap();
        }

        /// A critical section of a task, for which another thread sleeps.
        fn pass_as_a_task(shared: &Shared, slot: u32) {
            loop {
                match pass(shared, slot, Claim::Report, Deadline::PASSED) {
                    Err(AcquireError::TimedOut) => {}
                    outcome => return outcome.unwrap(),
                }
                let (word, expected) = shared.lock.watch();
                if shared.lock.is_owned() {
                    wait(word, expected, Deadline::NEVER);
                }
                shared.lock.hand_on();
            }
        }

        /// One holds, a task and a thread wait: whoever is woken, both get it.
        pub(super) fn a_task_waits_beside_a_thread() {
            let shared = shared();
            let held = shared.lock.acquire(&Segment::of_process(3), Claim::Report, Deadline::NEVER).unwrap();
            let [first, second] = [Arc::clone(&shared), Arc::clone(&shared)];
            let task = thread::spawn(move || pass_as_a_task(&first, 1));
            let patient = thread::spawn(move || pass(&second, 2, Claim::Report, Deadline::NEVER).unwrap());
            shared.lock.release(held, true);
            task.join().unwrap();
            patient.join().unwrap();
        }

        /// As before, and the task is dropped at some time.
        pub(super) fn a_task_is_dropped_beside_a_thread() {
            let shared = shared();
            let held = shared.lock.acquire(&Segment::of_process(3), Claim::Report, Deadline::NEVER).unwrap();
            let [first, second] = [Arc::clone(&shared), Arc::clone(&shared)];
            let task = thread::spawn(move || {
                let (word, expected) = first.lock.watch();
                if first.lock.is_owned() {
                    wait(word, expected, Deadline::NEVER);
                }
                first.lock.hand_on();
            });
            let patient = thread::spawn(move || pass(&second, 2, Claim::Report, Deadline::NEVER).unwrap());
            shared.lock.release(held, true);
            task.join().unwrap();
            patient.join().unwrap();
        }

        /// One is killed at `label` in its critical section's acquire or release; the other two take the lock
        /// over.
        pub(super) fn one_dies_at(label: &'static str, survivors: u32) {
            let shared = shared();
            let threads: Vec<_> = (2..2 + survivors)
                .map(|slot| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || pass(&shared, slot, Claim::Recover, Deadline::NEVER).unwrap())
                })
                .collect();
            until_killed(1, label, || pass(&shared, 1, Claim::Recover, Deadline::NEVER).unwrap());
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            // Whether it died holding or not, the next one gets it.
            pass(&shared, 9, Claim::Recover, Deadline::NEVER).unwrap();
            assert!(!shared.lock.is_owned() && !shared.lock.is_inconsistent());
        }

        /// One is killed with the lock while who had it before has not called anybody yet.
        pub(super) fn one_dies_beside_others_at(label: &'static str) -> bool {
            let shared = shared();
            let [first, second] = [Arc::clone(&shared), Arc::clone(&shared)];
            let other = thread::spawn(move || pass(&first, 1, Claim::Recover, Deadline::NEVER).unwrap());
            let victim = thread::spawn(move || {
                until_killed(2, label, || pass(&second, 2, Claim::Recover, Deadline::NEVER).unwrap())
            });
            pass(&shared, 3, Claim::Recover, Deadline::NEVER).unwrap();
            other.join().unwrap();
            victim.join().unwrap()
        }
    };
}

mod the_lock_word {
    models!(procession_models);
}

#[test]
fn two_processes_exclude_each_other() {
    explore(3, the_lock_word::two_exclude_each_other);
}

#[test]
fn a_task_and_a_thread_both_get_it() {
    explore(2, the_lock_word::a_task_waits_beside_a_thread);
}

#[test]
fn a_wake_for_a_task_that_is_dropped_is_passed_on() {
    explore(2, the_lock_word::a_task_is_dropped_beside_a_thread);
}

#[test]
fn three_processes_exclude_each_other() {
    explore(2, the_lock_word::three_exclude_each_other);
}

#[test]
fn a_wake_for_one_who_gives_up_is_passed_on() {
    explore(1, the_lock_word::one_gives_up);
}

/// Every crash point that a process with one critical section can come to.
const LABELS: [&str; 11] = [
    "lock.acquired",
    "lock.released",
    "lock.released_contended",
    "lock.woke",
    "lock.acquired_contended",
    "lock.waiting",
    "lock.slept",
    "lock.owner_found_dead",
    "lock.buried",
    "lock.gave_up",
    "never: it lives",
];

#[test]
fn a_death_at_any_step_is_survived_by_one() {
    for label in LABELS {
        explore(2, move || the_lock_word::one_dies_at(label, 1));
    }
}

#[test]
fn a_death_at_any_step_is_survived_by_two() {
    for label in LABELS {
        explore(1, move || the_lock_word::one_dies_at(label, 2));
    }
}

#[test]
fn a_death_between_a_release_and_its_wake_is_survived() {
    explore_deaths(3, &["lock.acquired_contended"], the_lock_word::one_dies_beside_others_at);
}

found_out! {
    lock_word_that_buries_only_once by one_dies_beside_others_at("lock.acquired_contended") up to 3: "deadlock";
    lock_word_that_drops_the_waiters by three_exclude_each_other up to 2: "deadlock";
    lock_word_that_releases_relaxed by two_exclude_each_other up to 4: "Causality violation";
    lock_word_that_acquires_relaxed by two_exclude_each_other up to 4: "Causality violation";
    lock_word_that_buries_the_wrong_owner by one_dies_at("lock.acquired", 2) up to 2: "Concurrent";
    lock_word_that_quiets_a_sleeper by three_exclude_each_other up to 2: "deadlock";
    lock_word_that_leaves_a_wake_on_its_way by three_exclude_each_other up to 4: "deadlock";
    lock_word_that_keeps_a_wake_to_itself by one_gives_up up to 2: "deadlock";
    lock_word_whose_watcher_sleeps_beside_a_free_lock by a_task_is_dropped_beside_a_thread up to 2: "deadlock";
    lock_word_whose_watcher_is_not_announced by a_task_waits_beside_a_thread up to 2: "deadlock";
}
