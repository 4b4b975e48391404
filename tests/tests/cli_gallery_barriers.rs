//! The demos of conditions and barriers: what must hold, from what they print, and what becomes of them when
//! a worker is killed.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;
#[path = "cli/gallery.rs"]
mod gallery;

use cli::{Running, Said, children_of, is_empty, namespace_of, procession, runs, send, until};
use gallery::{end, numbers, plays, start};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;

const DEMOS: [&str; 12] = [
    "clinic",
    "bounded-buffer",
    "topics",
    "work-and-shutdown",
    "barrier",
    "group-photo",
    "barrier-timeout",
    "barrier-states",
    "mismatched-parties",
    "barrier-by-hand",
    "phases",
    "game",
];

/// The numbers in each of the lines that contain this.
fn numbers_of(lines: &[String], marker: &str) -> Vec<Vec<u32>> {
    lines.iter().filter(|line| line.contains(marker)).map(|line| numbers(line)).collect()
}

/// Where the first line is that contains this, and where the last one.
fn places(lines: &[String], marker: &str) -> (usize, usize) {
    let is = |line: &String| line.contains(marker);
    (lines.iter().position(is).unwrap(), lines.iter().rposition(is).unwrap())
}

/// Waits for the line that begins so, and for the one that introduces the worker; the pid of that one.
fn pid_at(line: &str, demo: &mut Running, worker: &str) -> u32 {
    let (mut has_come, mut pid) = (false, None);
    loop {
        let next = demo.line("");
        has_come |= next.starts_with(line);
        if let Some((_, rest)) = next.split_once(&format!("{worker} (pid "))
            && next.starts_with("here ")
        {
            pid = Some(rest.split_once(')').unwrap().0.parse().unwrap());
        }
        if let (true, Some(pid)) = (has_come, pid) {
            return pid;
        }
    }
}

#[test]
fn clinic_gives_each_patient_another_appointment() {
    let lines = plays("clinic");
    let comings = numbers_of(&lines, " comes at ");
    let patients: BTreeSet<u32> = comings.iter().map(|numbers| numbers[0]).collect();
    let times: BTreeSet<&[u32]> = comings.iter().map(|numbers| &numbers[1..]).collect();
    assert_eq!(patients, [1, 2, 3].into(), "{lines:?}");
    assert_eq!(times, [&[9, 0][..], &[9, 30], &[10, 0]].into(), "{lines:?}");
    assert!(places(&lines, " waits").1 < places(&lines, " comes at ").0, "{lines:?}");
}

#[test]
fn bounded_buffer_never_stores_more_than_five_and_loses_nothing() {
    let lines = plays("bounded-buffer");
    // The lines are in the order of what happened: the buffer is played again.
    let mut stored = Vec::new();
    let mut taken = Vec::new();
    for line in lines.iter().filter(|line| line.ends_with(" of 5 stored")) {
        let [_, item, count, _] = numbers(line)[..] else { panic!("{line}") };
        if line.contains("puts") {
            stored.push(item);
        } else {
            assert_eq!(stored.remove(0), item, "{lines:?}");
            taken.push(item);
        }
        assert_eq!(stored.len() as u32, count, "{lines:?}");
        assert!(count <= 5, "{lines:?}");
    }
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..10), "{lines:?}");
}

#[test]
fn topics_are_all_seen_by_the_consumer_after_they_were_written() {
    let lines = plays("topics");
    let of = |who: &str| -> Vec<&str> { lines.iter().filter_map(|line| line.strip_prefix(who)).collect() };
    assert_eq!(of("consumer: ").len(), 6, "{lines:?}");
    assert_eq!(of("consumer: "), of("generator: "), "{lines:?}");
}

#[test]
fn work_and_shutdown_does_every_task_once_and_both_workers_leave() {
    let lines = plays("work-and-shutdown");
    let mut done: Vec<u32> = numbers_of(&lines, " has done task ").iter().map(|numbers| numbers[1]).collect();
    done.sort_unstable();
    assert!(done.into_iter().eq(1..=10), "{lines:?}");
    let left: BTreeSet<_> = numbers_of(&lines, " leaves").into_iter().flatten().collect();
    assert_eq!(left, [1, 2].into(), "{lines:?}");
}

#[test]
fn barrier_lets_nobody_pass_before_all_have_arrived() {
    let lines = plays("barrier");
    for round in ["round 1", "round 2"] {
        let of = |what: &str| -> Vec<usize> {
            let is = |line: &str| line.contains(what) && line.contains(round);
            lines.iter().enumerate().filter(|(_, line)| is(line)).map(|(place, _)| place).collect()
        };
        let (arrivals, passages) = (of("arrives"), of("passes"));
        assert_eq!((arrivals.len(), passages.len()), (3, 3), "{lines:?}");
        assert!(arrivals[2] < passages[0], "{lines:?}");
        assert!(passages.iter().all(|&place| lines[place].ends_with(": 3 had arrived")), "{lines:?}");
        let indexes: BTreeSet<u32> = passages.iter().map(|&place| numbers(&lines[place])[2]).collect();
        assert_eq!(indexes, [0, 1, 2].into(), "{lines:?}");
    }
}

