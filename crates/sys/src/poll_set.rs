//! Descriptors that one thread polls together, by their numbers and without allocating.
//!
//! The program may close any of them meanwhile, or use its number again: to poll a number that means something
//! else changes nothing of that. Whoever finds one ready asks whether it is still his.
#![expect(unsafe_code, reason = "poll takes an array by pointer")]

use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// How many descriptors fit in.
pub const POLL_SET_MAX: usize = 64;

/// The descriptors of one `poll`.
#[derive(Debug)]
pub struct PollSet {
    fds: [libc::pollfd; POLL_SET_MAX],
    len: usize,
}

impl Default for PollSet {
    fn default() -> Self {
        Self { fds: [libc::pollfd { fd: -1, events: 0, revents: 0 }; POLL_SET_MAX], len: 0 }
    }
}

impl PollSet {
    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds one, or nothing that is ever ready. Its index is how many were added before it. One for which there is
    /// no room is never ready either.
    pub fn push(&mut self, fd: Option<impl AsFd>) {
        if let Some(place) = self.fds.get_mut(self.len) {
            // The kernel passes over a number below 0.
            let number = fd.map_or(-1, |fd| fd.as_fd().as_raw_fd());
            *place = libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
            self.len += 1;
        }
    }

    /// Waits until one of them is readable, or cannot be polled, at most for `timeout` (`None`: for ever). It may
    /// return without a reason.
    ///
    /// # Errors
    /// `EINVAL` for more descriptors than the process may have open; `ENOMEM`.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<()> {
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the first `len` places are initialised, and the kernel writes to them alone; `timeout` is null
        // or outlives the call; without a mask the signals stay as they are.
        let ready = unsafe {
            libc::ppoll(self.fds.as_mut_ptr(), self.len as libc::nfds_t, timeout, std::ptr::null())
        };
        if ready >= 0 {
            return Ok(());
        }
        let error = Error::last_os_error();
        self.fds.iter_mut().for_each(|fd| fd.revents = 0);
        if error.raw_os_error() == Some(libc::EINTR) { Ok(()) } else { Err(error) }
    }

    /// Whether the one with this index was readable, or could not be polled, when the wait ended.
    #[must_use]
    pub fn is_ready(&self, index: usize) -> bool {
        self.fds.get(index).is_some_and(|fd| index < self.len && fd.revents != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::{POLL_SET_MAX, PollSet};
    use crate::eventfd;
    use std::os::fd::BorrowedFd;
    use std::time::Duration;

    #[test]
    fn those_that_ring_are_ready_and_what_does_not_fit_in_never_is() {
        let (quiet, rung) = (eventfd::create().unwrap(), eventfd::create().unwrap());
        eventfd::ring(&rung);
        let mut set = PollSet::default();
        set.push(Some(&quiet));
        set.push(None::<BorrowedFd<'_>>);
        (2..POLL_SET_MAX + 1).for_each(|_| set.push(Some(&rung)));
        set.wait(None).unwrap();
        assert!(!set.is_ready(0) && !set.is_ready(1) && set.is_ready(2));
        assert!(set.is_ready(POLL_SET_MAX - 1) && !set.is_ready(POLL_SET_MAX));
        set.clear();
        set.push(Some(&quiet));
        set.wait(Some(Duration::from_millis(1))).unwrap();
        assert!(!set.is_ready(0) && !set.is_ready(2));
    }
}
