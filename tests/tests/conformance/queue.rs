//! `_TestQueue`, of a `Queue`.
//!
//! On purpose different from Python: no thread feeds the queue, so what was put is there when `put` returns,
//! what cannot be encoded is an error of `put`, and who has put may end at once; nothing is like
//! `join_thread`. `close` is for all processes: nothing can be put any more, what is there can be got, and
//! then everybody is told that it is the end. And `len` and `is_full` are of one mind with `is_empty`.

use crate::ground::{Ground, Line, Made, SHORT, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{Event, GetError, Process, PutError, Queue};
use serde::{Deserialize, Serialize, Serializer};
use std::time::{Duration, Instant};

conforms!(
    six_fit_and_a_child_that_gets_them_makes_it_empty_and_not_full,
    five_are_got_in_order_and_then_it_is_empty,
    items_put_before_and_after_the_start_of_a_child_arrive_in_order,
    its_length_is_the_same_for_all,
    who_waits_for_an_item_gets_the_one_that_another_puts,
    who_waits_for_room_goes_on_when_another_gets,
    what_was_put_is_there_at_once,
    a_process_that_has_put_much_ends_before_any_of_it_is_got,
    what_cannot_be_encoded_is_refused_and_takes_no_room,
    once_closed_it_is_drained_and_then_at_its_end_for_all,
    who_waits_is_told_when_it_is_closed,
    many_processes_put_and_get_everything_once_and_in_order,
    what_a_killed_process_has_put_is_there,
    a_killed_waiter_takes_nothing_along,
    debug_shows_how_full_it_is,
);

type Numbers = Sent<Queue<u32>>;

fn numbers(ground: &Ground, capacity: usize) -> Made<Queue<u32>> {
    ground.make(Queue::options().capacity(capacity))
}

/// Whether nobody can put, and each way of putting says so in its time.
fn is_full(queue: Numbers) -> bool {
    let start = Instant::now();
    assert!(matches!(queue.try_put(&0), Err(PutError::WouldBlock(_))));
    assert!(matches!(queue.put_timeout(&0, Duration::ZERO), Err(PutError::TimedOut(_))));
    assert!(matches!(queue.put_timeout(&0, SHORT), Err(PutError::TimedOut(_))));
    queue.is_full() && start.elapsed() >= SHORT
}

/// Whether nobody can get, and each way of getting says so in its time.
fn is_empty(queue: Numbers) -> bool {
    let start = Instant::now();
    assert!(matches!(queue.try_get(), Err(GetError::WouldBlock(_))));
    assert!(matches!(queue.get_timeout(Duration::ZERO), Err(GetError::TimedOut(_))));
    assert!(matches!(queue.get_timeout(SHORT), Err(GetError::TimedOut(_))));
    queue.is_empty() && start.elapsed() >= SHORT
}

fn get_three(queue: Numbers) -> [u32; 3] {
    [queue.get().unwrap(), queue.try_get().unwrap(), queue.get_timeout(Duration::MAX).unwrap()]
}

// test_put
fn six_fit_and_a_child_that_gets_them_makes_it_empty_and_not_full(ground: &Ground) {
    let queue = numbers(ground, 6);
    assert!(queue.is_empty() && !queue.is_full() && queue.capacity() == Some(6));
    for first in [1, 4] {
        queue.put(&first).unwrap();
        queue.try_put(&(first + 1)).unwrap();
        queue.put_timeout(&(first + 2), Duration::MAX).unwrap();
    }
    assert!(is_full(queue.send()) && elsewhere(is_full, queue.send()));
    assert_eq!(elsewhere(get_three, queue.send()), [1, 2, 3]);
    assert_eq!(elsewhere(get_three, queue.send()), [4, 5, 6]);
    assert!(queue.is_empty() && !queue.is_full());
}

// test_get, test_timeout
fn five_are_got_in_order_and_then_it_is_empty(ground: &Ground) {
    let queue = numbers(ground, 0);
    let put = |queue: Numbers| (1..=5).for_each(|n| queue.put(&n).unwrap());
    elsewhere(put, queue.send());
    assert!(!queue.is_empty());
    assert_eq!(get_three(queue.send()), [1, 2, 3]);
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (4, 5));
    assert!(is_empty(queue.send()) && elsewhere(is_empty, queue.send()));
}

// test_fork
fn items_put_before_and_after_the_start_of_a_child_arrive_in_order(ground: &Ground) {
    let queue = numbers(ground, 0);
    (0..10).for_each(|n| queue.put(&n).unwrap());
    let put = |queue: Numbers| (10..20).for_each(|n| queue.put(&n).unwrap());
    let other = child(put, queue.send());
    (0..20).for_each(|n| assert_eq!(queue.get().unwrap(), n));
    other.join().unwrap();
    assert!(queue.is_empty());
}

