//! Open-file-description locks on single bytes, far beyond the end of the file.
//!
//! Such a lock belongs to the open file description, not to the process: it lasts while any descriptor *or
//! mapping* of that description lasts. A description never conflicts with itself, so a question about a lock
//! must be asked through another description than the one that may hold it. `flock` is not the same: an OFD
//! lock is granted beside it. One function is for the other kind of lock, which is a process's.
#![expect(unsafe_code, reason = "fcntl takes a struct by pointer")]

use crate::clock::Deadline;
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The way in which a byte is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Many descriptions may hold it together.
    Shared,
    /// The lock that one description holds alone.
    Exclusive,
}

/// Takes the lock if nobody is in the way; `Ok(false)` if somebody is.
///
/// # Errors
/// Whatever `fcntl` reports besides the conflict: `EBADF`, `ENOLCK`, …
pub fn try_lock(file: impl AsFd, byte: u64, share: Share) -> Result<bool> {
    let kind = match share {
        Share::Shared => libc::F_RDLCK,
        Share::Exclusive => libc::F_WRLCK,
    };
    match control(&file, libc::F_OFD_SETLK, byte, kind) {
        Ok(_) => Ok(true),
        Err(error) if is_conflict(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the lock, trying again each millisecond until `deadline`; `Ok(false)` when it passed.
///
/// # Errors
/// As [`try_lock`].
pub fn lock_until(file: impl AsFd, byte: u64, share: Share, deadline: Deadline) -> Result<bool> {
    loop {
        if try_lock(&file, byte, share)? {
            return Ok(true);
        }
        if deadline.has_passed() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Gives the lock back, whichever it was.
///
/// # Errors
/// As `fcntl`.
pub fn unlock(file: impl AsFd, byte: u64) -> Result<()> {
    control(&file, libc::F_OFD_SETLK, byte, libc::F_UNLCK).map(drop)
}

/// Whether another description than `file`'s holds the byte in any way.
///
/// # Errors
/// As `fcntl`.
pub fn is_locked(file: impl AsFd, byte: u64) -> Result<bool> {
    Ok(is_taken(control(&file, libc::F_OFD_GETLK, byte, libc::F_WRLCK)?))
}

/// Takes the lock for this process alone, and not for the description, if nobody is in the way: a process that is forked
/// does not keep it, and the first descriptor of the file that this process closes gives it back. `Some` if somebody is
/// in the way, with the process, unless it has no number in this pid namespace.
///
/// # Errors
/// As [`try_lock`].
pub fn try_lock_for_process(file: impl AsFd, byte: u64) -> Result<Option<Option<u32>>> {
    loop {
        match control(&file, libc::F_SETLK, byte, libc::F_WRLCK) {
            Ok(_) => return Ok(None),
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(error),
        }
        let other = control(&file, libc::F_GETLK, byte, libc::F_WRLCK)?;
        // Else it has ended meanwhile.
        if is_taken(other) {
            return Ok(Some(u32::try_from(other.l_pid).ok().filter(|&pid| pid != 0)));
        }
    }
}

fn is_conflict(error: &Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES))
}

fn is_taken(lock: libc::flock) -> bool {
    i32::from(lock.l_type) != libc::F_UNLCK
}

/// Gives `fcntl` a lock command for one byte; returns what the kernel left in the struct.
fn control(file: &impl AsFd, command: i32, byte: u64, kind: i32) -> Result<libc::flock> {
    let start = i64::try_from(byte).map_err(|_| Error::from_raw_os_error(libc::EINVAL))?;
    let mut lock = libc::flock {
        l_type: i16::try_from(kind).unwrap_or(0),
        l_whence: 0, // SEEK_SET
        l_start: start,
        l_len: 1,
        l_pid: 0, // must be zero for OFD locks
    };
    // SAFETY: the descriptor is open for the whole call and `lock` is a valid flock that the kernel may fill.
    let result = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, &raw mut lock) };
    if result == -1 { Err(Error::last_os_error()) } else { Ok(lock) }
}

#[cfg(test)]
mod tests {
    use super::{Share, is_locked, try_lock, unlock};
    use crate::shm_file;

    #[test]
    fn two_descriptions_exclude_each_other_and_a_description_never_sees_itself() {
        let one = shm_file::create_unnamed().unwrap();
        let two = shm_file::reopen(&one).unwrap();
        assert!(try_lock(&one, 1 << 40, Share::Exclusive).unwrap());
        assert!(try_lock(&one, 1 << 40, Share::Exclusive).unwrap());
        assert!(!is_locked(&one, 1 << 40).unwrap());
        assert!(is_locked(&two, 1 << 40).unwrap());
        assert!(!try_lock(&two, 1 << 40, Share::Shared).unwrap());
        unlock(&one, 1 << 40).unwrap();
        assert!(try_lock(&two, 1 << 40, Share::Shared).unwrap());
        assert!(try_lock(&one, 1 << 40, Share::Shared).unwrap());
        assert!(!is_locked(&one, (1 << 40) + 1).unwrap());
    }
}
