//! Running a barrier's action, and the locks inside a barrier; the protocol is described in `barrier.rs`.

use super::waiter::Trip;
use super::word::{ACTING, ACTION_FAILED, PEER_DIED, RESET, ended, generation, is_whole, state, with_state};
use super::{Action, Barrier, BarrierError};
use crate::fault::Fault;
use crate::hold::Hold;
use crate::lock_word::{AcquireError, Claim, LockWord};
use procession_shm::OwnerId;
use procession_sys::atomic::Ordering;
use procession_sys::{Deadline, crash_point, interrupt};
use std::time::Duration;

/// How long a waiter waits for one of the inner locks before it looks at the word again: somebody may have
/// broken it.
const BRIEFLY: Duration = Duration::from_millis(1);

impl Barrier {
    /// Takes one of the inner locks for a moment; `None` if somebody has it for longer.
    pub(super) fn lock(&self, lock: &LockWord, deadline: Deadline) -> Result<Option<Hold>, BarrierError> {
        let soon = Deadline::after(BRIEFLY).min(deadline);
        let _deferred = interrupt::defer();
        match lock.acquire(self.body.segment(), Claim::Ignore, soon) {
            Ok(hold) => Ok(Some(hold)),
            Err(AcquireError::TimedOut) => Ok(None),
            Err(error) => Err(self.lock_fault(error)),
        }
    }

    /// Runs the action, between `begin`, which makes the word `ACTING` and says in which generation, and the
    /// trip.
    pub(super) fn act(
        &self,
        action: &Action,
        deadline: Deadline,
        begin: impl FnOnce() -> Result<Option<u64>, BarrierError>,
    ) -> Result<Trip, BarrierError> {
        let Some(hold) = self.lock(&self.body.runner, deadline)? else { return Ok(Trip::Busy) };
        let mut runner = Runner::new(self, hold);
        let Some(mine) = begin()? else { return Ok(Trip::NotYet) };
        crash_point("barrier.acting");
        runner.generation = Some(mine);
        action().map_err(|source| BarrierError::Action { object: self.label(), source })?;
        if !self.keeper.is_mine(hold) {
            // The child of a fork inside `action`: the parent, which may be in the middle of it, lets the others go on.
            return Err(Fault::inherited(self.body.segment()).into());
        }
        let tripped = self.change(|word| is_acting(word, mine).then(|| ended(word)));
        runner.generation = None;
        if tripped {
            return Ok(Trip::Tripped);
        }
        // Somebody has broken or reset the barrier while the action ran.
        // SYNC: barrier.trip.
        let word = self.body.word.load(Ordering::Acquire);
        Err(self.broken_by(if generation(word) == mine { state(word) } else { RESET }))
    }

    /// Whether this thread runs the action now.
    pub(super) fn must_not_be_in_action(&self, me: OwnerId) -> Result<(), BarrierError> {
        let is_in_action = self.keeper.holds(&self.body.runner, Hold::of_this_thread(me));
        if is_in_action { Err(BarrierError::InAction { object: self.label() }) } else { Ok(()) }
    }

    /// Why one of the inner locks could not be taken.
    pub(super) fn lock_fault(&self, error: AcquireError) -> BarrierError {
        let segment = self.body.segment();
        error
            .into_fault(segment)
            .unwrap_or_else(|| Fault::corrupt(segment, "one of its locks was left as if nobody had taken it"))
            .into()
    }

    /// Breaks the barrier if its action was being run by a process that is dead.
    pub(super) fn find_dead_runner(&self, word: u64) -> Result<(), Fault> {
        if let Some(owner) = self.body.runner.owner() {
            if !self.is_dead(owner)? {
                return Ok(());
            }
            self.note_dead(owner);
        }
        // From the word that was seen before the owner: a runner that has ended meanwhile has changed it.
        let _: Result<(), u64> = self.change_from(word, with_state(word, PEER_DIED));
        Ok(())
    }
}

fn is_acting(word: u64, mine: u64) -> bool {
    generation(word) == mine && is_whole(word) && state(word) == ACTING
}

/// The one that runs the action, until it is dropped.
struct Runner<'a> {
    barrier: &'a Barrier,
    hold: Hold,
    /// The generation that is broken if this is dropped before it has ended.
    generation: Option<u64>,
}

impl<'a> Runner<'a> {
    fn new(barrier: &'a Barrier, hold: Hold) -> Self {
        hold.note(barrier.keeper.key());
        Self { barrier, hold, generation: None }
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        // A forked child is another owner: it does nothing.
        if !self.barrier.keeper.is_mine(self.hold) {
            return;
        }
        if let Some(mine) = self.generation {
            self.barrier.change(|word| is_acting(word, mine).then(|| with_state(word, ACTION_FAILED)));
        }
        self.barrier.keeper.release(&self.barrier.body.runner, self.hold, true);
    }
}
