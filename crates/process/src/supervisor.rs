//! Keeping processes running: what is started again, how often, and how all of it ends.
//!
//! One thread, the caller's, waits for everything at once: the ends of the workers, what says that they are
//! ready, signals, and whoever wants it to stop. The supervisor has no state beyond that thread's.
//!
//! # If a process dies
//! A worker: it is started again, or not, as the options say. The supervisor's process: the kernel kills the
//! workers, as it does with every child.

mod event;
mod post;

use crate::error::KernelError;
use crate::label::ProcessLabel;
use crate::pacing::Budget;
use crate::process::Process;
use crate::status::ExitStatus;
use crate::trace;
use post::{Next, Post};
use procession_sync::{Event, Readiness};
use procession_sys::signals::{SIGKILL, SIGTERM};
use procession_sys::{SignalBell, eventfd};
use std::cell::OnceCell;
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use event::{SupervisorError, SupervisorEvent};

/// When a worker that has ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restart {
    /// However it ended.
    Always,
    /// Unless it exited with code 0: a panic, an error, an exit code and a signal are failures.
    #[default]
    OnFailure,
    /// Never.
    Never,
}

/// What a [`Supervisor`] can keep running: a process that can be signalled, and waited for.
pub trait Supervised {
    /// Who it is.
    fn label(&self) -> ProcessLabel;

    /// Readable once it has ended.
    fn end(&self) -> BorrowedFd<'_>;

    /// How it ended; `None` while it runs.
    fn status(&self) -> Option<ExitStatus>;

    /// Sends it a signal.
    ///
    /// # Errors
    /// What the kernel says; one that has ended already is none.
    fn signal(&self, signal: i32) -> Result<(), KernelError>;
}

impl<R> Supervised for Process<R> {
    fn label(&self) -> ProcessLabel {
        Self::label(self).clone()
    }

    fn end(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn status(&self) -> Option<ExitStatus> {
        self.exit_status()
    }

    fn signal(&self, signal: i32) -> Result<(), KernelError> {
        Self::signal(self, signal)
    }
}

/// One start of one worker.
#[derive(Debug)]
pub struct Attempt {
    rank: usize,
    number: u32,
    ready: OnceCell<Event>,
}

impl Attempt {
    fn new(rank: usize, number: u32) -> Self {
        Self { rank, number, ready: OnceCell::new() }
    }

    /// Which of the workers it is, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How often this worker has been started, this time included.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What the worker sets when it is ready, to be given to it as an argument. Of a worker that is not given
    /// one it is said that it is ready once it was started.
    ///
    /// # Errors
    /// When no object can be made, as [`Event::new`].
    pub fn ready(&self) -> Result<Event, procession_shm::OpenError> {
        if let Some(event) = self.ready.get() {
            return Ok(event.clone());
        }
        let event = Event::new()?;
        Ok(self.ready.get_or_init(|| event).clone())
    }
}

/// Keeps a number of processes running: workers that end are started again, within limits.
///
/// [`run`](Self::run) starts the workers and returns when all have ended for good: each by its own will, or
/// because somebody wanted them to stop ([`stop_on`](Self::stop_on), [`stopper`](Self::stopper)), or because
/// one of them ended so often that there is no use in going on.
///
/// ```
/// use procession::{Process, Restart, Supervisor, Value};
///
/// fn work(starts: Value<u32>) {
///     // It crashes twice, and then does what it is there for.
///     if starts.fetch_add(1).unwrap() < 2 {
///         std::process::abort();
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let starts = Value::new(0_u32)?;
///     let statuses = Supervisor::new(1)
///         .restart(Restart::OnFailure)
///         .back_off(std::time::Duration::from_millis(1), std::time::Duration::from_millis(10))
///         .on_event(|event| println!("{event}"))
///         .run(|_attempt| Process::spawn(work, starts.clone()))?;
///     assert!(statuses[0].unwrap().success());
///     assert_eq!(starts.get()?, 3);
///     Ok(())
/// }
/// ```
#[must_use = "a supervisor starts nothing until `run`"]
pub struct Supervisor<'a> {
    workers: usize,
    policy: Policy,
    /// How often each worker is started again.
    restarts: Budget,
    signals: Vec<i32>,
    stopper: Stopper,
    observe: Box<dyn FnMut(&SupervisorEvent) + 'a>,
}

/// What becomes of workers that end.
#[derive(Clone, Copy, Debug)]
struct Policy {
    restart: Restart,
    first_back_off: Duration,
    longest_back_off: Duration,
    grace: Duration,
}

impl Supervisor<'static> {
    /// For so many workers; they are started again on failure, at most five times in ten seconds each.
    pub fn new(workers: usize) -> Self {
        let policy = Policy {
            restart: Restart::default(),
            first_back_off: Duration::from_millis(100),
            longest_back_off: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        };
        let restarts = Budget::new(5, Duration::from_secs(10));
        Self {
            workers,
            policy,
            restarts,
            signals: Vec::new(),
            stopper: Stopper::new(),
            observe: Box::new(|_| ()),
        }
    }
}

