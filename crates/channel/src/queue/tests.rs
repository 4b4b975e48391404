//! One process, several threads: the arithmetic of the ring and the answers of a queue.

use super::{GetError, PutError, Queue};
use procession_shm::{Namespace, OpenError};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn queue<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: u64, capacity: u32) -> Queue<T> {
    let namespace = Namespace::private();
    Queue::options().namespace(&namespace).bytes(bytes).capacity(capacity).anonymous().unwrap()
}

#[test]
fn messages_of_every_length_come_out_whole_while_the_ring_wraps() {
    let queue = queue::<Vec<u8>>(256, 0);
    for round in 0..50_usize {
        for len in 0..240_usize {
            let message: Vec<u8> = (0..len).map(|index| (index + round) as u8).collect();
            queue.try_put(&message).unwrap();
            assert_eq!(queue.try_get().unwrap(), message);
        }
    }
    assert!(queue.is_empty());
}

#[test]
fn the_positions_may_wrap_around_two_to_the_thirty_two() {
    let queue = queue::<u64>(64, 0);
    let start = super::Mark { words: u32::MAX - 7, items: u32::MAX - 2 }.to_bits();
    for word in [&queue.body.head, &queue.body.tail, &queue.body.head_seen, &queue.body.tail_seen] {
        word.store(start, Ordering::Relaxed);
    }
    for n in 0..20 {
        queue.try_put(&n).unwrap();
        queue.try_put(&(n + 100)).unwrap();
        assert_eq!(queue.len(), 2);
        assert_eq!((queue.try_get().unwrap(), queue.try_get().unwrap()), (n, n + 100));
    }
}

#[test]
fn full_and_empty_are_exact() {
    let queue = queue::<u8>(1024, 3);
    assert!(queue.is_empty() && matches!(queue.try_get(), Err(GetError::Empty)));
    for n in 0..3 {
        assert!(!queue.is_full());
        queue.put(&n).unwrap();
        assert_eq!(queue.len(), usize::from(n) + 1);
    }
    assert!(queue.is_full() && matches!(queue.try_put(&9), Err(PutError::Full)));
    let short = Duration::from_millis(5);
    assert!(matches!(queue.put_timeout(&9, short), Err(PutError::TimedOut)));
    assert_eq!((0..3).map(|_| queue.get().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(matches!(queue.get_timeout(short), Err(GetError::TimedOut)));
}

#[test]
fn a_message_that_never_fits_is_refused_at_once_and_one_that_fits_exactly_is_not() {
    let queue = queue::<Vec<u8>>(128, 0);
    // One word for the record's length, one byte for the vector's.
    queue.put(&vec![7; 119]).unwrap();
    assert_eq!(queue.get().unwrap(), vec![7; 119]);
    let refused = queue.put(&vec![7; 120]);
    assert!(matches!(refused, Err(PutError::TooLarge { len: 121, most: 120, needed: 256 })), "{refused:?}");
}

#[test]
fn a_closed_queue_is_drained_and_then_says_so_and_wakes_everybody() {
    let queue = queue::<u8>(1024, 1);
    std::thread::scope(|scope| {
        queue.put(&1).unwrap();
        let producer = scope.spawn(|| queue.put(&2));
        while !queue.body.space.has_waiters() {
            std::thread::yield_now();
        }
        queue.close().unwrap();
        assert!(matches!(producer.join().unwrap(), Err(PutError::Closed)));
        assert_eq!(queue.get().unwrap(), 1);
        assert!(matches!(queue.get(), Err(GetError::Closed)));
        queue.close().unwrap();
    });
}

#[test]
fn many_threads_lose_nothing_and_keep_each_producers_order() {
    const EACH: u64 = 20_000;
    let queue = queue::<(u64, u64)>(512, 0);
    let mut got: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let consumers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = vec![Vec::new(); 3];
                    while let Ok((producer, n)) = queue.get() {
                        mine[producer as usize].push(n);
                    }
                    assert!(mine.iter().all(|each| each.is_sorted()));
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
        queue.close().unwrap();
        let parts: Vec<_> = consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
        (0..3).map(|id| parts.iter().flat_map(|part| part[id].clone()).collect()).collect()
    });
    for each in &mut got {
        each.sort_unstable();
        assert!(each.iter().copied().eq(0..EACH));
    }
}

#[test]
fn what_is_not_the_type_comes_back_as_bytes() {
    let namespace = Namespace::private();
    let numbers = Queue::<u64>::options().namespace(&namespace).type_tag("n").create("q").unwrap();
    let words = Queue::<String>::options().namespace(&namespace).type_tag("n").open("q").unwrap();
    numbers.put(&200).unwrap();
    assert!(matches!(words.get(), Err(GetError::Decode { bytes, .. }) if bytes == [200]));
    assert!(numbers.is_empty());
    numbers.unlink().unwrap();
}

#[test]
fn another_capacity_type_or_size_is_refused_by_name() {
    let namespace = Namespace::private();
    let options = Queue::<u64>::options().namespace(&namespace);
    let queue = options.clone().capacity(5).bytes(4096).create("q").unwrap();
    assert!(options.open("q").is_ok() && options.clone().capacity(5).open("q").is_ok());
    let other = options.clone().capacity(6).open("q");
    assert!(matches!(other, Err(OpenError::Parameter { parameter: "capacity", found: 5, asked: 6, .. })));
    let other = options.clone().bytes(8192).open("q");
    assert!(matches!(other, Err(OpenError::Parameter { parameter: "bytes", .. })));
    let other = Queue::<i64>::options().namespace(&namespace).open("q");
    assert!(matches!(other, Err(OpenError::ElementType { .. })));
    queue.unlink().unwrap();
}

#[test]
fn nonsense_in_the_ring_is_corrupt_and_nothing_worse() {
    let queue = queue::<u64>(64, 0);
    for n in 0..3 {
        queue.put(&n).unwrap();
    }
    assert!(queue.body.copy_in(super::RING_OFFSET, &u64::MAX.to_le_bytes()));
    assert!(matches!(queue.get(), Err(GetError::Fault(super::QueueFault::Corrupt { .. }))));
    queue.body.tail.store(super::Mark { words: 1000, items: 1 }.to_bits(), Ordering::Relaxed);
    queue.body.tail_seen.store(0, Ordering::Relaxed);
    queue.body.head_seen.store(0, Ordering::Relaxed);
    assert!(matches!(queue.get(), Err(GetError::Fault(super::QueueFault::Corrupt { .. }))));
    assert!(matches!(queue.try_put(&1), Err(PutError::Fault(super::QueueFault::Corrupt { .. }))));
}
