//! `_TestQueue`, of a `JoinableQueue`.
//!
//! On purpose different from Python: what is got is a lease, and to be done is said of it, so that one
//! `task_done` too many (ValueError) does not compile. An item whose lease is dropped, or whose holder dies,
//! is got again. `join` has a timeout. And workers end when the queue is closed and everything is done;
//! nobody has to send them a `None` each.

use crate::ground::{Ground, Line, Made, SHORT, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{AckError, Event, GetError, JoinError, JoinableQueue, Latch, Process, PutError, Value};
use serde::{Deserialize, Serialize, Serializer};
use std::time::{Duration, Instant};

conforms!(
    six_fit_and_a_child_that_leases_them_makes_it_empty_and_not_full,
    four_workers_do_ten_items_and_join_returns_when_all_are_done,
    who_joins_waits_for_the_last_that_is_leased,
    join_times_out_and_nothing_to_do_is_no_wait,
    join_returns_after_an_instant_without_work_although_there_is_more,
    items_of_both_sides_arrive_in_order,
    who_waits_for_an_item_gets_the_one_that_another_puts_or_gives_back,
    an_item_that_is_given_back_is_got_again_before_the_others,
    the_item_of_a_killed_worker_is_done_by_another,
    a_late_acknowledgement_is_refused,
    what_nobody_can_finish_becomes_a_letter_that_any_process_decides_about,
    what_cannot_be_encoded_is_refused_and_is_not_waited_for,
    once_closed_it_ends_when_everything_is_done,
    debug_shows_what_is_left,
);

type Jobs = Sent<JoinableQueue<u32>>;

fn jobs(ground: &Ground) -> Made<JoinableQueue<u32>> {
    ground.make(JoinableQueue::options())
}

/// Does the next item, which must be there; which it was, and in which attempt.
fn do_one(queue: &JoinableQueue<u32>) -> (u32, u32) {
    let lease = queue.try_get().unwrap();
    let done = (*lease, lease.attempt());
    lease.task_done().unwrap();
    done
}

/// Gets an item and says so, and never does it.
fn hold((queue, held): (Jobs, Sent<Event>)) {
    let _lease = queue.get().unwrap();
    held.set();
    for_ever();
}

// test_put, test_get
fn six_fit_and_a_child_that_leases_them_makes_it_empty_and_not_full(ground: &Ground) {
    let queue = ground.make(JoinableQueue::<u32>::options().capacity(6));
    assert!(queue.is_empty() && !queue.is_full());
    for first in [1, 4] {
        queue.put(&first).unwrap();
        queue.try_put(&(first + 1)).unwrap();
        queue.put_timeout(&(first + 2), Duration::MAX).unwrap();
    }
    let is_full = |queue: Jobs| {
        let start = Instant::now();
        assert!(matches!(queue.try_put(&0), Err(PutError::WouldBlock(_))));
        assert!(matches!(queue.put_timeout(&0, Duration::ZERO), Err(PutError::TimedOut(_))));
        assert!(matches!(queue.put_timeout(&0, SHORT), Err(PutError::TimedOut(_))));
        queue.is_full() && start.elapsed() >= SHORT
    };
    assert!(is_full(queue.send()) && elsewhere(is_full, queue.send()));
    let drain = |queue: Jobs| {
        let leases: Vec<_> = (0..6).map(|_| queue.get_timeout(Duration::MAX).unwrap()).collect();
        let start = Instant::now();
        assert!(matches!(queue.try_get(), Err(GetError::WouldBlock(_))));
        assert!(matches!(queue.get_timeout(Duration::ZERO), Err(GetError::TimedOut(_))));
        assert!(matches!(queue.get_timeout(SHORT), Err(GetError::TimedOut(_))));
        assert!(start.elapsed() >= SHORT && queue.is_empty() && !queue.is_full() && queue.unfinished() == 6);
        let all: Vec<u32> = leases.iter().map(|lease| **lease).collect();
        leases.into_iter().for_each(|lease| lease.task_done().unwrap());
        all
    };
    assert_eq!(elsewhere(drain, queue.send()), [1, 2, 3, 4, 5, 6]);
    assert!(queue.is_empty() && !queue.is_full() && queue.unfinished() == 0);
}

// test_task_done
fn four_workers_do_ten_items_and_join_returns_when_all_are_done(ground: &Ground) {
    let (queue, done) = (jobs(ground), ground.make(Value::<u32>::options()));
    let (begun, go_on) = (ground.make(Latch::options().count(4)), ground.make(Event::options()));
    let work = |(queue, done, begun, go_on): (Jobs, Sent<Value<u32>>, Sent<Latch>, Sent<Event>)| {
        for (count, lease) in (1..).zip(&*queue) {
            let lease = lease.unwrap();
            if count == 1 {
                // Each has one before anybody has done one.
                begun.arrive();
                go_on.wait().unwrap();
            }
            done.fetch_add(1).unwrap();
            lease.task_done().unwrap();
        }
    };
    let start = || child(work, (queue.send(), done.send(), begun.send(), go_on.send()));
    let workers: Vec<Process<()>> = (0..4).map(|_| start()).collect();
    (0..10).for_each(|n| queue.put(&n).unwrap());
    begun.wait().unwrap();
    assert!(matches!(queue.join_timeout(Duration::ZERO), Err(JoinError::TimedOut { .. })));
    assert_eq!((queue.len(), queue.unfinished(), done.get().unwrap()), (6, 10, 0));
    go_on.set();
    queue.join().unwrap();
    assert_eq!((queue.len(), queue.unfinished(), done.get().unwrap()), (0, 0, 10));
    queue.close().unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

// test_task_done, one at a time
fn who_joins_waits_for_the_last_that_is_leased(ground: &Ground) {
    let (queue, line) = (jobs(ground), ground.line());
    (1..=2).for_each(|n| queue.put(&n).unwrap());
    let join = |(queue, line): (Jobs, Line)| {
        line.waits_now();
        queue.join().unwrap();
        queue.unfinished()
    };
    let waiter = child(join, (queue.send(), line.clone()));
    line.falls_asleep(&waiter);
    let (one, two) = (queue.get().unwrap(), queue.get().unwrap());
    two.task_done().unwrap();
    line.falls_asleep(&waiter);
    assert_eq!(queue.unfinished(), 1);
    one.task_done().unwrap();
    assert_eq!(waiter.join().unwrap(), 0);
}

// None: there, `join` has no timeout.
fn join_times_out_and_nothing_to_do_is_no_wait(ground: &Ground) {
    let queue = jobs(ground);
    let is_done = |queue: Jobs| queue.join().is_ok() && queue.join_timeout(Duration::ZERO).is_ok();
    assert!(is_done(queue.send()) && elsewhere(is_done, queue.send()));
    queue.put(&1).unwrap();
    let times_out = |queue: Jobs| {
        let start = Instant::now();
        assert!(matches!(queue.join_timeout(Duration::ZERO), Err(JoinError::TimedOut { .. })));
        assert!(matches!(queue.join_timeout(SHORT), Err(JoinError::TimedOut { .. })));
        start.elapsed() >= SHORT
    };
    assert!(times_out(queue.send()) && elsewhere(times_out, queue.send()));
    let lease = queue.get().unwrap();
    assert!(times_out(queue.send()) && elsewhere(times_out, queue.send()));
    lease.task_done().unwrap();
    assert!(is_done(queue.send()) && elsewhere(is_done, queue.send()));
}

// None, but Python is so made.
fn join_returns_after_an_instant_without_work_although_there_is_more(ground: &Ground) {
    let (queue, line) = (jobs(ground), ground.line());
    let join = |(queue, line): (Jobs, Line)| {
        line.waits_now();
        queue.join().unwrap();
    };
    queue.put(&1).unwrap();
    let waiter = child(join, (queue.send(), line.clone()));
    line.falls_asleep(&waiter);
    assert_eq!(do_one(&queue), (1, 1));
    queue.put(&2).unwrap();
    waiter.join().unwrap();
    assert_eq!(queue.unfinished(), 1);
}

// test_fork, test_qsize
fn items_of_both_sides_arrive_in_order(ground: &Ground) {
    let queue = jobs(ground);
    (0..10).for_each(|n| queue.put(&n).unwrap());
    elsewhere(|queue: Jobs| (10..20).for_each(|n| queue.put(&n).unwrap()), queue.send());
    let len = |queue: Jobs| (queue.len(), queue.unfinished());
    assert_eq!((len(queue.send()), elsewhere(len, queue.send())), ((20, 20), (20, 20)));
    (0..20).for_each(|n| assert_eq!(do_one(&queue), (n, 1)));
    assert_eq!((len(queue.send()), elsewhere(len, queue.send())), ((0, 0), (0, 0)));
}

// test_get, where it blocks
fn who_waits_for_an_item_gets_the_one_that_another_puts_or_gives_back(ground: &Ground) {
    let queue = jobs(ground);
    let get = |(queue, line): (Jobs, Line)| {
        line.waits_now();
        let lease = queue.get().unwrap();
        let got = (*lease, lease.attempt());
        lease.task_done().unwrap();
        got
    };
    let start = || {
        let line = ground.line();
        let waiter = child(get, (queue.send(), line.clone()));
        line.falls_asleep(&waiter);
        waiter
    };
    let waiter = start();
    queue.put(&7).unwrap();
    assert_eq!(waiter.join().unwrap(), (7, 1));
    queue.put(&8).unwrap();
    let lease = queue.get().unwrap();
    let waiter = start();
    drop(lease);
    assert_eq!(waiter.join().unwrap(), (8, 2));
}

// None: there is nothing to give back.
fn an_item_that_is_given_back_is_got_again_before_the_others(ground: &Ground) {
    let queue = jobs(ground);
    (1..=3).for_each(|n| queue.put(&n).unwrap());
    elsewhere(|queue: Jobs| drop((queue.get().unwrap(), queue.get().unwrap())), queue.send());
    assert_eq!(queue.len(), 3);
    let all = |queue: Jobs| [do_one(&queue), do_one(&queue), do_one(&queue)];
    assert_eq!(elsewhere(all, queue.send()), [(1, 2), (2, 2), (3, 1)]);
}

// None: there, the item is lost, and whoever joins waits for ever.
fn the_item_of_a_killed_worker_is_done_by_another(ground: &Ground) {
    let (queue, held) = (jobs(ground), ground.make(Event::options()));
    queue.put(&1).unwrap();
    let victim: Process<()> = child(hold, (queue.send(), held.send()));
    held.wait().unwrap();
    assert!(matches!(queue.get_timeout(SHORT), Err(GetError::TimedOut(_))));
    let line = ground.line();
    let join = |(queue, line): (Jobs, Line)| {
        line.waits_now();
        queue.join().unwrap();
    };
    let waiter = child(join, (queue.send(), line.clone()));
    line.falls_asleep(&waiter);
    kill(&victim);
    assert_eq!(elsewhere(|queue: Jobs| do_one(&queue), queue.send()), (1, 2));
    waiter.join().unwrap();
}

// None: there are no leases.
fn a_late_acknowledgement_is_refused(ground: &Ground) {
    let queue = ground.make(JoinableQueue::<u32>::options().lease_timeout(SHORT));
    queue.put(&1).unwrap();
    let late = queue.get().unwrap();
    let get = |queue: Jobs| {
        let lease = queue.get().unwrap();
        (*lease, lease.attempt(), lease.task_done().is_ok())
    };
    // A holder that lives, and has it for longer than that. The other may be slow, too.
    let mut other = elsewhere(get, queue.send());
    while !other.2 {
        other = elsewhere(get, queue.send());
    }
    assert!(other.0 == 1 && other.1 >= 2, "{other:?}");
    match late.task_done() {
        Err(AckError::StaleLease { attempt: 1, queue }) => assert_ne!(queue.to_string(), ""),
        other => panic!("{other:?}"),
    }
    queue.join().unwrap();
}

// None: there is nothing like it.
fn what_nobody_can_finish_becomes_a_letter_that_any_process_decides_about(ground: &Ground) {
    let queue = ground.make(JoinableQueue::<u32>::options().max_attempts(2));
    (1..=2).for_each(|n| queue.put(&n).unwrap());
    let fail = |queue: Jobs| {
        let lease = queue.get().unwrap();
        (*lease, lease.attempt())
    };
    assert_eq!(elsewhere(fail, queue.send()), (1, 1));
    let held = ground.make(Event::options());
    let victim: Process<()> = child(hold, (queue.send(), held.send()));
    held.wait().unwrap();
    assert_eq!(do_one(&queue), (2, 1));
    kill(&victim);
    queue.join().unwrap();
    let letters = |queue: Jobs| {
        let letters = queue.dead_letters().unwrap();
        letters.iter().map(|letter| (letter.item().unwrap(), letter.attempts)).collect::<Vec<_>>()
    };
    assert_eq!(elsewhere(letters, queue.send()), [(1, 2)]);
    let letter = queue.dead_letters().unwrap().remove(0);
    let retry = |queue: Jobs| queue.retry(&queue.dead_letters().unwrap()[0]).unwrap();
    assert!(elsewhere(retry, queue.send()));
    assert!(!queue.discard(&letter).unwrap(), "another has decided");
    assert_eq!((fail(queue.send()), fail(queue.send())), ((1, 1), (1, 2)));
    let discard = |queue: Jobs| queue.discard(&queue.dead_letters().unwrap()[0]).unwrap();
    assert!(elsewhere(discard, queue.send()));
    assert_eq!(letters(queue.send()), []);
}

/// A number that cannot be encoded when it is 0.
#[derive(Deserialize)]
struct Fussy(u32);

impl Serialize for Fussy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0 {
            return Err(serde::ser::Error::custom("no zero"));
        }
        self.0.serialize(serializer)
    }
}

