//! What steers a supervisor from outside: wishes that its thread finds at its next look, and a bell that wakes it.

use procession_sys::eventfd;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Steers a [`Supervisor`](crate::Supervisor), from another thread or from what it calls; made by
/// [`Supervisor::handle`](crate::Supervisor::handle).
#[derive(Clone, Debug)]
pub struct SupervisorHandle(Arc<Wishes>);

#[derive(Debug)]
struct Wishes {
    stop: AtomicBool,
    no_more: AtomicBool,
    /// Whose workers are to be replaced.
    replaced: Mutex<BTreeSet<usize>>,
    /// How many workers were wished for beside those of the beginning.
    added: AtomicUsize,
    /// Without one, whoever asks is heard at the next look.
    bell: Option<OwnedFd>,
}

impl SupervisorHandle {
    pub(super) fn new() -> Self {
        let (stop, no_more) = (AtomicBool::new(false), AtomicBool::new(false));
        let (replaced, added) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Wishes { stop, no_more, replaced, added, bell: eventfd::create().ok() }))
    }

    /// Stops the workers: SIGTERM, and SIGKILL after the grace. A supervisor that was stopped before it runs starts
    /// nothing.
    pub fn stop(&self) {
        // Release, here and below: whoever finds the wish finds what was done before it.
        self.0.stop.store(true, Ordering::Release);
        self.ring();
    }

    /// Has no worker started any more, also not again; those that run are told nothing, and are waited for.
    pub fn drain(&self) {
        self.0.no_more.store(true, Ordering::Release);
        self.ring();
    }

    /// Ends the worker of this rank, by SIGTERM, and SIGKILL after the grace, and starts another in its place at once,
    /// whatever the policy says of one that ended so; it does not count as a restart. One that has ended for good, or
    /// is to be started later, is started now. Where all are started again together, they all are.
    ///
    /// A rank that no worker has is ignored, and so is a wish that comes when the supervisor stops.
    pub fn restart(&self, rank: usize) {
        self.replaced().insert(rank);
        self.ring();
    }

    /// Whether workers are to be replaced.
    pub(super) fn has_replaced(&self) -> bool {
        !self.replaced().is_empty()
    }

    /// The ranks whose workers are to be replaced, once.
    pub(super) fn take_replaced(&self) -> BTreeSet<usize> {
        std::mem::take(&mut *self.replaced())
    }

    fn replaced(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has so many more workers started and kept running, of the ranks that follow. A supervisor that stops or drains
    /// starts none, and one whose workers have all ended has nothing to do with them any more.
    ///
    /// ```
    /// use procession::{Process, Supervisor};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let supervisor = Supervisor::new(1);
    ///     let handle = supervisor.handle();
    ///     let statuses = supervisor.run(|attempt| {
    ///         // The first one finds that there is work for two others.
    ///         if attempt.rank() == 0 {
    ///             handle.add_workers(2);
    ///         }
    ///         Process::spawn(|rank| println!("worker {rank}"), attempt.rank())
    ///     })?;
    ///     assert_eq!(statuses.len(), 3);
    ///     Ok(())
    /// }
    /// ```
    pub fn add_workers(&self, count: usize) {
        self.0.added.fetch_add(count, Ordering::Release);
        self.ring();
    }

    pub(super) fn added(&self) -> usize {
        self.0.added.load(Ordering::Acquire)
    }

    pub(super) fn wants_stop(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    pub(super) fn wants_no_more(&self) -> bool {
        self.0.no_more.load(Ordering::Acquire)
    }

    fn ring(&self) {
        if let Some(bell) = &self.0.bell {
            eventfd::ring(bell);
        }
    }

    pub(super) fn bell(&self) -> io::Result<OwnedFd> {
        match &self.0.bell {
            Some(bell) => bell.try_clone(),
            None => Err(io::Error::other("no descriptor was left to wake the supervisor")),
        }
    }
}
