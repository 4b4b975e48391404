//! crossbeam-channel: a bounded channel between two threads of one process, which share everything.

use crate::case::{Plan, Side};
use crate::error::{Context, Result, check};
use crate::sample::{calibrated, per_second};
use std::time::{Duration, Instant};

/// As many numbers as our pipe holds.
const ROOM: usize = 16 << 10;

/// One thread sends numbers, another receives them; numbers per second.
pub(crate) fn one_way<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    let count = calibrated(plan.round_time, carry)?;
    Ok(Box::new(move || Ok(vec![per_second(carry(count)?, count)])))
}

fn carry(count: u64) -> Result<Duration> {
    let (sender, receiver) = crossbeam_channel::bounded::<u64>(ROOM);
    std::thread::scope(|scope| {
        let consumer = scope.spawn(move || {
            let mut sum = 0;
            for _ in 0..count {
                sum += receiver.recv().context("recv")?;
            }
            Ok(sum)
        });
        let started = Instant::now();
        for n in 0..count {
            sender.send(n).context("send")?;
        }
        let sum = consumer.join().unwrap_or(Ok(0))?;
        let took = started.elapsed();
        check("the sum of all numbers", sum, count * (count - 1) / 2)?;
        Ok(took)
    })
}
