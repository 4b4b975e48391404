//! What a child finds: signals, files, environment, descriptors.

use crate::{end, for_ever, status};
use procession::{Process, active_children, pipe, take_inherited};
use procession_tests::runs;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

under_other_methods! {
    a_child_starts_clean
    a_child_keeps_only_those_ignored_signals_that_nohup_and_scripts_rely_on
    the_environment_is_ours_and_the_builders;
    only by forkserver:
    descriptors_are_inherited_in_order_and_by_nobody_else
    a_child_has_open_what_it_was_given_and_no_more
}

#[test]
fn a_child_starts_clean() {
    let look = |()| {
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input).unwrap();
        let stdin = fs::read_link("/proc/self/fd/0").unwrap();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap().to_owned();
        (input.len(), stdin, std::env::var_os("PROCESSION_CHILD").is_none(), blocked)
    };
    let mut blocked = nix::sys::signal::SigSet::empty();
    blocked.add(nix::sys::signal::Signal::SIGUSR1);
    blocked.thread_block().unwrap();
    let child = Process::spawn(look, ()).unwrap();
    assert_eq!(end(child).unwrap(), (0, PathBuf::from("/dev/null"), true, "0000000000000000".to_owned()));
}

/// A line of `/proc/self/status`: a set of signals.
fn signals(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

#[test]
fn a_child_keeps_only_those_ignored_signals_that_nohup_and_scripts_rely_on() {
    extern "C" fn nothing(_: libc::c_int) {}
    let bit = |signal: i32| 1_u64 << (signal - 1);
    let look = |()| ["SigIgn", "SigCgt"].map(signals);
    let plain = end(Process::spawn(look, ()).unwrap()).unwrap();
    let in_a_process_of_its_own = |()| {
        for ignored in
            [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGCHLD, libc::SIGUSR1, libc::SIGTERM]
        {
            // SAFETY: ignoring a signal runs no code of ours.
            unsafe { libc::signal(ignored, libc::SIG_IGN) };
        }
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR2, nothing as *const () as libc::sighandler_t) };
        Process::spawn(|()| ["SigIgn", "SigCgt"].map(signals), ()).unwrap().join().unwrap()
    };
    let child = end(Process::spawn(in_a_process_of_its_own, ()).unwrap()).unwrap();
    let kept = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT].map(bit).iter().sum::<u64>();
    assert_eq!(child[0], plain[0] | kept, "ignored");
    assert_eq!(child[1], plain[1] & !kept, "caught");
}

/// What this process has open, without the numbers in it, and what another program has open that it executes.
fn open_files() -> (Vec<String>, Vec<String>) {
    let targets = |directory: fs::ReadDir| {
        let targets = directory.map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default());
        let named =
            |path: PathBuf| path.display().to_string().replace(|one: char| one.is_ascii_hexdigit(), "");
        let mut all: Vec<String> = targets.map(named).collect();
        all.sort();
        all
    };
    let own = targets(fs::read_dir("/proc/self/fd").unwrap());
    let program = Command::new("sh").args(["-c", "ls /proc/$$/fd"]).output().unwrap();
    let numbers = String::from_utf8(program.stdout).unwrap();
    (own, numbers.lines().filter(|fd| fd.parse().is_ok_and(|fd: u32| fd < 255)).map(str::to_owned).collect())
}

#[test]
fn a_child_has_open_what_it_was_given_and_no_more() {
    // Whatever the harness leaves open to this program goes on to all.
    let before = end(Process::spawn(|()| open_files(), ()).unwrap()).unwrap();
    let mut pool = procession::Pool::new(2).unwrap();
    pool.map(|n: u32| n, 0..3).unwrap();
    let (sender, receiver) = pipe::<u32>().unwrap();
    let queue = procession::Queue::<u32>::new().unwrap();
    queue.put(&1).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let other = Process::options().inherit(Arc::new(writer.into())).spawn(for_ever::<()>, ()).unwrap();
    let after = end(Process::spawn(|()| open_files(), ()).unwrap()).unwrap();
    assert_eq!(after, before);
    // The one that was given a pipe does not hand it on either.
    let given = Process::options().inherit(Arc::new(reader.into()));
    let (own, handed_on) = end(given.spawn(|()| open_files(), ()).unwrap()).unwrap();
    assert_eq!((own.len(), handed_on), (before.0.len() + 1, before.1));
    other.kill().unwrap();
    status(&other);
    pool.close();
    pool.join().unwrap();
    drop((receiver, sender));
}

#[test]
fn the_environment_is_ours_and_the_builders() {
    let look = |()| ["PATH", "PROCESSION_TEST"].map(|name| std::env::var(name).ok());
    let child =
        Process::options().env("PROCESSION_TEST", "1").env("PROCESSION_TEST", "2").spawn(look, ()).unwrap();
    assert_eq!(end(child).unwrap(), [std::env::var("PATH").ok(), Some("2".to_owned())]);
}

#[test]
fn descriptors_are_inherited_in_order_and_by_nobody_else() {
    let (mut first, for_first) = std::io::pipe().unwrap();
    let (mut second, for_second) = std::io::pipe().unwrap();
    let write = |()| {
        let take = |index| take_inherited(index).map(fs::File::from);
        let (mut one, mut two) = (take(0).unwrap(), take(1).unwrap());
        assert!(take(0).is_none() && take(2).is_none());
        // If this one had the pipes too, the reader would wait for it.
        Process::options().detached().spawn(for_ever::<()>, ()).unwrap();
        one.write_all(b"first").unwrap();
        two.write_all(b"second").unwrap();
        active_children()[0].pid()
    };
    let builder = Process::options().inherit(Arc::new(for_first.into())).inherit(Arc::new(for_second.into()));
    let child = builder.spawn(write, ()).unwrap();
    let mut said = String::new();
    first.read_to_string(&mut said).unwrap();
    second.read_to_string(&mut said).unwrap();
    assert_eq!(said, "firstsecond");
    let left = end(child).unwrap();
    assert!(runs(left));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(left as i32), nix::sys::signal::SIGKILL).unwrap();
}
