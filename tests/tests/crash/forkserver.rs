//! A forkserver dies, or a copy of it, or their parent, at each step from the request to the function: the start
//! gets through, or is an error in words; nothing waits for ever, and nobody is left.
//!
//! The scenes are played in a process of their own, the `parent`: its environment arms its servers and their
//! copies.

use crate::crash_points;
use nix::sys::signal::Signal;
use procession::{Context, Process, ProcessError, SpawnError, StartMethod, active_children};
use procession_sys::crash::{self, Action};
use procession_tests::{Watchdog, children, forkservers, is_stopped, runs, send, spares, started, until};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

crash_points! {
    preloaded at "forkserver.preloaded": before_any_request;
    ready at "forkserver.ready": before_any_request;
    asked at "forkserver.asked": during_requests;
    copied at "forkserver.copied": during_requests;
    handed at "forkserver.handed": during_requests;
    answered at "forkserver.answered": during_requests;
    born at "process.born": in_the_child;
    told at "process.told": in_the_child;
    made at "spare.made": in_a_spare;
    asked_spare at "spare.asked": in_a_spare;
    answered_spare at "spare.answered": in_a_spare;
}

const ARMED: &str = "PROCESSION_CRASH";
/// The variable that names the file to which each run of the function adds a byte.
const RUNS: &str = "PROCESSION_TEST_RUNS";
/// The variable that names the file which the first server removes.
const FIRST: &str = "PROCESSION_TEST_FIRST";

fn arm(plan: &str) {
    // SAFETY: the caller is a process whose other threads do not look at the environment.
    unsafe { std::env::set_var(ARMED, plan) };
}

fn disarm() {
    // SAFETY: as in `arm`; std reads the environment under a lock of its own.
    unsafe { std::env::remove_var(ARMED) };
}

fn start(method: StartMethod, n: u32) -> Result<Process<u32>, SpawnError> {
    let work = |n: u32| {
        if let Some(runs) = std::env::var_os(RUNS) {
            let runs = fs::OpenOptions::new().append(true).create(true).open(runs);
            runs.unwrap().write_all(b"x").unwrap();
        }
        n + 1
    };
    Process::options().start_method(method).spawn(work, n)
}

/// Plays the scene in a process of its own.
fn play<F: Fn(String) + Copy + 'static>(scene: F, label: &str) {
    let _watchdog = Watchdog::start();
    Process::spawn(scene, label.to_owned()).unwrap().join().unwrap();
}

fn before_any_request(label: &str) {
    play(all_servers_die_first, label);
    the_parent_dies(label, 1);
}

fn during_requests(label: &str) {
    play(a_server_dies_now_and_then, label);
    the_parent_dies(label, 1);
}

fn in_the_child(label: &str) {
    play(every_child_dies, label);
    the_parent_dies(label, 2);
    server_and_copy_die(label);
    the_server_dies_and_its_copy_goes_on(label);
}

fn in_a_spare(label: &str) {
    play(every_spare_dies, label);
    the_parent_dies(label, 1);
    the_server_dies_and_its_spare_goes_on(label);
}

/// Each server that is tried dies before it does anything.
fn all_servers_die_first(label: String) {
    arm(&format!("{label}#1:kill"));
    for _ in 0..2 {
        let error = start(StartMethod::Forkserver, 1).unwrap_err();
        let text = format!("{error:?}");
        assert!(matches!(error, SpawnError::Forkserver { .. }) && text.contains("SIGKILL"), "{text}");
    }
    disarm();
    assert_eq!(start(StartMethod::Forkserver, 1).unwrap().join().unwrap(), 2);
    assert!(active_children().is_empty());
}

/// Every second request is a server's last.
fn a_server_dies_now_and_then(label: String) {
    arm(&format!("{label}#2:kill"));
    for n in 0..8 {
        assert_eq!(start(StartMethod::Forkserver, n).unwrap().join().unwrap(), n + 1);
    }
    assert!(active_children().is_empty());
    // And if each one dies over its first, it is an error, or the process was there already.
    arm(&format!("{label}#1:kill"));
    for n in 0..4 {
        match start(StartMethod::Forkserver, n) {
            Ok(process) => assert_eq!(process.join().unwrap(), n + 1),
            Err(error) => assert!(matches!(error, SpawnError::Forkserver { .. }), "{error}"),
        }
    }
}

/// The first server dies right after it has copied itself, and the copy where it begins: nobody knows of it.
#[test]
fn a_copy_that_dies_with_its_server_before_it_is_known_is_no_zombie() {
    let scene = |flag: String| {
        // SAFETY: this process has no other thread that looks at the environment.
        unsafe { std::env::set_var(FIRST, &flag) };
        let context = Context::new(StartMethod::Forkserver).preload(|| {
            if fs::remove_file(std::env::var_os(FIRST).unwrap()).is_ok() {
                crash::arm("forkserver.copied", 1, Action::Kill);
                crash::arm_beside("process.born", 1, Action::Kill);
            }
        });
        assert_eq!(context.process().spawn(|n: u32| n + 1, 1).unwrap().join().unwrap(), 2);
        assert!(!Path::new(&flag).exists(), "no server was armed");
        let own = std::process::id();
        until("there is one server, and nothing else", || {
            started(own).is_empty() && forkservers(own).len() == 1
        });
    };
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("first");
    fs::write(&flag, "").unwrap();
    play(scene, flag.to_str().unwrap());
}

