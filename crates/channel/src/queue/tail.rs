//! The end at which producers put: held by one at a time, who writes beyond `tail` and then moves it.

use super::core::Core;
use super::error::PutError;
use crate::ring::{Mark, record_words};
use crate::waiter::Waiter;
use procession_sync::{Fault, Hold};
use procession_sys::atomic::{AtomicU32, Ordering};
use procession_sys::cpu::fence_after_rmw;
use procession_sys::{Deadline, clock, crash_point};
use std::marker::PhantomData;
use std::time::Duration;

/// A producer that has waited for so long starves.
const STARVED_AFTER_NS: u64 = 10_000_000;
/// What it said is of no interest after so long: it says it again at the end of each slice.
const STALE_MS: u32 = 300;
/// How long others let it go first.
const COURTESY: Duration = Duration::from_millis(1);

/// The tail, held; dropping it lets go, and wakes who waits for what was put.
pub(super) struct AtTail<'q> {
    pub(super) core: &'q Core,
    pub(super) hold: Hold,
    pub(super) tail: Mark,
    /// How much of the ring is used, at most.
    used: Mark,
    slept: bool,
    committed: bool,
    not_send: PhantomData<*const ()>,
}

impl Core {
    /// Puts one record.
    #[inline]
    pub(super) fn put(&self, payload: &[u8], deadline: Deadline) -> Result<(), PutError> {
        match self.words_for(payload.len()) {
            Some(words) => {
                self.let_the_starving_go_first(deadline);
                // Not by `at_tail`: to move what is so young from one place to another stalls for as long as
                // all else takes.
                let mut tail = AtTail::new(self, self.lock_tail(deadline)?, false);
                if !tail.has_room(words)? {
                    drop(tail);
                    tail = self.wait_at_tail(words, deadline)?;
                }
                tail.write(payload)?;
                tail.commit(Mark { words, items: 1 });
                Ok(())
            }
            None => self.put_spilled(payload, deadline),
        }
    }

    /// How many words a record with so much payload takes; `None` if it must be spilled.
    #[inline]
    pub(super) fn words_for(&self, payload: usize) -> Option<u32> {
        record_words(payload).filter(|&words| words <= self.ring.words())
    }

    /// Holds the tail, with room for a record of `words` words, before `deadline`.
    #[inline]
    pub(super) fn at_tail(&self, words: u32, deadline: Deadline) -> Result<AtTail<'_>, PutError> {
        self.let_the_starving_go_first(deadline);
        let mut tail = AtTail::new(self, self.lock_tail(deadline)?, false);
        if tail.has_room(words)? {
            return Ok(tail);
        }
        drop(tail);
        self.wait_at_tail(words, deadline)
    }

    /// The same, after a look that found no room.
    #[cold]
    fn wait_at_tail(&self, words: u32, deadline: Deadline) -> Result<AtTail<'_>, PutError> {
        let mut waiter = Waiter::new(&self.words.space, deadline);
        let mut hunger = Hunger::new(&self.words.starving);
        // Where the head was when this thread last passed a wake on that it could not use.
        let mut passed_on_at = None;
        loop {
            waiter
                .spin_or_wait(self.segment(), || self.has_room(words) || self.is_closed())
                .map_err(|stopped| self.no_put(stopped.into()))?;
            let mut tail = AtTail::new(self, self.lock_tail(deadline)?, waiter.has_slept());
            if tail.has_room(words)? {
                return Ok(tail);
            }
            if tail.slept {
                // There may be room for the smaller record of another. But only once for the same room: two
                // whose records are too large would wake each other for ever.
                let head = tail.tail.since(tail.used);
                tail.slept = passed_on_at.replace(head) != Some(head);
                hunger.grows();
            }
        }
    }

    /// If a producer says that it starves, gives it the time in which consumers make room, unless there is
    /// none.
    #[inline]
    fn let_the_starving_go_first(&self, deadline: Deadline) {
        // Relaxed: a hint.
        if self.words.starving.load(Ordering::Relaxed) != 0 {
            self.wait_for_the_starving(deadline);
        }
    }

    #[cold]
    fn wait_for_the_starving(&self, deadline: Deadline) {
        let starving = &self.words.starving;
        let said = starving.load(Ordering::Relaxed);
        if now_ms().wrapping_sub(said) > STALE_MS {
            // It has gone without a word. Failure means that somebody else starves now.
            let _: Result<u32, u32> =
                starving.compare_exchange(said, 0, Ordering::Relaxed, Ordering::Relaxed);
        } else if Deadline::after(COURTESY) < deadline {
            clock::nap(COURTESY);
        }
    }

    /// Looks how much consumers have taken; how much of the ring is used if this is the tail.
    #[inline(never)]
    fn used_before(&self, tail: Mark) -> Result<Mark, Fault> {
        // SYNC: queue.get.
        let head = self.words.head.load(Ordering::Acquire);
        self.words.head_seen.store(head, Ordering::Relaxed);
        let used = tail.since(Mark::from_bits(head));
        if used.words > self.ring.words() || used.items > used.words {
            return Err(self.corrupt("there is more in the ring than it can hold"));
        }
        Ok(used)
    }
}

