//! What a new process takes over from the thread, and from the process, that starts it.
#![expect(unsafe_code, reason = "the scheduling of another thread is asked for by C functions")]

use crate::settings;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::{getpgrp, getsid};
use std::fs::File;
use std::io::{Read, Result};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The lines of a thread's `status` that say what is taken over: they begin so.
const LINES: [&str; 9] =
    ["Umask:", "Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp", "Cpus_allowed:", "Mems_allowed:"];

const LINKS: [&str; 10] = [
    "cwd",
    "root",
    "ns/cgroup",
    "ns/ipc",
    "ns/mnt",
    "ns/net",
    "ns/pid_for_children",
    "ns/time_for_children",
    "ns/user",
    "ns/uts",
];

/// Longer than any `status`, which is read in one call.
const STATUS_BYTES: usize = 8192;

/// Has programs that this process executes from now on find none of its open files but stdin, stdout and stderr.
///
/// # Errors
/// None that is known, where `/proc` is mounted or the kernel is of 2021 or later.
pub fn keep_files() -> Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes integers, closes nothing and touches no memory of ours.
    let done =
        unsafe { libc::close_range(FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    if done == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|number| number.parse().ok()).unwrap_or(0);
        if number >= FIRST.cast_signed() {
            // SAFETY: the call takes integers and touches no memory of ours; a number that is closed is refused.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Everything that a new process takes over from the one thread that starts it, as text that is equal for
/// threads from which children come out alike: user, capabilities, filters, CPUs, priority, namespaces,
/// directories. `thread` is what [`this_thread`] said in it.
#[must_use]
pub fn inheritance(thread: &str) -> String {
    let mut text = String::with_capacity(1024);
    let path = Path::new("/proc").join(thread);
    let Ok(directory) = open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
    else {
        return text;
    };
    for line in status(&directory).split_inclusive('\n') {
        if LINES.iter().any(|start| line.starts_with(start)) {
            text.push_str(line);
        }
    }
    let number = path.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0);
    text.push_str(&scheduling(number));
    for link in LINKS {
        let target = readlinkat(&directory, link).unwrap_or_default();
        text.push('\n');
        text.push_str(&target.to_string_lossy());
    }
    text
}

fn status(directory: &OwnedFd) -> String {
    let mut bytes = [0; STATUS_BYTES];
    let file = openat(directory, "status", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    let length = file.map_or(0, |file| File::from(file).read(&mut bytes).unwrap_or(0));
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// Niceness, policy, real-time priority.
fn scheduling(thread: libc::pid_t) -> String {
    // SAFETY: the call takes integers only.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, thread.unsigned_abs()) };
    // SAFETY: the call takes an integer only.
    let policy = unsafe { libc::sched_getscheduler(thread) };
    let mut parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call fills the structure.
    unsafe { libc::sched_getparam(thread, &raw mut parameters) };
    format!("{nice} {policy} {}", parameters.sched_priority)
}

/// What a new process takes over from this whole process, as text: its limits, its process group, its session.
#[must_use]
pub fn inheritance_of_process() -> String {
    let mut text = format!("{} {:?}", getpgrp(), getsid(None));
    for resource in settings::Resource::ALL {
        text.push_str(&format!(" {:?}", settings::limits_of(resource).ok()));
    }
    text
}

/// The calling thread's directory below `/proc`.
#[must_use]
pub fn this_thread() -> String {
    let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    link.to_string_lossy().into_owned()
}
