//! One process, several threads: the cells and blocks, and the answers of a queue.

mod leases;

use super::{AckError, JoinError, JoinableQueue};
use crate::queue::{GetError, PutError};
use procession_shm::{Namespace, OpenError};
use procession_sync::Fault;
use procession_sync::{WaitAnyError, wait, wait_timeout};
use procession_sys::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(5);

fn options<T: Serialize + DeserializeOwned>() -> super::JoinableQueueOptions<T> {
    JoinableQueue::options().namespace(&Namespace::private())
}

fn queue<T: Serialize + DeserializeOwned>(bytes: u64) -> JoinableQueue<T> {
    options().bytes(bytes).anonymous().unwrap()
}

#[test]
fn messages_of_every_length_come_out_whole() {
    let queue = queue::<Vec<u8>>(2048);
    // The length takes three of the 2048 bytes.
    for len in 0..=2045_usize {
        let message: Vec<u8> = (0..len).map(|index| (index * 7 + len) as u8).collect();
        queue.try_put(&message).unwrap();
        let lease = queue.try_get().unwrap();
        assert_eq!(*lease, message);
        lease.task_done().unwrap();
    }
    assert_eq!((queue.unfinished(), queue.is_full()), (0, false));
}

#[test]
fn a_lease_of_long_ago_keeps_nobodys_room_but_its_own() {
    let queue = queue::<u32>(1024);
    queue.put(&7).unwrap();
    let old = queue.get().unwrap();
    for n in 0..1000 {
        queue.try_put(&n).unwrap();
        queue.try_put(&n).unwrap();
        queue.try_get().unwrap().task_done().unwrap();
        queue.try_get().unwrap().task_done().unwrap();
    }
    queue.put(&8).unwrap();
    drop(old);
    // It came back, and is the oldest.
    let (first, second) = (queue.get().unwrap(), queue.get().unwrap());
    assert_eq!((*first, first.attempt(), *second, second.attempt()), (7, 2, 8, 1));
    second.task_done().unwrap();
    first.task_done().unwrap();
    queue.join().unwrap();
}

#[test]
fn messages_in_scattered_blocks_come_out_whole() {
    let queue = queue::<Vec<u8>>(4096);
    let mut held = Vec::new();
    for n in 0..32_u8 {
        queue.try_put(&vec![n; 100]).unwrap();
        held.push(queue.try_get().unwrap());
    }
    assert!(matches!(queue.try_put(&vec![0; 1]), Err(PutError::WouldBlock(_))));
    // Every second block is free now.
    let (done, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|lease| lease[0] % 2 == 0);
    done.into_iter().for_each(|lease| lease.task_done().unwrap());
    let large: Vec<u8> = (0..2000).map(|index| index as u8).collect();
    queue.try_put(&large).unwrap();
    assert!(queue.is_full());
    let lease = queue.try_get().unwrap();
    assert_eq!(*lease, large);
    lease.task_done().unwrap();
    drop(held);
    assert_eq!(queue.len(), 16);
    for n in (1..32_u8).step_by(2) {
        let lease = queue.try_get().unwrap();
        assert_eq!((lease[0], lease.len(), lease.attempt()), (n, 100, 2));
        lease.task_done().unwrap();
    }
}

#[test]
fn six_fit_into_six_and_leased_ones_make_room() {
    let queue = options::<u32>().capacity(6).anonymous().unwrap();
    for n in 1..=6 {
        assert!(!queue.is_full());
        queue.put(&n).unwrap();
        assert_eq!(queue.len(), n as usize);
    }
    assert!(queue.is_full());
    assert!(matches!(queue.try_put(&7), Err(PutError::WouldBlock(_))));
    assert!(matches!(queue.put_timeout(&7, SHORT), Err(PutError::TimedOut(_))));
    let leases: Vec<_> = (1..=6).map(|_| queue.get().unwrap()).collect();
    assert!(leases.iter().map(|lease| **lease).eq(1..=6));
    assert!(queue.is_empty() && !queue.is_full());
    assert_eq!(queue.unfinished(), 6);
    assert!(matches!(queue.try_get(), Err(GetError::WouldBlock(_))));
    assert!(matches!(queue.get_timeout(SHORT), Err(GetError::TimedOut(_))));
    assert!(matches!(queue.join_timeout(SHORT), Err(JoinError::TimedOut { .. })));
    leases.into_iter().for_each(|lease| lease.task_done().unwrap());
    queue.join_timeout(Duration::ZERO).unwrap();
}

