//! Pipe: a message is received whole or not at all, and then the other side is told of the death, or of the
//! end.

use crate::run::Scene;
use crate::stage::{Stage, stepped};
use procession_channel::{GetError, Pipe, Queue, Receiver, RecvError, SendError, Sender, codec};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "pipe/send", whole: 2, play: send },
    Scene { name: "pipe/send/sleeper", whole: 2, play: send_with_sleeper },
    Scene { name: "pipe/send-parts/sleeper", whole: 1, play: send_parts },
    Scene { name: "pipe/send-moving/sleeper", whole: 2, play: send_moving },
    Scene { name: "pipe/recv", whole: 1, play: recv },
    Scene { name: "pipe/recv/sleeper", whole: 1, play: recv_with_sleeper },
    Scene { name: "pipe/recv-empty", whole: 1, play: recv_when_empty },
    Scene { name: "pipe/recv-parts/sleeper", whole: 0, play: recv_parts },
    Scene { name: "pipe/close/sleeper", whole: 1, play: close },
    Scene { name: "pipe/end-put", whole: 1, play: put_an_end },
    Scene { name: "pipe/end-got", whole: 1, play: get_an_end },
    Scene { name: "pipe/end-thrown-away", whole: 1, play: throw_an_end_away },
];

/// A number, and bytes that are all equal to it.
type Message = (u8, Vec<u8>);

fn pipe() -> (Sender<Message>, Receiver<Message>) {
    Pipe::options().bytes(64).pipe().unwrap()
}

fn message(n: u8) -> Message {
    (n, vec![n; 13])
}

/// The end as another process gets it, from the message that it was sent in.
fn arrived<E: Serialize + serde::de::DeserializeOwned>(end: &E) -> impl Fn() -> E + use<E> {
    let mut bytes = Vec::new();
    codec::encode(end, &mut bytes).unwrap();
    move || codec::decode(&bytes).unwrap()
}

