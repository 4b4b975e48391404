//! Keeps a pool going: its lock, its waiting threads, and the thread that replaces dead workers.
//!
//! Two kinds of threads look at the outboxes:
//! - the pool's thread sleeps in `poll` on the bell and on every worker's pidfd; before that it tells the
//!   workers to ring, and looks once more;
//! - a thread that waits for a result first looks itself, again and again for a moment, and tells the workers
//!   not to ring meanwhile; when it gives up it tells them to ring again, and looks once more.
//!
//! Threads that wait sleep on the word `changes`, which everybody increments who has changed something under
//! the lock. A waiter reads it while it holds the lock, so that no change between its look and its sleep is
//! missed. It is a condition variable but for one thing: a sleep ends when a signal comes, because the thread
//! may have to be interrupted.

use super::batch::Chunk;
use super::callbacks::Callbacks;
use super::crew::{Crew, PoolState};
use super::error::{PoolError, Stopped, TaskError};
use super::initial::Initializer;
use super::link::Link;
use super::plan::Plan;
use super::progress::{self, Progress};
use super::view::WorkerView;
use super::watch::{Watch, Watched};
use super::worker::work;
use crate::children::{self, LAST_WAIT};
use crate::error::in_full;
use crate::process::Process;
use procession_sys::cpu::Spin;
use procession_sys::futex::{self, Waited};
use procession_sys::{Deadline, KeptFd, eventfd, fork, interrupt, shm_file};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a waiting thread looks itself before it sleeps.
const HELP_NS: u64 = 50_000;
const HELP_CAP: u32 = 4;
/// How long the pool's thread looks itself at most before it does its other duties.
const LONGEST_LINGER: Duration = Duration::from_millis(2);
/// How long a worker may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);
/// How long the pool's thread sleeps at most, with work and without. It is what is lost when a worker is
/// killed between its record and the bell (a lost wake-up).
const SLICE: Duration = Duration::from_millis(100);
const IDLE_SLICE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Foreman {
    crew: Mutex<Crew>,
    /// How often something has changed that a thread may wait for.
    changes: AtomicU32,
    /// How many threads may sleep on `changes`.
    sleepers: AtomicU32,
    /// A new one when the program has closed it; the workers that are there go on ringing the old one.
    bell: Mutex<Arc<KeptFd>>,
    pub(super) plan: Plan,
    pub(super) callbacks: Callbacks,
    /// The process that made the pool: a forked child has none.
    cookie: u64,
    /// The effective user of the process when it made the pool.
    user: u32,
}

impl Foreman {
    pub(crate) fn new(count: usize, plan: Plan) -> Result<Self, PoolError> {
        if let Some(initializer) = &plan.initializer {
            initializer.call()?;
        }
        Ok(Self {
            crew: Mutex::new(Crew::new(count, &plan)),
            changes: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
            bell: Mutex::new(Arc::new(KeptFd::keep(eventfd::create()?)?)),
            plan,
            callbacks: Callbacks::default(),
            cookie: fork::cookie(),
            user: shm_file::effective_uid(),
        })
    }

