//! The end at which consumers get: held by one at a time, who copies out what is at `head` and then moves it.

use super::core::Core;
use super::ends::QueueEnd;
use super::error::{CloseError, GetError};
use super::slots::take_ours;
use crate::pipe_end::Passage;
use crate::ring::{Head, Mark, WORD};
use crate::underway::{self, Parcel};
use crate::waiter::Waiter;
use procession_shm::Spill;
use procession_sync::{Fault, Hold};
use procession_sys::atomic::Ordering;
use procession_sys::cpu::fence_after_rmw;
use procession_sys::{Deadline, crash_point};
use std::marker::PhantomData;

/// The head, held; dropping it lets go, and wakes who waits for the room that was made.
pub(super) struct AtHead<'q> {
    pub(super) core: &'q Core,
    pub(super) hold: Hold,
    pub(super) head: Mark,
    /// How much there is from the head on, at least.
    pub(super) there: Mark,
    slept: bool,
    committed: bool,
    not_send: PhantomData<*const ()>,
}

/// The message at the head: how long it is, and where it lies.
pub(super) enum First {
    /// In the ring, in this record.
    Here(Head),
    /// In a segment of its own; how many words its record takes.
    Spilled(Spill, u32),
}

impl Core {
    /// Takes the first message out, and the ends of pipes in it.
    #[inline]
    pub(super) fn get(&self, into: &mut Vec<u8>, deadline: Deadline) -> Result<Parcel, GetError> {
        // Not by `at_head`: see `put`.
        let mut head = AtHead::new(self, self.lock_head(deadline)?, false);
        if !head.has_message()? {
            drop(head);
            head = self.wait_at_head(deadline)?;
        }
        let record = head.record(Mark::default())?;
        into.clear();
        if record.spilled {
            return head.get_spilled(record, into);
        }
        if !self.ring.append(&self.words, head.head, record.len, into) {
            return Err(self.too_small().into());
        }
        let ends = if self.carries_ends() { self.adopt(underway::cut(into))? } else { Parcel::default() };
        head.commit(record.words, 1);
        Ok(ends)
    }

    /// Copies the first message out, and leaves it there.
    pub(super) fn peek(&self, into: &mut Vec<u8>) -> Result<(), GetError> {
        let mut head = self.at_head(Deadline::PASSED)?;
        into.clear();
        // The ends in it stay where they are.
        match head.first()? {
            First::Here(record) => {
                into.resize(record.len, 0);
                head.read(into)?;
                Ok(())
            }
            First::Spilled(spill, _) => {
                // Who is attached keeps it, whoever takes it meanwhile.
                drop(head);
                into.resize(spill.len(), 0);
                self.read_spill(&spill, into)
            }
        }
    }

    /// Takes the first message out into what `room` makes for its length, which may be too short: then the
    /// message stays. What it made, and the length.
    pub(super) fn get_as<B: AsMut<[u8]>>(
        &self,
        room: impl FnOnce(usize) -> B,
        deadline: Deadline,
    ) -> Result<(B, usize), GetError> {
        let mut head = self.at_head(deadline)?;
        let first = head.first()?;
        let needed = first.len();
        let mut lent = Lent(Some(head));
        let mut whole = room(needed);
        let into = whole.as_mut();
        let Some(mut head) = lent.ours()? else { return Err(self.inherited().into()) };
        let len = into.len();
        let too_short = || GetError::BufferTooShort { queue: self.segment().label(), needed, len };
        let into = into.get_mut(..needed).ok_or_else(too_short)?;
        match first {
            First::Here(record) => {
                head.read(into)?;
                head.commit(record.words, 1);
            }
            First::Spilled(spill, words) => {
                let spill = head.take(spill, words);
                drop(head);
                self.read_spill(&spill, into)?;
            }
        }
        Ok((whole, needed))
    }

    /// Throws away all that is there; how many messages that were.
    pub(super) fn discard(&self) -> Result<usize, CloseError> {
        let Some(hold) = self.lock_for_ever(QueueEnd::Head)? else { return Ok(0) };
        let mut head = AtHead::new(self, hold, false);
        head.look()?;
        let there = head.there;
        let (spills, ends) = head.all_referred_to();
        let ends = Parcel::adopt_sooner_or_later(ends);
        head.commit(there.words, there.items);
        drop(head);
        crash_point("queue.shutdown.discarded");
        drop(ends);
        spills.into_iter().for_each(|mut spill| spill.go());
        Ok(there.items as usize)
    }

