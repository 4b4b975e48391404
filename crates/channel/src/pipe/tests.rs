use super::{Pipe, PipeOptions, RecvError, SendError, Sender};
use crate::codec::Bytes;
use crate::joinable::JoinableQueue;
use crate::pipe_end::UnusableEnd;
use crate::queue::{PutError, Queue};
use procession_shm::{Entry, Kind, Namespace};
use procession_sync::{Fault, WaitAnyError, readiness, wait, wait_timeout};
use procession_sys::Deadline;
use procession_sys::eventfd::wait_any;
use serde::{Deserialize, Serialize, Serializer};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(20);

fn options() -> PipeOptions {
    Pipe::options().namespace(&Namespace::private())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

#[test]
fn messages_of_all_sizes_come_whole_and_in_order_through_a_small_ring() {
    let (sender, receiver) = options().bytes(64).bytes_only().pipe::<()>().unwrap();
    let mut sizes = vec![0, 1, 8, 9, 16, 17, 0, 48, 56, 57, 64, 100, 1000, 0, 65536, 3];
    // Each size both ways of receiving, at different places of the ring.
    sizes.extend((0..=56).chain(0..=56));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for &size in &sizes {
                sender.send_bytes(&pattern(size)).unwrap();
            }
        });
        for (n, &size) in sizes.iter().enumerate() {
            if n % 2 == 0 {
                assert_eq!(receiver.recv_bytes().unwrap(), pattern(size));
            } else {
                let mut buffer = vec![0; size + n];
                assert_eq!(receiver.recv_bytes_into(&mut buffer).unwrap(), size);
                assert_eq!(buffer[..size], pattern(size));
            }
        }
    });
}

#[test]
fn a_long_message_moves_the_pipe_to_its_larger_ring_unless_its_capacity_was_said() {
    let namespace = Namespace::private();
    let options = Pipe::options().namespace(&namespace);
    let memory = |name: &str| {
        let list = namespace.list().unwrap();
        list.iter().find(|entry| entry.name == name).unwrap().bytes
    };
    let (sender, receiver) = options.clone().bytes_only().pipe::<()>().unwrap();
    let name = sender.end.body.segment().name().to_owned();
    let before = memory(&name);
    assert!(before < 300 << 10, "{before}");
    // They fill the ring nearly, and the reader has not looked at it when the others come.
    (0..3).for_each(|n| sender.try_send_bytes(&pattern(65_536 - n)).unwrap());
    assert_eq!(memory(&name), before);
    let most = (4 << 20) - 8;
    let long = [65_537, 1 << 20, 2 << 20, 700_000, 0, 3 << 20, 5, most];
    for &len in &long[..3] {
        sender.try_send_bytes(&pattern(len)).unwrap();
    }
    assert!(memory(&name) > 4 << 20);
    assert!(matches!(sender.try_send_bytes(&pattern(1 << 20)), Err(SendError::WouldBlock)));
    assert!(matches!(
        sender.try_send_bytes(&pattern(most + 1)),
        Err(SendError::TooLarge { len, most: said }) if len == most + 1 && said == most
    ));
    (0..3).for_each(|n| assert_eq!(receiver.recv_bytes().unwrap(), pattern(65_536 - n)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for &len in &long[3..] {
                sender.send_bytes(&pattern(len)).unwrap();
            }
        });
        for len in long {
            assert_eq!(receiver.recv_bytes().unwrap(), pattern(len));
        }
    });
    let (sender, receiver) = options.bytes(256 << 10).bytes_only().pipe::<()>().unwrap();
    let name = sender.end.body.segment().name().to_owned();
    sender.try_send_bytes(&pattern(200_000)).unwrap();
    let most = (256 << 10) - 8;
    assert!(matches!(
        sender.try_send_bytes(&pattern(most + 1)),
        Err(SendError::TooLarge { most: said, .. }) if said == most
    ));
    assert_eq!(receiver.recv_bytes().unwrap(), pattern(200_000));
    assert_eq!(memory(&name), before);
}

