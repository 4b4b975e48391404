//! A ward: a program that a registered process runs under what it holds. As long as the ward lives, the
//! process does not count as dead.
//!
//! `procession lock NAME -- CMD` holds the lock for a command that knows nothing of it. When the wrapper is
//! killed, its lifeline is free at once; the command, which the kernel kills for it (`PR_SET_PDEATHSIG`), ends
//! a moment later, or not at all if it has asked for something else, or runs with the rights of another user
//! (`sudo`). Whoever took the lock in that time would run its own command beside it.
//!
//! | step | who | killed here leaves |
//! |---|---|---|
//! | `ward_space`; `ward_start` and `ward` become (generation, 0) | the guardian | a guardian without a ward |
//! | a new process, which asks to be killed at the guardian's end | the child | the same |
//! | `ward_start`: (generation, 0) → (generation, its beginning) | the child | the same |
//! | `ward`: (generation, 0) → (generation, its pid) | the child | a ward that has ended, or ends at the next step |
//! | is the guardian's lifeline still locked? otherwise the child ends | the child | the same |
//! | `exec` | the child | the guardian: its ward lives, and it counts as alive until the ward has ended |
//! | `ward` becomes 0 | the guardian, after it has taken the ward's exit status | a dead process, as everywhere |
//!
//! Who finds the lifeline free looks for the ward after that, and the child looks at the lifeline after it has
//! become the ward (store, then load, on both sides): a child that executes the command has been seen by
//! everybody who finds its guardian dead.
//!
//! A slot whose occupant has a ward that lives is given to nobody else, although its lifeline is free. The next
//! occupant clears the words before it bumps the generation; what a child of the former one still writes finds
//! another word than it expects, and that child ends.
//!
//! The ward is known by its pid and its beginning. A process in another pid namespace does not know what that
//! pid is there. For it the ward has ended with its guardian: there, `PR_SET_PDEATHSIG` alone protects.
//!
//! # Orderings
//! Edge `registry.warded`: the SeqCst store of `ward`, before the child asks for the lifeline, meets the SeqCst
//! load of whoever has found the lifeline free. The kernel answers both questions under one lock.

use super::layout::Slot;
use super::{LIFELINES, Registration};
use crate::error::OpenError;
use crate::owner::OwnerId;
use procession_sys::errno::ESRCH;
use procession_sys::ward::{Gate, Program, Signals, spawn, start_of_process};
use procession_sys::{KeptFd, pidfd};
use std::fs;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How a process that is registered runs one program under what it holds; dropping it says that the program
/// has ended.
#[derive(Debug)]
pub struct Guardian {
    registration: &'static Registration,
    owner: OwnerId,
}

impl Registration {
    /// Makes the calling process one that has a ward from [`Guardian::spawn`] on. It has one guardian, and one
    /// ward, at a time.
    ///
    /// # Errors
    /// As [`register`](crate::register).
    pub fn guard(&'static self) -> std::result::Result<Guardian, OpenError> {
        let owner = self.owner()?;
        if let Some(slot) = self.slot(owner.slot()) {
            // INVARIANT 2: this process holds the lifeline. Without a pid, nobody looks at the other two.
            slot.ward_space.store(pid_space(), Ordering::Relaxed);
            slot.ward_start.store(Gate::empty(owner.generation()), Ordering::Relaxed);
            slot.ward.store(Gate::empty(owner.generation()), Ordering::SeqCst);
        }
        Ok(Guardian { registration: self, owner })
    }

    /// What shows when the ward of `owner` has ended, whose lifeline is free.
    pub(super) fn end_of_ward(&self, owner: OwnerId) -> Option<KeptFd> {
        let slot = self.slot(owner.slot()).filter(|_| self.is_slot_locked(owner.slot()) == Ok(false))?;
        match of(slot, owner.generation())? {
            Ward::Seen(end) => Some(end),
            Ward::Unseen => None,
        }
    }
}

impl Guardian {
    /// Starts the program, which becomes the ward before it is executed; its pid.
    ///
    /// It ends with the calling *thread*: the kernel kills it, unless it asks for something else.
    ///
    /// # Errors
    /// `EAGAIN` at the limit of processes; whatever `execve` says; `ECANCELED` if this guardian has had a ward already.
    pub fn spawn(&self, program: &Program, signals: Signals) -> Result<u32> {
        let (registration, index) = (self.registration, self.owner.slot());
        let slot = registration.slot(index).ok_or(ErrorKind::NotFound)?;
        let lifeline = (&registration.query, LIFELINES + u64::from(index));
        let gate = Gate { tag: self.owner.generation(), began: &slot.ward_start, who: &slot.ward, lifeline };
        spawn(program, signals, gate)
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // Another process than the guardian's, forked from it, has nothing to say about its slot.
        if self.registration.current_owner() == Some(self.owner)
            && let Some(slot) = self.registration.slot(self.owner.slot())
        {
            // SYNC: registry.warded.
            slot.ward.store(0, Ordering::SeqCst);
        }
    }
}

/// What shows the end of a ward that lives.
#[derive(Debug)]
pub(super) enum Ward {
    /// A descriptor, readable once it has ended.
    Seen(KeptFd),
    /// It cannot be looked at now, and may live: late, never false.
    Unseen,
}

/// The ward of the slot's occupant `generation`, if there is one and it lives. To be asked after the lifeline was
/// found free.
pub(super) fn of(slot: &Slot, generation: u32) -> Option<Ward> {
    // SYNC: registry.warded.
    let (tag, pid) = parts(slot.ward.load(Ordering::SeqCst));
    if pid == 0 || tag != generation || slot.ward_space.load(Ordering::Relaxed) != pid_space() {
        return None;
    }
    let (_, start) = parts(slot.ward_start.load(Ordering::Relaxed));
    // The descriptor first: what is read after that is of the process that it shows, or of one that began later.
    let end = match pidfd::open(pid) {
        Ok(end) => end,
        Err(error) if error.raw_os_error() == Some(ESRCH) => return None,
        Err(_) => return is_it(pid, start).then_some(Ward::Unseen),
    };
    if !is_it(pid, start) || pidfd::wait(&end, Some(Duration::ZERO)).unwrap_or(false) {
        return None;
    }
    Some(KeptFd::keep(end).map_or(Ward::Unseen, Ward::Seen))
}

/// Whether the process of that pid, if there is one, began then; where that is not known, it may have.
fn is_it(pid: u32, start: u32) -> bool {
    start == 0 || start_of_process(pid).is_none_or(|began| began as u32 == start)
}

/// Clears what the last occupant has left, for a new one that holds the lifeline; not if it has a ward that lives.
pub(super) fn clear(slot: &Slot) -> bool {
    loop {
        let ward = slot.ward.load(Ordering::SeqCst);
        if of(slot, parts(ward).0).is_some() {
            return false;
        }
        // A child that becomes the ward now is looked at once more; one that comes later finds another word.
        if slot.ward.compare_exchange(ward, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            slot.ward_start.store(0, Ordering::Relaxed);
            return true;
        }
    }
}

/// The tag and what it is on.
fn parts(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// The pid namespace of this process; 0 where `/proc` does not say it.
fn pid_space() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |space| space.ino())
}
