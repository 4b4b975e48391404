//! Processes that belong together: all of them return, or all of them end.
//!
//! # If a process dies
//! A member: the others get a moment to learn of it by themselves, and are ended then; whoever waits for the
//! team is told of all that failed. The process that has the team: the kernel kills the members, as it does
//! with every child.

use crate::children::Child;
use crate::crossing::Crossing;
use crate::error::{ProcessError, SpawnError, fmt_backtrace, in_full};
use crate::exit::terminate;
use crate::function::Function;
use crate::label::ProcessLabel;
use crate::process::Process;
use crate::remote::Failure;
use procession_shm::fmt_with_causes;
use procession_sync::{WaitAnyError, Waitable, wait, wait_timeout};
use procession_sys::{Deadline, interrupt};
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Processes that belong together: all of them return, or all of them end.
///
/// A program that starts several processes and joins one after the other waits for ever if the last one is
/// killed while the first waits for it. A team is waited for as a whole: as soon as one member fails (it is
/// killed, panics, exits, or returns an error), the others have a moment to end as well, for many will learn of
/// the death and say so; then they are ended, and [`join`](Self::join) says what became of all that failed. It is
/// what Python's `asyncio.TaskGroup` is for tasks.
///
/// ```
/// use procession::{Barrier, Team};
/// use std::error::Error;
///
/// fn work(number: u32, barrier: Barrier) -> Result<u32, Box<dyn Error>> {
///     barrier.wait()?;
///     Ok(number * number)
/// }
///
/// fn main() -> Result<(), Box<dyn Error>> {
///     procession::init();
///     let barrier = Barrier::new(3)?;
///     let mut team = Team::new();
///     for number in 1..=3 {
///         team.spawn_fallible(format!("worker-{number}"), work, (number, barrier.clone()))?;
///     }
///     assert_eq!(team.join()?, [1, 4, 9]);
///     Ok(())
/// }
/// ```
///
/// Dropping a team ends the members that still run, by SIGTERM, and by SIGKILL after the [grace](Self::grace):
/// so a program that fails before it joins leaves nobody behind. A team needs no more than its members: any
/// process can become one, by [`add`](Self::add) or by collecting an iterator.
#[must_use = "dropping a team ends its members"]
pub struct Team<R> {
    /// Those that have not been found ended, and their places in the results.
    running: Vec<(usize, Process<R>)>,
    returned: Vec<(usize, R)>,
    failures: Vec<ProcessError>,
    grace: Duration,
}

impl<R> Team<R> {
    /// A team without members.
    pub fn new() -> Self {
        Self {
            running: Vec::new(),
            returned: Vec::new(),
            failures: Vec::new(),
            grace: Duration::from_secs(1),
        }
    }

    /// How long members may go on when another one has failed, before they get SIGTERM, and how long after that
    /// before they get SIGKILL; 1 s unless said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Takes a process into the team. What it returns stands in [`join`](Self::join)'s results behind what those
    /// before it return.
    pub fn add(&mut self, process: Process<R>) -> &Process<R> {
        let place = self.running.len() + self.returned.len() + self.failures.len();
        self.running.push((place, process));
        &self.running[self.running.len() - 1].1
    }

    /// Starts a member called `name`, as [`Process::spawn_fallible`] does: one whose function returns a `Result`.
    /// For other functions and options there is [`add`](Self::add).
    ///
    /// # Errors
    /// As [`Process::spawn_fallible`].
    pub fn spawn_fallible<F, A, M, E, N>(
        &mut self,
        name: impl Into<String>,
        f: F,
        arguments: A,
    ) -> Result<&Process<R>, SpawnError>
    where
        F: Function<A, M, Output = Result<R, E>>,
        A: Crossing,
        R: Crossing,
        E: Failure<N>,
    {
        let process = Process::options().name(name).spawn_fallible(f, arguments)?;
        Ok(self.add(process))
    }

    /// The members that have not been found ended.
    pub fn members(&self) -> impl Iterator<Item = &Process<R>> {
        self.running.iter().map(|(_, process)| process)
    }

    fn children(&self) -> Vec<Arc<Child>> {
        self.members().map(|process| Arc::clone(process.child())).collect()
    }
}

impl<R: DeserializeOwned> Team<R> {
    /// Waits until `object` is ready, as [`wait()`](fn@wait) does, for as long as no member fails. That members
    /// return is all right.
    ///
    /// ```
    /// use procession::{Latch, Team};
    ///
    /// fn come(line: Latch) -> Result<(), String> {
    ///     line.arrive();
    ///     Ok(())
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let line = Latch::new(2)?;
    ///     let mut runners = Team::new();
    ///     for name in ["Ada", "Bob"] {
    ///         runners.spawn_fallible(name, come, line.clone())?;
    ///     }
    ///     // Would one of them be killed, this would not wait for it for ever, but say so.
    ///     runners.wait_for(&line)?;
    ///     runners.join()?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`TeamError::Failed`] if a member failed first: all have ended then. [`TeamError::Wait`], after which
    /// nothing has changed.
    pub fn wait_for(&mut self, object: &dyn Waitable) -> Result<(), TeamError> {
        loop {
            let mut objects = vec![object];
            objects.extend(self.waitable());
            if wait(&objects)?.first() == Some(&0) {
                return Ok(());
            }
            self.check()?;
        }
    }

