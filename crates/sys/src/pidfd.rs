//! Processes by descriptor: no pid is ever mistaken for a later process that got the same number.
#![expect(unsafe_code, reason = "pidfd_open, pidfd_send_signal and waitid take raw numbers and pointers")]

use crate::eventfd;
use crate::kept_fd::KeptFd;
use nix::errno::Errno;
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// A pidfd of one thread, since Linux 6.9.
const PIDFD_THREAD: libc::c_int = libc::O_EXCL;

/// A thread that only sleeps in one system call.
const WAITER_STACK_BYTES: usize = 128 << 10;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The process called `exit`, or returned from `main`, with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

/// A descriptor of the process; close-on-exec, readable once the process has ended.
///
/// # Errors
/// `ESRCH` if there is no such process (or it was reaped already), `EMFILE`, `ENOSYS` before Linux 5.3.
pub fn open(pid: u32) -> Result<OwnedFd> {
    open_with(pid, 0)
}

fn open_with(pid: u32, flags: libc::c_int) -> Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::pid_t::try_from(pid).unwrap_or(-1), flags) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us; nobody else knows its number.
    crate::memfd::above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until the process has ended, at most for `timeout` (`None`: for ever); returns whether it has.
/// Whoever can be interrupted by a signal finds that it has not, and asks whether it is.
///
/// # Errors
/// `EBADF`, `ENOMEM`.
pub fn wait(pidfd: impl AsFd, timeout: Option<Duration>) -> Result<bool> {
    Ok(eventfd::wait_any(&[pidfd.as_fd()], timeout)?.contains(&true))
}

/// How to name a child of this process.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// By a pidfd.
    Fd(BorrowedFd<'a>),
    /// By its pid: right as long as nobody else in this process takes the status of its children.
    Pid(u32),
    /// Whichever.
    Any,
}

/// Takes the exit status of a child and thereby removes the zombie; `None` while the child still runs.
///
/// # Errors
/// `ECHILD` if nobody can learn the status any more: it was taken elsewhere, or `SIGCHLD` is ignored.
pub fn reap(who: Who<'_>) -> Result<Option<Ended>> {
    Ok(wait_id(who, libc::WEXITED | libc::WNOHANG)?.map(|(_, ended)| ended))
}

/// Takes the exit status of any child that has ended, and thereby removes the zombie; `None` while all of
/// them run.
///
/// # Errors
/// `ECHILD` if there is no child.
pub fn reap_any() -> Result<Option<(u32, Ended)>> {
    wait_id(Who::Any, libc::WEXITED | libc::WNOHANG)
}

/// A child that has ended, whose exit status stays to be taken: its pid means no other process until then. `None` while
/// all of them run.
///
/// # Errors
/// `ECHILD` if there is no child.
pub fn find_ended() -> Result<Option<(u32, Ended)>> {
    wait_id(Who::Any, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// Whether the child runs or is a zombie: its pid means no other process.
#[must_use]
pub fn is_child(pid: u32) -> bool {
    wait_id(Who::Pid(pid), libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).is_ok()
}

fn wait_id(who: Who<'_>, options: libc::c_int) -> Result<Option<(u32, Ended)>> {
    let (kind, id) = match who {
        Who::Fd(fd) => (libc::P_PIDFD, libc::id_t::try_from(fd.as_raw_fd()).unwrap_or(libc::id_t::MAX)),
        Who::Pid(pid) => (libc::P_PID, pid),
        Who::Any => (libc::P_ALL, 0),
    };
    // SAFETY: all zeroes are a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a valid siginfo_t for the whole call, and the kernel does not keep the pointer.
    while unsafe { libc::waitid(kind, id, &raw mut info, options) } != 0 {
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

/// Sends `signal` to the child `pid`.
///
/// # Errors
/// `EPERM`; `ESRCH` if it is no child of this process (any more); `EINVAL` for a number that is no signal.
pub fn signal_child(pid: u32, signal: i32) -> Result<()> {
    // 0 and less would mean a group of processes.
    let pid_of_one = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0);
    let Some(number) = pid_of_one.filter(|_| is_child(pid)) else { return Err(Errno::ESRCH.into()) };
    // SAFETY: the call takes two integers and touches no memory of ours.
    if unsafe { libc::kill(number, signal) } == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// The outcome of a wait for the end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndWait {
    /// The process has ended.
    Ended,
    /// The process had not ended by the deadline.
    TimedOut,
    /// Somebody has closed the descriptor, so nothing is known.
    Lost,
}

/// A descriptor that is readable once a process has ended: a pidfd, or where the kernel gives none, an
/// eventfd that a thread rings.
#[derive(Debug)]
pub struct EndFd {
    fd: KeptFd,
    is_pidfd: bool,
}

impl EndFd {
    /// The end of the child `pid`, which was started a moment ago.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`; `EAGAIN` if a thread is needed and there can be none.
    pub fn of_child(pid: u32) -> Result<Self> {
        match open(pid) {
            Ok(fd) => Ok(Self { fd: KeptFd::keep(fd)?, is_pidfd: true }),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                // It ended, and somebody else took its status, before it could be looked at.
                let end = Self::to_be_announced()?;
                end.announce();
                Ok(end)
            }
            Err(error) if is_refused(&error) => Self::by_thread(pid),
            Err(error) => Err(error),
        }
    }

    /// The end of this process, and if `tid` names one of its threads and the kernel is of 2024 or later, of
    /// that thread: it ends also when this process executes another program. `None` where the kernel gives no
    /// pidfds.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub fn of_this_process(tid: Option<u32>) -> Result<Option<Self>> {
        let of_thread = tid.and_then(|tid| open_with(tid, PIDFD_THREAD).ok());
        match of_thread.map_or_else(|| open(std::process::id()), Ok) {
            Ok(fd) => Ok(Some(Self { fd: KeptFd::keep(fd)?, is_pidfd: true })),
            Err(error) if is_refused(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A pidfd that another process has opened for this one.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn inherited(fd: OwnedFd) -> Result<Self> {
        Ok(Self { fd: KeptFd::keep(fd)?, is_pidfd: true })
    }

    /// An end that is there once somebody has called [`announce`](Self::announce).
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub fn to_be_announced() -> Result<Self> {
        Ok(Self { fd: KeptFd::keep(eventfd::create()?)?, is_pidfd: false })
    }

    /// Announces the end: from now on everybody sees it.
    pub fn announce(&self) {
        if let Some(fd) = self.fd.get() {
            eventfd::ring(fd);
        }
    }

    fn by_thread(pid: u32) -> Result<Self> {
        let end = Self::to_be_announced()?;
        let bell = Self { fd: KeptFd::keep(end.fd.as_fd().try_clone_to_owned()?)?, is_pidfd: false };
        let thread = std::thread::Builder::new().name("procession-wait".to_owned());
        thread.stack_size(WAITER_STACK_BYTES).spawn(move || {
            crate::start::block_signals();
            // An error also means that there is nothing to wait for any more.
            drop(wait_id(Who::Pid(pid), libc::WEXITED | libc::WNOWAIT));
            bell.announce();
        })?;
        Ok(end)
    }

    /// The pidfd, if it is one, and still open.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.get().filter(|_| self.is_pidfd)
    }

    /// The descriptor for `poll`, if it is still open.
    #[must_use]
    pub fn get(&self) -> Option<BorrowedFd<'_>> {
        self.fd.get()
    }

    /// Waits until the process has ended, at most for `timeout` (`None`: for ever).
    ///
    /// As with [`wait`](wait()), a signal may end it early, and then it is `TimedOut`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<EndWait> {
        let Some(fd) = self.fd.get() else { return Ok(EndWait::Lost) };
        let is_readable = wait(fd, timeout)?;
        Ok(match (is_readable, self.fd.get()) {
            (false, _) => EndWait::TimedOut,
            (true, Some(_)) => EndWait::Ended,
            (true, None) => EndWait::Lost,
        })
    }
}

/// The number as it is, whatever it means now; for those who poll it together with others.
impl AsFd for EndFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the kernel has no pidfds (before Linux 5.3, some sandboxes), or a system-call filter keeps them
/// from this process.
fn is_refused(error: &Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EACCES))
}

