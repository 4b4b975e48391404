//! One thread and one operation, again and again.

use crate::case::{Plan, Side};
use crate::error::Result;
use crate::sample::{calibrated_from, nanos_each};
use std::time::Instant;

/// ns per call of `operation`; it is for the operation to see that the compiler leaves it alone.
pub(crate) fn alone<'a>(plan: &Plan<'_>, operation: impl FnMut() -> Result<()> + 'a) -> Result<Side<'a>> {
    alone_from(plan, 1_000, operation)
}

/// As [`alone`], for an operation that may take so long that few in a round will do: `least` or more.
pub(crate) fn alone_from<'a>(
    plan: &Plan<'_>,
    least: u64,
    mut operation: impl FnMut() -> Result<()> + 'a,
) -> Result<Side<'a>> {
    let mut run = move |count| {
        let started = Instant::now();
        for _ in 0..count {
            operation()?;
        }
        Ok(started.elapsed())
    };
    let count = calibrated_from(least, plan.round_time, &mut run)?;
    Ok(Box::new(move || Ok(vec![nanos_each(run(count)?, count)])))
}
