//! A bell that signals ring, for a thread that waits for other things, too.
//!
//! A handler notes the signal and rings an eventfd: both are safe wherever the signal strikes. There is one such
//! bell at a time in a process, because a handler has no argument.
//!
//! # If a process dies
//! Handlers are the process's own, and a program that is executed has none of them. A forked child finds them,
//! and would not end by SIGTERM: there the handler gives the signal its default action, and sends it again.
#![expect(unsafe_code, reason = "sigaction takes a handler of our own, and fills a struct through a pointer")]

use crate::eventfd;
use crate::signals::{SignalSet, is_ignored};
use std::io::{Error, ErrorKind, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// The process that has the bell; 0 for none.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// The number of its eventfd.
static BELL: AtomicI32 = AtomicI32::new(-1);
/// The signals that have come and were not taken, as the bits of a [`SignalSet`].
static NOTED: AtomicU64 = AtomicU64::new(0);

/// Rings for some signals, until it is dropped: then they do again what they did before.
#[derive(Debug)]
pub struct SignalBell {
    bell: OwnedFd,
    before: Vec<(i32, Action)>,
}

/// What a signal did before.
struct Action(libc::sigaction);

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Action")
    }
}

impl SignalBell {
    /// Rings for each of `signals`, but for those that are ignored: whoever started this process did not want
    /// it to end by them.
    ///
    /// # Errors
    /// `EBUSY` when there is another one; `EMFILE` and its like.
    pub fn new(signals: &[i32]) -> Result<Self> {
        let me = std::process::id();
        let other = OWNER.load(Ordering::Acquire);
        // One that a forked child has found is its parent's.
        let is_taken =
            other == me || OWNER.compare_exchange(other, me, Ordering::AcqRel, Ordering::Relaxed).is_err();
        if is_taken {
            return Err(ErrorKind::ResourceBusy.into());
        }
        let mut made = match eventfd::create() {
            Ok(bell) => Self { bell, before: Vec::new() },
            Err(error) => {
                OWNER.store(0, Ordering::Release);
                return Err(error);
            }
        };
        NOTED.store(0, Ordering::Relaxed);
        BELL.store(made.bell.as_raw_fd(), Ordering::Release);
        for &signal in signals.iter().filter(|&&signal| !is_ignored(signal)) {
            // On an error the signals before it are given back.
            made.before.push((signal, handle(signal)?));
        }
        Ok(made)
    }

    /// The signals that have come since the last call; the bell is silent.
    #[must_use]
    pub fn take(&self) -> SignalSet {
        // First silent: one that comes in between rings once too often.
        eventfd::silence(&self.bell);
        SignalSet::from_bits(NOTED.swap(0, Ordering::AcqRel))
    }
}

/// Readable when a signal has come.
impl AsFd for SignalBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl Drop for SignalBell {
    fn drop(&mut self) {
        for (signal, Action(before)) in &self.before {
            // SAFETY: the action is one that the kernel gave out for this signal.
            unsafe { libc::sigaction(*signal, before, std::ptr::null_mut()) };
        }
        BELL.store(-1, Ordering::Release);
        OWNER.store(0, Ordering::Release);
    }
}

/// Has the signal noted; what it did before.
fn handle(signal: i32) -> Result<Action> {
    // SAFETY: zeroes are an action without a handler and without flags.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = note as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    let mut before = MaybeUninit::zeroed();
    // SAFETY: the handler is safe wherever it strikes, and is never unloaded; `before` has room for an action.
    if unsafe { libc::sigaction(signal, &raw const action, before.as_mut_ptr()) } != 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the call has filled it.
    Ok(Action(unsafe { before.assume_init() }))
}

/// The handler: atomics and system calls alone.
extern "C" fn note(signal: libc::c_int) {
    // SAFETY: the thread's errno is always there.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; what is interrupted may be about to read it.
    let kept = unsafe { *errno };
    // SAFETY: getpid takes nothing.
    let me = unsafe { libc::getpid() }.unsigned_abs();
    if me == OWNER.load(Ordering::Acquire) {
        NOTED.fetch_or([signal].into_iter().collect::<SignalSet>().bits(), Ordering::AcqRel);
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes are written from an array of eight; a number that is closed is refused.
        unsafe { libc::write(BELL.load(Ordering::Acquire), one.as_ptr().cast(), one.len()) };
    } else {
        // SAFETY: the default action calls no function of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        // SAFETY: the signal is blocked until the handler has returned, and strikes then.
        unsafe { libc::raise(signal) };
    }
    // SAFETY: as above.
    unsafe { *errno = kept };
}

#[cfg(test)]
mod tests {
    use super::SignalBell;
    use crate::eventfd::wait_any;
    use crate::signals::{SIGUSR1, SIGUSR2};
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn it_rings_for_its_signals_and_gives_them_back() {
        let bell = SignalBell::new(&[SIGUSR1, SIGUSR2]).unwrap();
        assert!(SignalBell::new(&[SIGUSR1]).is_err(), "there is one at a time");
        let rings = |patience| wait_any(&[bell.as_fd()], patience).unwrap()[0];
        assert!(!rings(Some(Duration::ZERO)));
        // SAFETY: the signal is sent to this thread, which has a handler for it.
        unsafe { libc::raise(SIGUSR2) };
        assert!(rings(None));
        let come = bell.take();
        assert!(come.contains(SIGUSR2) && !come.contains(SIGUSR1));
        assert!(!rings(Some(Duration::ZERO)) && bell.take().bits() == 0);
        drop(bell);
        drop(SignalBell::new(&[]).unwrap());
    }
}
