//! The gallery's demos of locks, semaphores and events: what they must show, and that they end whoever is
//! killed.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Running, Said, children_of, is_empty, namespace_of, procession, run, runs, send, until};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use procession::Namespace;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::ChildStdin;
use std::thread;

const DEMOS: [&str; 11] = [
    "downloads",
    "bounded-semaphore",
    "mutex-vs-semaphore",
    "chained-semaphores",
    "lock-order",
    "race-start",
    "relay",
    "ask-user",
    "orchestrator",
    "race-counter",
    "deposits",
];

/// Demos that take a while; a line that is printed when all of the workers are there; and how many they are.
const LONG: [(&[&str], &str, usize); 7] = [
    (&["downloads"], "here are download-1 ", 3),
    (&["deposits", "--times", "1000000000"], "here are add_profit ", 2),
    (&["race-counter", "--times", "1000000000"], "here are counter-1 ", 2),
    (&["lock-order"], "here are left-first ", 2),
    (&["race-start"], "here are runner-1 ", 5),
    (&["relay"], "here are C ", 3),
    (&["orchestrator"], "here are database ", 3),
];

/// What the demo prints when all goes well.
fn shown(demo: &str) -> String {
    let said = run(["demo", demo, "--quick"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.trim_end().ends_with("all right"), "{said:?}");
    said.stdout
}

/// The number before this word, in each line that has one.
fn numbers_before(stdout: &str, word: &str) -> Vec<u32> {
    let before = stdout.lines().filter_map(|line| line.split_once(word)).map(|(before, _)| before);
    before.filter_map(|before| before.rsplit(' ').next()?.parse().ok()).collect()
}

#[test]
fn downloads_are_never_more_than_three() {
    let stdout = shown("downloads");
    let inside = numbers_before(&stdout, " inside");
    // Ten of them as they begin, and the greatest at the end.
    assert_eq!(inside.len(), 11, "{stdout}");
    assert!(inside.iter().all(|now| (1..=3).contains(now)), "{stdout}");
    assert_eq!(inside.last(), inside.iter().max(), "{stdout}");
    assert_eq!(stdout.lines().filter(|line| line.ends_with("is done")).count(), 10, "{stdout}");
    assert!(stdout.lines().filter(|line| line.ends_with(" waits")).count() <= 7, "{stdout}");
}

#[test]
fn bounded_semaphore_refuses_what_the_plain_one_allows() {
    let stdout = shown("bounded-semaphore");
    let answer = "bounded semaphore of 2, released once too often: refused, released too often: an unnamed bounded semaphore has 2";
    assert!(stdout.contains(answer), "{stdout}");
    assert!(stdout.contains("plain semaphore of 2, released once too often: allowed"), "{stdout}");
    assert_eq!(numbers_before(&stdout, " permits"), [2, 2, 3], "{stdout}");
}

#[test]
fn mutex_vs_semaphore_shows_who_may_release() {
    let stdout = shown("mutex-vs-semaphore");
    for line in [
        "lock, acquire by another process: refused, lock \"mutex\"",
        "lock, recover by another process: refused, ",
        "lock, release by its holder: allowed",
        "semaphore, release by another process: allowed, and acquired again",
    ] {
        assert!(stdout.lines().any(|shown| shown.starts_with(line)), "no {line:?} in {stdout}");
    }
}

#[test]
fn chained_semaphores_make_water() {
    let stdout = shown("chained-semaphores");
    let molecules = stdout.lines().filter_map(|line| line.strip_prefix("molecule "));
    let sorted = |molecule: &str| {
        let mut atoms: Vec<_> = molecule.chars().collect();
        atoms.sort_unstable();
        atoms.into_iter().collect::<String>()
    };
    assert_eq!(molecules.map(sorted).collect::<Vec<_>>(), ["HHO"; 30], "{stdout}");
    assert_eq!(numbers_before(&stdout, " molecules made drop"), [10; 3], "{stdout}");
}

#[test]
fn lock_order_tells_who_holds_what() {
    let stdout = shown("lock-order");
    assert!(stdout.contains("same order: both locks acquired 2000 times"), "{stdout}");
    let report = stdout.lines().find(|line| line.starts_with("opposite order: timed out")).unwrap();
    let pids: BTreeSet<u32> =
        report.split("(pid ").filter_map(|part| part.split(')').next()?.parse().ok()).collect();
    assert_eq!(pids.len(), 2, "{stdout}");
    assert!(report.contains("holds \"left\" and waits for \"right\", which right-first (pid "), "{stdout}");
}

#[test]
fn race_start_begins_with_the_gun() {
    let stdout = shown("race-start");
    let calls = ["ready", "set", "go!"].map(|call| stdout.lines().position(|line| line == call).unwrap());
    let first = stdout.lines().position(|line| line.ends_with(" runs")).unwrap();
    assert!(calls.is_sorted() && calls[2] < first, "{stdout}");
    assert_eq!(stdout.lines().filter(|line| line.ends_with(" has finished")).count(), 6, "{stdout}");
    let rows: Vec<(&str, Vec<f64>)> = stdout
        .lines()
        .skip_while(|line| !line.starts_with("RUNNER"))
        .filter(|line| line.starts_with("runner-") || line.starts_with("late "))
        .map(|row| row.split_whitespace())
        .map(|mut row| (row.next().unwrap(), row.map(|time| time.parse().unwrap()).collect()))
        .collect();
    assert_eq!(rows.len(), 6, "{stdout}");
    for (name, times) in &rows {
        let [came, started, finished] = times.as_slice() else { panic!("{stdout}") };
        assert!(*started >= 0.0 && came <= started && started < finished, "{stdout}");
        assert_eq!(*came > 0.0, *name == "late", "{stdout}");
    }
    assert!(rows.is_sorted_by(|(_, a), (_, b)| a[2] <= b[2]), "not by finish: {stdout}");
}

#[test]
fn relay_goes_from_a_to_b_to_c() {
    let stdout = shown("relay");
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[1..4], ["A fetched 21", "B made 42 of it", "C saved 42"], "{stdout}");
}

