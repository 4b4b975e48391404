//! The demos: their results, and what becomes of them when somebody kills.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Running, children_of, is_empty, namespace_of, procession, run, runs, send, until};
use nix::sys::signal::Signal;
use procession::Namespace;
use std::collections::BTreeSet;

/// Long enough to be killed in the middle.
const LONG: [&str; 6] = ["demo", "pool-map", "--numbers", "200000", "--workers", "2"];

#[test]
fn process_squares_every_number_in_a_process_of_its_own() {
    let said = run(["demo", "process", "--count", "20", "--quick"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    let field = |line: &str, index: usize| line.split([' ', ',', ':']).nth(index).unwrap().to_owned();
    let lines: Vec<_> = said.stdout.lines().filter(|line| line.starts_with("Process-")).collect();
    assert_eq!(lines.len(), 20, "{said:?}");
    assert_eq!(lines.iter().map(|line| field(line, 3)).collect::<BTreeSet<_>>().len(), 20, "{said:?}");
    assert!(lines[7].starts_with("Process-8, pid ") && lines[7].ends_with(": 7 * 7 = 49"), "{said:?}");
}

#[test]
fn processes_that_sleep_are_all_alive_before_the_first_is_joined() {
    let mut demo = Running::start(&mut procession(["demo", "process", "--count", "300", "--sleep", "1"]));
    demo.line("300 processes are alive at once");
    assert_eq!(children_of(demo.pid()).len(), 300);
    let said = demo.end();
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.ends_with("\n300 squares by 300 processes: all right\n"), "{said:?}");
}

#[test]
fn a_killed_process_of_many_is_started_again() {
    let mut demo = Running::start(&mut procession(["demo", "process", "--count", "3", "--sleep", "2"]));
    demo.line("3 processes are alive at once");
    children_of(demo.pid()).into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
    let said = demo.end();
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.contains(": 2 * 2 = 4\n"), "{said:?}");
}

