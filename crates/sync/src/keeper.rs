//! What every object with a lock word inside does to claim it for a thread: asks whether the thread would
//! wait for itself, acquires, turns failures into [`LockError`], and leaves guards inert in a forked child.

use crate::LockError;
use crate::hold::Hold;
use crate::holder::HeldBy;
use crate::lock_word::{AcquireError, Claim, LockWord};
use crate::thread_tag;
use procession_shm::{Myself, Segment};
use procession_sys::Deadline;

/// Claims one lock word of one segment for the threads of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeper {
    myself: Myself,
    /// Which lock it is, for the list of threads without a tag.
    key: u64,
}

impl Keeper {
    pub(crate) fn new(segment: &Segment) -> Self {
        Self { myself: segment.registration().myself(), key: segment.header().instance.low() }
    }

    /// What the list of threads without a tag calls the `index`-th cell of the object.
    pub(crate) fn key_of(self, index: usize) -> u64 {
        self.key ^ (index as u64 + 1) << 40
    }

    /// What this thread's hold looks like; `None` in a forked child that has done nothing yet.
    #[inline]
    pub(crate) fn hold(self) -> Option<Hold> {
        self.myself.owner().map(Hold::of_this_thread)
    }

    /// Whether this very thread, whose hold is `me`, holds `word`.
    pub(crate) fn holds(self, word: &LockWord, me: Hold) -> bool {
        if me.names_the_thread() { word.is_held_by(me) } else { thread_tag::holds(self.key) }
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
    pub(crate) fn is_mine(self, me: Hold) -> bool {
        self.myself.owner() == Some(me.owner())
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
        let me = match self.hold() {
            Some(me) if word.try_acquire_clean(me) => me,
            me => self.claim_contended(me, word, segment, claim, deadline)?,
        };
        if !me.names_the_thread() {
            thread_tag::note(self.key);
        }
        Ok(me)
    }

    #[cold]
    fn claim_contended(
        self,
        me: Option<Hold>,
        word: &LockWord,
        segment: &Segment,
        claim: Claim,
        deadline: Deadline,
    ) -> Result<Hold, LockError> {
        if me.is_some_and(|me| self.holds(word, me)) {
            return Err(held_already(HeldBy::of_word(word, segment), deadline));
        }
        word.acquire(segment, claim, deadline).map_err(|error| explain(error, word, segment, deadline))
    }

    /// Releases `word`, which `me` holds; `whole` says whether what it guards is: otherwise a panic is under
    /// way.
    #[inline]
    pub(crate) fn release(self, word: &LockWord, me: Hold, whole: bool) {
        if !me.names_the_thread() {
            thread_tag::forget(self.key);
        }
        if whole { word.release(me, true) } else { word.release_in_panic(me) }
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
        AcquireError::OwnerDied { pid, end } => LockError::OwnerDied { object, pid, end },
        AcquireError::Deadlock => LockError::Deadlock { object, is_own: false },
        AcquireError::Interrupted => LockError::Interrupted { object },
        AcquireError::Fault(fault) => LockError::Fault(fault),
    }
}

/// What a thread is told that asks for what it holds: a try would block, and any other wait would never end.
pub(crate) fn held_already(held: HeldBy, deadline: Deadline) -> LockError {
    if deadline == Deadline::PASSED {
        return LockError::WouldBlock(held);
    }
    LockError::Deadlock { object: held.object().clone(), is_own: true }
}

/// What somebody is told who does not wait any longer, or never did.
pub(crate) fn too_late(held: HeldBy, deadline: Deadline) -> LockError {
    if deadline == Deadline::PASSED { LockError::WouldBlock(held) } else { LockError::TimedOut(held) }
}
