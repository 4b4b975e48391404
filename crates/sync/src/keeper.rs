//! The keeper of an object claims its lock word for threads of this process and releases it: it asks whether
//! a thread would wait for itself, turns failures into [`LockError`], and leaves guards inert in a forked
//! child.

use crate::held_by::HeldBy;
use crate::hold::Hold;
use crate::lock_error::LockError;
use crate::lock_word::{AcquireError, Claim, LockWord};
use crate::patience::Patience;
#[cfg(feature = "async")]
use crate::{fault::Fault, thread_tag};
use procession_shm::{Myself, OwnerId, Segment};
use procession_sys::Deadline;

/// Claims one lock word of one segment for the threads of this process.
#[derive(Clone, Copy, Debug)]
pub struct Keeper {
    myself: Myself,
    /// Which lock it is, for the list of threads without a tag.
    key: u64,
}

impl Keeper {
    /// The keeper of the lock word of the object in this segment.
    #[must_use]
    pub fn new(segment: &Segment) -> Self {
        Self { myself: segment.registration().myself(), key: segment.header().instance.low() }
    }

    /// The keeper of the lock word of an object so many bytes behind the first of its group.
    pub(crate) fn of_cell(segment: &Segment, offset: usize) -> Self {
        let first = Self::new(segment);
        Self { key: first.key.wrapping_add(offset as u64), ..first }
    }

    /// The key of the `index`-th cell of the object in the list of threads without a tag.
    pub(crate) fn key_of(self, index: usize) -> u64 {
        self.key ^ (index as u64 + 1) << 40
    }

    /// This process's id; `None` in a forked child that has done nothing yet.
    #[inline]
    pub(crate) fn owner(self) -> Option<OwnerId> {
        self.myself.owner()
    }

    /// The hold that this thread has, or would have; `None` in a forked child that has done nothing yet.
    #[inline]
    pub(crate) fn hold(self) -> Option<Hold> {
        self.myself.owner().map(Hold::of_this_thread)
    }

    /// Whether this very thread, whose hold is `me`, holds `word`.
    pub(crate) fn holds(self, word: &LockWord, me: Hold) -> bool {
        word.is_held_as(me) && me.is_this_threads(self.key)
    }

    /// This thread's hold of `word`, for who has no guard of it.
    ///
    /// # Errors
    /// [`LockError::NotHeld`].
    pub(crate) fn must_hold(self, word: &LockWord, segment: &Segment) -> Result<Hold, LockError> {
        let mine = self.hold().filter(|&me| self.holds(word, me));
        mine.ok_or_else(|| LockError::NotHeld { object: segment.label() })
    }

    /// Whether a guard made for `me` belongs to this process, and is not the copy in a forked child.
    #[inline]
    pub fn is_mine(self, me: Hold) -> bool {
        self.myself.owner() == Some(me.owner())
    }

    /// Takes `word` if it is free and nobody waits for it: one CAS, and the whole of an uncontended acquire.
    #[inline]
    pub fn try_claim(self, word: &LockWord) -> Option<Hold> {
        let me = self.hold().filter(|&me| word.try_acquire_clean(me))?;
        me.note(self.key);
        Some(me)
    }

    /// Acquires `word` before `deadline`.
    #[inline]
    pub(crate) fn claim(
        self,
        word: &LockWord,
        segment: &Segment,
        claim: Claim,
        deadline: Deadline,
    ) -> Result<Hold, LockError> {
        match self.try_claim(word) {
            Some(me) => Ok(me),
            None => self.claim_contended(word, segment, claim, deadline),
        }
    }

    /// Acquires `word`, which was not to be had at once, before `deadline`.
    ///
    /// # Errors
    /// Those of [`LockError`].
    #[cold]
    pub fn claim_contended(
        self,
        word: &LockWord,
        segment: &Segment,
        claim: Claim,
        deadline: Deadline,
    ) -> Result<Hold, LockError> {
        self.claim_within(word, segment, claim, deadline, &mut Patience::new(deadline))
    }

