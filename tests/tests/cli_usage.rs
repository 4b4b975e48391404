//! The command line itself: help, versions, mistakes, exit codes, results that cannot be written.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{procession, run};
use std::fs::OpenOptions;
use std::process::{Command, Stdio};

#[test]
fn version_and_help_are_results() {
    let said = run(["--version"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    assert!(said.stdout.starts_with("procession "), "{said:?}");
    for arguments in
        [&["--help"][..], &["run", "--help"], &["demo", "word-count", "--help"], &["gc", "--help"]]
    {
        let said = run(arguments);
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(said.stdout.contains("Usage:"), "{said:?}");
        assert!(!said.stdout.contains("__"), "the inner commands are nobody's business: {said:?}");
    }
}

#[test]
fn mistakes_are_usage_errors() {
    let mistakes: [&[&str]; 16] = [
        &[],
        &["dance"],
        &["demo", "dance"],
        &["demo", "pool-map", "--workers", "0"],
        &["demo", "pool-map", "--workers", "-1"],
        &["demo", "pool-map", "--workers", "many"],
        &["demo", "pool-map", "--numbers", "0"],
        &["demo", "word-count"],
        &["demo", "word-count", "--workers", "0", "."],
        &["demo", "process", "--count", "0"],
        &["run", "-n", "0", "true"],
        &["run", "true"],
        &["run", "-n", "2"],
        &["-N", "no/slash", "ls"],
        &["-N", "tests", "demo", "process"],
        &["rm"],
    ];
    for arguments in mistakes {
        let said = run(arguments);
        assert_eq!((said.code(), said.stdout.as_str()), (Some(2), ""), "{arguments:?}: {said:?}");
        assert!(!said.stderr.is_empty(), "{arguments:?}");
    }
    let said = run(["demo", "word-count", "--workers", "0", "."]);
    assert!(said.stderr.contains("0 is not in 1.."), "{said:?}");
}

#[test]
fn the_demos_are_listed() {
    let said = run(["demo"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    for demo in ["process", "queue", "pool-map", "word-count"] {
        assert_eq!(said.stdout.lines().filter(|line| line.starts_with(demo)).count(), 1, "{said:?}");
    }
}

#[test]
fn a_namespace_in_the_environment_that_is_none_is_an_error() {
    let said = cli::Running::start(procession(["ls"]).env("PROCESSION_NAMESPACE", "a/b")).end();
    assert_eq!((said.code(), said.stdout.as_str()), (Some(2), ""));
    assert!(said.stderr.contains("a/b"), "{said:?}");
}

/// What has a result, which is written to stdout: help and versions are results too.
const RESULTS: [&[&str]; 15] = [
    &["--help"],
    &["--version"],
    &["run", "--help"],
    &["demo"],
    &["ls", "--all"],
    &["ls", "--json"],
    &["deadlocks", "--json"],
    &["waits"],
    &["metrics"],
    &["top", "--once"],
    &["top", "--json"],
    &["demo", "process", "--quick"],
    &["demo", "queue", "--quick"],
    &["demo", "word-count", "--quick", "Cargo.toml"],
    &["demo", "word-count", "--json", "Cargo.toml"],
];

/// Runs it with this stdout: its code, and what it said on stderr.
fn written_to(stdout: impl Into<Stdio>, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = procession(arguments);
    let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let status = cli::until("the command to end", || child.try_wait().unwrap());
    (status.code(), std::io::read_to_string(child.stderr.take().unwrap()).unwrap())
}

#[test]
fn a_result_that_nobody_reads_is_a_silent_failure_as_by_sigpipe() {
    for arguments in RESULTS {
        // Nobody will ever read this pipe.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, said) = written_to(writer, arguments);
        assert_eq!(code, Some(141), "{arguments:?}: {said}");
        // What is said for people besides the result may be there.
        assert!(!said.contains("panic") && !said.contains("stdout"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let unwritable = || OpenOptions::new().read(true).open("/dev/null").unwrap();
    for arguments in RESULTS {
        let (code, said) = written_to(full(), arguments);
        assert_eq!(code, Some(125), "{arguments:?}: {said}");
        assert!(said.contains("cannot write the result to stdout: No space left"), "{arguments:?}: {said}");
        let (code, said) = written_to(unwritable(), arguments);
        assert_eq!(code, Some(125), "{arguments:?}: {said}");
        assert!(said.contains("to stdout: it is not open for writing"), "{arguments:?}: {said}");
        let mut closed = Command::new("sh");
        closed
            .args(["-c", "exec \"$0\" \"$@\" >&-", env!("CARGO_BIN_EXE_procession-tested")])
            .args(arguments);
        let said = cli::Running::start(&mut closed).end();
        assert_eq!(said.code(), Some(125), "{arguments:?}: {said:?}");
        assert!(said.stderr.contains("to stdout: it is not open for writing"), "{arguments:?}: {said:?}");
    }
    // Where there is nothing to be written, there is nothing to fail.
    assert_eq!(written_to(full(), &["deadlocks"]).0, Some(0));
    assert_eq!(written_to(full(), &["run", "-n", "1", "--", "true"]).0, Some(0));
    // Opened for both, as many programs open what they throw away.
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    assert_eq!(written_to(null, &["ls"]).0, Some(0));
    // A mistake is one even when nobody is told.
    assert_eq!(written_to(full(), &["dance"]).0, Some(2));
    let mut closed = Command::new("sh");
    closed.args(["-c", "exec \"$0\" dance 2>&-", env!("CARGO_BIN_EXE_procession-tested")]);
    assert_eq!(cli::Running::start(&mut closed).end().code(), Some(2));
}
