//! Times as people write them on the command line, and as they read them in messages.

use std::time::Duration;

/// A longer time is as good as this one, and has no sum with the time of day: a century.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// `1.5`, `500ms`, `10s`, `2m`, `1h`; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let number_end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is no unit of time: use ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| "write it as 500ms, 1.5, 10s or 2m".to_owned())?;
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())?;
    Ok(time.min(LONGEST))
}

/// `7s`, `3m12s`, `5h02m`, `12d03h`.
pub(crate) fn age(since: Duration) -> String {
    let seconds = since.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, age, duration};
    use std::time::Duration;

    #[test]
    fn times_are_read() {
        let ms = |text| duration(text).map(|time| time.as_millis());
        assert_eq!(
            ["0", "1.5", "500ms", "10s", "2m", "1h"].map(|text| ms(text).unwrap()),
            [0, 1500, 500, 10_000, 120_000, 3_600_000]
        );
        for wrong in ["", "s", "-1", "1d", "1 s", "ten", "inf", "1e999"] {
            assert!(duration(wrong).is_err(), "{wrong:?}: {:?}", duration(wrong));
        }
        assert_eq!(duration("0.001s"), Ok(Duration::from_millis(1)));
        assert_eq!(duration("4000000000000000h"), Ok(LONGEST));
    }

    #[test]
    fn ages_are_for_people() {
        let ages = [0, 59, 60, 3599, 7320, 90_000].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["0s", "59s", "1m00s", "59m59s", "2h02m", "1d01h"]);
    }
}
