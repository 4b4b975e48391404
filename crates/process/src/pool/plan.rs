//! The properties of a pool, and those of its calls, that are chosen before there is work.

use super::initial::Initializer;
use super::progress::Observer;
use crate::context::Context;
use crate::method::{StartMethod, start_method};
use crate::pacing::{Budget, pause};
use std::time::Duration;

/// How long the pool waits at most before it tries an item again.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// The properties of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many workers; one for each CPU unless said.
    pub(crate) processes: Option<usize>,
    pub(crate) name: String,
    /// How many items a worker runs before it is replaced.
    pub(crate) max_tasks: u64,
    /// How many workers may die within some time.
    pub(crate) budget: Option<Budget>,
    pub(crate) initializer: Option<Initializer>,
    pub(crate) observer: Option<Observer>,
    /// How workers are started, if that was said.
    pub(crate) context: Option<Context>,
    /// Whether workers are started only when there is something to do for them.
    pub(crate) on_demand: bool,
}

impl Plan {
    /// How workers are started.
    pub(crate) fn method(&self) -> StartMethod {
        self.context.map_or_else(start_method, |context| context.start_method())
    }
}

/// What a call says of its items: how they are given out, and what becomes of slow and lost ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    /// How many items a worker is given at a time; unless said, that depends on their number.
    pub(crate) chunk_size: Option<usize>,
    /// How long one item may take.
    pub(crate) timeout: Option<Duration>,
    /// How often an item is tried again.
    pub(crate) retries: u32,
    /// How long the pool waits before it tries an item again for the first time.
    pub(crate) back_off: Duration,
}

impl Policy {
    /// How long to wait before an item is tried again that was lost so many times.
    pub(crate) fn pause_after(&self, losses: u32) -> Duration {
        pause(self.back_off, losses.saturating_sub(1), LONGEST_BACK_OFF.max(self.back_off))
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use std::time::Duration;

    #[test]
    fn pauses_double_and_end_at_a_minute_or_at_what_was_asked_for() {
        let pauses = |ms: u64| {
            let policy = Policy { back_off: Duration::from_millis(ms), ..Policy::default() };
            [0, 1, 2, 3, 1000, u32::MAX].map(|losses| policy.pause_after(losses).as_millis())
        };
        assert_eq!(pauses(0), [0; 6]);
        assert_eq!(pauses(10), [10, 10, 20, 40, 60_000, 60_000]);
        assert_eq!(pauses(100_000), [100_000; 6]);
    }
}