#[test]
fn orchestrator_goes_through_its_states_in_order() {
    let stdout = shown("orchestrator");
    let at =
        |line: &str| stdout.lines().position(|shown| shown == line).unwrap_or_else(|| panic!("{stdout}"));
    let system =
        ["Initializing", "Ready", "Processing", "Error", "Shutdown"].map(|it| format!("system: {it}"));
    assert!(system.iter().map(|line| at(line)).is_sorted(), "{stdout}");
    for name in ["database", "cache", "web"] {
        let order = [
            at(&format!("{name}: Initializing")),
            at(&format!("{name}: Ready")),
            at("system: Ready"),
            at(&format!("{name}: Processing")),
            at("system: Shutdown"),
            at(&format!("{name}: Shutdown")),
        ];
        assert!(order.is_sorted(), "{name}: {stdout}");
    }
    assert!(at("cache: Error") < at("system: Error"), "{stdout}");
    let count = |work: &str| stdout.lines().filter(|line| line.starts_with(work)).count();
    assert_eq!((count("database: reads page "), count("web: a visitor reads ")), (3, 5), "{stdout}");
}

#[test]
fn race_counter_is_exact_under_the_lock() {
    let stdout = shown("race-counter");
    assert!(stdout.contains("\nlocked: 200000 of 200000\n"), "{stdout}");
    let unlocked = numbers_before(&stdout, " of 200000, ")[0];
    // The two meet in the middle of an increment, wherever they run.
    assert!(unlocked < 200_000, "{stdout}");
    assert_eq!(numbers_before(&stdout, " lost")[0], 200_000 - unlocked, "{stdout}");
}

#[test]
fn deposits_leave_the_balance_unchanged_under_the_lock() {
    let stdout = shown("deposits");
    assert!(stdout.contains("balance at first: 1000\n"), "{stdout}");
    assert!(stdout.contains("\nunder one lock: 1000\n"), "{stdout}");
    assert!(stdout.contains("\nwithout a lock: ") && !stdout.contains("(off by 0)"), "{stdout}");
}

/// A demo whose workers are there, and its namespace.
struct Started {
    demo: Running,
    workers: BTreeSet<u32>,
    namespace: Namespace,
}

impl Started {
    /// Waits for a line that begins so, and for the workers.
    fn new(arguments: &[&str], line: &str, workers: usize) -> Self {
        let mut command = procession([&["demo"], arguments].concat());
        Self::of(Running::start(command.process_group(0)), line, workers)
    }

    fn of(mut demo: Running, line: &str, workers: usize) -> Self {
        demo.line(line);
        let workers = until("all workers", || {
            let now = children_of(demo.pid());
            (now.len() >= workers).then_some(now)
        });
        let everybody = workers.iter().copied().chain([demo.pid()]).collect();
        let namespace = until("the namespace", || namespace_of(&everybody));
        Self { demo, workers, namespace }
    }

