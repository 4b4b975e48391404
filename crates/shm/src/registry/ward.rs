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
//! | `ward` = 0; `ward_space` | the guardian | a guardian without a ward |
//! | a new process that shares the guardian's memory, and asks to be killed at its end | the ward | the same |
//! | `ward_start` = its generation, and when it began | the ward | the same |
//! | `ward` = the generation, and its pid | the ward | a ward that has ended |
//! | `exec`, which leaves the guardian's memory | the ward | the guardian: its ward lives, and it counts as alive until that has ended |
//!
//! The words stay when the ward ends: what counts is whether the process lives.
//!
//! The lifeline lasts as long as the guardian's memory, which the child has too until it executes the command. So
//! the lifeline is free only once the guardian is dead **and** the child has said who it is, or has ended; and whoever
//! finds it free looks for the ward after that.
//!
//! A slot whose occupant has a ward that lives is given to nobody else, although its lifeline is free.
//!
//! The ward is known by its pid and its beginning. A process in another pid namespace does not know what that
//! pid is there. For it the ward has ended with its guardian: there, `PR_SET_PDEATHSIG` alone protects.
//!
//! # Orderings
//! Edge `registry.warded`: the store of `ward` comes before the child leaves the guardian's memory, and meets the load
//! of whoever has found the lifeline free after that. In between is the kernel's lock of all that is locked in the file.

use super::Registration;
use super::layout::Slot;
use procession_sys::errno::ESRCH;
use procession_sys::ward::{Place, Program, Start, Started, spawn, start_of_process};
use procession_sys::{KeptFd, pidfd};
use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Registration {
    /// Starts a program as this process's ward. As long as it lives, this process does not count as dead,
    /// however it ends. A process has one ward at a time.
    ///
    /// The program ends with the calling *thread*: the kernel kills it, unless it asks for something else, or has more
    /// rights than this process. Its place is this process's slot, whatever `start` says.
    ///
    /// # Errors
    /// `ResourceBusy` while the ward before lives; `EAGAIN` at the limit of processes; whatever `execve` says; what
    /// registering can meet, in a forked child.
    pub fn start_ward(&'static self, program: &Program, start: Start<'_>) -> Result<Started> {
        let owner = self.owner().map_err(Error::other)?;
        let slot = self.slot(owner.slot()).ok_or(ErrorKind::NotFound)?;
        if of(slot, owner.generation()).is_some() {
            return Err(ErrorKind::ResourceBusy.into());
        }
        // INVARIANT 2: this process holds the lifeline. Nobody looks at the others while there is no pid.
        slot.ward.store(0, Ordering::SeqCst);
        slot.ward_space.store(pid_space(), Ordering::Relaxed);
        let place = Place { tag: owner.generation(), began: &slot.ward_start, who: &slot.ward };
        spawn(program, Start { place: Some(place), ..start })
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
    // Nobody writes it meanwhile: who becomes a ward holds the lifeline with its guardian's memory.
    let (generation, _) = parts(slot.ward.load(Ordering::SeqCst));
    let may_clear = of(slot, generation).is_none();
    if may_clear {
        slot.ward.store(0, Ordering::SeqCst);
    }
    may_clear
}

/// The tag and what it is on.
fn parts(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// The pid namespace of this process; 0 where `/proc` does not say it.
fn pid_space() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |space| space.ino())
}
