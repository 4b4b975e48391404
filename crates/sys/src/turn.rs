//! A mutex for the threads of one process, whose waiters have deadlines.
//!
//! | word | meaning |
//! |---|---|
//! | 0 | free |
//! | 1 | taken |
//! | 2 | taken, and somebody may sleep on the word |
//!
//! The word is private memory: a process takes its threads with it when it dies. In a forked child a taken
//! turn stays taken for ever, so whoever keeps a `Turn` asks first whether it is its own.
//!
//! # Orderings
//! Edge `turn.handover`: the Release that ends a turn meets the Acquire of the next holder, so that it sees
//! what the last one wrote. Edge `turn.rests`: the Release that says that the holder rests meets the Acquire
//! of one who only tries, so that it gives up only after what the holder did before. The rest is Relaxed.
#![expect(unsafe_code, reason = "whose turn it is has the value to itself")]

use crate::clock::Deadline;
use crate::futex::{self, Waited};
use crate::interrupt;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const WANTED: u32 = 2;
/// How long one who only tries waits for a holder that is in the middle of something short.
const TRY_PATIENCE: Duration = Duration::from_millis(20);

/// Why a thread did not get its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// The deadline passed.
    TimedOut,
    /// A hook of this thread wanted the wait to end.
    Interrupted,
}

/// A value that the threads of this process use in turns.
#[derive(Debug)]
pub struct Turn<T> {
    word: AtomicU32,
    /// Whether the holder waits for something that may never come.
    resting: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `lock_until` gives the value to one thread at a time, which is all that `T: Send` asks for.
unsafe impl<T: Send> Sync for Turn<T> {}

/// A thread's turn; dropping it is a read-modify-write, and so on x86-64 a full fence.
#[derive(Debug)]
#[must_use = "dropping it ends the turn at once"]
pub struct TurnGuard<'a, T>(&'a Turn<T>);

impl<T> Turn<T> {
    /// A value that nobody uses yet.
    pub const fn new(value: T) -> Self {
        Self { word: AtomicU32::new(FREE), resting: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits for a turn until `deadline`. With [`Deadline::PASSED`] it gives up at once if the holder
    /// [rests](TurnGuard::rest), and otherwise waits for the moment that the holder needs.
    #[inline]
    ///
    /// # Errors
    /// [`NoTurn`].
    pub fn lock_until(&self, deadline: Deadline) -> Result<TurnGuard<'_, T>, NoTurn> {
        if !self.take() {
            self.wait(deadline)?;
        }
        Ok(TurnGuard(self))
    }

    #[inline]
    fn take(&self) -> bool {
        // SYNC: turn.handover.
        self.word.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn wait(&self, deadline: Deadline) -> Result<(), NoTurn> {
        if deadline == Deadline::PASSED {
            let patience = Deadline::after(TRY_PATIENCE);
            // A holder that rests may need for ever; any other one is in the middle of something short.
            // SYNC: turn.rests.
            while !self.resting.load(Ordering::Acquire) && !patience.has_passed() {
                if self.take() {
                    return Ok(());
                }
                std::thread::yield_now();
            }
            return Err(NoTurn::TimedOut);
        }
        // Whoever has slept leaves `WANTED` behind when it takes its turn: there may be others asleep.
        // SYNC: turn.handover.
        while self.word.swap(WANTED, Ordering::Acquire) != FREE {
            match futex::wait(&self.word, WANTED, interrupt::slice(deadline)) {
                Waited::Woken | Waited::Changed => {}
                Waited::Signaled | Waited::TimedOut => {
                    if deadline.has_passed() {
                        return Err(NoTurn::TimedOut);
                    }
                    if interrupt::is_wanted() {
                        return Err(NoTurn::Interrupted);
                    }
                }
            }
        }
        Ok(())
    }
}

impl<T> TurnGuard<'_, T> {
    /// Says whether the holder is about to wait for something that may never come.
    pub fn rest(&self, rests: bool) {
        // SYNC: turn.rests.
        self.0.resting.store(rests, Ordering::Release);
    }
}

impl<T> Deref for TurnGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: while the guard lives no other is made, and it gives out references as it is borrowed
        // itself.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for TurnGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: while the guard lives no other is made, and it is borrowed mutably itself.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for TurnGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SYNC: turn.handover.
        if self.0.word.swap(FREE, Ordering::Release) == WANTED {
            futex::wake(&self.0.word, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Turn;
    use crate::clock::Deadline;
    use std::time::Duration;

    #[test]
    fn threads_take_turns() {
        let turn = Turn::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        *turn.lock_until(Deadline::NEVER).unwrap() += 1;
                    }
                });
            }
        });
        assert_eq!(*turn.lock_until(Deadline::PASSED).unwrap(), 40_000);
    }

    #[test]
    fn a_waiter_gives_up_at_its_deadline_and_one_who_tries_does_not_wait_for_one_who_rests() {
        let turn = Turn::new(());
        let guard = turn.lock_until(Deadline::NEVER).unwrap();
        guard.rest(true);
        assert!(turn.lock_until(Deadline::PASSED).is_err());
        assert!(turn.lock_until(Deadline::after(Duration::from_millis(2))).is_err());
        guard.rest(false);
        drop(guard);
        assert!(turn.lock_until(Deadline::PASSED).is_ok());
    }
}
