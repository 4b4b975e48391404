//! `--retries`: which failures are tried again, how often, and after how long.

use procession_sys::random;
use std::str::FromStr;
use std::time::Duration;

/// No job waits longer than that.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How jobs that failed are tried again.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    /// How often, after the first time.
    pub(crate) times: u32,
    pub(crate) delay: Duration,
    /// By what the delay is multiplied each time.
    pub(crate) backoff: f64,
    /// Only after these exit codes; none means all.
    pub(crate) on: Option<Codes>,
}

impl Retry {
    /// How long to wait before a job is tried again that ended with this code at its `attempt`th attempt, which is 1
    /// at first; `None` if it is not.
    pub(crate) fn after(&self, code: u8, attempt: u32) -> Option<Duration> {
        let is_meant = self.on.as_ref().is_none_or(|codes| codes.contains(code));
        if attempt > self.times || !is_meant {
            return None;
        }
        let power = i32::try_from(attempt - 1).unwrap_or(i32::MAX);
        let seconds = self.delay.as_secs_f64() * self.backoff.powi(power);
        // Those that failed together are not to meet again: up to a quarter more.
        let part = (random::nonzero_u64() >> 32) as f64 / f64::from(u32::MAX);
        let seconds = (seconds * (1.0 + part / 4.0)).clamp(0.0, LONGEST.as_secs_f64());
        Some(Duration::from_secs_f64(seconds))
    }
}

/// Some exit codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Codes(Vec<(u8, u8)>);

impl Codes {
    fn contains(&self, code: u8) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }
}

impl FromStr for Codes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = (first.parse().ok()?, last.parse().ok()?);
            (range.0 <= range.1 && range.0 > 0).then_some(range)
        };
        let wrong = || "write exit codes as 1,75,100-120; 124 is a timeout, 128+n signal n".to_owned();
        text.split(',').map(|part| read(part).ok_or_else(wrong)).collect::<Result<_, _>>().map(Self)
    }
}

/// By what a delay is multiplied.
pub(crate) fn factor(text: &str) -> Result<f64, String> {
    let factor: Option<f64> = text.parse().ok().filter(|factor| (1.0..=1000.0).contains(factor));
    factor.ok_or_else(|| "it is a number from 1 to 1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Codes, LONGEST, Retry, factor};
    use std::time::Duration;

    #[test]
    fn delays_grow_and_end() {
        let mut retry = Retry { times: 3, delay: Duration::from_secs(1), backoff: 2.0, on: None };
        for (attempt, least) in [(1, 1.0), (2, 2.0), (3, 4.0)] {
            let delay = retry.after(1, attempt).unwrap().as_secs_f64();
            assert!((least..=least * 1.25).contains(&delay), "{attempt}: {delay}");
        }
        assert_eq!(retry.after(1, 4), None);
        retry.times = u32::MAX;
        assert_eq!(retry.after(1, 5000), Some(LONGEST));
        retry.delay = Duration::ZERO;
        assert_eq!(retry.after(1, 5), Some(Duration::ZERO));
        retry.on = Some("2,124".parse().unwrap());
        assert!(retry.after(1, 1).is_none() && retry.after(124, 1).is_some());
    }

    #[test]
    fn codes_are_read() {
        let codes: Codes = "1,75,100-120".parse().unwrap();
        assert!([1, 75, 100, 110, 120].iter().all(|&code| codes.contains(code)));
        assert!([2, 99, 121].iter().all(|&code| !codes.contains(code)));
        for wrong in ["", "x", "0", "1-", "5-2", "256", "1,,2"] {
            assert!(wrong.parse::<Codes>().is_err(), "{wrong}");
        }
        assert!(
            factor("1.5").is_ok() && ["0", "-1", "x", "inf", "nan"].iter().all(|text| factor(text).is_err())
        );
    }
}
