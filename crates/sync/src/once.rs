//! Something that is done once in a namespace, whoever does it and whoever dies over it.
//!
//! | word | meaning |
//! |---|---|
//! | `done` | 1: it was done to the end. **Its store is the commit**; it is never taken back |
//! | `runner` | the lock of who is doing it; inconsistent when somebody began and did not finish |
//!
//! # Who may change what
//! `done`: the holder of `runner`. `runner` is a [`LockWord`], whose file says who may change that.
//!
//! # Orderings
//! Edge `once.done`: the Release store of `done` meets the Acquire load of everybody who passes, so what was
//! initialised is visible to them.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | running, before `done` | a dead runner | the next who comes, or a waiter: it runs the initialiser again, and is told |
//! | after `done`, before the release | a dead runner of what is done | newcomers see `done` first; a waiter, at the end of its slice |
//! | *stopped* after `done`, before the release | a lock held by the living | nobody needs to: waiters look at `done` every second |
//! | waiting | maybe a waiter's hint | the lock's own protocol |
//!
//! # Not promised
//! That an initialiser which was killed has had no effect: it ran to some point, and runs again from the
//! beginning.

use crate::fault::Fault;
use crate::held_by::{self, HeldBy};
use crate::hold::Hold;
use crate::keeper::Keeper;
use crate::lock_error::LockError;
use crate::lock_word::{Claim, LockWord};
use crate::patience::Patience;
use procession_shm::{Kind, Label, Object, OpenError, Parameter, Placement, Shape, Shared};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::{Deadline, crash_point, shm_struct};
use std::fmt;
use std::time::Duration;

/// How often those who wait for `runner` look whether it is done: whoever did it may be stopped before it
/// releases.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

shm_struct! {
    #[doc(hidden)]
    pub struct OnceBody {
        runner: LockWord,
        done: AtomicU32,
        reserved: AtomicU32,
        /// To the end of the cache line.
        spare: [AtomicU64; 3],
    }
}

/// Something that is done to the end exactly once, by whoever comes first; all others wait until it is done.
///
/// If the one who does it is killed, panics or fails in the middle, the next one does it again from the
/// beginning, and is told so.
///
/// ```
/// use procession::Once;
///
/// let prepared = Once::create("prepared")?;
/// let mut times = 0;
/// assert!(prepared.run(|_| times += 1)?);
/// assert!(!prepared.run(|_| times += 1)?);
/// assert_eq!((times, prepared.is_done()), (1, true));
/// # prepared.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Once {
    body: Shared<OnceBody>,
    keeper: Keeper,
}

/// How a [`Once`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct OnceOptions {
    place: Placement,
    settings: (),
}

procession_shm::object_builders!([] OnceOptions => Once);

impl Object for Once {
    const KIND: Kind = Kind::ONCE;
    type Body = OnceBody;
    type Settings = ();

    fn shape((): &()) -> Shape {
        let body_len = size_of::<OnceBody>() as u64;
        let parameters = [Parameter::default(); 4];
        Shape { kind: Self::KIND, body_len, parameters, element: None, codec: 0 }
    }

    fn forget_owners(body: &OnceBody) {
        body.runner.forget_owner();
    }

    fn attach(body: Shared<OnceBody>) -> Result<Self, OpenError> {
        Ok(Self { keeper: Keeper::new(body.segment()), body })
    }
}

/// Why it is not known to be done.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OnceError {
    /// Somebody is doing it, maybe this very thread (`try_run`).
    #[error("not done yet: {0}")]
    WouldBlock(HeldBy),
    /// Somebody was doing it all the time (`run_timeout`).
    #[error("timed out: {0}")]
    TimedOut(HeldBy),
    /// This very thread is doing it, and would wait for itself.
    #[error("this thread is already inside {object}, and would wait for itself for ever")]
    Deadlock {
        /// Which one.
        object: Label,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for {object} was interrupted")]
    Interrupted {
        /// Which one.
        object: Label,
    },
    /// The object itself is unusable.
    #[error(transparent)]
    Fault(#[from] Fault),
}

procession_shm::debug_as_text!(OnceError);

/// The circumstances of a run, for the initialiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnceRun {
    /// Whether somebody began before and did not finish: what it did may be half there.
    pub is_again: bool,
}

impl Once {
    /// Runs `f` unless it was done to the end before, or waits until the one who is running it has done it;
    /// whether it was done here.
    ///
    /// # Errors
    /// [`OnceError::Deadlock`] when called by the initialiser itself; [`OnceError::Fault`].
    ///
    /// # Panics
    /// When `f` does; then it is not done, and the next one does it again.
    pub fn run(&self, f: impl FnOnce(OnceRun)) -> Result<bool, OnceError> {
        self.run_until(f, Deadline::NEVER)
    }

    /// Runs `f` as [`run`](Self::run) does, but waits at most `timeout` for somebody else.
    ///
    /// # Errors
    /// [`OnceError::TimedOut`]; otherwise as [`run`](Self::run).
    pub fn run_timeout(&self, f: impl FnOnce(OnceRun), timeout: Duration) -> Result<bool, OnceError> {
        self.run_until(f, Deadline::after(timeout))
    }

    /// Runs `f` as [`run`](Self::run) does, if nobody else is running one now.
    ///
    /// # Errors
    /// [`OnceError::WouldBlock`], also when called by the initialiser itself; otherwise as
    /// [`run`](Self::run).
    pub fn try_run(&self, f: impl FnOnce(OnceRun)) -> Result<bool, OnceError> {
        self.run_until(f, Deadline::PASSED)
    }

