//! One process, several threads: the arithmetic of the ring and the answers of a queue.

use super::{CloseError, GetError, GetManyError, PutError, PutManyError, Queue};
use crate::codec::{Bytes, Codec};
use crate::ring::Mark;
use procession_shm::{Namespace, OpenError};
use procession_sync::Fault;
use procession_sys::clock;
use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn queue<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: u64, capacity: usize) -> Queue<T> {
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

/// The names of all spills in the queue's namespace.
fn spills<T: serde::Serialize + serde::de::DeserializeOwned>(queue: &Queue<T>) -> Vec<String> {
    let segment: &procession_shm::Segment = queue.as_ref();
    let all = segment.namespace().list().unwrap();
    all.into_iter().filter(|entry| entry.is_spill()).map(|entry| entry.name).collect()
}

#[test]
fn a_message_that_fits_exactly_lies_in_the_ring_and_a_larger_one_elsewhere() {
    let queue = queue::<Vec<u8>>(128, 0);
    // One word for the record's length, one byte for the vector's.
    queue.put(&vec![7; 119]).unwrap();
    assert!(queue.is_full() && spills(&queue).is_empty());
    assert_eq!(queue.get().unwrap(), vec![7; 119]);
    for len in [120, 121, 4096, 1 << 20] {
        let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
        queue.put(&message).unwrap();
        assert_eq!((queue.len(), spills(&queue).len()), (1, 1));
        assert_eq!(queue.peek().unwrap(), message);
        assert_eq!(queue.get().unwrap(), message);
        assert!(spills(&queue).is_empty() && queue.is_empty());
    }
}

#[test]
fn spilled_messages_keep_their_place_among_others_and_are_bounded() {
    let queue = queue::<Vec<u8>>(256, 0);
    let message = |n: u8| vec![n; if n.is_multiple_of(2) { 1000 } else { 3 }];
    for n in 0..6 {
        queue.try_put(&message(n)).unwrap();
    }
    assert!(matches!(queue.try_put(&message(6)), Err(PutError::WouldBlock(_))));
    assert_eq!(spills(&queue).len(), 3);
    for n in 0..2 {
        assert_eq!(queue.get().unwrap(), message(n));
    }
    queue.try_put(&message(6)).unwrap();
    assert_eq!(queue.batch().drain().unwrap(), (2..7).map(message).collect::<Vec<_>>());
    assert!(spills(&queue).is_empty());
}

#[test]
fn the_spills_of_a_queue_go_with_it_and_stay_with_an_unlinked_one() {
    let namespace = Namespace::private();
    let options = Queue::<Vec<u8>>::options().namespace(&namespace).bytes(128);
    let names = || namespace.list().unwrap().into_iter().filter(|entry| !entry.is_registry()).count();
    let anonymous = options.anonymous().unwrap();
    anonymous.put(&vec![1; 200]).unwrap();
    assert_eq!(names(), 2);
    drop(anonymous);
    assert_eq!(names(), 0);

    let named = options.create("q").unwrap();
    named.put(&vec![2; 200]).unwrap();
    named.unlink().unwrap();
    named.put(&vec![3; 200]).unwrap();
    let found = procession_shm::gc::collect(Some(&namespace), Default::default()).unwrap();
    assert!(found.is_empty(), "{found:?}");
    assert_eq!((named.get().unwrap(), names()), (vec![2; 200], 2));
    drop(named);
    assert_eq!(names(), 0);

    // Unlinked when nobody uses it.
    let named = options.create("q").unwrap();
    named.put(&vec![2; 200]).unwrap();
    drop(named);
    assert_eq!(names(), 2);
    let unused = |unused| procession_shm::gc::Options { unused, ..Default::default() };
    assert!(procession_shm::gc::collect(Some(&namespace), unused(false)).unwrap().is_empty());
    assert_eq!(procession_shm::gc::collect(Some(&namespace), unused(true)).unwrap().len(), 2);
    assert_eq!(names(), 0);
    let named = options.create("q").unwrap();
    named.put(&vec![2; 200]).unwrap();
    drop(named);
    namespace.unlink("q").unwrap();
    assert_eq!(names(), 0);
}

#[test]
fn what_is_unused_but_spilled_by_a_queue_in_use_stays() {
    let namespace = Namespace::private();
    let queue = Queue::<Vec<u8>>::options().namespace(&namespace).bytes(64).create("q").unwrap();
    queue.put(&vec![2; 100]).unwrap();
    let unused = procession_shm::gc::Options { unused: true, ..Default::default() };
    assert!(procession_shm::gc::collect(Some(&namespace), unused).unwrap().is_empty());
    assert_eq!(queue.get().unwrap(), vec![2; 100]);
    queue.unlink().unwrap();
}

#[test]
fn a_spill_that_somebody_removed_is_lost_and_said_to_be() {
    let queue = queue::<Vec<u8>>(64, 0);
    let segment: &procession_shm::Segment = queue.as_ref();
    let remove = || {
        let file = segment.namespace().file_name(&spills(&queue)[0]);
        std::fs::remove_file(std::path::Path::new("/dev/shm").join(file)).unwrap();
    };
    queue.put(&vec![1; 100]).unwrap();
    remove();
    queue.put(&vec![2; 2]).unwrap();
    assert!(matches!(queue.get(), Err(GetError::Lost { .. })));
    assert_eq!(queue.get().unwrap(), [2; 2]);
    queue.put(&vec![1; 100]).unwrap();
    remove();
    let lost = queue.batch().get(5);
    assert!(matches!(lost, Err(GetManyError { error: GetError::Lost { .. }, .. })), "{lost:?}");
    assert!(queue.is_empty());
}

#[test]
fn a_spill_that_somebody_damaged_does_not_stop_the_queue() {
    let queue = queue::<Vec<u8>>(256, 0);
    let segment: &procession_shm::Segment = queue.as_ref();
    let file = |name: &str| std::path::Path::new("/dev/shm").join(segment.namespace().file_name(name));
    for damaged in [&[0; 9000][..], &[7; 10], &[]] {
        queue.put(&vec![1; 1000]).unwrap();
        let name = spills(&queue).remove(0);
        queue.put(&vec![2; 2]).unwrap();
        std::fs::write(file(&name), damaged).unwrap();
        assert!(matches!(queue.peek(), Err(GetError::Lost { .. })));
        assert_eq!(queue.get().unwrap(), [2; 2]);
        std::fs::remove_file(file(&name)).unwrap();
    }
}

#[test]
fn batches_of_every_length_come_out_whole_and_in_order() {
    let queue = queue::<Vec<u8>>(256, 0);
    let mut next = 0_u32;
    let mut message = || {
        next += 1;
        vec![next as u8; (next * 7 % 90) as usize]
    };
    for count in 0..40 {
        let batch: Vec<_> = (0..count).map(|_| message()).collect();
        let mut got = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| queue.batch().put(&batch).unwrap());
            while got.len() < batch.len() {
                got.extend(queue.batch().get(1 + got.len() % 5).unwrap());
            }
        });
        assert_eq!(got, batch);
    }
    assert!(queue.batch().drain().unwrap().is_empty());
}