    /// Holds the head, with a message there, before `deadline`.
    #[inline]
    pub(super) fn at_head(&self, deadline: Deadline) -> Result<AtHead<'_>, GetError> {
        let mut head = AtHead::new(self, self.lock_head(deadline)?, false);
        if head.has_message()? {
            return Ok(head);
        }
        drop(head);
        self.wait_at_head(deadline)
    }

    /// The same, after a look that found no message.
    #[cold]
    fn wait_at_head(&self, deadline: Deadline) -> Result<AtHead<'_>, GetError> {
        let mut waiter = Waiter::new(&self.words.items, deadline);
        loop {
            waiter
                .spin_or_wait(self.segment(), || !self.is_empty() || self.is_closed())
                .map_err(|stopped| self.no_get(stopped.into()))?;
            let mut head = AtHead::new(self, self.lock_head(deadline)?, waiter.has_slept());
            if head.has_message()? {
                return Ok(head);
            }
        }
    }

    /// Adopts the ends in a message that is about to be taken out: killed after it, this process is who they
    /// die with.
    #[inline]
    pub(super) fn adopt(&self, ends: Vec<Passage>) -> Result<Parcel, GetError> {
        Parcel::adopt(ends).map_err(|source| GetError::Spill { queue: self.segment().label(), source })
    }

    /// Looks how much producers have put; how much there is if this is the head.
    #[inline(never)]
    fn there_from(&self, head: Mark) -> Result<Mark, Fault> {
        // SYNC: queue.put.
        let tail = self.words.tail.load(Ordering::Acquire);
        self.words.tail_seen.store(tail, Ordering::Relaxed);
        let there = Mark::from_bits(tail).since(head);
        if there.words > self.ring.words() {
            return Err(self.corrupt("there is more in the ring than it can hold"));
        }
        Ok(there)
    }
}

/// Cuts the list of ends off a message in a spill.
pub(super) fn cut_spill(spill: &mut Spill) -> Vec<Passage> {
    list_in_spill(spill).map_or_else(Vec::new, |(len, ends)| {
        spill.truncate(len);
        ends
    })
}

fn ends_in(spill: &Spill) -> Vec<Passage> {
    list_in_spill(spill).map_or_else(Vec::new, |(_, ends)| ends)
}

fn list_in_spill(spill: &Spill) -> Option<(usize, Vec<Passage>)> {
    underway::list(spill.len(), |at, into| spill.copy_out(at, into))
}

impl First {
    /// How long the message is.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Here(record) => record.len,
            Self::Spilled(spill, _) => spill.len(),
        }
    }
}

/// The head while code of the user's runs. That may fork: then the child's copy takes nothing out, and lets nothing
/// go that its parent holds.
struct Lent<'q>(Option<AtHead<'q>>);

impl<'q> Lent<'q> {
    fn ours(&mut self) -> Result<Option<AtHead<'q>>, Fault> {
        take_ours(&mut self.0, |head| (head.core, head.hold))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        drop(self.ours());
    }
}

impl<'q> AtHead<'q> {
    /// Of somebody who has just taken the lock.
    #[inline]
    fn new(core: &'q Core, hold: Hold, slept: bool) -> Self {
        // Relaxed: only holders of the lock write these two.
        let head = Mark::from_bits(core.words.head.load(Ordering::Relaxed));
        let there = Mark::from_bits(core.words.tail_seen.load(Ordering::Relaxed)).since(head);
        Self { core, hold, head, there, slept, committed: false, not_send: PhantomData }
    }

    /// Whether there is a message; [`GetError::Closed`] if there never will be.
    #[inline]
    fn has_message(&mut self) -> Result<bool, GetError> {
        if self.there.words == 0 || self.there.words > self.core.ring.words() {
            // Before the tail: what was put before the queue was closed is seen by whoever sees it closed.
            let closed = self.core.is_closed();
            self.look()?;
            if self.there.words == 0 {
                return if closed { Err(GetError::Closed(self.core.as_closed())) } else { Ok(false) };
            }
        }
        Ok(true)
    }

