//! A post is what one worker after the other fills: what runs there now, and when the next one comes.

use super::event::{SupervisorError, SupervisorEvent};
use super::{Attempt, Policy, Restart, Supervised, readiness_of};
use crate::error::in_full;
use crate::pacing::{Budget, moment_after, pause};
use crate::status::ExitStatus;
use procession_sync::Readiness;
use procession_sys::signals::{SIGKILL, SIGTERM};
use procession_sys::{pidfd, random};
use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The place of one worker.
pub(super) struct Post<P> {
    rank: usize,
    state: State<P>,
    /// How often a worker has been started here.
    starts: u32,
    /// How often one is started again.
    restarts: Budget,
    /// How many ended one after the other without having run for long.
    in_a_row: u32,
    last: Option<ExitStatus>,
}

enum State<P> {
    /// One is to be started then.
    Due(Instant),
    Running(Running<P>),
    Over,
}

struct Running<P> {
    process: P,
    attempt: Attempt,
    since: Instant,
    /// While it has not said that it is ready.
    readiness: Option<Readiness>,
    is_told_ready: bool,
    is_killed: bool,
    /// It had ended, and its status could not be had yet: a debugger may be first in line for it.
    is_kept: bool,
    /// It was told to end because another is to come in its place; when it is killed, if it has not by then.
    replaced: Option<Instant>,
}

/// What follows an end.
pub(super) enum Next {
    Over,
    Again { after: Duration },
    TooOften(SupervisorError),
}