/// Ends the child `pid` and removes its zombie, without a descriptor: for a child that was started a moment
/// ago and for which none could be had.
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
    use super::{EndFd, EndWait, Ended, Who, find_ended, open, reap, send_signal, signal_child, wait};
    use std::os::fd::AsFd;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn a_child_is_awaited_signalled_and_reaped() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        assert!(!wait(&pidfd, Some(Duration::ZERO)).unwrap());
        assert_eq!(reap(Who::Fd(pidfd.as_fd())).unwrap(), None);
        send_signal(&pidfd, libc::SIGKILL).unwrap();
        assert!(wait(&pidfd, None).unwrap());
        assert!(find_ended().unwrap().is_some());
        assert_eq!(reap(Who::Fd(pidfd.as_fd())).unwrap(), Some(Ended::Signaled(libc::SIGKILL)));
        let again = reap(Who::Fd(pidfd.as_fd())).unwrap_err();
        assert_eq!(again.raw_os_error(), Some(libc::ECHILD));
        assert_eq!(send_signal(&pidfd, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn without_pidfds_a_thread_announces_the_end() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let end = EndFd::by_thread(child.id()).unwrap();
        assert_eq!(end.wait(Some(Duration::ZERO)).unwrap(), EndWait::TimedOut);
        assert_eq!(reap(Who::Pid(child.id())).unwrap(), None);
        assert!(end.pidfd().is_none());
        signal_child(child.id(), libc::SIGKILL).unwrap();
        assert_eq!(end.wait(None).unwrap(), EndWait::Ended);
        assert_eq!(reap(Who::Pid(child.id())).unwrap(), Some(Ended::Signaled(libc::SIGKILL)));
        assert_eq!(signal_child(child.id(), libc::SIGKILL).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert!(signal_child(0, 0).is_err() && signal_child(1, 0).is_err());
    }

    #[test]
    fn an_exit_code_arrives() {
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        assert!(wait(&pidfd, None).unwrap());
        assert_eq!(reap(Who::Fd(pidfd.as_fd())).unwrap(), Some(Ended::Exited(7)));
    }

    #[test]
    fn the_end_of_a_child_that_is_gone_already_is_there() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let end = EndFd::of_child(child.id()).unwrap();
        assert_eq!(end.wait(Some(Duration::ZERO)).unwrap(), EndWait::Ended);
    }

    #[test]
    fn the_end_of_a_thread_is_seen_where_the_kernel_can() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (say, tid) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            say.send(crate::thread_id()).unwrap();
            held.recv().unwrap_err();
        });
        let end = EndFd::of_this_process(Some(tid.recv().unwrap())).unwrap().unwrap();
        assert_eq!(end.wait(Some(Duration::ZERO)).unwrap(), EndWait::TimedOut);
        drop(hold);
        thread.join().unwrap();
        let is_old = super::open_with(crate::thread_id(), super::PIDFD_THREAD).is_err();
        assert!(is_old || end.wait(None).unwrap() == EndWait::Ended);
    }
}