    /// Looks how much producers have put.
    #[inline]
    pub(super) fn look(&mut self) -> Result<(), Fault> {
        // The call gets no reference to `self`, which stays in registers.
        self.there = self.core.there_from(self.head)?;
        Ok(())
    }

    /// The record that comes `skipped` behind the head.
    #[inline]
    pub(super) fn record(&self, skipped: Mark) -> Result<Head, Fault> {
        self.record_if_whole(skipped)
            .ok_or_else(|| self.core.corrupt("a message is longer than what is in the ring"))
    }

    /// The same, or `None` if it is no record.
    #[inline]
    pub(super) fn record_if_whole(&self, skipped: Mark) -> Option<Head> {
        let available = self.there.words.wrapping_sub(skipped.words);
        let record = self.core.ring.head(&self.core.words, self.head.plus(skipped), available);
        record.filter(|record| !record.continues)
    }

    /// The first message, without the list of the ends of pipes in it. If it was spilled and its file is gone
    /// or spoilt, its record is taken out: it is lost.
    #[inline]
    pub(super) fn first(&mut self) -> Result<First, GetError> {
        let mut record = self.record(Mark::default())?;
        if record.spilled {
            let mut spill = self.first_spilled(record)?;
            if self.core.carries_ends() {
                drop(cut_spill(&mut spill));
            }
            return Ok(First::Spilled(spill, record.words));
        }
        if let Some((len, _)) = self.list_in(&record, Mark::default()) {
            record.len = len;
        }
        Ok(First::Here(record))
    }

    /// The list of ends in a record in the ring that comes `skipped` behind the head, and how long its
    /// message is without it.
    #[inline]
    fn list_in(&self, record: &Head, skipped: Mark) -> Option<(usize, Vec<Passage>)> {
        if !self.core.carries_ends() {
            return None;
        }
        let first = WORD * (1 + skipped.words as usize);
        underway::list(record.len, |at, into| self.read_at(first + at, into).is_ok())
    }

    /// All spills that can be opened, and all ends of pipes.
    fn all_referred_to(&self) -> (Vec<Spill>, Vec<Passage>) {
        let (mut spills, mut ends) = (Vec::new(), Vec::new());
        let mut skipped = Mark::default();
        while skipped.words < self.there.words
            && let Ok(record) = self.record(skipped)
        {
            if record.spilled {
                let spill = self.open_spill(skipped).ok();
                let carrier = spill.as_ref().filter(|_| self.core.carries_ends());
                ends.extend(carrier.into_iter().flat_map(ends_in));
                spills.extend(spill);
            } else if let Some((_, found)) = self.list_in(&record, skipped) {
                ends.extend(found);
            }
            skipped = skipped.after_record(record.words);
        }
        (spills, ends)
    }

    /// Copies the payload of the record at the head out, as long as `into` is.
    #[inline]
    fn read(&self, into: &mut [u8]) -> Result<(), Fault> {
        self.read_at(WORD, into)
    }

    /// Copies out what comes `offset` bytes behind the head.
    #[inline]
    pub(super) fn read_at(&self, offset: usize, into: &mut [u8]) -> Result<(), Fault> {
        let read = self.core.ring.read_at(&self.core.words, self.head, offset, into);
        if read { Ok(()) } else { Err(self.core.too_small()) }
    }

    /// Takes so many words and records out.
    #[inline]
    pub(super) fn commit(&mut self, words: u32, items: u32) {
        crash_point("queue.get.copied");
        // SYNC: queue.get.
        let head = self.head.plus(Mark { words, items });
        self.core.words.head.store(head.to_bits(), Ordering::Release);
        crash_point("queue.get.committed");
        self.committed = true;
    }
}

impl Drop for AtHead<'_> {
    #[inline]
    fn drop(&mut self) {
        let shared = &*self.core.words;
        shared.get_lock.release(self.hold, true);
        crash_point("queue.get.released");
        // SYNC: eventcount.dekker. The release was a read-modify-write.
        fence_after_rmw();
        if self.committed {
            shared.space.notify_one();
        }
        if self.slept && !self.core.is_empty() {
            // There is something for the next sleeper too, and its wake was held back for us.
            shared.items.notify_one();
        }
    }
}