#[test]
fn a_pipe_that_has_carried_much_in_messages_that_are_not_short_moves_to_its_larger_ring() {
    let namespace = Namespace::private();
    let (sender, receiver) = Pipe::options().namespace(&namespace).bytes_only().pipe::<()>().unwrap();
    let memory = || namespace.list().unwrap().iter().map(|entry| entry.bytes).max().unwrap();
    let carry = |count: usize, len: usize| {
        for n in 0..count {
            sender.try_send_bytes(&pattern(len + n % 3)).unwrap();
            assert_eq!(receiver.recv_bytes().unwrap(), pattern(len + n % 3));
        }
    };
    // Short ones are no reason.
    carry(6000, 1000);
    carry(250, 16_000);
    assert!(memory() < 1 << 20, "{}", memory());
    carry(20, 16_000);
    assert!(memory() > 4 << 20, "{}", memory());
    carry(300, 16_000);
    sender.try_send_bytes(&pattern(1 << 20)).unwrap();
    assert_eq!(receiver.recv_bytes().unwrap(), pattern(1 << 20));
}

#[test]
fn both_ways_move_each_for_itself() {
    let (one, two) = options().bytes_only().duplex::<(), ()>().unwrap();
    for len in [10, 3 << 20, 70_000, 20] {
        one.try_send_bytes(&pattern(len)).unwrap();
    }
    two.try_send_bytes(&pattern(100)).unwrap();
    two.try_send_bytes(&pattern(3 << 20)).unwrap();
    for len in [10, 3 << 20, 70_000, 20] {
        assert_eq!(two.recv_bytes().unwrap(), pattern(len));
    }
    assert_eq!(one.recv_bytes().unwrap(), pattern(100));
    assert_eq!(one.recv_bytes().unwrap(), pattern(3 << 20));
}

#[test]
fn a_buffer_that_is_too_short_leaves_the_message_where_it_is() {
    let (sender, receiver) = options().bytes(1024).bytes_only().pipe::<()>().unwrap();
    for size in [100, 900] {
        sender.send_bytes(&pattern(size)).unwrap();
        let mut short = [0; 99];
        for _ in 0..2 {
            let refused = receiver.recv_bytes_into(&mut short);
            assert!(matches!(refused, Err(RecvError::BufferTooShort { needed, len: 99 }) if needed == size));
        }
        receiver.try_poll().unwrap();
        let mut long = [0; 1000];
        assert_eq!(receiver.recv_bytes_into(&mut long).unwrap(), size);
        assert_eq!(long[..size], pattern(size));
    }
}

#[test]
fn a_message_that_timed_out_in_the_middle_is_never_received() {
    let (sender, receiver) = options().bytes(256).bytes_only().pipe::<()>().unwrap();
    assert!(matches!(sender.send_bytes_timeout(&pattern(5000), SOON), Err(SendError::TimedOut)));
    let mut buffer = [0; 6000];
    assert!(matches!(receiver.recv_bytes_into_timeout(&mut buffer, SOON), Err(RecvError::TimedOut)));
    assert!(matches!(sender.send_bytes_timeout(&pattern(4000), SOON), Err(SendError::TimedOut)));
    assert!(matches!(receiver.try_recv_bytes(), Err(RecvError::WouldBlock)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.send_bytes(&pattern(3000)).unwrap();
            sender.send_bytes(b"after").unwrap();
        });
        // Part of it goes into a buffer that is given once, and the rest elsewhere.
        while matches!(
            receiver.recv_bytes_into_timeout(&mut buffer[..3000], Duration::from_nanos(1)),
            Err(RecvError::TimedOut)
        ) {}
        assert_eq!(buffer[..3000], pattern(3000));
        assert_eq!(receiver.recv_bytes().unwrap(), b"after");
    });
    assert!(matches!(sender.send_bytes_timeout(&pattern(4000), SOON), Err(SendError::TimedOut)));
    drop(sender);
    receiver.poll_timeout(SOON).unwrap();
    assert!(matches!(receiver.recv_bytes(), Err(RecvError::Eof)));
}

