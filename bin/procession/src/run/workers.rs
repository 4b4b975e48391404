//! The workers of one `procession run`: started, told of signals and waited for, all by one thread.
//!
//! Signals are blocked, and taken one by one by this thread. So none is lost, whenever it comes; and an id
//! that is signalled is the worker's own, because this thread alone takes exit statuses. A worker begins with
//! those signals blocked: one that comes before the command is executed waits for that.

use super::{OnFailure, RunArgs};
use crate::passed_on::{self, code_of, is_from_terminal, tell};
use crate::program::keep_closed;
use procession::Namespace;
use procession_sys::pidfd::{Ended, reap_any};
use procession_sys::signals::{self as sig, Inbox, Taken};
use procession_sys::{Deadline, inherited};
use procession_terminal::exit::{Failure, OWN_FAILURE};
use procession_terminal::output;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// After these no more workers are started.
const ASKS_FOR_THE_END: [i32; 5] = [sig::SIGHUP, sig::SIGINT, sig::SIGQUIT, sig::SIGTERM, sig::SIGALRM];

/// These mean nothing to a worker that is started later.
const OF_THE_MOMENT: [i32; 3] = [sig::SIGTSTP, sig::SIGCONT, sig::SIGWINCH];

#[derive(Debug)]
pub(super) struct Workers<'a> {
    args: &'a RunArgs,
    inbox: Inbox,
    /// The ranks of those whose exit status was not taken, by process id.
    running: BTreeMap<u32, u32>,
    /// The one that was started after the signals were last looked at.
    newest: Option<u32>,
    /// What those that are started later get too.
    passed_on: Vec<i32>,
    /// The signal that asked for the end.
    asked_by: Option<i32>,
    first_failure: Option<u8>,
    /// Whether they were told to end by this program itself.
    is_stopping: bool,
    /// When they are killed.
    kill_at: Deadline,
}

impl<'a> Workers<'a> {
    /// From now on no signal ends this process that is not ignored.
    pub(super) fn new(args: &'a RunArgs) -> Self {
        keep_closed();
        Self {
            args,
            inbox: passed_on::inbox(),
            running: BTreeMap::new(),
            newest: None,
            passed_on: Vec::new(),
            asked_by: None,
            first_failure: None,
            is_stopping: false,
            kill_at: Deadline::NEVER,
        }
    }

    /// Starts all of them, unless they are asked to end before that.
    ///
    /// # Errors
    /// Why one could not be started; the others have ended then.
    pub(super) fn start(&mut self, namespace: Option<&Namespace>) -> Result<(), Failure> {
        for rank in 0..self.args.number {
            match self.spawn(rank, namespace) {
                Ok(pid) => {
                    self.running.insert(pid, rank);
                    self.newest = Some(pid);
                    self.passed_on.iter().for_each(|&signal| tell(pid, signal));
                }
                Err(error) => {
                    self.end();
                    self.wait_for_all();
                    return Err(Failure::Error(why_not_started(&error, rank, self.args.number).into()));
                }
            }
            while let Some(taken) = self.inbox.take(Deadline::PASSED) {
                self.deal_with(taken);
            }
            self.newest = None;
            if self.is_stopping || self.asked_by.is_some() && rank + 1 < self.args.number {
                // For those that were not started: nobody is to think that all has been done.
                self.first_failure = self.first_failure.or(self.asked_by.map(code_of));
                break;
            }
        }
        Ok(())
    }

