//! Pools and executors: many trivial items in one call, one call at a time, long items, and a new pool.

use crate::case::{Plan, Side};
use crate::clock;
use crate::error::{Result, check};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What a pool is told to do with a number; Python is told by the order's name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// One map of `x + 1` over so many numbers.
    Map,
    /// The same, one item at a time.
    MapChunk1,
    /// An unordered stream of the same, one item at a time.
    ImapChunk1,
    /// So many calls of `x + 1`, one after the other; the median time of a call.
    Apply,
    /// One map of the length over so many strings of a mebibyte.
    Bytes,
    /// One map of [`sum_square`] over numbers below a number, so many of them.
    SumSquare,
    /// A new pool of two workers that maps `x + 1` over so many numbers and ends.
    Create,
    /// One map of [`burn`] over as many times these nanoseconds.
    Burn(u64),
    /// So many calls of `x + 1` submitted to an executor, and then all results.
    Submit,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Order::Map => "map",
            Order::MapChunk1 => "map1",
            Order::ImapChunk1 => "imap1",
            Order::Apply => "apply",
            Order::Bytes => "bytes",
            Order::SumSquare => "sum",
            Order::Burn(_) => "burn",
            Order::Create => "create",
            Order::Submit => "submit",
        }
    }

    /// What Python is told.
    pub(crate) fn line(self, count: u64) -> String {
        match self {
            Order::Burn(nanos) => format!("burn {count} {nanos}"),
            _ => format!("{} {count}", self.name()),
        }
    }

    /// The sum of the results, by which it is known that all was done.
    fn sum(self, count: u64) -> u64 {
        match self {
            Order::Bytes => count << 20,
            Order::SumSquare => (0..count).map(sum_square).fold(0, u64::wrapping_add),
            Order::Burn(nanos) => count * nanos,
            _ => count * (count + 1) / 2,
        }
    }
}

/// Who carries out orders.
pub(crate) trait Pool {
    /// How long it took, and the sum of the results.
    fn obey(&mut self, order: Order, count: u64) -> Result<(Duration, u64)>;
}

/// The sum of the squares below a number that is large enough for some milliseconds.
pub(crate) fn sum_square(n: u64) -> u64 {
    const LONG: u64 = 40_000_000;
    // Otherwise the compiler finds the formula.
    (0..LONG + n).fold(0, |sum, i| sum.wrapping_add(black_box(i).wrapping_mul(i)))
}

/// Uses so many nanoseconds of CPU time, or a few more: others that want the CPU make it longer, and no less
/// work.
pub(crate) fn burn(nanos: u64) -> u64 {
    let Ok(started) = clock::own_cpu_time() else { return 0 };
    let end = started + Duration::from_nanos(nanos);
    while clock::own_cpu_time().is_ok_and(|now| now < end) {}
    nanos
}

/// So many items of so many nanoseconds each; how many times as fast as one after the other, without a pool,
/// on a machine that has nothing else to do.
pub(crate) fn speedup<'a>(pool: impl Pool + 'a, items: u64, nanos: u64) -> Result<Side<'a>> {
    let serial = Duration::from_nanos(items * nanos).as_secs_f64();
    round(pool, Order::Burn(nanos), items, move |took| serial / took.as_secs_f64())
}

fn round<'a>(
    mut pool: impl Pool + 'a,
    order: Order,
    count: u64,
    in_unit: impl Fn(Duration) -> f64 + 'a,
) -> Result<Side<'a>> {
    let sum = order.sum(count);
    let mut round = move || {
        let (took, found) = pool.obey(order, count)?;
        check("the sum of the results", found, sum)?;
        Ok(in_unit(took))
    };
    round()?;
    Ok(Box::new(move || Ok(vec![round()?])))
}

/// One order; ms.
pub(crate) fn millis<'a>(pool: impl Pool + 'a, order: Order, count: u64) -> Result<Side<'a>> {
    round(pool, order, count, |took| took.as_secs_f64() * 1e3)
}

/// The median of single calls; us.
pub(crate) fn apply<'a>(plan: &Plan<'_>, pool: impl Pool + 'a) -> Result<Side<'a>> {
    // As many as a pool of 150 us a call does in a round.
    let calls = plan.round_time.as_micros() as u64 / 150;
    round(pool, Order::Apply, calls, |took| took.as_secs_f64() * 1e6)
}

/// The same work, one item after the other in this process.
pub(crate) struct Serial;

impl Pool for Serial {
    fn obey(&mut self, order: Order, count: u64) -> Result<(Duration, u64)> {
        let started = Instant::now();
        let sum = match order {
            Order::Burn(nanos) => (0..count).map(|_| burn(nanos)).sum(),
            _ => (0..count).map(sum_square).fold(0, u64::wrapping_add),
        };
        Ok((started.elapsed(), sum))
    }
}

/// How many workers a pool has: one for each CPU.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