impl<'a> Supervisor<'a> {
    /// When a worker that has ended is started again; [`Restart::OnFailure`] unless said.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// How long it waits before a worker is started again: `first`, and twice as long after each end that
    /// follows, up to `longest`; each time up to a quarter longer or shorter, by chance, so that workers which
    /// failed together do not come back together. A worker that has run for twice the longest wait is as new.
    /// Unless said, 100 ms and 30 s.
    pub fn back_off(mut self, first: Duration, longest: Duration) -> Self {
        self.policy.first_back_off = first;
        self.policy.longest_back_off = longest.max(first);
        self
    }

    /// Gives up when a worker is to be started again more than `most` times `within` some time: the others are
    /// stopped, and [`run`](Self::run) fails. Unless said, 5 times in 10 s.
    pub fn max_restarts(mut self, most: u32, within: Duration) -> Self {
        self.restarts = Budget::new(most, within);
        self
    }

    /// How long workers may take to end after the SIGTERM of a stop; then they are killed. 10 s unless said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.policy.grace = grace;
        self
    }

    /// Stops the workers when one of these signals comes to this process, such as SIGTERM and SIGINT; and kills
    /// them when one comes a second time. While [`run`](Self::run) runs, the signals do nothing else; those that
    /// are ignored stay so. Unless said, signals do what they always do.
    pub fn stop_on(mut self, signals: impl IntoIterator<Item = i32>) -> Self {
        self.signals = signals.into_iter().collect();
        self
    }

    /// Tells what happens, as it happens. It is called by the thread that [`run`](Self::run)s.
    pub fn on_event<'b>(self, observe: impl FnMut(&SupervisorEvent) + 'b) -> Supervisor<'b> {
        let Self { workers, policy, restarts, signals, stopper, .. } = self;
        Supervisor { workers, policy, restarts, signals, stopper, observe: Box::new(observe) }
    }

    /// What stops this supervisor, from another thread or from what it calls.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Starts the workers by `start`, and keeps them running until all have ended for good: how each of them
    /// ended, by rank; `None` for one that was never started, because of a stop.
    ///
    /// `start` that fails counts as a worker that failed at once.
    ///
    /// # Errors
    /// [`SupervisorError::GaveUp`] when a worker ended too often: all have ended then.
    /// [`SupervisorError::Os`] when this process cannot wait for its workers; they are killed.
    pub fn run<P, E>(
        self,
        start: impl FnMut(&Attempt) -> Result<P, E>,
    ) -> Result<Vec<Option<ExitStatus>>, SupervisorError>
    where
        P: Supervised,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { workers, policy, restarts, signals, stopper, mut observe } = self;
        let bell = if signals.is_empty() { None } else { Some(SignalBell::new(&signals)?) };
        let stop = stopper.bell()?;
        let posts = (0..workers).map(|rank| Post::new(rank, restarts.clone())).collect();
        let observe = Box::new(move |happened: &SupervisorEvent| {
            trace::supervised(happened, happened.is_trouble());
            observe(happened);
        });
        Watch {
            policy,
            posts,
            start,
            observe,
            bell,
            stopper: &stopper,
            stop,
            ending: None,
            signalled: false,
            gave_up: None,
        }
        .run()
    }
}

impl fmt::Debug for Supervisor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("workers", &self.workers)
            .field("policy", &self.policy)
            .field("signals", &self.signals)
            .finish_non_exhaustive()
    }
}

/// Stops a [`Supervisor`]; made by [`Supervisor::stopper`].
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Wish>);

#[derive(Debug)]
struct Wish {
    is_wanted: AtomicBool,
    /// Rung when it is wanted; without one, whoever asked is heard at the next look.
    bell: Option<OwnedFd>,
}

impl Stopper {
    fn new() -> Self {
        Self(Arc::new(Wish { is_wanted: AtomicBool::new(false), bell: eventfd::create().ok() }))
    }

    /// Stops the workers: SIGTERM, and SIGKILL after the grace. One that was stopped before it runs starts
    /// nothing.
    pub fn stop(&self) {
        self.0.is_wanted.store(true, Ordering::Release);
        if let Some(bell) = &self.0.bell {
            eventfd::ring(bell);
        }
    }

    fn is_wanted(&self) -> bool {
        self.0.is_wanted.load(Ordering::Acquire)
    }

    fn bell(&self) -> io::Result<OwnedFd> {
        match &self.0.bell {
            Some(bell) => bell.try_clone(),
            None => Err(io::Error::other("no descriptor was left for the stopper")),
        }
    }
}