    fn spawn(&self, rank: u32, namespace: Option<&Namespace>) -> Result<u32, Error> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("procession").arg("__worker").arg(std::process::id().to_string());
        command.arg(self.inbox.blocked_before.bits().to_string());
        command.arg(inherited::ignored_sigpipe().to_string());
        command.arg("--").args(&self.args.command);
        let number = self.args.number;
        for (name, value) in
            [("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", number), ("LOCAL_WORLD_SIZE", number)]
        {
            command.env(name, value.to_string()).env(format!("PROCESSION_{name}"), value.to_string());
        }
        if let Some(namespace) = namespace {
            command.env("PROCESSION_NAMESPACE", namespace.name());
        }
        Ok(command.spawn()?.id())
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// [`Failure::Command`]: the code of the one that failed first, or that of the signal because of which some were
    /// not started.
    pub(super) fn wait(mut self) -> Result<(), Failure> {
        self.wait_for_all();
        self.first_failure.map_or(Ok(()), |code| Err(Failure::Command(code)))
    }

    fn wait_for_all(&mut self) {
        while !self.running.is_empty() {
            match self.inbox.take(self.kill_at) {
                Some(taken) => self.deal_with(taken),
                None => {
                    self.tell_all(sig::SIGKILL);
                    self.kill_at = Deadline::NEVER;
                }
            }
        }
    }

    fn deal_with(&mut self, taken: Taken) {
        let signal = taken.signal;
        if signal == sig::SIGCHLD {
            return self.take_exit_statuses();
        }
        if !is_from_terminal(taken) {
            self.tell_all(signal);
        } else if let Some(pid) = self.newest {
            // It may have been started after the terminal told the others.
            tell(pid, signal);
        }
        if ASKS_FOR_THE_END.contains(&signal) {
            self.asked_by.get_or_insert(signal);
        } else if !OF_THE_MOMENT.contains(&signal) {
            self.passed_on.push(signal);
        }
        if signal == sig::SIGTSTP {
            self.inbox.let_act(signal);
        }
    }

    /// Takes those of all children that have ended: a process has others than its workers if it was executed
    /// by one that had children, and the first process of a container gets all orphans.
    fn take_exit_statuses(&mut self) {
        loop {
            match reap_any() {
                Ok(Some((pid, ended))) => {
                    if let Some(rank) = self.running.remove(&pid) {
                        self.note_end(rank, ended);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    for rank in std::mem::take(&mut self.running).into_values() {
                        output::warn(&format!("nobody knows how the worker of rank {rank} ended: {error}"));
                        self.first_failure.get_or_insert(OWN_FAILURE);
                    }
                    return;
                }
            }
        }
    }

    fn note_end(&mut self, rank: u32, ended: Ended) {
        let (code, how) = match ended {
            Ended::Exited(0) => return,
            Ended::Exited(code) => {
                (u8::try_from(code).unwrap_or(u8::MAX), format!("failed with exit code {code}"))
            }
            Ended::Signaled(signal) => (code_of(signal), format!("was ended by {}", sig::words(signal))),
        };
        self.first_failure.get_or_insert(code);
        let is_first = !self.is_stopping && self.asked_by.is_none();
        if is_first && self.args.on_failure == OnFailure::Stop {
            output::warn(&format!("rank {rank} {how}: the others are ended"));
            self.end();
        }
    }

    /// Has those that run end, by force after a while.
    fn end(&mut self) {
        self.is_stopping = true;
        self.kill_at = Deadline::after(self.args.grace);
        self.tell_all(sig::SIGTERM);
        // Nobody hears it who is stopped.
        self.tell_all(sig::SIGCONT);
    }

    fn tell_all(&self, signal: i32) {
        self.running.keys().for_each(|&pid| tell(pid, signal));
    }
}

fn why_not_started(error: &Error, rank: u32, number: u32) -> String {
    let advice = match error.kind() {
        ErrorKind::NotFound => "; /proc must be mounted: mount -t proc proc /proc",
        // EAGAIN.
        ErrorKind::WouldBlock => {
            "; too many processes: raise `ulimit -u`, or the container's limit of processes, or start fewer"
        }
        _ => "",
    };
    let others = if rank == 0 { "" } else { "; those that ran were ended" };
    format!("cannot start worker {} of {number} from /proc/self/exe: {error}{advice}{others}", rank + 1)
}
