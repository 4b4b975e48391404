//! What happens to the workers of one `procession run`, as it is told: to people on stderr, to scripts by the report,
//! and to whoever waits by the exit code.

use super::ready::Readiness;
use super::workers::Workers;
use super::{OnExit, RunArgs, When, Whose, ended_event};
use crate::passed_on::code_of;
use crate::report::Lines;
use procession::{Event, ExitStatus, SupervisorError, SupervisorEvent as Happened, SupervisorHandle};
use procession_sys::clock;
use procession_terminal::exit::{Failure, OWN_FAILURE};
use procession_terminal::output;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A worker that has failed.
#[derive(Clone, Debug)]
struct Failed {
    rank: usize,
    status: ExitStatus,
    ran: Duration,
    /// How often it had been started.
    attempt: u32,
    /// Whether it ended because this program wanted it to.
    was_told: bool,
    /// Whether somebody had asked for the end before.
    was_asked: bool,
}

impl Failed {
    fn code(&self) -> u8 {
        let exited = self.status.code().map(|code| u8::try_from(code).unwrap_or(u8::MAX));
        exited.or_else(|| self.status.signal().map(code_of)).unwrap_or(OWN_FAILURE)
    }

    fn how(&self) -> String {
        format!("{} after {:.1} s", self.status, self.ran.as_secs_f64())
    }
}

pub(super) struct Story<'a> {
    args: &'a RunArgs,
    workers: &'a Workers<'a>,
    handle: SupervisorHandle,
    report: Option<Lines>,
    /// Where somebody wants to know.
    readiness: Option<Readiness>,
    /// In the order of their ends; one that is started again is taken out.
    failed: Vec<Failed>,
    /// How often each rank has been started.
    attempts: BTreeMap<usize, u32>,
    /// The signal that asked for the end.
    asked_by: Option<i32>,
    /// Whose workers end because others come in their place.
    replaced: BTreeSet<usize>,
    /// Whether all were told to end by this program itself.
    is_stopping: bool,
    /// Why a worker could not be started, where there is no use in trying again.
    could_not_start: Option<Failure>,
    /// Set once a worker has ended for good, and there as long as this process is.
    has_lost_one: Option<Event>,
}

impl<'a> Story<'a> {
    pub(super) fn new(
        args: &'a RunArgs,
        workers: &'a Workers<'a>,
        handle: SupervisorHandle,
    ) -> Result<Self, Failure> {
        let number = workers.number() as usize;
        Ok(Self {
            args,
            workers,
            handle,
            readiness: args.ready.as_deref().map(|name| Readiness::new(name, number)).transpose()?,
            report: args.report.as_ref().map(|report| report.lines()).transpose()?,
            failed: Vec::new(),
            attempts: BTreeMap::new(),
            asked_by: None,
            replaced: BTreeSet::new(),
            is_stopping: false,
            could_not_start: None,
            has_lost_one: None,
        })
    }

    /// What the supervisor tells.
    pub(super) fn goes_on(&mut self, event: &Happened) {
        match event {
            Happened::Started { rank, attempt, process } => {
                self.attempts.insert(*rank, *attempt);
                self.failed.retain(|failed| failed.rank != *rank);
                self.tell("started", &json!({"rank": rank, "pid": process.pid(), "attempt": attempt}));
            }
            Happened::Ready { rank, process } => {
                if let Some(readiness) = &mut self.readiness {
                    readiness.is_ready(*rank);
                    self.tell("ready", &json!({"rank": rank, "pid": process.pid()}));
                }
            }
            Happened::Ended { rank, status, ran_for, process } => {
                if let Some(readiness) = &mut self.readiness {
                    readiness.has_ended(*rank);
                }
                let (code, signal, ran) = (status.code(), status.signal(), ran_for.as_secs_f64());
                let what = json!({"rank": rank, "pid": process.pid(), "code": code, "signal": signal, "ran_seconds": ran});
                self.tell("ended", &what);
                self.ended(*rank, *status, *ran_for);
            }
            Happened::Restarting { rank, after } => {
                let after = after.as_secs_f64();
                self.tell("restarting", &json!({"rank": rank, "after_seconds": after}));
                let how = self.failed.iter().rfind(|failed| failed.rank == *rank).map(Failed::how);
                let how = how.unwrap_or_else(|| "exit code 0".to_owned());
                let who = self.workers.called(*rank);
                output::warn(&format!("{who}: {how}; it is started again in {after:.1} s"));
            }
            Happened::NotStarted { rank, reason } => {
                self.tell("not_started", &json!({"rank": rank, "reason": reason}));
            }
            Happened::Stopping => {
                self.is_stopping = true;
                self.tell("stopping", &json!({}));
            }
            Happened::Killed { rank, process } => {
                self.tell("killed", &json!({"rank": rank, "pid": process.pid()}));
            }
            _ => {}
        }
    }

