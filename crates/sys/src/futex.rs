//! Shared futexes: wait and wake on a 32-bit word that other processes map too.
//!
//! Never `FUTEX_PRIVATE_FLAG`: a private wake silently misses waiters of other processes.
#![expect(
    unsafe_code,
    reason = "the futex system call takes addresses; the low half of a 64-bit word is a cast"
)]

use crate::clock::Deadline;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

/// Why a wait returned. All are hints: the caller looks at its memory again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Waited {
    /// Somebody called wake.
    Woken,
    /// A signal interrupted the sleep; nobody's wake was used up.
    Signaled,
    /// The word did not hold the expected value; nobody slept.
    Changed,
    /// The deadline passed.
    TimedOut,
}

/// Sleeps while `word` holds `expected`, until woken or until `deadline`.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Waited {
    wait_among(Sleepers::ALL, word, expected, deadline)
}

/// Some of the sleepers of a word, who can be woken without the others. Whoever wakes sleepers without saying
/// which wakes them, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleepers(u32);

impl Sleepers {
    const ALL: Self = Self(libc::FUTEX_BITSET_MATCH_ANY.cast_unsigned());

    /// One of 32 kinds; `number` says which, and numbers that differ by 32 mean the same kind.
    #[must_use]
    pub const fn kind(number: u32) -> Self {
        Self(1 << (number % 32))
    }
}

/// Sleeps as [`wait`] does, as one of these sleepers.
pub fn wait_among(sleepers: Sleepers, word: &AtomicU32, expected: u32, deadline: Deadline) -> Waited {
    let timeout = deadline.to_timespec();
    let timeout = timeout.as_ref().map_or(null(), std::ptr::from_ref);
    // SAFETY: `word` is a live, aligned 32-bit word; `timeout` is null or outlives the call.
    // FUTEX_WAIT_BITSET without FUTEX_CLOCK_REALTIME takes an absolute CLOCK_MONOTONIC time.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET,
            expected,
            timeout,
            null_mut::<u32>(),
            sleepers.0,
        )
    };
    if result == 0 {
        return Waited::Woken;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ETIMEDOUT) => Waited::TimedOut,
        Some(libc::EINTR) => Waited::Signaled,
        _ => Waited::Changed,
    }
}

/// How many words [`wait_any`] can sleep on.
pub const MAX_WORDS: usize = 128;

/// The form in which the kernel takes one word of [`wait_any`].
#[repr(C)]
struct WaitVector {
    expected: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// `FUTEX2_SIZE_U32`, and shared.
const SHARED_U32: u32 = 2;

/// Sleeps while each of `words` (at most [`MAX_WORDS`]) holds what is said beside it, until any of them is
/// woken or until `deadline`. Wakes of several are all consumed: look at everything again.
///
/// Kernels before 5.16, and sandboxes that do not know the call, sleep on the first word for a millisecond.
pub fn wait_any(words: &[(&AtomicU32, u32)], deadline: Deadline) -> Waited {
    let vectors: Vec<WaitVector> = words
        .iter()
        .take(MAX_WORDS)
        .map(|&(word, expected)| WaitVector {
            expected: expected.into(),
            address: word.as_ptr().addr() as u64,
            flags: SHARED_U32,
            reserved: 0,
        })
        .collect();
    let timeout = deadline.to_timespec();
    let timeout = timeout.as_ref().map_or(null(), std::ptr::from_ref);
    // SAFETY: the vectors name live, aligned words and outlive the call, as does `timeout`, which is null or
    // an absolute CLOCK_MONOTONIC time.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            vectors.as_ptr(),
            vectors.len(),
            0,
            timeout,
            libc::CLOCK_MONOTONIC,
        )
    };
    if result >= 0 {
        return Waited::Woken;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ETIMEDOUT) => Waited::TimedOut,
        Some(libc::EINTR) => Waited::Signaled,
        Some(libc::EAGAIN) => Waited::Changed,
        _ => {
            let soon = Deadline::after(Duration::from_millis(1)).min(deadline);
            match words.first() {
                Some((word, expected)) => wait(word, *expected, soon),
                None => Waited::TimedOut,
            }
        }
    }
}

