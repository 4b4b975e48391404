//! A function running in a process of its own.

use crate::children::{Child, lock};
use crate::error::{KernelError, ProcessError, WaitError};
use crate::label::ProcessLabel;
use crate::panicked::Panic;
use crate::status::ExitStatus;
use procession_sync::{Waitable, Watch};
use procession_sys::signals::{SIGINT, SIGKILL, SIGTERM};
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{PipeReader, PipeWriter};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// A handle to a function that runs in another process and returns `R`.
///
/// Every method that takes `&self` may be called by many threads at once. A forked child of this process may
/// ask whether the process is alive; to wait for it or to send it signals is an error there. Dropping the
/// handle neither ends nor awaits the process: it goes on, shows in
/// [`active_children`](crate::active_children), and is settled when this process exits (see
/// [`init`](crate::init)). But pipes to it that nobody has [taken](Self::take_stdin) are closed then, as by
/// [`std::process::Child`].
///
/// # If a process dies
/// When the child is killed, at any moment, whoever waits for it learns it at once. When this process is
/// killed, the child is killed too, unless it was started [`detached`](crate::ProcessOptions::detached). When
/// only the thread that started it ends, nothing happens to it.
///
/// ```
/// use procession::Process;
///
/// fn greet((name, times): (String, usize)) -> String {
///     format!("hello {name}, ").repeat(times)
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let child = Process::spawn(greet, ("Ada".to_owned(), 2))?;
///     assert_eq!(child.join()?, "hello Ada, hello Ada, ");
///     Ok(())
/// }
/// ```
///
/// A closure that captures something is refused when the program is built, for its captures would stay
/// behind:
///
/// ```compile_fail
/// fn main() {
///     procession::init();
///     let n = 7;
///     let _ = procession::Process::spawn(move |m: u32| n + m, 1);
/// }
/// ```
///
/// So is a `fn` pointer, which says in its value, not in its type, what to call:
///
/// ```compile_fail
/// fn double(n: u32) -> u32 { 2 * n }
///
/// fn main() {
///     procession::init();
///     let f: fn(u32) -> u32 = double;
///     let _ = procession::Process::spawn(f, 1);
/// }
/// ```
///
/// Arguments own what they are made of, since they are made anew in the other process: a `String`, not a
/// `&str`; a `Vec`, not a slice. The compiler says of one that borrows that its "implementation of
/// `Deserialize` is not general enough":
///
/// ```compile_fail
/// fn main() {
///     procession::init();
///     let _ = procession::Process::spawn(|s: &str| s.len(), "abc");
/// }
/// ```
///
/// ```
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     assert_eq!(procession::Process::spawn(|s: String| s.len(), "abc".to_owned())?.join()?, 3);
///     Ok(())
/// }
/// ```
///
/// The function itself, and a closure around it, are fine; what crosses to one of several arguments is a tuple.
///
/// ```
/// fn double(n: u32) -> u32 { 2 * n }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     assert_eq!(procession::Process::spawn(double, 1)?.join()?, 2);
///     assert_eq!(procession::Process::spawn(|n| double(n), 1)?.join()?, 2);
///     assert_eq!(procession::Process::spawn(|a, b| a + double(b), (1, 2))?.join()?, 5);
///     Ok(())
/// }
/// ```
pub struct Process<R> {
    child: Arc<Child>,
    result: PhantomData<fn() -> R>,
}

impl<R> Process<R> {
    pub(crate) fn new(child: Arc<Child>) -> Self {
        Self { child, result: PhantomData }
    }

    pub(crate) fn child(&self) -> &Arc<Child> {
        &self.child
    }