    fn ended(&mut self, rank: usize, status: ExitStatus, ran: Duration) {
        if self.replaced.remove(&rank) && !self.is_stopping && self.asked_by.is_none() {
            return;
        }
        let was_asked = self.asked_by.is_some();
        let was_told = self.is_stopping && !was_asked;
        let is_over = was_asked || self.is_stopping;
        if !status.success() {
            let attempt = self.attempts.get(&rank).copied().unwrap_or(1);
            self.failed.push(Failed { rank, status, ran, attempt, was_told, was_asked });
        }
        let comes_again = match self.args.restart {
            When::Never => false,
            When::OnFailure => !status.success(),
            When::Always => true,
        };
        let ends_others = match self.args.on_exit() {
            OnExit::Wait | OnExit::Ignore => false,
            OnExit::Stop => !status.success(),
            OnExit::StopAlways => true,
        };
        if !comes_again && !is_over && self.workers.number() > 1 {
            self.tell_those_who_wait();
        }
        if ends_others && !comes_again && !is_over {
            if self.workers.number() > 1 {
                let (who, ran) = (self.workers.called(rank), ran.as_secs_f64());
                output::warn(&format!("{who}: {status} after {ran:.1} s; the others are ended"));
            }
            self.handle.stop();
        }
    }

    /// Has those know who wait for all workers: one will never come.
    fn tell_those_who_wait(&mut self) {
        if self.has_lost_one.is_none() {
            let made =
                Event::options().ephemeral().open_or_create(&ended_event(&std::process::id().to_string()));
            // Without shared memory nobody can wait there.
            self.has_lost_one = made.inspect(Event::set).ok();
        }
    }

    /// A signal came that asks for the end.
    pub(super) fn is_asked_to_end(&mut self, signal: i32) {
        self.asked_by.get_or_insert(signal);
    }

    /// Somebody wishes that a worker is replaced.
    pub(super) fn is_replaced(&mut self, rank: usize) {
        self.replaced.insert(rank);
    }

    /// Somebody wishes the end of all: those that end from now on have not failed.
    pub(super) fn is_stopped(&mut self) {
        self.is_stopping = true;
    }

    /// There is no use in trying to start a worker again.
    pub(super) fn could_not_start(&mut self, failure: Failure) {
        self.could_not_start.get_or_insert(failure);
    }

    /// How all of it ended.
    ///
    /// # Errors
    /// What was not printed; [`Failure::Command`]: the code of the one that failed first, or that of the signal because
    /// of which some were not started.
    pub(super) fn ends(
        mut self,
        outcome: Result<(), SupervisorError>,
        printed: Result<(), Failure>,
    ) -> Result<(), Failure> {
        // If nobody reads what they print, they have failed because of that.
        let outcome = printed.and_then(|()| self.outcome(outcome));
        let exit = outcome.as_ref().err().map_or(0, Failure::code);
        let first = self.failed.first().map(|failed| {
            json!({"rank": failed.rank, "code": failed.status.code(), "signal": failed.status.signal()})
        });
        self.tell("done", &json!({"exit": exit, "first_failure": first}));
        let written = self.report.take().map_or(Ok(()), Lines::end);
        outcome.and(written)
    }

    fn outcome(&mut self, outcome: Result<(), SupervisorError>) -> Result<(), Failure> {
        if let Some(failure) = self.could_not_start.take() {
            return Err(failure);
        }
        let too_often = match outcome {
            Ok(()) => None,
            Err(SupervisorError::GaveUp { rank, .. }) if !self.failed.is_empty() => Some(rank),
            Err(error) => return Err(error.into()),
        };
        // Those that were told to end because of another one have not failed; those that would have been started again
        // have not either.
        self.failed.retain(|failed| !failed.was_told && too_often.is_none_or(|rank| failed.rank == rank));
        if let Some(failed) = self.failed.first().filter(|failed| !failed.was_asked) {
            let first = if self.workers.number() > 1 { " first" } else { "" };
            let again = too_often.map_or_else(String::new, |_| {
                format!(
                    "; start {} of this rank, and at most {} restarts within {:?} are allowed",
                    failed.attempt, self.args.max_restarts, self.args.within
                )
            });
            let who = self.workers.called(failed.rank);
            output::warn(&format!("{who} failed{first}: {}{again}", failed.how()));
        }
        let failed = match self.args.exit {
            Whose::First => self.failed.first().map(Failed::code),
            Whose::Max => self.failed.iter().map(Failed::code).max(),
        };
        // Nobody is to think that all has been done if some were not started.
        let all_started = self.attempts.len() == self.workers.number() as usize;
        let asked = self.asked_by.filter(|_| !all_started).map(code_of);
        match failed.filter(|_| self.args.on_exit() != OnExit::Ignore || too_often.is_some()).or(asked) {
            Some(code) => Err(Failure::Command(code)),
            None => Ok(()),
        }
    }

    fn tell(&mut self, event: &str, what: &Value) {
        if let Some(report) = &mut self.report {
            let mut record =
                json!({"v": 1, "ts": clock::wall_ns() as f64 / 1e9, "kind": "run", "event": event});
            if let (Value::Object(record), Value::Object(what)) = (&mut record, what) {
                record.extend(what.clone());
                let rank =
                    what.get("rank").and_then(Value::as_u64).and_then(|rank| usize::try_from(rank).ok());
                if let Some(name) = rank.and_then(|rank| self.workers.name(rank)) {
                    record.insert("name".to_owned(), name.into());
                }
            }
            report.write(&record);
        }
    }
}
