//! The workers of one `procession run`: started, told of signals, and their exit statuses taken, all by one thread.
//!
//! Signals are blocked, and taken one by one by this thread. So none is lost, whenever it comes; and an id that is
//! signalled is the worker's own, because this thread alone takes exit statuses. A worker begins with those signals
//! blocked: one that comes before the command is executed waits for that.

use super::bind::Places;
use super::environment::Environment;
use super::output::{Outputs, Printed};
use super::ready;
use super::story::Story;
use super::terminal::Terminal;
use super::workers::Workers;
use super::{RunArgs, When};
use crate::passed_on::{ASKS_FOR_THE_END, tell_group};
use crate::wrap::why_not_started;
use procession::{Attempt, ExitStatus, KernelError, ProcessLabel, Supervised, SupervisorHandle};
use procession_sys::pidfd::{Ended, reap_any};
use procession_sys::signals::{self as sig, Inbox};
use procession_sys::ward::{Program, Signals, Start, spawn};
use procession_sys::{Deadline, inherited};
use procession_terminal::exit::{Failure, OWN_FAILURE};
use procession_terminal::output;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, stdin};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process;
use std::rc::Rc;

/// How a worker ended.
#[derive(Clone, Copy)]
struct TakenEnd {
    status: ExitStatus,
    /// How many ends had been taken by then, with this one.
    nth: u64,
}

/// A worker whose exit status was not taken.
pub(super) struct Running {
    pub(super) rank: usize,
    end: Rc<Cell<Option<TakenEnd>>>,
    /// By --pty.
    terminal: Option<Terminal>,
}

impl Running {
    /// Sends the signal to its group.
    pub(super) fn tell(&self, pid: u32, signal: i32) {
        // Who leads a session has no parent in it who could let it go on, and so the kernel lets nobody in its group be
        // stopped by SIGTSTP.
        let stops = signal == sig::SIGTSTP && self.terminal.is_some();
        tell_group(pid, if stops { sig::SIGSTOP } else { signal });
    }
}

/// These mean nothing to a worker that is started later.
const OF_THE_MOMENT: [i32; 3] = [sig::SIGTSTP, sig::SIGCONT, sig::SIGWINCH];

pub(super) struct Crew<'a> {
    args: &'a RunArgs,
    pub(super) workers: &'a Workers<'a>,
    environment: Environment<'a>,
    /// Where workers are bound to, if they are.
    places: Option<Places>,
    inbox: Inbox,
    pub(super) handle: SupervisorHandle,
    outputs: Option<Outputs>,
    /// What workers have as stdin instead of this process's terminal; `None` if they share what this process has.
    stdin: Option<File>,
    /// Those whose exit status was not taken, by process id.
    pub(super) running: BTreeMap<u32, Running>,
    /// How many were taken.
    ends_taken: u64,
    /// What those that are started for the first time later get too, once each.
    passed_on: Vec<i32>,
    /// How often SIGINT came.
    interrupts: u32,
}

impl<'a> Crew<'a> {
    pub(super) fn new(
        args: &'a RunArgs,
        workers: &'a Workers<'a>,
        environment: Environment<'a>,
        inbox: Inbox,
        handle: SupervisorHandle,
        outputs: Option<Outputs>,
    ) -> Result<Self, Failure> {
        // In their own process groups they may not read from the terminal: they would be stopped.
        let stdin = if stdin().is_terminal() { Some(File::open("/dev/null")?) } else { None };
        let places = Places::of(args.bind)?;
        let (running, passed_on) = (BTreeMap::new(), Vec::new());
        let (ends_taken, interrupts) = (0, 0);
        Ok(Self {
            args,
            workers,
            environment,
            places,
            inbox,
            handle,
            outputs,
            stdin,
            running,
            ends_taken,
            passed_on,
            interrupts,
        })
    }

    /// Starts a worker, and looks at the signals that have come meanwhile.
    ///
    /// # Errors
    /// Why none was started; where there is no use in trying again, the others have been told to end.
    pub(super) fn start(&mut self, attempt: &Attempt, story: &mut Story<'_>) -> Result<Worker, String> {
        let (worker, terminal) = match self.spawn(attempt) {
            Ok(started) => started,
            Err(failure) => return Err(self.not_started(attempt, failure, story)),
        };
        if attempt.number() == 1 {
            self.passed_on.iter().for_each(|&signal| tell_group(worker.pid, signal));
        }
        let running = Running { rank: worker.rank, end: Rc::clone(&worker.end), terminal };
        self.running.insert(worker.pid, running);
        self.listen(story);
        Ok(worker)
    }

    /// Why there is no such worker, for whoever may try again; where that has no use, the others are told to end.
    fn not_started(&self, attempt: &Attempt, failure: Failure, story: &mut Story<'_>) -> String {
        let reason = failure.lines().join("; ");
        let is_final = matches!(failure, Failure::NotRunnable { .. });
        if is_final || self.args.restart == When::Never {
            let (rank, number) = (attempt.rank(), self.workers.number());
            let others = if rank == 0 { "" } else { "; those that ran were ended" };
            story.could_not_start(match failure {
                Failure::NotRunnable { .. } => failure,
                _ => Failure::Error(
                    format!("cannot start worker {} of {number}: {reason}{others}", rank + 1).into(),
                ),
            });
            self.handle.stop();
        }
        reason
    }

