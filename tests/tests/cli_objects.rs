//! `procession ls`, `rm` and `gc` on objects of a namespace of their own.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;
#[path = "cli/schema.rs"]
mod schema;

use cli::{Place, Running, is_empty, run, until};
use nix::sys::signal::Signal;
use procession::shm::gc;
use procession::{Latch, Lock, Namespace, Process, Queue, SharedMemory};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;

procession::test_support!();

/// Makes a queue and a lock in another process, which ends: nobody is attached to them.
fn leave_objects(namespace: &Namespace) {
    let make = |namespace: String| {
        let namespace = Namespace::new(&namespace).unwrap();
        let jobs: Queue<u64> = Queue::options().namespace(&namespace).create("jobs").unwrap();
        jobs.put(&7).unwrap();
        drop(Lock::options().namespace(&namespace).create("deploy").unwrap());
    };
    Process::spawn(make, namespace.name().to_owned()).unwrap().join().unwrap();
}

/// A recipe of the documentation: a gate against leaks, and a hot standby.
#[test]
fn recipe_a_leak_gate_and_a_hot_standby() {
    let place = Place::new("recipe-10");
    let orphaned = || -> usize {
        let said = place.run(&["ls", "--orphaned", "--json"]);
        serde_json::from_str::<Value>(&said.stdout).unwrap().as_array().unwrap().len()
    };
    let script = "exec $P lock leader -- sh -c 'echo LEADS $$; exec sleep 1000'";
    let mut first = Running::start(&mut place.script(script));
    first.line("LEADS");
    let mut second = Running::start(&mut place.script(script));
    assert_eq!(orphaned(), 0);
    first.signal(Signal::SIGKILL);
    second.line("LEADS");
    let lock: Lock = Lock::options().namespace(&place.0).open("leader").unwrap();
    assert_eq!(lock.holder().unwrap().pid, second.pid());
    drop(lock);
    second.signal(Signal::SIGKILL);
    drop((first, second));
    until("the lock to be nobody's", || (orphaned() == 1).then_some(()));
    let said = place.run(&["gc", "--dry-run", "--unused"]);
    assert!(said.code() == Some(0) && said.stdout.contains("would remove"), "{said:?}");
    assert_eq!((place.run(&["gc", "--unused"]).code(), orphaned()), (Some(0), 0));
}

#[test]
fn an_empty_namespace_has_a_heading_and_no_rows() {
    let place = Place::new("empty");
    let said = place.run(&["ls"]);
    assert_eq!((said.code(), said.stdout.lines().count()), (Some(0), 1), "{said:?}");
    assert!(place.json().is_empty());
}

#[test]
fn shared_memory_is_listed_and_removed_as_what_it_is() {
    let place = Place::new("memory");
    let options = SharedMemory::options().namespace(&place.0).size(1000);
    let memory = options.create("frames").unwrap();
    let records = place.json();
    assert_eq!((&records[0]["kind"], &records[0]["name"]), (&json!("shared-memory"), &json!("frames")));
    assert_eq!(records[0]["bytes"], 2 * 4096, "whole pages");
    assert_eq!(place.run(&["rm", "frames"]).code(), Some(0));
    assert!(place.json().is_empty() && !memory.is_orphaned());
}

#[test]
fn objects_are_listed_with_what_their_headers_say() {
    let place = Place::new("listed");
    leave_objects(&place.0);
    let lock: Lock = Lock::options().namespace(&place.0).open("deploy").unwrap();
    let _held = lock.acquire().unwrap();
    let said = place.run(&["ls"]);
    let rows: Vec<Vec<_>> = said.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["KIND", "NAME", "STATE", "HOLDER", "WAIT", "SIZE", "AGE", "NOTE"], "{said:?}");
    assert_eq!(rows[1][..4], ["lock", "deploy", "held", &*std::process::id().to_string()]);
    assert_eq!(rows[2][..4], ["queue", "jobs", "1", "message"]);
    assert_eq!(rows[2].last(), Some(&"unused"));
    assert_eq!(rows.len(), 3);
    assert!(said.stdout.lines().all(|line| line.len() <= 80));

    let records = place.json();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[1]["name"], &records[1]["kind"]), (&"jobs".into(), &"queue".into()));
    assert_eq!((&records[1]["attached"], &records[1]["element"]), (&false.into(), &"u64".into()));
    assert_eq!(records[1]["namespace"], place.0.name());
    assert_eq!(records[1]["bytes"], fs::metadata(place.file("jobs")).unwrap().blocks() * 512);

    let all = run(["ls", "--all", "--json"]);
    let all: Value = serde_json::from_str(&all.stdout).unwrap();
    let ours = all.as_array().unwrap().iter().filter(|record| record["namespace"] == place.0.name());
    // The registry too.
    assert_eq!(ours.count(), 3);
}

#[test]
fn what_cannot_be_read_is_listed_with_the_reason() {
    let place = Place::new("nonsense");
    fs::write(place.file("noise"), [0xa5; 5000]).unwrap();
    fs::write(place.file("void"), []).unwrap();
    let said = place.run(&["ls"]);
    assert_eq!(said.code(), Some(0));
    assert_eq!(said.stdout.matches("not a procession object").count(), 2, "{said:?}");
    assert!(place.json().iter().all(|record| record["kind"].is_null() && record["error"].is_string()));
    assert_eq!(place.run(&["rm", "noise", "void"]).code(), Some(0));
    assert!(is_empty(&place.0));
}

