//! `procession metrics`: every line is what the text format of Prometheus allows, and says what is so.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::run;
use procession::{Barrier, Event, JoinableQueue, Latch, Namespace, Queue, Semaphore};
use procession_tests::{Actor, Scratch, until};
use std::collections::BTreeMap;
use std::fs;

procession::test_support!();

/// What was printed: values by name and labels, as they were printed between the braces.
struct Metrics(BTreeMap<(String, Vec<(String, String)>), f64>);

impl Metrics {
    fn of(arguments: &[&str]) -> Self {
        let said = run(arguments);
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        Self::read(&said.stdout)
    }

    /// Reads the format, and asserts its rules: every family is described once, in one place, before its samples;
    /// names and labels are of the allowed letters; no sample comes twice; each line ends.
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let (mut samples, mut families) = (BTreeMap::new(), BTreeMap::new());
        let (mut help, mut family) = (None, None);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').unwrap();
                assert!(is_name(name) && !words.is_empty(), "{line}");
                help = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(help.take().as_deref(), Some(name), "{line}");
                assert!(["gauge", "counter"].contains(&kind), "{line}");
                assert!(families.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
                family = Some(name.to_owned());
            } else {
                let (name, labels, value) = sample(line);
                assert_eq!(Some(&name), family.as_ref(), "{line}");
                assert!(samples.insert((name, labels), value).is_none(), "twice: {line}");
            }
        }
        assert!(help.is_none() && families.keys().all(|name| samples.keys().any(|(other, _)| other == name)));
        Self(samples)
    }

    fn get(&self, name: &str, object: &str) -> Option<f64> {
        let label = ("name".to_owned(), object.to_owned());
        let is_it = |(found, labels): &(String, Vec<_>)| found == name && labels.contains(&label);
        let mut found = self.0.iter().filter(|(key, _)| is_it(key)).map(|(_, &value)| value);
        let first = found.next();
        assert!(found.next().is_none(), "{name} of {object} is there twice");
        first
    }

    /// Those that are of a whole namespace, or of the machine.
    fn total(&self, name: &str) -> f64 {
        let mut found = self.0.iter().filter(|((found, _), _)| found == name).map(|(_, &value)| value);
        let first = found.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(found.next().is_none(), "{name} is there twice");
        first
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

/// `name{label="value",…} number`, without a time.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name) && name.starts_with("procession_"), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let (value, after) = quoted(after).unwrap_or_else(|| panic!("{line}"));
            labels.push((label.to_owned(), value));
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => break rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{line}")),
            }
        }
    }
    let number = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    assert!(!number.contains(' '), "a time, or more: {line}");
    (name.to_owned(), labels, number.parse().unwrap_or_else(|_| panic!("{line}")))
}

/// A value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    loop {
        match letters.next()? {
            (place, '"') => return Some((value, &text[place + 1..])),
            (_, '\\') => match letters.next()?.1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                _ => return None,
            },
            (_, c) => value.push(c),
        }
    }
}

