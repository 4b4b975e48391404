//! What a supervisor keeps running.

use crate::error::KernelError;
use crate::label::ProcessLabel;
use crate::process::Process;
use crate::status::ExitStatus;
use std::os::fd::BorrowedFd;

/// What a [`Supervisor`](super::Supervisor) can keep running: a process that can be signalled, and waited for.
pub trait Supervised {
    /// Who it is.
    fn label(&self) -> ProcessLabel;

    /// Readable once it has ended; `None` if that is learnt by what the supervisor attends to
    /// ([`Supervisor::attend`](super::Supervisor::attend)).
    fn end(&self) -> Option<BorrowedFd<'_>>;

    /// Whether one that has no [`end`](Self::end) is told by what the supervisor attends to; else it is looked at.
    #[doc(hidden)]
    fn is_attended(&self) -> bool {
        true
    }

    /// How it ended; `None` while it runs.
    fn status(&self) -> Option<ExitStatus>;

    /// How many ends had been taken when its own was, where whoever starts processes takes ends before the supervisor
    /// asks: they are told in that order, as one may have come because of another. 0 for one that runs, and where the
    /// end is taken when [`status`](Self::status) is asked for.
    #[doc(hidden)]
    fn place_among_ends(&self) -> u64 {
        0
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// What the kernel says; one that has ended already is none.
    fn signal(&self, signal: i32) -> Result<(), KernelError>;
}

impl<R> Supervised for Process<R> {
    fn label(&self) -> ProcessLabel {
        Self::label(self).clone()
    }

    fn end(&self) -> Option<BorrowedFd<'_>> {
        // The program may have closed it, and its number may be another file's.
        self.child().end.get()
    }

    fn is_attended(&self) -> bool {
        false
    }

    fn status(&self) -> Option<ExitStatus> {
        self.exit_status()
    }

    fn signal(&self, signal: i32) -> Result<(), KernelError> {
        Self::signal(self, signal)
    }
}
