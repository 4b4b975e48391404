//! `procession ls` and `inspect`: what objects of every kind are in, seen by a program that knows no types, and takes
//! part in nothing.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Said, run};
use procession::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Group, JoinableQueue, Latch, List, Lock, Map,
    Namespace, Once, Process, Queue, RLock, RwLock, Semaphore, Value,
};
use procession_sys::shm_file;
use procession_tests::{Actor, Scratch, until};
use serde_json::Value as Json;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

procession::test_support!();

fn ask(scratch: &Scratch, arguments: &[&str]) -> Said {
    let said = run([&["-N", scratch.name()], arguments].concat());
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    said
}

fn inspect(scratch: &Scratch, name: &str) -> Json {
    serde_json::from_str(&ask(scratch, &["inspect", name, "--json"]).stdout).unwrap()
}

#[test]
fn a_group_says_how_many_of_it_are_held_and_by_whom() {
    let scratch = Scratch::new();
    let locks = Group::<Lock>::options().namespace(&scratch).count(300).create("rows").unwrap();
    let events = Group::<Event>::options().namespace(&scratch).count(3).create("up").unwrap();
    events.get(2).unwrap().set();
    let held = [7, 299].map(|index| locks.get(index).unwrap().acquire_owned().unwrap());
    let rows = inspect(&scratch, "rows");
    assert_eq!((&rows["kind"], &rows["state"]), (&"lock-group".into(), &"2 of 300 held".into()));
    let holders = rows["holders"].as_array().unwrap();
    assert!(holders.len() == 2 && holders.iter().all(|holder| holder["pid"] == std::process::id()), "{rows}");
    assert_eq!(inspect(&scratch, "up")["state"], "1 of 3 set");
    drop(held);
    assert_eq!(inspect(&scratch, "rows")["state"], "0 of 300 held");
    locks.unlink().unwrap();
    events.unlink().unwrap();
}

/// Uses one object of each kind, in its own way, and waits to be killed.
fn use_all(event: Event) {
    let lock = Lock::create("lock").unwrap();
    let _held = lock.acquire().unwrap();
    let rlock = RLock::create("rlock").unwrap();
    let _twice = (rlock.acquire().unwrap(), rlock.acquire().unwrap());
    let [reads, writes] = ["reads", "writes"].map(|name| RwLock::create(name).unwrap());
    let (_reading, _writing) = (reads.read().unwrap(), writes.write().unwrap());
    let semaphore = Semaphore::create("semaphore", 3).unwrap();
    let _permits = semaphore.acquire_many(2).unwrap();
    let bounded = BoundedSemaphore::create("bounded", 2).unwrap();
    let _permit = bounded.acquire().unwrap();
    let (set, _unset) = (Event::create("set").unwrap(), Event::create("unset").unwrap());
    set.set();
    let latch = Latch::create("latch", 3).unwrap();
    latch.arrive();
    let (once, _never) = (Once::create("once").unwrap(), Once::create("never").unwrap());
    once.run(|_| ()).unwrap();
    let (_barrier, broken) = (Barrier::create("barrier", 3).unwrap(), Barrier::create("broken", 3).unwrap());
    broken.abort();
    let _condition = Condition::create("condition").unwrap();
    let _value: Value<[u64; 4]> = Value::create("value", [7; 4]).unwrap();
    let _array: Array<f64> = Array::create("array", 10).unwrap();
    let queue: Queue<(String, u8)> = Queue::create("queue").unwrap();
    queue.put(&("words".to_owned(), 1)).unwrap();
    queue.put(&("more".to_owned(), 2)).unwrap();
    queue.close().unwrap();
    let items: JoinableQueue<String> = JoinableQueue::options().max_attempts(1).create("items").unwrap();
    for item in ["dies", "is held", "is ready"] {
        items.put(&item.to_owned()).unwrap();
    }
    drop(items.get().unwrap());
    let _lease = items.get().unwrap();
    let map: Map<String, f32> = Map::create("map").unwrap();
    map.insert(&"one".to_owned(), &1.0).unwrap();
    let list: List<Vec<u8>> = List::create("list").unwrap();
    list.extend([&vec![1], &vec![2]]).unwrap();
    event.set();
    loop {
        std::thread::park();
    }
}

