//! Keeping processes running: what is started again, how often, and how all of it ends.
//!
//! One thread, the caller's, waits for everything at once: the ends of the workers, what says that they are
//! ready, signals, and whoever wants it to stop. The supervisor has no state beyond that thread's.
//!
//! # If a process dies
//! A worker: it is started again, or not, as the options say. The supervisor's process: the kernel kills the
//! workers, as it does with every child.

mod event;
mod handle;
mod post;
mod supervised;

use crate::pacing::{Budget, moment_after};
use crate::status::ExitStatus;
use crate::trace;
use post::{Next, Post};
use procession_sync::{Event, Readiness};
use procession_sys::signals::{SIGKILL, SIGTERM};
use procession_sys::{SignalBell, clock, eventfd};
use std::cell::OnceCell;
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

pub use event::{SupervisorError, SupervisorEvent};
pub use handle::SupervisorHandle;
pub use supervised::Supervised;

/// How often workers are looked at whose end nobody announces.
const LOOK: Duration = Duration::from_millis(100);

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

/// Which workers are started again when one is, in the manner of Erlang's supervisors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartScope {
    /// That one alone.
    #[default]
    One,
    /// All of them, for workers that cannot go on with another one in the place of one that ended: those that run get
    /// SIGTERM, and SIGKILL after the grace; once all have ended, all are started again, also those that had done
    /// their work. Limits and back-off count the restarts of the whole.
    All,
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
    /// A worker that is not a function of this program can be given the name of an event: see
    /// [`ready_by`](Self::ready_by).
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

    /// Takes this event for what the worker sets when it is ready: one that has a name, for a command. It is to be
    /// clear, and nothing is changed where [`ready`](Self::ready) was called before.
    pub fn ready_by(&self, event: Event) {
        // Whoever has called `ready` has given that one to the worker.
        drop(self.ready.set(event));
    }
}

/// Keeps a number of processes running: workers that end are started again, within limits.
///
/// [`run`](Self::run) starts the workers and returns when all have ended for good: each by its own will, or
/// because somebody wanted them to stop ([`stop_on`](Self::stop_on), [`handle`](Self::handle)), or because
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
    handle: SupervisorHandle,
    attended: Vec<Attended<'a>>,
    observe: Box<dyn FnMut(&SupervisorEvent) + 'a>,
}

/// A file, and what is called when it is readable.
type Attended<'a> = (BorrowedFd<'a>, Box<dyn FnMut() + 'a>);

/// What becomes of workers that end.
#[derive(Clone, Copy, Debug)]
struct Policy {
    restart: Restart,
    scope: RestartScope,
    first_back_off: Duration,
    longest_back_off: Duration,
    /// `None` for twice the longest back-off.
    healthy_after: Option<Duration>,
    grace: Duration,
}

impl Policy {
    /// How long a worker has run that is as new.
    fn healthy_after(&self) -> Duration {
        self.healthy_after.unwrap_or(self.longest_back_off.saturating_mul(2))
    }
}

