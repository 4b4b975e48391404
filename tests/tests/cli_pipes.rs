//! `procession pipe` and `wait`: exit codes, many writers, and who is killed.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, until};
use nix::sys::signal::Signal;
use procession::{Bytes, JoinableQueue, Latch, Queue};
use serde_json::Value as Json;
use std::io::Write;

#[test]
fn what_goes_in_comes_out_and_nothing_is_left() {
    let place = Place::new("pipe-bytes");
    for input in ["", "a", "a\n\nb\0", &"x".repeat(200_000), &"line\n".repeat(50_000)] {
        let (sender, mut stdin) = Running::start_with_stdin(&mut place.command(&["pipe", "send", "p"]));
        let receiver = Running::start(&mut place.command(&["pipe", "recv", "p"]));
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        assert_eq!(sender.end().code(), Some(0));
        let said = receiver.end();
        // The test reads lines, and ends each.
        assert_eq!(
            (said.code(), said.stdout.trim_end()),
            (Some(0), input.trim_end()),
            "{} bytes",
            input.len()
        );
        assert!(place.json().is_empty(), "{:?}", place.json());
    }
}

#[test]
fn what_was_sent_before_anybody_reads_is_there() {
    let place = Place::new("pipe-before");
    let said = place.shell("seq 3 | $P pipe send p && seq 4 6 | $P pipe send p && $P pipe recv p");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "1\n2\n3\n4\n5\n6\n"));
}

#[test]
fn lines_of_many_writers_do_not_mix() {
    let place = Place::new("pipe-many");
    // Held open by one writer more: between two of the others there may be a moment without any, which is the end.
    let mut receiver = Running::start(&mut place.command(&["pipe", "recv", "p"]));
    let (holder, mut stdin) = Running::start_with_stdin(&mut place.command(&["pipe", "send", "p"]));
    writeln!(stdin, "held").unwrap();
    receiver.line("held");
    place.shell("for w in a b c; do (yes $w$w$w | head -20000 | $P pipe send p) & done; wait");
    drop(stdin);
    let said = receiver.end();
    assert_eq!(holder.end().code(), Some(0));
    for line in ["aaa", "bbb", "ccc"] {
        assert_eq!(said.stdout.lines().filter(|&one| one == line).count(), 20_000, "{line}");
    }
    assert_eq!((said.code(), said.stdout.lines().count()), (Some(0), 60_001));
}

#[test]
fn a_program_reads_what_a_script_sends_and_ends_its_own() {
    let place = Place::new("pipe-program");
    place.shell("printf 'one\ntwo\n' | $P pipe send p");
    let queue: Queue<Bytes> = Queue::options().namespace(&place.0).open("p").unwrap();
    assert_eq!(queue.bytes().get().unwrap(), b"one\ntwo\n");
    queue.bytes().put(b"three\n").unwrap();
    queue.close().unwrap();
    drop(queue);
    let said = place.shell("$P pipe recv p");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "three\n"), "{said:?}");
}

#[test]
fn a_writer_that_is_killed_is_told_of_and_what_it_sent_is_there() {
    let place = Place::new("pipe-killed");
    let mut receiver = Running::start(&mut place.command(&["pipe", "recv", "p"]));
    let (sender, mut stdin) = Running::start_with_stdin(&mut place.command(&["pipe", "send", "p"]));
    stdin.write_all(b"whole\nhal").unwrap();
    receiver.line("whole");
    sender.signal(Signal::SIGKILL);
    let pid = sender.pid();
    drop(sender);
    let said = receiver.end();
    assert_eq!((said.code(), said.stdout.as_str()), (Some(65), "whole\n"), "{said:?}");
    assert!(said.stderr.contains(&format!("(pid {pid}) was killed")), "{said:?}");
    assert!(place.json().is_empty(), "{:?}", place.json());
}

