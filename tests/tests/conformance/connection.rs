//! `_TestConnection` and `_TestPicklingConnections`, of the ends of pipes.
//!
//! On purpose different from Python: an end says in its type what goes through it and in which direction, so
//! the wrong direction (OSError) does not compile, and neither does an offset (`send_bytes` takes a slice).
//! It is one process's: in who has given it away there is nothing to close, and no file descriptor, so none
//! is sent. A buffer that is too short leaves the message in the pipe. And who closed its end (`Eof`) is told
//! from who was killed (`PeerDied`).
//!
//! Pipes have no names. Where objects have, a child gets its end as a message of a queue that has one.

use crate::ground::{Ground, Handed, Line, SHORT, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{
    Connection, Event, Process, Queue, Receiver, RecvError, SendError, Sender, UnusableEnd, codec,
};
use serde::{Deserialize, Serialize, Serializer};
use std::time::{Duration, Instant};

conforms!(
    what_is_sent_comes_back_whatever_it_is,
    bytes_come_back_at_any_length,
    a_buffer_takes_a_message_of_its_length_or_less_and_a_shorter_one_leaves_it,
    nothing_there_and_no_room_are_said_at_once_or_in_time,
    a_message_that_timed_out_in_the_middle_is_never_received,
    each_end_of_a_pipe_has_one_direction,
    what_a_child_has_closed_by_its_end_is_at_its_end,
    an_end_that_is_closed_is_of_no_use,
    who_waits_to_receive_gets_what_is_sent,
    who_waits_for_room_goes_on_when_the_other_receives,
    parts_of_a_slice_are_messages_also_of_no_length,
    what_cannot_be_encoded_is_refused_and_sends_nothing,
    what_is_not_the_type_comes_as_bytes_and_is_out_of_the_way,
    ends_go_through_pipes_and_are_used_by_who_gets_them,
    the_death_of_the_other_is_told_after_all_it_had_sent,
    who_waits_is_told_of_a_death,
    nobody_receives_what_a_dead_process_never_received,
);

type Bytes = Vec<u8>;

/// Things of every kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Thing {
    Nothing,
    Number(i128),
    Real(f64),
    Text(String),
    Bytes(Bytes),
    Many(Vec<Thing>),
    Maybe { first: Option<Box<Thing>>, second: (bool, char) },
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// Sends back what comes, until the end; how many messages that were.
fn echo(end: Handed<Connection<Thing, Thing>>) -> usize {
    let end = end.take();
    end.iter().map(|thing| end.send(&thing.unwrap()).unwrap()).count()
}

/// The same of bytes.
fn echo_bytes(end: Handed<Connection<(), ()>>) -> usize {
    let end = end.take();
    for count in 0.. {
        match end.recv_bytes() {
            Ok(message) => end.send_bytes(&message).unwrap(),
            Err(RecvError::Eof) => return count,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("numbers do not end")
}

// test_connection
fn what_is_sent_comes_back_whatever_it_is(ground: &Ground) {
    let (here, there) = ground.pipes().bytes(1024).duplex::<Thing, Thing>().unwrap();
    let other = child(echo, ground.hand(there));
    let text = Thing::Text("tschüß, 世界\0".repeat(500));
    let maybe = |first| Thing::Maybe { first, second: (true, '∀') };
    let things = [
        Thing::Nothing,
        Thing::Number(i128::MIN),
        Thing::Real(1.25),
        Thing::Bytes(pattern(10_000)),
        maybe(None),
        maybe(Some(Box::new(text.clone()))),
        Thing::Many(vec![Thing::Nothing, text, Thing::Many(Vec::new())]),
    ];
    for thing in &things {
        here.send(thing).unwrap();
        assert_eq!(here.recv().unwrap(), *thing);
    }
    assert!(matches!(here.try_recv(), Err(RecvError::WouldBlock)));
    here.close();
    assert_eq!(other.join().unwrap(), things.len());
}

// test_connection, "really_big_msg"
fn bytes_come_back_at_any_length(ground: &Ground) {
    let (here, there) = ground.pipes().bytes_only().duplex::<(), ()>().unwrap();
    let other = child(echo_bytes, ground.hand(there));
    let lengths = [0, 1, 7, 8, 9, 4095, 4096, 300_000, 16 << 20];
    for len in lengths {
        here.send_bytes(&pattern(len)).unwrap();
        assert!(here.recv_bytes().unwrap() == pattern(len), "{len}");
    }
    drop(here);
    assert_eq!(other.join().unwrap(), lengths.len());
}

// test_connection, `recv_bytes_into`. There, a message that is too long is out of the pipe, and in the
// exception.
fn a_buffer_takes_a_message_of_its_length_or_less_and_a_shorter_one_leaves_it(ground: &Ground) {
    let (here, there) = ground.pipes().bytes(256).bytes_only().duplex::<(), ()>().unwrap();
    let other = child(echo_bytes, ground.hand(there));
    // In one piece, and in many.
    for len in [40, 5000] {
        here.send_bytes(&pattern(len)).unwrap();
        let mut buffer = vec![0; len - 1];
        for _ in 0..2 {
            let refused = here.recv_bytes_into(&mut buffer);
            assert!(matches!(refused, Err(RecvError::BufferTooShort { needed, len: had })
                if (needed, had) == (len, len - 1)));
        }
        let mut buffer = vec![0; len];
        assert_eq!(here.recv_bytes_into(&mut buffer).unwrap(), len);
        assert_eq!(buffer, pattern(len));
        // A part of a buffer, as Python's offset.
        here.send_bytes(&pattern(len)).unwrap();
        let mut buffer = vec![9; len + 10];
        assert_eq!(here.recv_bytes_into_timeout(&mut buffer[3..], Duration::MAX).unwrap(), len);
        assert_eq!((&buffer[..3], &buffer[3..3 + len]), (&[9; 3][..], &*pattern(len)));
    }
    assert!(matches!(here.try_recv_bytes_into(&mut []), Err(RecvError::WouldBlock)));
    drop(here);
    assert_eq!(other.join().unwrap(), 4);
}

// test_connection, its timeouts
fn nothing_there_and_no_room_are_said_at_once_or_in_time(ground: &Ground) {
    let times_out = |end: &Connection<(), ()>| {
        let start = Instant::now();
        assert!(matches!(end.try_recv_bytes(), Err(RecvError::WouldBlock)));
        assert!(matches!(end.recv_bytes_timeout(Duration::ZERO), Err(RecvError::TimedOut)));
        assert!(matches!(end.recv_timeout(SHORT), Err(RecvError::TimedOut)));
        assert!(start.elapsed() >= SHORT);
        while end.try_send_bytes(&[1; 20]).is_ok() {}
        let start = Instant::now();
        assert!(matches!(end.try_send_bytes(&[1; 20]), Err(SendError::WouldBlock)));
        assert!(matches!(end.send_bytes_timeout(&[1; 20], Duration::ZERO), Err(SendError::TimedOut)));
        assert!(matches!(end.send_bytes_timeout(&[1; 2000], SHORT), Err(SendError::TimedOut)));
        assert!(matches!(end.try_send_bytes(&[1; 2000]), Err(SendError::TooLarge { len: 2000, most: 120 })));
        start.elapsed() >= SHORT
    };
    let (here, there) = ground.pipes().bytes(128).bytes_only().duplex::<(), ()>().unwrap();
    let ask = move |(end, looked, filled): (Handed<Connection<(), ()>>, Sent<Event>, Sent<Event>)| {
        let end = end.take();
        let times_out = times_out(&end);
        looked.set();
        filled.wait().unwrap();
        times_out && holds_what_was_sent(&end) && matches!(end.recv_bytes(), Err(RecvError::Eof))
    };
    let (looked, filled) = (ground.make(Event::options()), ground.make(Event::options()));
    let other = child(ask, (ground.hand(there), looked.send(), filled.send()));
    looked.wait().unwrap();
    assert!(holds_what_was_sent(&here) && times_out(&here));
    here.close();
    filled.set();
    assert!(other.join().unwrap());
}

/// Whether the messages are there that found room, and none of those that timed out.
fn holds_what_was_sent(end: &Connection<(), ()>) -> bool {
    (0..4).all(|_| end.recv_bytes().unwrap() == [1; 20])
}

// None: there, sending has no timeout.
fn a_message_that_timed_out_in_the_middle_is_never_received(ground: &Ground) {
    let go_on = ground.make(Event::options());
    let (writer, reader) = ground.pipes().bytes(128).pipe::<Bytes>().unwrap();
    let receive = |(end, go_on): (Handed<Receiver<Bytes>>, Sent<Event>)| {
        let end = end.take();
        go_on.wait().unwrap();
        end.iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let other = child(receive, (ground.hand(reader), go_on.send()));
    writer.send(&pattern(3)).unwrap();
    for len in [2000, 200] {
        assert!(matches!(writer.send_timeout(&pattern(len), SHORT), Err(SendError::TimedOut)));
    }
    go_on.set();
    writer.send(&pattern(1000)).unwrap();
    drop(writer);
    assert_eq!(other.join().unwrap(), [pattern(3), pattern(1000)]);
}

// test_duplex_false. There, who uses the wrong direction is told so.
fn each_end_of_a_pipe_has_one_direction(ground: &Ground) {
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    let send = |end: Handed<Sender<u32>>| end.take().send(&1).is_ok();
    assert!(elsewhere(send, ground.hand(writer)));
    assert_eq!(reader.recv().unwrap(), 1);
    assert!(matches!(reader.recv(), Err(RecvError::Eof)));
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    writer.send(&2).unwrap();
    let receive = |end: Handed<Receiver<u32>>| end.take().recv().unwrap();
    assert_eq!(elsewhere(receive, ground.hand(reader)), 2);
    assert!(matches!(writer.send(&3), Err(SendError::PeerClosed)));
}

// test_spawn_close: the parent has nothing to close.
fn what_a_child_has_closed_by_its_end_is_at_its_end(ground: &Ground) {
    let (here, there) = ground.pipes().duplex::<String, String>().unwrap();
    let greet = |end: Handed<Connection<String, String>>| end.take().send(&"hello".to_owned()).unwrap();
    let other = child(greet, ground.hand(there));
    assert_eq!(here.recv().unwrap(), "hello");
    assert!(matches!(here.recv(), Err(RecvError::Eof)));
    assert!(matches!(here.send(&String::new()), Err(SendError::PeerClosed)));
    other.join().unwrap();
}

// test_context
fn an_end_that_is_closed_is_of_no_use(ground: &Ground) {
    let (here, there) = ground.pipes().duplex::<u32, u32>().unwrap();
    let use_up = |end: Handed<Connection<u32, u32>>| {
        let end = end.take();
        end.send(&1891).unwrap();
        assert!(!end.is_closed());
        end.close();
        end.close();
        assert!(matches!(end.send(&1), Err(SendError::Unusable(UnusableEnd::Closed))));
        assert!(matches!(end.try_recv(), Err(RecvError::Unusable(UnusableEnd::Closed))));
        assert!(matches!(end.recv(), Err(RecvError::Unusable(UnusableEnd::Closed))));
        assert!(matches!(end.poll(), Err(RecvError::Unusable(UnusableEnd::Closed))));
        assert!(codec::encode(&end, &mut Vec::new()).is_err());
        end.is_closed()
    };
    assert!(elsewhere(use_up, ground.hand(there)));
    assert_eq!(here.recv().unwrap(), 1891);
    assert!(matches!(here.recv(), Err(RecvError::Eof)));
}

// test_connection, where it blocks
fn who_waits_to_receive_gets_what_is_sent(ground: &Ground) {
    let line = ground.line();
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    let receive = |(end, line): (Handed<Receiver<u32>>, Line)| {
        let end = end.take();
        line.waits_now();
        end.recv().unwrap()
    };
    let other = child(receive, (ground.hand(reader), line.clone()));
    line.falls_asleep(&other);
    writer.send(&7).unwrap();
    assert_eq!(other.join().unwrap(), 7);
}

// test_connection, where it blocks
fn who_waits_for_room_goes_on_when_the_other_receives(ground: &Ground) {
    let line = ground.line();
    let (writer, reader) = ground.pipes().bytes(64).pipe::<Bytes>().unwrap();
    let send = |(end, line): (Handed<Sender<Bytes>>, Line)| {
        let end = end.take();
        while end.try_send(&vec![1; 8]).is_ok() {}
        line.waits_now();
        end.send(&vec![2; 8]).unwrap();
        end.send(&pattern(5000)).unwrap();
    };
    let other = child(send, (ground.hand(writer), line.clone()));
    line.falls_asleep(&other);
    let mut next = || reader.recv().unwrap();
    let last = std::iter::repeat_with(&mut next).find(|message| *message != [1; 8]);
    assert_eq!(last.unwrap(), [2; 8]);
    assert_eq!(next(), pattern(5000));
    assert!(matches!(reader.recv(), Err(RecvError::Eof)));
    other.join().unwrap();
}

// test_sendbytes. Slices that reach too far do not come so far.
fn parts_of_a_slice_are_messages_also_of_no_length(ground: &Ground) {
    let (writer, reader) = ground.pipes().bytes_only().pipe::<()>().unwrap();
    let send = |end: Handed<Sender<()>>| {
        let (end, message) = (end.take(), pattern(26));
        for part in [&message[..], &message[5..], &message[7..15], &message[26..], &message[26..26], &[]] {
            end.send_bytes(part).unwrap();
        }
    };
    let other = child(send, ground.hand(writer));
    let message = pattern(26);
    for part in [&message[..], &message[5..], &message[7..15], &[], &[], &[]] {
        assert_eq!(reader.recv_bytes().unwrap(), part);
    }
    assert!(matches!(reader.recv_bytes(), Err(RecvError::Eof)));
    other.join().unwrap();
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

// None, but Python raises what `pickle` raises.
fn what_cannot_be_encoded_is_refused_and_sends_nothing(ground: &Ground) {
    let (writer, reader) = ground.pipes().pipe::<Fussy>().unwrap();
    let send = |end: Handed<Sender<Fussy>>| {
        let end = end.take();
        matches!(end.send(&Fussy(0)), Err(SendError::Encode(_))) && end.send(&Fussy(1)).is_ok()
    };
    assert!(elsewhere(send, ground.hand(writer)));
    assert_eq!(reader.recv().unwrap(), Fussy(1));
    assert!(matches!(reader.recv(), Err(RecvError::Eof)));
}

// None: there, `pickle` takes bytes for anything.
fn what_is_not_the_type_comes_as_bytes_and_is_out_of_the_way(ground: &Ground) {
    let (writer, reader) = ground.pipes().bytes_only().pipe::<String>().unwrap();
    let send = |end: Handed<Sender<String>>| {
        let end = end.take();
        end.send_bytes(&[200, 1, 2]).unwrap();
        end.send(&"after".to_owned()).unwrap();
    };
    elsewhere(send, ground.hand(writer));
    assert!(matches!(reader.recv(), Err(RecvError::Decode { bytes, .. }) if bytes == [200, 1, 2]));
    assert_eq!(reader.recv().unwrap(), "after");
}

// test_pickling, test_access (`_TestPicklingConnections`)
fn ends_go_through_pipes_and_are_used_by_who_gets_them(ground: &Ground) {
    type Ends = (Option<Receiver<u32>>, Option<Sender<u32>>);
    let (carrier, far) = ground.pipes().duplex::<Ends, u32>().unwrap();
    let use_them = |far: Handed<Connection<u32, Ends>>| {
        let far = far.take();
        for ends in far.iter() {
            match ends.unwrap() {
                (Some(reader), None) => far.send(&(reader.recv().unwrap() + 1)).unwrap(),
                (None, Some(writer)) => writer.send(&20).unwrap(),
                _ => panic!("one at a time"),
            }
        }
    };
    let other = child(use_them, ground.hand(far));
    let (writer, reader) = ground.pipes().pipe().unwrap();
    carrier.send(&(Some(reader), None)).unwrap();
    writer.send(&10).unwrap();
    assert_eq!(carrier.recv().unwrap(), 11);
    let (writer, reader) = ground.pipes().pipe().unwrap();
    carrier.send(&(None, Some(writer))).unwrap();
    assert_eq!(reader.recv().unwrap(), 20);
    assert!(matches!(reader.recv(), Err(RecvError::Eof)));
    drop(carrier);
    other.join().unwrap();
}

// test_connection, its end. There, a process that was killed is at its end like any other.
fn the_death_of_the_other_is_told_after_all_it_had_sent(ground: &Ground) {
    let sent = ground.make(Event::options());
    let (here, there) = ground.pipes().duplex::<u32, u32>().unwrap();
    let die = |(end, sent): (Handed<Connection<u32, u32>>, Sent<Event>)| {
        let end = end.take();
        (1..=3).for_each(|n| end.send(&n).unwrap());
        sent.set();
        for_ever();
    };
    let other: Process<()> = child(die, (ground.hand(there), sent.send()));
    sent.wait().unwrap();
    kill(&other);
    (1..=3).for_each(|n| assert_eq!(here.recv().unwrap(), n));
    let dead = other.pid();
    assert!(matches!(here.recv(), Err(RecvError::PeerDied { pid }) if pid == dead));
    assert!(matches!(here.try_recv(), Err(RecvError::PeerDied { pid }) if pid == dead));
    assert!(matches!(here.send(&4), Err(SendError::PeerDied { pid }) if pid == dead));
}

// None: there, both are told that it is the end, or (EPIPE) that it is broken.
fn who_waits_is_told_of_a_death(ground: &Ground) {
    let started = ground.make(Event::options());
    let carry = |(end, started): (Handed<Receiver<Bytes>>, Sent<Event>)| {
        let _end = end.take();
        started.set();
        for_ever();
    };
    let (writer, reader) = ground.pipes().bytes(64).pipe::<Bytes>().unwrap();
    let victim: Process<()> = child(carry, (ground.hand(reader), started.send()));
    // Until then this process has the other end, and so there is a pipe.
    started.wait().unwrap();
    let (far, near) = ground.pipes().pipe::<Bytes>().unwrap();
    let line = ground.line();
    let send = |(writer, far, line): (Handed<Sender<Bytes>>, Handed<Sender<Bytes>>, Line)| {
        let (writer, _far) = (writer.take(), far.take());
        line.waits_now();
        matches!(writer.send(&pattern(5000)), Err(SendError::PeerDied { .. }))
    };
    let sender = child(send, (ground.hand(writer), ground.hand(far), line.clone()));
    line.falls_asleep(&sender);
    kill(&victim);
    // It returns, and drops its other end.
    assert!(matches!(near.recv(), Err(RecvError::Eof)));
    assert!(sender.join().unwrap());
}

// None.
fn nobody_receives_what_a_dead_process_never_received(ground: &Ground) {
    let got = ground.make(Event::options());
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    let die = |(end, got): (Handed<Receiver<u32>>, Sent<Event>)| {
        let end = end.take();
        assert_eq!(end.recv().unwrap(), 1);
        got.set();
        for_ever();
    };
    (1..=3).for_each(|n| writer.send(&n).unwrap());
    let other: Process<()> = child(die, (ground.hand(reader), got.send()));
    got.wait().unwrap();
    kill(&other);
    let dead = other.pid();
    // It is not looked for as long as there is room: at the next wait at the latest.
    let told = std::iter::repeat_with(|| writer.send(&4)).find_map(Result::err).unwrap();
    assert!(matches!(told, SendError::PeerDied { pid } if pid == dead), "{told}");
}

#[test]
fn what_was_sent_and_closed_before_a_child_has_its_end_is_received() {
    let ground = Ground::anonymous();
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    let receive = |end: Receiver<u32>| end.recv().unwrap() == 7 && matches!(end.recv(), Err(RecvError::Eof));
    writer.send(&7).unwrap();
    let other = child(receive, reader);
    drop(writer);
    assert!(other.join().unwrap());
}

/// An end that is on its way keeps the pipe, as long as the process lives that has sent it, and no longer.
#[test]
fn a_pipe_outlives_its_handles_while_an_end_is_on_its_way() {
    let ground = Ground::anonymous();
    let queue = ground.make(Queue::<Receiver<u32>>::options());
    let files = || ground.namespace().list().unwrap().len();
    let before = files();
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    queue.put(&reader).unwrap();
    drop(reader);
    writer.send(&7).unwrap();
    drop(writer);
    let receive = |queue: Sent<Queue<Receiver<u32>>>| {
        let reader = queue.get().unwrap();
        format!("{:?} {:?}", reader.recv(), reader.recv())
    };
    assert_eq!(
        elsewhere(receive, queue.send()),
        "Ok(7) Err(the other end of the pipe is closed, and everything was received)"
    );
    // The next end that is dropped finds that it has arrived.
    drop(ground.pipes().pipe::<u32>().unwrap());
    assert_eq!(files(), before);
}

#[test]
fn a_pipe_whose_only_end_died_on_its_way_is_gone() {
    let ground = Ground::anonymous();
    let queue = ground.make(Queue::<Receiver<u32>>::options());
    let send = |queue: Sent<Queue<Receiver<u32>>>| {
        let segment: &procession_shm::Segment = (*queue).as_ref();
        let options = procession::Pipe::options().namespace(segment.namespace());
        let (writer, reader) = options.pipe::<u32>().unwrap();
        queue.put(&reader).unwrap();
        drop((reader, writer));
        String::new()
    };
    elsewhere(send, queue.send());
    let told = format!("{:?}", queue.get().map(drop));
    assert!(told.contains("is not of its type") && told.contains("is gone"), "{told}");
}
