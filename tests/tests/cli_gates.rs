//! `procession event`, `barrier` and `counter`: exit codes, programs that meet scripts there, and who is killed.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, runs, until};
use nix::sys::signal::Signal;
use procession::{Barrier, Event, Value};
use serde_json::Value as Json;

#[test]
fn every_exit_code() {
    let place = Place::new("gates-codes");
    place.shell("$P event set up; $P lock lock -- true; $P barrier create three -p 3; $P barrier create broken -p 2; $P barrier abort broken");
    let table = [
        ("$P event set up", 0),
        ("$P event wait up", 0),
        ("$P event test up", 0),
        ("$P event clear cleared", 0),
        ("$P event wait cleared --cleared", 0),
        ("$P event pulse cleared", 0),
        ("$P event test cleared", 1),
        ("$P event test nothing", 1),
        ("$P event", 2),
        ("$P event set", 2),
        ("$P event set up --owner 0", 2),
        ("$P event set gone --owner 2147483647", 2),
        ("$P event set lock", 65),
        ("$P event test lock", 65),
        ("$P event wait cleared -n", 75),
        ("$P event wait cleared -w 10ms", 75),
        ("$P event wait cleared -w 10ms -E 4", 4),
        ("$P event wait up --cleared -w 10ms", 75),
        ("$P barrier wait one -p 1", 0),
        ("$P barrier create three -p 3", 0),
        ("$P barrier reset broken && $P barrier abort broken", 0),
        ("$P barrier wait one -p 0", 2),
        ("$P barrier wait lock -p 2", 65),
        ("$P barrier wait three -p 2", 65),
        ("$P barrier create three -p 2", 65),
        ("$P barrier wait broken", 65),
        ("$P barrier wait nothing", 66),
        ("$P barrier reset nothing", 66),
        ("$P barrier abort nothing", 66),
        ("$P barrier wait late -p 2 -w 10ms", 75),
        ("$P barrier wait late -p 2 -w 10ms -E 9", 9),
        ("$P counter add made", 0),
        ("$P counter get made", 0),
        ("$P counter set most 9223372036854775807", 0),
        ("$P counter add made x", 2),
        ("$P counter add most", 65),
        ("$P counter add lock", 65),
        ("$P counter get nothing", 66),
    ];
    for (script, code) in table {
        let said = place.shell(script);
        assert_eq!(said.code(), Some(code), "{script}: {said:?}");
        assert_eq!(said.stderr.is_empty(), code < 2, "{script}: {said:?}");
    }
}

#[test]
fn a_program_and_a_script_meet_at_an_event_and_at_a_barrier_and_count_together() {
    let place = Place::new("gates-meet");
    let event = Event::options().namespace(&place.0).create("up").unwrap();
    let mut waits = Running::start(&mut place.command(&["event", "wait", "up"]));
    assert!(waits.is_running());
    event.set();
    assert_eq!(waits.end().code(), Some(0));
    place.run(&["event", "clear", "up"]);
    assert!(!event.is_set());
    let barrier = Barrier::options().namespace(&place.0).parties(2).create("both").unwrap();
    let waits = Running::start(&mut place.command(&["barrier", "wait", "both", "--json"]));
    let mine = barrier.wait().unwrap();
    let said = waits.end();
    let record: Json = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code(), record["order"].as_u64()), (Some(0), Some(u64::from(1 - mine))), "{said:?}");
    let said = place.shell("$P counter add n 40");
    let counter: Value<i64> = Value::options().namespace(&place.0).open("n").unwrap();
    counter.fetch_add(1).unwrap();
    assert_eq!((said.stdout.as_str(), place.shell("$P counter add n").stdout.as_str()), ("40\n", "42\n"));
    // Nothing is lost between many.
    place.shell("for i in 1 2 3 4; do (for j in 1 2 3 4 5 6 7 8; do $P counter add n -2 > /dev/null; done) & done; wait");
    assert_eq!(place.shell("$P counter get n").stdout, "-22\n");
}

#[test]
fn who_waits_for_an_event_is_shown_and_a_pulse_lets_it_go() {
    let place = Place::new("gates-shown");
    let waits = Running::start(&mut place.command(&["event", "wait", "tick", "-w", "1h"]));
    until("the waiter to be shown", || {
        let said = place.run(&["waits", "--json"]);
        let records: Json = serde_json::from_str(&said.stdout).unwrap();
        let is_there = |record: &Json| record["waits_for"] == "tick" && record["pid"] == waits.pid();
        records.as_array().unwrap().iter().any(is_there).then_some(())
    });
    place.run(&["event", "pulse", "tick"]);
    assert_eq!((waits.end().code(), place.run(&["event", "test", "tick"]).code()), (Some(0), Some(1)));
}

