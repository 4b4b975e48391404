//! A pool's worker killed at each of its crash points, and the pool's parent killed: what is lost, and what
//! is left.
#![cfg(procession_chaos)]
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use procession::{Pool, Process, Queue, TaskError};
use procession_sys::crash::{Action, arm};
use procession_tests::isolate;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

procession::test_support!();

const ITEMS: u32 = 400;
/// The item whose function arms its worker.
const ARMING: u32 = 50;

/// Notes every run, arms the worker in one item, and returns the item.
fn note_and_arm((runs, label): &(Queue<u32>, String), n: u32) -> u32 {
    runs.put(&n).unwrap();
    if n == ARMING {
        arm(label, 1, Action::Kill);
    }
    n
}

/// Maps over all items, with a worker that dies at `label`; the outcome, and how often each item was begun.
fn map_with_a_death_at(label: &str) -> (Result<Vec<u32>, TaskError>, Vec<u32>, BTreeSet<u32>) {
    isolate();
    let pool = Pool::new(2).unwrap();
    let before: BTreeSet<u32> = pool.workers().into_iter().collect();
    let runs = Queue::new().unwrap();
    let outcome = pool.map_with(&(runs.clone(), label.to_owned()), note_and_arm, 0..ITEMS);
    let mut counts = vec![0; ITEMS as usize];
    while let Ok(n) = runs.try_get() {
        counts[n as usize] += 1;
    }
    // The pool is whole again: as many workers, and they work.
    assert_eq!(pool.map(|n: u32| n + 1, 0..10).unwrap(), (1..=10).collect::<Vec<_>>());
    let start = Instant::now();
    while pool.workers().len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(30), "{label}: the worker is not replaced");
        std::thread::yield_now();
    }
    let replaced = &before - &pool.workers().into_iter().collect();
    (outcome, counts, replaced)
}

#[test]
fn a_worker_killed_before_its_items_commit_loses_that_item_alone() {
    // At its own record, or (armed while the item runs) at the beginning of the next one.
    for (label, lost) in
        [("pool.item_run", ARMING), ("lane.written", ARMING), ("pool.item_begun", ARMING + 1)]
    {
        let (outcome, counts, replaced) = map_with_a_death_at(label);
        assert_eq!(replaced.len(), 1, "{label}: no worker died");
        let Err(TaskError::WorkerDied { worker, signal: 9, item }) = outcome else {
            panic!("{label}: {outcome:?}")
        };
        assert!(item.index == lost as usize && replaced.contains(&worker.pid()), "{label}: {item}");
        let begun = |n: u32| u32::from(label != "pool.item_begun" || n != lost);
        assert!(counts.into_iter().eq((0..ITEMS).map(begun)), "{label}: an item was run twice or never");
    }
}

#[test]
fn a_worker_killed_between_items_loses_nothing() {
    for label in ["lane.committed", "pool.item_committed", "pool.chunk_taken", "lane.read"] {
        let (outcome, counts, replaced) = map_with_a_death_at(label);
        assert_eq!(replaced.len(), 1, "{label}: no worker died");
        assert!(outcome.unwrap().into_iter().eq(0..ITEMS), "{label}");
        assert!(counts.iter().all(|&count| count == 1), "{label}: an item was run twice or never");
    }
}

#[test]
fn the_workers_of_a_killed_pool_die_with_it_and_leave_nothing() {
    isolate();
    let pids = Queue::<u32>::new().unwrap();
    let owner = Process::spawn(
        |pids: Queue<u32>| {
            let pool = Pool::new(3).unwrap();
            let work = |pids: &Queue<u32>, _: u32| {
                pids.put(&std::process::id()).unwrap();
                loop {
                    std::thread::park();
                }
            };
            pool.map_with(&pids, work, 0..3_u32).map(|_: Vec<()>| ()).unwrap();
        },
        pids.clone(),
    )
    .unwrap();
    let workers: Vec<u32> = (0..3).map(|_| pids.get_timeout(Duration::from_secs(30)).unwrap()).collect();
    owner.kill().unwrap();
    assert_eq!(owner.wait().unwrap().signal(), Some(9));
    let start = Instant::now();
    let is_there =
        |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    while workers.iter().any(is_there) {
        assert!(start.elapsed() < Duration::from_secs(30), "orphans: {workers:?}");
        std::thread::yield_now();
    }
    // The next process that looks removes the links. The kernel lets go of a dead process's files a moment
    // after its memory, so it may have to look again.
    let namespace = procession::Namespace::current().unwrap();
    let is_left = |entry: &procession::shm::Entry| !entry.attached && !entry.is_registry();
    let links_of_the_dead = || {
        procession::shm::gc::collect(Some(&namespace), procession::shm::gc::Options::default()).unwrap();
        namespace.list().unwrap().iter().any(&is_left)
    };
    while links_of_the_dead() {
        assert!(start.elapsed() < Duration::from_secs(30), "left: {:?}", namespace.list());
        std::thread::yield_now();
    }
}