#[test]
fn a_batch_that_fits_becomes_visible_at_once() {
    // Room for three of them, and for no part of a fourth.
    let queue = queue::<u64>(1024, 21);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..5000 {
                queue.batch().put(&[round; 7]).unwrap();
            }
            queue.close().unwrap();
        });
        let mut last = 0;
        loop {
            match queue.batch().try_get(usize::MAX) {
                Ok(got) => {
                    assert!(got.len().is_multiple_of(7) && got.is_sorted(), "{got:?}");
                    last = got[got.len() - 1];
                }
                Err(GetManyError { error: GetError::WouldBlock(_), .. }) => std::thread::yield_now(),
                Err(failed) => {
                    assert!(matches!(failed.error, GetError::Closed(_)), "{failed:?}");
                    break;
                }
            }
        }
        assert_eq!(last, 4999);
    });
}

#[test]
fn a_batch_says_how_much_of_it_was_put() {
    let queue = queue::<u8>(1024, 3);
    let failed = queue.batch().try_put(&[1, 2, 3, 4, 5]);
    assert!(matches!(failed, Err(PutManyError { put: 3, error: PutError::WouldBlock(_) })), "{failed:?}");
    let failed = queue.batch().put_timeout(&[6], Duration::from_millis(5));
    assert!(matches!(failed, Err(PutManyError { put: 0, error: PutError::TimedOut(_) })), "{failed:?}");
    assert!(queue.batch().get(0).unwrap().is_empty());
    assert_eq!(queue.batch().get(2).unwrap(), [1, 2]);
    queue.batch().put(&[]).unwrap();
    assert_eq!(queue.batch().drain().unwrap(), [3]);
    let empty = queue.batch().try_get(2).unwrap_err();
    assert_eq!((empty.to_string().as_str(), empty.rest.len()), ("0 messages were got, and no more", 0));
    queue.close().unwrap();
    assert!(queue.batch().drain().unwrap().is_empty());
    let failed = queue.batch().put(&[7]);
    assert!(matches!(failed, Err(PutManyError { put: 0, error: PutError::Closed(_) })), "{failed:?}");
}

