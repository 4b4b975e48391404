//! What shells complete, and the manual: scripts that shells can read, names of objects that are there, pages that a
//! formatter has nothing to say against.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, run};
use procession_tests::skip;
use std::fs;
use std::path::Path;
use std::process::Command;

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];

/// Whether there is such a program here.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[test]
fn scripts_are_printed_and_shells_can_read_them() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, live) in SHELLS.iter().flat_map(|shell| [(shell, false), (shell, true)]) {
        let said = run(["completions", shell].into_iter().chain(live.then_some("--live")));
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(said.stdout.contains("procession"), "{said:?}");
        assert_eq!(said.stdout.contains("PROCESSION_COMPLETE"), live, "{shell}: {said:?}");
        if !["bash", "zsh", "fish"].contains(shell) {
            continue;
        }
        if !is_installed(shell) {
            skip(&format!("{shell} is not installed: it does not read its script"));
            continue;
        }
        let script = folder.path().join(shell);
        fs::write(&script, said.stdout).unwrap();
        let read = Command::new(shell).arg("-n").arg(&script).output().unwrap();
        assert!(read.status.success() && read.stderr.is_empty(), "{shell}: {read:?}");
    }
    assert_eq!(run(["completions", "cmd.exe"]).code(), Some(2));
}

/// What is completed at the end of this command line, as fish asks for it: a name, a tab, and what it is.
fn completed(place: &Place, line: &[&str]) -> Vec<(String, String)> {
    let words = [&["--", "procession"], line].concat();
    let mut command = cli::procession(&words);
    command.env("PROCESSION_COMPLETE", "fish").env("PROCESSION_NAMESPACE", place.0.name());
    let said = Running::start(&mut command).end();
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{line:?}");
    let split = |line: &str| match line.split_once('\t') {
        Some((name, help)) => (name.to_owned(), help.to_owned()),
        None => (line.to_owned(), String::new()),
    };
    said.stdout.lines().map(split).collect()
}

fn names(completed: &[(String, String)]) -> Vec<&str> {
    completed.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn names_of_objects_are_completed_with_who_holds_them() {
    let place = Place::new("completed");
    assert_eq!(names(&completed(&place, &["lock", "release", ""]))[..0], [""; 0], "nothing is there");
    let mut holder =
        Running::start(&mut place.command(&["lock", "deploy", "--", "sh", "-c", "echo held; exec sleep 60"]));
    holder.line("held");
    assert_eq!(place.run(&["queue", "put", "jobs", "a", "b"]).code(), Some(0));

    let locks = completed(&place, &["lock", "de"]);
    assert_eq!(names(&locks), ["deploy"]);
    assert!(
        locks[0].1.contains("lock, held by") && locks[0].1.contains(&holder.pid().to_string()),
        "{locks:?}"
    );
    for line in [&["lock", "run", "dep"][..], &["lock", "release", "d"], &["inspect", "d"], &["rm", "x", "d"]]
    {
        assert_eq!(names(&completed(&place, line)), ["deploy"], "{line:?}");
    }
    assert_eq!(names(&completed(&place, &["queue", "work", "j"])), ["jobs"]);
    assert!(completed(&place, &["queue", "len", "j"])[0].1.contains("2 messages"));
    let mut ids = completed(&place, &["queue", "ack", "jobs", ""]);
    ids.retain(|(word, _)| !word.starts_with('-'));
    assert!(ids.is_empty(), "nothing is leased: {ids:?}");
    let leased = place.run(&["queue", "get", "jobs", "--lease", "60", "--json"]);
    let leased: serde_json::Value = serde_json::from_str(&leased.stdout).unwrap();
    let mut ids = completed(&place, &["queue", "nack", "jobs", ""]);
    ids.retain(|(word, _)| !word.starts_with('-'));
    assert_eq!(names(&ids), [leased["id"].to_string()]);
    assert!(ids[0].1.contains("leased by") && ids[0].1.ends_with("attempt 1"), "{ids:?}");
    assert_eq!(names(&completed(&place, &["with", "lock:"])), ["lock:deploy"]);
    assert_eq!(names(&completed(&place, &["with", "lock:x,lock:"])), ["lock:x,lock:deploy"]);
    assert!(names(&completed(&place, &["wait", ""])).contains(&"queue:jobs"));
    // A subcommand, a program, an option.
    assert!(names(&completed(&place, &["lock", "ac"])).contains(&"acquire"));
    assert!(names(&completed(&place, &["lock", "x", "--", "tru"])).contains(&"true"));
    assert!(names(&completed(&place, &["lock", "--on"])).contains(&"--on-owner-died"));
    // Another namespace, said in the line.
    assert!(completed(&place, &["-N", "tests-cli-nothing", "lock", "dep"]).is_empty());
}

#[test]
fn who_types_is_told_nothing_when_something_is_wrong() {
    let place = Place::new("completed-wrong");
    for (shell, namespace) in [("tcsh", place.0.name()), ("fish", "no/slash")] {
        let mut command = cli::procession(["--", "procession", "lock", "release", "x"]);
        command.env("PROCESSION_COMPLETE", shell).env("PROCESSION_NAMESPACE", namespace);
        let said = Running::start(&mut command).end();
        assert_eq!((said.code(), said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""), "{shell}");
    }
    assert!(cli::is_empty(&place.0), "to complete makes nothing");
}

/// What a formatter may say: a page has a version instead of a date, and clap's generator breaks lines twice.
const ALLOWED: [&str; 3] = ["missing date", "skipping paragraph macro", "STYLE:"];

#[test]
fn the_manual_is_written_and_a_formatter_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("made/man");
    let said = run(["man", "--out", pages.to_str().unwrap()]);
    assert_eq!((said.code(), said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""));
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("procession-lock-run.1").contains("PROCESSION_SHARED"));
    assert!(page("procession-exit-codes.7").contains("not acquired"));
    let recipes = run(["help", "recipes"]);
    assert_eq!(recipes.code(), Some(0));
    for text in [&recipes.stdout, &page("procession-recipes.7").replace("\\-", "-")] {
        assert!(text.contains("procession sem net -c 4 -w 10m -- curl"), "{text}");
    }
    check(&pages);

    let said = run(["man", "--out", "/dev/null/man"]);
    assert_eq!(said.code(), Some(125), "{said:?}");
    assert!(said.stderr.contains("/dev/null/man"), "{said:?}");
}

fn check(pages: &Path) {
    if !is_installed("mandoc") {
        return skip("mandoc is not installed: nobody reads the manual");
    }
    for page in fs::read_dir(pages).unwrap() {
        let read = Command::new("mandoc").args(["-T", "lint"]).arg(page.unwrap().path()).output().unwrap();
        let said = String::from_utf8_lossy(&read.stdout).into_owned();
        let bad: Vec<&str> =
            said.lines().filter(|line| !ALLOWED.iter().any(|allowed| line.contains(allowed))).collect();
        assert!(bad.is_empty(), "{bad:?}");
    }
}
