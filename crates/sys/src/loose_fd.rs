//! A descriptor that the program may close behind our back.
//!
//! `closefrom()` and close-everything loops take descriptors that libraries keep, and their numbers are used
//! again for other files. So nothing is believed of such a descriptor without asking which file it is, before
//! and after, and it is never closed by us: by then it might be somebody else's.
#![expect(unsafe_code, reason = "borrowing a descriptor by number")]

use crate::file_lock::{self, Share};
use crate::shm_file::FileId;
use std::fs::File;
use std::io::Result;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, IntoRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// A descriptor number which refers to the file `id` for as long as nobody has closed it.
#[derive(Debug)]
pub struct LooseFd {
    number: AtomicI32,
    id: FileId,
}

impl LooseFd {
    /// Keeps `file` open, under its number, until the process ends or somebody closes it.
    #[must_use]
    pub fn keep(file: File, id: FileId) -> Self {
        Self { number: AtomicI32::new(file.into_raw_fd()), id }
    }

    /// Puts another description of the same file in the place of one that was lost.
    pub fn replace(&self, file: File) {
        // Relaxed: the number is checked against the file's identity at each use.
        self.number.store(file.into_raw_fd(), Ordering::Relaxed);
    }

    /// Whether another description holds `byte`; `None` when the descriptor is not ours any more.
    #[must_use]
    pub fn is_locked(&self, byte: u64) -> Option<bool> {
        self.checked(|file| file_lock::is_locked(file, byte))
    }

    /// Takes `byte`, or changes what this description holds; `None` when the descriptor is not ours any more.
    #[must_use]
    pub fn try_lock(&self, byte: u64, share: Share) -> Option<bool> {
        self.checked(|file| file_lock::try_lock(file, byte, share))
    }

    /// Runs `ask` on the descriptor if it is our file both before and after.
    fn checked<R>(&self, ask: impl FnOnce(&File) -> Result<R>) -> Option<R> {
        checked(self.number.load(Ordering::Relaxed), self.id, ask)
    }
}

fn checked<R>(number: RawFd, id: FileId, ask: impl FnOnce(&File) -> Result<R>) -> Option<R> {
    // SAFETY: the number may be stale, and then the calls on it answer EBADF or tell of another file, which
    // the comparison finds; `ManuallyDrop` never closes it.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(number) });
    let is_ours = || crate::shm_file::identity(&file).is_ok_and(|found| found == id);
    if !is_ours() {
        return None;
    }
    let answer = ask(&file).ok()?;
    is_ours().then_some(answer)
}

/// Lets go of the file `id` under this number, if that is what the number still means. The number stays open
/// on nothing in particular, so that whoever owns it can close it. Async-signal-safe.
pub fn hollow_out(number: RawFd, id: FileId) {
    if checked(number, id, |_| Ok(())).is_none() {
        return;
    }
    // SAFETY: the call takes two integers and touches no memory of ours.
    let nothing = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if nothing < 0 {
        return;
    }
    // SAFETY: both are numbers of descriptors; the second is meant to be replaced.
    unsafe { libc::dup3(nothing, number, libc::O_CLOEXEC) };
    // SAFETY: the kernel just made this descriptor for us; nobody else knows its number.
    unsafe { libc::close(nothing) };
}
