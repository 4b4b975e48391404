//! `_TestPoll`, of the ends of pipes that receive.
//!
//! On purpose different from Python: a message is there when all of it is, so that the `recv` after a `poll`
//! does not wait; and an end is one process's, so that nobody else can take what was seen (test_boundaries)
//! but its threads.

use crate::ground::{Ground, Handed, SHORT, Sent, child, conforms, for_ever, kill};
use procession::{Event, Process, Receiver, RecvError, Sender};
use procession_tests::until;
use std::time::{Duration, Instant};

conforms!(
    it_says_in_time_that_there_is_nothing,
    an_empty_message_is_there_until_it_is_received,
    what_comes_with_pauses_is_seen_each_time_also_if_it_is_empty,
    looking_at_a_long_message_takes_nothing_of_it_away,
    messages_do_not_merge,
    who_polls_goes_on_when_something_comes,
    the_end_and_the_death_of_the_other_are_there_to_be_received,
);

/// There is nothing to receive now.
fn is_not_there<T>(end: &Receiver<T>) -> bool {
    let answers = [end.try_poll(), end.poll_timeout(Duration::ZERO)];
    matches!(answers, [Err(RecvError::WouldBlock), Err(RecvError::TimedOut)])
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

// _TestConnection.test_connection: poll(0), poll(-1), poll(TIMEOUT1)
fn it_says_in_time_that_there_is_nothing(ground: &Ground) {
    let (writer, reader) = ground.pipes().bytes_only().pipe::<()>().unwrap();
    let times_out = |end: Handed<Receiver<()>>| {
        let (end, start) = (end.take(), Instant::now());
        (0..3).for_each(|_| assert!(is_not_there(&end)));
        matches!(end.poll_timeout(SHORT), Err(RecvError::TimedOut)) && start.elapsed() >= SHORT
    };
    let other = child(times_out, ground.hand(reader));
    assert!(other.join().unwrap());
    drop(writer);
}

// test_empty_string
fn an_empty_message_is_there_until_it_is_received(ground: &Ground) {
    let (writer, reader) = ground.pipes().bytes_only().pipe::<()>().unwrap();
    let send = |(end, received): (Handed<Sender<()>>, Sent<Event>)| {
        let end = end.take();
        end.send_bytes(&[]).unwrap();
        received.wait().unwrap();
    };
    let received = ground.make(Event::options());
    let other = child(send, (ground.hand(writer), received.send()));
    reader.poll().unwrap();
    reader.try_poll().unwrap();
    reader.poll_timeout(SHORT).unwrap();
    assert!(reader.recv_bytes().unwrap().is_empty());
    assert!(is_not_there(&reader));
    received.set();
    other.join().unwrap();
}

// test_strings
fn what_comes_with_pauses_is_seen_each_time_also_if_it_is_empty(ground: &Ground) {
    const MESSAGES: [&[u8]; 6] = [b"hello", b"", b"a", b"b", b"", b"bye"];
    let (writer, reader) = ground.pipes().bytes_only().pipe::<()>().unwrap();
    let (seen, go_on) = ground.pipes().bytes_only().pipe::<()>().unwrap();
    let send = |(end, go_on): (Handed<Sender<()>>, Handed<Receiver<()>>)| {
        let (end, go_on) = (end.take(), go_on.take());
        for message in MESSAGES {
            end.send_bytes(message).unwrap();
            go_on.recv_bytes().unwrap();
        }
    };
    let other = child(send, (ground.hand(writer), ground.hand(go_on)));
    for message in MESSAGES {
        // Python tries two hundred times for 10 ms each.
        while let Err(error) = reader.poll_timeout(Duration::from_millis(1)) {
            assert!(matches!(error, RecvError::TimedOut), "{error}");
        }
        assert_eq!(reader.try_recv_bytes().unwrap(), message);
        assert!(is_not_there(&reader));
        seen.send_bytes(&[]).unwrap();
    }
    other.join().unwrap();
    assert!(matches!(reader.recv_bytes(), Err(RecvError::Eof)));
}

// test_boundaries
fn looking_at_a_long_message_takes_nothing_of_it_away(ground: &Ground) {
    let (writer, reader) = ground.pipes().bytes(256).bytes_only().pipe::<()>().unwrap();
    let send = |end: Handed<Sender<()>>| {
        let end = end.take();
        for len in [10_000, 3, 0, 1000] {
            end.send_bytes(&pattern(len)).unwrap();
        }
    };
    let other = child(send, ground.hand(writer));
    for len in [10_000, 3, 0, 1000] {
        until("all of it has come", || reader.try_poll().is_ok());
        reader.try_poll().unwrap();
        assert!(reader.try_recv_bytes().unwrap() == pattern(len), "{len}");
    }
    other.join().unwrap();
    assert!(matches!(reader.recv_bytes(), Err(RecvError::Eof)));
}

// test_dont_merge
fn messages_do_not_merge(ground: &Ground) {
    let (writer, reader) = ground.pipes().bytes_only().pipe::<()>().unwrap();
    assert!(is_not_there(&reader) && is_not_there(&reader));
    let send = |end: Handed<Sender<()>>| {
        let end = end.take();
        for message in [&b"a"[..], b"b", b"cd"] {
            end.send_bytes(message).unwrap();
        }
    };
    let other = child(send, ground.hand(writer));
    other.join().unwrap();
    for (message, looks) in [(&b"a"[..], 1), (b"b", 3), (b"cd", 2)] {
        (0..looks).for_each(|_| reader.poll_timeout(SHORT).unwrap());
        assert_eq!(reader.recv_bytes().unwrap(), message);
    }
    assert!(matches!(reader.recv_bytes(), Err(RecvError::Eof)));
}

// test_empty_string, where it blocks
fn who_polls_goes_on_when_something_comes(ground: &Ground) {
    let line = ground.line();
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    let poll = |(end, line): (Handed<Receiver<u32>>, crate::ground::Line)| {
        let end = end.take();
        line.waits_now();
        end.poll().unwrap();
        end.try_recv().unwrap() == 7
    };
    let other = child(poll, (ground.hand(reader), line.clone()));
    line.falls_asleep(&other);
    writer.send(&7).unwrap();
    assert!(other.join().unwrap());
}

// _TestConnection.test_connection, "poll True also at EOF"; killed: none.
fn the_end_and_the_death_of_the_other_are_there_to_be_received(ground: &Ground) {
    let started = ground.make(Event::options());
    let carry = |(end, started): (Handed<Sender<u32>>, Sent<Event>)| {
        let end = end.take();
        end.send(&1).unwrap();
        started.set();
        for_ever();
    };
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    let victim: Process<()> = child(carry, (ground.hand(writer), started.send()));
    started.wait().unwrap();
    assert_eq!(reader.recv().unwrap(), 1);
    assert!(matches!(reader.poll_timeout(SHORT), Err(RecvError::TimedOut)));
    kill(&victim);
    reader.poll_timeout(Duration::MAX).unwrap();
    reader.try_poll().unwrap();
    assert!(matches!(reader.try_recv(), Err(RecvError::PeerDied { .. })));
    let (writer, reader) = ground.pipes().pipe::<u32>().unwrap();
    let close = |end: Handed<Sender<u32>>| end.take().close();
    let other = child(close, ground.hand(writer));
    reader.poll_timeout(Duration::MAX).unwrap();
    reader.try_poll().unwrap();
    assert!(matches!(reader.try_recv(), Err(RecvError::Eof)));
    other.join().unwrap();
}
