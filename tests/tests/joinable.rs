//! Joinable queues between processes: what Python's do, and what happens to the items of those that are
//! killed.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use procession::JoinableQueue;
use procession_sys::clock;
use procession_tests::Dice;
use procession_tests::{Actor, Scratch, note, raw};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

type Jobs = JoinableQueue<(u64, Vec<u8>)>;

fn actors<const N: usize>(scratch: &Scratch, options: &str) -> [Actor; N] {
    let mut actors = std::array::from_fn(|_| Actor::start(scratch));
    let mut all = actors.iter_mut();
    all.next().unwrap().does(&format!("create joinable j {options}"));
    all.for_each(|actor| drop(actor.does("open joinable j")));
    actors
}

#[test]
fn four_workers_do_ten_items_and_join_waits_for_all_of_them() {
    let scratch = Scratch::new();
    let mut all = actors::<5>(&scratch, "");
    let (parent, workers) = all.split_first_mut().unwrap();
    let diary = tempfile::NamedTempFile::new().unwrap();
    workers.iter_mut().for_each(|worker| worker.tell(&format!("work j {}", diary.path().display())));
    parent.does("put_many j 0 10");
    parent.does("join j");
    // Done is written after the acknowledgement, so the last ones may be missing yet; begun is all.
    let begun = fs::read_to_string(diary.path()).unwrap();
    assert_eq!(begun.lines().filter(|line| line.starts_with("begin")).count(), 10);
    parent.does("put_many j 10 10");
    parent.does("join j");
    parent.does("close j");
    let counts: Vec<u32> = workers.iter_mut().map(|worker| worker.did().parse().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u32>(), 20);
    parent.does("unlink j");
}

#[test]
fn six_fit_and_a_child_that_gets_them_makes_it_empty_and_not_full() {
    let scratch = Scratch::new();
    let [mut parent, mut child] = actors(&scratch, "capacity=6");
    parent.does("put_many j 1 6");
    assert_eq!((parent.does("is_full j"), parent.does("len j")), ("true".to_owned(), "6".to_owned()));
    parent.fails("try_put j 7", "WouldBlock");
    parent.fails("put_timeout j 7 20", "TimedOut");
    for n in 1..=6 {
        assert_eq!(child.does("get j"), format!("{n}:1"));
    }
    child.fails("try_get j", "WouldBlock");
    child.fails("get_timeout j 20", "TimedOut");
    assert_eq!((parent.does("is_full j"), parent.does("len j")), ("false".to_owned(), "0".to_owned()));
    parent.fails("join_timeout j 20", "TimedOut");
    (1..=6).for_each(|_| drop(child.does("task_done")));
    parent.does("join j");
    parent.does("unlink j");
}

#[test]
fn items_put_before_and_after_the_start_of_the_other_arrive_in_order() {
    let scratch = Scratch::new();
    let mut parent = Actor::start(&scratch);
    parent.does("create joinable j");
    parent.does("put_many j 0 10");
    let mut child = Actor::start(&scratch);
    child.does("open joinable j");
    child.does("put_many j 10 10");
    for n in 0..20 {
        assert_eq!(parent.does("get j"), format!("{n}:1"));
        parent.does("task_done");
    }
    child.does("join j");
    child.does("unlink j");
}

#[test]
fn a_blocked_producer_goes_on_when_an_item_is_got() {
    let scratch = Scratch::new();
    let [mut producer, mut consumer] = actors(&scratch, "capacity=1");
    producer.does("put j 1");
    producer.waits("put j 2");
    consumer.does("get j");
    producer.did();
    // And for bytes, when one is done.
    consumer.does("create joinable k bytes=256");
    producer.does("open joinable k");
    consumer.does("put k 1");
    consumer.fails("try_put k 3", "TooLarge");
    consumer.fails("try_put k 2", "TooLarge");
    producer.waits("put k 1");
    consumer.does("task_done");
    assert!(!producer.has_answered());
    assert_eq!(consumer.does("get k"), "1:1");
    consumer.does("task_done");
    producer.did();
    producer.does("unlink j");
    producer.does("unlink k");
}

