//! How fast, and how often, something is tried again that keeps failing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often a wait is doubled at most.
const MOST_DOUBLINGS: u32 = 16;

/// The wait after so many failures in a row, the first not counted: `first`, doubled each time, up to `longest`.
pub(crate) fn pause(first: Duration, doublings: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << doublings.min(MOST_DOUBLINGS)).min(longest)
}

/// A time that nobody lives to see.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The moment that comes `time` after `now`; of a time that the clock cannot count, one that nobody lives to see.
pub(crate) fn moment_after(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or_else(|| now + FOR_EVER)
}

/// How many failures are borne within some time, and when the last ones were.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub(crate) most: u32,
    pub(crate) within: Duration,
    spent: VecDeque<Instant>,
}

impl Budget {
    pub(crate) fn new(most: u32, within: Duration) -> Self {
        Self { most, within, spent: VecDeque::new() }
    }

    /// Counts a failure; how many there were within the time, this one included, if those are too many.
    pub(crate) fn spend(&mut self, now: Instant) -> Result<(), usize> {
        self.spent.retain(|&at| now.saturating_duration_since(at) <= self.within);
        self.spent.push_back(now);
        if self.spent.len() > self.most as usize { Err(self.spent.len()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, moment_after};
    use std::time::{Duration, Instant};

    #[test]
    fn a_time_without_end_leads_to_a_moment_far_away() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        assert_eq!(moment_after(now, hour), now + hour);
        assert!(moment_after(now, Duration::MAX) > now + 24 * 365 * hour);
    }

    #[test]
    fn a_budget_is_of_the_last_time_alone() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut budget = Budget::new(2, second);
        assert_eq!(
            [0, 0, 0].map(|ms| budget.spend(start + Duration::from_millis(ms))),
            [Ok(()), Ok(()), Err(3)]
        );
        assert_eq!(budget.spend(start + 2 * second), Ok(()));
    }
}