#[test]
fn what_is_too_large_is_refused_at_once_and_what_fits_exactly_is_not() {
    let queue = queue::<Vec<u8>>(256);
    queue.put(&vec![7; 253]).unwrap();
    assert!(queue.is_full());
    assert_eq!(*queue.get().unwrap(), vec![7; 253]);
    let refused = queue.put(&vec![7; 254]);
    assert!(
        matches!(refused, Err(PutError::TooLarge { len: 257, most: 256, needed: 512, .. })),
        "{refused:?}"
    );
}

#[test]
fn what_cannot_be_encoded_takes_no_room() {
    #[derive(serde::Deserialize)]
    struct Never(#[expect(dead_code, reason = "it is never read")] u8);
    impl Serialize for Never {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    let queue = options::<Result<u32, Never>>().capacity(1).anonymous().unwrap();
    assert!(matches!(queue.put(&Err(Never(1))), Err(PutError::Encode(_))));
    queue.try_put(&Ok(5)).unwrap();
    assert!(matches!(*queue.get().unwrap(), Ok(5)));
}

#[test]
fn a_lease_over_time_is_taken_away_and_its_acknowledgement_refused() {
    let queue = options::<u32>().lease_timeout(Duration::from_millis(2)).anonymous().unwrap();
    queue.put(&1).unwrap();
    let old = queue.get().unwrap();
    let new = queue.get_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!((*new, new.attempt()), (1, 2));
    assert!(matches!(old.task_done(), Err(AckError::StaleLease { attempt: 1, .. })));
    new.task_done().unwrap();
    queue.join().unwrap();
    // Dropping a stale lease is nothing, also if the item is leased again.
    queue.put(&2).unwrap();
    let old = queue.get().unwrap();
    let new = queue.get().unwrap();
    drop(old);
    assert_eq!((queue.len(), queue.unfinished(), new.attempt()), (0, 1, 2));
    new.task_done().unwrap();
}

#[test]
fn an_old_acknowledgement_never_meets_a_new_item_in_the_same_cell() {
    let queue = options::<u32>().bytes(256).lease_timeout(Duration::from_millis(2)).anonymous().unwrap();
    queue.put(&1).unwrap();
    let old = queue.get().unwrap();
    queue.get().unwrap().task_done().unwrap();
    for n in 0..8 {
        queue.put(&n).unwrap();
        let lease = queue.get().unwrap();
        if n == 7 {
            assert!(matches!(old.task_done(), Err(AckError::StaleLease { .. })));
            assert_eq!(queue.unfinished(), 1);
            lease.task_done().unwrap();
            break;
        }
        lease.task_done().unwrap();
    }
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn after_its_attempts_an_item_is_a_dead_letter() {
    let queue = options::<String>().max_attempts(3).anonymous().unwrap();
    queue.put(&"bad".to_owned()).unwrap();
    queue.put(&"good".to_owned()).unwrap();
    for attempt in 1..=3 {
        assert_eq!(queue.get().unwrap().attempt(), attempt);
    }
    let good = queue.get().unwrap();
    assert_eq!(*good, "good");
    good.task_done().unwrap();
    queue.join().unwrap();
    let [letter] = &queue.dead_letters().unwrap()[..] else { panic!("one dead letter") };
    assert_eq!((letter.item().unwrap().as_str(), letter.attempts), ("bad", 3));
    assert!(queue.retry(letter).unwrap());
    assert!(!queue.retry(letter).unwrap() && !queue.discard(letter).unwrap());
    assert_eq!(queue.get().unwrap().attempt(), 1);
    drop(queue.get().unwrap());
    assert_eq!(queue.get().unwrap().attempt(), 3);
    let letters = queue.dead_letters().unwrap();
    assert!(queue.discard(&letters[0]).unwrap());
    assert!(queue.dead_letters().unwrap().is_empty());
    assert!(matches!(queue.try_get(), Err(GetError::WouldBlock(_))));
}

#[test]
fn a_closed_queue_ends_when_everything_is_done() {
    let queue = options::<u32>().capacity(2).anonymous().unwrap();
    queue.put(&1).unwrap();
    queue.put(&2).unwrap();
    let held = queue.get().unwrap();
    queue.close().unwrap();
    queue.close().unwrap();
    assert!(matches!(queue.put(&3), Err(PutError::Closed(_))));
    std::thread::scope(|scope| {
        // The other thread waits for what is still held here: it may come back, and does.
        let consumer = scope.spawn(|| {
            queue.iter().map(|lease| lease.map(|lease| (*lease, lease.task_done().unwrap()).0)).collect()
        });
        while queue.unfinished() != 1 || !queue.body.items.has_waiters() {
            std::thread::yield_now();
        }
        drop(held);
        let got: Result<Vec<u32>, GetError> = consumer.join().unwrap();
        assert_eq!(got.unwrap(), [2, 1]);
    });
    assert!(matches!(queue.get(), Err(GetError::Closed(_))));
}

#[test]
fn it_can_be_waited_for_among_others() {
    let (one, other) = (queue::<u32>(1024), queue::<u32>(1024));
    let all: [&dyn procession_sync::Waitable; 2] = [&one, &other];
    assert!(matches!(wait_timeout(&all, SHORT), Err(WaitAnyError::TimedOut)));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&all).unwrap());
        other.put(&1).unwrap();
        assert_eq!(waiting.join().unwrap(), [1]);
    });
    let held = other.get().unwrap();
    other.close().unwrap();
    assert!(matches!(wait_timeout(&all, SHORT), Err(WaitAnyError::TimedOut)));
    held.task_done().unwrap();
    assert_eq!(wait(&all).unwrap(), [1]);
}