#[test]
fn the_item_of_a_killed_holder_goes_to_who_waits_for_one() {
    let scratch = Scratch::new();
    let [mut victim, mut waiter] = actors(&scratch, "");
    victim.does("put_many j 1 2");
    victim.does("get j");
    victim.does("get j");
    waiter.waits("get j");
    victim.kill();
    assert_eq!(waiter.did(), "1:2");
    assert_eq!(waiter.does("try_get j"), "2:2");
    waiter.does("task_done");
    waiter.does("task_done");
    waiter.does("join j");
    waiter.does("unlink j");
}

#[test]
fn the_item_of_a_killed_holder_comes_back_although_there_are_always_others() {
    let scratch = Scratch::new();
    let [mut victim, mut worker] = actors(&scratch, "");
    victim.does("put j 0");
    victim.does("get j");
    victim.kill();
    worker.does("put_many j 1 5");
    for n in 6.. {
        worker.does(&format!("put j {n}"));
        let item = worker.does("get j");
        worker.does("task_done");
        if item == "0:2" {
            break;
        }
    }
    worker.does("unlink j");
}

#[test]
fn join_makes_the_item_of_the_last_holder_available_although_nobody_gets() {
    let scratch = Scratch::new();
    let [mut victim, mut parent] = actors(&scratch, "");
    victim.does("put j 1");
    victim.does("get j");
    parent.waits("join j");
    victim.kill();
    let queue = Jobs::options().namespace(&scratch).open("j").unwrap();
    procession_tests::until("the item is available", || queue.len() == 1);
    assert!(!parent.has_answered());
    queue.get().unwrap().task_done().unwrap();
    parent.did();
    parent.does("unlink j");
}

#[test]
fn the_list_of_objects_names_the_kind() {
    let scratch = Scratch::new();
    let queue = Jobs::options().namespace(&scratch).create("j").unwrap();
    let entry = scratch.list().unwrap().into_iter().find(|entry| entry.name == "j").unwrap();
    assert_eq!(entry.header.unwrap().kind.name(), "joinable-queue");
    queue.unlink().unwrap();
}

#[test]
fn a_stopped_holder_keeps_its_lease() {
    let scratch = Scratch::new();
    let [mut holder, mut other] = actors(&scratch, "");
    holder.does("put j 1");
    holder.does("get j");
    holder.stop();
    other.fails("get_timeout j 300", "TimedOut");
    holder.go_on();
    holder.does("task_done");
    other.does("join j");
    other.does("unlink j");
}

#[test]
fn a_stopped_holder_over_time_loses_its_lease_and_is_told() {
    let scratch = Scratch::new();
    let [mut holder, mut other] = actors(&scratch, "lease_timeout=30");
    holder.does("put j 1");
    holder.does("get j");
    holder.stop();
    assert_eq!(other.does("get j"), "1:2");
    other.does("task_done");
    holder.go_on();
    holder.fails("task_done", "StaleLease");
    other.does("join j");
    other.does("unlink j");
}

#[test]
fn an_item_that_kills_whoever_works_on_it_becomes_a_dead_letter() {
    let scratch = Scratch::new();
    let [mut parent] = actors(&scratch, "max_attempts=3");
    parent.does("put_many j 1 2");
    for attempt in 1..=3 {
        let mut victim = Actor::start(&scratch);
        victim.does("open joinable j");
        assert_eq!(victim.does("get_timeout j 30000"), format!("1:{attempt}"));
        victim.kill();
        parent.fails("join_timeout j 0", "TimedOut");
    }
    assert_eq!(parent.does("dead_letters j"), "1:3");
    assert_eq!(parent.does("get j"), "2:1");
    parent.does("task_done");
    parent.does("join j");
    assert_eq!(parent.does("retry j"), "true");
    assert_eq!((parent.does("dead_letters j"), parent.does("unfinished j")), (String::new(), "1".to_owned()));
    parent.does("unlink j");
}

#[test]
fn a_lease_inherited_by_fork_is_inert() {
    let scratch = Scratch::new();
    for way in ["fork", "raw_fork"] {
        let [mut actor, mut other] = actors(&scratch, "");
        actor.does("put j 1");
        actor.does("get j");
        actor.does(way);
        actor.fails("task_done", "StaleLease");
        assert_eq!(actor.does("unfinished j"), "1");
        assert_eq!(actor.ask("exit 0"), "ok exit 0");
        other.fails("try_get j", "WouldBlock");
        actor.does("task_done");
        other.does("join j");
        other.does("unlink j");
    }
}

