//! A command that runs under something that this process holds: started, told of signals, timed, waited for.
//!
//! | step | SIGKILL to this process | what it leaves |
//! |---|---|---|
//! | signals are blocked; then the thing is acquired | nothing was changed | a dead holder |
//! | the command is started as the ward of this process (`registry/ward.rs`) | the kernel kills the command | a dead holder, once the command has ended, too |
//! | the command has ended, its status is taken | | a dead holder |
//! | the thing is released | | nothing |
//!
//! A command that a signal has ended leaves what it worked on half-done: then this process does not release what it
//! holds but ends with it, so that whoever comes next is told, as after the death of this process.

use crate::holding::refusal;
use crate::passed_on::{ASKS_FOR_THE_END, is_from_terminal, tell};
use crate::program::{check, keep_closed, not_runnable};
use procession::shm::Registration;
use procession_sys::pidfd::{Ended, reap_any};
use procession_sys::signals::{self as sig, Inbox, SignalSet, Taken};
use procession_sys::ward::{Program, Signals, Start, Started};
use procession_sys::{Deadline, inherited};
use procession_terminal::exit::{Failure, NOT_EXECUTABLE, NOT_FOUND};
use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// How a command is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long it may run.
    pub(crate) time: Option<Duration>,
    /// How long it may take to end after that.
    pub(crate) kill_after: Duration,
    /// Whether signals are passed on to it.
    pub(crate) passes_on: bool,
}

/// A command that is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapped<'a> {
    pub(crate) command: &'a [OsString],
    /// What is changed in the environment.
    pub(crate) environment: &'a [(&'a str, Option<String>)],
    pub(crate) limits: Limits,
    /// What it reads, instead of what this process would.
    pub(crate) stdin: Option<BorrowedFd<'a>>,
    /// What is asked, now and then, whether it may not go on.
    pub(crate) is_lost: Option<IsLost<'a>>,
}

/// Whether what the command runs under is lost.
#[derive(Clone, Copy)]
pub(crate) struct IsLost<'a>(pub(crate) &'a dyn Fn() -> bool);

/// How often that is asked.
const LOOK: Duration = Duration::from_millis(250);

impl std::fmt::Debug for IsLost<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IsLost")
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) ended: Ended,
    /// Whether it was told to end because its time was over.
    pub(crate) timed_out: bool,
    /// Whether it was told to end because what it ran under was lost.
    #[cfg_attr(not(feature = "cluster"), expect(dead_code, reason = "nothing else can be lost"))]
    pub(crate) was_lost: bool,
    /// The first signal that asked this process to end meanwhile, and so the command.
    pub(crate) asked_by: Option<i32>,
    pub(crate) ran: Duration,
}

/// Runs the command to its end.
///
/// # Errors
/// [`Failure::NotRunnable`], or why no process could be started.
pub(crate) fn run(
    wrapped: Wrapped<'_>,
    inbox: &Inbox,
    registration: &'static Registration,
) -> Result<Outcome, Failure> {
    let Wrapped { command, environment, limits, stdin, is_lost } = wrapped;
    let program = Program::new(command, environment)?;
    keep_closed();
    let signals = Signals { blocked: inbox.blocked_before, ignores_sigpipe: inherited::ignored_sigpipe() };
    let start = Start { streams: [stdin, None, None], ..Start::with(signals) };
    let Started { pid, unheard } =
        registration.start_ward(&program, start).map_err(|error| why_not_started(command, error))?;
    let began = Instant::now();
    let until = limits.time.map_or(Deadline::NEVER, Deadline::after);
    let mut watched = Watched {
        pid,
        unheard,
        inbox,
        limits,
        until,
        timed_out: false,
        asked_by: None,
        is_lost,
        was_lost: false,
    };
    let ended = watched.wait()?;
    let Watched { timed_out, asked_by, was_lost, .. } = watched;
    Ok(Outcome { ended, timed_out: timed_out && !was_lost, was_lost, asked_by, ran: began.elapsed() })
}

/// The reason, for scripts, why a command with too long words was not started.
pub(crate) const TOO_LONG: &str = "too_long";

pub(crate) fn why_not_started(command: &[OsString], error: Error) -> Failure {
    if error.kind() == ErrorKind::ArgumentListTooLong {
        let message = format!("cannot run {:?}: {error}", command[0]);
        return refusal(TOO_LONG, NOT_EXECUTABLE, message);
    }
    // No process could be made, or the ward's own steps failed.
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory) {
        return Failure::Error(
            format!("cannot start {:?}: {error}; too many processes (`ulimit -u`), or no memory", command[0])
                .into(),
        );
    }
    match check(command) {
        Err(failure) => failure,
        // The interpreter of a script, say, is not there: as env(1) and nice(1) tell it.
        Ok(()) => {
            let code = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            not_runnable(code, format!("cannot run {:?}: {error}", command[0]))
        }
    }
}

/// A command that runs.
struct Watched<'a> {
    pid: u32,
    /// What had come before there was the command, and was not taken.
    unheard: SignalSet,
    inbox: &'a Inbox,
    limits: Limits,
    /// When it is told to end, or killed.
    until: Deadline,
    timed_out: bool,
    asked_by: Option<i32>,
    is_lost: Option<IsLost<'a>>,
    was_lost: bool,
}

impl Watched<'_> {
    fn wait(&mut self) -> Result<Ended, Failure> {
        loop {
            let left = self.until.remaining();
            // Only while there is something to ask does this process wake up for nothing.
            let asks = self.is_lost.filter(|_| !self.was_lost && left.is_none_or(|left| left > LOOK));
            let until = if asks.is_some() { Deadline::after(LOOK) } else { self.until };
            let ended = match self.inbox.take(until) {
                Some(taken) => self.deal_with(taken)?,
                None if asks.is_none() => {
                    self.time_is_over();
                    None
                }
                None => {
                    if asks.is_some_and(|IsLost(ask)| ask()) {
                        self.was_lost = true;
                        self.time_is_over();
                    }
                    None
                }
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    fn time_is_over(&mut self) {
        if self.timed_out {
            tell(self.pid, sig::SIGKILL);
            self.until = Deadline::NEVER;
        } else {
            self.timed_out = true;
            tell(self.pid, sig::SIGTERM);
            // Nobody hears it who is stopped.
            tell(self.pid, sig::SIGCONT);
            self.until = Deadline::after(self.limits.kill_after);
        }
    }

    /// How the command ended, if it has.
    fn deal_with(&mut self, taken: Taken) -> Result<Option<Ended>, Failure> {
        if taken.signal == sig::SIGCHLD {
            return self.take_exit_statuses();
        }
        if ASKS_FOR_THE_END.contains(&taken.signal) {
            self.asked_by.get_or_insert(taken.signal);
        }
        let reaches_both = !self.limits.passes_on || is_from_terminal(taken);
        if self.unheard.remove(taken.signal) || !reaches_both {
            tell(self.pid, taken.signal);
        }
        if taken.signal == sig::SIGTSTP {
            // The command's time does not pass while nothing runs.
            let left = self.until.remaining();
            self.inbox.let_act(taken.signal);
            self.until = left.map_or(Deadline::NEVER, Deadline::after);
        }
        Ok(None)
    }

    /// Takes those of all children that have ended: a process has others than its command if it was executed by one
    /// that had children, and the first process of a container gets all orphans.
    fn take_exit_statuses(&self) -> Result<Option<Ended>, Failure> {
        while let Some((pid, ended)) = reap_any()? {
            if pid == self.pid {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }
}
