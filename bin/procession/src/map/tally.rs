//! How many jobs ended how, and what this process's exit code is because of that.

use super::ExitRule;
use super::record::Outcome;
use procession_terminal::exit::SOME_FAILED;

/// The most failures that `--exit count` tells apart: as with GNU parallel.
const MOST_COUNTED: u64 = 101;

/// What became of the jobs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// Done before, by the log.
    pub(super) skipped: u64,
    /// Of those that failed, ended by this process before they were done.
    pub(super) stopped: u64,
    /// The code of the one that failed first, and the highest of all.
    first: Option<u8>,
    highest: u8,
    /// What is said of the first.
    pub(super) first_words: Option<String>,
    /// Whether `--halt` was reached.
    pub(super) halted: bool,
}

impl Tally {
    /// Counts a job that has ended; `words` says which, and how.
    pub(super) fn count(&mut self, outcome: Outcome, words: impl FnOnce() -> String) {
        if outcome.is_success() {
            self.succeeded += 1;
            return;
        }
        self.failed += 1;
        if outcome.stopped {
            self.stopped += 1;
            return;
        }
        if self.first.is_none() {
            self.first = Some(outcome.code);
            self.first_words = Some(words());
        }
        self.highest = self.highest.max(outcome.code);
    }

    /// The exit code by the rule.
    pub(super) fn code(&self, rule: ExitRule) -> u8 {
        match (self.failed, rule) {
            (0, _) => 0,
            (_, ExitRule::Any) => SOME_FAILED,
            (_, ExitRule::First) => self.first.unwrap_or(SOME_FAILED),
            (_, ExitRule::Max) if self.highest > 0 => self.highest,
            (_, ExitRule::Max) => SOME_FAILED,
            (failed, ExitRule::Count) => u8::try_from(failed.min(MOST_COUNTED)).unwrap_or(u8::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ExitRule;
    use super::super::record::Outcome;
    use super::Tally;

    #[test]
    fn codes_are_by_the_rule() {
        let rules = [ExitRule::Any, ExitRule::First, ExitRule::Max, ExitRule::Count];
        let mut tally = Tally::default();
        let codes = |tally: &Tally| rules.map(|rule| tally.code(rule));
        assert_eq!(codes(&tally), [0; 4]);
        for code in [0, 5, 7, 3] {
            tally.count(Outcome::not_run(code), || format!("exit {code}"));
        }
        assert_eq!(codes(&tally), [123, 5, 7, 3]);
        assert_eq!(tally.first_words.as_deref(), Some("exit 5"));
        (0..200).for_each(|_| tally.count(Outcome::not_run(1), String::new));
        assert_eq!(tally.code(ExitRule::Count), 101);
        let mut stopped = Tally::default();
        stopped.count(Outcome { stopped: true, ..Outcome::not_run(143) }, String::new);
        assert_eq!(codes(&stopped), [123, 123, 123, 1]);
    }
}
