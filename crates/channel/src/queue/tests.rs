//! One process, several threads: the arithmetic of the ring and the answers of a queue.

mod batches;
mod room;
mod spills;
mod views;

use crate::codec::{Bytes, Codec};
use crate::queue::{GetError, PutError, PutManyError, Queue};
use crate::ring::Mark;
use procession_shm::{Namespace, OpenError};
use procession_sync::Fault;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn queue<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: u64, capacity: usize) -> Queue<T> {
    let namespace = Namespace::private();
    Queue::options().namespace(&namespace).bytes(bytes).capacity(capacity).anonymous().unwrap()
}

/// The names of all spills in the queue's namespace.
fn spills<T: serde::Serialize + serde::de::DeserializeOwned>(queue: &Queue<T>) -> Vec<String> {
    let segment: &procession_shm::Segment = queue.as_ref();
    let all = segment.namespace().list().unwrap();
    all.into_iter().filter(|entry| entry.is_spill()).map(|entry| entry.name).collect()
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
    let start = Mark { words: u32::MAX - 7, items: u32::MAX - 2 }.to_bits();
    for word in [
        &queue.body.words.head,
        &queue.body.words.tail,
        &queue.body.words.head_seen,
        &queue.body.words.tail_seen,
    ] {
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
    assert!(queue.is_empty() && matches!(queue.try_get(), Err(GetError::WouldBlock(_))));
    for n in 0..3 {
        assert!(!queue.is_full());
        queue.put(&n).unwrap();
        assert_eq!(queue.len(), usize::from(n) + 1);
    }
    assert!(queue.is_full() && matches!(queue.try_put(&9), Err(PutError::WouldBlock(_))));
    let short = Duration::from_millis(5);
    assert!(matches!(queue.put_timeout(&9, short), Err(PutError::TimedOut(_))));
    assert_eq!((0..3).map(|_| queue.get().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(matches!(queue.get_timeout(short), Err(GetError::TimedOut(_))));
}

#[test]
fn a_queue_with_room_for_an_empty_message_is_not_full() {
    let queue = queue::<()>(64, 0);
    for n in 0..8 {
        assert!(!queue.is_full(), "after {n}");
        queue.try_put(&()).unwrap();
    }
    assert!(queue.is_full() && matches!(queue.try_put(&()), Err(PutError::WouldBlock(_))));
}

#[test]
fn peeking_takes_nothing() {
    let queue = queue::<u8>(256, 0);
    assert!(matches!(queue.peek(), Err(GetError::WouldBlock(_))));
    queue.batch().put(&[1, 2]).unwrap();
    assert_eq!((queue.peek().unwrap(), queue.peek().unwrap(), queue.len()), (1, 1, 2));
    queue.close().unwrap();
    assert_eq!(queue.batch().drain().unwrap(), [1, 2]);
    assert!(matches!(queue.peek(), Err(GetError::Closed(_))));
}

#[test]
fn a_shutdown_at_once_throws_away_what_is_there() {
    let queue = queue::<Vec<u8>>(256, 0);
    queue.batch().put(&[vec![1; 3], vec![2; 3000], vec![3; 3]]).unwrap();
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| queue.batch().put(vec![&vec![4; 3000]; 9]));
        while !queue.body.words.space.has_waiters() {
            std::thread::yield_now();
        }
        assert!(queue.shutdown(true).unwrap() >= 3);
        let failed = producer.join().unwrap();
        assert!(matches!(failed, Err(PutManyError { error: PutError::Closed(_), .. })), "{failed:?}");
    });
    assert!(queue.is_empty() && spills(&queue).is_empty());
    assert!(matches!(queue.get(), Err(GetError::Closed(_))));
    assert_eq!(queue.shutdown(true).unwrap(), 0);
}