    /// Runs an `f` that can fail as [`run`](Self::run) does: if it fails it is not done, and the next one does
    /// it again.
    ///
    /// # Errors
    /// Inside, the error of `f`; otherwise as [`run`](Self::run).
    pub fn run_fallible<E>(
        &self,
        f: impl FnOnce(OnceRun) -> Result<(), E>,
    ) -> Result<Result<bool, E>, OnceError> {
        self.attempt(f, Deadline::NEVER)
    }

    /// Whether it was done to the end.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        // SYNC: once.done.
        self.body.done.load(Ordering::Acquire) != 0
    }

    fn run_until(&self, f: impl FnOnce(OnceRun), deadline: Deadline) -> Result<bool, OnceError> {
        let always = |run| {
            f(run);
            Ok::<(), std::convert::Infallible>(())
        };
        self.attempt(always, deadline).map(|outcome| outcome.unwrap_or_else(|never| match never {}))
    }

    fn attempt<E>(
        &self,
        f: impl FnOnce(OnceRun) -> Result<(), E>,
        deadline: Deadline,
    ) -> Result<Result<bool, E>, OnceError> {
        if self.is_done() {
            return Ok(Ok(false));
        }
        let Some(mut running) = self.begin(deadline)? else { return Ok(Ok(false)) };
        // Done while this one waited: then nothing is half-done, also if the runner died right after it.
        if self.is_done() {
            running.is_whole = true;
            return Ok(Ok(false));
        }
        let run = OnceRun { is_again: self.body.runner.is_inconsistent() };
        let outcome = f(run);
        if !running.is_ours() {
            // A fork inside `f`: the parent does it.
            return Ok(outcome.map(|()| false));
        }
        if outcome.is_ok() {
            // SYNC: once.done.
            self.body.done.store(1, Ordering::Release);
            crash_point("once.done");
            running.is_whole = true;
        }
        Ok(outcome.map(|()| true))
    }

    /// Waits until nobody else is doing it; `None` when it is done while somebody still holds `runner`.
    fn begin(&self, deadline: Deadline) -> Result<Option<Running<'_>>, OnceError> {
        let (segment, runner) = (self.body.segment(), &self.body.runner);
        let mut patience = Patience::new(deadline);
        loop {
            let look = Deadline::after(LOOK_AGAIN).min(deadline);
            match self.keeper.claim_within(runner, segment, Claim::Recover, look, &mut patience) {
                Ok(me) => {
                    crash_point("once.running");
                    return Ok(Some(Running { once: self, me, is_whole: false }));
                }
                Err(LockError::WouldBlock(_) | LockError::TimedOut(_)) if self.is_done() => return Ok(None),
                // That was the time until the next look.
                Err(LockError::TimedOut(_)) if !deadline.has_passed() => {}
                Err(error) => return Err(self.explain(error)),
            }
        }
    }

    /// The failure of `runner`, for people.
    fn explain(&self, error: LockError) -> OnceError {
        match error {
            LockError::WouldBlock(held) => OnceError::WouldBlock(held),
            LockError::TimedOut(held) => OnceError::TimedOut(held),
            LockError::Deadlock { object, .. } => OnceError::Deadlock { object },
            LockError::Interrupted { object } => OnceError::Interrupted { object },
            LockError::Fault(fault) => OnceError::Fault(fault),
            // Neither is said to who recovers a lock.
            LockError::OwnerDied { .. } | LockError::NotHeld { .. } => Fault::corrupt(
                self.body.segment(),
                "one of its inner locks reports a death, which it never does",
            )
            .into(),
        }
    }
}

/// The run, until it is dropped: then the next one may come.
struct Running<'a> {
    once: &'a Once,
    me: Hold,
    is_whole: bool,
}

impl Running<'_> {
    fn is_ours(&self) -> bool {
        self.once.keeper.is_mine(self.me)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // A forked child is another owner: it does nothing.
        if self.is_ours() {
            let runner = &self.once.body.runner;
            if self.is_whole {
                runner.make_consistent();
            }
            self.once.keeper.release(runner, self.me, self.is_whole);
        }
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segment = self.body.segment();
        let runner = held_by::holder_of(&self.body.runner, segment);
        f.debug_struct("Once")
            .field("name", &segment.name())
            .field("done", &self.is_done())
            .field("runner", &runner)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Once, OnceError};
    use procession_shm::Namespace;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn once() -> Once {
        Once::options().namespace(&Namespace::private()).anonymous().unwrap()
    }

    #[test]
    fn of_many_threads_one_does_it() {
        for _ in 0..50 {
            let (once, times) = (once(), AtomicU32::new(0));
            std::thread::scope(|scope| {
                let run = || {
                    let first = once.run(|run| {
                        assert!(!run.is_again);
                        times.fetch_add(1, Ordering::Relaxed);
                    });
                    assert_eq!(times.load(Ordering::Relaxed), 1);
                    u32::from(first.unwrap())
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
                assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>(), 1);
            });
        }
    }

    #[test]
    fn who_fails_or_panics_leaves_it_to_the_next() {
        let once = once();
        assert_eq!(once.run_fallible(|_| Err("no")).unwrap(), Err("no"));
        let panics = || once.run(|run| panic!("{run:?}"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert!(!once.is_done());
        assert!(once.run(|run| assert!(run.is_again)).unwrap());
        assert!(once.is_done() && !once.body.runner.is_inconsistent());
        assert!(!once.run(|_| unreachable!()).unwrap());
    }

    #[test]
    fn the_initialiser_does_not_wait_for_itself() {
        let once = once();
        once.run(|_| assert!(matches!(once.run(|_| ()), Err(OnceError::Deadlock { .. })))).unwrap();
    }
}