impl Supervisor<'static> {
    /// For so many workers; they are started again on failure, at most five times in ten seconds each.
    pub fn new(workers: usize) -> Self {
        let policy = Policy {
            restart: Restart::default(),
            scope: RestartScope::default(),
            first_back_off: Duration::from_millis(100),
            longest_back_off: Duration::from_secs(30),
            healthy_after: None,
            grace: Duration::from_secs(10),
        };
        let restarts = Budget::new(5, Duration::from_secs(10));
        Self {
            workers,
            policy,
            restarts,
            signals: Vec::new(),
            handle: SupervisorHandle::new(),
            attended: Vec::new(),
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

    /// Which workers are started again when one is; [`RestartScope::One`] unless said.
    pub fn restart_scope(mut self, scope: RestartScope) -> Self {
        self.policy.scope = scope;
        self
    }

    /// How long it waits before a worker is started again: `first`, and twice as long after each end that
    /// follows, up to `longest`; each time up to a quarter longer or shorter, by chance, so that workers which
    /// failed together do not come back together. A worker that has run for long enough is as new
    /// ([`healthy_after`](Self::healthy_after)). Unless said, 100 ms and 30 s.
    pub fn back_off(mut self, first: Duration, longest: Duration) -> Self {
        self.policy.first_back_off = first;
        self.policy.longest_back_off = longest.max(first);
        self
    }

    /// A worker that has run for so long is as new: after its end the wait is the first one again. Unless said, twice
    /// the longest wait. [`max_restarts`](Self::max_restarts) counts it nevertheless.
    pub fn healthy_after(mut self, time: Duration) -> Self {
        self.policy.healthy_after = Some(time);
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
    pub fn on_event<'b>(self, observe: impl FnMut(&SupervisorEvent) + 'b) -> Supervisor<'b>
    where
        'a: 'b,
    {
        let Self { workers, policy, restarts, signals, handle, attended, .. } = self;
        Supervisor { workers, policy, restarts, signals, handle, attended, observe: Box::new(observe) }
    }

    /// Calls `act` whenever the file is readable, until it is no more; by the thread that [`run`](Self::run)s, which
    /// then looks at its workers.
    pub fn attend<'b>(self, file: BorrowedFd<'b>, act: impl FnMut() + 'b) -> Supervisor<'b>
    where
        'a: 'b,
    {
        let mut shorter: Supervisor<'b> = self;
        shorter.attended.push((file, Box::new(act)));
        shorter
    }

    /// What steers this supervisor, from another thread or from what it calls.
    #[must_use]
    pub fn handle(&self) -> SupervisorHandle {
        self.handle.clone()
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
        let Self { workers, policy, restarts, signals, handle, attended, mut observe } = self;
        let bell = if signals.is_empty() { None } else { Some(SignalBell::new(&signals)?) };
        let wish = handle.bell()?;
        let observe = Box::new(move |happened: &SupervisorEvent| {
            trace::supervised(happened, happened.is_trouble());
            observe(happened);
        });
        Watch {
            policy,
            workers,
            restarts,
            posts: Vec::new(),
            start,
            observe,
            bell,
            handle: &handle,
            wish,
            attended,
            ending: None,
            regrouping: None,
            has_started: false,
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

/// A supervisor at work.
struct Watch<'s, 'o, P, S> {
    policy: Policy,
    /// How many there are from the beginning.
    workers: usize,
    /// How often all of them are started again, where that is the scope.
    restarts: Budget,
    posts: Vec<Post<P>>,
    start: S,
    observe: Box<dyn FnMut(&SupervisorEvent) + 'o>,
    bell: Option<SignalBell>,
    handle: &'s SupervisorHandle,
    /// Rung when the handle is used.
    wish: OwnedFd,
    attended: Vec<Attended<'o>>,
    /// When those that are left are killed, once it is stopping.
    ending: Option<Instant>,
    /// When those that are left are killed, while all have to end because all are to be started again.
    regrouping: Option<Instant>,
    /// Whether one was started since the workers were last looked at.
    has_started: bool,
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
            // Before it is asked what was wished: who rings after this is heard by the next sleep.
            eventfd::silence(&self.wish);
            self.take_signals();
            if self.handle.wants_stop() {
                self.begin_to_stop();
            }
            self.make_posts();
            self.replace();
            for index in self.in_order_of_ends() {
                self.look_at(index);
            }
            // What starts workers may learn of ends; those are told in the next round, in their order.
            for index in 0..self.posts.len() {
                self.start_or_end(index);
            }
            self.regroup();
            // What is told of an end may have wished for more.
            let has_wishes = self.posts.len() < self.wished() || self.handle.has_replaced();
            if self.posts.iter().all(Post::is_over) && !has_wishes {
                break;
            }
            if std::mem::take(&mut self.has_started) {
                continue;
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

    /// How many workers are wished for by now.
    fn wished(&self) -> usize {
        self.workers.saturating_add(self.handle.added())
    }

    /// A post for each of them.
    fn make_posts(&mut self) {
        let Budget { most, within, .. } = self.restarts;
        while self.posts.len() < self.wished() {
            self.posts.push(Post::new(self.posts.len(), Budget::new(most, within)));
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
            self.ending = Some(moment_after(Instant::now(), self.policy.grace));
            (self.observe)(&SupervisorEvent::Stopping);
            self.posts.iter().for_each(|post| post.signal(SIGTERM));
        }
    }

    /// Has those replaced for whom that is wished, and kills those of them that have not ended in time.
    fn replace(&mut self) {
        let (now, grace, wished) = (Instant::now(), self.policy.grace, self.handle.take_replaced());
        let may_start = self.ending.is_none() && self.regrouping.is_none() && !self.handle.wants_no_more();
        let is_for_all =
            self.policy.scope == RestartScope::All && wished.range(..self.posts.len()).next().is_some();
        for (rank, post) in self.posts.iter_mut().enumerate() {
            if may_start && (is_for_all || wished.contains(&rank)) {
                post.replace(now, grace);
            }
            if post.killed_at().is_some_and(|at| at <= now)
                && let Some(event) = post.kill()
            {
                (self.observe)(&event);
            }
        }
    }

    /// All workers; those whose ends were taken come last, in the order in which that was done.
    fn in_order_of_ends(&self) -> Vec<usize> {
        let mut order: Vec<(u64, usize)> = self.posts.iter().map(Post::place_among_ends).zip(0..).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, index)| index).collect()
    }

    /// Tells what has become of one worker.
    fn look_at(&mut self, index: usize) {
        let (policy, now) = (self.policy, Instant::now());
        let Some(post) = self.posts.get_mut(index) else { return };
        if let Some(event) = post.take_readiness() {
            (self.observe)(&event);
        }
        // One that was told to end is not started again because of its end.
        let again = self.ending.is_none() && self.regrouping.is_none() && !self.handle.wants_no_more();
        let all = Some(&mut self.restarts).filter(|_| policy.scope == RestartScope::All);
        if let Some((event, next)) = post.take_end(&policy, all, now, again) {
            (self.observe)(&event);
            self.follow(index, next);
        }
    }

    /// Starts one worker if it is time, or has it end.
    fn start_or_end(&mut self, index: usize) {
        let now = Instant::now();
        match self.ending.or(self.regrouping) {
            Some(end) => self.end(index, now >= end),
            None => self.start_if_due(index, now),
        }
    }

    /// Does what follows the end of a worker, or that it could not be started.
    fn follow(&mut self, index: usize, next: Next) {
        match next {
            Next::Over => {}
            Next::Again { after } => {
                (self.observe)(&SupervisorEvent::Restarting { rank: index, after });
                if self.policy.scope == RestartScope::All && self.regrouping.is_none() {
                    self.regrouping = Some(moment_after(Instant::now(), self.policy.grace));
                    self.posts.iter().for_each(|post| post.signal(SIGTERM));
                }
            }
            Next::TooOften(error) => {
                self.gave_up.get_or_insert(error);
                self.begin_to_stop();
            }
        }
    }

    /// Once all have ended that have to, because all are to be started again: has them started when it is time.
    fn regroup(&mut self) {
        if self.regrouping.is_some() && self.posts.iter().all(|post| !post.is_running()) {
            self.regrouping = None;
            if self.handle.wants_no_more() {
                self.posts.iter_mut().for_each(Post::give_up_restart);
            } else if self.ending.is_none()
                && let Some(due) = self.posts.iter().filter_map(Post::due_at).max()
            {
                self.posts.iter_mut().for_each(|post| post.start_again_at(due));
            }
        }
    }

    fn start_if_due(&mut self, index: usize, now: Instant) {
        let Some(post) = self.posts.get_mut(index) else { return };
        if self.handle.wants_no_more() {
            return post.give_up_restart();
        }
        let Some(attempt) = post.due(now) else { return };
        self.has_started = true;
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
                let all = Some(&mut self.restarts).filter(|_| self.policy.scope == RestartScope::All);
                let (event, next) = post.not_started(&self.policy, all, now, error.as_ref());
                (self.observe)(&event);
                self.follow(index, next);
            }
        }
    }

    /// While all have to end: nothing is started, and what outlasts the grace is killed.
    fn end(&mut self, index: usize, kills: bool) {
        let Some(post) = self.posts.get_mut(index) else { return };
        if self.ending.is_some() {
            post.give_up_restart();
        }
        if let Some(event) = kills.then(|| post.kill()).flatten() {
            (self.observe)(&event);
        }
    }

    /// Sleeps until there may be something to do.
    fn sleep(&mut self) -> io::Result<()> {
        let now = Instant::now();
        // Not by the clock, which may have passed the end since the workers were looked at.
        let end = self.ending.or(self.regrouping).filter(|_| self.posts.iter().any(Post::is_to_be_killed));
        let starts = self.posts.iter().filter(|_| self.regrouping.is_none()).filter_map(Post::due_at);
        let replaced = self.posts.iter().filter_map(Post::killed_at);
        let look = self.posts.iter().any(Post::is_unseen).then(|| now + LOOK);
        let due = starts.chain(end).chain(replaced).chain(look).min();
        let mut files: Vec<BorrowedFd<'_>> = self.attended.iter().map(|(file, _)| *file).collect();
        files.extend(self.posts.iter().flat_map(Post::files));
        files.extend(self.bell.as_ref().map(AsFd::as_fd));
        files.push(self.wish.as_fd());
        let ready = eventfd::wait_any(&files, due.map(|due| due.saturating_duration_since(now)))?;
        // The attended files are the first.
        self.attended.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready).for_each(|((_, act), _)| act());
        if self.posts.iter().any(Post::is_kept) {
            clock::nap(LOOK / 10);
        }
        Ok(())
    }
}

/// Says whether a worker is ready.
fn readiness_of(attempt: &Attempt) -> Option<Readiness> {
    let event = attempt.ready.get()?;
    procession_sync::readiness(event).ok()
}
