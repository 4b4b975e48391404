//! Pipes: what was sent is received, then how it ended, whatever became of the other end; and each end is one
//! handle's.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::thread;
use procession_models::crash_point;
use procession_models::crossing::send;
use procession_models::kernel::until_killed;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::pipe::{Pipe, Receiver, RecvError, SendError, Sender};
        use world::pipe_end::UnusableEnd;
        use $world as world;

        /// The ring has room for four messages. The sender is in another process.
        fn pipe() -> (Sender<u8>, Receiver<u8>) {
            let (sender, receiver) = Pipe::options().bytes(64).pipe().unwrap();
            (send(&sender, 1), receiver)
        }

        /// All messages until the pipe ends, and how it ended.
        fn drain(receiver: &Receiver<u8>) -> (Vec<u8>, RecvError) {
            let mut messages = Vec::new();
            loop {
                match receiver.recv() {
                    Ok(message) => messages.push(message),
                    Err(error) => return (messages, error),
                }
            }
        }

        pub(super) fn one_closes(messages: &'static [u8]) {
            let (sender, receiver) = pipe();
            let sender =
                thread::spawn(move || messages.iter().for_each(|message| sender.send(message).unwrap()));
            let (received, end) = drain(&receiver);
            assert_eq!(received, messages, "messages");
            assert!(matches!(end, RecvError::Eof), "how it ended: {end}");
            sender.join().unwrap();
        }

        /// Nobody closes an end before what was sent is received.
        pub(super) fn a_message_comes() {
            let (sender, receiver) = pipe();
            let sender = thread::spawn(move || {
                sender.send(&1).unwrap();
                sender
            });
            assert_eq!(receiver.recv().unwrap(), 1, "messages");
            drop(sender.join().unwrap());
        }

        /// Nor before there is room for all.
        pub(super) fn a_full_one_empties() {
            let (sender, receiver) = pipe();
            let messages: [u8; 5] = [1, 2, 3, 4, 5];
            messages[..4].iter().for_each(|message| sender.send(message).unwrap());
            let sender = thread::spawn(move || {
                sender.send(&messages[4]).unwrap();
                sender
            });
            let first = receiver.recv().unwrap();
            drop(sender.join().unwrap());
            let (received, _) = drain(&receiver);
            assert_eq!([&[first], &received[..]].concat(), messages, "messages");
        }

        /// Sends until nobody receives; how many were sent.
        fn send_until_the_end(sender: &Sender<u8>) -> (usize, SendError) {
            let mut sent = 0;
            loop {
                match sender.send(&0) {
                    Ok(()) => sent += 1,
                    Err(error) => return (sent, error),
                }
            }
        }

        pub(super) fn the_receiver_closes() {
            let (sender, receiver) = pipe();
            let sender = thread::spawn(move || send_until_the_end(&sender));
            receiver.recv().unwrap();
            drop(receiver);
            let (sent, end) = sender.join().unwrap();
            assert!(sent <= 5 && matches!(end, SendError::PeerClosed), "how it ended: {end}");
        }

        /// What was sent is received, and then that the sender died, or closed before.
        pub(super) fn the_sender_dies_at(label: &'static str) -> bool {
            let (sender, receiver) = pipe();
            let sender = thread::spawn(move || {
                until_killed(1, label, || {
                    sender.send(&1).unwrap();
                    drop(sender);
                })
            });
            let (received, end) = drain(&receiver);
            let died = sender.join().unwrap();
            match end {
                RecvError::Eof => assert!(
                    !died || label == "pipe.closed" || label.starts_with("eventcount"),
                    "how it ended"
                ),
                RecvError::PeerDied { pid: 1 } => assert!(died && label != "pipe.closed", "how it ended"),
                other => panic!("how it ended: {other}"),
            }
            assert!(
                received == [1]
                    || died && received.is_empty() && ["pipe.claimed", "lane.written"].contains(&label),
                "messages"
            );
            died
        }

        /// The receiver asks already, because of another's death.
        pub(super) fn the_sender_dies_while_others_ask_at(label: &'static str) -> bool {
            until_killed(9, "of another", || crash_point("of another"));
            the_sender_dies_at(label)
        }

        pub(super) fn the_receiver_dies_at(label: &'static str) -> bool {
            let (sender, receiver) = pipe();
            let receiver = send(&receiver, 2);
            let sender = thread::spawn(move || send_until_the_end(&sender));
            let died = until_killed(2, label, || {
                receiver.recv().unwrap();
                drop(receiver);
            });
            let (_, end) = sender.join().unwrap();
            let told = match end {
                SendError::PeerDied { pid: 2 } => died && label != "pipe.closed",
                SendError::PeerClosed => !died || label == "pipe.closed" || label.starts_with("eventcount"),
                _ => false,
            };
            assert!(told, "how it ended: {end}");
            died
        }

        /// Two have a handle of one end: one of them uses it.
        pub(super) fn two_want_an_end() {
            let (sender, receiver) = pipe();
            let other = send(&sender, 3);
            let other = thread::spawn(move || other.send(&2));
            let mine = sender.send(&1);
            let others = other.join().unwrap();
            let refused = |sent: &Result<(), SendError>| {
                matches!(sent, Err(SendError::Unusable(UnusableEnd::InUse { .. } | UnusableEnd::Closed)))
            };
            assert!(mine.is_ok() && refused(&others) || others.is_ok() && refused(&mine), "whose end it is");
            drop(sender);
            let (received, end) = drain(&receiver);
            assert_eq!(received, if mine.is_ok() { [1] } else { [2] }, "messages");
            assert!(matches!(end, RecvError::Eof), "how it ended: {end}");
        }
    };
}