#[test]
fn a_full_queue_is_left_by_who_waits_when_it_is_closed() {
    let queue = options::<u32>().capacity(1).anonymous().unwrap();
    queue.put(&1).unwrap();
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| queue.put(&2));
        while !queue.body.space.has_waiters() {
            std::thread::yield_now();
        }
        queue.close().unwrap();
        assert!(matches!(producer.join().unwrap(), Err(PutError::Closed(_))));
    });
}

#[test]
fn many_threads_do_everything_once_and_join_waits_for_it() {
    const EACH: u64 = 5_000;
    let queue = queue::<(u64, u64)>(8192);
    let mut got: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let consumers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    for lease in &queue {
                        let lease = lease.unwrap();
                        // Every seventh item is first given back.
                        if lease.1 % 7 != 0 || lease.attempt() > 1 {
                            mine.push(*lease);
                            lease.task_done().unwrap();
                        }
                    }
                    mine
                })
            })
            .collect();
        let producers: Vec<_> = (0..3)
            .map(|id| {
                let queue = &queue;
                scope.spawn(move || (0..EACH).for_each(|n| queue.put(&(id, n)).unwrap()))
            })
            .collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        queue.join().unwrap();
        assert_eq!(queue.unfinished(), 0);
        queue.close().unwrap();
        consumers.into_iter().flat_map(|consumer| consumer.join().unwrap()).collect()
    });
    got.sort_unstable();
    assert!(got.into_iter().eq((0..3).flat_map(|id| (0..EACH).map(move |n| (id, n)))));
}

#[test]
fn join_returns_after_an_instant_without_work_even_if_there_is_more_since() {
    let queue = queue::<u32>(1024);
    queue.put(&1).unwrap();
    let lease = queue.get().unwrap();
    std::thread::scope(|scope| {
        let joiner = scope.spawn(|| queue.join());
        while !queue.body.finished.has_waiters() {
            std::thread::yield_now();
        }
        lease.task_done().unwrap();
        queue.put(&2).unwrap();
        joiner.join().unwrap().unwrap();
    });
    assert_eq!(queue.unfinished(), 1);
}

/// What makes a program that gets it panic.
#[derive(Debug)]
struct Explosive;

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(7)
    }
}

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("as it does")
    }
}

#[test]
fn a_dead_letter_that_nobody_can_decode_can_be_discarded() {
    let namespace = Namespace::private();
    let queue =
        JoinableQueue::<Explosive>::options().namespace(&namespace).max_attempts(2).anonymous().unwrap();
    queue.put(&Explosive).unwrap();
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(|| queue.get())).is_err());
    }
    assert!(matches!(queue.try_get(), Err(GetError::WouldBlock(_))));
    let [letter] = &queue.dead_letters().unwrap()[..] else { panic!("one dead letter") };
    assert_eq!((letter.attempts, &letter.bytes[..]), (2, &[7][..]));
    assert!(catch_unwind(AssertUnwindSafe(|| letter.item())).is_err());
    assert!(queue.discard(letter).unwrap());
    assert!(queue.dead_letters().unwrap().is_empty());
}

