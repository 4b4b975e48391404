//! Queue: a message is there whole or not at all, once.

use crate::run::Scene;
use crate::stage::{Stage, stepped};
use procession_channel::{Bytes, Queue};
use procession_shm::{Segment, gc};
use std::io::Write;

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "queue/put", whole: 1, play: put },
    Scene { name: "queue/put/sleeper", whole: 1, play: put_with_sleeper },
    Scene { name: "queue/put-full/sleeper", whole: 1, play: put_when_full },
    Scene { name: "queue/get", whole: 1, play: get },
    Scene { name: "queue/get/sleeper", whole: 1, play: get_with_sleeper },
    Scene { name: "queue/get-empty/sleeper", whole: 1, play: get_when_empty },
    Scene { name: "queue/put_many/sleeper", whole: 1, play: put_many },
    Scene { name: "queue/get_many/sleeper", whole: 1, play: get_many },
    Scene { name: "queue/reserve/sleeper", whole: 1, play: put_by_slot },
    Scene { name: "queue/read/sleeper", whole: 1, play: get_by_slot },
    Scene { name: "queue/put-spilled", whole: 1, play: put_spilled },
    Scene { name: "queue/get-spilled", whole: 1, play: get_spilled },
    Scene { name: "queue/shutdown", whole: 2, play: shut_down },
    Scene { name: "queue/close/sleeper", whole: 1, play: close },
];

/// A number, and bytes that are all equal to it.
type Message = Bytes;

fn queue() -> Queue<Message> {
    Queue::options().capacity(1).bytes(256).anonymous().unwrap()
}

fn message(n: u8) -> Message {
    Bytes(vec![n; 15])
}

/// The number of the next message, which must be whole.
fn next(queue: &Queue<Message>) -> u8 {
    let found = queue.get().unwrap();
    assert_eq!(found, message(found[0]), "torn");
    found[0]
}

/// Messages can be put and gotten, by others who waited, too.
fn works(stage: &mut Stage<'_>, queue: &Queue<Message>) {
    assert!(queue.is_empty());
    stage.sleeper(|| next(queue));
    queue.put(&message(50)).unwrap();
    assert_eq!(stage.ends(), 50);
    queue.put(&message(51)).unwrap();
    stage.sleeper(|| {
        queue.put(&message(52)).unwrap();
        0
    });
    assert_eq!([next(queue), stage.ends(), next(queue)], [51, 0, 52]);
}

/// Progress: 1 when the message is there.
fn put(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    stage.victim(|| stepped(|| queue.put(&message(1)).unwrap()));
    stage.kill(|_| ());
    let len = queue.len();
    if len > 0 {
        assert_eq!(next(&queue), 1);
    }
    works(stage, &queue);
    len as u32
}

/// Progress: 1 when the sleeper got the victim's message.
fn put_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    stage.victim(|| stepped(|| queue.put(&message(1)).unwrap()));
    stage.sleeper(|| next(&queue));
    stage.kill(|_| ());
    // Waits for nobody: the sleeper takes what is there.
    queue.put(&message(2)).unwrap();
    let got = stage.ends();
    if got == 1 {
        assert_eq!(next(&queue), 2);
    }
    works(stage, &queue);
    u32::from(got == 1)
}

/// Progress: 1 when the victim's message was there behind the sleeper's or before it.
fn put_when_full(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    queue.put(&message(1)).unwrap();
    stage.sleeper(|| {
        queue.put(&message(2)).unwrap();
        0
    });
    stage.victim(|| stepped(|| queue.put(&message(3)).unwrap()));
    let mut got = Vec::new();
    // Both sleep for room, and one message makes room for one of them.
    stage.kill(|_| {
        got.push(next(&queue));
        got.push(next(&queue));
    });
    while !got.contains(&2) {
        got.push(next(&queue));
    }
    assert_eq!(stage.ends(), 0);
    if !queue.is_empty() {
        got.push(next(&queue));
    }
    let put = got.contains(&3);
    got.sort_unstable();
    assert_eq!(got, if put { vec![1, 2, 3] } else { vec![1, 2] });
    works(stage, &queue);
    put.into()
}

/// Progress: 1 when the message was taken.
fn get(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    queue.put(&message(1)).unwrap();
    stage.victim(|| stepped(|| queue.get().unwrap()));
    stage.kill(|_| ());
    let len = queue.len();
    if len > 0 {
        assert_eq!(next(&queue), 1);
    }
    works(stage, &queue);
    1 - len as u32
}

fn get_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    queue.put(&message(1)).unwrap();
    stage.victim(|| stepped(|| queue.get().unwrap()));
    stage.sleeper(|| {
        queue.put(&message(2)).unwrap();
        0
    });
    stage.kill(|_| ());
    let first = next(&queue);
    if first == 1 {
        assert_eq!(next(&queue), 2);
    }
    assert_eq!(stage.ends(), 0);
    works(stage, &queue);
    u32::from(first == 2)
}

/// Progress: 1 when the victim has taken one.
fn get_when_empty(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    stage.sleeper(|| next(&queue));
    stage.victim(|| stepped(|| queue.get().unwrap()));
    let mut put = 0;
    stage.kill(|_| {
        queue.put(&message(1)).unwrap();
        queue.put(&message(2)).unwrap();
        put = 2;
    });
    for n in put + 1..=2 {
        queue.put(&message(n)).unwrap();
    }
    let mut got = vec![stage.ends()];
    let len = queue.len();
    if len > 0 {
        got.push(next(&queue));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    }
    works(stage, &queue);
    1 - len as u32
}

