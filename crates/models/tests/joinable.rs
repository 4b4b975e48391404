//! Joinable queue: an item is one holder's at a time, comes back when its holder dies, and is done once.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::thread;
use procession_models::kernel::{set_clock, until_killed};
use procession_models::{GetError, crash_point};
use std::time::Duration;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::joinable::{AckError, JoinableQueue, Lease};
        use $world as world;

        /// With room for two items; the first is put before there are other threads, as the model's memory
        /// wants.
        fn queue(capacity: usize) -> JoinableQueue<u8> {
            let queue: JoinableQueue<u8> =
                JoinableQueue::options().bytes(256).capacity(capacity).anonymous().unwrap();
            queue.put(&1).unwrap();
            queue
        }

        fn spawn<T: 'static>(
            queue: &JoinableQueue<u8>,
            slot: u32,
            act: impl FnOnce(&JoinableQueue<u8>) -> T + 'static,
        ) -> thread::JoinHandle<T> {
            let queue = queue.of_process(slot);
            thread::spawn(move || act(&queue))
        }

        fn is_done(queue: &JoinableQueue<u8>) {
            assert_eq!(queue.unfinished(), 0, "items that are not done");
            assert!(queue.try_get().is_err(), "items that are there");
            queue.join().unwrap();
        }

        /// One puts, one gets, one joins.
        pub(super) fn all_is_done() {
            let queue = queue(1);
            let worker = spawn(&queue, 1, |queue| {
                for expected in [1, 2] {
                    let lease = queue.get().unwrap();
                    assert_eq!((*lease, lease.attempt()), (expected, 1), "items");
                    lease.task_done().unwrap();
                }
            });
            queue.put(&2).unwrap();
            queue.join().unwrap();
            worker.join().unwrap();
            is_done(&queue);
        }

        /// Two get, one item each.
        pub(super) fn two_get() {
            let queue = queue(0);
            let work = |queue: &JoinableQueue<u8>| {
                let lease = queue.get().unwrap();
                let item = *lease;
                lease.task_done().unwrap();
                item
            };
            let other = spawn(&queue, 1, work);
            queue.put(&2).unwrap();
            let items = work(&queue) + other.join().unwrap();
            assert_eq!(items, 3, "items");
            is_done(&queue);
        }

        /// What is given back is got by who waits for it.
        pub(super) fn one_gives_back() {
            let queue = queue(0);
            let lease = queue.get().unwrap();
            let other = spawn(&queue, 1, |queue| {
                let lease = queue.get().unwrap();
                assert_eq!((*lease, lease.attempt()), (1, 2), "items");
                lease.task_done().unwrap();
            });
            drop(lease);
            queue.join().unwrap();
            other.join().unwrap();
            is_done(&queue);
        }

        /// All who wait are told that it is closed when the last item is done.
        pub(super) fn one_closes() {
            let queue = queue(0);
            let lease = queue.get().unwrap();
            let other =
                spawn(&queue, 1, |queue| assert!(matches!(queue.get(), Err(GetError::Closed(_))), "items"));
            queue.close().unwrap();
            lease.task_done().unwrap();
            other.join().unwrap();
        }

        /// Who looks while it is closed may be told so; what is put after it was opened is got, and done.
        pub(super) fn one_closes_and_opens_again() {
            let queue = queue(0);
            queue.get().unwrap().task_done().unwrap();
            let get = |queue: &JoinableQueue<u8>| {
                queue.get().map(|lease| {
                    let item = *lease;
                    lease.task_done().unwrap();
                    item
                })
            };
            let other = spawn(&queue, 1, get);
            queue.close().unwrap();
            queue.reopen().unwrap();
            queue.put(&2).unwrap();
            let got = match other.join().unwrap() {
                Err(GetError::Closed(_)) => get(&queue),
                got => got,
            };
            assert!(matches!(got, Ok(2)), "items: {got:?}");
            is_done(&queue);
        }

        /// One dies while it opens a closed queue again, beside one who works: the queue is open once that has
        /// its effect, and whole in any case.
        pub(super) fn who_opens_again_dies_at(label: &'static str) -> bool {
            let queue = queue(0);
            queue.close().unwrap();
            let victim = spawn(&queue, 1, move |queue| until_killed(1, label, || queue.reopen().unwrap()));
            queue.get().unwrap().task_done().unwrap();
            let died = victim.join().unwrap();
            let is_open = queue.put(&2).is_ok();
            assert_eq!(is_open, !died || label != "lock.acquired", "open");
            queue.close().unwrap();
            assert_eq!(work(&queue).len(), usize::from(is_open), "items");
            is_done(&queue);
            died
        }

        /// Everything that is there until all is done, and how often each was got.
        fn work(queue: &JoinableQueue<u8>) -> Vec<(u8, u32)> {
            let work = |lease: Result<Lease<u8>, GetError>| {
                let lease = lease.unwrap();
                let got = (*lease, lease.attempt());
                lease.task_done().unwrap();
                got
            };
            queue.iter().map(work).collect()
        }

        /// One gets and dies; what it had is done by another, in the next attempt.
        pub(super) fn a_holder_dies_at(label: &'static str) -> bool {
            let queue = queue(0);
            queue.put(&2).unwrap();
            queue.close().unwrap();
            let victim = spawn(&queue, 1, move |queue| {
                until_killed(1, label, || {
                    let lease = queue.try_get();
                    crash_point("lease.held");
                    drop(lease);
                })
            });
            let mut done = work(&queue);
            let died = victim.join().unwrap();
            done.sort_unstable();
            let items: Vec<_> = done.iter().map(|&(item, _)| item).collect();
            assert_eq!(items, [1, 2], "items");
            assert!(done.iter().map(|&(_, attempt)| attempt - 1).sum::<u32>() <= 1, "attempts: {done:?}");
            is_done(&queue);
            died
        }

        /// One dies while it acknowledges: its item is done, or comes back.
        pub(super) fn who_acknowledges_dies_at(label: &'static str) -> bool {
            let queue = queue(0);
            queue.close().unwrap();
            let lease = queue.of_process(1).get().unwrap();
            let victim = thread::spawn(move || until_killed(1, label, || lease.task_done().unwrap()));
            let done = work(&queue);
            let died = victim.join().unwrap();
            assert!(
                done.is_empty() || died && label == "lock.acquired" && done == [(1, 2)],
                "items: {done:?}"
            );
            is_done(&queue);
            died
        }

        /// A lease is over time while its holder acknowledges: it is done by it, or by another.
        pub(super) fn one_acknowledges_late() {
            set_clock(1);
            let queue: JoinableQueue<u8> = JoinableQueue::options()
                .bytes(256)
                .lease_timeout(Duration::from_nanos(9))
                .anonymous()
                .unwrap();
            queue.put(&1).unwrap();
            queue.close().unwrap();
            let lease = queue.of_process(1).get().unwrap();
            set_clock(10);
            let late = thread::spawn(move || match lease.task_done() {
                Ok(()) => true,
                Err(AckError::StaleLease { attempt, .. }) => attempt != 1,
                Err(error) => panic!("{error}"),
            });
            let done = work(&queue);
            assert_eq!(done, if late.join().unwrap() { vec![] } else { vec![(1, 2)] }, "items");
            is_done(&queue);
        }

        /// A lease is over time while its holder extends it: then nobody takes it, or it has come too late.
        pub(super) fn one_extends_late() {
            set_clock(1);
            let queue: JoinableQueue<u8> = JoinableQueue::options()
                .bytes(256)
                .lease_timeout(Duration::from_nanos(9))
                .anonymous()
                .unwrap();
            queue.put(&1).unwrap();
            queue.close().unwrap();
            let lease = queue.of_process(1).get().unwrap();
            set_clock(10);
            let late = thread::spawn(move || {
                let is_extended = lease.extend(Duration::from_nanos(90)).is_ok();
                assert_eq!(lease.task_done().is_ok(), is_extended, "extended");
                is_extended
            });
            let done = work(&queue);
            assert_eq!(done, if late.join().unwrap() { vec![] } else { vec![(1, 2)] }, "items");
            is_done(&queue);
        }

        /// Its holder and who has its token decide about one item: one of them does.
        pub(super) fn two_decide() {
            let queue = queue(0);
            let lease = queue.get().unwrap();
            let token = lease.token();
            let other = spawn(&queue, 1, move |queue| queue.redeem(token).task_done().is_ok());
            let is_mine = lease.task_done().is_ok();
            assert!(is_mine != other.join().unwrap(), "decisions");
            is_done(&queue);
        }

        /// One finds what a dead one held, and dies over it.
        pub(super) fn who_finds_the_dead_dies_at(label: &'static str) -> bool {
            let queue = queue(0);
            queue.close().unwrap();
            let dead = queue.of_process(3);
            assert!(until_killed(3, "lease.held", || {
                let lease = dead.get().unwrap();
                crash_point("lease.held");
                drop(lease);
            }));
            let victim = spawn(&queue, 1, move |queue| until_killed(1, label, || drop(queue.try_get())));
            let done = work(&queue);
            let died = victim.join().unwrap();
            assert!(matches!(done[..], [(1, 2 | 3)]), "items: {done:?}");
            is_done(&queue);
            died
        }

        /// A put is there or is not, and a death of who puts keeps nobody.
        pub(super) fn a_producer_dies_at(label: &'static str) -> bool {
            let queue = queue(0);
            let victim = spawn(&queue, 1, move |queue| until_killed(1, label, || queue.put(&2).unwrap()));
            let lease = queue.get().unwrap();
            lease.task_done().unwrap();
            let died = victim.join().unwrap();
            let rest: Vec<_> = std::iter::from_fn(|| {
                let lease = queue.try_get().ok()?;
                let item = *lease;
                lease.task_done().unwrap();
                Some(item)
            })
            .collect();
            let is_there = !died || label != "joinable.written";
            assert_eq!(rest.len(), usize::from(is_there), "items that are there");
            is_done(&queue);
            died
        }
    };
}