#[test]
fn what_is_not_the_type_comes_back_as_bytes_and_is_never_done() {
    let namespace = Namespace::private();
    let numbers = JoinableQueue::<u64>::options()
        .namespace(&namespace)
        .type_tag("n")
        .max_attempts(0)
        .create("q")
        .unwrap();
    let others =
        JoinableQueue::<NonZeroU64>::options().namespace(&namespace).type_tag("n").open("q").unwrap();
    numbers.put(&0).unwrap();
    assert!(matches!(others.get(), Err(GetError::Decode { bytes, .. }) if bytes == [0; 8]));
    // Who understands it gets it, and sees that somebody tried.
    let lease = numbers.get().unwrap();
    assert_eq!((*lease, lease.attempt()), (0, 2));
    lease.task_done().unwrap();
    numbers.put(&0).unwrap();
    numbers.put(&7).unwrap();
    numbers.close().unwrap();
    let taken: Vec<_> = others.iter().map(|lease| lease.ok()?.task_done().ok()).collect();
    assert_eq!(taken, [None, None, None, Some(())], "one that is 0, three times, and one that is not");
    let [letter] = &others.dead_letters().unwrap()[..] else { panic!("one dead letter") };
    assert_eq!((letter.attempts, &letter.bytes[..]), (3, &[0; 8][..]));
    assert!(letter.item().unwrap_err().to_string().contains("expected a nonzero u64"));
    numbers.unlink().unwrap();
}

#[test]
fn an_item_whose_decoding_panics_is_a_dead_letter_after_three_attempts() {
    let queue = options::<Explosive>().max_attempts(0).anonymous().unwrap();
    queue.put(&Explosive).unwrap();
    for _ in 0..3 {
        assert_eq!(queue.unfinished(), 1);
        assert!(catch_unwind(AssertUnwindSafe(|| queue.get())).is_err());
    }
    queue.join().unwrap();
    let letters = queue.dead_letters().unwrap();
    assert_eq!(letters.iter().map(|letter| letter.attempts).collect::<Vec<_>>(), [3]);
}

#[test]
fn an_item_that_cannot_be_decoded_is_a_dead_letter_after_the_last_attempt() {
    let namespace = Namespace::private();
    let numbers = JoinableQueue::<u64>::options().namespace(&namespace).type_tag("n");
    let numbers = numbers.max_attempts(1).create("q").unwrap();
    let others =
        JoinableQueue::<NonZeroU64>::options().namespace(&namespace).type_tag("n").open("q").unwrap();
    numbers.put(&0).unwrap();
    assert!(matches!(others.get(), Err(GetError::Decode { .. })));
    assert!(matches!(others.try_get(), Err(GetError::WouldBlock(_))));
    others.join().unwrap();
    assert_eq!(others.dead_letters().unwrap().len(), 1);
    numbers.unlink().unwrap();
}

#[test]
fn other_parameters_are_refused_by_name() {
    let namespace = Namespace::private();
    let options = JoinableQueue::<u64>::options().namespace(&namespace);
    let queue = options.clone().capacity(5).bytes(4096).max_attempts(3).create("q").unwrap();
    assert!(options.open("q").is_ok() && options.clone().capacity(5).max_attempts(3).open("q").is_ok());
    for (name, asked) in [
        ("capacity", options.clone().capacity(6)),
        ("bytes", options.clone().bytes(8192)),
        ("max_attempts", options.clone().max_attempts(4)),
        ("lease_timeout", options.clone().lease_timeout(SHORT)),
    ] {
        let opened = asked.open("q");
        assert!(
            matches!(opened, Err(OpenError::Parameter { parameter, .. }) if parameter == name),
            "{opened:?}"
        );
    }
    assert!(matches!(options.clone().max_attempts(5000).create("r"), Err(OpenError::Impossible { .. })));
    let other = JoinableQueue::<i64>::options().namespace(&namespace).open("q");
    assert!(matches!(other, Err(OpenError::ElementType { .. })));
    queue.unlink().unwrap();
}

