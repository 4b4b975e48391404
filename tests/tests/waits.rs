//! Whoever waits for long is shown with what it waits for, as long as it does.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::blocked_in;
use procession_tests::{Actor, Scratch, until};
use std::process::Command;

/// One way to wait for the object `x`.
struct Case {
    kind: &'static str,
    /// What the one does that is then waited for.
    before: &'static [&'static str],
    /// What the other does before it waits.
    opens: &'static [&'static str],
    wait: &'static str,
    /// What the one does then.
    ends: &'static str,
    /// Whether it is known who is waited for.
    is_held: bool,
}

const CASES: &[Case] = &[
    Case {
        kind: "lock",
        before: &["create lock x", "acquire x"],
        opens: &["open lock x"],
        wait: "acquire x",
        ends: "release",
        is_held: true,
    },
    Case {
        kind: "rlock",
        before: &["create rlock x", "enter x"],
        opens: &["open rlock x"],
        wait: "enter x",
        ends: "release",
        is_held: true,
    },
    Case {
        kind: "rwlock",
        before: &["create rwlock x", "write x"],
        opens: &["open rwlock x"],
        wait: "read x",
        ends: "release",
        is_held: true,
    },
    Case {
        kind: "rwlock",
        before: &["create rwlock x", "read x"],
        opens: &["open rwlock x"],
        wait: "write x",
        ends: "release",
        is_held: true,
    },
    Case {
        kind: "rwlock",
        before: &["create rwlock x", "read_all x"],
        opens: &["open rwlock x"],
        wait: "read x",
        ends: "release",
        is_held: false,
    },
    Case {
        kind: "value",
        before: &["create count x", "keep x 1"],
        opens: &["open count x"],
        wait: "guard_add x 1",
        ends: "release",
        is_held: true,
    },
    Case {
        kind: "array",
        before: &["create array x 8", "keep x 0 4 1"],
        opens: &["open array x"],
        wait: "fill x 0 2 3",
        ends: "release",
        is_held: true,
    },
    Case {
        kind: "semaphore",
        before: &["create semaphore x 1 1", "take x"],
        opens: &["open semaphore x"],
        wait: "take x",
        ends: "release",
        is_held: false,
    },
    Case {
        kind: "bounded-semaphore",
        before: &["create bounded x 2", "take x"],
        opens: &["open bounded x"],
        wait: "take_many x 2",
        ends: "release",
        is_held: false,
    },
    Case {
        kind: "event",
        before: &["create event x"],
        opens: &["open event x"],
        wait: "wait x",
        ends: "set x",
        is_held: false,
    },
    Case {
        kind: "latch",
        before: &["create latch x 1"],
        opens: &[],
        wait: "pass x",
        ends: "arrive x",
        is_held: false,
    },
    Case {
        kind: "barrier",
        before: &["create barrier x 2"],
        opens: &["open barrier x"],
        wait: "wait x",
        ends: "wait x",
        is_held: false,
    },
    Case {
        kind: "condition",
        before: &["create condition x", "create count v"],
        opens: &["open condition x", "open count v"],
        wait: "take x v",
        ends: "give x v 1",
        is_held: false,
    },
    Case {
        kind: "queue",
        before: &["create queue x"],
        opens: &["open queue x"],
        wait: "get x",
        ends: "put x 1",
        is_held: false,
    },
];

#[test]
fn every_wait_is_shown_while_it_lasts_and_not_afterwards() {
    for case in CASES {
        let scratch = Scratch::new();
        let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
        for command in case.before {
            one.does(command);
        }
        for command in case.opens {
            two.does(command);
        }
        two.waits(case.wait);
        let holder = case.is_held.then_some(one.pid());
        let expected = (two.pid(), case.kind, Some("x"), holder);
        until("the wait is shown", || {
            let waits = blocked_in(&scratch).unwrap();
            let seen = waits.iter().map(|wait| {
                let holder = wait.holder.as_ref().map(|holder| holder.pid);
                (wait.process.pid, wait.kind, wait.object.as_deref(), holder)
            });
            seen.eq([expected]) && !waits[0].is_timed
        });
        assert!(!two.has_answered(), "{}", case.kind);
        one.does(case.ends);
        two.did();
        assert!(blocked_in(&scratch).unwrap().is_empty(), "{}", case.kind);
        unlink(&scratch);
    }
}

#[test]
fn who_waits_for_somebody_to_do_it_once_is_shown_for_all_of_that_time() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let run = format!("once x {}", pipe.display());
    one.does("create once x");
    // It does it, and waits for somebody to read.
    one.tell(&run);
    until("it is being done", || {
        procession_tests::raw::lock_word(&scratch, "x") & procession_tests::raw::OWNED != 0
    });
    two.waits(&run);
    until("the wait is shown", || {
        let waits = blocked_in(&scratch).unwrap();
        // Longer than the other looks whether it is done.
        matches!(&*waits, [wait] if wait.since.as_millis() > 1500
            && wait.kind == "once"
            && !wait.is_timed
            && wait.holder.as_ref().is_some_and(|holder| holder.pid == one.pid()))
    });
    assert_eq!(std::fs::read_to_string(&pipe).unwrap(), "done\n");
    assert_eq!((one.did(), two.did()), ("true false".into(), "false false".into()));
    assert!(blocked_in(&scratch).unwrap().is_empty());
    unlink(&scratch);
}

fn unlink(scratch: &Scratch) {
    for entry in scratch.list().unwrap().iter().filter(|entry| !entry.is_registry()) {
        scratch.unlink(&entry.name).unwrap();
    }
}
