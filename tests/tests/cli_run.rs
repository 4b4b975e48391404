//! `procession run`: ranks, exit codes, signals, and who dies with whom.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Running, children_of, procession, run, runs, until};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn run_sh(number: u32, script: &str) -> cli::Said {
    run(["run", "-n", &number.to_string(), "--", "sh", "-c", script])
}

#[test]
fn every_worker_knows_its_rank() {
    let said = run_sh(
        3,
        "echo $RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $PROCESSION_RANK $PROCESSION_WORLD_SIZE",
    );
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    let mut lines: Vec<_> = said.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0 3 0 3 0 3", "1 3 1 3 1 3", "2 3 2 3 2 3"]);
}

#[test]
fn arguments_and_namespace_reach_the_command_unchanged() {
    let said = run([
        "-N",
        "tests-run",
        "run",
        "-n",
        "1",
        "sh",
        "-c",
        "echo $PROCESSION_NAMESPACE $0 $1",
        "-n",
        "--",
    ]);
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "tests-run -n --\n"));
}

#[test]
fn options_stand_as_users_of_mpirun_write_them() {
    for words in [
        &["-n2", "echo", "a", "-n3"][..],
        &["-n2", "--", "echo", "a", "-n3"],
        &["--number=2", "echo", "a", "-n3"],
    ] {
        let said = run([&["run"], words].concat());
        // What is behind the command is the command's.
        assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "a -n3\na -n3\n"), "{said:?}");
    }
    for words in [&["-n2", "--nosuch", "--", "true"][..], &["-n2", "-x", "true"], &["-x2", "-n2", "true"]] {
        let said = run([&["run"], words].concat());
        assert!(said.code() == Some(2) && said.stderr.contains("unexpected argument"), "{said:?}");
    }
}

#[test]
fn the_first_failure_is_the_exit_code() {
    // Rank 0 fails when it has seen that rank 1 has: its parent has taken the status then.
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("pid");
    let script = format!(
        "if [ $RANK = 1 ]; then echo $$ > {0}.new; mv {0}.new {0}; exit 7; fi; \
         until [ -e {0} ]; do :; done; while kill -0 $(cat {0}) 2>/dev/null; do :; done; exit 3",
        mark.display()
    );
    let said = run_sh(2, &script);
    assert_eq!((said.code(), said.stderr.lines().count()), (Some(7), 1));
    assert!(said.stderr.starts_with("procession: rank 1 failed first: exit code 7 after "), "{said:?}");
}

#[test]
fn a_worker_that_a_signal_kills_shows_as_128_and_the_signal() {
    assert_eq!(run_sh(2, "kill -9 $$").code(), Some(137));
    assert_eq!(run_sh(2, "[ $RANK = 0 ] || kill -TERM $$").code(), Some(143));
}

#[test]
fn a_command_that_cannot_be_run_is_reported_once() {
    let said = run(["run", "-n", "4", "procession-no-such-command"]);
    assert_eq!((said.code(), said.stderr.lines().count()), (Some(127), 1), "{said:?}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("text");
    fs::write(&file, "text").unwrap();
    let file = file.to_str().unwrap();
    let said = run(["run", "-n", "4", file]);
    assert_eq!((said.code(), said.stderr.lines().count()), (Some(126), 1), "{said:?}");
    // Executable for the mode, but not for the kernel.
    fs::write(file, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    let said = run(["run", "-n", "1", file]);
    assert!(matches!(said.code(), Some(126 | 127)) && said.stderr.contains(file), "{said:?}");
}

/// Starts workers that say READY and then wait; their pids.
fn waiting(number: u32, script: &str) -> (Running, Vec<u32>) {
    let script = format!("{script}; echo READY $$; while :; do :; done");
    let mut running =
        Running::start(&mut procession(["run", "-n", &number.to_string(), "bash", "-c", &script]));
    let pids = (0..number).map(|_| running.line("READY ").trim_start_matches("READY ").parse().unwrap());
    let pids = pids.collect();
    (running, pids)
}

#[test]
fn signals_are_passed_on() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let (running, pids) = waiting(2, ":");
        running.signal(signal);
        assert_eq!(running.end().code(), Some(code));
        assert!(!pids.into_iter().any(runs));
    }
}

#[test]
fn a_worker_may_end_well_after_a_signal() {
    let (running, _) = waiting(2, "trap 'exit 0' TERM");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn workers_die_with_the_command_even_when_it_is_killed() {
    let (running, pids) = waiting(3, "trap '' TERM INT HUP");
    assert_eq!(children_of(running.pid()), pids.iter().copied().collect());
    running.signal(Signal::SIGKILL);
    until("the workers to die", || (!pids.iter().copied().any(runs)).then_some(()));
}
