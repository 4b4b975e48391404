//! Monotonic time and deadlines. A timeout becomes a [`Deadline`] once, at the edge of the API.
#![expect(unsafe_code, reason = "clock_gettime fills a struct through a pointer")]

use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`; comparable between the processes of one time namespace.
#[must_use]
pub fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// What `now_ns` is in milliseconds, for words of 32 bits: it wraps after 49 days, so only differences mean anything.
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

    /// What is left of it, zero once passed; `None` for never.
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
    use super::Deadline;
    use std::time::Duration;

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
