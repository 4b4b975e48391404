//! Commands about pipes. `create pipe p` makes the ends `p.receiver` and `p.sender`, `create duplex p`
//! `p.one` and `p.two`. A message is so many bytes of a pattern, and is checked by who receives it.

use crate::{Next, World, done, number, report};
use procession::{
    Bytes, Connection, Pipe, Process, Queue, Receiver, RecvError, SendError, Sender, SpawnError, codec,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What the actor has of pipes.
pub(crate) type Ends = RefCell<HashMap<String, End>>;

pub(crate) enum End {
    Receiver(Receiver<Bytes>),
    Sender(Sender<Bytes>),
    Connection(Box<Connection<Bytes, Bytes>>),
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8 ^ len as u8).collect()
}

/// How long the message is, which must be whole.
fn checked(message: &[u8]) -> usize {
    assert!(message == pattern(message.len()), "a torn message of {} bytes", message.len());
    message.len()
}

impl End {
    fn send(&self, len: usize, timeout: Option<u64>) -> Result<&'static str, SendError> {
        let (message, timeout) = (pattern(len), timeout.map(Duration::from_millis));
        match (self, timeout) {
            (Self::Sender(end), None) => end.send_bytes(&message),
            (Self::Sender(end), Some(timeout)) => end.send_bytes_timeout(&message, timeout),
            (Self::Connection(end), None) => end.send_bytes(&message),
            (Self::Connection(end), Some(timeout)) => end.send_bytes_timeout(&message, timeout),
            (Self::Receiver(_), _) => panic!("a receiver does not send"),
        }
        .map(|()| "")
    }

    fn recv(&self, timeout: Option<u64>) -> Result<usize, RecvError> {
        let timeout = timeout.map(Duration::from_millis);
        match (self, timeout) {
            (Self::Receiver(end), None) => end.recv_bytes(),
            (Self::Receiver(end), Some(timeout)) => end.recv_bytes_timeout(timeout),
            (Self::Connection(end), None) => end.recv_bytes(),
            (Self::Connection(end), Some(timeout)) => end.recv_bytes_timeout(timeout),
            (Self::Sender(_), _) => panic!("a sender does not receive"),
        }
        .map(|message| checked(&message))
    }

    fn recv_into(&self, len: usize) -> Result<usize, RecvError> {
        let mut buffer = vec![0; len];
        let len = match self {
            Self::Receiver(end) => end.recv_bytes_into(&mut buffer),
            Self::Connection(end) => end.recv_bytes_into(&mut buffer),
            Self::Sender(_) => panic!("a sender does not receive"),
        }?;
        Ok(checked(&buffer[..len]))
    }

    fn poll(&self, ms: u64) -> Result<bool, RecvError> {
        let timeout = Duration::from_millis(ms);
        let seen = match self {
            Self::Receiver(end) => end.poll_timeout(timeout),
            Self::Connection(end) => end.poll_timeout(timeout),
            Self::Sender(_) => panic!("a sender does not receive"),
        };
        match seen {
            Err(RecvError::TimedOut) => Ok(false),
            seen => seen.map(|()| true),
        }
    }

    fn close(&self) {
        match self {
            Self::Receiver(end) => end.close(),
            Self::Sender(end) => end.close(),
            Self::Connection(end) => end.close(),
        }
    }

    fn encode(&self) -> Result<String, codec::EncodeError> {
        let mut bytes = Vec::new();
        match self {
            Self::Receiver(end) => codec::encode(end, &mut bytes),
            Self::Sender(end) => codec::encode(end, &mut bytes),
            Self::Connection(end) => codec::encode(end, &mut bytes),
        }?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn decode(name: &str, message: &str) -> Result<Self, codec::DecodeError> {
        let digits = message.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
        let bytes: Vec<u8> = digits.map(|digits| u8::from_str_radix(digits, 16).unwrap_or(0)).collect();
        match name.rsplit('.').next() {
            Some("receiver") => codec::decode(&bytes).map(Self::Receiver),
            Some("sender") => codec::decode(&bytes).map(Self::Sender),
            _ => codec::decode(&bytes).map(Self::Connection),
        }
    }
}

