//! Joinable queue: an item is there whole or not at all, and as long as it is not done; whoever holds it.

use crate::run::Scene;
use crate::stage::{Stage, stepped};
use procession_channel::{GetError, JoinableQueue, JoinableQueueOptions, Lease};
use std::time::Duration;

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "joinable/put", whole: 1, play: put },
    Scene { name: "joinable/put/sleeper", whole: 1, play: put_with_sleeper },
    Scene { name: "joinable/get", whole: 1, play: get },
    Scene { name: "joinable/get/sleeper", whole: 1, play: get_with_sleeper },
    Scene { name: "joinable/get-empty/sleeper", whole: 1, play: get_when_empty },
    Scene { name: "joinable/get-lost", whole: 1, play: get_what_is_lost },
    Scene { name: "joinable/task-done", whole: 1, play: task_done },
    Scene { name: "joinable/task-done/joiner", whole: 1, play: task_done_with_joiner },
    Scene { name: "joinable/give-back", whole: 0, play: give_back },
    Scene { name: "joinable/give-back/sleeper", whole: 0, play: give_back_with_sleeper },
    Scene { name: "joinable/give-up/joiner", whole: 0, play: give_up },
    Scene { name: "joinable/close/sleeper", whole: 1, play: close },
];

/// A number, and bytes that are all equal to it; two blocks.
type Message = (u8, Vec<u8>);
type Jobs = JoinableQueue<Message>;

fn options() -> JoinableQueueOptions<Message> {
    Jobs::options().bytes(512)
}

fn queue() -> Jobs {
    options().capacity(1).anonymous().unwrap()
}

fn message(n: u8) -> Message {
    (n, vec![n; 150])
}

fn put_one(queue: &Jobs, n: u8) {
    queue.put(&message(n)).unwrap();
}

/// Number and attempt of an item that must be whole, and is done.
fn finish(lease: Lease<Message>) -> (u8, u32) {
    assert_eq!(*lease, message(lease.0), "torn");
    let item = (lease.0, lease.attempt());
    lease.task_done().unwrap();
    item
}

/// Does the next item.
fn next(queue: &Jobs) -> (u8, u32) {
    finish(queue.get().unwrap())
}

/// Nothing is left, and all that was put is done.
fn is_done(queue: &Jobs) {
    assert!(matches!(queue.try_get(), Err(GetError::WouldBlock(_))));
    assert_eq!((queue.len(), queue.unfinished()), (0, 0));
    queue.join_timeout(Duration::ZERO).unwrap();
}

/// Items can be put, done, and joined, by others who waited, too.
fn works(stage: &mut Stage<'_>, queue: &Jobs) {
    is_done(queue);
    stage.sleeper(|| next(queue).0);
    put_one(queue, 50);
    assert_eq!(stage.ends(), 50);
    put_one(queue, 51);
    stage.sleeper(|| {
        put_one(queue, 52);
        0
    });
    assert_eq!((next(queue), stage.ends()), ((51, 1), 0));
    stage.sleeper(|| {
        queue.join().unwrap();
        0
    });
    assert_eq!((next(queue), stage.ends()), ((52, 1), 0));
    is_done(queue);
}

/// Progress: 1 when the item is there.
fn put(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    stage.victim(|| stepped(|| put_one(&queue, 1)));
    stage.kill(|_| ());
    let len = queue.len();
    assert_eq!(queue.unfinished(), len);
    if len > 0 {
        assert_eq!(next(&queue), (1, 1));
    }
    works(stage, &queue);
    len as u32
}

/// Progress: 1 when the sleeper got the victim's item.
fn put_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    stage.victim(|| stepped(|| put_one(&queue, 1)));
    stage.sleeper(|| next(&queue).0);
    stage.kill(|_| ());
    // Waits for nobody: the sleeper takes what is there.
    put_one(&queue, 2);
    let got = stage.ends();
    if got == 1 {
        assert_eq!(next(&queue), (2, 1));
    }
    works(stage, &queue);
    u32::from(got == 1)
}

/// Progress: 1 when the item was leased.
fn get(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    put_one(&queue, 1);
    stage.victim(|| stepped(|| queue.get().unwrap()));
    stage.kill(|_| ());
    assert_eq!(queue.unfinished(), 1);
    let (n, attempt) = next(&queue);
    assert_eq!(n, 1);
    works(stage, &queue);
    attempt - 1
}