#[test]
fn queue_drains_ten_powers_in_order() {
    let said = run(["demo", "queue"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    let powers = |kind: &str| -> Vec<u64> {
        let lines = said.stdout.lines().filter_map(|line| line.strip_suffix(kind));
        lines.map(|number| number.trim().parse().unwrap()).collect()
    };
    assert_eq!((powers("(square)"), powers("(cube)")), (vec![0, 1, 4, 9, 16], vec![0, 1, 8, 27, 64]));
    // Both begin at once, and rest after each: those of one come between those of the other.
    let first_of_each = said.stdout.lines().take(9).collect::<Vec<_>>().join("\n");
    assert!(first_of_each.contains("square") && first_of_each.contains("cube"), "{said:?}");
    assert!(!said.stdout.contains(" and 1 change "), "{said:?}");
}

#[test]
fn pipe_counts_and_adds_up_what_was_sent() {
    let said = run(["demo", "pipe", "--quick"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    let lines: Vec<_> = said.stdout.lines().collect();
    for (line, (count, sum)) in lines.iter().zip([(100, 4950), (1000, 499_500), (10_000, 49_995_000_u64)]) {
        assert!(line.starts_with(&format!("{count} integers in ")), "{said:?}");
        assert!(line.ends_with(&format!("; sum {sum}")), "{said:?}");
    }
    assert_eq!(lines[3..], ["count and sum of the reader agree: all right"]);
}

#[test]
fn pipe_says_who_was_killed_and_leaves_nothing() {
    let demo = Running::start(&mut procession(["demo", "pipe"]));
    let pid = demo.pid();
    let reader = until("a reader", || children_of(pid).into_iter().next());
    send(reader, Signal::SIGKILL);
    let said = demo.end();
    // It may have been done before.
    if said.code() != Some(0) {
        assert!(said.stderr.contains(&reader.to_string()), "{said:?}");
    }
    assert_eq!(namespace_of(&[pid].into()), None, "something is left behind: {said:?}");
}

#[test]
fn semaphore_value_goes_down_to_0_and_up_again() {
    let said = run(["demo", "semaphore-value", "--quick"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    let values: Vec<_> = said.stdout.lines().take(5).filter_map(|line| line.split(": ").nth(1)).collect();
    assert_eq!(values, ["2", "1", "0", "1", "2"], "{said:?}");
}

#[test]
fn event_states_are_as_they_must_be() {
    let said = run(["demo", "event-states", "--quick"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    let states: Vec<_> = said.stdout.lines().filter_map(|line| line.split(": ").nth(1)).collect();
    assert_eq!(states, ["not set", "not set", "set", "set", "not set", "not set"], "{said:?}");
}

#[test]
fn rlock_goes_down_and_up() {
    let said = run(["demo", "rlock", "--quick"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    let depths: Vec<_> = said.stdout.lines().take(6).map(str::trim).collect();
    assert_eq!(depths, ["down to 1", "down to 2", "down to 3", "up from 3", "up from 2", "up from 1"]);
    assert!(said.stdout.contains("acquired twice: refused"), "{said:?}");
}

#[test]
fn value_lock_ends_at_exactly_500_under_a_lock() {
    let said = run(["demo", "value-lock", "--quick"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.contains("with a guard: 500\nwith update: 500\n"), "{said:?}");
    // Two that read, think and write at once, 500 times, lose something.
    assert!(said.stdout.starts_with("without a lock: ") && said.stdout.contains(" (off by "), "{said:?}");
}

#[test]
fn pool_map_equals_the_serial_sums() {
    for (workers, shown) in [("1", "for 1 worker\n"), ("3", "for 3 workers\n")] {
        let said = run(["demo", "pool-map", "--quick", "--workers", workers]);
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
        assert!(said.stdout.contains("results identical"), "{said:?}");
        assert!(said.stdout.contains(shown), "{said:?}");
        // Too little work for one.
        assert!(!said.stdout.contains("speed-up"), "{said:?}");
        // The sum of the squares below 1000.
        let callback = said.stdout.lines().find_map(|line| line.strip_prefix("its callback "));
        assert_eq!(callback, Some("332833500"), "{said:?}");
        assert!(
            said.stdout.lines().any(|line| line.starts_with("apply_async ") && line.ends_with(" 332833500"))
        );
    }
}

#[test]
fn a_demo_ignores_the_namespace_of_its_surroundings_and_leaves_nothing() {
    let said = Running::start(
        procession(["demo", "queue", "--quick"]).env("PROCESSION_NAMESPACE", "tests-demo-outer"),
    )
    .end();
    assert_eq!(said.code(), Some(0), "{said:?}");
    assert!(is_empty(&Namespace::new("tests-demo-outer").unwrap()));
}

/// A demo in the middle of its work: with its workers and its namespace.
fn in_the_middle() -> (Running, BTreeSet<u32>, Namespace) {
    let mut running = Running::start(&mut procession(LONG));
    running.line("pool start");
    let workers = children_of(running.pid());
    assert_eq!(workers.len(), 2);
    let everybody = workers.iter().copied().chain([running.pid()]).collect();
    let namespace = namespace_of(&everybody).unwrap();
    (running, workers, namespace)
}

#[test]
fn a_killed_worker_changes_nothing() {
    let mut running =
        Running::start(&mut procession(["demo", "pool-map", "--numbers", "15000", "--workers", "2"]));
    running.line("pool start");
    for _ in 0..3 {
        let workers = children_of(running.pid());
        for &pid in workers.iter().take(1) {
            send(pid, Signal::SIGKILL);
        }
        until("another worker", || {
            let now = children_of(running.pid());
            (now.difference(&workers).count() > 0 || !running.is_running()).then_some(())
        });
    }
    let said = running.end();
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.contains("results identical"), "{said:?}");
}

#[test]
fn a_signal_ends_the_demo_its_workers_and_its_namespace() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let (running, workers, namespace) = in_the_middle();
        running.signal(signal);
        let said = running.end();
        assert_eq!((said.code(), said.stderr.as_str()), (Some(code), ""), "{said:?}");
        assert!(!workers.into_iter().any(runs), "a worker lives on after {signal}");
        assert!(is_empty(&namespace), "{:?}", namespace.list());
    }
}

#[test]
fn ctrl_c_reaches_everybody_at_once_and_ends_as_well() {
    let (running, workers, namespace) = in_the_middle();
    for &pid in &workers {
        send(pid, Signal::SIGINT);
    }
    running.signal(Signal::SIGINT);
    assert_eq!(running.end().code(), Some(130));
    until("the workers to end", || (!workers.iter().copied().any(runs)).then_some(()));
    assert!(is_empty(&namespace), "{:?}", namespace.list());
}

#[test]
fn a_signal_at_any_time_ends_the_demo() {
    for step in 0..8_u32 {
        let mut running = Running::start(&mut procession(LONG));
        // From before there is any worker to after the pool is up.
        until("the demo to get somewhere", || {
            let workers = children_of(running.pid()).len() as u32;
            (workers >= step / 4 || !running.is_running()).then_some(())
        });
        std::thread::yield_now();
        running.signal(Signal::SIGTERM);
        let pid = running.pid();
        let said = running.end();
        // Before the handler is there, the signal does what it always does.
        assert!(matches!(said.code(), Some(143) | None), "{said:?}");
        until("the workers to end", || children_of(pid).is_empty().then_some(()));
        if said.code() == Some(143) {
            assert_eq!(namespace_of(&[pid].into()), None);
        }
    }
}

#[test]
fn a_killed_demo_leaves_no_process_and_gc_removes_the_rest() {
    let (running, workers, namespace) = in_the_middle();
    running.signal(Signal::SIGKILL);
    drop(running.end());
    until("the workers to die", || (!workers.iter().copied().any(runs)).then_some(()));
    let said = run(["gc", "--all"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    assert!(is_empty(&namespace), "{:?}", namespace.list());
}