    /// The lock's guard, for a call of the user's: a forked child has only a copy of the pool's memory, in
    /// which the lock may be held for ever.
    ///
    /// # Errors
    /// [`TaskError::Forked`].
    pub(crate) fn enter(&self) -> Result<MutexGuard<'_, Crew>, TaskError> {
        if self.is_foreign() { Err(TaskError::Forked) } else { Ok(self.lock()) }
    }

    /// The lock's guard, to give the pool more work.
    ///
    /// # Errors
    /// [`TaskError::Forked`], [`TaskError::UserChanged`].
    pub(crate) fn admit(&self) -> Result<MutexGuard<'_, Crew>, TaskError> {
        let (was, now) = (self.user, shm_file::effective_uid());
        if was == now { self.enter() } else { Err(TaskError::UserChanged { was, now }) }
    }

    /// The lock's guard; no thread panics while it holds it, but if one did, the state is whole all the same.
    pub(super) fn lock(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is a forked child, where the pool is only a copy of the parent's memory.
    pub(crate) fn is_foreign(&self) -> bool {
        self.cookie != fork::cookie()
    }

    /// Looks after the outboxes once, and tells those who wait.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub(crate) fn look(&self) -> Result<MutexGuard<'_, Crew>, TaskError> {
        let mut crew = self.enter()?;
        self.step(&mut crew);
        Ok(crew)
    }

    /// The call that made the job gives it no more items.
    pub(crate) fn end_feeding(&self, id: u64) {
        let Ok(mut crew) = self.enter() else { return };
        if let Some(job) = crew.jobs.get_mut(id) {
            job.end_feeding();
        }
        // A closed pool may have waited for just that to let its workers go.
        self.step(&mut crew);
    }

    /// Gives a job more items.
    pub(crate) fn add(&self, crew: &mut Crew, chunk: Chunk) {
        crew.add(chunk);
        self.alert(crew);
    }

    /// Makes the pool's thread look.
    pub(crate) fn ring(&self) {
        if let Some(bell) = self.bell().get() {
            eventfd::ring(bell);
        }
    }

    fn bell(&self) -> Arc<KeptFd> {
        let mut bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        if bell.get().is_none()
            && let Ok(new) = eventfd::create().and_then(KeptFd::keep)
        {
            *bell = Arc::new(new);
        }
        Arc::clone(&bell)
    }

    /// Starts every worker.
    pub(crate) fn start_all(&self) -> Result<(), PoolError> {
        let count = self.lock().target;
        (0..count).try_for_each(|place| self.start(place))
    }

    fn start(&self, place: usize) -> Result<(), PoolError> {
        // First: when the program ends, it waits for what is being started, and only then removes what is
        // left.
        let _starting = children::starting()?;
        let link = Link::new()?;
        let initial = self.plan.initializer.as_ref().map(Initializer::call).transpose()?;
        let options = self.plan.context.map_or_else(Process::options, |context| context.process());
        let process = options
            .name(format!("{}-{}", self.plan.name, place + 1))
            .daemon(true)
            .inherit(Arc::new(self.bell().as_fd().try_clone_to_owned()?))
            .spawn_fallible(work, (link.clone(), initial))?;
        let worker = WorkerView::new(process, link);
        let mut crew = self.lock();
        if crew.state == PoolState::Terminated {
            // The pool was terminated while this one started: it was not there to be ended with the others.
            drop(worker.process.kill());
        }
        crew.install(place, worker);
        Ok(())
    }

    /// Waits until `ready` has an answer, or until `deadline`; `None` if there was none by then.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) fn wait_until<T>(
        &self,
        deadline: Deadline,
        ready: impl FnMut(&mut Crew) -> Option<T>,
    ) -> Result<Option<T>, Stopped> {
        let crew = self.enter().map_err(|_| Stopped::Forked)?;
        self.give_and_wait(crew, |_| (), deadline, ready)
    }

    /// Gives the workers what `give` gives, and waits as [`wait_until`](Self::wait_until) does. A worker that
    /// is given something short finds this thread looking already, and does not ring.
    pub(crate) fn give_and_wait<T>(
        &self,
        crew: MutexGuard<'_, Crew>,
        give: impl FnOnce(&mut Crew),
        deadline: Deadline,
        mut ready: impl FnMut(&mut Crew) -> Option<T>,
    ) -> Result<Option<T>, Stopped> {
        if let Some(answer) = self.help(crew, give, &mut ready, deadline) {
            return Ok(Some(answer));
        }
        let mut crew = self.lock();
        let mut is_interrupted = false;
        loop {
            if let Some(answer) = ready(&mut crew) {
                return Ok(Some(answer));
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            if is_interrupted {
                return Err(Stopped::Interrupted);
            }
            is_interrupted = self.sleep(crew, interrupt::slice(deadline)) && interrupt::is_wanted();
            // The hook is code of the user's, which may have forked.
            crew = self.enter().map_err(|_| Stopped::Forked)?;
        }
    }

    /// Opens the lock and sleeps until something changes, until a signal comes, or until `deadline`; whether
    /// it was one of the last two.
    fn sleep(&self, crew: MutexGuard<'_, Crew>, deadline: Deadline) -> bool {
        // Relaxed, like all that is done to the two words: they are read and written by threads that hold
        // the lock, or have just held it.
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        let seen = self.changes.load(Ordering::Relaxed);
        drop(crew);
        let waited = futex::wait(&self.changes, seen, deadline);
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        matches!(waited, Waited::Signaled | Waited::TimedOut)
    }

    /// Wakes those who wait. The caller has changed something under the lock before.
    pub(super) fn announce(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        // A thread that counts itself later takes the lock later, and sees the change.
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            futex::wake_all(&self.changes);
        }
    }

    /// Looks after the outboxes for a moment.
    fn help<'a, T>(
        &'a self,
        mut crew: MutexGuard<'a, Crew>,
        give: impl FnOnce(&mut Crew),
        ready: &mut impl FnMut(&mut Crew) -> Option<T>,
        deadline: Deadline,
    ) -> Option<T> {
        crew.helpers += 1;
        crew.set_sleeping(false);
        give(&mut crew);
        let mut spin = Spin::for_ns(HELP_NS);
        let mut finished_chunks = crew.finished_chunks;
        let mut answer;
        loop {
            self.step(&mut crew);
            answer = ready(&mut crew);
            if crew.finished_chunks != finished_chunks {
                // Workers that finish a chunk so soon would ring for each.
                finished_chunks = crew.finished_chunks;
                spin = Spin::for_ns(HELP_NS);
            }
            drop(crew);
            let goes_on = answer.is_none() && !deadline.has_passed() && spin.pause(HELP_CAP);
            crew = self.lock();
            if !goes_on {
                break;
            }
        }
        crew.helpers -= 1;
        if crew.helpers == 0 {
            self.want_bell(&mut crew);
            answer = answer.or_else(|| ready(&mut crew));
        }
        answer
    }

    /// Has the workers ring from now on, and sees what they did before.
    fn want_bell(&self, crew: &mut Crew) {
        crew.set_sleeping(true);
        // SYNC: pool.dekker.
        fence(Ordering::SeqCst);
        self.step(crew);
    }

    fn step(&self, crew: &mut Crew) {
        if crew.step() {
            self.announce();
        }
        self.alert(crew);
    }

    /// Wakes the pool's thread if it would sleep longer than an item may take, or has somebody to tell.
    pub(super) fn alert(&self, crew: &mut Crew) {
        if crew.next_alarm < crew.next_look {
            crew.next_look = crew.next_alarm;
            self.ring();
        } else if crew.jobs.due().is_any() {
            self.ring();
        }
    }

    /// Cancels what no worker has begun of a job; whether there was any.
    pub(crate) fn cancel(&self, id: u64) -> bool {
        let Ok(mut crew) = self.enter() else { return false };
        let is_cancelled = crew.cancel(id);
        if is_cancelled {
            self.step(&mut crew);
            self.announce();
        }
        is_cancelled
    }

    /// Cancels what no worker has begun of any job.
    pub(crate) fn cancel_all(&self) {
        let Ok(mut crew) = self.enter() else { return };
        crew.cancel_all();
        self.step(&mut crew);
        self.announce();
    }

    /// Nobody will ask about the job, which is to be done all the same.
    pub(crate) fn detach(&self, id: u64) {
        if let Ok(mut crew) = self.enter() {
            crew.detach(id);
        }
    }

    /// Gives up a job that nobody waits for any more.
    pub(crate) fn abandon(&self, id: u64) {
        let Ok(mut crew) = self.enter() else { return };
        if crew.abandon(id) {
            self.step(&mut crew);
        }
    }

    /// The pool's thread: until the last worker of a closed or terminated pool has ended.
    pub(crate) fn run(self: &Arc<Self>) {
        let _over = Over(self);
        let mut told = (Progress::default(), Deadline::PASSED);
        let mut watch = Watch::default();
        loop {
            self.do_duties();
            self.report(&mut told, false);
            if watch.is_quick() {
                self.linger();
            }
            let (is_over, slice) = {
                let mut crew = self.lock();
                self.step(&mut crew);
                if crew.helpers == 0 {
                    self.want_bell(&mut crew);
                }
                crew.keep_time();
                watch.look_at(&crew);
                let slice = match (crew.is_busy(), &self.plan.observer) {
                    (true, Some(_)) => progress::PERIOD,
                    (true, None) => SLICE,
                    (false, _) => IDLE_SLICE,
                };
                crew.next_look = Deadline::after(slice).min(crew.next_alarm);
                let until_start = crew.next_start.remaining().filter(|left| !left.is_zero());
                let slice = crew.next_look.remaining().unwrap_or(slice);
                (!crew.wants_workers(), until_start.map_or(slice, |left| left.min(slice)))
            };
            if is_over && (watch.workers.is_empty() || self.lock().give_up.has_passed()) {
                break;
            }
            self.watch(&mut watch, slice);
            self.fill_places();
        }
        // Nobody is left to do what a late call may have added.
        self.lock().terminate();
        self.do_duties();
        self.report(&mut told, true);
        self.callbacks.close();
    }

    /// Waits until the pool's thread has ended, and until all callbacks have run if they are to be
    /// `called`.
    ///
    /// # Errors
    /// [`Stopped`].
    pub(crate) fn await_end(&self, called: bool) -> Result<(), Stopped> {
        let is_over = |crew: &Crew| crew.is_over && (!called || self.callbacks.open() == 0);
        self.wait_until(Deadline::NEVER, |crew| is_over(crew).then_some(())).map(drop)
    }

    /// Looks after the outboxes for a moment, as a thread that waits does: workers that ring one time after
    /// the other need not ring.
    fn linger(&self) {
        let crew = self.lock();
        if crew.helpers == 0 {
            let _: Option<()> = self.help(crew, |_| (), &mut |_| None, Deadline::after(LONGEST_LINGER));
        }
    }

    /// Sleeps until a worker rings or ends, and settles the work of those that have ended.
    fn watch(&self, watch: &mut Watch, slice: Duration) {
        // The numbers as they are: what they mean is asked before anything is read, and now and then.
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let open = watch.workers.iter().filter(|worker| worker.is_open);
        let fds: Vec<BorrowedFd<'_>> =
            open.map(|worker| worker.process.as_fd()).chain([bell.as_fd()]).collect();
        let slice = if fds.len() > watch.workers.len() { slice } else { slice.min(SLICE) };
        let readable = eventfd::wait_any(&fds, Some(slice)).unwrap_or_else(|_| {
            // More workers than the limit of open files, which was lowered meanwhile; or no memory.
            std::thread::sleep(SLICE);
            vec![false; fds.len()]
        });
        let is_rung = readable.last() == Some(&true);
        watch.note_bell(is_rung);
        if (is_rung || !readable.contains(&true))
            && let Some(bell) = self.bell().get()
        {
            eventfd::silence(bell);
        }
        let mut readable = readable.into_iter();
        for Watched { place, process, is_open } in &watch.workers {
            match is_open.then(|| readable.next()).flatten() {
                Some(false) => {}
                seen => self.bury(*place, process, seen.is_some()),
            }
        }
    }

    /// Starts the workers that are missing, unless it is too early for that.
    fn fill_places(&self) {
        let next_missing = |from: usize| {
            let crew = self.lock();
            let may_start = crew.wants_workers() && crew.next_start.has_passed();
            let is_missing = |place: &usize| crew.workers[*place].is_none();
            (from..crew.target).find(is_missing).filter(|_| may_start)
        };
        let mut from = 0;
        while let Some(place) = next_missing(from) {
            self.start_or_note(place);
            from = place + 1;
        }
    }

    /// Changes how many workers there are to be; the pool's thread starts those that are missing.
    ///
    /// # Errors
    /// [`PoolError::Forked`], [`PoolError::Closed`], [`PoolError::Broken`].
    pub(crate) fn resize(&self, count: usize) -> Result<(), PoolError> {
        let mut crew = self.enter().map_err(|_| PoolError::Forked)?;
        if let Some(reason) = &crew.broken {
            return Err(PoolError::Broken { reason: reason.clone() });
        }
        if crew.state != PoolState::Open {
            return Err(PoolError::Closed);
        }
        crew.resize(count);
        drop(crew);
        self.ring();
        Ok(())
    }

    fn start_or_note(&self, place: usize) {
        if let Err(error) = self.start(place) {
            let mut crew = self.lock();
            crew.next_start = Deadline::after(SLICE);
            // The others go on, and it is tried again; without any, not for ever.
            if crew.workers.iter().all(Option::is_none) {
                crew.note_failed_start(&format!("no worker can be started: {}", in_full(&error)));
            }
            drop(crew);
            self.announce();
        }
    }

    fn workers(&self) -> Vec<(usize, Arc<Process<()>>)> {
        let crew = self.lock();
        let there = crew.workers.iter().enumerate();
        there.filter_map(|(place, worker)| Some((place, Arc::clone(&worker.as_ref()?.process)))).collect()
    }

    /// Settles the work of the worker at `place` if it has ended, which is so if `is_known`.
    fn bury(&self, place: usize, process: &Process<()>, is_known: bool) {
        // Reaps it, so that its exit status is known. A debugger may keep the zombie for a while.
        if process.exit_status().is_none() {
            if is_known {
                std::thread::sleep(Duration::from_millis(10));
            }
            return;
        }
        self.lock().bury(place);
        self.announce();
    }

    /// Ends the workers of a terminated pool: asks, and after a while insists.
    pub(crate) fn terminate_workers(&self) {
        // A worker has its grace also from a thread that is in a hurry.
        let _deferred = interrupt::defer();
        self.announce();
        let workers = self.workers();
        for (_, process) in &workers {
            // A worker that cannot be signalled has ended, or is another user's.
            drop(process.terminate());
        }
        self.ring();
        let deadline = Deadline::after(GRACE);
        let mut may_be_killed = true;
        for (_, process) in &workers {
            let left = deadline.remaining().unwrap_or_default();
            if process.wait_timeout(left).is_err() {
                may_be_killed &= process.kill().is_ok();
            }
        }
        self.lock().give_up = if may_be_killed { Deadline::after(LAST_WAIT) } else { Deadline::PASSED };
        self.ring();
    }

    /// Lets the workers of a pool that nobody uses any more leave by themselves, as far as they do so soon;
    /// what has no result is cancelled.
    pub(crate) fn let_go(&self) {
        let Ok(mut crew) = self.enter() else { return };
        crew.terminate();
        crew.dismiss();
        self.announce();
        self.ring();
        let deadline = Deadline::after(GRACE);
        while crew.workers.iter().any(Option::is_some) && !deadline.has_passed() {
            self.sleep(crew, deadline);
            crew = self.lock();
        }
    }

    /// The pids of the workers that could not be ended.
    pub(crate) fn left(&self) -> Vec<u32> {
        self.workers().iter().map(|(_, process)| process.pid()).collect()
    }

    /// Ends every worker at once and reaps it: the pool never came up, or can watch over nothing any more.
    pub(crate) fn kill_all(&self) {
        let _deferred = interrupt::defer();
        for (_, process) in self.workers() {
            if process.kill().is_ok() {
                drop(process.wait_timeout(LAST_WAIT));
            }
        }
        self.lock().terminate();
        self.announce();
    }
}

/// Says that the pool's thread has ended, when it does.
struct Over<'a>(&'a Foreman);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.announce();
    }
}
