//! Processes from outside: whether they run, whose children they are, what they have open; and forks of the test
//! program that go on without `exec`, as daemons and some libraries make them.
#![expect(unsafe_code, reason = "fork is a C function")]

use crate::Scratch;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use procession::{Function, Process};
use procession_channel::codec;
use procession_sys::pidfd;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long a forked child may take, in milliseconds.
const PATIENCE_MS: u16 = 20_000;

/// What `work` returns in a forked child of this process, which ends without running destructors of the
/// parent's.
///
/// # Panics
/// When the child panics, dies, or has no answer after some seconds: then it hangs, and is killed.
pub fn in_fork<R: Serialize + DeserializeOwned>(what: &str, work: impl FnOnce() -> R) -> R {
    let (mut answers, mut answer) = std::io::pipe().unwrap();
    #[expect(clippy::disallowed_methods, reason = "this is the test of what such a child finds")]
    // SAFETY: the child runs the caller's code and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(answers);
        let said = catch_unwind(AssertUnwindSafe(|| {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
            let mut said = Vec::new();
            codec::encode(&work(), &mut said).unwrap();
            said
        }));
        let sent = said.is_ok_and(|said| answer.write_all(&said).is_ok());
        // SAFETY: it ends this process and touches nothing.
        unsafe { libc::_exit(i32::from(!sent)) };
    }
    drop(answer);
    let pid = Pid::from_raw(pid);
    let is_there =
        poll(&mut [PollFd::new(answers.as_fd(), PollFlags::POLLIN)], PollTimeout::from(PATIENCE_MS)).unwrap();
    if is_there == 0 {
        kill(pid, Signal::SIGKILL).unwrap();
        panic!("{what}: hangs in a forked child");
    }
    let mut said = Vec::new();
    answers.read_to_end(&mut said).unwrap();
    let ended = waitpid(pid, None).unwrap();
    codec::decode(&said).unwrap_or_else(|_| panic!("{what}: the forked child failed: {ended:?}"))
}

/// Whether any thread of the process runs, or is stopped: a zombie that nobody reaps does not, and has
/// nothing open.
#[must_use]
pub fn runs(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let is_there = |stat: String| {
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        !state.is_empty() && !state.starts_with(['Z', 'X'])
    };
    threads.flatten().any(|thread| std::fs::read_to_string(thread.path().join("stat")).is_ok_and(is_there))
}

/// Whether the process is stopped.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

/// The children of a process, whichever of its threads has started them, and those that nobody has reaped yet.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let texts = threads.flatten().map(|thread| std::fs::read_to_string(thread.path().join("children")));
    texts.flatten().flat_map(|text| text.split(' ').flat_map(str::parse).collect::<Vec<u32>>()).collect()
}

/// The copies that the forkservers of a process have made beforehand, and that wait. A zombie is none.
#[must_use]
pub fn spares(pid: u32) -> Vec<u32> {
    children(pid).into_iter().filter(|&pid| is_called(pid, "forkspare") && runs(pid)).collect()
}

/// The children of a process but for its forkservers and their spares.
#[must_use]
pub fn started(pid: u32) -> Vec<u32> {
    let (servers, spares) = (forkservers(pid), spares(pid));
    children(pid).into_iter().filter(|pid| !servers.contains(pid) && !spares.contains(pid)).collect()
}

fn is_called(pid: u32, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim_end() == name)
}

/// The forkservers of a process.
#[must_use]
pub fn forkservers(pid: u32) -> Vec<u32> {
    let is_server = |pid: &u32| is_called(*pid, "forkserver");
    let mut found: Vec<u32> = children(pid).into_iter().filter(is_server).collect();
    for _ in 0..20 {
        if found.len() < 2 {
            break;
        }
        // A copy is called as the server is, until it has its own name: in a moment.
        std::thread::sleep(Duration::from_millis(1));
        found.retain(is_server);
    }
    found
}

/// How many descriptors this process has open.
#[must_use]
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Sends a process a signal.
///
/// # Panics
/// When that is not possible.
pub fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Kills a child of this process, if it still is one.
pub fn kill_child(pid: u32) {
    let Ok(process) = pidfd::open(pid) else { return };
    if pidfd::is_child(pid) {
        // It may have ended meanwhile.
        drop(pidfd::send_signal(&process, Signal::SIGKILL as i32));
    }
}

/// Runs the test in a process of its own, which has one thread, no children and nothing open yet, and whose namespace
/// is empty when it has ended. It has so many seconds.
///
/// # Panics
/// When the test does.
pub fn in_own_process<F: Function<(), fn(), Output = ()>>(seconds: u64, test: F) {
    let scratch = Scratch::for_seconds(seconds);
    let child = Process::options().env("PROCESSION_NAMESPACE", scratch.name()).spawn(test, ()).unwrap();
    child.join().unwrap();
}

/// Whether tests are to do all that they can (`make soak`), not what takes a moment.
#[must_use]
pub fn soaks() -> bool {
    std::env::var_os("PROCESSION_SOAK").is_some()
}