#[test]
fn a_reader_that_is_killed_leaves_the_rest_to_the_next() {
    let place = Place::new("pipe-reader");
    let mut first = Running::start(&mut place.command(&["pipe", "recv", "p"]));
    let (sender, mut stdin) = Running::start_with_stdin(&mut place.command(&["pipe", "send", "p"]));
    stdin.write_all(b"1\n").unwrap();
    first.line("1");
    first.signal(Signal::SIGKILL);
    until("the reader to be gone", || (!first.is_running()).then_some(()));
    stdin.write_all(b"2\n").unwrap();
    drop(stdin);
    assert_eq!(sender.end().code(), Some(0));
    let said = place.shell("$P pipe recv p");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "2\n"));
}

#[test]
fn nobody_who_reads_the_result_is_no_reason_to_lose_the_pipe() {
    let place = Place::new("pipe-closed");
    let said = place.shell(
        "yes | head -100000 | $P pipe send p & $P pipe recv p | head -1; wait; $P pipe recv p | wc -l",
    );
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "y"), "{said:?}");
}

#[test]
fn every_exit_code() {
    let place = Place::new("pipe-codes");
    place.shell("$P lock lock -- true; $P event set up; $P sem sem -c 2 -- true");
    let holder = Running::start(&mut place.command(&["lock", "busy", "--", "sleep", "1000"]));
    until("the lock to be held", || (place.run(&["lock", "test", "busy"]).code() == Some(1)).then_some(()));
    let table = [
        ("$P pipe", 2),
        ("$P pipe send", 2),
        ("$P pipe send lock < /dev/null", 65),
        ("$P pipe recv lock", 65),
        ("$P pipe send p < /", 125),
        ("$P wait event:up lock:lock lock:nothing sem:sem=2 pid:2147483647 event:none:cleared", 0),
        ("$P wait --any event:unset event:up", 0),
        ("$P wait event:up:cleared --any event:up", 0),
        ("$P wait", 2),
        ("$P wait barrier:b", 2),
        ("$P wait queue:q", 2),
        ("$P wait event:lock", 65),
        ("$P wait queue:lock:items", 65),
        ("$P wait queue:nothing:items", 66),
        ("$P wait latch:nothing", 66),
        ("$P wait lock:busy -n", 75),
        ("$P wait event:up event:unset -w 10ms", 75),
        ("$P wait pid:$$ -w 10ms -E 7", 7),
    ];
    for (script, code) in table {
        let said = place.shell(script);
        assert_eq!(said.code(), Some(code), "{script}: {said:?}");
        assert_eq!(said.stderr.is_empty(), code < 2, "{script}: {said:?}");
    }
    drop(holder);
}

#[test]
fn a_wait_ends_when_the_last_of_them_has_come() {
    let place = Place::new("wait-last");
    let jobs: JoinableQueue<u32> = JoinableQueue::options().namespace(&place.0).create("jobs").unwrap();
    let latch = Latch::options().namespace(&place.0).count(1).create("latch").unwrap();
    jobs.put(&1).unwrap();
    let mut process = Running::start(std::process::Command::new("sleep").arg("1000"));
    let holder = Running::start(&mut place.command(&["lock", "busy", "--", "sleep", "1000"]));
    until("the lock to be held", || (place.run(&["lock", "test", "busy"]).code() == Some(1)).then_some(()));
    let pid = format!("pid:{}", process.pid());
    let targets = ["wait", "--json", "event:up", "latch:latch", "queue:jobs:done", "lock:busy", &pid];
    let mut waits = Running::start(&mut place.command(&targets));
    let steps: [&mut dyn FnMut(); 5] = [
        &mut || drop(place.run(&["event", "set", "up"])),
        &mut || {
            latch.arrive();
        },
        &mut || jobs.get().unwrap().task_done().unwrap(),
        &mut || holder.signal(Signal::SIGTERM),
        &mut || process.signal(Signal::SIGKILL),
    ];
    for step in steps {
        assert!(waits.is_running());
        step();
    }
    until("the process to be gone", || (!process.is_running()).then_some(()));
    let said = waits.end();
    let record: Json = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code(), record["come"].as_array().unwrap().len()), (Some(0), 5), "{said:?}");
    let said = place.run(&["wait", "--any", "event:never", "event:up", "-w", "1h"]);
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "event:up\n"));
    place.run(&["event", "clear", "never"]);
}