fn every_child_dies(label: String) {
    // A server passes the label as a child itself.
    for (method, nth) in [(StartMethod::Spawn, 1), (StartMethod::Forkserver, 2)] {
        arm(&format!("{label}#{nth}:kill"));
        for n in 0..3 {
            let error = start(method, n).unwrap().join().unwrap_err();
            assert!(matches!(error, ProcessError::Killed { signal: 9, .. }), "{method}: {error}");
        }
        disarm();
        assert!(active_children().is_empty());
    }
}

/// Who dies before it has answered was no process yet; after it, it is one that was killed.
fn every_spare_dies(label: String) {
    arm(&format!("{label}#1:kill"));
    let own = std::process::id();
    for n in 0..5 {
        match start(StartMethod::Forkserver, n).unwrap().join() {
            Ok(found) => assert_eq!((found, label == "spare.answered" && n > 0), (n + 1, false)),
            Err(error) => {
                assert!(matches!(error, ProcessError::Killed { signal: 9, .. }), "{error}");
                assert!(label == "spare.answered" && n > 0, "{n}: {error}");
            }
        }
        // None is made while a request waits.
        until("there are two, alive or dead", || spares(own).len() + started(own).len() == 2);
    }
    assert!(active_children().is_empty());
}

/// A process whose start of others stops at the `nth` passing of `label`, and those that it has started then, the one
/// that stopped last.
fn stopped(label: &str, nth: u32, go: &Path) -> (Process<Vec<u32>>, Vec<u32>) {
    let parent = |(plan, go): (String, PathBuf)| {
        arm(&plan);
        std::thread::spawn(move || {
            until("the test says so", || go.exists());
            disarm();
            fs::remove_file(go).unwrap();
        });
        // A first one before there is a spare, and others by spares.
        let answers: Vec<_> = (0..3).map(|n| start(StartMethod::Forkserver, n).unwrap().join()).collect();
        // There is a server, or what is left of the first; what died before anybody knew of it is no zombie.
        until("no other process is left", || started(std::process::id()).is_empty());
        answers.into_iter().collect::<Result<Vec<u32>, _>>().unwrap()
    };
    let parent = Process::spawn(parent, (format!("{label}#{nth}:stop"), go.to_owned())).unwrap();
    // A server makes both spares, one right after the other.
    let many = if label == "spare.made" { 2 } else { 1 };
    let mut found = Vec::new();
    until("somebody stopped", || {
        found = children(parent.pid());
        found.iter().filter(|&&pid| is_stopped(pid)).count() == many
    });
    found.sort_by_key(|&pid| is_stopped(pid));
    (parent, found)
}

/// It may be gone already.
fn let_go_on(pid: u32) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), Signal::SIGCONT);
}

/// The parent dies while a server, or its copy, is stopped: they go with it. A copy that is stopped before it
/// has asked the kernel for that goes once it goes on.
fn the_parent_dies(label: &str, nth: u32) {
    let _watchdog = Watchdog::start();
    let folder = tempfile::tempdir().unwrap();
    let (parent, found) = stopped(label, nth, &folder.path().join("go"));
    parent.kill().unwrap();
    // A spare that is stopped is killed after a while, and the parent comes to its end.
    match parent.join() {
        Ok(found) => assert_eq!((label.starts_with("spare."), found), (true, vec![1, 2, 3])),
        Err(error) => assert!(matches!(error, ProcessError::Killed { signal: 9, .. }), "{error}"),
    }
    let has_asked = label.starts_with("forkserver.");
    found.iter().filter(|_| !has_asked).for_each(|&pid| let_go_on(pid));
    until("nobody is left", || !found.iter().any(|&pid| runs(pid)));
}

/// The server dies, and its copy right after its birth: another server makes another one. If the parent knew of
/// the copy, that is the process, and it was killed.
fn server_and_copy_die(label: &str) {
    let _watchdog = Watchdog::start();
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let (parent, found) = stopped(label, 2, &go);
    let (server, copy) = (forkservers(parent.pid())[0], found[found.len() - 1]);
    send(server, Signal::SIGKILL);
    fs::write(&go, "").unwrap();
    until("the next one is let live", || !go.exists());
    send(copy, Signal::SIGKILL);
    // The server may have answered before it was killed: then the parent knows of the copy, too.
    match parent.join() {
        Ok(found) => assert_eq!(found, [1, 2, 3]),
        Err(error) => assert!(error.to_string().contains("was killed by SIGKILL"), "{error}"),
    }
}

/// The server dies while a spare is stopped, which then goes on: what it was asked for is done once, by whomever.
fn the_server_dies_and_its_spare_goes_on(label: &str) {
    the_server_dies_and_another_goes_on(label, 1);
}

/// As with a spare, with a copy that was made for the request.
fn the_server_dies_and_its_copy_goes_on(label: &str) {
    the_server_dies_and_another_goes_on(label, 2);
}

fn the_server_dies_and_another_goes_on(label: &str, nth: u32) {
    let _watchdog = Watchdog::start();
    let folder = tempfile::tempdir().unwrap();
    let (go, runs_file) = (folder.path().join("go"), folder.path().join("runs"));
    // SAFETY: std reads the environment under a lock of its own, and so do the processes that are started.
    unsafe { std::env::set_var(RUNS, &runs_file) };
    let (parent, found) = stopped(label, nth, &go);
    let server = *found.iter().find(|&&pid| !is_stopped(pid)).unwrap();
    send(server, Signal::SIGKILL);
    fs::write(&go, "").unwrap();
    until("the next one is let live", || !go.exists());
    found.iter().for_each(|&pid| let_go_on(pid));
    assert_eq!(parent.join().unwrap(), [1, 2, 3]);
    until("the spare has ended", || !found.iter().any(|&pid| runs(pid)));
    assert_eq!(fs::read_to_string(&runs_file).unwrap(), "xxx");
}
