//! Processes by descriptor: no pid is ever mistaken for a later process that got the same number.
#![expect(unsafe_code, reason = "pidfd_open, pidfd_send_signal and waitid take raw numbers and pointers")]

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It called `exit`, or returned from `main`, with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

/// A descriptor of the process; close-on-exec, readable once the process has ended.
///
/// # Errors
/// `ESRCH` if there is no such process (or it was reaped already), `EMFILE`, `ENOSYS` before Linux 5.3.
pub fn open(pid: u32) -> Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::pid_t::try_from(pid).unwrap_or(-1), 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us; nobody else knows its number.
    crate::memfd::above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor that reads as "ended" for ever: it stands for a child that was reaped before [`open`] could see it.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub fn already_ended() -> Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us; nobody else knows its number.
    crate::memfd::above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until the process has ended, at most for `timeout` (`None`: for ever); returns whether it has.
///
/// # Errors
/// `EBADF`, `ENOMEM`. Signals are no error: the wait goes on.
pub fn wait(pidfd: impl AsFd, timeout: Option<Duration>) -> Result<bool> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match ppoll(&mut fds, left.map(TimeSpec::from), None) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Which of the processes have ended, in one system call and without waiting.
///
/// # Errors
/// `EINVAL` for more descriptors than the limit of open files; `ENOMEM`.
pub fn ended(pidfds: &[BorrowedFd<'_>]) -> Result<Vec<bool>> {
    let mut fds: Vec<_> = pidfds.iter().map(|&fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    loop {
        match ppoll(&mut fds, Some(TimeSpec::from(Duration::ZERO)), None) {
            Ok(_) => return Ok(fds.iter().map(|fd| fd.any().unwrap_or(false)).collect()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Takes the exit status of a child and thereby removes the zombie; `None` while the child still runs.
///
/// # Errors
/// `ECHILD` if nobody can learn the status any more: it was taken elsewhere, or `SIGCHLD` is ignored.
pub fn reap(pidfd: impl AsFd) -> Result<Option<Ended>> {
    let id = libc::id_t::try_from(pidfd.as_fd().as_raw_fd()).unwrap_or(libc::id_t::MAX);
    Ok(take_status(libc::P_PIDFD, id)?.map(|(_, ended)| ended))
}

/// Takes the exit status of any child that has ended, and thereby removes the zombie; `None` while all of them run.
///
/// # Errors
/// `ECHILD` if there is no child.
pub fn reap_any() -> Result<Option<(u32, Ended)>> {
    take_status(libc::P_ALL, 0)
}

fn take_status(kind: libc::idtype_t, id: libc::id_t) -> Result<Option<(u32, Ended)>> {
    // SAFETY: all zeroes are a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a valid siginfo_t for the whole call, and the kernel does not keep the pointer.
    while unsafe { libc::waitid(kind, id, &raw mut info, libc::WEXITED | libc::WNOHANG) } != 0 {
        let error = Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
    // SAFETY: waitid filled `info` as for SIGCHLD, or left it zeroed, where the pid reads as 0.
    let pid = unsafe { info.si_pid() }.unsigned_abs();
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: waitid filled `info` as for SIGCHLD.
    let status = unsafe { info.si_status() };
    let exited = info.si_code == libc::CLD_EXITED;
    Ok(Some((pid, if exited { Ended::Exited(status) } else { Ended::Signaled(status) })))
}

/// Ends the child `pid` and removes its zombie, without a descriptor: for a child that was started a moment ago and for
/// which none could be had.
pub fn discard(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(libc::pid_t::try_from(pid).unwrap_or(0));
    // 0 and less would mean a group of processes.
    if pid.as_raw() > 0 && nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).is_ok() {
        while nix::sys::wait::waitpid(pid, None) == Err(Errno::EINTR) {}
    }
}

/// Sends `signal` to the process; 0 only asks whether it can be signalled.
///
/// # Errors
/// `ESRCH` if the process was reaped, `EPERM`, `EINVAL` for a number that is no signal.
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo the call takes integers only and touches no memory of ours.
    if unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) } != 0 {
        return Err(Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::zombie_processes, reason = "the children are reaped through their pidfds")]
mod tests {
    use super::{Ended, already_ended, ended, open, reap, send_signal, wait};
    use std::os::fd::AsFd;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn a_child_is_awaited_signalled_and_reaped() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        assert!(!wait(&pidfd, Some(Duration::ZERO)).unwrap());
        assert_eq!(reap(&pidfd).unwrap(), None);
        send_signal(&pidfd, libc::SIGKILL).unwrap();
        assert!(wait(&pidfd, None).unwrap());
        let this = open(std::process::id()).unwrap();
        assert_eq!(ended(&[this.as_fd(), pidfd.as_fd()]).unwrap(), [false, true]);
        assert_eq!(reap(&pidfd).unwrap(), Some(Ended::Signaled(libc::SIGKILL)));
        assert_eq!(reap(&pidfd).unwrap_err().raw_os_error(), Some(libc::ECHILD));
        assert_eq!(send_signal(&pidfd, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn an_exit_code_arrives() {
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        assert!(wait(&pidfd, None).unwrap());
        assert_eq!(reap(&pidfd).unwrap(), Some(Ended::Exited(7)));
    }

    #[test]
    fn the_stand_in_has_ended() {
        assert!(wait(already_ended().unwrap(), Some(Duration::ZERO)).unwrap());
    }
}