/// The names of the objects, and what is said of them while their user lives, and when it was killed.
const STATES: &[(&str, &str, &str)] = &[
    ("lock", "held", "its holder died"),
    ("rlock", "held", "its holder died"),
    ("reads", "1 reading", "free"),
    ("writes", "held", "its holder died"),
    ("semaphore", "1 of 3 free", "3 of 3 free"),
    ("bounded", "1 of 2 free", "2 of 2 free"),
    ("set", "set", "set"),
    ("unset", "unset", "unset"),
    ("latch", "1 of 3 arrived", "1 of 3 arrived"),
    ("once", "done", "done"),
    ("never", "not done", "not done"),
    ("barrier", "0 of 3 arrived", "0 of 3 arrived"),
    ("broken", "broken: somebody called abort()", "broken: somebody called abort()"),
    ("condition", "nobody waits", "nobody waits"),
    ("value", "free", "free"),
    ("array", "free", "free"),
    ("queue", "closed, 2 messages", "closed, 2 messages"),
    ("items", "1 message, 1 leased, 1 dead", "1 message, 1 leased, 1 dead"),
    ("map", "1 entry", "1 entry"),
    ("list", "2 elements", "2 elements"),
];

/// The first bytes of all files of the namespace but its registry, in which whoever looks registers. A map is a
/// long file in which little is written.
fn bytes(namespace: &Namespace) -> Vec<(String, Vec<u8>)> {
    let names = shm_file::names(&namespace.file_name("")).unwrap();
    let read = |path: PathBuf| {
        let mut bytes = Vec::new();
        fs::File::open(path).unwrap().take(1 << 20).read_to_end(&mut bytes).unwrap();
        bytes
    };
    let ours = names.into_iter().filter(|name| !name.ends_with(".registry"));
    ours.map(|name| (name.clone(), read(shm_file::path(&name)))).collect()
}

#[test]
fn each_object_says_what_it_is_in_and_nothing_is_changed_by_looking() {
    let scratch = Scratch::new();
    let event = Event::options().namespace(&scratch).create("ready").unwrap();
    let options = Process::options().env("PROCESSION_NAMESPACE", scratch.name());
    let user = options.spawn(use_all, event.clone()).unwrap();
    until("all are used", || event.is_set() || !user.is_alive());
    for is_dead in [false, true] {
        if is_dead {
            user.kill().unwrap();
            user.wait().unwrap();
        }
        let before = bytes(&scratch);
        for &(name, alive, dead) in STATES {
            let record = inspect(&scratch, name);
            assert_eq!(record["state"], if is_dead { dead } else { alive }, "{record}");
            assert_eq!(record["v"], 1);
            let holders = record["holders"].as_array().unwrap();
            assert!(
                holders.iter().all(|holder| holder["pid"] == user.pid() && holder["dead"] == is_dead),
                "{record}"
            );
            // It can be read by people, too.
            let text = ask(&scratch, &["inspect", name]).stdout;
            assert!(text.contains(&format!("state      {}", record["state"].as_str().unwrap())), "{text}");
        }
        let listed = ask(&scratch, &["ls"]).stdout;
        assert!(STATES.iter().all(|(name, ..)| listed.contains(name)), "{listed}");
        assert_eq!(bytes(&scratch), before, "somebody who only looks has changed something");
    }
    STATES.iter().for_each(|(name, ..)| scratch.unlink(name).unwrap());
    event.unlink().unwrap();
}

