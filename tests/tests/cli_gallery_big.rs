//! The big demos: what must hold, from what they print, with and without somebody who kills.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;
#[path = "cli/gallery.rs"]
mod gallery;

use cli::{Running, Said, children_of, procession, run, send, until};
use gallery::end;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;

/// What it printed when all went well.
fn well(said: &Said) -> Vec<String> {
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.ends_with(": all right\n"), "{said:?}");
    said.stdout.lines().map(str::to_owned).collect()
}

/// What the demo prints when all goes well, and nothing is left behind.
fn plays(arguments: &[&str]) -> Vec<String> {
    well(&end(Running::start(&mut procession([&["demo"], arguments].concat()))))
}

/// The numbers in a line.
fn numbers(line: &str) -> Vec<u64> {
    let line = line.replace(',', "");
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[test]
fn every_order_of_the_restaurant_is_complete_and_in_order() {
    let lines = plays(&["restaurant", "--quick"]);
    // Announced once each by the barrier's action, and served with what was poured for it.
    let place = |beginning: String| {
        let places: Vec<usize> = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with(&beginning))
            .map(|(place, _)| place)
            .collect();
        assert_eq!(places.len(), 1, "{beginning}: {lines:?}");
        places[0]
    };
    let mut last = 0;
    for order in 1..=6 {
        let ready = place(format!("order {order} is ready: "));
        assert!(["pasta", "sauce", "salad"].iter().all(|part| lines[ready].contains(part)), "{lines:?}");
        let served = place(format!("order {order} is served, with "));
        let drink = lines[served].rsplit(' ').next().unwrap();
        let poured = place(format!("order {order}: {drink} is ready"));
        assert!(ready < served && poured < served && last < served, "{lines:?}");
        last = served;
    }
}

#[test]
fn a_killed_chef_is_named_and_the_restaurant_closes() {
    let mut demo = Running::start(&mut procession(["demo", "restaurant"]));
    demo.line("order 1: table");
    let salma = until("the chefs", || children_of(demo.pid()).into_iter().nth(2));
    send(salma, Signal::SIGKILL);
    let said = demo.end();
    assert_eq!(said.code(), Some(1), "{said:?}");
    assert!(said.names_as_killed(salma), "{said:?}");
}

#[test]
fn what_the_unkillable_say_adds_up() {
    let lines = plays(&["unkillable", "--quick"]);
    let last = lines.iter().rfind(|line| line.contains(" killed, ")).unwrap();
    // Seconds and tenths, kills, transfers, rounds, messages, repairs.
    let [_, _, kills, transfers, rounds, messages, _] = numbers(last).try_into().unwrap();
    assert!(kills > 3 && rounds > 0, "{last}");
    // A worker killed between the two has counted a transfer without sending, at most once each.
    assert!(messages <= transfers && transfers <= messages + kills, "{last}");
    let sum = lines.iter().find(|line| line.contains("it adds up")).unwrap();
    assert_eq!(numbers(sum)[..3], [8000, 8, 2]);
}

#[test]
fn the_unkillable_go_on_when_a_person_kills() {
    let mut demo = Running::start(&mut procession(["demo", "unkillable", "--seconds", "2"]));
    for _ in 0..3 {
        // The one that is left to people, and then the one in its place.
        let pid = numbers(&demo.line("kill one yourself: kill -9 "))[1];
        send(u32::try_from(pid).unwrap(), Signal::SIGKILL);
        assert!(demo.line("life-").ends_with(&format!("(pid {pid}) was killed by you, and all goes on")));
    }
    let said = end(demo);
    let lines = well(&said);
    assert!(lines.iter().any(|line| line.contains(", 3 of them killed by you: it adds up")), "{said:?}");
}

/// How often each stage worked on an item, and how often on one that another had begun.
fn metrics(lines: &[String], stage: &str) -> (u64, u64) {
    let line = lines
        .iter()
        .find(|line| line.starts_with(&format!("{stage} ")) && line.contains(" items, "))
        .unwrap();
    (numbers(line)[0], numbers(line)[1])
}

/// The pid of the worker of this name.
fn worker(demo: &mut Running, name: &str) -> u32 {
    u32::try_from(*numbers(&demo.line(&format!("here is {name} (pid "))).last().unwrap()).unwrap()
}

#[test]
fn a_pipeline_of_which_nobody_is_killed_saves_every_item_once() {
    let lines = plays(&["pipeline", "--quick", "--spare"]);
    assert_eq!(lines.last().unwrap(), "60 items, each saved exactly once: all right");
    for stage in ["load", "transform", "save"] {
        assert_eq!(metrics(&lines, stage), (60, 0), "{lines:?}");
    }
    let started: BTreeSet<&str> = lines.iter().filter_map(|line| line.strip_prefix("here is ")).collect();
    assert!(started.len() == 7 || started.len() == 8, "{lines:?}");
    let passed: Vec<_> =
        lines.iter().filter_map(|line| line.strip_prefix("all items have passed ")).collect();
    assert_eq!(passed, ["load", "transform", "save"]);
}

