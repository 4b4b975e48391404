//! Shared futexes: wait and wake on a 32-bit word that other processes map too.
//!
//! Never `FUTEX_PRIVATE_FLAG`: a private wake silently misses waiters of other processes.
#![expect(
    unsafe_code,
    reason = "the futex system call takes addresses; the low half of a 64-bit word is a cast"
)]

use crate::Deadline;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Why a wait returned. All are hints: the caller looks at its memory again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Waited {
    /// Somebody called wake, or a signal interrupted the sleep.
    Woken,
    /// The word did not hold the expected value; nobody slept.
    Changed,
    /// The deadline passed.
    TimedOut,
}

/// Sleeps while `word` holds `expected`, until woken or until `deadline`.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Waited {
    let timeout = deadline.to_timespec();
    let timeout = timeout.as_ref().map_or(null(), std::ptr::from_ref);
    // SAFETY: `word` is a live, aligned 32-bit word; `timeout` is null or outlives the call. FUTEX_WAIT_BITSET
    // without FUTEX_CLOCK_REALTIME takes an absolute CLOCK_MONOTONIC time.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET,
            expected,
            timeout,
            null_mut::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    if result == 0 {
        return Waited::Woken;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ETIMEDOUT) => Waited::TimedOut,
        Some(libc::EINTR) => Waited::Woken,
        _ => Waited::Changed,
    }
}

/// Wakes at most `count` sleepers of `word`; how many were woken.
pub fn wake(word: &AtomicU32, count: u32) -> u32 {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: `word` is a live, aligned 32-bit word; the kernel only uses its address.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    u32::try_from(woken).unwrap_or(0)
}

/// Wakes every sleeper of `word`.
pub fn wake_all(word: &AtomicU32) -> u32 {
    wake(word, u32::MAX)
}

/// The futex word of a 64-bit word: its low half (little-endian, checked at compile time in `lib.rs`).
#[must_use]
pub fn low_half(word: &AtomicU64) -> &AtomicU32 {
    // SAFETY: the low half of an aligned u64 is an aligned u32 inside it with the same lifetime. The half is only
    // handed to the kernel, which reads 32 bits atomically; glibc's semaphores rely on the same mix of sizes.
    unsafe { AtomicU32::from_ptr(word.as_ptr().cast::<u32>()) }
}

#[cfg(test)]
mod tests {
    use super::{Waited, low_half, wait, wake};
    use crate::Deadline;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    use std::time::Duration;

    #[test]
    fn a_changed_word_does_not_sleep_and_a_deadline_ends_the_sleep() {
        let word = AtomicU32::new(1);
        assert_eq!(wait(&word, 0, Deadline::NEVER), Waited::Changed);
        assert_eq!(wait(&word, 1, Deadline::after(Duration::from_millis(2))), Waited::TimedOut);
    }

    #[test]
    fn a_sleeper_on_the_low_half_is_woken() {
        let word = AtomicU64::new(7 << 32);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                while word.load(Ordering::Acquire) & 1 == 0 {
                    let _ = wait(low_half(&word), 0, Deadline::NEVER);
                }
            });
            word.fetch_or(1, Ordering::Release);
            while !sleeper.is_finished() {
                wake(low_half(&word), 1);
            }
        });
    }
}
