//! Pools: a million trivial items, and one call at a time.

use crate::case::{Plan, Side};
use crate::error::{Result, check};
use std::time::Duration;

const ITEMS: u64 = 1_000_000;

/// A pool that has started and is idle between rounds.
pub(crate) trait Pool {
    /// Maps the trivial function, `x + 1`, over `0..items`; how long the map took, and the sum of its
    /// results.
    fn map(&mut self, items: u64) -> Result<(Duration, u64)>;
    /// Calls the same function on `0..calls`, one at a time; the median time of a call, and the sum of the
    /// results.
    fn apply(&mut self, calls: u64) -> Result<(Duration, u64)>;
}

/// The sum of `x + 1` over `0..count`.
fn sum(count: u64) -> u64 {
    count * (count + 1) / 2
}

/// One map over many items; ms.
pub(crate) fn map<'a>(mut pool: impl Pool + 'a) -> Result<Side<'a>> {
    let mut round = move || {
        let (took, found) = pool.map(ITEMS)?;
        check("the sum of the mapped items", found, sum(ITEMS))?;
        Ok(took)
    };
    round()?;
    Ok(Box::new(move || Ok(vec![round()?.as_secs_f64() * 1e3])))
}

/// The median of single calls; us.
pub(crate) fn apply<'a>(plan: &Plan<'_>, mut pool: impl Pool + 'a) -> Result<Side<'a>> {
    // As many as a pool of 150 us a call does in a round.
    let calls = plan.round_time.as_micros() as u64 / 150;
    let mut round = move || {
        let (median, found) = pool.apply(calls)?;
        check("the sum of the calls", found, sum(calls))?;
        Ok(median)
    };
    round()?;
    Ok(Box::new(move || Ok(vec![round()?.as_secs_f64() * 1e6])))
}

/// How many workers a pool has: one for each CPU.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