#[test]
fn values_are_those_of_a_known_state() {
    let scratch = Scratch::new();
    let here: &Namespace = &scratch;
    let semaphore = Semaphore::options().permits(3).namespace(here).create("sem").unwrap();
    let _permit = semaphore.acquire().unwrap();
    let event = Event::options().namespace(here).create("event").unwrap();
    event.set();
    let latch = Latch::options().count(4).namespace(here).create("latch").unwrap();
    latch.arrive();
    let barrier = Barrier::options().parties(5).namespace(here).create("barrier").unwrap();
    let queue: Queue<u8> = Queue::options().capacity(7).namespace(here).create("queue").unwrap();
    queue.put(&1).unwrap();
    queue.close().unwrap();
    let items: JoinableQueue<u8> =
        JoinableQueue::options().max_attempts(1).namespace(here).create("items").unwrap();
    (0..4).for_each(|item| items.put(&item).unwrap());
    drop(items.get().unwrap());
    let lease = items.get().unwrap();
    // A name of /dev/shm may hold what a label cannot.
    let noise = format!("/dev/shm/{}", scratch.file_name("no\"ise\\"));
    fs::write(&noise, [0xa5; 5000]).unwrap();
    let metrics = Metrics::of(&["-N", scratch.name(), "metrics"]);
    let is = |name: &str, object: &str, value: f64| {
        assert_eq!(metrics.get(&format!("procession_{name}"), object), Some(value), "{name} of {object}");
    };
    is("semaphore_available", "sem", 2.0);
    is("semaphore_held", "sem", 1.0);
    is("semaphore_max", "sem", 1024.0);
    is("holders", "sem", 1.0);
    is("event_set", "event", 1.0);
    is("latch_arrived", "latch", 1.0);
    is("latch_count", "latch", 4.0);
    is("barrier_arrived", "barrier", 0.0);
    is("barrier_parties", "barrier", 5.0);
    is("barrier_broken", "barrier", 0.0);
    is("queue_depth", "queue", 1.0);
    is("queue_capacity", "queue", 7.0);
    is("queue_closed", "queue", 1.0);
    is("queue_depth", "items", 2.0);
    is("queue_leased", "items", 1.0);
    is("queue_last_attempt", "items", 1.0);
    is("queue_dead_letters", "items", 1.0);
    is("attached", "queue", 1.0);
    is("waiters", "queue", 0.0);
    is("unreadable", "queue", 0.0);
    assert!(metrics.get("procession_queue_oldest_lease_seconds", "items").unwrap() >= 0.0);
    assert_eq!(metrics.get("procession_queue_leased", "queue"), None, "a plain queue has no leases");
    assert!(metrics.get("procession_object_bytes", "queue").unwrap() >= 4096.0);
    assert!(metrics.total("procession_namespace_bytes") >= 5.0 * 4096.0);
    assert_eq!(metrics.total("procession_processes"), 1.0, "this one, and not the one that looks");
    assert_eq!(metrics.total("procession_deadlocks"), 0.0);
    let (size, used) =
        (metrics.total("procession_shm_size_bytes"), metrics.total("procession_shm_used_bytes"));
    assert!(size > used && used >= metrics.total("procession_namespace_bytes"), "{used} of {size}");
    let all = Metrics::of(&["metrics", "--all"]);
    let labels = [("namespace", scratch.name()), ("name", "latch"), ("kind", "latch")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    assert_eq!(all.0.get(&("procession_latch_count".to_owned(), labels)), Some(&4.0));
    drop(lease);
    fs::remove_file(noise).unwrap();
    for unlinked in [event.unlink(), latch.unlink(), barrier.unlink(), queue.unlink(), items.unlink()] {
        unlinked.unwrap();
    }
    semaphore.unlink().unwrap();
}

#[test]
fn a_holder_that_stands_still_or_is_dead_is_counted() {
    let scratch = Scratch::new();
    let [mut holder, mut waiter] = std::array::from_fn(|_| Actor::start(&scratch));
    holder.does("create lock l");
    holder.does("acquire l");
    waiter.does("open lock l");
    waiter.tell("acquire l");
    let look = || Metrics::of(&["-N", scratch.name(), "metrics"]);
    let value = |name: &str| look().get(name, "l").unwrap_or(-1.0);
    until("it waits", || value("procession_waiters") == 1.0);
    holder.stop();
    let stopped = look();
    assert_eq!(stopped.get("procession_holders", "l"), Some(1.0));
    assert_eq!(stopped.get("procession_dead_holders", "l"), Some(0.0));
    assert_eq!(stopped.get("procession_inconsistent", "l"), Some(0.0));
    assert_eq!(stopped.get("procession_owner_deaths_total", "l"), Some(0.0));
    assert!(stopped.get("procession_held_seconds", "l").is_some(), "somebody waits, so it is known");
    assert!(stopped.get("procession_longest_wait_seconds", "l").unwrap() > 0.0);
    // The kernel may drop the lifeline of one that has looked a moment after its end was told.
    let processes = |count: f64| until("they are gone", || look().total("procession_processes") == count);
    processes(2.0);
    holder.kill();
    assert!(waiter.answer().contains("OwnerDied"));
    until("it waits no more", || value("procession_waiters") == 0.0);
    let dead = look();
    assert_eq!(dead.get("procession_inconsistent", "l"), Some(1.0));
    assert!(dead.get("procession_owner_deaths_total", "l").unwrap() >= 1.0);
    processes(1.0);
    drop(waiter);
    scratch.unlink("l").unwrap();
}

#[test]
fn where_nothing_is_there_are_no_objects_and_no_registry_is_made() {
    let scratch = Scratch::new();
    let metrics = Metrics::of(&["-N", scratch.name(), "metrics"]);
    assert_eq!(metrics.total("procession_processes"), 0.0);
    assert!(metrics.0.keys().all(|(name, _)| name != "procession_waiters"));
    assert!(scratch.names().is_empty());
}