// test_qsize
fn its_length_is_the_same_for_all(ground: &Ground) {
    let queue = numbers(ground, 0);
    let len = |queue: Numbers| queue.len();
    let is = |expected| assert_eq!((queue.len(), elsewhere(len, queue.send())), (expected, expected));
    is(0);
    queue.put(&1).unwrap();
    is(1);
    elsewhere(|queue: Numbers| queue.put(&5).unwrap(), queue.send());
    is(2);
    queue.get().unwrap();
    is(1);
    elsewhere(|queue: Numbers| queue.get().unwrap(), queue.send());
    is(0);
}

// test_get, where it blocks
fn who_waits_for_an_item_gets_the_one_that_another_puts(ground: &Ground) {
    let (queue, line) = (numbers(ground, 0), ground.line());
    let get = |(queue, line): (Numbers, Line)| {
        line.waits_now();
        queue.get().unwrap()
    };
    let waiter = child(get, (queue.send(), line.clone()));
    line.falls_asleep(&waiter);
    queue.put(&7).unwrap();
    assert_eq!(waiter.join().unwrap(), 7);
    assert!(queue.is_empty());
}

// test_put, where it blocks
fn who_waits_for_room_goes_on_when_another_gets(ground: &Ground) {
    let (queue, line) = (numbers(ground, 1), ground.line());
    queue.put(&1).unwrap();
    let put = |(queue, line): (Numbers, Line)| {
        line.waits_now();
        queue.put(&2).unwrap();
    };
    let waiter = child(put, (queue.send(), line.clone()));
    line.falls_asleep(&waiter);
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.get().unwrap(), 1);
    waiter.join().unwrap();
    assert_eq!(queue.try_get().unwrap(), 2);
}

// None: there, `put` and then `get_nowait` may say `Empty`.
fn what_was_put_is_there_at_once(ground: &Ground) {
    let (ours, theirs) = (numbers(ground, 0), numbers(ground, 0));
    let answer = |(ours, theirs): (Numbers, Numbers)| {
        // Whoever hears of the one in whatever way finds the other.
        (0..200).all(|n| theirs.get().unwrap() == n && ours.try_get().unwrap() == n)
    };
    let other = child(answer, (ours.send(), theirs.send()));
    for n in 0..200 {
        ours.put(&n).unwrap();
        theirs.put(&n).unwrap();
    }
    assert!(other.join().unwrap());
}

// None: there, whoever joins the child before the queue is drained waits for ever.
fn a_process_that_has_put_much_ends_before_any_of_it_is_got(ground: &Ground) {
    let queue = ground.make(Queue::<Vec<u8>>::options());
    let put = |queue: Sent<Queue<Vec<u8>>>| (1..=9).for_each(|n| queue.put(&vec![n; 100_000]).unwrap());
    elsewhere(put, queue.send());
    assert_eq!(queue.len(), 9);
    (1..=9).for_each(|n| assert_eq!(queue.try_get().unwrap(), vec![n; 100_000]));
}

/// A number that cannot be encoded when it is 0.
#[derive(Debug, PartialEq, Deserialize)]
struct Fussy(u32);

impl Serialize for Fussy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0 {
            return Err(serde::ser::Error::custom("no zero"));
        }
        self.0.serialize(serializer)
    }
}

// test_queue_feeder_donot_stop_onexc, test_queue_feeder_on_queue_feeder_error: there, it is dropped without a
// word to who has put it.
fn what_cannot_be_encoded_is_refused_and_takes_no_room(ground: &Ground) {
    let queue = ground.make(Queue::<Fussy>::options().capacity(1));
    let put = |queue: Sent<Queue<Fussy>>| {
        let refused = queue.put(&Fussy(0));
        assert!(matches!(refused, Err(PutError::Encode(_))), "{refused:?}");
        queue.is_empty() && queue.try_put(&Fussy(1)).is_ok()
    };
    assert!(elsewhere(put, queue.send()));
    assert!(queue.is_full());
    // Nor does it wait for any.
    assert!(matches!(queue.put(&Fussy(0)), Err(PutError::Encode(_))));
    assert_eq!(queue.get().unwrap(), Fussy(1));
    assert!(queue.is_empty());
}

// test_closed_queue_empty_exceptions, test_closed_queue_put_get_exceptions: there, only for the process that
// closes it.
fn once_closed_it_is_drained_and_then_at_its_end_for_all(ground: &Ground) {
    let queue = numbers(ground, 0);
    (1..=2).for_each(|n| queue.put(&n).unwrap());
    elsewhere(|queue: Numbers| queue.close().unwrap(), queue.send());
    queue.close().unwrap();
    let end = |queue: Numbers| {
        assert!(matches!(queue.put(&3), Err(PutError::Closed(_))));
        assert!(matches!(queue.try_put(&3), Err(PutError::Closed(_))));
        assert!(matches!(queue.put_timeout(&3, Duration::MAX), Err(PutError::Closed(_))));
        let got = queue.get().unwrap();
        (got, queue.len(), queue.is_closed())
    };
    assert_eq!(elsewhere(end, queue.send()), (1, 1, true));
    assert_eq!(end(queue.send()), (2, 0, true));
    let is_at_its_end = |queue: Numbers| {
        matches!(queue.get(), Err(GetError::Closed(_)))
            && matches!(queue.try_get(), Err(GetError::Closed(_)))
            && matches!(queue.get_timeout(Duration::MAX), Err(GetError::Closed(_)))
            && queue.is_empty()
    };
    assert!(is_at_its_end(queue.send()) && elsewhere(is_at_its_end, queue.send()));
}

