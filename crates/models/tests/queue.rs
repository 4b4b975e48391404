//! Queue: what was put is got once and in order, nobody is left waiting, and a death at any step is survived.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::thread;
use procession_models::kernel::until_killed;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::queue::{GetError, Queue};
        use $world as world;

        fn queue(capacity: usize) -> Queue<u8> {
            Queue::options().bytes(64).capacity(capacity).anonymous().unwrap()
        }

        fn put(queue: &Queue<u8>, slot: u32, messages: &'static [u8]) -> thread::JoinHandle<()> {
            let queue = queue.of_process(slot);
            thread::spawn(move || messages.iter().for_each(|message| queue.put(message).unwrap()))
        }

        pub(super) fn in_order(messages: &'static [u8], capacity: usize) {
            let queue = queue(capacity);
            let producer = put(&queue, 1, messages);
            let got: Vec<u8> = messages.iter().map(|_| queue.get().unwrap()).collect();
            producer.join().unwrap();
            assert_eq!(got, messages);
        }

        pub(super) fn two_put_and_two_get() {
            let queue = queue(1);
            let producers = [put(&queue, 1, &[1]), put(&queue, 2, &[2])];
            let other = queue.of_process(3);
            let other = thread::spawn(move || other.get().unwrap());
            let mut got = [queue.get().unwrap(), other.join().unwrap()];
            producers.into_iter().for_each(|thread| thread.join().unwrap());
            got.sort_unstable();
            assert_eq!(got, [1, 2], "messages that were got");
        }

        pub(super) fn two_wait_for_a_close() {
            let queue = queue(0);
            let other = queue.of_process(1);
            let other = thread::spawn(move || other.get());
            queue.put(&7).unwrap();
            queue.close().unwrap();
            let got = [other.join().unwrap(), queue.get()];
            assert!(matches!(got, [Ok(7), Err(GetError::Closed(_))]), "messages that were got: {got:?}");
        }

        /// Who looks while it is closed may be told so, and nothing is lost.
        pub(super) fn one_closes_and_opens_again() {
            let queue = queue(0);
            let other = queue.of_process(1);
            let other = thread::spawn(move || other.get());
            queue.close().unwrap();
            queue.reopen().unwrap();
            queue.put(&7).unwrap();
            let got = match other.join().unwrap() {
                Err(GetError::Closed(_)) => queue.get(),
                got => got,
            };
            assert!(matches!(got, Ok(7)), "messages that were got: {got:?}");
        }

        /// Its message is there, or is not; the next ones are.
        pub(super) fn a_producer_dies_at(label: &'static str) -> bool {
            let queue = queue(0);
            let victim = queue.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || victim.put(&1).unwrap()));
            queue.put(&2).unwrap();
            let died = victim.join().unwrap();
            let mut got: Vec<u8> = std::iter::from_fn(|| queue.try_get().ok()).collect();
            got.sort_unstable();
            let expected: &[u8] = if died && label == "queue.put.written" { &[2] } else { &[1, 2] };
            assert_eq!(got, expected, "messages that were got");
            died
        }

        /// One waits for the message of one that dies as soon as it has committed it.
        pub(super) fn a_producer_dies_beside_a_consumer_at(label: &'static str) -> bool {
            let queue = queue(0);
            let consumer = queue.of_process(2);
            let consumer = thread::spawn(move || consumer.get().unwrap());
            let victim = queue.of_process(1);
            let died = until_killed(1, label, || victim.put(&1).unwrap());
            assert_eq!(consumer.join().unwrap(), 1);
            died
        }

        /// A message goes to one, or with the one that died.
        pub(super) fn a_consumer_dies_at(label: &'static str) -> bool {
            let queue = queue(0);
            queue.put(&1).unwrap();
            queue.put(&2).unwrap();
            let victim = queue.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || assert!(victim.get().is_ok())));
            let first = queue.get().unwrap();
            let died = victim.join().unwrap();
            let rest = queue.try_get().ok();
            assert!(rest.is_none() || died && label == "queue.get.copied" && (first, rest) == (1, Some(2)));
            died
        }
    };
}

mod the_queue {
    models!(procession_models);
}

#[test]
fn what_is_put_is_got_in_order() {
    explore(2, || the_queue::in_order(&[1], 0));
    explore(1, || the_queue::in_order(&[1, 2], 1));
}

#[test]
fn two_producers_and_two_consumers_lose_nothing() {
    explore(0, the_queue::two_put_and_two_get);
}

#[test]
fn a_queue_that_is_opened_again_is_open() {
    explore(1, the_queue::one_closes_and_opens_again);
}

#[test]
fn a_close_reaches_who_waits() {
    explore(1, the_queue::two_wait_for_a_close);
}

#[test]
fn a_death_at_any_step_is_survived() {
    explore_deaths(
        1,
        &["queue.put.written", "queue.put.committed", "queue.put.released"],
        the_queue::a_producer_dies_at,
    );
    let labels = ["queue.put.committed", "queue.put.released"];
    explore_deaths(1, &labels, the_queue::a_producer_dies_beside_a_consumer_at);
    explore_deaths(
        1,
        &["queue.get.copied", "queue.get.committed", "queue.get.released"],
        the_queue::a_consumer_dies_at,
    );
}

found_out! {
    queue_that_stays_closed by one_closes_and_opens_again() up to 1: "is closed";
    queue_that_commits_relaxed by in_order(&[1], 0) up to 2: "Causality violation";
    queue_that_does_not_call by in_order(&[1], 0) up to 2: "deadlock";
    queue_that_commits_before_it_writes by a_producer_dies_at("queue.put.written") up to 1: "messages that were got";
}