/// What cannot be encoded when it is odd.
#[derive(Debug, PartialEq)]
struct Even(u8);

impl serde::Serialize for Even {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 2 {
            0 => serializer.serialize_u8(self.0),
            _ => Err(serde::ser::Error::custom("odd")),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Even {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        if number < 200 { Ok(Self(number)) } else { Err(serde::de::Error::custom("large")) }
    }
}

#[test]
fn what_cannot_be_encoded_or_decoded_costs_nothing_else_of_its_batch() {
    let queue = queue::<Even>(1024, 0);
    let failed = queue.batch().put(&[Even(2), Even(4), Even(5), Even(6)]);
    let Err(PutManyError { put: 2, error: PutError::Encode(why) }) = failed else { panic!("{failed:?}") };
    assert_eq!(why.to_string(), "the value cannot be encoded: odd");
    queue.batch().put(&[Even(202), Even(8)]).unwrap();
    queue.body.put(&[9; 5000], procession_sys::Deadline::NEVER).unwrap();
    let Err(GetManyError { got, error: GetError::Decode { bytes, source, .. }, rest }) = queue.batch().get(9)
    else {
        panic!("decoded")
    };
    assert_eq!(source.to_string(), "large");
    assert_eq!((got, bytes), (vec![Even(2), Even(4)], vec![202]));
    assert_eq!(*rest, [vec![8], vec![9; 5000]]);
    assert!(queue.is_empty() && spills(&queue).is_empty());
}

#[test]
fn bytes_are_got_as_they_were_put_and_a_short_buffer_takes_nothing() {
    let queue = queue::<Bytes>(256, 0);
    for len in [0, 1, 8, 9, 200, 249, 5000] {
        let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
        queue.bytes().put(&message).unwrap();
        let mut buffer = vec![0; len.max(1) - 1];
        if len > 0 {
            let failed = queue.bytes().get_into(&mut buffer);
            assert!(matches!(failed, Err(GetError::BufferTooShort { needed, .. }) if needed == len));
        }
        buffer.resize(len + 3, 0);
        assert_eq!(queue.bytes().get_into(&mut buffer).unwrap(), len);
        assert_eq!(buffer[..len], message);
        queue.bytes().put(&message).unwrap();
        assert_eq!(queue.bytes().get().unwrap(), message);
    }
    assert!(matches!(queue.bytes().try_get(), Err(GetError::WouldBlock(_))));
    assert!(matches!(queue.bytes().try_get_into(&mut []), Err(GetError::WouldBlock(_))));
    queue.put(&[7][..]).unwrap();
    assert_eq!(queue.bytes().get().unwrap(), [7]);
    queue.bytes().put(&[8, 9]).unwrap();
    assert_eq!(queue.get().unwrap(), [8, 9]);
}

#[test]
fn a_slot_is_put_or_taken_when_it_is_committed_and_never_was_otherwise() {
    let queue = queue::<Bytes>(256, 0);
    for len in [0, 1, 100, 248, 5000] {
        let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
        queue.slots().reserve(len).unwrap().write_all(&message).unwrap();
        assert!(queue.is_empty() && spills(&queue).is_empty());
        let mut slot = queue.slots().reserve(len + 3).unwrap();
        slot.write_all(&message).unwrap();
        assert_eq!((slot.len(), slot.capacity()), (len, len + 3));
        slot.commit().unwrap();

        for taken in [false, true] {
            assert_eq!(queue.len(), 1);
            let mut slot = queue.slots().read().unwrap();
            let mut read = Vec::new();
            slot.read_to_end(&mut read).unwrap();
            assert_eq!((slot.len(), &read), (len, &message));
            if taken {
                slot.commit().unwrap();
            }
        }
        assert!(queue.is_empty() && spills(&queue).is_empty());
    }
    let mut slot = queue.slots().reserve(3).unwrap();
    assert!(slot.write_all(b"four").is_err());
    assert_eq!(slot.len(), 3);
}

#[test]
#[expect(unsafe_code, reason = "the slices of slots are tried")]
fn the_bytes_of_a_slot_can_be_used_where_they_lie() {
    let queue = queue::<Bytes>(256, 0);
    for round in 0..40_u8 {
        for len in [0, 7, 61, 1000] {
            let mut slot = queue.slots().reserve(len + 2).unwrap();
            slot.write_all(&[round]).unwrap();
            // SAFETY: nobody else has the queue.
            let [first, second] = unsafe { slot.as_mut_slices() };
            assert_eq!(first.len() + second.len(), len + 1);
            first.iter_mut().chain(second).enumerate().for_each(|(at, byte)| *byte = round ^ at as u8);
            slot.advance(len);
            slot.commit().unwrap();
            let slot = queue.slots().read().unwrap();
            // SAFETY: the same.
            let [first, second] = unsafe { slot.as_slices() };
            let expected = [round].into_iter().chain((0..len).map(|at| round ^ at as u8));
            assert!(first.iter().chain(second).copied().eq(expected));
            slot.commit().unwrap();
        }
    }
}

#[test]
fn a_slot_for_more_than_there_can_be_is_refused() {
    let queue = queue::<Bytes>(64, 0);
    for len in [usize::MAX, usize::MAX - 63, usize::MAX / 2, 1 << 60] {
        let refused = queue.slots().try_reserve(len).map(|slot| slot.capacity());
        assert!(matches!(refused, Err(PutError::Spill { len: its, .. }) if its == len), "{refused:?}");
    }
    assert!(queue.is_empty() && !queue.is_full() && spills(&queue).is_empty());
}

#[test]
fn a_thread_that_holds_a_slot_is_told_so_instead_of_waiting_for_itself() {
    let queue = queue::<Bytes>(256, 0);
    queue.put(&[1][..]).unwrap();
    let slot = queue.slots().reserve(8).unwrap();
    assert!(matches!(queue.put(&[2][..]), Err(PutError::SlotHeld(_))));
    assert!(matches!(queue.close(), Err(CloseError::SlotHeld(_))));
    assert_eq!(queue.get().unwrap(), [1]);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| queue.try_put(&[2][..]));
        assert!(matches!(other.join().unwrap(), Err(PutError::WouldBlock(_))));
    });
    drop(slot);
    queue.put(&[3][..]).unwrap();
    let slot = queue.slots().read().unwrap();
    assert!(matches!(queue.get(), Err(GetError::SlotHeld(_))));
    queue.put(&[4][..]).unwrap();
    drop(slot);
    assert_eq!(queue.batch().drain().unwrap(), [[3], [4]].map(|byte| Bytes::from(&byte[..])));
}

