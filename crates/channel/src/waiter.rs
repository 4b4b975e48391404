//! How a thread waits that found a queue empty or full, or with items that are not done: at one of its bells,
//! and never with a lock of the queue's.

use procession_shm::Segment;
use procession_sync::{AcquireError, EventCount, Fault, Nap, Patience, Whom, spin_until};
use procession_sys::Deadline;
use std::ops::RangeInclusive;

/// Between two looks of a waiter that does not sleep yet.
const PAUSES: RangeInclusive<u32> = 1..=2;

/// Why waiting ended without a reason to look again.
pub(crate) enum Stopped {
    TimedOut,
    Interrupted,
    Fault(Fault),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<AcquireError> for Stopped {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Interrupted => Self::Interrupted,
            AcquireError::Fault(fault) => Self::Fault(fault),
            // None of a queue's inner locks reports deaths or deadlocks.
            _ => Self::TimedOut,
        }
    }
}

impl Stopped {
    /// For what waits without a deadline, and is not interrupted.
    pub(crate) fn into_fault(self) -> Option<Fault> {
        match self {
            Self::TimedOut | Self::Interrupted => None,
            Self::Fault(fault) => Some(fault),
        }
    }

    pub(crate) fn only_fault(self) -> Result<(), Fault> {
        self.into_fault().map_or(Ok(()), Err)
    }
}

/// One thread's waits during one operation.
pub(crate) struct Waiter<'a> {
    bell: &'a EventCount,
    deadline: Deadline,
    /// Made when it is needed: most operations never wait.
    patience: Option<Patience>,
    slept: bool,
    /// Whether it is its turn to look for what the dead have: at first, and at the end of a slice.
    is_its_turn: bool,
}

impl<'a> Waiter<'a> {
    #[inline]
    pub(crate) fn new(bell: &'a EventCount, deadline: Deadline) -> Self {
        Self { bell, deadline, patience: None, slept: false, is_its_turn: true }
    }

    /// Whether it has slept: then it may have been woken for what another could have, too.
    #[inline]
    pub(crate) fn has_slept(&self) -> bool {
        self.slept
    }

    /// Whether it is its turn to look for what the dead have; then it is not any more.
    pub(crate) fn takes_turn(&mut self) -> bool {
        std::mem::take(&mut self.is_its_turn)
    }

    /// Returns when it is worth looking again: looks again and again at first, unless others sleep.
    #[cold]
    pub(crate) fn spin_or_wait(
        &mut self,
        segment: &Segment,
        is_ready: impl Fn() -> bool,
    ) -> Result<(), Stopped> {
        // Nobody spins while others sleep: there are more waiters than processors then.
        let may_spin = !self.deadline.has_passed() && !self.bell.has_waiters();
        if may_spin && spin_until(PAUSES, &is_ready) {
            return Ok(());
        }
        self.wait(segment, is_ready, ())
    }

    /// Returns when it is worth looking again, also because one of `whom` has died.
    #[cold]
    pub(crate) fn wait(
        &mut self,
        segment: &Segment,
        is_ready: impl Fn() -> bool,
        whom: impl Whom,
    ) -> Result<(), Stopped> {
        if self.deadline.has_passed() {
            return Err(Stopped::TimedOut);
        }
        let deadline = self.deadline;
        let patience = self.patience.get_or_insert_with(|| Patience::new(deadline));
        let nap = self.bell.wait(Some(segment), patience, is_ready, whom);
        // The queue's locks may be waited for next.
        patience.hide();
        let nap = nap.map_err(|stop| Fault::of_stop(segment, stop, |_| Stopped::Interrupted))?;
        self.slept |= nap != Nap::Changed;
        self.is_its_turn |= matches!(nap, Nap::Ask | Nap::TimedOut);
        Ok(())
    }
}