#[test]
fn tries_say_full_empty_and_too_large_at_once() {
    let (sender, receiver) = options().bytes(64).bytes_only().pipe::<()>().unwrap();
    assert!(matches!(receiver.try_recv_bytes(), Err(RecvError::WouldBlock)));
    assert!(matches!(sender.try_send_bytes(&[0; 57]), Err(SendError::TooLarge { len: 57, most: 56 })));
    sender.try_send_bytes(&[1; 56]).unwrap();
    assert!(matches!(sender.try_send_bytes(&[]), Err(SendError::WouldBlock)));
    assert!(matches!(sender.send_bytes_timeout(&[], SOON), Err(SendError::TimedOut)));
    assert_eq!(receiver.try_recv_bytes().unwrap(), [1; 56]);
    sender.try_send_bytes(&[]).unwrap();
    assert!(receiver.try_recv_bytes().unwrap().is_empty());
}

#[test]
fn what_was_sent_before_the_end_was_closed_is_received_and_then_the_end() {
    let (sender, receiver) = options().pipe::<u64>().unwrap();
    (0..3).for_each(|n| sender.send(&n).unwrap());
    sender.close();
    sender.close();
    assert!(matches!(sender.send(&3), Err(SendError::Unusable(UnusableEnd::Closed))));
    assert_eq!(receiver.iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    assert!(matches!(receiver.try_recv(), Err(RecvError::Eof)));
    receiver.try_poll().unwrap();
    let (sender, receiver) = options().pipe::<u64>().unwrap();
    drop(receiver);
    assert!(matches!(sender.send(&1), Err(SendError::PeerClosed)));
}

#[test]
fn both_ways_are_independent_and_close_together() {
    let (one, two) = options().duplex::<String, u64>().unwrap();
    one.send(&"hello".to_owned()).unwrap();
    two.send(&7).unwrap();
    assert_eq!((two.recv().unwrap().as_str(), one.recv().unwrap()), ("hello", 7));
    two.send(&8).unwrap();
    drop(two);
    assert!(matches!(one.send(&String::new()), Err(SendError::PeerClosed)));
    assert_eq!(one.recv().unwrap(), 8);
    assert!(matches!(one.recv(), Err(RecvError::Eof)));
}

#[test]
fn threads_take_turns_and_messages_stay_whole() {
    let (sender, receiver) = options().bytes(256).pipe::<(u64, Vec<u8>)>().unwrap();
    let mut got = std::thread::scope(|scope| {
        for who in 0..4 {
            let sender = &sender;
            scope.spawn(move || {
                for n in 0..200 {
                    let number = who * 1000 + n;
                    sender.send(&(number, vec![number as u8; (n * 3) as usize])).unwrap();
                }
            });
        }
        let readers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| (0..400).map(|_| receiver.recv().unwrap()).collect::<Vec<_>>()))
            .collect();
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    got.sort_unstable();
    assert_eq!(got.len(), 800);
    for (place, (number, bytes)) in got.iter().enumerate() {
        assert_eq!(*number, (place as u64 / 200) * 1000 + place as u64 % 200);
        assert_eq!(*bytes, vec![*number as u8; (number % 1000 * 3) as usize]);
    }
}

#[test]
fn one_who_tries_does_not_wait_for_one_who_sleeps_and_closing_wakes_the_sleeper() {
    let (sender, receiver) = options().bytes(64).bytes_only().pipe::<()>().unwrap();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| receiver.recv_bytes());
        while !sender.end.outgoing().data().has_waiters() {
            std::thread::yield_now();
        }
        assert!(matches!(receiver.try_recv_bytes(), Err(RecvError::WouldBlock)));
        assert!(matches!(receiver.recv_bytes_timeout(SOON), Err(RecvError::TimedOut)));
        assert!(matches!(receiver.poll_timeout(SOON), Err(RecvError::TimedOut)));
        receiver.close();
        assert!(matches!(sleeper.join().unwrap(), Err(RecvError::Unusable(UnusableEnd::Closed))));
    });
    let (sender, _receiver) = options().bytes(64).bytes_only().pipe::<()>().unwrap();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| sender.send_bytes(&[0; 1000]));
        while !sender.end.outgoing().room().has_waiters() {
            std::thread::yield_now();
        }
        assert!(matches!(sender.try_send_bytes(&[]), Err(SendError::WouldBlock)));
        sender.close();
        assert!(matches!(sleeper.join().unwrap(), Err(SendError::Unusable(UnusableEnd::Closed))));
    });
}

