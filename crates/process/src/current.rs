//! Who this process is, and who started it.

use procession_sys::Latest;
use procession_sys::pidfd::{EndFd, EndWait};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::parent_id;
use std::time::Duration;

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

/// Readable once the parent has ended, or executed another program.
impl AsFd for ParentProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