#[test]
fn a_closed_queue_is_drained_and_then_says_so_and_wakes_everybody() {
    let queue = queue::<u8>(1024, 1);
    std::thread::scope(|scope| {
        queue.put(&1).unwrap();
        let producer = scope.spawn(|| queue.put(&2));
        while !queue.body.words.space.has_waiters() {
            std::thread::yield_now();
        }
        queue.close().unwrap();
        assert!(matches!(producer.join().unwrap(), Err(PutError::Closed(_))));
        assert_eq!(queue.get().unwrap(), 1);
        assert!(matches!(queue.get(), Err(GetError::Closed(_))));
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
    let others = Queue::<NonZeroU64>::options().namespace(&namespace).type_tag("n").open("q").unwrap();
    numbers.put(&0).unwrap();
    assert!(matches!(others.get(), Err(GetError::Decode { bytes, .. }) if bytes == [0; 8]));
    assert!(numbers.is_empty());
    numbers.unlink().unwrap();
}

/// One type in two builds of a program, or three.
mod builds {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Old {
        pub(super) id: u32,
        pub(super) what: String,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Swapped {
        pub(super) what: String,
        pub(super) id: u32,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Longer {
        pub(super) id: u32,
        pub(super) what: String,
        #[serde(default)]
        pub(super) retries: u8,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct TooLong {
        pub(super) id: u32,
        pub(super) what: String,
        pub(super) retries: u8,
    }
}

#[test]
fn another_structure_is_refused_when_a_queue_is_opened() {
    let namespace = Namespace::private();
    let old = Queue::<builds::Old>::options().namespace(&namespace).type_tag("job").create("q").unwrap();
    let swapped = Queue::<builds::Swapped>::options().namespace(&namespace).type_tag("job").open("q");
    let Err(OpenError::Structure { difference, .. }) = swapped else { panic!("{swapped:?}") };
    let [element, place, found, asked] =
        [&difference.element, &difference.place, &difference.found, &difference.asked].map(String::as_str);
    assert_eq!([element, place, found, asked], ["job", "field 1 of element", "id: u32", "what: string"]);
    assert!(difference.type_name.ends_with("builds::Swapped"), "{}", difference.type_name);
    let longer =
        Queue::<builds::TooLong>::options().namespace(&namespace).type_tag("job").open_or_create("q");
    assert!(matches!(longer, Err(OpenError::Structure { .. })));
    // A field with a default at the end is the way in which a type can grow.
    let longer = Queue::<builds::Longer>::options().namespace(&namespace).type_tag("job").open("q").unwrap();
    old.put(&builds::Old { id: 1, what: "wash".to_owned() }).unwrap();
    assert_eq!(longer.get().unwrap().retries, 0);
    // A handle opens the object that it was made of, whatever the type is called; but not as another type.
    let mut message = Vec::new();
    crate::codec::encode(&old, &mut message).unwrap();
    assert!(crate::codec::decode::<Queue<builds::Longer>>(&message).is_ok());
    let refused = crate::codec::decode::<Queue<builds::Swapped>>(&message).unwrap_err();
    assert!(refused.to_string().contains("field 1 of element is id: u32 there"), "{refused}");
    old.unlink().unwrap();
}

#[test]
fn a_queue_of_bytes_is_not_opened_as_one_of_anything_else() {
    let namespace = Namespace::private();
    let bytes = Queue::<Bytes>::options().namespace(&namespace).create("q").unwrap();
    let refused = Queue::<builds::Old>::options().namespace(&namespace).open("q").unwrap_err();
    assert!(
        refused.to_string().contains("element is bytes there, and {id:u32,what:string} here"),
        "{refused}"
    );
    assert!(Queue::<u8>::options().namespace(&namespace).open("q").is_err());
    assert!(Queue::<Vec<u8>>::options().namespace(&namespace).open("q").is_ok());
    let text = Queue::<String>::options().namespace(&namespace).open("q").unwrap();
    text.put("bytes").unwrap();
    assert_eq!(bytes.get().unwrap(), *b"bytes");
    bytes.unlink().unwrap();
    // In JSON anybody may read what is there, and as much of it as is wanted.
    let json = Queue::<builds::Old>::options().namespace(&namespace).codec(Codec::Json).create("q").unwrap();
    let swapped = Queue::<builds::Swapped>::options().namespace(&namespace).open("q").unwrap();
    json.put(&builds::Old { id: 1, what: "wash".to_owned() }).unwrap();
    assert_eq!(swapped.get().unwrap().id, 1);
    json.unlink().unwrap();
}

#[test]
fn a_queue_keeps_the_codec_it_was_created_with_and_another_is_refused_by_name() {
    let namespace = Namespace::private();
    let options = Queue::<Vec<u8>>::options().namespace(&namespace);
    let json = options.clone().codec(Codec::Json).create("q").unwrap();
    json.put(&[1, 2][..]).unwrap();
    let refused = options.clone().codec(Codec::MsgPack).open("q").unwrap_err().to_string();
    assert!(refused.contains("codec Json") && refused.contains("codec MsgPack"), "{refused}");
    let refused = Queue::<Bytes>::options().namespace(&namespace).open("q");
    assert!(matches!(refused, Err(OpenError::Codec { .. })));
    // Who says nothing takes what there is, whatever it calls the type.
    let any = Queue::<serde_json::Value>::options().namespace(&namespace).open("q").unwrap();
    assert_eq!((any.codec(), any.get().unwrap()), (Codec::Json, serde_json::json!([1, 2])));
    json.unlink().unwrap();
}

#[test]
fn bytes_and_values_do_not_read_each_other_s_messages() {
    let namespace = Namespace::private();
    let values = Queue::<Vec<u8>>::options().namespace(&namespace).create("values").unwrap();
    values.put(&[1, 2, 3][..]).unwrap();
    assert!(matches!(values.bytes().put(b"x"), Err(PutError::NotBytes(_))));
    assert!(matches!(values.bytes().get(), Err(GetError::NotBytes(_))));
    assert!(matches!(values.bytes().try_get_into(&mut [0; 9]), Err(GetError::NotBytes(_))));
    assert!(matches!(values.slots().read().map(drop), Err(GetError::NotBytes(_))));
    assert!(matches!(values.slots().reserve(1).map(drop), Err(PutError::NotBytes(_))));
    assert_eq!(values.get().unwrap(), [1, 2, 3]);
    assert!(Queue::<Bytes>::options().namespace(&namespace).open("values").is_err());
    values.unlink().unwrap();
    // And what looks like the list of a message's ends is left alone.
    let bytes = queue::<Bytes>(4096, 0);
    let mut tail = vec![0; 5];
    tail.extend_from_slice(&1_u32.to_le_bytes());
    tail.extend_from_slice(b"\xfeprocession.end\xff");
    for _ in 0..3 {
        bytes.bytes().put(&tail).unwrap();
    }
    assert_eq!(bytes.get().unwrap(), tail);
    assert_eq!(bytes.bytes().get().unwrap(), tail);
    assert_eq!(bytes.batch().drain().unwrap(), [Bytes(tail)]);
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
    assert!(queue.body.words.copy_in(super::RING_OFFSET, &u64::MAX.to_le_bytes()));
    assert!(matches!(queue.get(), Err(GetError::Fault(Fault::Corrupt { .. }))));
    queue.body.words.tail.store(Mark { words: 1000, items: 1 }.to_bits(), Ordering::Relaxed);
    queue.body.words.tail_seen.store(0, Ordering::Relaxed);
    queue.body.words.head_seen.store(0, Ordering::Relaxed);
    assert!(matches!(queue.get(), Err(GetError::Fault(Fault::Corrupt { .. }))));
    let mut messages = queue.iter();
    assert!(matches!(messages.next(), Some(Err(GetError::Fault(Fault::Corrupt { .. })))));
    assert!(messages.next().is_none());
    assert!(matches!(queue.try_put(&1), Err(PutError::Fault(Fault::Corrupt { .. }))));
}
