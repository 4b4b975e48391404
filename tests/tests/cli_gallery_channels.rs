//! The demos of queues: what must hold, from what they print, and what becomes of them when a worker is
//! killed.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;
#[path = "cli/gallery.rs"]
mod gallery;

use cli::{Running, children_of, is_empty, namespace_of, procession, runs, send, until};
use gallery::{end, numbers, plays, start};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;

const DEMOS: [&str; 3] = ["producer-consumer", "blocking-queue", "batch"];

/// The items that lines tell of between these words.
fn items(lines: &[String], who: &str, does: &str) -> Vec<u32> {
    let told = lines.iter().filter(|line| line.starts_with(who) && line.contains(does));
    told.map(|line| numbers(line)[1]).collect()
}

/// The pid of the worker that a line introduces, alone or as the first of some.
fn pid_of(demo: &mut Running, worker: &str) -> u32 {
    loop {
        let line = demo.line("here ");
        let mut introduced = line.split_whitespace().skip(2);
        if introduced.next() == Some(worker) {
            return numbers(&line)[1];
        }
    }
}

#[test]
fn producer_consumer_finishes_when_every_item_is_done() {
    let lines = plays("producer-consumer");
    let mut taken = items(&lines, "consumer ", ": takes ");
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..60), "{lines:?}");
    for producer in 1..=3_u32 {
        let put = items(&lines, &format!("producer {producer}:"), "puts");
        assert!(put.into_iter().eq((producer - 1) * 20..producer * 20), "{lines:?}");
    }
    let finished = lines.iter().position(|line| line == "Finished").unwrap();
    let last_taken = lines.iter().rposition(|line| line.contains(": takes ")).unwrap();
    assert!(last_taken < finished, "{lines:?}");
    assert_eq!(lines.last().unwrap(), "60 items done, 0 of them again after a death: all right");
}

#[test]
fn a_consumer_killed_half_way_loses_no_item() {
    let mut demo = start("producer-consumer");
    let pid = pid_of(&mut demo, "consumer-1");
    // It works on the item for a while after it has said so.
    let item = numbers(&demo.line("consumer 1: takes"))[1];
    send(pid, Signal::SIGKILL);
    let said = end(demo);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.names_as_killed(pid), "{said:?}");
    let lines: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
    let taken: BTreeSet<u32> = items(&lines, "consumer ", ": takes ").into_iter().collect();
    assert!(taken.into_iter().eq(0..60), "{said:?}");
    // What it had, somebody got again; by the time of the kill that may have been the next item.
    let again: Vec<&String> = lines.iter().filter(|line| line.ends_with(", attempt 2")).collect();
    assert!(again.len() <= 1, "{said:?}");
    assert!(again.iter().all(|line| numbers(line)[1] >= item), "{said:?}");
    let finished = lines.iter().position(|line| line == "Finished").unwrap();
    assert!(lines[finished..].iter().all(|line| !line.contains("takes")), "{said:?}");
}

#[test]
fn both_consumers_killed_lose_no_item() {
    let mut demo = start("producer-consumer");
    let (one, two) = (pid_of(&mut demo, "consumer-1"), pid_of(&mut demo, "consumer-2"));
    demo.line("consumer 2: takes");
    send(one, Signal::SIGKILL);
    send(two, Signal::SIGKILL);
    let said = end(demo);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.contains("\nFinished\n60 items done, "), "{said:?}");
}

#[test]
fn a_killed_producer_is_named() {
    let mut demo = start("producer-consumer");
    let pid = pid_of(&mut demo, "producer-1");
    send(pid, Signal::SIGKILL);
    let said = end(demo);
    assert_eq!(said.code(), Some(1), "{said:?}");
    assert!(said.names_as_killed(pid) && said.stderr.contains("producer-1"), "{said:?}");
    assert!(!said.stdout.contains("Finished"), "{said:?}");
}

#[test]
fn blocking_queue_by_hand_answers_as_the_built_in_one() {
    let lines = plays("blocking-queue");
    let of = |who: &str| -> Vec<String> {
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(who))
            .filter(|line| !line.starts_with("enqueued"))
            .map(str::to_owned)
            .collect()
    };
    let answers = of("by-hand: ");
    assert_eq!(answers, of("built-in: "));
    assert_eq!(answers[0], "an item from the empty queue: None");
    assert_eq!(answers[1..4], [1, 2, 3].map(|n| format!("enqueue {n}: true, size {n}")));
    assert_eq!(answers[4], "enqueue into the full queue: false");
    assert_eq!(answers[5..8], [1, 2, 3].map(|n| format!("dequeue: Some({n}), size {}", 3 - n)));
    assert_eq!(answers[8], "a consumer waits at the empty queue: true; after one item: [Some(7)]");
    assert!(answers[9].contains("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]"), "{answers:?}");
    assert!(answers[9].ends_with("no more than 3 in it: true"), "{answers:?}");
    assert_eq!(answers[10], "left: 0");
}

#[test]
fn batch_waits_for_three_quarters_and_loses_nobody() {
    let lines = plays("batch");
    let went: BTreeSet<u32> =
        lines.iter().filter(|line| line.ends_with(" goes")).map(|line| numbers(line)[0]).collect();
    assert!(went.into_iter().eq(1..=8), "{lines:?}");
    let late: BTreeSet<u32> =
        lines.iter().filter(|line| line.ends_with(" arrives late")).map(|line| numbers(line)[0]).collect();
    assert_eq!(late, [7, 8].into(), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "6 of 8 were waited for, and 2 came later: all right");
}

#[test]
fn no_demo_hangs_when_one_of_its_workers_is_killed() {
    for demo in DEMOS {
        for quick in [false, true] {
            let arguments = ["demo", demo, "--quick"];
            let mut running = Running::start(&mut procession(&arguments[..if quick { 3 } else { 2 }]));
            let victim = until("a worker or the end", || {
                let first = children_of(running.pid()).into_iter().next();
                first.map(Some).or_else(|| (!running.is_running()).then_some(None))
            });
            victim.iter().for_each(|&victim| send(victim, Signal::SIGKILL));
            let said = end(running);
            let victim = victim.unwrap_or_default();
            let is_named = said.names_as_killed(victim);
            assert!(said.code() == Some(0) || said.code() == Some(1) && is_named, "{demo}: {said:?}");
        }
    }
}

#[test]
fn an_interrupted_demo_leaves_nothing_and_no_orphan() {
    // Lines that are printed when all workers are there, and how many those are.
    for (demo, line, count) in [
        ("producer-consumer", "here is consumer-1 ", 5),
        ("blocking-queue", "by-hand: enqueued 1", 1),
        ("batch", "here are party-1 ", 1),
    ] {
        let mut running = start(demo);
        running.line(line);
        let workers = until("workers", || Some(children_of(running.pid())).filter(|all| all.len() >= count));
        let everybody = workers.iter().copied().chain([running.pid()]).collect();
        let namespace = namespace_of(&everybody);
        running.signal(Signal::SIGINT);
        let pid = running.pid();
        let said = end(running);
        assert_eq!((said.code(), said.stderr.as_str()), (Some(130), ""), "{demo}: {said:?}");
        until("the workers to end", || {
            (!workers.iter().copied().any(runs) && children_of(pid).is_empty()).then_some(())
        });
        assert!(namespace.is_none_or(|namespace| is_empty(&namespace)), "{demo}");
    }
}