// test_queue_feeder_donot_stop_onexc. There, `join` counts it, and waits for ever.
fn what_cannot_be_encoded_is_refused_and_is_not_waited_for(ground: &Ground) {
    let queue = ground.make(JoinableQueue::<Fussy>::options());
    let put = |queue: Sent<JoinableQueue<Fussy>>| {
        matches!(queue.put(&Fussy(0)), Err(PutError::Encode(_))) && queue.unfinished() == 0
    };
    assert!(elsewhere(put, queue.send()));
    queue.join().unwrap();
    queue.put(&Fussy(1)).unwrap();
    let lease = queue.get().unwrap();
    assert_eq!(lease.0, 1);
    lease.task_done().unwrap();
}

// test_closed_queue_put_get_exceptions
fn once_closed_it_ends_when_everything_is_done(ground: &Ground) {
    let (queue, line) = (jobs(ground), ground.line());
    queue.put(&1).unwrap();
    let lease = queue.get().unwrap();
    elsewhere(|queue: Jobs| queue.close().unwrap(), queue.send());
    queue.close().unwrap();
    let is_refused = |queue: Jobs| {
        matches!(queue.put(&2), Err(PutError::Closed(_)))
            && matches!(queue.try_get(), Err(GetError::WouldBlock(_)))
    };
    assert!(queue.is_closed() && is_refused(queue.send()) && elsewhere(is_refused, queue.send()));
    // It may come back, so it is not the end.
    let work = |(queue, line): (Jobs, Line)| {
        line.waits_now();
        queue.iter().map(|lease| lease.unwrap().task_done().unwrap()).count()
    };
    let worker = child(work, (queue.send(), line.clone()));
    line.falls_asleep(&worker);
    drop(lease);
    assert_eq!(worker.join().unwrap(), 1);
    let is_at_its_end = |queue: Jobs| {
        matches!(queue.get(), Err(GetError::Closed(_))) && matches!(queue.try_get(), Err(GetError::Closed(_)))
    };
    assert!(is_at_its_end(queue.send()) && elsewhere(is_at_its_end, queue.send()));
}

// None: `<multiprocessing.queues.JoinableQueue object at …>`
fn debug_shows_what_is_left(ground: &Ground) {
    let queue = jobs(ground);
    (1..=3).for_each(|n| queue.put(&n).unwrap());
    let _lease = queue.get().unwrap();
    let shown = elsewhere(|queue: Jobs| format!("{:?}", *queue), queue.send());
    assert!(shown.contains("len: 2, unfinished: 3, capacity: None, closed: false"), "{shown}");
}
