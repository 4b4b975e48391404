//! Our `Pool`, and our `Executor`.

use super::Session;
use crate::error::{Context, Result};
use crate::pool::{Order, Pool, burn, sum_square};
use procession::futures::as_completed;
use procession::{AsyncResult, Executor, StartMethod, TaskError};
use std::time::{Duration, Instant};

/// A pool with a worker for each CPU.
pub(crate) struct Ours(procession::Pool);

pub(crate) fn start(_session: &Session) -> Result<Ours> {
    procession::Pool::options().start().context("start a pool").map(Ours)
}

/// A new pool for each order, by the forkserver.
pub(crate) struct New;

/// An executor with a worker for each CPU.
pub(crate) struct Futures(Executor);

pub(crate) fn executor(_session: &Session) -> Result<Futures> {
    Executor::new(crate::pool::workers()).context("make an executor").map(Futures)
}

fn next(n: u64) -> u64 {
    n + 1
}

fn len(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

impl Ours {
    fn apply(&self, calls: u64) -> Result<(Duration, u64)> {
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

impl Pool for Ours {
    fn obey(&mut self, order: Order, count: u64) -> Result<(Duration, u64)> {
        let pool = &self.0;
        let strings: Vec<Vec<u8>> = match order {
            Order::Bytes => (0..count).map(|n| vec![n as u8; 1 << 20]).collect(),
            _ => Vec::new(),
        };
        let started = Instant::now();
        let sum = match order {
            Order::Map => pool.map(next, 0..count).context("map")?.iter().sum(),
            Order::MapChunk1 => pool.chunk_size(1).map(next, 0..count).context("map")?.iter().sum(),
            Order::ImapChunk1 => {
                let results = pool.imap_unordered(next, 0..count).map(|(_, result)| result);
                results.sum::<std::result::Result<u64, TaskError>>().context("imap")?
            }
            Order::Bytes => pool.map(len, strings).context("map")?.iter().sum(),
            Order::SumSquare => {
                let sums = pool.map(sum_square, 0..count).context("map")?;
                sums.into_iter().fold(0, u64::wrapping_add)
            }
            Order::Apply => return self.apply(count),
            Order::Burn(nanos) => pool.map(burn, vec![nanos; count as usize]).context("map")?.iter().sum(),
            Order::Create | Order::Submit => 0,
        };
        Ok((started.elapsed(), sum))
    }
}

impl Pool for New {
    fn obey(&mut self, _: Order, count: u64) -> Result<(Duration, u64)> {
        let started = Instant::now();
        let options = procession::Pool::options().processes(2).start_method(StartMethod::Forkserver);
        let mut pool = options.start().context("start a pool")?;
        let sum = pool.map(next, 0..count).context("map")?.iter().sum();
        pool.close();
        pool.join().context("join")?;
        Ok((started.elapsed(), sum))
    }
}

impl Pool for Futures {
    fn obey(&mut self, _: Order, count: u64) -> Result<(Duration, u64)> {
        let started = Instant::now();
        let results: Vec<AsyncResult<u64>> = (0..count).map(|n| self.0.submit(next, n)).collect();
        let values = as_completed(results).map(|result| result?.get());
        let sum = values.sum::<std::result::Result<u64, TaskError>>().context("submit")?;
        Ok((started.elapsed(), sum))
    }
}