    /// Looks whether a member has failed, and does not wait.
    ///
    /// # Errors
    /// [`TeamError::Failed`] if one has: all have ended then, for which it does wait.
    pub fn check(&mut self) -> Result<(), TeamError> {
        self.take_ended();
        if self.failures.is_empty() { Ok(()) } else { Err(self.disband()) }
    }

    /// Waits until all members have returned: what they returned, in the order in which they became members. The
    /// team is empty then, and can be used again. Pipes to their standard inputs that nobody has taken are closed first,
    /// as by [`Process::join`].
    ///
    /// # Errors
    /// [`TeamError::Failed`] as soon as one has failed, and the others have ended. [`TeamError::Wait`], after
    /// which nothing has changed.
    pub fn join(&mut self) -> Result<Vec<R>, TeamError> {
        self.members().for_each(|process| drop(process.take_stdin()));
        self.check()?;
        while !self.running.is_empty() {
            wait(&self.waitable())?;
            self.check()?;
        }
        let mut returned = std::mem::take(&mut self.returned);
        returned.sort_by_key(|(place, _)| *place);
        Ok(returned.into_iter().map(|(_, result)| result).collect())
    }

    fn waitable(&self) -> Vec<&dyn Waitable> {
        self.members().map(|process| process as &dyn Waitable).collect()
    }

    fn take_ended(&mut self) {
        let (running, ended): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.running).into_iter().partition(|(_, process)| process.is_alive());
        self.running = running;
        for (place, process) in ended {
            match process.join() {
                Ok(result) => self.returned.push((place, result)),
                Err(error) => self.failures.push(error),
            }
        }
    }

    /// Ends all, for one has failed. Those that end by themselves before the grace is over may say why.
    fn disband(&mut self) -> TeamError {
        let _deferred = interrupt::defer();
        let deadline = Deadline::after(self.grace);
        while !self.running.is_empty() {
            let left = deadline.remaining().unwrap_or(Duration::MAX);
            // That this process cannot wait is no reason to keep them any longer than the time that is over.
            if wait_timeout(&self.waitable(), left).is_err() {
                break;
            }
            self.take_ended();
        }
        terminate(&self.children(), self.grace);
        let ended = self.running.drain(..).map(|(_, process)| process.label().clone()).collect();
        self.returned.clear();
        let mut failures = std::mem::take(&mut self.failures);
        // An error that was returned often tells of the end of another member, which is the reason for it.
        failures.sort_by_key(|failure| matches!(failure, ProcessError::Failed { .. }));
        TeamError::Failed { failures, ended }
    }
}

impl<R> Default for Team<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Extend<Process<R>> for Team<R> {
    fn extend<I: IntoIterator<Item = Process<R>>>(&mut self, processes: I) {
        for process in processes {
            self.add(process);
        }
    }
}

impl<R> FromIterator<Process<R>> for Team<R> {
    fn from_iter<I: IntoIterator<Item = Process<R>>>(processes: I) -> Self {
        let mut team = Self::new();
        team.extend(processes);
        team
    }
}

impl<R> Drop for Team<R> {
    fn drop(&mut self) {
        terminate(&self.children(), self.grace);
    }
}

impl<R> fmt::Debug for Team<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Team")
            .field("running", &self.members().collect::<Vec<_>>())
            .field("returned", &self.returned.len())
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// Why a [`Team`] did not do what it was waited for.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TeamError {
    /// Members have failed, and all others have ended.
    #[error("{}", all_of(failures, ended))]
    Failed {
        /// Each that failed: first those that were killed, panicked or exited, then those that returned an error.
        failures: Vec<ProcessError>,
        /// Those that were ended because of that.
        ended: Vec<ProcessLabel>,
    },
    /// This process cannot wait now, or the wait was interrupted.
    #[error("this process cannot wait for its team now")]
    Wait(#[from] WaitAnyError),
}

/// What became of each.
fn all_of(failures: &[ProcessError], ended: &[ProcessLabel]) -> String {
    let mut texts: Vec<String> = failures.iter().map(|failure| in_full(failure)).collect();
    if !ended.is_empty() {
        let names: Vec<_> = ended.iter().map(ToString::to_string).collect();
        texts.push(format!("ended because of that: {}", names.join(", ")));
    }
    texts.join("; ")
}

impl fmt::Debug for TeamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_causes(self, f)?;
        let Self::Failed { failures, .. } = self else { return Ok(()) };
        failures.iter().try_for_each(|failure| match failure {
            ProcessError::Panicked { backtrace, .. } => fmt_backtrace(backtrace, f),
            _ => Ok(()),
        })
    }
}
