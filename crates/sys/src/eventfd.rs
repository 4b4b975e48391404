//! A bell that a process can wait for together with the ends of others: an eventfd, and `poll`.

use crate::clock::Deadline;
use crate::interrupt;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::fstat;
use nix::sys::time::TimeSpec;
use nix::unistd::pipe2;
use std::io::Result;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A new bell, not ringing, close-on-exec, and numbered 3 or more.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn create() -> Result<OwnedFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    crate::memfd::above_stdio(EventFd::from_value_and_flags(0, flags)?.into())
}

/// A new bell of two files: one to poll and to [`silence`], one to [`ring`]. They have inodes of their own, so that
/// it takes one question to tell them from files that have got their numbers.
///
/// # Errors
/// As [`create`].
pub fn create_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (hears, rings) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((crate::memfd::above_stdio(hears)?, crate::memfd::above_stdio(rings)?))
}

/// Rings; whoever polls it finds it readable until somebody calls [`silence`].
pub fn ring(bell: impl AsFd) {
    // A full counter rings already.
    let _: nix::Result<usize> = nix::unistd::write(bell, &1_u64.to_ne_bytes());
}

/// Rings as [`ring`] does, for a descriptor that user code may have closed: if the number means a file, a
/// socket or a pipe now, nothing is written to it.
pub fn ring_if_still_there(bell: impl AsFd) {
    // What an eventfd refers to has no file type.
    if fstat(&bell).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == 0) {
        ring(bell);
    }
}

/// Stops the ringing; a pipe's after as many calls as it was rung.
pub fn silence(bell: impl AsFd) {
    // A silent bell answers EAGAIN.
    let _: nix::Result<usize> = nix::unistd::read(bell, &mut [0; 8]);
}

/// Waits until at least one of `fds` is readable, at most for `timeout` (`None`: for ever); which are.
/// Whoever can be interrupted by a signal finds that none is, and asks whether it is.
///
/// # Errors
/// `EINVAL` for more descriptors than the limit of open files; `ENOMEM`.
pub fn wait_any(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Vec<bool>> {
    let deadline = timeout.map_or(Deadline::NEVER, Deadline::after);
    let mut fds: Vec<_> = fds.iter().map(|&fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    loop {
        // Anew after each signal: those that come again and again are not to keep it here for ever.
        match ppoll(&mut fds, deadline.remaining().map(TimeSpec::from), None) {
            Ok(_) => return Ok(fds.iter().map(|fd| fd.any().unwrap_or(false)).collect()),
            Err(Errno::EINTR) if interrupt::is_possible() => return Ok(vec![false; fds.len()]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{create, create_pipe, ring, ring_if_still_there, silence, wait_any};
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    #[test]
    #[expect(unsafe_code, reason = "a signal is handled, and sent to a thread")]
    fn signals_that_come_again_and_again_do_not_keep_a_wait_from_its_end() {
        const MOST: u32 = 2000;
        extern "C" fn ignore(_: libc::c_int) {}
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR1, ignore as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        let (bell, is_over) = (create().unwrap(), AtomicBool::new(false));
        // SAFETY: it reads the number of the calling thread.
        let waits = unsafe { libc::pthread_self() };
        let sent = std::thread::scope(|scope| {
            let sends = scope.spawn(|| {
                let comes = |_: &u32| !is_over.load(Ordering::Relaxed);
                (0..MOST).take_while(comes).fold(0, |sent, _| {
                    // SAFETY: the thread lives: it waits for this one.
                    assert_eq!(unsafe { libc::pthread_kill(waits, libc::SIGUSR1) }, 0);
                    std::thread::sleep(Duration::from_millis(5));
                    sent + 1
                })
            });
            assert_eq!(wait_any(&[bell.as_fd()], Some(Duration::from_millis(100))).unwrap(), [false]);
            is_over.store(true, Ordering::Relaxed);
            sends.join().unwrap()
        });
        assert!((1..MOST).contains(&sent), "it has waited until no more came: {sent}");
    }

    #[test]
    fn a_rung_bell_is_readable_until_silenced() {
        let (one, two) = (create().unwrap(), create().unwrap());
        ring(&one);
        ring(&one);
        assert_eq!(wait_any(&[one.as_fd(), two.as_fd()], None).unwrap(), [true, false]);
        silence(&one);
        let none = wait_any(&[one.as_fd(), two.as_fd()], Some(Duration::from_millis(1))).unwrap();
        assert_eq!(none, [false, false]);
        ring_if_still_there(&two);
        assert_eq!(wait_any(&[one.as_fd(), two.as_fd()], None).unwrap(), [false, true]);
        let (hears, rings) = create_pipe().unwrap();
        (0..2).for_each(|_| ring(&rings));
        for is_rung in [true, true, false] {
            let found = wait_any(&[hears.as_fd()], Some(Duration::from_millis(1))).unwrap();
            assert_eq!(found, [is_rung]);
            silence(&hears);
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        ring_if_still_there(&file);
    }
}
