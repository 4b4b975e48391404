//! Processes that are started and joined, one after the other.

use crate::case::{Plan, Side};
use crate::error::Result;
use std::time::{Duration, Instant};

/// Starts and joins processes that do nothing, as many as there is time for in a round; the time of each, us.
pub(crate) fn each<'a>(
    plan: &Plan<'_>,
    mut start_and_join: impl FnMut() -> Result<Duration> + 'a,
) -> Result<Side<'a>> {
    // A server is started, programs are read from the disk.
    start_and_join()?;
    let round_time = plan.round_time;
    Ok(Box::new(move || {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < round_time {
            times.push(start_and_join()?.as_secs_f64() * 1e6);
        }
        Ok(times)
    }))
}

/// How long `work` takes.
pub(crate) fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}