impl<P: Supervised> Post<P> {
    pub(super) fn new(rank: usize, restarts: Budget) -> Self {
        let state = State::Due(Instant::now());
        Self { rank, state, starts: 0, restarts, in_a_row: 0, last: None }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    pub(super) fn last_status(&self) -> Option<ExitStatus> {
        self.last
    }

    /// When the next one is to be started.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match self.state {
            State::Due(at) => Some(at),
            _ => None,
        }
    }

    /// Whether what runs here is still to be killed, should it not end in time.
    pub(super) fn is_to_be_killed(&self) -> bool {
        matches!(&self.state, State::Running(running) if !running.is_killed)
    }

    /// The start that is due.
    pub(super) fn due(&self, now: Instant) -> Option<Attempt> {
        self.due_at().filter(|&at| at <= now).map(|_| Attempt::new(self.rank, self.starts + 1))
    }

    pub(super) fn begin(&mut self, attempt: Attempt, process: P, now: Instant) -> SupervisorEvent {
        self.starts = attempt.number;
        let event =
            SupervisorEvent::Started { rank: self.rank, attempt: attempt.number, process: process.label() };
        let readiness = readiness_of(&attempt);
        let (is_told_ready, is_killed, is_kept, replaced) = (false, false, false, None);
        let running =
            Running { process, attempt, since: now, readiness, is_told_ready, is_killed, is_kept, replaced };
        self.state = State::Running(running);
        event
    }

    /// What becomes of a worker that could not be started.
    pub(super) fn not_started(
        &mut self,
        policy: &Policy,
        all: Option<&mut Budget>,
        now: Instant,
        error: &(dyn Error + Send + Sync + 'static),
    ) -> (SupervisorEvent, Next) {
        self.starts += 1;
        let reason = in_full(error);
        let event = SupervisorEvent::NotStarted { rank: self.rank, reason: reason.clone() };
        if policy.restart == Restart::Never {
            self.state = State::Over;
            return (event, Next::TooOften(SupervisorError::NotStarted { rank: self.rank, reason }));
        }
        let next = self.again(policy, all, now, reason);
        (event, next)
    }

    /// Whether the worker has just become ready.
    pub(super) fn take_readiness(&mut self) -> Option<SupervisorEvent> {
        let State::Running(running) = &mut self.state else { return None };
        let is_ready = running.attempt.ready.get().is_none_or(|event| event.is_set());
        if running.is_told_ready || !is_ready {
            return None;
        }
        running.is_told_ready = true;
        running.readiness = None;
        Some(SupervisorEvent::Ready { rank: self.rank, process: running.process.label() })
    }

    /// Whether the worker has just ended, and what follows; `all`, if all are started again together, is how often
    /// they are, and `again` whether one may be now.
    pub(super) fn take_end(
        &mut self,
        policy: &Policy,
        all: Option<&mut Budget>,
        now: Instant,
        again: bool,
    ) -> Option<(SupervisorEvent, Next)> {
        let State::Running(running) = &mut self.state else { return None };
        // In this order: what ends in between is not kept.
        let has_ended = |end| matches!(pidfd::wait(end, Some(Duration::ZERO)), Ok(true));
        let has_ended = running.process.end().is_some_and(has_ended);
        let status = running.process.status();
        running.is_kept = has_ended && status.is_none();
        let status = status?;
        let ran_for = now.saturating_duration_since(running.since);
        let process = running.process.label();
        let reason = format!("{process}: {status}");
        let event = SupervisorEvent::Ended { rank: self.rank, process, status, ran_for };
        self.last = Some(status);
        let is_replaced = running.replaced.is_some() && again;
        self.state = State::Over;
        if is_replaced {
            self.in_a_row = 0;
            self.state = State::Due(now);
            return Some((event, Next::Again { after: Duration::ZERO }));
        }
        if ran_for >= policy.healthy_after() {
            self.in_a_row = 0;
        }
        let again = again
            && match policy.restart {
                Restart::Always => true,
                Restart::OnFailure => !status.success(),
                Restart::Never => false,
            };
        let next = if again { self.again(policy, all, now, reason) } else { Next::Over };
        Some((event, next))
    }

    /// Plans the next start, unless there were too many.
    fn again(&mut self, policy: &Policy, all: Option<&mut Budget>, now: Instant, reason: String) -> Next {
        if all.unwrap_or(&mut self.restarts).spend(now).is_err() {
            return self.give_up(reason);
        }
        let after = back_off(policy, self.in_a_row);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.state = State::Due(moment_after(now, after));
        Next::Again { after }
    }

    fn give_up(&mut self, reason: String) -> Next {
        self.state = State::Over;
        let Budget { most, within, .. } = self.restarts;
        Next::TooOften(SupervisorError::GaveUp { rank: self.rank, most, within, reason })
    }

    /// Has one started here then, because all are started again.
    pub(super) fn start_again_at(&mut self, due: Instant) {
        self.state = State::Due(due);
    }

    /// Has another worker come in the place of this one, now.
    pub(super) fn replace(&mut self, now: Instant, grace: Duration) {
        match &mut self.state {
            State::Running(running) => {
                if running.replaced.is_none() {
                    running.replaced = Some(moment_after(now, grace));
                    self.signal(SIGTERM);
                }
            }
            State::Due(_) | State::Over => self.state = State::Due(now),
        }
    }

    /// When one that is to be replaced is killed, should it not end before.
    pub(super) fn killed_at(&self) -> Option<Instant> {
        match &self.state {
            State::Running(running) if !running.is_killed => running.replaced,
            _ => None,
        }
    }

    /// While the supervisor stops: what was planned is not done.
    pub(super) fn give_up_restart(&mut self) {
        if matches!(self.state, State::Due(_)) {
            self.state = State::Over;
        }
    }

    /// Kills what runs, once.
    pub(super) fn kill(&mut self) -> Option<SupervisorEvent> {
        let State::Running(running) = &mut self.state else { return None };
        if std::mem::replace(&mut running.is_killed, true) {
            return None;
        }
        // One that has ended meanwhile is found at the next look.
        drop(running.process.signal(SIGKILL));
        Some(SupervisorEvent::Killed { rank: self.rank, process: running.process.label() })
    }

    pub(super) fn signal(&self, signal: i32) {
        if let State::Running(running) = &self.state {
            // As above.
            drop(running.process.signal(signal));
        }
    }

    fn running(&self) -> Option<&Running<P>> {
        match &self.state {
            State::Running(running) => Some(running),
            _ => None,
        }
    }

    /// Whether nobody tells when it ends.
    pub(super) fn is_unseen(&self) -> bool {
        self.running()
            .is_some_and(|running| running.process.end().is_none() && !running.process.is_attended())
    }

    /// Whether it had ended when it was looked at, and its status could not be had. It is not asked for anew: an end is
    /// told when it is taken, or another that comes because of it would be told before.
    pub(super) fn is_kept(&self) -> bool {
        self.running().is_some_and(|running| running.is_kept)
    }

    /// See [`Supervised::place_among_ends`].
    pub(super) fn place_among_ends(&self) -> u64 {
        self.running().map_or(0, |running| running.process.place_among_ends())
    }

    /// What becomes readable when there is something to look at.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let running = self.running();
        let end = running.and_then(|running| running.process.end());
        let ready = running.and_then(|running| running.readiness.as_ref()).map(AsFd::as_fd);
        end.into_iter().chain(ready)
    }
}

/// How long to wait after so many ends in a row, a quarter longer or shorter by chance.
fn back_off(policy: &Policy, in_a_row: u32) -> Duration {
    let whole = pause(policy.first_back_off, in_a_row, policy.longest_back_off);
    let chance = random::nonzero_u64() as f64 / u64::MAX as f64;
    let factor = 0.75 + 0.5 * chance;
    Duration::try_from_secs_f64(whole.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}
