//! The id of a process that does not exist yet: what is handed to a child is claimed in its name before it
//! starts, so that there is no moment at which its death would go unnoticed.
//!
//! | step | who holds the slot's lock | killed here |
//! |---|---|---|
//! | a slot is locked and filled through a descriptor of its own | the parent | the parent: the lock is free, the child's id is dead |
//! | its lock becomes a shared one, with no moment without | the parent | the same |
//! | things are claimed in the child's name | the parent | the same: its claims are a dead process's |
//! | the child is started; it inherits the descriptor | both | the child: the parent closes the descriptor next |
//! | the parent closes its descriptor | the child | the child, also while it is still loading: its id is dead |
//! | the child locks the slot through a description of its own, and maps that | the child, twice | the same |
//! | the child unlocks the slot through the descriptor that it inherited, and closes it | the child | as every registered process |
//!
//! A lock is its description's, whoever has a descriptor of it. So also of the parent's other children,
//! forked without `exec` between the first step and the fifth: the last step takes it away from them. Until
//! then they would keep a child that dies alive; but what `fork()` makes lets go at once
//! ([`let_go_in_forked`]). What is left is a raw `clone` in that moment, for a child that dies before its
//! last step: noticed late, when that clone ends, and never falsely.

use super::register::{append, find, leave_at_exit, registrations};
use super::slot::{describe, process_name};
use super::{LIFELINES, Registration};
use crate::error::OpenError;
use crate::namespace::Namespace;
use crate::owner::OwnerId;
use procession_sys::file_lock::{self, Share};
use procession_sys::fork::{self, ForkLock};
use procession_sys::memfd::duplicate_above_stdio;
use procession_sys::{Lifeline, crash_point, hollow_out, shm_file};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// A place in a registry for a process that is about to be started; dropping it declares that process dead.
#[derive(Debug)]
pub struct StartingProcess {
    registration: &'static Registration,
    owner: OwnerId,
    line: OwnedFd,
}

/// Runs in each process that `fork()` makes: it keeps nobody alive whom its parent is about to start.
extern "C" fn let_go_in_forked() {
    for registration in registrations() {
        for line in &registration.starting.0 {
            match line.swap(0, Ordering::Relaxed) {
                0 => {}
                // The number stays open: whoever was about to close it, in the middle of the start, still
                // does.
                number => hollow_out(number, registration.file),
            }
        }
    }
}

impl Registration {
    /// Takes a place for a child.
    ///
    /// # Errors
    /// As [`register`](crate::register).
    pub(crate) fn prepare(&'static self) -> Result<StartingProcess, OpenError> {
        static IS_ARRANGED: AtomicBool = AtomicBool::new(false);
        // This process is attached to the registry itself: it is not removed meanwhile.
        self.owner()?;
        ForkLock::registration().hold(|| {
            // Relaxed: under the lock.
            if !IS_ARRANGED.swap(true, Ordering::Relaxed) {
                fork::in_forked(let_go_in_forked);
            }
            let line = self.open_line()?;
            let index = self.take_free_slot(&line)?;
            let owner = self.fill(index, 0, "(starting)")?;
            crash_point("registry.slot_prepared");
            let byte = LIFELINES + u64::from(index);
            if !file_lock::try_lock(&line, byte, Share::Shared).map_err(self.failed("share a slot of"))? {
                return Err(self.unsupported());
            }
            crash_point("registry.slot_shared");
            // The same description: closing one of its descriptors lets no lock go.
            let line = duplicate_above_stdio(&line).map_err(self.failed("duplicate a lifeline of"))?;
            self.starting.change(0, line.as_raw_fd());
            Ok(StartingProcess { registration: self, owner, line })
        })
    }

    fn take_over(&self, owner: OwnerId, line: &File) -> Result<(), OpenError> {
        let slot = self.slot(owner.slot()).ok_or_else(|| self.changed())?;
        // SYNC: registry.bumped.
        let is_ours = shm_file::identity(line).map_err(self.failed("look at"))? == self.file
            && slot.generation.load(Ordering::Acquire) == owner.generation();
        if !is_ours {
            return Err(self.changed());
        }
        let byte = LIFELINES + u64::from(owner.slot());
        let lifeline = ForkLock::registration().hold(|| {
            let own = self.open_line()?;
            if !file_lock::try_lock(&own, byte, Share::Shared).map_err(self.failed("take a slot of"))? {
                return Err(self.changed());
            }
            Lifeline::of_file(&own).map_err(self.failed("map the lifeline of"))
        })?;
        crash_point("registry.slot_locked_again");
        file_lock::unlock(line, byte).map_err(self.failed("let go of a slot of"))?;
        crash_point("registry.slot_let_go");
        describe(slot, std::process::id(), &process_name());
        self.verify(owner.slot(), lifeline)?;
        crash_point("registry.slot_taken_over");
        leave_at_exit();
        // SYNC: registry.registered.
        self.identity.owner.store(owner.to_bits(), Ordering::Release);
        Ok(())
    }
}

/// Registers this process with what its parent prepared: the namespace and the id that
/// [`StartingProcess::describe`] told, and the descriptor that it inherited. Nothing of the namespace may
/// have been used before.
///
/// # Errors
/// [`OpenError::RegistryChanged`] when the registry is another one, or this process is registered already;
/// otherwise as [`register`](crate::register).
pub fn take_over(namespace: &str, owner: u64, line: OwnedFd) -> Result<(), OpenError> {
    let namespace = Namespace::new(namespace)?;
    let registration = ForkLock::registration().hold(|| match find(&namespace) {
        Some(registration) => Ok(registration),
        None => Registration::open(&namespace, None).map(append),
    })?;
    if registration.current_owner().is_some() {
        return Err(registration.changed());
    }
    registration.take_over(OwnerId::from_bits(owner), &File::from(line))
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

    /// The namespace and the id that the process needs for [`take_over`], besides the descriptor.
    #[must_use]
    pub fn describe(&self) -> (String, u64) {
        (self.registration.namespace().name().to_owned(), self.owner.to_bits())
    }

    /// The process was started and has its own descriptor; ours goes with this value.
    pub fn started(self, pid: u32) {
        if let Some(slot) = self.registration.slot(self.owner.slot()) {
            // For people, until it says so itself: who died, if it dies before. 0 is what we wrote.
            let _: Result<u32, u32> = slot.pid.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl Drop for StartingProcess {
    fn drop(&mut self) {
        let number = self.line.as_raw_fd();
        // Before the number is free for another file, and while nobody forks: a fork would inherit what it
        // knows nothing of.
        ForkLock::registration().hold(|| {
            hollow_out(number, self.registration.file);
            self.registration.starting.change(number, 0);
        });
    }
}

impl AsFd for StartingProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}