    /// What the demo said in the end; that nothing of it is left.
    fn end(self) -> Said {
        let said = self.demo.end();
        assert!(!self.workers.iter().copied().any(runs), "a worker lives on: {said:?}");
        assert!(is_empty(&self.namespace), "{:?} after {said:?}", self.namespace.list());
        said
    }

    /// Kills the worker; the demo must say so, and end.
    fn kill(self, worker: u32) {
        send(worker, Signal::SIGKILL);
        let said = self.end();
        assert_eq!(said.code(), Some(1), "{said:?}");
        assert!(said.names_as_killed(worker), "{said:?}");
        assert!(!said.stdout.contains("all right"), "{said:?}");
    }
}

/// One kill after the other takes long, since each demo waits for the aftermath.
fn kill_each(arguments: &[&str], line: &str, workers: usize) {
    thread::scope(|scope| {
        for victim in 0..workers.min(3) {
            scope.spawn(move || {
                let started = Started::new(arguments, line, workers);
                let worker = *started.workers.iter().nth(victim).unwrap();
                started.kill(worker);
            });
        }
    });
}

#[test]
fn a_demo_says_which_of_its_workers_was_killed() {
    for (arguments, line, workers) in LONG {
        kill_each(arguments, line, workers);
    }
}

#[test]
fn a_component_that_is_killed_while_all_process_does_not_stop_the_demo() {
    kill_each(&["orchestrator"], "system: Processing", 3);
}

#[test]
fn whoever_is_killed_while_booking_under_the_lock_is_named() {
    kill_each(&["deposits", "--times", "1000000"], "without a lock: ", 2);
}

/// Kills the first worker of the demo that shows; `None` if all was over before one was seen.
fn killed_at_once(demo: &str) -> Option<()> {
    let mut running = Running::start(&mut procession(["demo", demo, "--quick"]));
    let worker = until("a worker or the end", || {
        let first = children_of(running.pid()).into_iter().next();
        first.map(Some).or_else(|| (!running.is_running()).then_some(None))
    })?;
    send(worker, Signal::SIGKILL);
    let said = running.end();
    // It may have returned its result before.
    let is_named = said.names_as_killed(worker);
    assert!(said.code() == Some(0) || said.code() == Some(1) && is_named, "{demo}: {said:?}");
    Some(())
}

#[test]
fn a_kill_as_soon_as_there_is_somebody_to_kill_stops_no_demo() {
    for demo in DEMOS {
        until("a worker that can be killed", || killed_at_once(demo));
    }
}

#[test]
fn ctrl_c_ends_a_demo_and_all_its_workers() {
    for (arguments, line, workers) in LONG {
        let started = Started::new(arguments, line, workers);
        // As a terminal does it: to all of them.
        killpg(Pid::from_raw(started.demo.pid().cast_signed()), Signal::SIGINT).unwrap();
        let said = started.end();
        assert_eq!((said.code(), said.stderr.as_str()), (Some(130), ""), "{arguments:?}: {said:?}");
    }
}

/// `ask-user`, with somebody at the keyboard.
fn ask_user() -> (Started, ChildStdin) {
    let mut command = procession(["demo", "ask-user"]);
    let (demo, stdin) = Running::start_with_stdin(command.process_group(0));
    (Started::of(demo, "a process is waiting", 1), stdin)
}

#[test]
fn ask_user_wakes_the_process_at_y() {
    let (mut asked, mut user) = ask_user();
    user.write_all(b"maybe\n").unwrap();
    asked.demo.line("y or n?");
    assert!(asked.workers.iter().copied().all(runs));
    user.write_all(b"y\n").unwrap();
    let said = asked.end();
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    assert!(said.stdout.ends_with("the waiting process woke: all right\n"), "{said:?}");
    assert!(shown("ask-user").contains("y or n?"));
}

#[test]
fn ask_user_ends_at_n_and_at_the_end_of_the_input() {
    for (typed, reply) in [("n\n", "you said no: "), ("", "nobody is there to answer: ")] {
        let (asked, mut user) = ask_user();
        user.write_all(typed.as_bytes()).unwrap();
        drop(user);
        let said = asked.end();
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
        assert!(said.stdout.lines().any(|line| line.starts_with(reply)), "{said:?}");
        assert!(!said.stdout.contains("woke"), "{said:?}");
    }
}

#[test]
fn ask_user_does_not_wait_for_an_answer_that_nobody_needs_any_more() {
    let (asked, user) = ask_user();
    let worker = *asked.workers.first().unwrap();
    asked.kill(worker);
    drop(user);

    let (asked, user) = ask_user();
    killpg(Pid::from_raw(asked.demo.pid().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(asked.end().code(), Some(130));
    drop(user);
}
