//! A hold is a process and one of its threads, as they stand in a lock word or in a reader's cell while that
//! thread holds it.

use crate::thread_tag;
use procession_shm::OwnerId;

/// Somebody holds it.
pub(crate) const OWNED: u64 = 1 << 29;
const THREAD: u64 = thread_tag::MASK as u64;

/// One thread's hold: what stands in the word while that thread owns the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold(u64);

impl Hold {
    pub(crate) const MASK: u64 = OWNED | OwnerId::MASK | THREAD;

    /// The hold that this thread of the process `me` can have.
    #[inline]
    #[must_use]
    pub fn of_this_thread(me: OwnerId) -> Self {
        Self(me.to_bits() | OWNED | u64::from(thread_tag::current()))
    }

    /// The hold that the process `me` itself can have, whatever its threads do: for one that moves between
    /// them.
    #[cfg(feature = "async")]
    pub(crate) fn of_process(me: OwnerId) -> Self {
        Self(me.to_bits() | OWNED)
    }

    /// The process.
    #[inline]
    #[must_use]
    pub fn owner(self) -> OwnerId {
        OwnerId::from_bits(self.0)
    }

    /// How this thread is named in the table of waits.
    pub(crate) fn as_waiter(self) -> u64 {
        self.0 & (OwnerId::MASK | THREAD)
    }

    /// The hold's bits, as they stand in a word.
    #[inline]
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Whether the word alone tells this thread from the others of its process.
    #[inline]
    #[must_use]
    pub fn names_the_thread(self) -> bool {
        self.0 & THREAD != 0
    }

    /// Notes that this thread holds what is called `key`, where the word cannot say which thread does.
    #[inline]
    pub(crate) fn note(self, key: u64) {
        if !self.names_the_thread() {
            thread_tag::note(key);
        }
    }

    /// Takes one [`note`](Self::note) back.
    #[inline]
    pub(crate) fn forget(self, key: u64) {
        if !self.names_the_thread() {
            thread_tag::forget(key);
        }
    }

    /// Whether it is this thread's hold, and no other thread's of its process, that stands in the word of
    /// what is called `key`.
    pub(crate) fn is_this_threads(self, key: u64) -> bool {
        self.names_the_thread() || thread_tag::holds(key)
    }
}

/// The holder in a lock word, as the table of waits names threads; 0 for nobody it could name.
#[must_use]
pub(crate) fn holder_in(word: u64) -> u64 {
    if word & OWNED != 0 && word & THREAD != 0 { word & (OwnerId::MASK | THREAD) } else { 0 }
}
