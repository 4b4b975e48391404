//! Copies of this process: by `fork`, and as children of this process's parent.
//!
//! [`fork_sibling`] is what a server needs that forks for its parent: with `CLONE_PARENT` the kernel makes the
//! copy a child of that parent, who alone can wait for it. The C library has no function for that, so it is a
//! raw system call, and what the C library's `fork` would do is done here: the copy's thread id is written
//! where the library keeps it, and its list of robust mutexes is announced to the kernel. Handlers of
//! `pthread_atfork` are not called. It is for processes of one thread: nobody else can be in the middle of
//! anything.
//!
//! A copy begins with the actions that this process has for signals, and some of them are ignored here that are not to
//! be ignored there. So a copy begins with all signals blocked: one that is sent to it at once waits until
//! [`reset_signals`].
#![expect(unsafe_code, reason = "clone, fork, the environment and on_exit are C interfaces")]

use crate::Latest;
use crate::errno::{EINVAL, ENOSYS};
use crate::memfd::above_stdio;
use crate::signals::{self, SignalSet};
use std::ffi::{OsStr, OsString, c_int, c_void};
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::{null, null_mut};

/// On which side of a fork the caller is.
#[derive(Debug)]
pub enum Forked {
    /// In the new process.
    Child,
    /// In the one that was copied: the new one's pid, and a pidfd of it where the kernel gave one.
    Parent(u32, Option<OwnedFd>),
}

/// Copies this process, which has one thread, into a new child of its parent. In the copy all signals are blocked,
/// until [`reset_signals`].
///
/// # Errors
/// `EAGAIN` at the limit of processes, `ENOMEM`; `EMFILE` without a number for the pidfd; `EINVAL` in the first
/// process of a pid namespace.
pub fn fork_sibling() -> Result<Forked> {
    match clone_sibling(libc::CLONE_PIDFD) {
        // The kernel, or a filter of system calls, knows no pidfds.
        Err(error) if matches!(error.raw_os_error(), Some(EINVAL | ENOSYS)) => clone_sibling(0),
        outcome => outcome,
    }
}

fn clone_sibling(pidfd_flag: c_int) -> Result<Forked> {
    let robust = RobustList::of_this_thread();
    let blocked = signals::set_blocked(SignalSet::from_bits(u64::MAX));
    let mut tid: *mut c_int = null_mut();
    // SAFETY: the call writes one pointer; where the kernel does not know it, the pointer stays null.
    unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut tid) };
    let mut pidfd: c_int = -1;
    let mut flags = libc::CLONE_PARENT | pidfd_flag | libc::SIGCHLD;
    if !tid.is_null() {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    let flags = libc::c_long::from(flags);
    // SAFETY: without CLONE_VM the copy has a memory of its own, and goes on on its copy of this stack. The
    // kernel writes to `pidfd` here, and to the library's own place for the thread's number in the copy.
    let pid = unsafe {
        #[cfg(target_arch = "x86_64")]
        let pid = libc::syscall(libc::SYS_clone, flags, null::<c_void>(), &raw mut pidfd, tid, 0);
        #[cfg(not(target_arch = "x86_64"))]
        let pid = libc::syscall(libc::SYS_clone, flags, null::<c_void>(), &raw mut pidfd, 0, tid);
        pid
    };
    let error = Error::last_os_error();
    if pid != 0 {
        signals::set_blocked(blocked);
    }
    match u32::try_from(pid) {
        Err(_) => Err(error),
        Ok(0) => {
            robust.announce();
            Ok(Forked::Child)
        }
        Ok(pid) => {
            // SAFETY: the kernel just made this descriptor for us; nobody else knows its number.
            let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
            Ok(Forked::Parent(pid, pidfd.and_then(|pidfd| above_stdio(pidfd).ok())))
        }
    }
}

/// Where the C library keeps the robust mutexes of a thread; a new process has none until it says so.
struct RobustList {
    head: *mut c_void,
    length: usize,
}

impl RobustList {
    fn of_this_thread() -> Self {
        let mut list = Self { head: null_mut(), length: 0 };
        // SAFETY: the call writes a pointer and a length; on an error both stay as they are.
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut list.head, &raw mut list.length) };
        list
    }

    fn announce(&self) {
        if !self.head.is_null() {
            // SAFETY: the list is the one that the C library had announced for the thread of which this is a
            // copy.
            unsafe { libc::syscall(libc::SYS_set_robust_list, self.head, self.length) };
        }
    }
}

