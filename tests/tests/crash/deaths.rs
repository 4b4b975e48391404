//! The death of one who is waited for is known although no sleep ends by itself: here sleeps are not cut into
//! slices, so that what ends one is a wake, and of a death only the watcher tells.

use procession_tests::{Actor, Scratch, program, until};
use std::process::Command;

/// One whose sleeps have no slices.
fn actor(scratch: &Scratch) -> Actor {
    let mut command = Command::new(program("actor"));
    command.env("PROCESSION_NO_SLICES", "1");
    Actor::start_as(command, scratch)
}

/// When the one who is waited for is killed.
#[derive(Clone, Copy)]
enum When {
    /// As soon as the other one sleeps, or is about to.
    Soon,
    /// When the other one's watcher is there.
    Watched,
}

/// `one` does `before` and `hold`, and is killed while `two`, which has done `open`, waits by `wait`: what is to
/// come of it, as `ok …` or `error …`.
fn plays(create: &str, open: &str, before: &[&str], hold: &str, wait: &str, outcome: &str) {
    for when in [When::Soon, When::Soon, When::Watched, When::Watched] {
        let scratch = Scratch::new();
        let (mut one, mut two) = (actor(&scratch), actor(&scratch));
        one.does(create);
        two.does(open);
        before.iter().for_each(|command| drop(one.does(command)));
        one.does(hold);
        if wait.starts_with("wait ") {
            two.does(&wait.replace("wait", "join"));
        }
        two.waits(wait);
        if matches!(when, When::Watched) {
            until("the watcher is there", || two.has_watcher());
        }
        one.kill();
        let answer = two.answer();
        assert!(answer.starts_with(outcome), "{create}, {hold}, {wait}: {answer}");
        two.does(&format!("unlink {}", create.split(' ').nth(2).unwrap()));
    }
}

#[test]
fn of_a_lock_and_a_recursive_one() {
    plays("create lock l", "open lock l", &[], "acquire l", "acquire l", "error OwnerDied");
    plays("create rlock l", "open rlock l", &["enter l"], "enter l", "enter l", "error OwnerDied");
}

#[test]
fn of_readers_and_writers() {
    plays("create rwlock l", "open rwlock l", &[], "write l", "read l", "error OwnerDied");
    plays("create rwlock l", "open rwlock l", &[], "write l", "write l", "error OwnerDied");
    plays("create rwlock l", "open rwlock l", &[], "read l", "write l", "ok");
}

#[test]
fn of_a_semaphore() {
    plays("create semaphore s 1 1", "open semaphore s", &[], "take s", "take s", "ok");
    plays("create semaphore s 3 3", "open semaphore s", &["take s"], "take s", "take_many s 3", "ok");
}

#[test]
fn of_a_semaphore_among_several_things() {
    plays("create semaphore s 1 1", "open semaphore s", &[], "take s", "wait_any s", "ok [0]");
}

#[test]
fn of_a_barrier() {
    plays("create barrier b 2", "open barrier b", &[], "join b", "wait b", "error Broken");
}

#[test]
fn of_values_and_arrays_and_maps() {
    plays("create count c", "open count c", &[], "keep c 1", "add c 1", "ok");
    plays("create array a 4", "open array a", &[], "keep a 0 2 1", "set a 0 5", "ok");
    plays("create map m", "open map m", &[], "keep m key 1", "insert m key 2", "ok");
}

#[test]
fn of_a_joinable_queue() {
    plays("create joinable q", "open joinable q", &["put q 1"], "get q", "get q", "ok 1:2");
}

#[test]
fn of_a_pipe() {
    for end in ["sender", "receiver"] {
        for is_watched in [false, true] {
            let scratch = Scratch::new();
            let (mut one, mut two) = (actor(&scratch), actor(&scratch));
            one.does("create pipe p 1024");
            let message = one.does(&format!("pipe_hand p.{end}"));
            two.does(&format!("pipe_take p.{end} {message}"));
            two.waits(if end == "receiver" { "pipe_recv p.receiver" } else { "pipe_send p.sender 9000" });
            if is_watched {
                until("the watcher is there", || two.has_watcher());
            }
            one.kill();
            two.failed("PeerDied");
        }
    }
}

#[test]
fn of_a_waiter_at_a_condition_that_was_notified() {
    let scratch = Scratch::new();
    let (mut one, mut two, mut notifier) = (actor(&scratch), actor(&scratch), actor(&scratch));
    one.does("create lock l");
    one.does("create condition c");
    for actor in [&mut two, &mut notifier] {
        actor.does("open lock l");
        actor.does("open condition c");
    }
    one.waits("wait c l");
    two.waits("wait c l");
    until("the watcher is there", || two.has_watcher());
    notifier.does("acquire l");
    // It has waited longer, and cannot get the lock before it is killed.
    notifier.does("notify c 1");
    one.kill();
    notifier.does("release");
    two.did();
    two.does("unlink l");
    two.does("unlink c");
}
