//! The command line itself: help, versions, mistakes, exit codes, closed pipes.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{procession, run};
use std::fs::OpenOptions;
use std::process::Stdio;

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

#[test]
fn nobody_reading_is_no_failure() {
    let cases: [&[&str]; 6] = [
        &["--help"],
        &["demo"],
        &["ls", "--all"],
        &["demo", "process", "--quick"],
        &["demo", "queue", "--quick"],
        &["demo", "word-count", "--quick", "Cargo.toml"],
    ];
    for arguments in cases {
        // Nobody will ever read this pipe.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = procession(arguments);
        let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let status = cli::until("the command to end", || child.try_wait().unwrap());
        let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert_eq!(status.code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("panic"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_full_disk_under_stdout_is_a_failure() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = procession(["demo"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8(output.stderr).unwrap().contains("No space left"));
}
