//! Who ends with whom: a child with its parent, unless it is detached.

use crate::{close_files, end, for_ever, hear, say, status, until};
use procession::{Process, WaitError, parent_process};
use procession_tests::runs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

under_other_methods! {
    grandchildren_die_with_a_killed_child
    a_grandchild_that_closed_all_files_dies_with_a_killed_child_too
    a_detached_grandchild_outlives_a_killed_child
    a_child_that_returns_waits_for_its_own_children
    a_normal_exit_terminates_daemons_and_joins_the_others;
    only by forkserver:
    a_child_outlives_the_thread_that_started_it
}

#[test]
fn a_child_outlives_the_thread_that_started_it() {
    let place = tempfile::tempdir().unwrap();
    let release = place.path().join("release");
    let wait = |release: PathBuf| hear(&release);
    let starter = thread::spawn({
        let release = release.clone();
        move || Process::spawn(wait, release).unwrap()
    });
    let child = starter.join().unwrap();
    assert!(matches!(child.wait_timeout(Duration::from_millis(100)), Err(WaitError::TimedOut { .. })));
    say(&release, "go");
    assert_eq!(end(child).unwrap(), "go");
}

#[test]
fn grandchildren_die_with_a_killed_child() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pids");
    let middle = |file: PathBuf| {
        let children: Vec<_> = (0..3).map(|_| Process::spawn(for_ever::<()>, ()).unwrap()).collect();
        let pids: Vec<String> = children.iter().map(|child| child.pid().to_string()).collect();
        say(&file, pids.join(" "));
        for_ever(children);
    };
    let child = Process::spawn(middle, file.clone()).unwrap();
    let pids: Vec<u32> = hear(&file).split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|&pid| runs(pid)));
    child.kill().unwrap();
    assert_eq!(status(&child).signal(), Some(9));
    until("no orphan runs", || !pids.iter().any(|&pid| runs(pid)));
}

#[test]
fn a_grandchild_that_closed_all_files_dies_with_a_killed_child_too() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pid");
    let grandchild = |file: PathBuf| {
        close_files();
        say(&file, std::process::id());
        for_ever(file);
    };
    let child = Process::spawn(move |file| for_ever(Process::spawn(grandchild, file).unwrap()), file.clone())
        .unwrap();
    let pid: u32 = hear(&file).parse().unwrap();
    assert!(runs(pid) && child.is_alive());
    child.kill().unwrap();
    until("no orphan runs", || !runs(pid));
}

#[test]
fn a_detached_grandchild_outlives_a_killed_child() {
    let place = tempfile::tempdir().unwrap();
    let [up, survived] = ["up", "survived"].map(|name| place.path().join(name));
    let start = |files: (PathBuf, PathBuf)| {
        let survive = |(up, survived): (PathBuf, PathBuf)| {
            say(&up, "");
            parent_process().unwrap().wait().unwrap();
            assert!(!parent_process().unwrap().is_alive());
            say(&survived, std::process::id());
        };
        let child = Process::options().detached().spawn(survive, files).unwrap();
        for_ever(child);
    };
    let child = Process::spawn(start, (up.clone(), survived.clone())).unwrap();
    hear(&up);
    child.kill().unwrap();
    let pid: u32 = hear(&survived).parse().unwrap();
    until("it ends by itself", || !runs(pid));
}

#[test]
fn a_child_that_returns_waits_for_its_own_children() {
    let place = tempfile::tempdir().unwrap();
    let [release, done] = ["release", "done"].map(|name| place.path().join(name));
    let start = |files: (PathBuf, PathBuf)| {
        let work = |(release, done): (PathBuf, PathBuf)| {
            hear(&release);
            say(&done, "");
        };
        drop(Process::spawn(work, files).unwrap());
    };
    let child = Process::spawn(start, (release.clone(), done.clone())).unwrap();
    assert!(matches!(child.wait_timeout(Duration::from_millis(100)), Err(WaitError::TimedOut { .. })));
    say(&release, "");
    end(child).unwrap();
    assert!(done.exists());
}

#[test]
fn a_normal_exit_terminates_daemons_and_joins_the_others() {
    let place = tempfile::tempdir().unwrap();
    let file = |name| place.path().join(name);
    let mut program = Command::new(env!("CARGO_BIN_EXE_leaves_children")).arg(place.path()).spawn().unwrap();
    hear(&file("main-returned"));
    for daemon in ["daemon", "stubborn"] {
        let pid: u32 = hear(&file(daemon)).parse().unwrap();
        until("the daemon is terminated", || !runs(pid));
    }
    assert!(program.try_wait().unwrap().is_none(), "the other child was not waited for");
    assert!(!file("finished").exists());
    say(&file("release"), "");
    assert!(program.wait().unwrap().success());
    assert!(file("finished").exists());
}
