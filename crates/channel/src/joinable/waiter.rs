//! How a thread waits that found nothing to get, no room, or items that are not done.

use super::work::Blocked;
use crate::QueueFault;
use procession_shm::Segment;
use procession_sync::{EventCount, Nap, Patience};
use procession_sys::Deadline;

/// One thread's wait during one operation.
pub(super) struct Waiter<'a> {
    bell: &'a EventCount,
    deadline: Deadline,
    patience: Option<Patience>,
    slept: bool,
    /// Whether it is its turn to look for lost leases: at first, and at the end of a slice.
    is_its_turn: bool,
}

impl<'a> Waiter<'a> {
    pub(super) fn new(bell: &'a EventCount, deadline: Deadline) -> Self {
        Self { bell, deadline, patience: None, slept: false, is_its_turn: true }
    }

    pub(super) fn has_slept(&self) -> bool {
        self.slept
    }

    /// Whether it is its turn to look for lost leases; then it is not any more.
    pub(super) fn takes_turn(&mut self) -> bool {
        std::mem::take(&mut self.is_its_turn)
    }

    /// Returns when it is worth looking again.
    #[cold]
    pub(super) fn wait(&mut self, segment: &Segment, may_go_on: impl Fn() -> bool) -> Result<(), Blocked> {
        if self.deadline.has_passed() {
            return Err(Blocked::TimedOut);
        }
        let listened = self.bell.listen();
        if may_go_on() {
            return Ok(());
        }
        let deadline = self.deadline;
        let patience = self.patience.get_or_insert_with(|| Patience::new(deadline));
        patience.show(segment);
        let nap = self.bell.sleep(listened, patience);
        // The queue's lock may be waited for next.
        patience.hide();
        if nap != Nap::Changed {
            self.slept = true;
            self.bell.arrive();
        }
        self.is_its_turn |= matches!(nap, Nap::Ask { .. } | Nap::TimedOut);
        if nap == (Nap::Ask { survey: true }) && segment.is_orphaned() {
            return Err(Blocked::Fault(QueueFault::Orphaned { queue: segment.display_name() }));
        }
        Ok(())
    }
}
