//! `procession watch` and `stats`: what changes, and numbers about one object.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;
#[path = "cli/schema.rs"]
mod schema;

use cli::{Place, Running, until};
use nix::sys::signal::Signal;
use procession::{Lock, Queue};
use schema::Schema;
use serde_json::Value;
use std::process::Stdio;

/// A `watch` that looks as often as it can, and the records that it has printed.
struct Watch {
    running: Running,
    schema: Schema,
}

impl Watch {
    fn start(place: &Place, glob: &[&str]) -> Self {
        let words = [&["watch", "-i", "10ms"], glob].concat();
        Self { running: Running::start(&mut place.command(&words)), schema: Schema::read() }
    }

    /// The next record that is about this.
    fn next(&mut self, event: &str, name: &str) -> Value {
        loop {
            let record: Value = serde_json::from_str(&self.running.line("{")).unwrap();
            self.schema.takes("watch", &record);
            if record["event"] == event && record["name"] == name {
                return record;
            }
        }
    }
}

#[test]
fn what_changes_is_told() {
    let place = Place::new("watch");
    let queue = Queue::<String>::options().namespace(&place.0).create("q").unwrap();
    let mut watch = Watch::start(&place, &[]);
    assert_eq!(watch.next("present", "q")["depth"], 0);
    queue.put("one").unwrap();
    let put = watch.next("depth", "q");
    assert_eq!((&put["depth"], &put["put"], &put["got"]), (&1.into(), &1.into(), &0.into()), "{put}");
    queue.get().unwrap();
    assert_eq!(watch.next("depth", "q")["got"], 1);
    let mut holder =
        Running::start(&mut place.command(&["lock", "a", "--", "sh", "-c", "echo held; exec sleep 60"]));
    holder.line("held");
    // It may be held when it is seen for the first time.
    let appeared = watch.next("appeared", "a");
    assert_eq!(appeared["of"], "lock", "{appeared}");
    let waits = ["lock", "a", "--", "sh", "-c", "echo held; read line; true"];
    let (mut waiter, stdin) = Running::start_with_stdin(&mut place.command(&waits));
    assert_eq!(watch.next("waiters", "a")["waiters"], 1);
    holder.signal(Signal::SIGKILL);
    waiter.line("held");
    let held = watch.next("held", "a");
    assert_eq!(held["holder"]["pid"], waiter.pid(), "{held}");
    drop(stdin);
    assert_eq!(watch.next("released", "a")["pid"], waiter.pid());
    assert_eq!(place.run(&["event", "set", "up"]).code(), Some(0));
    watch.next("appeared", "up");
    assert_eq!(place.run(&["event", "clear", "up"]).code(), Some(0));
    assert_eq!(watch.next("state", "up")["state"], "unset");
    assert_eq!(place.run(&["rm", "q", "a", "up"]).code(), Some(0));
    watch.next("removed", "up");
    watch.running.signal(Signal::SIGTERM);
    assert_eq!(watch.running.end().status.code(), None);
}

#[test]
fn an_owner_that_died_is_told_also_when_nobody_has_noticed() {
    let place = Place::new("watch-died");
    let mut holder =
        Running::start(&mut place.command(&["lock", "a", "--", "sh", "-c", "echo held; exec sleep 60"]));
    holder.line("held");
    let mut watch = Watch::start(&place, &["?"]);
    assert_eq!(watch.next("present", "a")["holders"][0]["pid"], holder.pid());
    holder.signal(Signal::SIGKILL);
    assert_eq!(watch.next("owner_died", "a")["pid"], holder.pid());
    // Only names that are like the pattern are told of.
    assert_eq!(place.run(&["lock", "other", "--", "true"]).code(), Some(0));
    assert_eq!(place.run(&["rm", "a", "other"]).code(), Some(0));
    watch.next("removed", "a");
    watch.running.signal(Signal::SIGTERM);
    assert!(!watch.running.end().stdout.contains("other"));
}

#[test]
fn who_watches_slows_nobody_down_and_is_told_what_it_missed() {
    let place = Place::new("watch-missed");
    let lock = Lock::options().namespace(&place.0).create("a").unwrap();
    let mut watch = Watch::start(&place, &[]);
    watch.next("present", "a");
    // Stopped, it sees nothing; nobody waits for it.
    watch.running.signal(Signal::SIGSTOP);
    for _ in 0..1000 {
        let _token: u64 = lock.acquire().unwrap().fencing_token();
    }
    watch.running.signal(Signal::SIGCONT);
    let mut missed = 0;
    while missed < 1000 {
        missed += watch.next("missed", "a")["acquired"].as_u64().unwrap();
    }
    assert_eq!(missed, 1000);
    lock.unlink().unwrap();
}

#[test]
fn nobody_who_reads_ends_it_though_nothing_changes() {
    let place = Place::new("watch-pipe");
    let mut child = place.command(&["watch"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = until("the end of the watch", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(141));
}

#[test]
fn numbers_about_one_object_come_line_by_line() {
    let place = Place::new("stats");
    let queue = Queue::<u64>::options().namespace(&place.0).create("q").unwrap();
    let mut stats = Running::start(&mut place.command(&["stats", "q", "-i", "20ms", "-c", "200", "--json"]));
    let mut put = 0.0;
    while put == 0.0 {
        queue.put(&7).unwrap();
        let record: Value = serde_json::from_str(&stats.line("{")).unwrap();
        put = record["per_second"]["put"].as_f64().unwrap();
    }
    drop(stats);
    let said = place.run(&["stats", "q", "-i", "10ms", "-c", "21"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    let lines: Vec<&str> = said.stdout.lines().collect();
    let heading = lines[0].split_whitespace().collect::<Vec<_>>();
    assert_eq!(heading, ["SECONDS", "DEPTH", "PUT/s", "GOT/s", "WAIT", "LONGEST"]);
    // The heading comes again after a screen.
    assert_eq!((lines.len(), lines[21]), (23, lines[0]));
    assert!(lines.iter().all(|line| line.len() <= 80), "{said:?}");
    // It ends when the object is gone.
    let running = Running::start(&mut place.command(&["stats", "q", "-i", "10ms"]));
    queue.unlink().unwrap();
    let said = running.end();
    assert!(said.code() == Some(66) && said.stderr.contains("\"q\""), "{said:?}");
    assert_eq!(place.run(&["stats", "q"]).code(), Some(66));
}

#[test]
fn who_is_killed_while_it_looks_leaves_nothing() {
    let place = Place::new("watch-killed");
    let lock = Lock::options().namespace(&place.0).create("a").unwrap();
    let held = lock.acquire().unwrap();
    let before = place.run(&["ls", "--json"]).stdout;
    let mut watch = Watch::start(&place, &[]);
    watch.next("present", "a");
    let mut stats = Running::start(&mut place.command(&["stats", "a", "-i", "10ms", "--json"]));
    stats.line("{");
    for running in [watch.running, stats] {
        running.signal(Signal::SIGKILL);
        assert_eq!(running.end().code(), None);
    }
    assert_eq!(place.run(&["ls", "--json"]).stdout, before);
    assert_eq!(place.run(&["gc", "--dry-run"]).stdout, "");
    drop(held);
    drop(lock.acquire().unwrap());
    lock.unlink().unwrap();
}