#[test]
fn an_end_that_arrives_for_other_messages_is_refused() {
    let told = |message: &[u8]| {
        let refused = crate::codec::decode::<Sender<(u64, String)>>(message).unwrap_err();
        assert!(refused.to_string().contains("element.1 is u8 there, and string here"), "{refused}");
    };
    let encoded = |end: &dyn Fn(&mut Vec<u8>)| {
        let mut message = Vec::new();
        end(&mut message);
        message
    };
    let (sender, receiver) = options().pipe::<(u64, u8)>().unwrap();
    told(&encoded(&|out| crate::codec::encode(&sender, out).unwrap()));
    // It was taken, and is lost.
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    let (one, other) = options().duplex::<u8, [u16; 2]>().unwrap();
    let message = encoded(&|out| crate::codec::encode(&one, out).unwrap());
    assert!(crate::codec::decode::<super::Connection<[u16; 2], u8>>(&message).is_err());
    let message = encoded(&|out| crate::codec::encode(&other, out).unwrap());
    assert!(crate::codec::decode::<super::Connection<(u16, u16), u8>>(&message).is_ok());
    let (bytes, _receiver) = options().bytes_only().duplex::<Vec<u8>, String>().unwrap();
    let message = encoded(&|out| crate::codec::encode(&bytes, out).unwrap());
    assert!(crate::codec::decode::<super::Connection<String, Vec<u8>>>(&message).is_ok());
}

#[test]
fn two_handles_of_one_end_in_one_process_are_told_apart() {
    let (sender, receiver) = options().pipe::<u64>().unwrap();
    let mut bytes = Vec::new();
    crate::codec::encode(&sender, &mut bytes).unwrap();
    let arrived: Sender<u64> = crate::codec::decode(&bytes).unwrap();
    arrived.send(&1).unwrap();
    let here = std::process::id();
    let refused = sender.send(&2);
    assert!(
        matches!(refused, Err(SendError::Unusable(UnusableEnd::InUse { by, here: also })) if by == here && also == here)
    );
    drop(sender);
    assert_eq!(receiver.recv().unwrap(), 1);
    assert!(matches!(receiver.try_recv(), Err(RecvError::WouldBlock)));
    assert!(crate::codec::encode(&arrived, &mut bytes).is_err(), "a used end stays");
    drop(arrived);
    assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    let wrong = crate::codec::decode::<super::Receiver<u64>>(&bytes);
    assert!(wrong.unwrap_err().to_string().contains("another end of a pipe than a Receiver"));
}

#[test]
fn what_is_no_message_of_the_type_comes_as_bytes() {
    let (sender, receiver) = options().pipe::<String>().unwrap();
    // By another build, whose strings are otherwise.
    let nonsense = || {
        super::transfer::send(&sender.end, sender.outgoing.writer(), &[200, 1, 2], Deadline::NEVER).unwrap();
    };
    nonsense();
    assert!(matches!(receiver.recv(), Err(RecvError::Decode { bytes, .. }) if bytes == [200, 1, 2]));
    assert!(matches!(receiver.try_recv(), Err(RecvError::WouldBlock)));
    // It is one message of many.
    sender.send(&"before".to_owned()).unwrap();
    nonsense();
    sender.send(&"after".to_owned()).unwrap();
    sender.close();
    let mut all = Vec::new();
    for message in &receiver {
        all.push(message.ok());
    }
    assert_eq!(all, [Some("before".to_owned()), None, Some("after".to_owned())]);
    // A fault is the last.
    receiver.close();
    let mut messages = receiver.iter();
    assert!(matches!(messages.next(), Some(Err(RecvError::Unusable(UnusableEnd::Closed)))));
    assert!(messages.next().is_none());
}