    /// Acquires `word` before `until`, in one of several attempts that make one wait with `patience`.
    ///
    /// # Errors
    /// `TimedOut`, or `WouldBlock` if the whole wait is a try, may come later than `until` by a slice.
    #[cold]
    pub(crate) fn claim_within(
        self,
        word: &LockWord,
        segment: &Segment,
        claim: Claim,
        until: Deadline,
        patience: &mut Patience,
    ) -> Result<Hold, LockError> {
        let deadline = patience.deadline();
        // The thread would wait for itself. Only here: who gets the word at once did not hold it.
        if self.hold().is_some_and(|me| self.holds(word, me)) {
            return Err(held_already(HeldBy::of_word(word, segment), deadline));
        }
        let me = word
            .acquire_within(segment, claim, until, patience)
            .map_err(|error| explain(error, word, segment, deadline))?;
        me.note(self.key);
        Ok(me)
    }

    /// Takes `word`, if nobody holds it, for the process itself: the hold belongs to none of its threads.
    #[cfg(feature = "async")]
    pub(crate) fn try_claim_for_process(
        self,
        word: &LockWord,
        segment: &Segment,
        claim: Claim,
    ) -> Result<Hold, LockError> {
        let me = Hold::of_process(Fault::or_owner(segment)?);
        word.try_acquire_as(segment, me, claim)
            .map_err(|error| explain(error, word, segment, Deadline::PASSED))?;
        // The word has counted it for this thread, which does not hold it.
        thread_tag::gave();
        Ok(me)
    }

    /// Releases `word`, which the process holds as `me`; `whole` as in [`release`](Self::release).
    #[cfg(feature = "async")]
    pub(crate) fn release_for_process(self, word: &LockWord, me: Hold, whole: bool) {
        if self.is_mine(me) {
            // The word counts it off.
            thread_tag::took();
            if whole { word.release(me, true) } else { word.release_in_panic(me) }
        }
    }

    /// The key of the object's lock word in the list of threads without a tag.
    pub(crate) fn key(self) -> u64 {
        self.key
    }

    /// Releases `word`, which `me` holds, if nobody waits for it, no panic is under way, and there is nothing
    /// else to think of; then one CAS is all.
    #[inline]
    pub(crate) fn try_release(self, word: &LockWord, me: Hold) -> bool {
        !std::thread::panicking() && me.names_the_thread() && self.is_mine(me) && word.try_release_clean(me)
    }

    /// Releases `word`, which `me` holds; `whole` says whether what it guards is. Otherwise something was
    /// given up in the middle, by a panic above all: the next to come is told as of a death. Of a hold that a forked
    /// child has a copy of, that child releases nothing.
    #[inline]
    pub fn release(self, word: &LockWord, me: Hold, whole: bool) {
        if self.is_mine(me) {
            me.forget(self.key);
            if whole { word.release(me, true) } else { word.release_in_panic(me) }
        }
    }
}

/// Whether a panic was under way when something was acquired: that one is none of its guard's business.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panics {
    before: bool,
}

impl Panics {
    #[inline]
    pub(crate) fn now() -> Self {
        Self { before: std::thread::panicking() }
    }

    /// Whether a panic is under way that began since.
    #[inline]
    pub(crate) fn has_begun(self) -> bool {
        std::thread::panicking() && !self.before
    }
}

/// The failure for people, with the object's name and its holder.
fn explain(error: AcquireError, word: &LockWord, segment: &Segment, deadline: Deadline) -> LockError {
    let object = segment.label();
    match error {
        AcquireError::TimedOut => too_late(HeldBy::of_word(word, segment), deadline),
        AcquireError::OwnerDied { pid, end } => {
            #[cfg(feature = "tracing")]
            tracing::warn!(object = %object, pid, "holder died");
            LockError::OwnerDied { object, pid, end }
        }
        AcquireError::Deadlock => LockError::Deadlock { object, is_own: false },
        AcquireError::Interrupted => LockError::Interrupted { object },
        AcquireError::Fault(fault) => LockError::Fault(fault),
    }
}

/// The error for a thread that asks for what it holds: a try would block, any other wait would never end.
pub(crate) fn held_already(held: HeldBy, deadline: Deadline) -> LockError {
    if deadline == Deadline::PASSED {
        return LockError::WouldBlock(held);
    }
    LockError::Deadlock { object: held.object().clone(), is_own: true }
}

/// The error at the end of the time, or of a try.
pub(crate) fn too_late(held: HeldBy, deadline: Deadline) -> LockError {
    if deadline == Deadline::PASSED { LockError::WouldBlock(held) } else { LockError::TimedOut(held) }
}
