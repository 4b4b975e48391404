//! The stdin, stdout and stderr that this process was started with, as they were before Rust's runtime
//! changed them.
//!
//! The runtime opens `/dev/null` in place of a closed stdin, stdout or stderr, so that writing a result to
//! nowhere succeeds; and it ignores SIGPIPE, so that nobody can tell whether that was wished. Only what runs
//! before `main` sees more. It is a feature of its own, so that no other program runs anything before its
//! `main`.
#![expect(unsafe_code, reason = "a function is called before main, and descriptors are asked for by number")]

use crate::memfd::duplicate_above_stdio;
use crate::signals::is_ignored;
use std::io::{Error, Result};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

const READABLE: u32 = 1;
const WRITABLE: u32 = 2;
const BITS_OF_ONE: u32 = 2;
const IGNORED_PIPE: u32 = 1 << (3 * BITS_OF_ONE);

/// For each of the descriptors 0 to 2 two bits, and one for SIGPIPE.
static SEEN: AtomicU32 = AtomicU32::new(0);

#[used]
// The C library calls what this section lists once, before `main`; the function needs nothing but system
// calls.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    let pipe = if is_ignored(libc::SIGPIPE) { IGNORED_PIPE } else { 0 };
    let seen = (0..3).fold(pipe, |seen, fd| seen | rights(fd) << (BITS_OF_ONE * fd));
    // Relaxed: nobody else runs yet.
    SEEN.store(seen, Ordering::Relaxed);
}

fn rights(fd: u32) -> u32 {
    // SAFETY: the call takes integers and touches no memory of ours.
    let flags = unsafe { libc::fcntl(fd.cast_signed(), libc::F_GETFL) };
    if flags < 0 || flags & libc::O_PATH != 0 {
        return 0;
    }
    match flags & libc::O_ACCMODE {
        libc::O_RDONLY => READABLE,
        libc::O_WRONLY => WRITABLE,
        _ => READABLE | WRITABLE,
    }
}

fn seen(bits: u32) -> bool {
    // Relaxed: it was stored before there was a second thread.
    SEEN.load(Ordering::Relaxed) & bits != 0
}

/// Whether descriptor `fd`, 0 to 2, was open.
#[must_use]
pub fn was_open(fd: u32) -> bool {
    fd < 3 && seen((READABLE | WRITABLE) << (BITS_OF_ONE * fd))
}

/// Whether stdin was open for reading.
#[must_use]
pub fn could_read_stdin() -> bool {
    seen(READABLE)
}

/// Whether stdout was open for writing.
#[must_use]
pub fn could_write_stdout() -> bool {
    seen(WRITABLE << BITS_OF_ONE)
}

/// Another descriptor of the open file that this process was given under this number: both have one place in it.
///
/// # Errors
/// `EBADF` if the process was given none. What it has opened itself does not count, whatever its number: that is marked to
/// be closed by `exec`, and what came through `exec` is not.
pub fn descriptor(number: u32) -> Result<OwnedFd> {
    let fd = number.cast_signed();
    // SAFETY: the call takes integers and touches no memory of ours.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 || number < 3 && !was_open(number) {
        return Err(Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is open, as was just seen; the borrow ends with this line.
    duplicate_above_stdio(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Whether SIGPIPE was ignored.
#[must_use]
pub fn ignored_sigpipe() -> bool {
    seen(IGNORED_PIPE)
}

#[cfg(test)]
mod tests {
    use super::{could_write_stdout, descriptor, rights, was_open};
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsRawFd;

    #[test]
    fn it_was_seen_before_main() {
        assert!(was_open(2) && could_write_stdout() && !was_open(3));
    }

    #[test]
    fn what_this_process_has_opened_was_not_given_to_it() {
        assert!(descriptor(2).is_ok());
        let own = File::open("/dev/null").unwrap();
        for number in [own.as_raw_fd().unsigned_abs(), 1 << 20, u32::MAX] {
            assert_eq!(descriptor(number).unwrap_err().raw_os_error(), Some(libc::EBADF), "{number}");
        }
    }

    #[test]
    fn what_a_descriptor_is_open_for() {
        let open = |read: bool, write: bool| {
            let file = OpenOptions::new().read(read).write(write).open("/dev/null").unwrap();
            rights(file.as_raw_fd().unsigned_abs())
        };
        assert_eq!([open(true, false), open(false, true), open(true, true)], [1, 2, 3]);
        assert_eq!(rights(1 << 20), 0);
    }
}