/// The number of the next message, which must be whole; `None` when the writer is dead.
fn next(receiver: &Receiver<Message>) -> Option<u8> {
    match receiver.recv() {
        Ok(found) => {
            assert!(found.1.iter().all(|&byte| byte == found.0), "torn");
            Some(found.0)
        }
        Err(RecvError::PeerDied { .. }) => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// What came, until the writer was found dead.
fn all(receiver: &Receiver<Message>) -> u32 {
    let mut count = 0;
    while let Some(n) = next(receiver) {
        count += 1;
        assert_eq!(u32::from(n), count);
    }
    assert!(matches!(receiver.recv(), Err(RecvError::PeerDied { .. })));
    count
}

/// Progress: how many messages came.
fn send(stage: &mut Stage<'_>) -> u32 {
    let (sender, receiver) = pipe();
    let end = arrived(&sender);
    stage.victim(|| {
        let sender = end();
        stepped(|| {
            sender.send(&message(1)).unwrap();
            sender.send(&message(2)).unwrap();
        });
    });
    stage.kill(|_| ());
    all(&receiver)
}

/// Progress: how many messages came to the sleeper.
fn send_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let (sender, receiver) = pipe();
    let (to_read, to_write) = (arrived(&receiver), arrived(&sender));
    stage.victim(|| {
        let sender = to_write();
        stepped(|| {
            sender.send(&message(1)).unwrap();
            sender.send(&message(2)).unwrap();
        });
    });
    stage.sleeper(|| all(&to_read()) as u8);
    stage.kill(|_| ());
    stage.ends().into()
}

/// Progress: 1 when the whole message, longer than the pipe, came to the sleeper.
fn send_parts(stage: &mut Stage<'_>) -> u32 {
    let (sender, receiver) = pipe();
    let (to_read, to_write) = (arrived(&receiver), arrived(&sender));
    stage.victim(|| {
        let sender = to_write();
        stepped(|| sender.send(&(1, vec![1; 100])).unwrap());
    });
    stage.sleeper(|| all(&to_read()) as u8);
    stage.kill(|_| ());
    stage.ends().into()
}

/// The second message moves the pipe to its larger ring. Progress: how many messages came to the sleeper.
fn send_moving(stage: &mut Stage<'_>) -> u32 {
    let (sender, receiver) = Pipe::options().bytes(64).long_bytes(128).pipe().unwrap();
    let (to_read, to_write) = (arrived(&receiver), arrived(&sender));
    stage.victim(|| {
        let sender = to_write();
        stepped(|| {
            sender.send(&message(1)).unwrap();
            sender.send(&(2, vec![2; 20])).unwrap();
        });
    });
    stage.sleeper(|| all(&to_read()) as u8);
    stage.kill(|_| ());
    stage.ends().into()
}

/// The reader is dead, and the writer is told at its next wait at the latest. Progress: 1 when there was room
/// for another message.
fn is_full_and_told(sender: &Sender<Message>) -> u32 {
    let mut sent = 0;
    loop {
        match sender.send(&message(1)) {
            Ok(()) => sent += 1,
            Err(SendError::PeerDied { .. }) => return sent,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Progress: 1 when the message was taken.
fn recv(stage: &mut Stage<'_>) -> u32 {
    let (sender, receiver) = pipe();
    let end = arrived(&receiver);
    sender.send(&message(1)).unwrap();
    sender.send(&message(2)).unwrap();
    stage.victim(|| {
        let receiver = end();
        stepped(|| receiver.recv().unwrap());
    });
    stage.kill(|_| ());
    is_full_and_told(&sender)
}

/// Progress: 1 when the sleeper found room.
fn recv_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let (sender, receiver) = pipe();
    let (to_read, to_write) = (arrived(&receiver), arrived(&sender));
    stage.sleeper(|| {
        let sender = to_write();
        is_full_and_told(&sender) as u8
    });
    stage.victim(|| {
        let receiver = to_read();
        stepped(|| receiver.recv().unwrap());
    });
    stage.kill(|_| ());
    // Two were there before.
    u32::from(stage.ends()) - 2
}

/// Progress: 1 when the message was taken.
fn recv_when_empty(stage: &mut Stage<'_>) -> u32 {
    let (sender, receiver) = pipe();
    let end = arrived(&receiver);
    stage.victim(|| {
        let receiver = end();
        stepped(|| receiver.recv().unwrap());
    });
    let mut sent = 0;
    stage.kill(|_| {
        sender.send(&message(1)).unwrap();
        sent = 1;
    });
    is_full_and_told(&sender) + sent - 2
}

/// The writer of a message longer than the pipe is told when its reader is dead, or has written all of it.
fn recv_parts(stage: &mut Stage<'_>) -> u32 {
    let (sender, receiver) = pipe();
    let (to_read, to_write) = (arrived(&receiver), arrived(&sender));
    stage.sleeper(|| {
        let sender = to_write();
        match sender.send(&(1, vec![1; 100])) {
            // What is read of it makes room for others.
            Ok(()) => is_full_and_told(&sender) as u8,
            Err(SendError::PeerDied { .. }) => 0,
            Err(error) => panic!("{error:?}"),
        }
    });
    stage.victim(|| {
        let receiver = to_read();
        stepped(|| assert_eq!(receiver.recv().unwrap(), (1, vec![1; 100])));
    });
    stage.kill(|_| ());
    assert!(stage.ends() <= 2);
    0
}

/// Progress: 1 when it is closed, and not dead.
fn close(stage: &mut Stage<'_>) -> u32 {
    let (sender, receiver) = pipe();
    let (to_read, to_write) = (arrived(&receiver), arrived(&sender));
    stage.victim(|| {
        let sender = to_write();
        sender.send(&message(1)).unwrap();
        stepped(|| sender.close());
    });
    stage.sleeper(|| {
        let receiver = to_read();
        assert_eq!(next(&receiver), Some(1));
        match receiver.recv() {
            Err(RecvError::Eof) => 1,
            Err(RecvError::PeerDied { .. }) => 0,
            other => panic!("{other:?}"),
        }
    });
    stage.kill(|_| ());
    stage.ends().into()
}

/// Whoever has the other end of a pipe whose receiver was in a message is told, if nobody has that any more.
/// Whether the message was gone before this took it.
fn is_gone_and_told(queue: &Queue<Receiver<Message>>, sender: &Sender<Message>) -> bool {
    let is_gone = match queue.try_get() {
        Ok(_) => false,
        // The end of a dead process, or none.
        Err(GetError::Decode { .. } | GetError::WouldBlock(_)) => true,
        Err(error) => panic!("{error:?}"),
    };
    loop {
        match sender.send(&message(1)) {
            Ok(()) => {}
            Err(SendError::PeerDied { .. } | SendError::PeerClosed) => return is_gone,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// A queue with an end in it, whose sender lives, and the other end.
fn in_a_message() -> (Queue<Receiver<Message>>, Sender<Message>) {
    let queue = Queue::new().unwrap();
    let (sender, receiver) = pipe();
    queue.put(&receiver).unwrap();
    (queue, sender)
}

/// Progress: 1 when the message was there.
fn put_an_end(stage: &mut Stage<'_>) -> u32 {
    let queue = Queue::new().unwrap();
    let (sender, receiver) = pipe();
    let end = arrived(&receiver);
    stage.victim(|| {
        let receiver = end();
        stepped(|| queue.put(&receiver).unwrap());
    });
    stage.kill(|_| ());
    let was_there = !queue.is_empty();
    is_gone_and_told(&queue, &sender);
    was_there.into()
}

/// Progress: 1 when it was got.
fn get_an_end(stage: &mut Stage<'_>) -> u32 {
    let (queue, sender) = in_a_message();
    stage.victim(|| {
        stepped(|| queue.get().unwrap());
    });
    stage.kill(|_| ());
    is_gone_and_told(&queue, &sender).into()
}

/// Nobody can say what this is made of, so a queue of anything can be opened as a queue of it.
struct Unreadable;

impl Serialize for Unreadable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("unreadable"))
    }
}

/// Progress: 1 when it was taken.
fn throw_an_end_away(stage: &mut Stage<'_>) -> u32 {
    let (queue, sender) = in_a_message();
    // It cannot be read as this, and is taken all the same.
    let mut handle = Vec::new();
    codec::encode(&queue, &mut handle).unwrap();
    let stranger: Queue<Unreadable> = codec::decode(&handle).unwrap();
    stage.victim(|| stepped(|| assert!(stranger.get().is_err())));
    stage.kill(|_| ());
    is_gone_and_told(&queue, &sender).into()
}