mod the_pipe {
    models!(procession_models);
}

#[test]
fn nobody_is_left_asleep() {
    explore(3, the_pipe::a_message_comes);
    explore(3, the_pipe::a_full_one_empties);
}

#[test]
fn the_end_comes_after_all_messages() {
    explore(2, || the_pipe::one_closes(&[]));
    explore(2, || the_pipe::one_closes(&[1]));
    explore(1, || the_pipe::one_closes(&[1, 2, 3, 4, 5]));
}

#[test]
fn a_sender_is_told_that_nobody_receives() {
    explore(1, the_pipe::the_receiver_closes);
}

#[test]
fn a_death_of_the_sender_is_told_after_all_messages() {
    let labels = [
        "pipe.claimed",
        "lane.written",
        "lane.committed",
        "eventcount.called",
        "eventcount.called_all",
        "pipe.closed",
    ];
    explore_deaths(2, &labels, the_pipe::the_sender_dies_at);
    explore_deaths(1, &["lane.committed", "pipe.closed"], the_pipe::the_sender_dies_while_others_ask_at);
}

#[test]
fn a_death_of_the_receiver_is_told() {
    let labels = ["pipe.claimed", "eventcount.listening", "eventcount.slept", "lane.read", "pipe.closed"];
    explore_deaths(1, &labels, the_pipe::the_receiver_dies_at);
}

#[test]
fn an_end_is_used_by_one() {
    explore(2, the_pipe::two_want_an_end);
}

found_out! {
    pipe_that_looks_at_the_end_last by one_closes(&[1]) up to 2: "messages";
    pipe_that_looks_at_the_end_relaxed by one_closes(&[1]) up to 3: "messages";
    pipe_that_closes_without_a_call by one_closes(&[]) up to 2: "deadlock";
    pipe_that_closes_without_a_fence by one_closes(&[]) up to 3: "deadlock";
    pipe_that_does_not_look_again_at_the_end by one_closes(&[]) up to 2: "deadlock";
    pipe_whose_end_is_everybodys by two_want_an_end up to 2: "Concurrent write";
    pipe_that_does_not_ask by the_sender_dies_at("pipe.claimed") up to 2: "deadlock";
    pipe_that_calls_the_closed_dead by the_sender_dies_while_others_ask_at("pipe.closed") up to 2: "how it ended";
    pipe_whose_sender_does_not_call by a_message_comes up to 2: "deadlock";
    pipe_whose_sender_does_not_fence by a_message_comes up to 3: "deadlock";
    pipe_whose_receiver_does_not_call by a_full_one_empties up to 2: "deadlock";
    pipe_whose_receiver_does_not_fence by a_full_one_empties up to 3: "deadlock";
}