/// A supervisor at work.
struct Watch<'s, 'o, P, S> {
    policy: Policy,
    posts: Vec<Post<P>>,
    start: S,
    observe: Box<dyn FnMut(&SupervisorEvent) + 'o>,
    bell: Option<SignalBell>,
    stopper: &'s Stopper,
    stop: OwnedFd,
    /// When those that are left are killed, once it is stopping.
    ending: Option<Instant>,
    /// Whether a signal came that stops.
    signalled: bool,
    gave_up: Option<SupervisorError>,
}

impl<P, S, E> Watch<'_, '_, P, S>
where
    P: Supervised,
    S: FnMut(&Attempt) -> Result<P, E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn run(mut self) -> Result<Vec<Option<ExitStatus>>, SupervisorError> {
        loop {
            self.take_signals();
            if self.stopper.is_wanted() {
                self.begin_to_stop();
            }
            for index in 0..self.posts.len() {
                self.look_at(index);
            }
            if self.posts.iter().all(Post::is_over) {
                break;
            }
            if let Err(error) = self.sleep() {
                self.posts.iter().for_each(|post| post.signal(SIGKILL));
                return Err(error.into());
            }
        }
        (self.observe)(&SupervisorEvent::Stopped);
        match self.gave_up {
            Some(error) => Err(error),
            None => Ok(self.posts.iter().map(Post::last_status).collect()),
        }
    }

    fn take_signals(&mut self) {
        let come = self.bell.as_ref().map(SignalBell::take).unwrap_or_default();
        for signal in procession_sys::signals::ALL.filter(|&signal| come.contains(signal)) {
            (self.observe)(&SupervisorEvent::Signal { signal });
            if std::mem::replace(&mut self.signalled, true) {
                // Whoever sends it again does not want to wait.
                self.ending = Some(Instant::now());
            }
            self.begin_to_stop();
        }
    }

    fn begin_to_stop(&mut self) {
        if self.ending.is_none() {
            self.ending = Some(Instant::now() + self.policy.grace);
            (self.observe)(&SupervisorEvent::Stopping);
            self.posts.iter().for_each(|post| post.signal(SIGTERM));
        }
    }

    /// Does what there is to do about one worker now.
    fn look_at(&mut self, index: usize) {
        let (policy, now) = (self.policy, Instant::now());
        let Some(post) = self.posts.get_mut(index) else { return };
        if let Some(event) = post.take_readiness() {
            (self.observe)(&event);
        }
        if let Some((event, next)) = post.take_end(&policy, now, self.ending.is_some()) {
            (self.observe)(&event);
            match next {
                Next::Over => {}
                Next::Again { after } => {
                    (self.observe)(&SupervisorEvent::Restarting { rank: index, after });
                }
                Next::TooOften(error) => {
                    self.gave_up.get_or_insert(error);
                    self.begin_to_stop();
                }
            }
        }
        match self.ending {
            Some(end) => self.end(index, now >= end),
            None => self.start_if_due(index, now),
        }
    }

    fn start_if_due(&mut self, index: usize, now: Instant) {
        let Some(post) = self.posts.get_mut(index) else { return };
        let Some(attempt) = post.due(now) else { return };
        match (self.start)(&attempt) {
            Ok(process) => {
                let event = post.begin(attempt, process, now);
                (self.observe)(&event);
                if let Some(event) = post.take_readiness() {
                    (self.observe)(&event);
                }
            }
            Err(error) => {
                let error = error.into();
                let (event, next) = post.not_started(&self.policy, now, error.as_ref());
                (self.observe)(&event);
                if let Next::TooOften(error) = next {
                    self.gave_up.get_or_insert(error);
                    self.begin_to_stop();
                }
            }
        }
    }

    /// While it stops: nothing is started any more, and what outlasts the grace is killed.
    fn end(&mut self, index: usize, kills: bool) {
        let Some(post) = self.posts.get_mut(index) else { return };
        post.give_up_restart();
        if let Some(event) = kills.then(|| post.kill()).flatten() {
            (self.observe)(&event);
        }
    }

    /// Sleeps until there may be something to do.
    fn sleep(&self) -> io::Result<()> {
        let now = Instant::now();
        // Not by the clock, which may have passed the end since the workers were looked at.
        let end = self.ending.filter(|_| self.posts.iter().any(Post::is_to_be_killed));
        let due = self.posts.iter().filter_map(Post::due_at).chain(end).min();
        let mut files: Vec<BorrowedFd<'_>> = self.posts.iter().flat_map(Post::files).collect();
        files.extend(self.bell.as_ref().map(AsFd::as_fd));
        // Once it is rung it stays so; it may be rung by what was called since it was looked at.
        files.extend(self.ending.is_none().then(|| self.stop.as_fd()));
        eventfd::wait_any(&files, due.map(|due| due.saturating_duration_since(now))).map(drop)
    }
}

/// Says whether a worker is ready.
fn readiness_of(attempt: &Attempt) -> Option<Readiness> {
    let event = attempt.ready.get()?;
    procession_sync::readiness(event).ok()
}
