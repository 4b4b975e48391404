//! A bell that a process can wait for together with the ends of others: an eventfd, and `poll`.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io::Result;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A new bell, not ringing, close-on-exec.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn create() -> Result<OwnedFd> {
    Ok(EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?.into())
}

/// Rings; whoever polls it finds it readable until somebody calls [`silence`].
pub fn ring(bell: impl AsFd) {
    // A full counter rings already.
    let _: nix::Result<usize> = nix::unistd::write(bell, &1_u64.to_ne_bytes());
}

/// Stops the ringing.
pub fn silence(bell: impl AsFd) {
    // A silent bell answers EAGAIN.
    let _: nix::Result<usize> = nix::unistd::read(bell, &mut [0; 8]);
}

/// Waits until at least one of `fds` is readable; which are.
///
/// # Errors
/// `EINVAL` for more descriptors than the limit of open files; `ENOMEM`.
pub fn wait_any(fds: &[BorrowedFd<'_>]) -> Result<Vec<bool>> {
    let mut fds: Vec<_> = fds.iter().map(|&fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => return Ok(fds.iter().map(|fd| fd.any().unwrap_or(false)).collect()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{create, ring, silence, wait_any};
    use std::os::fd::AsFd;

    #[test]
    fn a_rung_bell_is_readable_until_silenced() {
        let (one, two) = (create().unwrap(), create().unwrap());
        ring(&one);
        ring(&one);
        assert_eq!(wait_any(&[one.as_fd(), two.as_fd()]).unwrap(), [true, false]);
        silence(&one);
        ring(&two);
        assert_eq!(wait_any(&[one.as_fd(), two.as_fd()]).unwrap(), [false, true]);
    }
}