/// Small messages take each bit of room as soon as it is there, and never leave a quarter of the ring.
#[test]
fn a_large_message_gets_in_among_small_ones() {
    let queue = queue::<Vec<u8>>(1 << 16, 0);
    let is_over = AtomicBool::new(false);
    let while_it_goes_on = |step: &(dyn Fn() + Sync)| {
        while !is_over.load(Ordering::Relaxed) {
            step();
        }
    };
    let short = Duration::from_millis(100);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| while_it_goes_on(&|| drop(queue.put_timeout(&vec![1; 8], short))));
        }
        scope.spawn(|| {
            while_it_goes_on(&|| {
                drop(queue.get_timeout(short));
                // Slower than those who put.
                let begin = std::time::Instant::now();
                while begin.elapsed() < Duration::from_micros(20) {}
            });
        });
        while queue.len() < 2700 {
            std::thread::yield_now();
        }
        let put = queue.put_timeout(&vec![2; 1 << 17], Duration::from_secs(20));
        is_over.store(true, Ordering::Relaxed);
        put.unwrap();
    });
    assert_eq!(queue.body.words.starving.load(Ordering::Relaxed), 0);
}

#[test]
fn what_said_that_it_starves_and_died_holds_nobody_up_for_long() {
    let queue = queue::<u8>(256, 0);
    let long_ago = clock::ms_of(clock::now_ns()) - 1000;
    queue.body.words.starving.store(long_ago | 1, Ordering::Relaxed);
    queue.put(&1).unwrap();
    assert_eq!(queue.body.words.starving.load(Ordering::Relaxed), 0);
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

/// How often somebody was called who waits for room.
fn calls(queue: &Queue<Vec<u8>>) -> u32 {
    queue.body.words.space.word().load(Ordering::Relaxed) >> 2
}

#[test]
fn producers_whose_messages_do_not_fit_do_not_wake_each_other_again_and_again() {
    let queue = queue::<Vec<u8>>(256, 0);
    queue.batch().put(vec![&vec![1; 1000]; 3]).unwrap();
    queue.put(&vec![2; 8]).unwrap();
    assert!(!queue.is_full());
    let before = calls(&queue);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let failed = queue.put_timeout(&vec![3; 1000], Duration::from_millis(300));
                assert!(matches!(failed, Err(PutError::TimedOut(_))), "{failed:?}");
            });
        }
    });
    // Some at the end of each slice.
    assert!(calls(&queue) - before < 1000, "{} calls for nothing", calls(&queue) - before);
}

