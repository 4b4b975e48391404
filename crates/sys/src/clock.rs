//! Monotonic time and deadlines. A timeout becomes a [`Deadline`] once, at the edge of the API.
//!
//! Each time namespace has a monotonic clock of its own, which is ahead of the machine's or behind it by an
//! offset that never changes. So [`now_ns`] means something within one process; what another process is to
//! compare is written as [`machine_ns`].
//!
//! # Orderings
//! Edge `clock.known`: the Release that says that the offset is known meets the Acquire of a thread that uses
//! it.
#![expect(unsafe_code, reason = "clock_gettime fills a struct through a pointer")]

use crate::latest::Latest;
use crate::wiped_page::wiped_on_fork;
use std::fs::{read_link, read_to_string};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// By how much two readings of how far the time of day is ahead may differ, in one namespace: for the time
/// between the two clocks' readings.
const SAME_CLOCK_NS: u64 = 50_000_000;

/// Nanoseconds of this process's `CLOCK_MONOTONIC`; not to be compared with another process's.
#[must_use]
pub fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of the machine's own monotonic clock, the same for all processes, whatever their time
/// namespaces; `None` if it cannot be told: without `/proc`, or between an `unshare` of the time and the
/// `exec` that completes it.
#[must_use]
pub fn machine_ns() -> Option<u64> {
    on_machine(now_ns())
}

/// The reading of the machine's own clock when [`now_ns`] was `ns` in this process.
#[must_use]
pub fn on_machine(ns: u64) -> Option<u64> {
    offset().map(|offset| ns.wrapping_sub(offset))
}

crate::shm_struct! {
    /// The offset of this process's time namespace, as it was read; a forked child may be in another one and
    /// reads it anew.
    struct Known {
        is_known: AtomicU32,
        reserved: AtomicU32,
        offset: AtomicU64,
        /// How far the time of day was ahead of our clock. If it is by another amount now, our clock is
        /// another one (`setns`), or the time was set.
        ahead_ns: AtomicU64,
    }
}

/// How far our clock is ahead of the machine's, wrapping.
fn offset() -> Option<u64> {
    static KNOWN: Latest<Option<&'static Known>> = Latest::none();
    let ahead = wall_ns().wrapping_sub(now_ns());
    let Some(known) = KNOWN.get_or_set(|| wiped_on_fork().ok()) else { return read_offset() };
    // SYNC: clock.known.
    let is_known = known.is_known.load(Ordering::Acquire) != 0;
    if is_known && ahead.abs_diff(known.ahead_ns.load(Ordering::Relaxed)) < SAME_CLOCK_NS {
        return Some(known.offset.load(Ordering::Relaxed));
    }
    let offset = read_offset()?;
    // Two threads may do this at once; what they have read is the same.
    known.is_known.store(0, Ordering::Relaxed);
    known.offset.store(offset, Ordering::Relaxed);
    known.ahead_ns.store(ahead, Ordering::Relaxed);
    // SYNC: clock.known.
    known.is_known.store(1, Ordering::Release);
    Some(offset)
}

fn read_offset() -> Option<u64> {
    let ours = match read_link("/proc/self/ns/time") {
        Ok(ours) => ours,
        // Kernels before 5.6 have one time for all.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return std::fs::metadata("/proc/self/ns").is_ok().then_some(0);
        }
        Err(_) => return None,
    };
    // The offsets are those that children will have.
    if read_link("/proc/self/ns/time_for_children").ok()? != ours {
        return None;
    }
    parse_offset(&read_to_string("/proc/self/timens_offsets").ok()?)
}

fn parse_offset(text: &str) -> Option<u64> {
    let mut words = text.lines().find(|line| line.starts_with("monotonic"))?.split_whitespace().skip(1);
    let mut next = || words.next()?.parse::<i64>().ok();
    let (seconds, nanoseconds) = (next()?, next()?);
    Some(seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds).cast_unsigned())
}

/// The time `now_ns` in milliseconds, for words of 32 bits: it wraps after 49 days, so only differences mean
/// anything.
#[must_use]
pub const fn ms_of(now_ns: u64) -> u32 {
    (now_ns / 1_000_000) as u32
}

/// Nanoseconds since the Unix epoch, for people; never compared with a deadline.
#[must_use]
pub fn wall_ns() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// Lets others go first for a while.
pub fn nap(time: Duration) {
    std::thread::sleep(time);
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the whole call; both clocks always exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// A moment on the monotonic clock, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// No limit.
    pub const NEVER: Self = Self(u64::MAX);
    /// Already over: an operation with it does not wait at all.
    pub const PASSED: Self = Self(0);

    /// `timeout` from now; a timeout that overflows the clock is [`Deadline::NEVER`].
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        let ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self(now_ns().saturating_add(ns))
    }

    /// The moment `ns` on the clock of [`now_ns`].
    #[must_use]
    pub const fn at_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Whether the moment is behind us.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.0 != u64::MAX && (self.0 == 0 || now_ns() >= self.0)
    }

    /// The time that is left until the deadline, zero once it has passed; `None` for never.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        (self.0 != u64::MAX).then(|| Duration::from_nanos(self.0.saturating_sub(now_ns())))
    }

    /// The timespec the kernel takes, `None` for never.
    #[must_use]
    pub fn to_timespec(self) -> Option<libc::timespec> {
        (self.0 != u64::MAX).then(|| libc::timespec {
            tv_sec: i64::try_from(self.0 / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(self.0 % 1_000_000_000).unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, machine_ns, parse_offset};
    use std::time::Duration;

    #[test]
    fn the_machines_clock_goes_on_and_offsets_are_read_with_their_signs() {
        let before = machine_ns().unwrap();
        assert!(machine_ns().unwrap() >= before);
        assert_eq!(
            parse_offset("monotonic      100000         5\nboottime  7  0\n"),
            Some(100_000_000_000_005)
        );
        assert_eq!(parse_offset("boottime 7 0\nmonotonic  -1  999999999\n"), Some(1_u64.wrapping_neg()));
        assert_eq!(parse_offset("monotonic"), None);
    }

    #[test]
    fn a_deadline_passes_once_and_never_does_not() {
        assert!(Deadline::PASSED.has_passed());
        assert!(Deadline::after(Duration::ZERO).has_passed());
        assert!(!Deadline::after(Duration::from_secs(3600)).has_passed());
        assert!(!Deadline::NEVER.has_passed());
        assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
    }

    #[test]
    fn what_remains_shrinks_to_zero() {
        assert_eq!(Deadline::PASSED.remaining(), Some(Duration::ZERO));
        assert_eq!(Deadline::NEVER.remaining(), None);
        let left = Deadline::after(Duration::from_secs(10)).remaining();
        assert!(left.is_some_and(|left| left <= Duration::from_secs(10) && left > Duration::from_secs(5)));
    }
}