/// Two who wait for `queue`, which is then closed; whether both were told.
fn are_told<F>(ground: &Ground, queue: &Made<Queue<u32>>, wait: F) -> bool
where
    F: Fn((Numbers, Line)) -> bool + Copy + 'static,
{
    let lines = [ground.line(), ground.line()];
    let waiters = lines.each_ref().map(|line| child(wait, (queue.send(), line.clone())));
    lines.iter().zip(&waiters).for_each(|(line, waiter)| line.falls_asleep(waiter));
    queue.close().unwrap();
    waiters.into_iter().all(|waiter| waiter.join().unwrap())
}

// None: there, nobody else learns of it.
fn who_waits_is_told_when_it_is_closed(ground: &Ground) {
    let get = |(queue, line): (Numbers, Line)| {
        line.waits_now();
        matches!(queue.get(), Err(GetError::Closed(_)))
    };
    assert!(are_told(ground, &numbers(ground, 1), get));
    let put = |(queue, line): (Numbers, Line)| {
        line.waits_now();
        matches!(queue.put(&2), Err(PutError::Closed(_)))
    };
    let full = numbers(ground, 1);
    full.put(&1).unwrap();
    assert!(are_told(ground, &full, put));
    assert_eq!((full.len(), full.get().unwrap()), (1, 1));
}

// None: `_TestQueue` has never more than two at a queue.
fn many_processes_put_and_get_everything_once_and_in_order(ground: &Ground) {
    const EACH: u32 = 300;
    let queue = ground.make(Queue::<(u32, u32)>::options().bytes(512));
    let put = |(queue, who): (Sent<Queue<(u32, u32)>>, u32)| {
        (0..EACH).for_each(|n| queue.put(&(who, n)).unwrap());
    };
    let get = |queue: Sent<Queue<(u32, u32)>>| {
        let mut got = Vec::new();
        loop {
            match queue.get() {
                Ok(message) => got.push(message),
                Err(GetError::Closed(_)) => return got,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let consumers: Vec<_> = (0..3).map(|_| child(get, queue.send())).collect();
    let producers: Vec<_> = (0..3).map(|who| child(put, (queue.send(), who))).collect();
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    queue.close().unwrap();
    let mut all = Vec::new();
    for consumer in consumers {
        let got = consumer.join().unwrap();
        for who in 0..3 {
            let of_one = got.iter().filter(|message| message.0 == who);
            assert!(of_one.is_sorted_by(|one, next| one.1 < next.1), "{who} is out of order");
        }
        all.extend(got);
    }
    all.sort_unstable();
    let put: Vec<_> = (0..3).flat_map(|who| (0..EACH).map(move |n| (who, n))).collect();
    assert_eq!(all, put);
}

// None: there, what its thread has not written is lost, and a lock may be.
fn what_a_killed_process_has_put_is_there(ground: &Ground) {
    let (queue, put) = (numbers(ground, 0), ground.make(Event::options()));
    let die = |(queue, put): (Numbers, Sent<Event>)| {
        (1..=5).for_each(|n| queue.put(&n).unwrap());
        put.set();
        for_ever();
    };
    let other: Process<()> = child(die, (queue.send(), put.send()));
    put.wait().unwrap();
    kill(&other);
    assert_eq!((queue.len(), elsewhere(get_three, queue.send())), (5, [1, 2, 3]));
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (4, 5));
}

// None: there, it dies with the lock of all readers.
fn a_killed_waiter_takes_nothing_along(ground: &Ground) {
    let queue = numbers(ground, 0);
    let get = |(queue, line): (Numbers, Line)| {
        line.waits_now();
        queue.get().unwrap()
    };
    let lines = [ground.line(), ground.line()];
    let [first, second] = lines.each_ref().map(|line| {
        let waiter = child(get, (queue.send(), line.clone()));
        line.falls_asleep(&waiter);
        waiter
    });
    kill(&first);
    queue.put(&1).unwrap();
    assert_eq!(second.join().unwrap(), 1);
    queue.put(&2).unwrap();
    assert_eq!(queue.try_get().unwrap(), 2);
}

// None: `<multiprocessing.queues.Queue object at …>`
fn debug_shows_how_full_it_is(ground: &Ground) {
    let queue = numbers(ground, 3);
    queue.put(&1).unwrap();
    let shown = elsewhere(|queue: Numbers| format!("{:?}", *queue), queue.send());
    assert!(shown.contains("len: 1, capacity: Some(3), closed: false"), "{shown}");
}
