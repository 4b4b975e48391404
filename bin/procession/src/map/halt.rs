//! `--halt`: when no more jobs are started, and whether those that run are ended, as with GNU parallel.

use std::str::FromStr;

/// When to halt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Halt {
    #[default]
    Never,
    When {
        /// Whether those that run are ended.
        now: bool,
        what: What,
        limit: Limit,
    },
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Fail,
    Success,
    Done,
}

/// How many of them are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Jobs(u64),
    Percent(u8),
}

impl FromStr for Halt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "write it as never, or as now or soon with fail, success or done: now,fail=1 or soon,fail=20%";
        // What GNU parallel took before it had words.
        let text = match text {
            "0" | "never" => return Ok(Self::Never),
            "1" => "soon,fail=1",
            "2" => "now,fail=1",
            text => text,
        };
        let (when, why) = text.split_once(',').ok_or(FORM)?;
        let (what, limit) = why.split_once('=').ok_or(FORM)?;
        let now = match when {
            "now" => true,
            "soon" => false,
            _ => return Err(FORM.to_owned()),
        };
        let what = match what {
            "fail" => What::Fail,
            "success" => What::Success,
            "done" => What::Done,
            _ => return Err(FORM.to_owned()),
        };
        let limit = match limit.strip_suffix('%') {
            Some(percent) => Limit::Percent(
                percent.parse().ok().filter(|percent| (1..=100).contains(percent)).ok_or(FORM)?,
            ),
            None => Limit::Jobs(limit.parse().ok().filter(|&jobs| jobs > 0).ok_or(FORM)?),
        };
        Ok(Self::When { now, what, limit })
    }
}

impl Halt {
    /// Whether it takes the number of all jobs to tell.
    pub(crate) fn needs_total(self) -> bool {
        matches!(self, Self::When { limit: Limit::Percent(_), .. })
    }

    /// Whether so many failures and successes are enough; the total is not always known.
    pub(crate) fn is_reached(self, failed: u64, succeeded: u64, total: Option<u64>) -> bool {
        let Self::When { what, limit, .. } = self else { return false };
        let count = match what {
            What::Fail => failed,
            What::Success => succeeded,
            What::Done => failed + succeeded,
        };
        match (limit, total) {
            (Limit::Jobs(jobs), _) => count >= jobs,
            (Limit::Percent(percent), Some(total)) => {
                count > 0 && u128::from(count) * 100 >= u128::from(total) * u128::from(percent)
            }
            (Limit::Percent(_), None) => false,
        }
    }

    /// Whether halting means success.
    pub(crate) fn is_success(self) -> bool {
        matches!(self, Self::When { what: What::Success, .. })
    }

    /// Whether jobs that run are ended.
    pub(crate) fn is_now(self) -> bool {
        matches!(self, Self::When { now: true, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::{Halt, Limit, What};

    #[test]
    fn halts_are_read_as_parallel_reads_them() {
        let when = |now, what, limit| Ok(Halt::When { now, what, limit });
        assert_eq!("never".parse(), Ok(Halt::Never));
        assert_eq!("now,fail=1".parse(), when(true, What::Fail, Limit::Jobs(1)));
        assert_eq!("2".parse(), when(true, What::Fail, Limit::Jobs(1)));
        assert_eq!("soon,success=3".parse(), when(false, What::Success, Limit::Jobs(3)));
        assert_eq!("soon,done=20%".parse(), when(false, What::Done, Limit::Percent(20)));
        for wrong in [
            "",
            "now",
            "now,fail",
            "now,fail=0",
            "soon,fail=0%",
            "soon,fail=101%",
            "later,fail=1",
            "now,lost=1",
            "now,fail=-1",
            "now,fail=x%",
        ] {
            assert!(wrong.parse::<Halt>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn enough_is_enough() {
        let halt = |text: &str| text.parse::<Halt>().unwrap();
        assert!(!Halt::Never.is_reached(9, 9, Some(9)));
        assert!(halt("now,fail=2").is_reached(2, 0, None) && !halt("now,fail=2").is_reached(1, 5, None));
        assert!(halt("now,done=3").is_reached(1, 2, None));
        let percent = halt("soon,fail=20%");
        assert!(percent.is_reached(2, 0, Some(10)) && !percent.is_reached(1, 0, Some(10)));
        assert!(!percent.is_reached(9, 0, None) && !percent.is_reached(0, 0, Some(0)));
        assert!(percent.needs_total() && halt("now,success=1").is_success());
    }
}