#[test]
fn named_objects_go_when_they_are_told_to() {
    let place = Place::new("removed");
    leave_objects(&place.0);
    let said = place.run(&["rm", "deploy", "missing", "jobs"]);
    assert_eq!((said.code(), said.stdout.as_str()), (Some(66), ""), "{said:?}");
    assert_eq!(said.stderr.lines().count(), 1);
    assert!(said.stderr.contains("missing"), "{said:?}");
    // The others went all the same.
    assert!(place.json().is_empty());
    assert_eq!(place.run(&["rm", "../deploy"]).code(), Some(2));
    assert_eq!(place.run(&["rm", ".registry"]).code(), Some(2));
}

#[test]
fn named_objects_are_no_garbage_unless_asked_for() {
    let place = Place::new("collected");
    leave_objects(&place.0);
    let said = place.run(&["gc"]);
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), ""), "{said:?}");
    let lines = |said: &cli::Said| -> Vec<String> {
        let mut lines: Vec<_> = said.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let name = place.0.name();
    let said = place.run(&["gc", "--unused", "--dry-run"]);
    let would: Vec<_> = [".registry", "deploy", "jobs"]
        .iter()
        .map(|object| format!("would remove {name}/{object}"))
        .collect();
    assert_eq!((said.code(), lines(&said)), (Some(0), would));
    assert_eq!(place.json().len(), 2);
    let said = place.run(&["gc", "--unused"]);
    assert_eq!((said.code(), lines(&said).len()), (Some(0), 3));
    assert!(is_empty(&place.0));
}

#[test]
fn an_object_in_use_is_not_collected() {
    let place = Place::new("in-use");
    let lock: Lock = Lock::options().namespace(&place.0).create("held").unwrap();
    assert_eq!(place.run(&["gc", "--unused"]).stdout, "");
    drop(lock);
    assert_eq!(
        gc::collect(Some(&place.0), gc::Options::default().dry_run(true).unused(true)).unwrap().len(),
        1
    );
}

#[test]
fn a_deadlock_is_shown_with_its_processes_and_locks_and_makes_the_exit_code_1() {
    let place = Place::new("deadlock");
    let said = place.run(&["deadlocks"]);
    assert_eq!((said.code(), said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(place.run(&["deadlocks", "--json"]).stdout, "[]\n");

    let take_both = |(namespace, first, second): (String, String, String)| {
        let namespace = Namespace::new(&namespace).unwrap();
        let open = |name: &str| Lock::options().namespace(&namespace).open_or_create(name).unwrap();
        let (first, second) = (open(&first), open(&second));
        let _one = first.acquire().unwrap();
        let both = Latch::options().count(2).namespace(&namespace).open_or_create("both").unwrap();
        both.arrive();
        both.wait().unwrap();
        let _other = second.acquire();
    };
    let start = |name: &str, first: &str, second: &str| {
        let arguments = (place.0.name().to_owned(), first.to_owned(), second.to_owned());
        Process::options().name(name).spawn(take_both, arguments).unwrap()
    };
    let (one, two) = (start("left", "east", "west"), start("right", "west", "east"));
    procession_tests::until("the deadlock is found", || place.run(&["deadlocks"]).code() == Some(1));
    let said = place.run(&["deadlocks"]);
    for expected in ["deadlock of 2 threads", "left", "right", "lock east", "lock west", "held by"] {
        assert!(said.stdout.contains(expected), "{said:?}");
    }
    assert!(said.stderr.contains("1 deadlock in namespace"), "{said:?}");
    let said = place.run(&["deadlocks", "--json"]);
    schema::Schema::read().takes_array("deadlock", &said.stdout);
    schema::Schema::read().takes_lines("error", &said.stderr);
    let json = schema::parsed(&said.stdout);
    let threads = json[0]["threads"].as_array().unwrap();
    assert_eq!((json.as_array().unwrap().len(), threads.len()), (1, 2));
    assert_eq!(threads[0]["held_by"], threads[1]["pid"]);
    let waits = place.run(&["waits"]);
    assert_eq!((waits.code(), waits.stdout.lines().count()), (Some(0), 3));
    one.kill().unwrap();
    assert!(one.join().is_err());
    two.join().unwrap();
    assert_eq!(place.run(&["deadlocks"]).code(), Some(0));
}

#[test]
fn root_is_told_of_the_objects_of_other_users() {
    if !nix::unistd::geteuid().is_root() {
        return procession_tests::note("SKIPPED: only root is told");
    }
    if !procession_tests::can_unshare(&["--mount"]) {
        return;
    }
    let told = |files: &str, arguments: &str| {
        let script = format!(
            "mount -t tmpfs none /dev/shm && cd /dev/shm && chmod 1777 . && touch {files} && exec \"$0\" {arguments}"
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_procession-tested")]);
        let said = Running::start(&mut command).end();
        assert_eq!(said.code(), Some(0), "{said:?}");
        said.stderr
    };
    let files = "procession.0.default.x procession.65534.a.x procession.65534.b.y procession.54321.a.z procession.x other";
    for (arguments, left_out) in
        [("ls --all", "not shown"), ("ls --all --json", "not shown"), ("gc --all", "not looked at")]
    {
        let said = told(files, arguments);
        assert!(said.contains(left_out) && said.contains("1 file of uid 54321, 2 files of nobody"), "{said}");
        assert!(said.contains("setpriv --reuid=USER") && said.lines().count() == 1, "{said}");
        assert_eq!(told("procession.0.default.x", arguments), "");
    }
    assert_eq!(told(files, "ls"), "");
}