    fn spawn(&mut self, attempt: &Attempt) -> Result<(Worker, Option<Terminal>), Failure> {
        let mut variables = self.environment.of(attempt);
        if self.args.ready.is_some() {
            variables.push((ready::READY, Some(ready::event_of(attempt)?)));
        }
        let command = self.workers.command(attempt.rank());
        let program = Program::new(command, &variables)?;
        let signals =
            Signals { blocked: self.inbox.blocked_before, ignores_sigpipe: inherited::ignored_sigpipe() };
        let printed =
            self.outputs.as_ref().map(|outputs| outputs.printed(attempt, self.workers)).transpose()?;
        let terminal = printed.as_ref().and_then(Printed::terminal);
        let stdin = self.stdin.as_ref().map(|nothing| terminal.unwrap_or(nothing.as_fd()));
        let [stdout, stderr] = printed.as_ref().map_or([None; 2], |printed| printed.streams().map(Some));
        let streams = [stdin, stdout, stderr];
        let start = Start { leads_group: true, streams, terminal, ..Start::with(signals) };
        let started = || {
            spawn(&program, start).map(|started| started.pid).map_err(|error| why_not_started(command, error))
        };
        let pid = match &self.places {
            Some(places) => places.bound(attempt.rank(), started)??,
            None => started()?,
        };
        let terminal = match (&self.outputs, printed) {
            (Some(outputs), Some(printed)) => outputs.add(attempt, pid, self.workers, printed),
            _ => None,
        };
        let (rank, name) = (attempt.rank(), self.workers.called(attempt.rank()));
        Ok((Worker { rank, name, pid, end: Rc::default() }, terminal))
    }

    /// Takes the signals that have come.
    pub(super) fn listen(&mut self, story: &mut Story<'_>) {
        while let Some(taken) = self.inbox.take(Deadline::PASSED) {
            self.deal_with(taken.signal, story);
        }
    }

    fn deal_with(&mut self, signal: i32, story: &mut Story<'_>) {
        if signal == sig::SIGCHLD {
            return self.take_exit_statuses();
        }
        if signal == sig::SIGWINCH {
            self.running.values().filter_map(|worker| worker.terminal.as_ref()).for_each(Terminal::fit);
        }
        // What the terminal has sent to this process's group, theirs have not got.
        self.tell_all(signal);
        if ASKS_FOR_THE_END.contains(&signal) {
            story.is_asked_to_end(signal);
            self.handle.drain();
        }
        if !OF_THE_MOMENT.contains(&signal) && !self.passed_on.contains(&signal) {
            self.passed_on.push(signal);
        }
        match signal {
            sig::SIGTSTP => self.inbox.let_act(signal),
            sig::SIGINT => self.interrupted(),
            _ => {}
        }
    }

    /// Whoever presses Ctrl-C again does not want to wait.
    fn interrupted(&mut self) {
        self.interrupts += 1;
        match self.interrupts {
            1 if std::io::stderr().is_terminal() && !self.running.is_empty() => {
                let number = output::number_of(self.running.len() as u64, "worker");
                output::warn(&format!(
                    "waiting for {number}; Ctrl-C again ends them, a third time kills them"
                ));
            }
            1 => {}
            2 => self.handle.stop(),
            _ => self.tell_all(sig::SIGKILL),
        }
    }

    /// Takes those of all children that have ended: a process has others than its workers if it was executed
    /// by one that had children, and the first process of a container gets all orphans.
    fn take_exit_statuses(&mut self) {
        // Without any child there is no status to be had, which the kernel calls an error.
        while !self.running.is_empty() {
            match reap_any() {
                Ok(Some((pid, ended))) => {
                    if let Some(worker) = self.running.remove(&pid) {
                        self.take_end(&worker, ended);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    output::warn(&format!("nobody knows how the workers ended: {error}"));
                    let lost = std::mem::take(&mut self.running).into_values();
                    lost.for_each(|worker| self.take_end(&worker, Ended::Exited(OWN_FAILURE.into())));
                    return;
                }
            }
        }
    }

    fn take_end(&mut self, worker: &Running, ended: Ended) {
        self.ends_taken += 1;
        worker.end.set(Some(TakenEnd { status: status_of(ended), nth: self.ends_taken }));
    }

    pub(super) fn tell_all(&self, signal: i32) {
        self.running.iter().for_each(|(&pid, worker)| worker.tell(pid, signal));
    }

    /// Ends the showing of what they printed, once all have ended.
    ///
    /// # Errors
    /// Why something was not shown or written.
    pub(super) fn end(self) -> Result<(), Failure> {
        let was_asked = self.passed_on.iter().any(|signal| ASKS_FOR_THE_END.contains(signal));
        self.outputs.map_or(Ok(()), |outputs| outputs.end(&self.inbox, self.args.grace, was_asked))
    }
}

fn status_of(ended: Ended) -> ExitStatus {
    const CODE_AT: u32 = 8;
    let raw = match ended {
        Ended::Exited(code) => code << CODE_AT,
        Ended::Signaled(signal) => signal,
    };
    process::ExitStatus::from_raw(raw).into()
}

/// One worker.
pub(super) struct Worker {
    rank: usize,
    name: String,
    pid: u32,
    /// How it ended, once that was taken.
    end: Rc<Cell<Option<TakenEnd>>>,
}

impl Supervised for Worker {
    fn label(&self) -> ProcessLabel {
        ProcessLabel::of_program(&self.name, self.pid)
    }

    fn end(&self) -> Option<BorrowedFd<'_>> {
        // SIGCHLD tells it.
        None
    }

    fn status(&self) -> Option<ExitStatus> {
        self.end.get().map(|end| end.status)
    }

    fn place_among_ends(&self) -> u64 {
        self.end.get().map_or(0, |end| end.nth)
    }

    fn signal(&self, signal: i32) -> Result<(), KernelError> {
        if self.end.get().is_none() {
            tell_group(self.pid, signal);
            if signal == sig::SIGTERM {
                // Nobody hears it who is stopped.
                tell_group(self.pid, sig::SIGCONT);
            }
        }
        Ok(())
    }
}