#[test]
fn a_pipeline_loses_no_item_with_a_worker_killed_half_way_and_adds_one() {
    let said = end(Running::start(&mut procession(["demo", "pipeline"])));
    let lines = well(&said);
    assert_eq!(lines.last().unwrap(), "60 items, each saved exactly once: all right");
    let starts =
        |name: &str| lines.iter().filter(|line| line.starts_with(&format!("here is {name} (pid "))).count();
    assert_eq!((starts("transform-4"), starts("transform-8"), starts("transform-3")), (2, 1, 1), "{lines:?}");
    let again: u64 = ["load", "transform", "save"].map(|stage| metrics(&lines, stage).1).iter().sum();
    assert!(again <= 1, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("process \"transform-4\" (pid ") && line.ends_with("SIGKILL"))
    );
}

#[test]
fn a_pipeline_of_which_a_person_kills_one_of_each_stage_saves_every_item_once() {
    let mut demo = Running::start(&mut procession(["demo", "pipeline", "--spare"]));
    let pids: BTreeSet<u32> =
        until("all seven", || Some(children_of(demo.pid())).filter(|pids| pids.len() == 7));
    // How it stands is said now and then: one number may be left out.
    while numbers(&demo.line("to load, transform, save: "))[0] > 56 {}
    let (first, last) = (pids.first().unwrap(), pids.last().unwrap());
    for pid in [*first, *pids.iter().nth(3).unwrap(), *last] {
        send(pid, Signal::SIGKILL);
    }
    let said = end(demo);
    assert!(said.names_as_killed(*first) && said.names_as_killed(*last), "{said:?}");
    assert_eq!(well(&said).last().unwrap(), "60 items, each saved exactly once: all right");
}

#[test]
fn an_item_that_fails_shuts_the_pipeline_down_and_the_summary_says_so() {
    let said = end(Running::start(&mut procession(["demo", "pipeline", "--quick", "--fail", "23"])));
    assert_eq!(said.code(), Some(1), "{said:?}");
    assert!(said.stdout.lines().any(|line| line == "item 23 cannot be transformed"), "{said:?}");
    let told = said.stderr.strip_prefix("procession: an item failed, all have shut down: ").unwrap();
    let [saved, left] = numbers(told)[..] else { panic!("{said:?}") };
    // Nobody was killed: what is not saved is in the queues, once.
    assert!(saved < 60 && saved + left == 60, "{said:?}");
    let lines: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
    assert_eq!(metrics(&lines, "save").0, saved, "{said:?}");
}

#[test]
fn an_interrupted_pipeline_leaves_nothing() {
    let mut demo = Running::start(&mut procession(["demo", "pipeline"]));
    worker(&mut demo, "save-7");
    demo.signal(Signal::SIGINT);
    let said = end(demo);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(130), ""), "{said:?}");
}

#[test]
fn pipes_between_children_carry_everything_and_tell_of_a_death() {
    let lines = plays(&["relay-pipes", "--quick"]);
    // The squares of 0 to 9,999.
    assert!(lines.iter().any(|line| line == "add: 10000 squares, their sum is 333283335000"), "{lines:?}");
    let killed = lines.iter().find(|line| line.starts_with("process \"transform\" (pid ")).unwrap();
    assert!(killed.ends_with(" was killed by SIGKILL"), "{lines:?}");
    let pid = numbers(killed)[0];
    for who in ["add", "make"] {
        let told = lines.iter().find(|line| line.starts_with(&format!("{who} was told: "))).unwrap();
        assert!(told.contains(&format!("process {pid} died")), "{lines:?}");
    }
    let told = lines.iter().find(|line| line.starts_with("add was told: ")).unwrap();
    let [.., count, sum] = numbers(told)[..] else { panic!("{told}") };
    assert!(count >= 5_000 && sum == (0..count).map(|n| n * n).sum::<u64>(), "{told}");
}

#[test]
fn whoever_is_killed_between_the_pipes_is_named() {
    for victim in 0..3 {
        let mut demo = Running::start(&mut procession(["demo", "relay-pipes"]));
        let pid = numbers(&demo.line("here are make (pid "))[victim];
        send(u32::try_from(pid).unwrap(), Signal::SIGKILL);
        let said = end(demo);
        assert_eq!(said.code(), Some(1), "{said:?}");
        assert!(said.names_as_killed(u32::try_from(pid).unwrap()), "{said:?}");
    }
}

#[test]
fn what_the_list_says_of_killed_workers_is_true() {
    let list = run(["demo"]).stdout;
    let demos: Vec<(&str, bool)> = list
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| (line.split_whitespace().next().unwrap(), line.contains(" * ")))
        .collect();
    assert_eq!(demos[0], ("unkillable", true), "{list}");
    assert!(demos.len() > 38 && demos.iter().filter(|(_, goes_on)| *goes_on).count() == 6, "{list}");
    for (name, goes_on) in demos {
        let path = (name == "word-count").then_some(env!("CARGO_MANIFEST_DIR"));
        let arguments = ["demo", name, "--quick"].into_iter().chain(path);
        let mut demo = Running::start(&mut procession(arguments));
        let victim = until("a worker or the end", || {
            let first = children_of(demo.pid()).into_iter().next();
            first.map(Some).or_else(|| (!demo.is_running()).then_some(None))
        });
        victim.iter().for_each(|&victim| send(victim, Signal::SIGKILL));
        let said = end(demo);
        // It may have done its work before.
        let is_named = !goes_on && said.code() == Some(1) && said.names_as_killed(victim.unwrap_or_default());
        assert!(said.code() == Some(0) || is_named, "{name}: {said:?}");
    }
}