#[test]
fn group_photo_has_exactly_one_with_index_0_who_sets_up() {
    let lines = plays("group-photo");
    let indexes = numbers_of(&lines, " has index ");
    let all: BTreeSet<u32> = indexes.iter().map(|numbers| numbers[1]).collect();
    assert_eq!((indexes.len(), all), (4, [0, 1, 2, 3].into()), "{lines:?}");
    let first = indexes.iter().find(|numbers| numbers[1] == 0).unwrap()[0];
    assert_eq!(numbers_of(&lines, " sets up the camera"), [[first]], "{lines:?}");
    let smiles = places(&lines, " smiles into 1 camera");
    assert!(places(&lines, " sets up the camera").1 < smiles.0, "{lines:?}");
    assert_eq!(numbers_of(&lines, " smiles into 1 camera").len(), 4, "{lines:?}");
}

#[test]
fn barrier_timeout_is_seen_by_all_and_healed_by_reset() {
    let lines = plays("barrier-timeout");
    let workers = |marker: &str| -> BTreeSet<u32> {
        numbers_of(&lines, marker).iter().map(|numbers| numbers[0]).collect()
    };
    assert_eq!(workers("reset() makes it whole"), [1, 2, 3].into(), "{lines:?}");
    assert_eq!(workers(" passes"), [1, 2, 3].into(), "{lines:?}");
    let reset = places(&lines, "the barrier is reset");
    assert!(places(&lines, "reset() makes it whole").1 < reset.0, "{lines:?}");
    assert!(reset.1 < places(&lines, " passes").0, "{lines:?}");
}

#[test]
fn barrier_states_are_as_they_must_be() {
    let lines = plays("barrier-states");
    let (mut states, mut ends) = (Vec::new(), Vec::new());
    for line in &lines {
        if let Some((step, state)) = line.split_once(": parties 3, waiting ") {
            states.push((step, state));
        } else if let Some(end) = line.strip_prefix("  a worker") {
            ends.push(end);
        }
    }
    let expected = [
        ("at first", "0, broken no"),
        ("worker 1 waits", "1, broken no"),
        ("worker 2 waits", "2, broken no"),
        ("reset", "0, broken no"),
        ("worker 1 waits", "1, broken no"),
        ("worker 2 waits", "2, broken no"),
        ("aborted", "0, broken Aborted"),
        ("all were told", "0, broken Aborted"),
        ("reset again", "0, broken no"),
        ("worker 1 waits", "1, broken no"),
        ("worker 2 waits", "2, broken no"),
        ("three have passed", "0, broken no"),
    ];
    assert_eq!(states, expected);
    let count = |what: &str| ends.iter().filter(|end| end.contains(what)).count();
    assert_eq!(
        (count("called reset()"), count("called abort()"), count("passes with index")),
        (2, 3, 3),
        "{lines:?}"
    );
}

#[test]
fn mismatched_parties_are_reported_to_both() {
    let lines = plays("mismatched-parties");
    let told = numbers_of(&lines, "not all 3 came in time").len()
        + numbers_of(&lines, "broken, another has waited in vain").len();
    assert_eq!(told, 2, "{lines:?}");
    assert!(!numbers_of(&lines, "not all 3 came in time").is_empty(), "{lines:?}");
}

#[test]
fn barrier_by_hand_keeps_all_in_the_same_round() {
    let lines = plays("barrier-by-hand");
    let steps = numbers_of(&lines, "the rounds of all are");
    assert_eq!(steps.len(), 30, "{lines:?}");
    for (step, place) in steps.iter().zip(0..) {
        let round = place / 3 + 1;
        assert_eq!(step[1..], [round; 4], "{lines:?}");
    }
}

#[test]
fn phases_run_each_action_once_in_either_way() {
    let lines = plays("phases");
    let actions: Vec<(&str, u32)> = lines
        .iter()
        .filter_map(|line| Some((line.split_once(" has ended")?.0, *numbers(line).last()?)))
        .collect();
    let way = [("loading", 0), ("processing", 0), ("aggregation", 300), ("cleanup", 300)];
    assert_eq!(actions, [way, way].concat(), "{lines:?}");
    // The one to which the barrier said 0, in either way.
    assert_eq!(
        lines.iter().filter(|line| line.ends_with(" has index 0, and aggregates")).count(),
        2,
        "{lines:?}"
    );
}