    /// The process's id. Once it has ended, another process may get the same number; the methods here never
    /// confuse the two.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.label.pid()
    }

    /// The process's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.child.label.name()
    }

    /// The process as errors name it: its name, its pid, and the function that it runs.
    #[must_use]
    pub fn label(&self) -> &ProcessLabel {
        &self.child.label
    }

    /// Whether the process is terminated when this one exits normally.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.child.daemon
    }

    /// Whether the process has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How the process ended; `None` while it runs.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.look()
    }

    /// This process's end of the pipe to the process's standard input, once, if
    /// [`Stdio::piped`](crate::Stdio::piped) was asked for. The process finds the end of its input when this
    /// is dropped; [`wait`](Self::wait) and [`join`](Self::join) drop it if nobody has taken it.
    #[must_use]
    pub fn take_stdin(&self) -> Option<PipeWriter> {
        lock(&self.child.pipes).stdin.take()
    }

    /// This process's end of the pipe from the process's standard output, once, if
    /// [`Stdio::piped`](crate::Stdio::piped) was asked for. Reading it ends when the process, and all to which
    /// it has passed its output, have closed it.
    #[must_use]
    pub fn take_stdout(&self) -> Option<PipeReader> {
        lock(&self.child.pipes).stdout.take()
    }

    /// This process's end of the pipe from the process's standard error output, as
    /// [`take_stdout`](Self::take_stdout).
    #[must_use]
    pub fn take_stderr(&self) -> Option<PipeReader> {
        lock(&self.child.pipes).stderr.take()
    }

    /// Waits until the process has ended. Unlike [`join`](Self::join), this does not ask what the function
    /// returned. A pipe to the process's standard input that nobody has taken is closed first, so that a
    /// process that reads to the end of its input comes to an end.
    ///
    /// # Errors
    /// [`WaitError::Kernel`], and [`WaitError::Interrupted`] for a thread with a hook
    /// (`procession::interrupt`).
    pub fn wait(&self) -> Result<ExitStatus, WaitError> {
        drop(self.take_stdin());
        loop {
            if let Some(status) = self.child.wait(None).map_err(|error| self.wait_error(error))? {
                return Ok(status);
            }
        }
    }

    fn wait_error(&self, error: KernelError) -> WaitError {
        WaitError::new(&self.child.label, error)
    }

    /// Looks whether the process has ended, and does not wait: `None` if it still runs. That is as in
    /// [`std::process::Child::try_wait`].
    ///
    /// # Errors
    /// The kernel refused to say: see [`KernelError::operation`].
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, KernelError> {
        self.child.wait(Some(Duration::ZERO))
    }

    /// Waits until the process has ended, at most for `timeout`.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] if it still runs then; [`WaitError::Interrupted`] for a thread with a hook;
    /// [`WaitError::Kernel`] if the kernel refused to wait.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<ExitStatus, WaitError> {
        let status = self.child.wait(Some(timeout)).map_err(|error| self.wait_error(error))?;
        status.ok_or_else(|| WaitError::TimedOut { process: self.child.label.clone() })
    }

    /// Asks the process to end, by `SIGTERM`. It ends at once, without unwinding, unless it handles the
    /// signal. To a process that has ended this does nothing; to the children of the process it does nothing
    /// either, but they die with it.
    ///
    /// # Errors
    /// The kernel refused to send the signal.
    pub fn terminate(&self) -> Result<(), KernelError> {
        self.child.signal(SIGTERM)
    }

    /// Asks the process to stop what it does, by `SIGINT`, as Ctrl-C does. It ends at once unless it handles
    /// the signal, or this process ignores it. To a process that has ended this does nothing.
    ///
    /// # Errors
    /// The kernel refused to send the signal.
    pub fn interrupt(&self) -> Result<(), KernelError> {
        self.child.signal(SIGINT)
    }

    /// Ends the process, by `SIGKILL`. To a process that has ended this does nothing.
    ///
    /// # Errors
    /// The kernel refused to send the signal.
    pub fn kill(&self) -> Result<(), KernelError> {
        self.child.signal(SIGKILL)
    }

    /// Sends the process any signal. To a process that has ended this does nothing.
    ///
    /// # Errors
    /// `EINVAL` for a number that is no signal; otherwise the kernel refused to send it.
    pub fn signal(&self, signal: i32) -> Result<(), KernelError> {
        self.child.signal(signal)
    }

    /// The descriptor that is readable once the process has ended, unless the program has closed it.
    pub(crate) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.child.end.get()
    }

    /// The panic that the process reported before it ended.
    pub(crate) fn reported_panic(&self) -> Option<Panic> {
        self.child.report.panic()
    }
}