/// A queue of ends.
fn post(name: &str) -> Queue<Sender<Bytes>> {
    Queue::open_or_create(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Sends back what comes, until the end; how many messages that were.
fn echo(end: &End) -> Result<usize, RecvError> {
    let End::Connection(end) = end else { panic!("echoes go both ways") };
    let mut count = 0;
    loop {
        match end.recv_bytes() {
            Ok(message) => drop(end.send_bytes(&message)),
            Err(RecvError::Eof) => return Ok(count),
            Err(error) => return Err(error),
        }
        count += 1;
    }
}

/// What a child does with its end: uses it or not, returns or waits to be killed.
fn child(sender: &Sender<Bytes>, how: &str) {
    if how != "unused" {
        (1..=3).for_each(|len| drop(sender.send_bytes(&pattern(len))));
    }
    if how != "returns" {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// An argument of which the parent keeps a copy.
#[derive(Clone)]
struct Kept(Arc<Sender<Bytes>>);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Sender::deserialize(deserializer).map(|sender| Self(Arc::new(sender)))
    }
}

/// Starts a child with the end; its pid, and what the parent has kept.
fn give(sender: Sender<Bytes>, how: &str) -> (Result<u32, SpawnError>, Option<Sender<Bytes>>) {
    let kept = Kept(Arc::new(sender));
    let started = Process::spawn(
        |(sender, how): (Kept, String)| child(&sender.0, &how),
        (kept.clone(), how.to_owned()),
    );
    let started = started.map(|process| {
        let pid = process.pid();
        std::mem::forget(process);
        pid
    });
    (started, Arc::into_inner(kept.0))
}

/// Commands about ends in the messages of a queue.
fn follow_post(ends: &Ends, words: &[&str]) -> Option<Next> {
    match *words {
        ["pipe_put", name, queue] => {
            let ends = ends.borrow();
            let Some(End::Sender(end)) = ends.get(name) else { panic!("no sender {name}") };
            Some(report(&post(queue).put(end).map(|()| "")))
        }
        ["pipe_get", name, queue] => Some(report(&post(queue).get().map(|end| {
            ends.borrow_mut().insert(name.to_owned(), End::Sender(end));
            ""
        }))),
        ["pipe_throw_away", queue] => Some(report(&post(queue).shutdown(true))),
        ["pipe_unlink", queue] => Some(report(&post(queue).unlink().map(|()| ""))),
        _ => None,
    }
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    let ends = &world.ends;
    let with = |name: &str, work: &dyn Fn(&End) -> Option<Next>| {
        let ends = ends.borrow();
        work(ends.get(name).unwrap_or_else(|| panic!("no end {name}")))
    };
    match *words {
        ["create", kind @ ("pipe" | "duplex"), name, ref rest @ ..] => {
            let options = match *rest {
                [bytes] => Pipe::options().bytes(number(bytes)),
                _ => Pipe::options(),
            };
            let mut ends = ends.borrow_mut();
            let made = if kind == "pipe" {
                options.pipe().map(|(sender, receiver)| {
                    ends.insert(format!("{name}.receiver"), End::Receiver(receiver));
                    ends.insert(format!("{name}.sender"), End::Sender(sender));
                })
            } else {
                options.duplex().map(|(one, two)| {
                    ends.insert(format!("{name}.one"), End::Connection(Box::new(one)));
                    ends.insert(format!("{name}.two"), End::Connection(Box::new(two)));
                })
            };
            Some(report(&made.map(|()| "")))
        }
        ["pipe_hand", name] => with(name, &|end| Some(report(&end.encode()))),
        ["pipe_take", name, message] => {
            let arrived = End::decode(name, message);
            Some(report(&arrived.map(|end| {
                ends.borrow_mut().insert(name.to_owned(), end);
                ""
            })))
        }
        ["pipe_send", name, len] => with(name, &|end| Some(report(&end.send(number(len), None)))),
        ["pipe_send_timeout", name, len, ms] => {
            with(name, &|end| Some(report(&end.send(number(len), Some(number(ms))))))
        }
        ["pipe_recv", name] => with(name, &|end| Some(report(&end.recv(None)))),
        ["pipe_try_recv", name] => with(name, &|end| {
            let End::Receiver(end) = end else { panic!("no receiver") };
            Some(report(&end.try_recv_bytes().map(|message| checked(&message))))
        }),
        ["pipe_recv_timeout", name, ms] => with(name, &|end| Some(report(&end.recv(Some(number(ms)))))),
        ["pipe_recv_into", name, len] => with(name, &|end| Some(report(&end.recv_into(number(len))))),
        ["pipe_poll", name, ms] => with(name, &|end| Some(report(&end.poll(number(ms))))),
        ["pipe_echo", name] => with(name, &|end| Some(report(&echo(end)))),
        ["pipe_close", name] => with(name, &|end| {
            end.close();
            done(())
        }),
        ["pipe_close_and_send", name, len] => with(name, &|end| {
            end.close();
            Some(report(&end.send(number(len), None)))
        }),
        ["pipe_drop", name] => {
            drop(ends.borrow_mut().remove(name));
            done(())
        }
        [command @ ("pipe_child" | "pipe_child_and_keep"), name, how] => {
            let Some(End::Sender(sender)) = ends.borrow_mut().remove(name) else {
                panic!("no sender {name}")
            };
            let (started, kept) = give(sender, how);
            if let Some(kept) = kept.filter(|_| command == "pipe_child_and_keep") {
                ends.borrow_mut().insert(name.to_owned(), End::Sender(kept));
            }
            Some(report(&started))
        }
        _ => follow_post(ends, words),
    }
}