mod the_queue {
    models!(procession_models);
}

#[test]
fn all_that_is_put_is_done() {
    explore(1, the_queue::all_is_done);
    explore(1, the_queue::two_get);
}

#[test]
fn what_is_given_back_is_got_again() {
    explore(1, the_queue::one_gives_back);
}

#[test]
fn a_close_is_told_when_all_is_done() {
    explore(1, the_queue::one_closes);
}

#[test]
fn a_queue_that_is_opened_again_is_open() {
    explore(1, the_queue::one_closes_and_opens_again);
    let labels = ["lock.acquired", "joinable.reopened", "joinable.released"];
    explore_deaths(1, &labels, the_queue::who_opens_again_dies_at);
}

#[test]
fn a_death_of_a_holder_is_survived() {
    let labels = ["joinable.changed", "joinable.counted", "joinable.released", "lease.held"];
    explore_deaths(1, &labels, the_queue::a_holder_dies_at);
    let labels = ["lock.acquired", "joinable.changed", "joinable.counted", "joinable.released"];
    explore_deaths(1, &labels, the_queue::who_acknowledges_dies_at);
}

#[test]
fn a_death_of_a_producer_is_survived() {
    let labels = ["joinable.written", "joinable.changed", "joinable.counted", "joinable.released"];
    explore_deaths(1, &labels, the_queue::a_producer_dies_at);
}