/// Wakes at most `count` sleepers of `word`; how many were woken.
pub fn wake(word: &AtomicU32, count: u32) -> u32 {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: `word` is a live, aligned 32-bit word; the kernel only uses its address.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    u32::try_from(woken).unwrap_or(0)
}

/// Wakes one of these sleepers of the word at `address`; whether there was one. The word may be gone: then there
/// is none.
pub fn wake_one_among(sleepers: Sleepers, address: usize) -> bool {
    // SAFETY: the kernel only looks which word lies at the address, and reads and writes nothing there.
    let woken = unsafe {
        libc::syscall(
            libc::SYS_futex,
            address,
            libc::FUTEX_WAKE_BITSET,
            1,
            null::<libc::timespec>(),
            null_mut::<u32>(),
            sleepers.0,
        )
    };
    woken > 0
}

/// Wakes every sleeper of `word`.
pub fn wake_all(word: &AtomicU32) -> u32 {
    wake(word, u32::MAX)
}

/// The futex word of a 64-bit word: its low half (little-endian, checked at compile time in `lib.rs`).
#[must_use]
pub fn low_half(word: &AtomicU64) -> &AtomicU32 {
    // SAFETY: the low half of an aligned u64 is an aligned u32 inside it with the same lifetime. The half is
    // only handed to the kernel, which reads 32 bits atomically; glibc's semaphores rely on the same mix of
    // sizes.
    unsafe { AtomicU32::from_ptr(word.as_ptr().cast::<u32>()) }
}

#[cfg(test)]
mod tests {
    use super::{MAX_WORDS, Sleepers, Waited, low_half, wait, wait_among, wait_any, wake, wake_one_among};
    use crate::clock::Deadline;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    use std::time::Duration;

    #[test]
    fn a_changed_word_does_not_sleep_and_a_deadline_ends_the_sleep() {
        let word = AtomicU32::new(1);
        assert_eq!(wait(&word, 0, Deadline::NEVER), Waited::Changed);
        assert_eq!(wait(&word, 1, Deadline::after(Duration::from_millis(2))), Waited::TimedOut);
    }

    #[test]
    fn a_sleeper_on_many_words_is_woken_by_each() {
        let words: Vec<AtomicU32> = (0..MAX_WORDS).map(|_| AtomicU32::new(1)).collect();
        let each: Vec<(&AtomicU32, u32)> = words.iter().map(|word| (word, 1)).collect();
        assert_eq!(wait_any(&each, Deadline::after(Duration::from_millis(2))), Waited::TimedOut);
        for word in [&words[0], &words[MAX_WORDS - 1]] {
            std::thread::scope(|scope| {
                let sleeper = scope.spawn(|| wait_any(&each, Deadline::NEVER));
                while !sleeper.is_finished() {
                    wake(word, 1);
                }
                assert_eq!(sleeper.join().unwrap(), Waited::Woken);
            });
        }
        words[5].store(2, Ordering::Relaxed);
        assert_eq!(wait_any(&each, Deadline::NEVER), Waited::Changed);
    }

    #[test]
    fn one_kind_of_sleepers_is_woken_without_the_others() {
        let word = AtomicU32::new(0);
        let address = word.as_ptr().addr();
        let (ours, theirs) = (Sleepers::kind(3), Sleepers::kind(36));
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| wait_among(ours, &word, 0, Deadline::NEVER));
            while !wake_one_among(ours, address) {
                assert!(!wake_one_among(theirs, address), "it is of another kind");
            }
            assert_eq!(sleeper.join().unwrap(), Waited::Woken);
            let sleeper = scope.spawn(|| wait_among(ours, &word, 0, Deadline::NEVER));
            while wake(&word, 1) == 0 {}
            assert_eq!(sleeper.join().unwrap(), Waited::Woken);
        });
        assert!(!wake_one_among(ours, 0), "there is no word");
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