/// Progress: 1 when the item was leased, and the sleeper found room.
fn get_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    put_one(&queue, 1);
    stage.victim(|| stepped(|| queue.get().unwrap()));
    stage.sleeper(|| {
        put_one(&queue, 2);
        0
    });
    stage.kill(|_| ());
    let mut got = [next(&queue), next(&queue)];
    got.sort_unstable();
    assert_eq!((stage.ends(), got[0].0, got[1]), (0, 1, (2, 1)));
    works(stage, &queue);
    got[0].1 - 1
}

/// Progress: 1 when the victim has leased one.
fn get_when_empty(stage: &mut Stage<'_>) -> u32 {
    let queue = options().anonymous().unwrap();
    stage.sleeper(|| {
        let (n, attempt) = next(&queue);
        n + 10 * attempt as u8
    });
    stage.victim(|| stepped(|| queue.get().unwrap()));
    let mut put = 0;
    stage.kill(|_| {
        put_one(&queue, 1);
        put_one(&queue, 2);
        put = 2;
    });
    (put + 1..=2).for_each(|n| put_one(&queue, n));
    let slept = stage.ends();
    let mut got = [(slept % 10, u32::from(slept / 10)), next(&queue)];
    got.sort_unstable();
    assert_eq!((got[0].0, got[1].0), (1, 2));
    is_done(&queue);
    got[0].1.max(got[1].1) - 1
}

/// What a dead process held. Progress: 1 when the victim has leased it.
fn get_what_is_lost(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    put_one(&queue, 1);
    stage.dies(|| std::mem::forget(queue.get().unwrap()));
    stage.victim(|| stepped(|| queue.get().unwrap()));
    stage.kill(|_| ());
    assert_eq!(queue.unfinished(), 1);
    let (n, attempt) = next(&queue);
    assert_eq!(n, 1);
    works(stage, &queue);
    attempt - 2
}

/// Does the item if its holder has not. Progress: 1 when it had.
fn was_done(queue: &Jobs) -> u32 {
    match queue.try_get() {
        Ok(lease) => {
            assert_eq!(finish(lease), (1, 2));
            0
        }
        Err(GetError::WouldBlock(_)) => 1,
        Err(error) => panic!("{error:?}"),
    }
}

fn task_done(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    put_one(&queue, 1);
    stage.victim(|| {
        let lease = queue.get().unwrap();
        stepped(|| lease.task_done().unwrap());
    });
    stage.kill(|_| ());
    let was_done = was_done(&queue);
    works(stage, &queue);
    was_done
}

fn task_done_with_joiner(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    put_one(&queue, 1);
    stage.sleeper(|| {
        queue.join().unwrap();
        0
    });
    stage.victim(|| {
        let lease = queue.get().unwrap();
        stepped(|| lease.task_done().unwrap());
    });
    stage.kill(|_| ());
    let was_done = was_done(&queue);
    assert_eq!(stage.ends(), 0);
    works(stage, &queue);
    was_done
}

/// It comes back in any case.
fn give_back(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    put_one(&queue, 1);
    stage.victim(|| {
        let lease = queue.get().unwrap();
        stepped(|| drop(lease));
    });
    stage.kill(|_| ());
    assert_eq!(queue.unfinished(), 1);
    assert_eq!(next(&queue), (1, 2));
    works(stage, &queue);
    0
}

fn give_back_with_sleeper(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    put_one(&queue, 1);
    stage.victim(|| {
        let lease = queue.get().unwrap();
        stepped(|| drop(lease));
    });
    stage.sleeper(|| {
        let (n, attempt) = next(&queue);
        n + 10 * attempt as u8
    });
    stage.kill(|_| ());
    assert_eq!(stage.ends(), 21);
    works(stage, &queue);
    0
}

/// After its last attempt it is a dead letter in any case, and who joins does not wait for it.
fn give_up(stage: &mut Stage<'_>) -> u32 {
    let queue = options().max_attempts(1).anonymous().unwrap();
    put_one(&queue, 1);
    stage.sleeper(|| {
        queue.join().unwrap();
        0
    });
    stage.victim(|| {
        let lease = queue.get().unwrap();
        stepped(|| drop(lease));
    });
    stage.kill(|_| ());
    assert_eq!(stage.ends(), 0);
    let letters = queue.dead_letters().unwrap();
    assert_eq!((letters.len(), letters[0].item().unwrap(), letters[0].attempts), (1, message(1), 1));
    assert!(queue.discard(&letters[0]).unwrap());
    is_done(&queue);
    0
}

/// Progress: 1 when it is closed.
fn close(stage: &mut Stage<'_>) -> u32 {
    let queue = queue();
    stage.victim(|| stepped(|| queue.close().unwrap()));
    stage.sleeper(|| {
        assert!(matches!(queue.get(), Err(GetError::Closed(_))));
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