#[test]
fn who_may_have_been_called_and_does_not_get_in_in_time_calls_another() {
    let queue = queue::<Bytes>(64, 2);
    let words = &queue.body.words;
    let soon = Duration::from_millis(5);
    let calls_another = |bell: &procession_sync::EventCount, tries: &(dyn Fn() + Sync)| {
        // As one who sleeps already.
        let listened = bell.listen();
        std::thread::scope(|scope| drop(scope.spawn(tries)));
        listened >> 2 != bell.word().load(Ordering::Relaxed) >> 2
    };
    let gets = || assert!(matches!(queue.get_timeout(soon), Err(GetError::TimedOut(_))));
    let puts = || assert!(matches!(queue.put_timeout(&[2][..], soon), Err(PutError::TimedOut(_))));

    let slot = queue.slots().reserve(1).unwrap();
    assert!(calls_another(&words.space, &puts));
    drop(slot);
    queue.put(&[1][..]).unwrap();
    let slot = queue.slots().read().unwrap();
    assert!(calls_another(&words.items, &gets));
    drop(slot);

    // There is nothing to be called for.
    queue.put(&[2][..]).unwrap();
    assert!(!calls_another(&words.space, &puts));
    assert_eq!(queue.batch().drain().unwrap(), [[1], [2]].map(|byte| Bytes::from(&byte[..])));
    assert!(!calls_another(&words.items, &gets));
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
    assert!(matches!(others.get(), Err(GetError::Decode { bytes, .. }) if bytes == [0]));
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