/// Random bytes over random parts of the body: every operation answers, and nothing panics.
#[test]
fn nonsense_in_the_body_is_answered() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut corrupt = 0;
    for round in 0..500 {
        let queue = options::<Vec<u8>>().bytes(1024).max_attempts(2).anonymous().unwrap();
        for len in [1, 200, 30] {
            queue.put(&vec![len; len.into()]).unwrap();
        }
        let held = queue.get().unwrap();
        let length = super::table::body_len(8) as usize;
        for _ in 0..=round % 8 {
            // Behind the lock, whose own nonsense is its own tests' business.
            let at = 24 + next() as usize % (length - 32);
            let bytes = if next() % 2 == 0 { next() } else { (next() % 5) << (next() % 64) };
            assert!(queue.body.copy_in(at, &bytes.to_le_bytes()));
        }
        // As after a death: everything is looked at.
        queue.body.uncounted.store(1, Ordering::Relaxed);
        let mut see = |fault: Option<Fault>| match fault {
            Some(Fault::Corrupt { .. }) => corrupt += 1,
            Some(other) => panic!("{other:?}"),
            None => {}
        };
        for _ in 0..4 {
            match queue.try_put(&vec![1; 150]) {
                Err(PutError::Fault(fault)) => see(Some(fault)),
                Ok(()) | Err(PutError::WouldBlock(_) | PutError::Closed(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
            match queue.try_get() {
                Err(GetError::Fault(fault)) => see(Some(fault)),
                Ok(_) | Err(GetError::WouldBlock(_) | GetError::Closed(_) | GetError::Decode { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        match queue.dead_letters() {
            Err(fault) => see(Some(fault)),
            Ok(letters) => letters.iter().for_each(|letter| drop(letter.item())),
        }
        assert!(queue.unfinished() <= 2 * u32::MAX as usize);
        match held.task_done() {
            Err(AckError::Fault(fault)) => see(Some(fault)),
            Ok(()) | Err(AckError::StaleLease { .. } | AckError::StaleToken { .. }) => {}
        }
    }
    assert!(corrupt > 100, "nonsense was hardly ever noticed: {corrupt}");
}

#[test]
fn shutdown_at_once_throws_away_what_nobody_has() {
    let queue = options::<u32>().max_attempts(1).anonymous().unwrap();
    for n in 0..5 {
        queue.put(&n).unwrap();
    }
    drop(queue.get().unwrap());
    let (held, other) = (queue.get().unwrap(), queue.get().unwrap());
    assert_eq!(queue.shutdown(false).unwrap(), 0);
    assert_eq!((queue.is_closed(), queue.len()), (true, 2));
    assert_eq!(queue.shutdown(true).unwrap(), 2);
    assert_eq!((queue.unfinished(), queue.n_dead(), queue.shutdown(true).unwrap()), (2, 1, 0));
    held.task_done().unwrap();
    // What comes back after that is there again.
    other.put_back().unwrap();
    assert_eq!(queue.shutdown(true).unwrap(), 1);
    queue.join().unwrap();
    assert!(matches!(queue.try_get(), Err(GetError::Closed(_))));
    assert!(matches!(queue.put(&9), Err(PutError::Closed(_))));
}

#[test]
fn iteration_ends_with_a_fault() {
    let queue = queue::<u32>(1024);
    queue.put(&1).unwrap();
    for word in 0..16 {
        assert!(queue.body.copy_in(super::table::body_len(0) as usize + word * 8, &[0xff; 8]));
    }
    queue.body.uncounted.store(1, Ordering::Relaxed);
    let all: Vec<_> = queue.iter().take(3).collect();
    assert!(matches!(all[..], [Err(GetError::Fault(Fault::Corrupt { .. }))]), "{all:?}");
}

#[test]
fn counts_are_made_from_the_cells() {
    let queue = queue::<u32>(1024);
    for n in 0..4 {
        queue.put(&n).unwrap();
    }
    let held = queue.get().unwrap();
    for word in [&queue.body.unfinished, &queue.body.others, &queue.body.first_ready] {
        word.store(3, Ordering::Relaxed);
    }
    queue.body.uncounted.store(1, Ordering::Relaxed);
    assert_eq!((queue.len(), queue.unfinished()), (3, 4));
    assert_eq!(super::table::Counts::load(&queue.body).blocks, 4);
    assert_eq!(*queue.claim_now(), 1);
    drop(held);
    assert_eq!(*queue.claim_now(), 0);
}

#[test]
fn who_joins_learns_that_all_was_done_also_if_who_did_it_died_before_it_counted() {
    let queue = queue::<u32>(1024);
    queue.put(&1).unwrap();
    std::thread::scope(|scope| {
        let joiner = scope.spawn(|| queue.join_timeout(Duration::from_secs(30)));
        while !queue.body.finished.has_waiters() {
            std::thread::yield_now();
        }
        // As a kill leaves it between the two: the cell of item 1 is free, and the counts are one behind.
        let cell = super::table::body_len(0) as usize + size_of::<super::table::Cell>();
        assert!(queue.body.copy_in(cell, &[0; 8]));
        queue.body.uncounted.store(1, Ordering::Relaxed);
        queue.put(&2).unwrap();
        joiner.join().unwrap().unwrap();
    });
    assert_eq!((queue.len(), queue.unfinished()), (1, 1));
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    fn claim_now(&self) -> super::Lease<T> {
        self.get_until(Deadline::PASSED).unwrap()
    }
}
