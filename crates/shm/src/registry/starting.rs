//! The id of a process that does not exist yet: what is handed to a child is claimed in its name before it starts, so
//! that there is no moment at which its death would go unnoticed.
//!
//! | step | who holds the slot's lock | killed here |
//! |---|---|---|
//! | a slot is locked and filled through a descriptor of its own | the parent | the parent: the lock is free, the child's id is dead |
//! | things are claimed in the child's name | the parent | the same: its claims are a dead process's |
//! | the child is started; it inherits the descriptor | both | the child: the parent closes the descriptor next |
//! | the parent closes its descriptor | the child | the child, also while it is still loading: its id is dead |
//! | the child maps the lifeline and closes the descriptor | the child | as every registered process |
//!
//! The parent's other children, forked without `exec` between the first step and the fourth, keep the lock too as
//! long as they live: then the death of the child is noticed late, never falsely.

use super::{Registration, append, describe, find, leave_at_exit, process_name};
use crate::{Namespace, OpenError, OwnerId};
use procession_sys::fork::ForkLock;
use procession_sys::memfd::duplicate_above_stdio;
use procession_sys::{Lifeline, crash_point, shm_file};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

/// A place in a registry for a process that is about to be started; dropping it declares that process dead.
#[derive(Debug)]
pub struct StartingProcess {
    registration: &'static Registration,
    owner: OwnerId,
    line: OwnedFd,
}

impl Registration {
    /// Takes a place for a child.
    ///
    /// # Errors
    /// As [`register`](crate::register).
    pub(crate) fn prepare(&'static self) -> Result<StartingProcess, OpenError> {
        // This process is attached to the registry itself: it is not removed meanwhile.
        self.owner()?;
        let line = self.open_line()?;
        let index = self.take_free_slot(&line)?;
        let owner = self.fill(index, 0, "(starting)")?;
        crash_point("registry.slot_prepared");
        // The same description: closing one of its descriptors lets no lock go.
        let line = duplicate_above_stdio(&line).map_err(self.failed("duplicate a lifeline of"))?;
        Ok(StartingProcess { registration: self, owner, line })
    }

    fn take_over(&self, owner: OwnerId, line: File) -> Result<(), OpenError> {
        let slot = self.slot(owner.slot()).ok_or_else(|| self.changed())?;
        let is_ours = shm_file::identity(&line).map_err(self.failed("look at"))? == self.file
            && slot.generation.load(Ordering::Acquire) == owner.generation();
        if !is_ours {
            return Err(self.changed());
        }
        let lifeline = Lifeline::of_file(&line).map_err(self.failed("map the lifeline of"))?;
        drop(line);
        describe(slot, std::process::id(), &process_name());
        self.verify(owner.slot(), lifeline)?;
        crash_point("registry.slot_taken_over");
        leave_at_exit();
        self.identity.owner.store(owner.to_bits(), Ordering::Release);
        Ok(())
    }
}

/// Registers this process with what its parent prepared: the namespace and the id that [`StartingProcess::describe`]
/// told, and the descriptor that it inherited. Nothing of the namespace may have been used before.
///
/// # Errors
/// [`OpenError::RegistryChanged`] when the registry is another one, or this process is registered already; otherwise as
/// [`register`](crate::register).
pub fn take_over(namespace: &str, owner: u64, line: OwnedFd) -> Result<(), OpenError> {
    let namespace = Namespace::new(namespace)?;
    let registration = ForkLock::registration().hold(|| match find(&namespace) {
        Some(registration) => Ok(registration),
        None => Registration::open(&namespace, super::DEFAULT_SLOTS).map(append),
    })?;
    if registration.current_owner().is_some() {
        return Err(registration.changed());
    }
    registration.take_over(OwnerId::from_bits(owner), File::from(line))
}

impl StartingProcess {
    /// Which registry it is a place in.
    pub(crate) fn registration(&self) -> &'static Registration {
        self.registration
    }

    /// The id that the process will have.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// What the process needs to be told for [`take_over`], besides the descriptor.
    #[must_use]
    pub fn describe(&self) -> (String, u64) {
        (self.registration.namespace().name().to_owned(), self.owner.to_bits())
    }

    /// The process was started and has its own descriptor.
    pub fn started(self, pid: u32) {
        if let Some(slot) = self.registration.slot(self.owner.slot()) {
            // For people, until it says so itself: who died, if it dies before. 0 is what we wrote.
            let _: Result<u32, u32> = slot.pid.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl AsFd for StartingProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}