#[test]
fn ends_are_waited_for_among_others() {
    let (sender, one) = options().bytes(64).pipe::<Bytes>().unwrap();
    let (two, far) = options().duplex::<u64, u64>().unwrap();
    assert!(matches!(wait_timeout(&[&one, &two], SOON), Err(WaitAnyError::TimedOut)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !far.end.outgoing().data().has_waiters() {
                std::thread::yield_now();
            }
            far.send(&1).unwrap();
        });
        assert_eq!(wait(&[&one, &two]).unwrap(), [1]);
        // What is longer than the pipe is ready when all of it is there.
        scope.spawn(|| sender.send_bytes(&[7; 1000]).unwrap());
        assert_eq!(two.recv().unwrap(), 1);
        assert_eq!(wait(&[&one, &two]).unwrap(), [0]);
        assert_eq!(one.recv_bytes().unwrap(), [7; 1000]);
    });
    drop((sender, far));
    assert_eq!(wait(&[&one, &two]).unwrap(), [0, 1]);
}

/// Any words and bytes in the segment end in messages or typed errors.
#[test]
fn hostile_rings_are_corrupt_and_nothing_worse() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let namespace = Namespace::private();
    let mut corrupt = 0;
    for round in 0..800 {
        let options = Pipe::options().namespace(&namespace).bytes(256);
        // Half of them have a larger ring, half of which are in it.
        let options = if round % 2 == 0 { options.long_bytes(1024) } else { options };
        let (sender, receiver) = options.pipe::<(u8, String)>().unwrap();
        let words = if round % 8 < 4 { 32 } else { 128 };
        if words > 32 && round % 2 == 0 {
            sender.send(&(2, "x".repeat(62))).unwrap();
        }
        for n in 0..5 {
            sender.try_send(&(n, "some text".to_owned())).unwrap();
        }
        for _ in 0..1 + next() % 3 {
            let word = match next() % 6 {
                0 => next(),
                5 => 0,
                1 => next() % 64,
                2 => (1 << 63) | (next() % 64),
                3 => (1 << 63) | 8,
                _ => u64::MAX,
            };
            let place = crate::pipe_end::RING_OFFSET
                + (next() % if round % 2 == 0 { words } else { 32 }) as usize * 8;
            assert!(receiver.end.body.copy_in(place, &word.to_le_bytes()));
        }
        if round % 4 == 0 {
            // `tail` is the first word, `head` the first of the next cache line.
            assert!(receiver.end.body.copy_in((round / 4 % 2) * 64, &next().to_le_bytes()));
        }
        let mut buffer = [0; 300];
        for n in 0..8 {
            let outcome = match n % 3 {
                0 => receiver.try_recv().map(|_| ()),
                1 => crate::pipe::transfer::receive(
                    &receiver.end,
                    receiver.incoming.reader(),
                    &mut crate::pipe::taker::Fill(&mut buffer),
                    Deadline::PASSED,
                )
                .map(|_| ()),
                _ => receiver.try_poll(),
            };
            corrupt += u32::from(matches!(outcome, Err(RecvError::Fault(Fault::Corrupt { .. }))));
            // Full, or corrupt.
            drop(sender.try_send_bytes(&[1; 100]));
        }
    }
    assert!(corrupt > 100, "{corrupt}");
}

/// What cannot be encoded: with an error if it is true, else with a panic.
#[derive(Deserialize)]
struct Refuses(bool);

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        assert!(self.0, "as it does");
        Err(serde::ser::Error::custom("refused"))
    }
}

