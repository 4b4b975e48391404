//! Bytes, and slots, which are bytes where they lie.

use super::{queue, spills};
use crate::codec::{Bytes, Codec, Encoded};
use crate::queue::{CloseError, GetError, PutError, Queue};
use procession_shm::{Namespace, OpenError};
use std::io::{Read, Write};

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
    let got = queue.bytes().try_get_as(|len| {
        assert!(matches!(queue.get(), Err(GetError::SlotHeld(_))));
        queue.put(&[5][..]).unwrap();
        vec![0; len]
    });
    assert_eq!(got.unwrap(), [3]);
    assert_eq!(queue.batch().drain().unwrap(), [[4], [5]].map(|byte| Bytes::from(&byte[..])));
}

#[test]
fn encoded_messages_of_any_codec_are_bytes_that_nobody_looks_at() {
    let namespace = Namespace::private();
    for codec in [Codec::Pickle, Codec::Json, Codec::Bytes] {
        let options = Queue::<Encoded>::options().namespace(&namespace).codec(codec);
        let queue = options.anonymous().unwrap();
        queue.bytes().put(b"[1]").unwrap();
        assert_eq!(queue.get().unwrap().as_slice(), b"[1]");
        queue.put(&Encoded::from(&b"[2]"[..])).unwrap();
        assert_eq!(queue.bytes().get().unwrap(), b"[2]");
        queue.bytes().put(b"[3]").unwrap();
        let into_buffer = queue.bytes().try_get_into(&mut [0; 8]);
        match codec {
            Codec::Json => assert!(matches!(into_buffer, Err(GetError::NotBytes(_)))),
            _ => assert_eq!(into_buffer.unwrap(), 3),
        }
        let items = crate::JoinableQueue::<Encoded>::options()
            .namespace(&namespace)
            .codec(codec)
            .anonymous()
            .unwrap();
        items.bytes().put(b"[3]").unwrap();
        items.get().unwrap().task_done().unwrap();
        let (sender, receiver) =
            crate::Pipe::options().namespace(&namespace).codec(codec).pipe::<Encoded>().unwrap();
        sender.send_bytes(b"[4]").unwrap();
        assert_eq!(receiver.recv_bytes().unwrap(), b"[4]");
    }
    let pickles =
        Queue::<Encoded>::options().namespace(&namespace).codec(Codec::Pickle).create("pickles").unwrap();
    assert_eq!(pickles.codec().name(), "Pickle");
    let json = Queue::<Encoded>::options().namespace(&namespace).codec(Codec::Json).open("pickles");
    assert!(matches!(json, Err(OpenError::Codec { .. })));
    pickles.unlink().unwrap();
}
