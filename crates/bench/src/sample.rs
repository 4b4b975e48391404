//! From many samples to one figure.

use crate::error::{BenchError, Result};
use std::time::Duration;

/// How the samples of all rounds become the figure of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Summary {
    Median,
    P99,
    Max,
}

impl Summary {
    pub(crate) fn of(self, samples: &mut [f64]) -> Result<f64> {
        if samples.is_empty() {
            return Err(BenchError::Failed("no samples".to_owned()));
        }
        samples.sort_unstable_by(f64::total_cmp);
        Ok(match self {
            Summary::Median => (samples[(samples.len() - 1) / 2] + samples[samples.len() / 2]) / 2.0,
            Summary::P99 => samples[(samples.len() * 99).div_ceil(100) - 1],
            Summary::Max => samples[samples.len() - 1],
        })
    }
}

/// How many operations `run` does in about `wanted`, a thousand or more; running it to find out is also the
/// warm-up.
pub(crate) fn calibrated(wanted: Duration, run: impl FnMut(u64) -> Result<Duration>) -> Result<u64> {
    calibrated_from(1_000, wanted, run)
}

/// As [`calibrated`], for operations that may take so long that few will do: `least` or more.
pub(crate) fn calibrated_from(
    least: u64,
    wanted: Duration,
    mut run: impl FnMut(u64) -> Result<Duration>,
) -> Result<u64> {
    let mut count = least;
    loop {
        let took = run(count)?.max(Duration::from_micros(1));
        let scale = wanted.as_secs_f64() / took.as_secs_f64();
        if scale <= 4.0 {
            return Ok(scaled(count, scale).max(least));
        }
        // The first runs also pay for page faults and sleeping processes: come near in steps.
        count = scaled(count, scale.min(16.0)).max(least);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a number of operations: positive, and far below 2^53"
)]
fn scaled(count: u64, scale: f64) -> u64 {
    (count as f64 * scale).ceil() as u64
}

/// Nanoseconds per operation.
pub(crate) fn nanos_each(took: Duration, count: u64) -> f64 {
    took.as_secs_f64() * 1e9 / as_figure(count)
}

/// Operations per second.
pub(crate) fn per_second(took: Duration, count: u64) -> f64 {
    as_figure(count) / took.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn as_figure(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{Summary, calibrated};
    use std::time::Duration;

    #[test]
    fn the_median_of_an_even_number_of_samples_is_between_the_two_in_the_middle() {
        assert_eq!(Summary::Median.of(&mut [4.0, 1.0, 2.0, 8.0]).unwrap(), 3.0);
        assert_eq!(Summary::Median.of(&mut [4.0, 1.0, 2.0]).unwrap(), 2.0);
        assert!(Summary::Median.of(&mut []).is_err());
    }

    #[test]
    fn at_most_one_sample_in_a_hundred_is_above_the_p99() {
        let mut samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(Summary::P99.of(&mut samples).unwrap(), 198.0);
        assert_eq!(Summary::P99.of(&mut [7.0]).unwrap(), 7.0);
    }

    #[test]
    fn calibration_finds_the_count_that_takes_as_long_as_wanted() {
        let found =
            calibrated(Duration::from_millis(100), |count| Ok(Duration::from_nanos(count * 100))).unwrap();
        assert_eq!(found, 1_000_000);
    }
}