#[test]
fn a_message_that_is_not_sent_takes_no_end_with_it() {
    let namespace = Namespace::private();
    let options = Pipe::options().namespace(&namespace).bytes(64);
    let full: Queue<Sender<u8>> = Queue::options().namespace(&namespace).capacity(1).anonymous().unwrap();
    let closed: JoinableQueue<Sender<u8>> =
        JoinableQueue::options().namespace(&namespace).anonymous().unwrap();
    closed.close().unwrap();
    let refusing: Queue<(Sender<u8>, Refuses)> = Queue::options().namespace(&namespace).anonymous().unwrap();
    let (first, other) = options.pipe::<u8>().unwrap();
    full.put(&first).unwrap();
    let (deaf, hears_not) = options.pipe::<Sender<u8>>().unwrap();
    while deaf.try_send_bytes(&[0; 8]).is_ok() {}

    let (sender, receiver) = options.pipe::<u8>().unwrap();
    assert!(matches!(full.try_put(&sender), Err(PutError::WouldBlock(_))));
    assert!(matches!(closed.put(&sender), Err(PutError::Closed(_))));
    assert!(matches!(deaf.send_timeout(&sender, Duration::from_millis(2)), Err(SendError::TimedOut)));
    let both = (sender, Refuses(true));
    assert!(matches!(refusing.put(&both), Err(PutError::Encode(_))));
    let both = (both.0, Refuses(false));
    assert!(catch_unwind(AssertUnwindSafe(|| refusing.put(&both))).is_err());
    assert!(matches!(receiver.try_recv(), Err(RecvError::WouldBlock)));
    drop(both);
    assert!(matches!(receiver.try_recv(), Err(RecvError::Eof)));
    drop(receiver);

    // One that was sent before goes on its way, whatever fails afterwards.
    let (sender, receiver) = options.pipe::<u8>().unwrap();
    drop((first, full.get().unwrap()));
    assert!(matches!(other.try_recv(), Err(RecvError::Eof)));
    full.put(&sender).unwrap();
    assert!(matches!(full.try_put(&sender), Err(PutError::WouldBlock(_))));
    drop(sender);
    assert!(matches!(receiver.try_recv(), Err(RecvError::WouldBlock)));
    full.get().unwrap().send(&7).unwrap();
    assert_eq!(receiver.recv().unwrap(), 7);
    drop((receiver, other, hears_not, deaf));
    let is_pipe = |entry: &Entry| entry.header.as_ref().is_ok_and(|header| header.kind == Kind::PIPE);
    assert!(!namespace.list().unwrap().iter().any(is_pipe));
}

#[test]
fn of_threads_that_use_an_end_first_one_claims_it_for_all() {
    for _ in 0..200 {
        let (sender, receiver) = Pipe::options().namespace(&Namespace::private()).pipe::<u32>().unwrap();
        let together = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (sender, together) = (&sender, &together);
                scope.spawn(move || {
                    together.wait();
                    sender.send(&number).unwrap();
                });
            }
        });
        let mut got: Vec<u32> = (0..4).map(|_| receiver.recv().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3]);
    }
}

#[test]
fn the_end_of_a_pipe_rings_for_messages_and_for_the_end_of_them() {
    let namespace = Namespace::private();
    let (sender, receiver) = Pipe::options().namespace(&namespace).pipe::<u8>().unwrap();
    let receiver = Arc::new(receiver);
    let ready = readiness(&receiver).unwrap();
    let is_readable = |patience: Option<Duration>| wait_any(&[ready.as_fd()], patience).unwrap()[0];
    for message in 0..3 {
        assert!(!is_readable(Some(Duration::from_millis(5))));
        sender.send(&message).unwrap();
        assert!(is_readable(None));
        assert_eq!(receiver.try_recv().unwrap(), message);
        ready.clear();
    }
    drop(sender);
    assert!(is_readable(None));
    ready.clear();
    assert!(is_readable(None), "there is an answer for ever");
}
