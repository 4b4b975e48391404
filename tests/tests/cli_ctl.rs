//! `procession ctl`: a `map` and a `run` that are steered from another terminal, and whoever is killed meanwhile.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, children_of, runs, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::io::Write;
use tempfile::TempDir;

/// A job that says that it runs, and ends when there is a file of its name.
const JOB: &str = "echo $1 runs; until [ -e $0/$1 ]; do sleep 0.01; done";

struct Map<'a> {
    place: &'a Place,
    done: TempDir,
    running: Running,
}

impl<'a> Map<'a> {
    fn start(place: &'a Place, options: &[&str]) -> Self {
        let done = TempDir::new().unwrap();
        let folder = done.path().to_str().unwrap();
        let words =
            [&["map", "--name", "enc", "-u"], options, &["--", "sh", "-c", JOB, folder, "{}"]].concat();
        let (running, mut stdin) = Running::start_with_stdin(&mut place.command(&words));
        stdin.write_all(b"1\n2\n3\n4\n5\n6\n").unwrap();
        Self { place, done, running }
    }

    fn release(&self, jobs: std::ops::RangeInclusive<u32>) {
        jobs.for_each(|job| fs::write(self.done.path().join(job.to_string()), "").unwrap());
    }

    /// Waits until so many run and so many have succeeded.
    fn until(&self, running: u64, succeeded: u64) -> Value {
        until("jobs", || {
            let status = status(self.place, "enc");
            (status["running"] == running && status["succeeded"] == succeeded).then_some(status)
        })
    }
}

/// Whether an order has come that was not taken.
fn has_order(place: &Place) -> Option<()> {
    let orders = place.json().into_iter().find(|object| object["name"] == "enc.orders")?;
    (orders["depth"].as_u64()? > 0).then_some(())
}

fn status(place: &Place, name: &str) -> Value {
    // It may not have begun.
    let said = place.run(&["ctl", name, "status", "--json", "-w", "60"]);
    assert_eq!(said.code(), Some(0), "{said:?}");
    serde_json::from_str(&said.stdout).unwrap()
}

/// Gives an order, which is carried out and says nothing.
fn order(place: &Place, words: &[&str]) {
    let said = place.run(&[&["ctl"], words].concat());
    assert_eq!((said.code(), &*said.stdout, &*said.stderr), (Some(0), "", ""), "{words:?}");
}

#[test]
fn recipe_a_map_is_steered_from_another_terminal() {
    let place = Place::new("recipe-8");
    let map = Map::start(&place, &["-j", "1"]);
    map.until(1, 0);
    order(&place, &["enc", "set", "-j", "3"]);
    map.until(3, 0);
    order(&place, &["enc", "pause"]);
    map.release(1..=3);
    let status = map.until(0, 3);
    assert_eq!((&status["paused"], &status["jobs"], &status["total"]), (&true.into(), &3.into(), &6.into()));
    let said = place.run(&["ctl", "enc", "status"]);
    let pid = map.running.pid();
    let line = format!(
        "map \"enc\", process {pid}: 0 jobs of at most 3 at once; 3 succeeded, 0 failed, of 6; paused\n"
    );
    assert_eq!(said.stdout, line);
    order(&place, &["enc", "set", "-j", "2"]);
    order(&place, &["enc", "resume"]);
    map.until(2, 3);
    let waits = Running::start(&mut place.command(&["wait", "lock:enc"]));
    map.release(4..=6);
    let said = map.running.end();
    assert_eq!(said.code(), Some(0), "{said:?}");
    assert!(said.stderr.contains("procession: no more jobs are started, by order of process "), "{said:?}");
    assert_eq!(waits.end().code(), Some(0));
    let said = place.run(&["ctl", "enc", "status"]);
    assert_eq!(said.code(), Some(66), "{said:?}");
    assert!(said.stderr.contains("nobody runs by the name \"enc\""), "{said:?}");
}

#[test]
fn orders_are_taken_although_somebody_has_closed_their_queue() {
    let place = Place::new("ctl-closed");
    let closes = "$P queue create enc.orders --plain --codec json --cap 64 && $P queue close enc.orders";
    assert_eq!(place.shell(closes).code(), Some(0));
    let map = Map::start(&place, &["-j", "1"]);
    map.until(1, 0);
    assert_eq!(place.run(&["queue", "close", "enc.orders"]).code(), Some(0));
    order(&place, &["enc", "set", "-j", "2"]);
    map.until(2, 0);
    map.release(1..=6);
    assert_eq!(map.running.end().code(), Some(0));
}

