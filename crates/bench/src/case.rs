//! What a case is, and how its two sides take turns.

use crate::error::{BenchError, Result};
use crate::ours::Session;
use crate::sample::Summary;
use std::cell::RefCell;
use std::time::Duration;

/// One side of a case, set up and warm. Each call is one round and returns its samples, in the case's unit.
pub(crate) type Side<'a> = Box<dyn FnMut() -> Result<Vec<f64>> + 'a>;

/// Builds a side: starts its processes, opens its objects, warms up.
pub(crate) type Setup = for<'a> fn(&'a Plan<'a>) -> Result<Side<'a>>;

/// A row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) summary: Summary,
    pub(crate) ours: Setup,
    pub(crate) rival_name: &'static str,
    pub(crate) rival: Setup,
    /// How many times better ours has to be.
    pub(crate) at_least: f64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    NanosEach,
    Nanos,
    Micros,
    Millis,
    MessagesPerSecond,
    PercentOfACore,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::NanosEach => "ns/op",
            Unit::Nanos => "ns",
            Unit::Micros => "us",
            Unit::Millis => "ms",
            Unit::MessagesPerSecond => "msg/s",
            Unit::PercentOfACore => "% core",
        }
    }

    /// More than 1 means that `ours` is better, whichever direction the unit goes.
    fn times_better(self, ours: f64, rival: f64) -> f64 {
        match self {
            Unit::MessagesPerSecond => ours / rival,
            _ => rival / ours,
        }
    }
}

/// How long everything takes, and where our objects are.
pub(crate) struct Plan<'a> {
    pub(crate) rounds: usize,
    pub(crate) round_time: Duration,
    /// How many holders are killed in one run of a case.
    pub(crate) kills: usize,
    pub(crate) session: &'a Session,
    remarks: RefCell<Vec<String>>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(quick: bool, session: &'a Session) -> Self {
        let (rounds, round_ms, kills) = if quick { (5, 60, 40) } else { (11, 300, 200) };
        Plan::of(session, rounds, round_ms, kills)
    }

    /// Shorter: a curve has many points.
    pub(crate) fn for_curves(quick: bool, session: &'a Session) -> Self {
        let (rounds, round_ms, kills) = if quick { (3, 15, 0) } else { (5, 50, 0) };
        Plan::of(session, rounds, round_ms, kills)
    }

    fn of(session: &'a Session, rounds: usize, round_ms: u64, kills: usize) -> Self {
        let remarks = RefCell::default();
        Plan { rounds, round_time: Duration::from_millis(round_ms), kills, session, remarks }
    }

    /// Has a line printed below the row of the case that is being run.
    pub(crate) fn remark(&self, remark: String) {
        self.remarks.borrow_mut().push(remark);
    }

    /// How long new processes run before they are measured.
    pub(crate) fn warm_up(&self) -> Duration {
        self.round_time / 10
    }
}

/// A case with its figures, or the reasons why there are none.
pub(crate) struct Row {
    pub(crate) case: &'static Case,
    pub(crate) ours: Result<f64>,
    pub(crate) rival: Result<f64>,
    /// What there is to say besides.
    pub(crate) remarks: Vec<String>,
}

impl Row {
    pub(crate) fn times_better(&self) -> Option<f64> {
        match (&self.ours, &self.rival) {
            (Ok(ours), Ok(rival)) => Some(self.case.unit.times_better(*ours, *rival)),
            _ => None,
        }
    }

    pub(crate) fn met(&self) -> Option<bool> {
        self.times_better().map(|times| times >= self.case.at_least)
    }

    pub(crate) fn failed(&self) -> bool {
        let failed = |side: &Result<f64>| matches!(side, Err(BenchError::Failed(_)));
        failed(&self.ours) || failed(&self.rival)
    }

    /// Why a figure is missing.
    pub(crate) fn note(&self) -> Option<String> {
        let why = |who: &str, side: &Result<f64>| match side {
            Ok(_) => None,
            Err(BenchError::Unavailable(why)) => Some(format!("{who}: {why}")),
            Err(BenchError::Failed(why)) => Some(format!("{who} FAILED: {why}")),
        };
        let notes: Vec<_> =
            [why("ours", &self.ours), why(self.case.rival_name, &self.rival)].into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

/// Runs a case: both sides are set up first, then they take turns, so that both meet the same machine.
pub(crate) fn run<'a>(case: &'static Case, plan: &'a Plan<'a>) -> Row {
    let mut sides = [Turns::of((case.ours)(plan)), Turns::of((case.rival)(plan))];
    for _ in 0..plan.rounds {
        sides.iter_mut().for_each(Turns::play);
    }
    let [ours, rival] = sides.map(|side| side.figure(case.summary));
    Row { case, ours, rival, remarks: plan.remarks.take() }
}

/// A side with what it has measured so far.
pub(crate) struct Turns<'a> {
    side: Result<Side<'a>>,
    samples: Vec<f64>,
}

impl<'a> Turns<'a> {
    pub(crate) fn of(side: Result<Side<'a>>) -> Self {
        Turns { side, samples: Vec::new() }
    }

    pub(crate) fn play(&mut self) {
        let Ok(round) = &mut self.side else { return };
        match round() {
            Ok(samples) => self.samples.extend(samples),
            Err(error) => self.side = Err(error),
        }
    }

    pub(crate) fn figure(mut self, summary: Summary) -> Result<f64> {
        self.side.and_then(|_| summary.of(&mut self.samples))
    }
}

/// A case whose rival is a time that ours may not exceed, in ms.
pub(crate) const fn bounded(
    name: &'static str,
    summary: Summary,
    ours: Setup,
    rival_name: &'static str,
    rival: Setup,
) -> Case {
    Case { name, unit: Unit::Millis, summary, ours, rival_name, rival, at_least: 1.0 }
}

/// A rival that is a number.
pub(crate) fn constant<'a>(figure: f64) -> Side<'a> {
    Box::new(move || Ok(vec![figure]))
}

#[cfg(test)]
mod tests {
    use super::Unit;

    #[test]
    fn better_is_less_time_or_more_messages() {
        assert_eq!(Unit::NanosEach.times_better(10.0, 20.0), 2.0);
        assert_eq!(Unit::MessagesPerSecond.times_better(10.0, 20.0), 0.5);
    }
}