#[test]
fn game_has_five_rounds_and_the_scores_add_up() {
    let lines = plays("game");
    let mut scores: BTreeMap<&str, u32> = BTreeMap::new();
    let rolls: Vec<_> = lines.iter().filter(|line| line.contains(" rolls ")).collect();
    assert_eq!(rolls.len(), 20, "{lines:?}");
    for (line, place) in rolls.into_iter().zip(0..) {
        let [round, roll, score] = numbers(line)[..] else { panic!("{line}") };
        assert_eq!(round, place / 4 + 1, "somebody is in another round: {lines:?}");
        assert!((1..=6).contains(&roll), "{line}");
        let name = line.split(' ').nth(2).unwrap();
        let sum = scores.entry(name).or_default();
        *sum += roll;
        assert_eq!(*sum, score, "{lines:?}");
    }
    assert!(
        lines.iter().map(String::as_str).skip_while(|line| *line != "3").take(4).eq(["3", "2", "1", "go!"])
    );
    let after: Vec<_> = lines.iter().filter(|line| line.starts_with("after round ")).collect();
    assert_eq!(after.len(), 5, "{lines:?}");
    for (name, score) in &scores {
        assert!(after[4].contains(&format!("{name} {score}")), "{lines:?}");
    }
    let best = *scores.values().max().unwrap();
    let over = lines.iter().find(|line| line.starts_with("game over: ")).unwrap();
    assert!(over.ends_with(&format!(" with {best}")), "{lines:?}");
    for (name, &score) in &scores {
        assert_eq!(over.contains(name), score == best, "{lines:?}");
    }
}

#[test]
fn a_killed_producer_or_consumer_is_replaced() {
    for (worker, does) in [("producer-2", "producer 2: puts"), ("consumer-1", "consumer 1: takes")] {
        let mut demo = start("bounded-buffer");
        let pid = pid_at(does, &mut demo, worker);
        send(pid, Signal::SIGKILL);
        let said = end(demo);
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
        assert!(said.names_as_killed(pid) && said.stdout.contains(worker), "{said:?}");
        assert!(said.stdout.contains("10 items, each taken once, at most "), "{said:?}");
    }
}

/// Runs the demo, and kills the worker when this line has come; what is said of that, and the worker's pid.
fn killed(demo: &str, worker: &str, line: &str) -> (Said, u32) {
    let mut demo = start(demo);
    let pid = pid_at(line, &mut demo, worker);
    send(pid, Signal::SIGKILL);
    let said = end(demo);
    assert_eq!(said.code(), Some(1), "{said:?}");
    assert!(said.names_as_killed(pid) && said.stderr.contains(worker), "{said:?}");
    assert!(!said.stdout.contains("all right"), "{said:?}");
    (said, pid)
}

#[test]
fn a_worker_killed_at_its_task_is_named() {
    killed("work-and-shutdown", "worker-1", "worker 1 takes");
}

#[test]
fn a_killed_member_is_told_to_the_others_at_the_barrier() {
    for line in ["worker 2 works", "worker 2 arrives"] {
        let (said, pid) = killed("barrier", "worker-2", line);
        let told = format!("failed: an unnamed barrier is broken: one of its members died (pid {pid})");
        assert!(said.stderr.contains(&told), "{said:?}");
    }
}

#[test]
fn a_killed_player_ends_the_game_and_is_told_to_the_others() {
    let (said, pid) = killed("game", "Bob", "round 2: ");
    let told = format!("failed: an unnamed barrier is broken: one of its members died (pid {pid})");
    assert!(said.stderr.contains(&told), "{said:?}");
    killed("game", "announcer", "round 2: ");
}

#[test]
fn no_demo_hangs_when_one_of_its_workers_is_killed() {
    for youngest in [false, true] {
        let mut demos = DEMOS.map(|demo| (demo, start(demo)));
        let victims = demos.each_mut().map(|(_, demo)| {
            until("a worker", || {
                let workers = children_of(demo.pid());
                let chosen = if youngest { workers.last() } else { workers.first() };
                chosen.copied().map(Some).or_else(|| (!demo.is_running()).then_some(None))
            })
        });
        for &victim in victims.iter().flatten() {
            send(victim, Signal::SIGKILL);
        }
        for ((name, demo), victim) in demos.into_iter().zip(victims) {
            let said = end(demo);
            if said.code() == Some(0) {
                continue; // It was over already, or goes on without the dead.
            }
            assert_eq!(said.code(), Some(1), "{name}: {said:?}");
            assert!(said.names_as_killed(victim.unwrap_or_default()), "{name}: {said:?}");
        }
    }
}

#[test]
fn ctrl_c_leaves_nothing_and_no_orphan() {
    for demo in ["bounded-buffer", "topics", "work-and-shutdown", "barrier", "barrier-by-hand", "game"] {
        for by_terminal in [false, true] {
            // In a process group of its own, as a terminal's jobs are.
            let running = Running::start(procession(["demo", demo]).process_group(0));
            let workers = until("two workers", || {
                Some(children_of(running.pid())).filter(|workers| workers.len() >= 2)
            });
            let everybody = workers.iter().copied().chain([running.pid()]).collect();
            let namespace = namespace_of(&everybody).unwrap();
            if by_terminal {
                killpg(Pid::from_raw(running.pid().cast_signed()), Signal::SIGINT).unwrap();
            } else {
                running.signal(Signal::SIGINT);
            }
            let pid = running.pid();
            let said = end(running);
            assert_eq!((said.code(), said.stderr.as_str()), (Some(130), ""), "{demo}: {said:?}");
            until("the workers to end", || {
                (!workers.iter().copied().any(runs) && children_of(pid).is_empty()).then_some(())
            });
            assert!(is_empty(&namespace), "{demo}: {:?}", namespace.list());
        }
    }
}
