//! A thread that found the queue empty or full.

use super::error::{Blocked, QueueFault};
use procession_shm::Segment;
use procession_sync::{EventCount, Nap, Patience};
use procession_sys::Deadline;
use procession_sys::cpu::Spin;

/// How long a thread looks again and again before it sleeps: a sleep and a wake cost this much.
const SPIN_NS: u64 = 20_000;
const SPIN_CAP: u32 = 2;

/// One thread that found the queue empty or full.
pub(super) struct Waiter<'a> {
    bell: &'a EventCount,
    deadline: Deadline,
    patience: Option<Patience>,
    slept: bool,
}

impl<'a> Waiter<'a> {
    #[inline]
    pub(super) fn new(bell: &'a EventCount, deadline: Deadline) -> Self {
        Self { bell, deadline, patience: None, slept: false }
    }

    #[inline]
    pub(super) fn has_slept(&self) -> bool {
        self.slept
    }

    /// Returns when it is worth looking again.
    #[cold]
    pub(super) fn wait(&mut self, segment: &Segment, is_ready: impl Fn() -> bool) -> Result<(), Blocked> {
        if self.deadline.has_passed() {
            return Err(Blocked::TimedOut);
        }
        // Nobody spins while others sleep: there are more waiters than processors then.
        if !self.bell.has_waiters() {
            let mut spin = Spin::for_ns(SPIN_NS);
            while spin.pause(SPIN_CAP) {
                if is_ready() {
                    return Ok(());
                }
            }
        }
        let listened = self.bell.listen();
        if is_ready() {
            return Ok(());
        }
        let deadline = self.deadline;
        let patience = self.patience.get_or_insert_with(|| Patience::new(deadline));
        patience.show(segment);
        let nap = self.bell.sleep(listened, patience);
        // The queue's locks may be waited for next.
        patience.hide();
        if nap != Nap::Changed {
            self.slept = true;
            self.bell.arrive();
        }
        if nap == (Nap::Ask { survey: true }) && segment.is_orphaned() {
            let queue = segment.display_name();
            return Err(Blocked::Fault(QueueFault::Orphaned { queue }));
        }
        Ok(())
    }
}