/// A process that does nothing, as the owner of an event.
fn owner() -> Running {
    let mut owner =
        Running::start(std::process::Command::new("sh").args(["-c", "echo READY; exec sleep 1000"]));
    owner.line("READY");
    owner
}

fn keeper_of(place: &Place) -> u32 {
    let said = place.run(&["event", "test", "up", "--json"]);
    let record: Json = serde_json::from_str(&said.stdout).unwrap();
    record["owner"].as_u64().unwrap().try_into().unwrap()
}

// The recipes of the documentation.

#[test]
fn recipe_a_readiness_gate_that_cannot_go_stale() {
    let place = Place::new("recipe-5");
    let db = owner();
    let set = ["event", "set", "up", "--owner", &db.pid().to_string()];
    assert_eq!(place.run(&set).code(), Some(0));
    assert_eq!(place.run(&["event", "wait", "up", "-w", "30s"]).code(), Some(0));
    // Again: nobody else is needed.
    assert_eq!(place.run(&set).code(), Some(0));
    let keeper = keeper_of(&place);
    let other = owner();
    let said = place.run(&["event", "set", "up", "--owner", &other.pid().to_string()]);
    assert!(
        said.code() == Some(65) && said.stderr.contains(&format!("process {} lives", db.pid())),
        "{said:?}"
    );
    let gone = Running::start(&mut place.command(&["event", "wait", "up", "--cleared"]));
    db.signal(Signal::SIGKILL);
    assert_eq!(gone.end().code(), Some(0));
    assert_eq!(place.run(&["event", "test", "up"]).code(), Some(1));
    until("the keeper to end", || (!runs(keeper)).then_some(()));
    // Whoever kills the keeper clears the event, too.
    let set = ["event", "set", "up", "--owner", &other.pid().to_string()];
    assert_eq!(place.run(&set).code(), Some(0));
    cli::send(keeper_of(&place), Signal::SIGKILL);
    assert_eq!(place.run(&["event", "wait", "up", "--cleared"]).code(), Some(0));
    assert_eq!(place.run(&set).code(), Some(0));
    assert_eq!(place.run(&["event", "test", "up"]).code(), Some(0));
    other.signal(Signal::SIGKILL);
}

#[test]
fn recipe_phases_in_plain_bash() {
    let place = Place::new("recipe-4");
    let script = "$P run -n 4 -- sh -c 'echo prepared; $P barrier wait p1; [ $RANK = 0 ] && echo merged; \
                  $P barrier wait p2; echo served'";
    let said = place.shell(script);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!((said.code(), lines.len()), (Some(0), 9), "{said:?}");
    assert!(lines[..4].iter().all(|line| *line == "prepared") && lines[4] == "merged", "{said:?}");
    // A rank that ends breaks it instead of hanging it, whether it was killed or has done its work; and the next run
    // finds nothing of that.
    for end in ["kill -9 $$", "exit 0"] {
        let script =
            format!("$P run -n 3 -- sh -c '[ $RANK = 1 ] && {end}; $P barrier wait p1; echo got $?'");
        let said = place.shell(&script);
        assert_eq!(said.stdout, "got 65\ngot 65\n", "{said:?}");
        assert!(said.stderr.contains("a worker of this run has ended"), "{said:?}");
    }
    assert_eq!(place.shell("$P run -n 3 -- $P barrier wait p1").code(), Some(0));
    assert!(place.json().is_empty(), "{:?}", place.json());
}

#[test]
fn a_waiter_that_is_killed_breaks_the_barrier_for_those_who_wait() {
    let place = Place::new("gates-killed");
    let waiters: Vec<Running> =
        (0..2).map(|_| Running::start(&mut place.command(&["barrier", "wait", "b", "-p", "3"]))).collect();
    until("both to have come", || {
        let [ref object] = place.json()[..] else { return None };
        (object["arrived"] == 2).then_some(())
    });
    waiters[0].signal(Signal::SIGKILL);
    let mut waiters = waiters.into_iter();
    drop(waiters.next());
    let said = waiters.next().unwrap().end();
    assert_eq!(said.code(), Some(65), "{said:?}");
    assert!(place.json().is_empty(), "{:?}", place.json());
}

#[test]
fn a_worker_that_is_started_again_breaks_nothing() {
    let place = Place::new("gates-again");
    let script = "$P run -n 2 --restart on-failure --backoff 1ms..1ms -- \
                  sh -c '[ $RANK$PROCESSION_ATTEMPT = 11 ] && kill -9 $$; $P barrier wait all -w 1m'";
    assert_eq!(place.shell(script).code(), Some(0));
}