/// What is in `starving`: never 0.
fn now_ms() -> u32 {
    clock::ms_of(clock::now_ns()) | 1
}

/// One producer that waits for room.
struct Hunger<'q> {
    starving: &'q AtomicU32,
    /// When it first slept and found no room, 0 if it has not.
    since_ns: u64,
    said: bool,
}

impl<'q> Hunger<'q> {
    fn new(starving: &'q AtomicU32) -> Self {
        Self { starving, since_ns: 0, said: false }
    }

    /// It slept, and there was no room.
    fn grows(&mut self) {
        let now_ns = clock::now_ns();
        if self.since_ns == 0 {
            self.since_ns = now_ns;
        } else if now_ns - self.since_ns > STARVED_AFTER_NS {
            self.starving.store(now_ms(), Ordering::Relaxed);
            self.said = true;
        }
    }
}

impl Drop for Hunger<'_> {
    fn drop(&mut self) {
        if self.said {
            // Others who starve will say so again.
            self.starving.store(0, Ordering::Relaxed);
        }
    }
}

impl<'q> AtTail<'q> {
    /// Of somebody who has just taken the lock.
    #[inline]
    fn new(core: &'q Core, hold: Hold, slept: bool) -> Self {
        // Relaxed: only holders of the lock write these two.
        let tail = Mark::from_bits(core.words.tail.load(Ordering::Relaxed));
        let used = tail.since(Mark::from_bits(core.words.head_seen.load(Ordering::Relaxed)));
        Self { core, hold, tail, used, slept, committed: false, not_send: PhantomData }
    }

    #[inline]
    fn has_room(&mut self, words: u32) -> Result<bool, PutError> {
        if self.core.words.closed.load(Ordering::Relaxed) != 0 {
            return Err(PutError::Closed(self.core.as_closed()));
        }
        if !self.core.fits(self.used, words) {
            self.look()?;
        }
        Ok(self.core.fits(self.used, words))
    }

    /// Looks how much consumers have taken.
    #[inline]
    pub(super) fn look(&mut self) -> Result<(), Fault> {
        // The call gets no reference to `self`, which stays in registers.
        self.used = self.core.used_before(self.tail)?;
        Ok(())
    }

    /// How many words and records there is room for.
    pub(super) fn room(&self) -> Mark {
        Mark {
            words: self.core.ring.words().saturating_sub(self.used.words),
            items: self.core.capacity.saturating_sub(self.used.items),
        }
    }

    /// Writes a record beyond the tail.
    #[inline]
    pub(super) fn write(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let written = self.core.ring.write(&self.core.words, self.tail, payload, false);
        if written { Ok(()) } else { Err(self.core.too_small()) }
    }

    /// Writes whole records beyond the tail.
    pub(super) fn write_records(&mut self, records: &[u8]) -> Result<(), Fault> {
        let written = self.core.ring.write_at(&self.core.words, self.tail, 0, records);
        if written { Ok(()) } else { Err(self.core.too_small()) }
    }

    /// Puts what was written: so many words and records.
    #[inline]
    pub(super) fn commit(&mut self, written: Mark) {
        crash_point("queue.put.written");
        // SYNC: queue.put.
        self.core.words.tail.store(self.tail.plus(written).to_bits(), Ordering::Release);
        crash_point("queue.put.committed");
        self.committed = true;
    }
}

impl Drop for AtTail<'_> {
    #[inline]
    fn drop(&mut self) {
        let shared = &*self.core.words;
        shared.put_lock.release(self.hold, true);
        crash_point("queue.put.released");
        // SYNC: eventcount.dekker. The release was a read-modify-write.
        fence_after_rmw();
        if self.committed {
            shared.items.notify_one();
        }
        if self.slept && !self.core.is_full() {
            // There is room for the next sleeper too, and its wake was held back for us.
            shared.space.notify_one();
        }
    }
}