impl<R: DeserializeOwned> Process<R> {
    /// Waits until the process has ended and returns what the function returned.
    ///
    /// A function that returned has returned: its result arrives even if the process was killed afterwards,
    /// while it was exiting.
    ///
    /// # Errors
    /// Every way to end without a result: [`ProcessError::Panicked`], [`ProcessError::Exited`],
    /// [`ProcessError::Killed`] and rarer ones. [`ProcessError::Interrupted`] for a thread with a hook
    /// (`procession::interrupt`): one that wants to keep the process [waits](Self::wait) before it joins.
    pub fn join(self) -> Result<R, ProcessError> {
        match self.wait() {
            Ok(status) => self.result(status),
            Err(WaitError::Kernel(error)) => Err(error.into()),
            // A wait without a timeout is not over before the process is.
            Err(WaitError::Interrupted { process } | WaitError::TimedOut { process }) => {
                Err(ProcessError::Interrupted { process })
            }
        }
    }

    /// Joins as [`join`](Self::join) does, but waits at most for `timeout` and then hands the process back.
    ///
    /// # Errors
    /// [`JoinTimeoutError::TimedOut`] with the process, as [`JoinTimeoutError::Interrupted`] for a thread
    /// with a hook; [`JoinTimeoutError::Ended`] with the reason why there is no result.
    pub fn join_timeout(self, timeout: Duration) -> Result<R, JoinTimeoutError<R>> {
        match self.wait_timeout(timeout) {
            Ok(status) => Ok(self.result(status)?),
            Err(WaitError::TimedOut { .. }) => Err(JoinTimeoutError::TimedOut(self)),
            Err(WaitError::Interrupted { .. }) => Err(JoinTimeoutError::Interrupted(self)),
            Err(WaitError::Kernel(error)) => Err(JoinTimeoutError::Ended(error.into())),
        }
    }

    fn result(&self, status: ExitStatus) -> Result<R, ProcessError> {
        self.result_of(self.child.label.clone(), status)
    }

    fn result_of(&self, process: ProcessLabel, status: ExitStatus) -> Result<R, ProcessError> {
        self.child.outcome(&process, status)
    }

    /// How the process has ended while it ran `function`, which is not the one that it was started with.
    ///
    /// # Errors
    /// Why it has not returned.
    pub(crate) fn end_in(&self, function: &'static str) -> Result<ExitStatus, ProcessError> {
        let process = self.child.label.running(function);
        let status = self.exit_status().unwrap_or(ExitStatus::LOST);
        self.result_of(process, status).map(|_| status)
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        self.child.close_pipes();
    }
}

/// Why [`Process::join_timeout`] has no result.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JoinTimeoutError<R> {
    /// The process still runs; here it is again.
    #[error("{} still runs", .0.label())]
    TimedOut(Process<R>),
    /// A hook of this thread wanted the wait to end (`procession::interrupt`); the process still runs, and
    /// here it is.
    #[error("the wait for {} was interrupted; it runs on", .0.label())]
    Interrupted(Process<R>),
    /// The process ended without a result.
    #[error(transparent)]
    Ended(#[from] ProcessError),
}

impl<R> fmt::Debug for JoinTimeoutError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(_) | Self::Interrupted(_) => fmt::Display::fmt(self, f),
            Self::Ended(error) => fmt::Debug::fmt(error, f),
        }
    }
}

/// Readable once the process has ended, for `poll` and its kin: a pidfd, unless the kernel has none.
impl<R> AsFd for Process<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.end.as_fd()
    }
}

/// The number of [`as_fd`](AsFd::as_fd)'s descriptor, for event loops that take numbers (`AsyncFd` of tokio).
impl<R> AsRawFd for Process<R> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Ready once the process has ended.
impl<R> Waitable for Process<R> {
    fn is_ready(&self) -> bool {
        !self.is_alive()
    }

    fn watch(&self) -> Watch<'_> {
        Watch::File(self.as_fd())
    }

    fn unwatch(&self) {}
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("status", &self.child.status())
            .finish_non_exhaustive()
    }
}
