//! Who this process is, and who started it.

use crate::error::{KernelError, WaitError};
use crate::label::ProcessLabel;
use procession_sys::pidfd::{EndFd, EndWait};
use procession_sys::{Deadline, Latest, clock, interrupt};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::parent_id;
use std::time::Duration;

/// How often who waits for the parent looks for itself.
const LOOK: Duration = Duration::from_millis(100);

static MYSELF: Latest<Identity> = Latest::none();

/// The identity of this process, as `init` learned it from the parent; the defaults in the original process.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) lineage: Vec<u32>,
    pub(crate) daemon: bool,
    pub(crate) parent: Option<ParentProcess>,
}

impl Identity {
    fn original() -> Self {
        Self { name: "MainProcess".to_owned(), lineage: Vec::new(), daemon: false, parent: None }
    }
}

/// The identity of this process.
pub(crate) fn myself() -> &'static Identity {
    MYSELF.get_or_set(Identity::original)
}

/// Called once, in a child, before any code of the user runs.
pub(crate) fn become_child(myself: Identity) -> &'static Identity {
    MYSELF.set(myself)
}

/// This process, as it was named by whoever started it.
#[derive(Clone, Copy, Debug)]
pub struct CurrentProcess {
    myself: &'static Identity,
}

/// This process: its name, its parent, whether it is a daemon.
///
/// ```
/// let me = procession::current_process();
/// assert_eq!(me.name(), "MainProcess");
/// assert_eq!(me.pid(), std::process::id());
/// ```
#[must_use]
pub fn current_process() -> CurrentProcess {
    CurrentProcess { myself: myself() }
}

impl CurrentProcess {
    /// This process's id.
    #[must_use]
    pub fn pid(self) -> u32 {
        std::process::id()
    }

    /// `MainProcess`, or the name that the options gave, or `Process-1` and so on.
    #[must_use]
    pub fn name(self) -> &'static str {
        &self.myself.name
    }

    /// The process that started this one; it may have ended since.
    #[must_use]
    pub fn parent_pid(self) -> u32 {
        self.myself.parent.as_ref().map_or_else(parent_id, ParentProcess::pid)
    }

    /// Whether this process is terminated when its parent exits.
    #[must_use]
    pub fn is_daemon(self) -> bool {
        self.myself.daemon
    }
}

/// The process that started this one.
#[derive(Debug)]
pub struct ParentProcess {
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// The end of the parent's thread that started this process, where the kernel can say that; else of the
    /// parent.
    pub(crate) end: EndFd,
}

/// The process that started this one by [`Process::spawn`](crate::Process::spawn); `None` in the original
/// process.
#[must_use]
pub fn parent_process() -> Option<&'static ParentProcess> {
    myself().parent.as_ref()
}

impl ParentProcess {
    /// The parent's process id. Once it has ended, another process may get the same number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it still runs, and runs the program that started this process. Only a detached child lives to
    /// see `false`.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match self.end.wait(Some(Duration::ZERO)) {
            Ok(EndWait::Ended) => false,
            Ok(EndWait::Lost) => parent_id() == self.pid,
            Ok(EndWait::TimedOut) | Err(_) => true,
        }
    }
}

impl ParentProcess {
    /// Waits until the parent has ended, or executed another program. Only a detached child lives to see it.
    ///
    /// ```
    /// use procession::{Process, WaitError, parent_process};
    /// use std::time::Duration;
    ///
    /// fn watch() -> bool {
    ///     let outcome = parent_process().unwrap().wait_timeout(Duration::from_millis(1));
    ///     matches!(outcome, Err(WaitError::TimedOut { .. }))
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     assert!(Process::spawn(watch, ())?.join()?);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`WaitError::Kernel`], and [`WaitError::Interrupted`] for a thread with a hook
    /// (`procession::interrupt`).
    pub fn wait(&self) -> Result<(), WaitError> {
        self.wait_until(Deadline::NEVER)
    }

    /// Waits as [`wait`](Self::wait) does, at most for `timeout`.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`]; otherwise as [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WaitError> {
        self.wait_until(Deadline::after(timeout))
    }

    fn wait_until(&self, deadline: Deadline) -> Result<(), WaitError> {
        while self.is_alive() {
            if deadline.has_passed() {
                return Err(WaitError::TimedOut { process: self.label() });
            }
            if interrupt::is_wanted() {
                return Err(WaitError::Interrupted { process: self.label() });
            }
            // In slices: a thread with a hook asks it, and the descriptor may have been closed.
            let slice = deadline.min(Deadline::after(LOOK));
            match self.end.wait(slice.remaining()) {
                Ok(EndWait::Lost) => clock::nap(slice.remaining().unwrap_or(LOOK)),
                Ok(_) => {}
                Err(error) => return Err(KernelError::new("poll", &self.label(), error).into()),
            }
        }
        Ok(())
    }

    fn label(&self) -> ProcessLabel {
        ProcessLabel::new(&self.name, self.pid, "the parent of this process")
    }
}

/// Readable once the parent has ended, or executed another program.
impl AsFd for ParentProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
