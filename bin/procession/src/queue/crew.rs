//! Several workers of one `procession queue work`, each a process: a copy of this program, which the kernel kills when
//! this one ends, and the worker's command with it.
//!
//! | step | SIGKILL to this process | what it leaves |
//! |---|---|---|
//! | a worker is started, to be killed at the end of this process (`ward.rs`) | the kernel kills it | – |
//! | the worker leases items and runs commands, each its ward | the kernel kills both | items that are there again once the command has ended |
//!
//! A worker that is killed is replaced; the item that it had is there again. What each has done stands in a file without
//! a name that both have, so it is counted whoever is killed.

use super::work::{Counts, WORKER, WorkArgs};
use crate::passed_on::{self, ASKS_FOR_THE_END, code_of, is_from_terminal, tell};
use procession::Namespace;
use procession_sys::pidfd::{Ended, reap_any};
use procession_sys::signals::{self as sig, Inbox, SignalSet, Taken};
use procession_sys::ward::{Program, Signals, Start, Started, spawn};
use procession_sys::{Deadline, inherited, memfd};
use procession_terminal::exit::{Failure, OWN_FAILURE};
use procession_terminal::output;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long it takes until a worker that was killed is replaced.
const PAUSE: Duration = Duration::from_millis(200);

/// A worker whose exit status was not taken.
struct Worker {
    /// Which one it is, from 1 on.
    slot: usize,
    unheard: SignalSet,
}

/// Several workers.
pub(super) struct Crew<'a> {
    args: &'a WorkArgs,
    namespace: Option<&'a Namespace>,
    inbox: Inbox,
    /// What each has done.
    files: Vec<File>,
    /// By process id.
    running: BTreeMap<u32, Worker>,
    /// Those that are to be started, and when: the soonest first.
    missing: VecDeque<(usize, Deadline)>,
    /// The signal that has asked for the end.
    asked_by: Option<i32>,
    first_failure: Option<Failure>,
}

impl<'a> Crew<'a> {
    /// From now on no signal ends this process that is not ignored.
    ///
    /// # Errors
    /// At the limit of open files.
    pub(super) fn new(args: &'a WorkArgs, namespace: Option<&'a Namespace>) -> Result<Self, Failure> {
        let file = || {
            let file = memfd::create("counts")?;
            memfd::write_at(&file, &Counts::default().to_bytes(), 0)?;
            Ok(file)
        };
        let files: Vec<File> = (0..args.jobs).map(|_| file()).collect::<io::Result<_>>()?;
        let missing = (1..=files.len()).map(|slot| (slot, Deadline::PASSED)).collect();
        let (inbox, running) = (passed_on::inbox(), BTreeMap::new());
        Ok(Self { args, namespace, inbox, files, running, missing, asked_by: None, first_failure: None })
    }

    /// What all have done.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn counts(&self) -> io::Result<Counts> {
        self.files.iter().map(Counts::read).try_fold(Counts::default(), |all, one| Ok(all.plus(one?)))
    }

    /// Has all work until there is nothing more to do, or a signal asks for the end, which it returns.
    ///
    /// # Errors
    /// [`Failure::Command`] with the code of the worker that failed first, which has said why; why one could not be
    /// started.
    pub(super) fn work(&mut self) -> Result<Option<i32>, Failure> {
        loop {
            self.start_missing();
            let until = match self.missing.front() {
                Some(&(_, when)) => when,
                None if self.running.is_empty() => break,
                None => Deadline::NEVER,
            };
            if let Some(taken) = self.inbox.take(until) {
                self.deal_with(taken);
            }
        }
        match self.first_failure.take() {
            Some(failure) if self.asked_by.is_none() => Err(failure),
            _ => Ok(self.asked_by),
        }
    }

    fn start_missing(&mut self) {
        while let Some(&(slot, _)) = self.missing.front().filter(|(_, when)| when.has_passed()) {
            self.missing.pop_front();
            match self.start(slot) {
                Ok(Started { pid, unheard }) => drop(self.running.insert(pid, Worker { slot, unheard })),
                Err(error) => {
                    // Those that run go on.
                    self.missing.clear();
                    let message = format!("cannot start worker {slot} of {}: {error}", self.files.len());
                    self.first_failure.get_or_insert(Failure::Error(message.into()));
                }
            }
        }
    }

    fn start(&self, slot: usize) -> io::Result<Started> {
        let WorkArgs { how, what, .. } = self.args;
        let mut words: Vec<OsString> = vec!["procession".into()];
        if let Some(namespace) = self.namespace {
            words.extend(["-N".into(), namespace.name().into()]);
        }
        words.extend(["queue".into(), WORKER.into(), slot.to_string().into()]);
        words.extend(how.words());
        words.extend([what.queue.name.as_str().into(), "--".into()]);
        words.extend(what.command.iter().cloned());
        let program = Program { file: Some(CString::from(c"/proc/self/exe")), ..Program::new(&words, &[])? };
        let signals =
            Signals { blocked: self.inbox.blocked_before, ignores_sigpipe: inherited::ignored_sigpipe() };
        let streams = [self.files.get(slot - 1).map(AsFd::as_fd), None, None];
        spawn(&program, Start { streams, ..Start::with(signals) })
    }

    fn deal_with(&mut self, taken: Taken) {
        if taken.signal == sig::SIGCHLD {
            return self.take_exit_statuses();
        }
        if ASKS_FOR_THE_END.contains(&taken.signal) {
            self.asked_by.get_or_insert(taken.signal);
            self.missing.clear();
        }
        for (&pid, worker) in &mut self.running {
            if worker.unheard.remove(taken.signal) || !is_from_terminal(taken) {
                tell(pid, taken.signal);
            }
        }
        if taken.signal == sig::SIGTSTP {
            self.inbox.let_act(taken.signal);
        }
    }

    /// Takes those of all children that have ended: there may be others than the workers.
    fn take_exit_statuses(&mut self) {
        while !self.running.is_empty() {
            match reap_any() {
                Ok(Some((pid, ended))) => {
                    if let Some(worker) = self.running.remove(&pid) {
                        self.has_ended(worker.slot, ended);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    output::warn(&format!("nobody knows how the workers ended: {error}"));
                    self.running.clear();
                    self.first_failure.get_or_insert(Failure::Command(OWN_FAILURE));
                }
            }
        }
    }

    fn has_ended(&mut self, slot: usize, ended: Ended) {
        match ended {
            Ended::Exited(0) => {}
            Ended::Exited(code) => {
                let code = u8::try_from(code).unwrap_or(OWN_FAILURE);
                self.first_failure.get_or_insert(Failure::Command(code));
            }
            Ended::Signaled(_) if self.asked_by.is_some() => {}
            // Somebody wants that one to end.
            Ended::Signaled(signal) if ASKS_FOR_THE_END.contains(&signal) => {
                self.first_failure.get_or_insert(Failure::Command(code_of(signal)));
            }
            Ended::Signaled(signal) => {
                output::warn(&format!(
                    "worker {slot} was ended by {}: another takes its place",
                    sig::words(signal)
                ));
                self.missing.push_back((slot, Deadline::after(PAUSE)));
            }
        }
    }
}