#[test]
fn who_holds_a_lock_and_who_waits_for_it_is_shown_in_order() {
    let scratch = Scratch::new();
    let [mut holder, mut first, mut second] = std::array::from_fn(|_| Actor::start(&scratch));
    holder.does("create lock l");
    holder.does("acquire l");
    for (waiter, others) in [(&mut first, 0), (&mut second, 1)] {
        waiter.does("open lock l");
        waiter.tell("acquire l");
        until("it waits", || inspect(&scratch, "l")["waiters"].as_array().unwrap().len() == others + 1);
    }
    // A holder that stands still is looked at as any other.
    holder.stop();
    let record = inspect(&scratch, "l");
    assert_eq!(
        (&record["holders"][0]["pid"], &record["holders"][0]["how"]),
        (&holder.pid().into(), &"exclusive".into())
    );
    assert!(record["holders"][0]["seconds"].is_f64(), "somebody waits, so it is known since when: {record}");
    let waiters: Vec<_> =
        record["waiters"].as_array().unwrap().iter().map(|waiter| waiter["pid"].clone()).collect();
    assert_eq!(waiters, [first.pid(), second.pid()]);
    let text = ask(&scratch, &["inspect", "l"]).stdout;
    for part in ["): exclusive, for at least", &format!("waits      #1 {} (", first.pid())] {
        assert!(text.contains(part), "{text}");
    }
    let row = ask(&scratch, &["ls"]).stdout.lines().nth(1).unwrap().to_owned();
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(words[..6], ["lock", "l", "held", &*holder.pid().to_string(), "actor", "2"], "{row}");
    let processes = ask(&scratch, &["ps"]).stdout;
    let row = |pid: u32| {
        let begins = |line: &&str| line.split_whitespace().next() == Some(&pid.to_string());
        processes.lines().find(begins).unwrap_or_else(|| panic!("{processes}"))
    };
    for process in [&holder, &first, &second] {
        let words: Vec<_> = row(process.pid()).split_whitespace().collect();
        assert_eq!((words[1], words[3]), ("actor", "l"), "{processes}");
    }
    let records: Json = serde_json::from_str(&ask(&scratch, &["ps", "--json"]).stdout).unwrap();
    let lists = |key: &str| -> Vec<bool> {
        let records = records.as_array().unwrap().iter();
        records.map(|record| record[key].as_array().unwrap().iter().any(|name| name == "l")).collect()
    };
    // The first that registered is the first that is shown.
    assert_eq!((lists("holds"), lists("waits_for")), (vec![true, false, false], vec![false, true, true]));
    holder.kill();
    for waiter in [&mut first, &mut second] {
        drop(waiter.answer());
    }
    scratch.unlink("l").unwrap();
}

#[test]
fn looking_keeps_no_ephemeral_object_and_removes_none() {
    let scratch = Scratch::new();
    let event = Event::options().namespace(&scratch).ephemeral().create("e").unwrap();
    assert_eq!(inspect(&scratch, "e")["state"], "unset");
    event.set();
    assert_eq!(inspect(&scratch, "e")["state"], "set");
    drop(event);
    assert!(scratch.entry("e").is_err());
}

#[test]
fn what_is_not_there_or_no_object_is_said_in_words() {
    let scratch = Scratch::new();
    let said = run(["-N", scratch.name(), "inspect", "nothing"]);
    assert_eq!(said.code(), Some(66));
    assert!(said.stderr.contains("\"nothing\"") && said.stderr.contains("does not exist"), "{said:?}");
    assert_eq!(run(["-N", scratch.name(), "inspect", "a b"]).code(), Some(2));
    let path = format!("/dev/shm/{}", scratch.file_name("noise"));
    fs::write(&path, [0xa5; 5000]).unwrap();
    let record = inspect(&scratch, "noise");
    assert!(record["state"].is_null() && record["error"].is_string(), "{record}");
    assert!(ask(&scratch, &["inspect", "noise"]).stdout.contains("not a procession object"));
    fs::remove_file(path).unwrap();
}
