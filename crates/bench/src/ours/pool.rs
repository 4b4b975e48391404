//! Our `Pool`.

use super::Session;
use crate::error::{Context, Result};
use crate::pool::Pool;
use std::time::{Duration, Instant};

pub(crate) struct Ours(procession::Pool);

pub(crate) fn start(_session: &Session) -> Result<Ours> {
    procession::Pool::options().start().context("start a pool").map(Ours)
}

fn next(n: u64) -> u64 {
    n + 1
}

impl Pool for Ours {
    fn map(&mut self, items: u64) -> Result<(Duration, u64)> {
        let started = Instant::now();
        let results = self.0.map(next, 0..items).context("map")?;
        let took = started.elapsed();
        Ok((took, results.iter().sum()))
    }

    fn apply(&mut self, calls: u64) -> Result<(Duration, u64)> {
        let (mut sum, mut times) = (0, Vec::new());
        for n in 0..calls {
            let started = Instant::now();
            sum += self.0.apply(next, n).context("apply")?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        Ok((times.get(times.len() / 2).copied().unwrap_or_default(), sum))
    }
}