#[test]
fn an_item_is_done_once() {
    explore(2, the_queue::one_acknowledges_late);
    explore(2, the_queue::one_extends_late);
    explore(2, the_queue::two_decide);
    let labels = ["joinable.found_lost", "joinable.changed", "joinable.counted", "joinable.released"];
    explore_deaths(1, &labels, the_queue::who_finds_the_dead_dies_at);
}

found_out! {
    joinable_that_does_not_call by all_is_done up to 2: "deadlock";
    joinable_that_does_not_fence by all_is_done up to 2: "deadlock";
    joinable_that_does_not_say_that_it_is_done by all_is_done up to 2: "deadlock";
    joinable_that_gives_back_in_silence by one_gives_back up to 2: "deadlock";
    joinable_that_stays_closed by one_closes_and_opens_again() up to 1: "is closed";
    joinable_that_closes_in_silence by one_closes up to 2: "deadlock";
    joinable_that_commits_before_it_writes by a_producer_dies_at("joinable.written") up to 2: "items that are there";
    joinable_that_does_not_look_for_the_dead by a_holder_dies_at("lease.held") up to 1: "deadlock";
    joinable_that_does_not_count_anew by a_holder_dies_at("joinable.changed") up to 1: "is corrupt";
    joinable_that_takes_any_acknowledgement by one_acknowledges_late up to 2: "items";
    joinable_that_takes_what_was_extended by one_extends_late up to 2: "extended";
    joinable_that_takes_any_token by two_decide up to 2: "decisions";
    joinable_that_forgets_how_often by one_gives_back up to 2: "items";
    joinable_that_looks_only_behind by one_gives_back up to 2: "is corrupt";
}