#[test]
fn everything_is_there_when_all_have_died_also_under_another_registry() {
    for loses_registry in [false, true] {
        let scratch = Scratch::unswept();
        let [mut one, mut two] = actors(&scratch, "");
        one.does("put_many j 1 3");
        one.does("get j");
        two.does("get j");
        one.kill();
        two.kill();
        if loses_registry {
            fs::remove_file(raw::registry(&scratch)).unwrap();
        }
        let mut heir = Actor::start(&scratch);
        heir.does("open joinable j");
        assert_eq!(heir.does("unfinished j"), "3");
        let mut got: Vec<String> = Vec::new();
        while got.len() < 3 {
            got.push(heir.does("get_timeout j 30000"));
            heir.does("task_done");
        }
        got.sort();
        assert_eq!(got, ["1:2", "2:2", "3:1"]);
        heir.does("join j");
        heir.does("unlink j");
    }
}

/// What the workers wrote about one item.
#[derive(Default)]
struct Item {
    attempts: Vec<u32>,
    done: Vec<u32>,
}

/// Workers are killed at random while they work through many items, and replaced.
#[test]
fn random_kills_lose_no_item_and_repeat_only_what_was_being_done() {
    const ITEMS: u64 = 40_000;
    const WORKERS: usize = 4;
    let seed = clock::wall_ns();
    note(&format!("joinable chaos: seed {seed}"));
    let mut dice = Dice::new(seed);
    let scratch = Scratch::for_seconds(120);
    let place = tempfile::tempdir().unwrap();
    let diary = place.path().join("diary");
    let queue = Jobs::options().namespace(&scratch).bytes(16384).max_attempts(3).create("j").unwrap();
    let start = || {
        let mut worker = Actor::start(&scratch);
        worker.does("open joinable j");
        worker.tell(&format!("work j {}", diary.display()));
        worker
    };
    let mut workers: Vec<Actor> = (0..WORKERS).map(|_| start()).collect();
    let mut producer = Actor::start(&scratch);
    producer.does("open joinable j");
    producer.tell(&format!("put_many j 0 {ITEMS}"));
    let mut kills = 0;
    while !producer.has_answered() {
        std::thread::sleep(Duration::from_micros(dice.below(4000)));
        let victim = workers.swap_remove(dice.below(WORKERS as u64) as usize);
        victim.kill();
        kills += 1;
        workers.push(start());
    }
    producer.did();
    queue.join().unwrap();
    queue.close().unwrap();
    workers.iter_mut().for_each(|worker| drop(worker.did()));
    assert_eq!(queue.unfinished(), 0);

    let mut items: BTreeMap<u64, Item> = BTreeMap::new();
    for line in fs::read_to_string(&diary).unwrap().lines() {
        let (what, item) = line.split_once(' ').unwrap();
        let (n, attempt) = item.split_once(':').unwrap_or_else(|| panic!("{line}"));
        let (item, attempt): (_, u32) =
            (items.entry(n.parse().unwrap()).or_default(), attempt.parse().unwrap());
        assert!(item.done.is_empty(), "it came again after it was done: {line}");
        match what {
            "begin" => item.attempts.push(attempt),
            "done" => item.done.push(attempt),
            _ => panic!("a lease without a timeout is never stale: {line}"),
        }
    }
    let all = kills;
    let dead: Vec<u64> =
        queue.dead_letters().unwrap().iter().map(|letter| letter.item().unwrap().0).collect();
    for n in 0..ITEMS {
        let is_dead = dead.contains(&n);
        let item = items.remove(&n).unwrap_or_default();
        // A victim may not have come to write.
        assert!(is_dead || !item.attempts.is_empty(), "{n} was lost");
        assert!(!is_dead || item.done.is_empty(), "{n} was done, and is a dead letter");
        assert!(item.attempts.is_sorted_by(|one, next| one < next), "{n}: {:?}", item.attempts);
        let repeated = item.attempts.last().map_or(0, |last| last - 1);
        assert!(repeated <= kills, "{n} was repeated without a death");
        kills -= repeated;
    }
    assert!(items.is_empty(), "items that nobody put");
    note(&format!("joinable chaos: {all} kills, {} dead letters, {kills} kills cost nothing", dead.len()));
    assert!(all > 20 && kills < all, "too little happened");
    queue.unlink().unwrap();
}