#[test]
fn a_map_that_is_stopped_has_not_done_all() {
    let place = Place::new("ctl-stop");
    let map = Map::start(&place, &["-j", "2"]);
    map.until(2, 0);
    order(&place, &["enc", "stop"]);
    assert_eq!(status(&place, "enc")["stopping"], true);
    map.release(1..=2);
    let said = map.running.end();
    assert_eq!(said.code(), Some(123), "{said:?}");
    assert!(
        said.stderr.contains("0 of 2 jobs failed; others were not run, because of `procession ctl`"),
        "{said:?}"
    );

    let map = Map::start(&place, &["-j", "2"]);
    map.until(2, 0);
    order(&place, &["enc", "signal", "STOP"]);
    order(&place, &["enc", "stop", "--now"]);
    let said = map.running.end();
    assert_eq!(said.code(), Some(123), "also those that are stopped end: {said:?}");
    assert!(!said.stdout.contains("3 runs"), "{said:?}");

    let map = Map::start(&place, &["-j", "6"]);
    map.until(6, 0);
    order(&place, &["enc", "stop"]);
    map.release(1..=6);
    let said = map.running.end();
    assert_eq!(said.code(), Some(0), "there was nothing left: {said:?}");
}

#[test]
fn a_name_is_one_process_and_a_killed_one_is_found_out() {
    let place = Place::new("ctl-name");
    let map = Map::start(&place, &["-j", "1"]);
    map.until(1, 0);
    let second = place.run(&["run", "-n", "1", "--name", "enc", "--", "true"]);
    assert_eq!(second.code(), Some(75), "{second:?}");
    assert!(second.stderr.contains(&format!("held by {} (", map.running.pid())), "{second:?}");
    // The order of one that was killed is carried out, and its answer goes nowhere.
    map.running.signal(Signal::SIGSTOP);
    let killed = Running::start(&mut place.command(&["ctl", "enc", "pause"]));
    until("the order", || has_order(&place));
    killed.signal(Signal::SIGKILL);
    drop(killed);
    map.running.signal(Signal::SIGCONT);
    until("the pause", || (status(&place, "enc")["paused"] == true).then_some(()));
    // The one that is steered is killed while somebody waits for its answer.
    map.running.signal(Signal::SIGSTOP);
    let mut waits = Running::start(&mut place.command(&["ctl", "enc", "set", "-j", "5"]));
    until("the order", || has_order(&place));
    assert!(waits.is_running());
    map.running.signal(Signal::SIGKILL);
    let said = waits.end();
    assert_eq!(said.code(), Some(66), "{said:?}");
    assert!(said.stderr.contains("ended before it took the order"), "{said:?}");
    drop(map);
    // The next of that name is not what the orders were for.
    let map = Map::start(&place, &["-j", "1"]);
    let status = map.until(1, 0);
    assert_eq!((&status["jobs"], &status["paused"]), (&1.into(), &false.into()));
    map.release(1..=6);
    assert_eq!(map.running.end().code(), Some(0));
}

#[test]
fn workers_of_a_run_are_replaced_signalled_and_stopped() {
    let place = Place::new("ctl-run");
    let script = "trap 'echo $RANK heard' USR1; echo $RANK $PROCESSION_ATTEMPT; while :; do sleep 0.01; done";
    let words = ["run", "-n", "2", "--name", "web", "--on-exit", "stop", "--", "sh", "-c", script];
    let mut running = Running::start(&mut place.command(&words));
    for _ in 0..2 {
        running.line("");
    }
    let before = children_of(running.pid());
    order(&place, &["web", "restart", "1"]);
    running.line("1 2");
    let workers = status(&place, "web")["workers"].clone();
    let pid = |rank: usize| u32::try_from(workers[rank]["pid"].as_u64().unwrap()).unwrap();
    assert_eq!((&workers[0]["rank"], &workers[1]["rank"]), (&0.into(), &1.into()));
    assert!(before.contains(&pid(0)) && !before.contains(&pid(1)), "one went on, the other is new");
    order(&place, &["web", "signal", "USR1", "0"]);
    running.line("0 heard");
    for (words, why) in [
        (&["web", "restart", "2"][..], "there is no rank 2: they are 0 to 1"),
        (&["web", "pause"], "a run has workers and no jobs"),
        (&["web", "set"], "say what to set: -j N"),
        (&["web", "signal"], "say which signal"),
        (&["web", "pause", "1"], "only `restart` and `signal` have more words"),
    ] {
        let said = place.run(&[&["ctl"], words].concat());
        assert_eq!(said.code(), Some(2), "{said:?}");
        assert!(said.stderr.contains(why), "{said:?}");
    }
    order(&place, &["web", "restart"]);
    let mut again = [running.line(""), running.line("")];
    again.sort();
    assert_eq!(again, ["0 2", "1 3"]);
    order(&place, &["web", "stop"]);
    let said = running.end();
    assert_eq!(said.code(), Some(0), "{said:?}");
    assert!(workers.as_array().unwrap().iter().all(|worker| !runs(worker["pid"].as_u64().unwrap() as u32)));
}

#[test]
fn a_run_whose_workers_do_not_end_is_stopped_now() {
    let place = Place::new("ctl-now");
    let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    let words = ["run", "-n", "2", "--name", "web", "--grace", "1h", "--", "sh", "-c", script];
    let mut running = Running::start(&mut place.command(&words));
    running.line("ready");
    running.line("ready");
    order(&place, &["web", "stop", "--now"]);
    let said = running.end();
    assert_eq!(said.code(), Some(0), "{said:?}");
}
