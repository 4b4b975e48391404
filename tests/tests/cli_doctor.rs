//! `procession doctor`: what it says where something is amiss, and that it says nothing where nothing is.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use procession_tests::{Actor, Scratch, can_unshare};
use serde_json::Value;
use std::process::Command;

procession::test_support!();

/// Runs `doctor` in the namespace, after `setup`, which is a line of the shell; its exit code and what it found.
fn examine(scratch: &Scratch, runner: &[&str], setup: &str) -> (Option<i32>, Vec<Value>) {
    let script = format!("{setup}; exec \"$@\"");
    let (program, options) = runner.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(options).args(["sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_procession-tested")]);
    command.args(["-N", scratch.name(), "doctor", "--json"]).env_remove("PROCESSION_NAMESPACE");
    let output = command.output().unwrap();
    let found: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), found.as_array().unwrap().clone())
}

/// What is said of one thing.
fn on<'f>(found: &'f [Value], what: &str) -> &'f Value {
    found
        .iter()
        .find(|finding| finding["what"] == what)
        .unwrap_or_else(|| panic!("nothing of {what}: {found:?}"))
}

#[test]
fn where_nothing_is_amiss_nothing_is_bad() {
    let scratch = Scratch::new();
    let mut actor = Actor::start(&scratch);
    actor.does("register");
    let (code, found) = examine(&scratch, &["env"], ":");
    assert_eq!(code, Some(0), "{found:?}");
    for what in ["kernel", "pidfd", "/dev/shm", "/proc", "open files", "processes", "leftovers"] {
        let finding = on(&found, what);
        assert!(
            finding["v"] == 1 && finding["level"] != "bad" && finding["finding"].is_string(),
            "{finding}"
        );
        assert_eq!(finding["level"] == "good", finding["remedy"].is_null(), "{finding}");
    }
    assert!(on(&found, "processes")["finding"].as_str().unwrap().starts_with("1 other uses"), "{found:?}");
    let said = cli::run(["-N", scratch.name(), "doctor"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    assert!(
        said.stdout.lines().any(|line| line.split_whitespace().take(3).eq(["ok", "kernel", "Linux"])),
        "{said:?}"
    );
}

#[test]
fn limits_that_surprise_are_noted_with_what_to_do() {
    let scratch = Scratch::new();
    let (code, found) = examine(&scratch, &["env"], "ulimit -n 100; ulimit -f 10000");
    assert_eq!(code, Some(0), "{found:?}");
    for (what, remedy) in [("open files", "ulimit -n"), ("file size", "ulimit -f unlimited")] {
        let finding = on(&found, what);
        assert!(
            finding["level"] == "note" && finding["remedy"].as_str().unwrap().contains(remedy),
            "{finding}"
        );
    }
}

#[test]
fn what_the_dead_have_left_is_noted() {
    let scratch = Scratch::new();
    let mut actor = Actor::start(&scratch);
    actor.does("create lock l ephemeral");
    assert_eq!(on(&examine(&scratch, &["env"], ":").1, "leftovers")["level"], "good");
    let mut keeper = Actor::start(&scratch);
    keeper.does("register");
    actor.kill();
    let (code, found) = examine(&scratch, &["env"], ":");
    let finding = on(&found, "leftovers");
    assert_eq!(
        (code, &finding["level"], &finding["remedy"]),
        (Some(0), &"note".into(), &"procession gc".into())
    );
}

#[test]
fn a_dev_shm_that_cannot_be_used_is_bad() {
    let scratch = Scratch::new();
    if !can_unshare(&["--mount"]) {
        return;
    }
    let unshare = ["unshare", "--mount"];
    let mount = |options: &str| format!("mount -t tmpfs -o mode=1777,{options} tmpfs /dev/shm");
    let (code, found) = examine(&scratch, &unshare, &mount("ro"));
    let finding = on(&found, "/dev/shm");
    assert_eq!((code, &finding["level"]), (Some(1), &"bad".into()), "{finding}");
    assert!(finding["remedy"].as_str().unwrap().contains("remount,rw"), "{finding}");
    let (code, found) = examine(&scratch, &unshare, &mount("size=32m"));
    let finding = on(&found, "/dev/shm");
    assert_eq!((code, &finding["level"]), (Some(0), &"note".into()), "{finding}");
    assert!(finding["remedy"].as_str().unwrap().contains("--shm-size"), "{finding}");
    let (code, found) = examine(&scratch, &unshare, "umount -l /proc");
    assert_eq!((code, &on(&found, "/proc")["level"]), (Some(1), &"bad".into()));
}