/// Progress: 1 when all of the batch is there; never a part of it.
fn put_many(stage: &mut Stage<'_>) -> u32 {
    let queue: Queue<Message> = Queue::options().capacity(3).bytes(256).anonymous().unwrap();
    let batch = [1, 2, 3].map(message);
    stage.victim(|| stepped(|| queue.batch().put(&batch).unwrap()));
    stage.sleeper(|| next(&queue));
    stage.kill(|_| ());
    // Waits for nobody: the sleeper takes what is there.
    queue.put(&message(4)).unwrap();
    let first = stage.ends();
    let rest = queue.batch().drain().unwrap();
    assert_eq!(rest, if first == 1 { [2, 3, 4].map(message).to_vec() } else { Vec::new() });
    u32::from(first == 1)
}

/// Progress: 1 when all were taken; never a part of them.
fn get_many(stage: &mut Stage<'_>) -> u32 {
    let queue: Queue<Message> = Queue::options().capacity(3).bytes(256).anonymous().unwrap();
    queue.batch().put(&[1, 2, 3].map(message)).unwrap();
    stage.victim(|| stepped(|| queue.batch().get(3).unwrap()));
    stage.sleeper(|| {
        queue.put(&message(4)).unwrap();
        0
    });
    stage.kill(|_| ());
    let first = next(&queue);
    assert_eq!(stage.ends(), 0);
    let rest = queue.batch().drain().unwrap();
    assert_eq!(rest, if first == 1 { [2, 3, 4].map(message).to_vec() } else { Vec::new() });
    u32::from(first == 4)
}

fn put_by_slot(stage: &mut Stage<'_>) -> u32 {
    let queue: Queue<Message> = queue();
    let bytes = message(1);
    stage.victim(|| {
        stepped(|| {
            let mut slot = queue.slots().reserve(40).unwrap();
            slot.write_all(&bytes).unwrap();
            slot.commit().unwrap();
        })
    });
    stage.sleeper(|| next(&queue));
    stage.kill(|_| ());
    queue.put(&message(2)).unwrap();
    let got = stage.ends();
    if got == 1 {
        assert_eq!(next(&queue), 2);
    }
    works(stage, &queue);
    u32::from(got == 1)
}

fn get_by_slot(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    queue.put(&message(1)).unwrap();
    stage.victim(|| stepped(|| queue.slots().read().unwrap().commit().unwrap()));
    stage.sleeper(|| {
        queue.put(&message(2)).unwrap();
        0
    });
    stage.kill(|_| ());
    let first = next(&queue);
    if first == 1 {
        assert_eq!(next(&queue), 2);
    }
    assert_eq!(stage.ends(), 0);
    works(stage, &queue);
    u32::from(first == 2)
}

/// One that is larger than the queue.
fn large() -> Message {
    Bytes(vec![1; 302])
}

/// As many files of messages as there are messages in them, when everybody has looked.
fn spills(queue: &Queue<Message>) -> usize {
    let segment: &Segment = queue.as_ref();
    gc::collect(Some(segment.namespace()), gc::Options::default()).unwrap();
    let all = segment.namespace().list().unwrap();
    all.iter().filter(|entry| entry.is_spill()).count()
}

/// Progress: 1 when the message is there.
fn put_spilled(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    stage.victim(|| stepped(|| queue.put(&large()).unwrap()));
    stage.kill(|_| ());
    let len = queue.len();
    assert_eq!(spills(&queue), len);
    if len > 0 {
        assert_eq!(queue.get().unwrap(), large());
        assert_eq!(spills(&queue), 0);
    }
    works(stage, &queue);
    len as u32
}

/// Progress: 1 when it was taken.
fn get_spilled(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    queue.put(&large()).unwrap();
    stage.victim(|| stepped(|| queue.get().unwrap()));
    stage.kill(|_| ());
    let len = queue.len();
    assert_eq!(spills(&queue), len);
    if len > 0 {
        assert_eq!(queue.get().unwrap(), large());
    }
    works(stage, &queue);
    1 - len as u32
}

/// Progress: 1 when it is closed, 2 when it is empty too.
fn shut_down(stage: &mut Stage<'_>) -> u32 {
    let queue: Queue<Message> = Queue::options().bytes(256).anonymous().unwrap();
    queue.batch().put(&[message(1), large()]).unwrap();
    stage.victim(|| stepped(|| queue.shutdown(true).unwrap()));
    stage.kill(|_| ());
    let progress = u32::from(queue.is_closed()) + u32::from(queue.is_empty());
    assert_eq!(spills(&queue), usize::from(progress < 2));
    assert_eq!(queue.shutdown(true).unwrap(), if progress < 2 { 2 } else { 0 });
    assert_eq!(spills(&queue), 0);
    progress
}

/// Progress: 1 when it is closed.
fn close(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    stage.victim(|| stepped(|| queue.close().unwrap()));
    stage.sleeper(|| {
        assert!(queue.get().is_err());
        0
    });
    stage.kill(|_| ());
    let is_closed = queue.is_closed();
    if !is_closed {
        queue.close().unwrap();
    }
    assert_eq!(stage.ends(), 0);
    is_closed.into()
}