/// Copies this process into a new child of its own. The caller has made sure that no other thread is in the
/// middle of anything. In the copy all signals are blocked, until [`reset_signals`].
///
/// # Errors
/// `EAGAIN` at the limit of processes, `ENOMEM`.
pub fn fork() -> Result<Forked> {
    let blocked = signals::set_blocked(SignalSet::from_bits(u64::MAX));
    #[expect(clippy::disallowed_methods, reason = "this is the start method that forks")]
    // SAFETY: the caller has no other thread that holds anything, so all that the copy finds is whole.
    let pid = unsafe { libc::fork() };
    let error = Error::last_os_error();
    if pid != 0 {
        signals::set_blocked(blocked);
    }
    match u32::try_from(pid) {
        Err(_) => Err(error),
        Ok(0) => Ok(Forked::Child),
        Ok(pid) => Ok(Forked::Parent(pid, None)),
    }
}

/// Closes a descriptor in this process, which is a copy of the one whose it is. What has it here is never used
/// again, nor dropped.
pub fn close_in_copy(fd: impl AsFd) {
    // SAFETY: the caller says that nobody uses the number here any more.
    unsafe { libc::close(fd.as_fd().as_raw_fd()) };
}

/// Writes out what the streams of the C library hold back, so that no copy of this process writes it again.
pub fn flush_c_streams() {
    // SAFETY: null stands for all streams.
    unsafe { libc::fflush(null_mut()) };
}

/// The numbers of the other threads of this process.
///
/// # Errors
/// Without `/proc`, what opening a directory says.
pub fn other_threads() -> Result<Vec<u32>> {
    let own = crate::thread_id();
    let numbers = std::fs::read_dir("/proc/self/task")?;
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|&thread| thread != own).collect())
}

/// The name of a thread of this process, as `ps` shows it.
#[must_use]
pub fn thread_name(thread: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The children that a thread of this process has started, and those of a server whose parent it is: those that run,
/// and zombies. Without `/proc`, none.
#[must_use]
pub fn children_of_thread(thread: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether the process is called so; a zombie is called as it was.
#[must_use]
pub fn is_called(pid: u32, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim_end() == name)
}

/// The signals that have another action than their default. `SIGPIPE` is left out, and the signals by which
/// Rust's runtime tells an overflow of the stack: they stay as they are in every copy.
#[must_use]
pub fn changed_signals() -> Vec<i32> {
    const KEPT: [i32; 3] = [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS];
    signals::ALL.filter(|signal| !KEPT.contains(signal) && !signals::is_default(*signal)).collect()
}

/// Does to the signals of a copied process, of which `changed` may have another action than their default, what
/// `execve` and `posix_spawn` would: none is blocked, and each has its default action, except that those in
/// `ignored` are ignored.
pub fn reset_signals(changed: &[i32], ignored: &[i32]) {
    for &signal in changed.iter().filter(|signal| !ignored.contains(signal)) {
        signals::set_default(signal);
    }
    ignore_signals(ignored);
    let _ = signals::set_blocked(SignalSet::default());
}

/// Ignores these signals.
pub fn ignore_signals(ignored: &[i32]) {
    for &signal in ignored {
        // SAFETY: ignoring a signal calls no function.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Makes `variables` the whole environment of this process, which is a copy of one thread that has just begun.
pub fn replace_environment(variables: &[(OsString, OsString)]) {
    let is_kept = |name: &OsStr| variables.iter().any(|(kept, _)| kept == name);
    let gone: Vec<OsString> =
        std::env::vars_os().map(|(name, _)| name).filter(|name| !is_kept(name)).collect();
    for name in gone.iter().filter(|name| is_settable(name)) {
        // SAFETY: no other thread runs that could read the environment.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in variables.iter().filter(|(name, _)| is_settable(name)) {
        // SAFETY: as above; the name was looked at, and the value has come without a zero byte.
        unsafe { std::env::set_var(name, value) };
    }
}

/// std panics over other names.
fn is_settable(name: &OsStr) -> bool {
    !name.is_empty() && !name.as_bytes().iter().any(|&byte| byte == b'=' || byte == 0)
}

/// Has this process, a copy, end without the exit handlers that were its parent's: those that are registered
/// from here on run, then `last`, and then it is over.
///
/// Only the GNU C library can do that; elsewhere the parent's handlers run in the copy, too.
pub fn end_without_older_handlers(last: fn()) {
    LAST.set(last);
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        }
        // SAFETY: a function of this program, which is never unloaded. Without memory for it, the parent's
        // handlers run.
        unsafe { on_exit(end, null_mut()) };
    }
}

static LAST: Latest<fn()> = Latest::none();

#[cfg(target_env = "gnu")]
extern "C" fn end(code: c_int, _: *mut c_void) {
    if let Some(last) = LAST.get() {
        // A panic must not cross into the C library.
        drop(std::panic::catch_unwind(last));
    }
    flush_c_streams();
    // SAFETY: it ends this process and touches nothing.
    unsafe { libc::_exit(code) };
}
