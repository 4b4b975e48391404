//! How one thread waits at a barrier; the protocol is described in `barrier.rs`.

use super::{
    ABORTED, Barrier, BarrierError, BreakCause, CAUSE, GENERATIONS, HISTORY_SHIFT, REMEMBERED, TIMED_OUT,
    WAITERS, arrived, generation,
};
use crate::fault::SyncFault;
use crate::patience::{Nap, Patience};
use procession_sys::cpu::Spin;
use procession_sys::{Deadline, crash_point, futex};
use std::sync::atomic::Ordering;

/// How long a waiter looks again and again before it sleeps: a sleep and a wake cost this much.
const SPIN_NS: u64 = 20_000;
const SPIN_CAP: u32 = 16;

/// One thread that waits.
pub(super) struct Waiter<'a> {
    barrier: &'a Barrier,
    deadline: Deadline,
    patience: Patience,
    spin: Spin,
    nap: Nap,
}

impl<'a> Waiter<'a> {
    pub(super) fn new(barrier: &'a Barrier, deadline: Deadline) -> Self {
        let (patience, spin) = (Patience::new(deadline), Spin::for_ns(SPIN_NS));
        Self { barrier, deadline, patience, spin, nap: Nap::Woken }
    }

    /// Waits until the generation, in which this thread has arrived, has ended.
    pub(super) fn wait_for_end(&mut self, mine: u64) -> Result<(), BarrierError> {
        loop {
            // SYNC: barrier.trip.
            let word = self.barrier.body.word.load(Ordering::Acquire);
            let broken = |cause| Err(BarrierError::Broken { cause });
            let behind = generation(word).wrapping_sub(mine) & GENERATIONS;
            if (behind != 0 || word & CAUSE != 0) && matches!(self.nap, Nap::Ask { .. }) {
                // Nobody woke this one: who ended it may have died before it woke anybody.
                futex::wake_all(futex::low_half(&self.barrier.body.word));
            }
            if behind == 0 && word & CAUSE != 0 {
                return broken(self.barrier.cause(word));
            }
            if behind > 0 {
                if behind > REMEMBERED || (word >> HISTORY_SHIFT >> (behind - 1)) & 1 != 0 {
                    return broken(BreakCause::Reset);
                }
                if behind == 1 && arrived(word) == 0 && word & CAUSE == ABORTED {
                    // Aborted before all had left.
                    return broken(BreakCause::Aborted);
                }
                return Ok(());
            }
            self.sleep(word)?;
        }
    }

    /// Sleeps for a slice, unless the deadline has passed: then the barrier is broken.
    pub(super) fn sleep(&mut self, word: u64) -> Result<(), BarrierError> {
        let (barrier, body) = (self.barrier, &self.barrier.body);
        if self.nap == Nap::TimedOut || self.deadline.has_passed() {
            return match barrier.change_from(word, word | TIMED_OUT) {
                Ok(()) => Err(BarrierError::TimedOut),
                Err(_) => Ok(()),
            };
        }
        if let Nap::Ask { survey } = self.nap {
            self.nap = Nap::Woken;
            if survey && body.segment().is_orphaned() {
                return Err(SyncFault::orphaned(body.segment()).into());
            }
            if arrived(word) == u64::from(barrier.parties) {
                barrier.find_dead_runner(word)?;
            }
            barrier.find_dead_member()?;
            return Ok(());
        }
        if word & WAITERS == 0 && self.spin.pause(SPIN_CAP) {
            return Ok(());
        }
        let announced = word | WAITERS;
        if body.word.compare_exchange(word, announced, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            crash_point("barrier.waiting");
            self.nap = self.patience.sleep(futex::low_half(&body.word), announced as u32, &body.asked);
            crash_point("barrier.slept");
        }
        Ok(())
    }
}
