//! What happens to an object between two looks, by the counters that it has anyway: no process pays for being watched.
//!
//! | figure | counts | of |
//! |---|---|---|
//! | `tokens` | fencing tokens: one for each time that a command or a program asks for one when it has acquired | locks |
//! | `put`, `got` | messages, modulo 2^32 | queues |
//! | `put` | the items' numbers, of which a few are left out while others are leased or dead | joinable queues |
//! | `times_set` | sets and pulses | events |
//!
//! A lock, semaphore or barrier has no counter of those who acquire it: that would be a store more in the one CAS that
//! an acquisition is.

use std::time::Duration;

/// A figure that only grows, and what its growth is called.
const COUNTED: [(&str, &str); 4] =
    [("tokens", "acquired"), ("put", "put"), ("got", "got"), ("times_set", "set")];

/// The figures of a state, by name.
pub(crate) type Figures = [(&'static str, u64)];

/// The figure of that name.
pub(crate) fn figure(figures: &Figures, name: &str) -> Option<u64> {
    figures.iter().find(|(figure, _)| *figure == name).map(|&(_, number)| number)
}

/// How far each counter has come between two looks at an object of this kind.
pub(crate) fn moved(kind: &str, before: &Figures, now: &Figures) -> Vec<(&'static str, u64)> {
    let moved = |&(counter, growth): &(&'static str, &'static str)| {
        let (before, now) = (figure(before, counter)?, figure(now, counter)?);
        // It is not counted where nobody asks for tokens.
        if counter == "tokens" && now == 0 {
            return None;
        }
        let wraps = kind == "queue" && now <= u64::from(u32::MAX);
        let steps = if wraps {
            // Both are 32 bits of the ring's marks.
            u64::from((now as u32).wrapping_sub(before as u32))
        } else {
            now.saturating_sub(before)
        };
        Some((growth, steps))
    };
    COUNTED.iter().filter_map(moved).collect()
}

/// The same per second.
pub(crate) fn per_second(
    kind: &str,
    before: &Figures,
    now: &Figures,
    time: Duration,
) -> Vec<(&'static str, f64)> {
    let seconds = time.as_secs_f64().max(f64::EPSILON);
    moved(kind, before, now).into_iter().map(|(growth, steps)| (growth, steps as f64 / seconds)).collect()
}

/// `0`, `31.0`, `41.2k`, `1.24M`: a rate, in five letters.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        rate if rate < 1000.0 => format!("{rate:.1}"),
        rate if rate < 999_950.0 => format!("{:.1}k", rate / 1e3),
        rate if rate < 999_950_000.0 => format!("{:.2}M", rate / 1e6),
        rate => format!("{:.1}G", rate / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::{moved, per_second, rate};
    use std::time::Duration;

    #[test]
    fn counters_that_have_moved_are_rates() {
        let (before, now) =
            ([("depth", 5), ("put", 10), ("got", 5)], [("depth", 3), ("put", 12), ("got", 9)]);
        assert_eq!(moved("queue", &before, &now), [("put", 2), ("got", 4)]);
        let two = Duration::from_secs(2);
        assert_eq!(per_second("queue", &before, &now, two), [("put", 1.0), ("got", 2.0)]);
        let wrapped = [[("put", u64::from(u32::MAX))], [("put", 2)]];
        assert_eq!(moved("queue", &wrapped[0], &wrapped[1]), [("put", 3)]);
        assert_eq!(moved("joinable-queue", &wrapped[0], &wrapped[1]), [("put", 0)]);
        assert_eq!(moved("lock", &[("tokens", 0)], &[("tokens", 0)]), []);
        assert_eq!(moved("lock", &[("tokens", 0)], &[("tokens", 1)]), [("acquired", 1)]);
        assert_eq!(moved("lock", &[], &[("tokens", 1)]), []);
    }

    #[test]
    fn rates_are_for_people() {
        let rates = [0.0, 0.14, 31.0, 999.0, 41_234.0, 999_940.0, 1_240_000.0, 5e9].map(rate);
        assert_eq!(rates, ["0", "0.1", "31.0", "999.0", "41.2k", "999.9k", "1.24M", "5.0G"]);
    }
}
