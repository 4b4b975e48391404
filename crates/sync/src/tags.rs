//! Numbers for the threads of a process: those that are taken, a bit for each.
//!
//! | bit | meaning |
//! |---|---|
//! | 0 | nobody has the tag |
//! | 1 | a thread has it, or one had it that ended holding something: then it stays taken |
//!
//! No lock, because a forked child would inherit it held. The child does inherit the tags of its parent's
//! other threads, which nobody gives back there.
//!
//! # Orderings
//! Edge `tags.again`: the Release of a thread that gives its tag back meets the Acquire of the next one that
//! takes it. So the next one sees every lock word as its predecessor left it, and never takes a hold that was
//! released for its own.

use procession_sys::atomic::{AtomicU64, Ordering};

/// How many threads of a process can have a tag at a time.
pub(crate) const TAGS: u32 = 2047;
/// Tag 0 is never given out.
const WORDS: usize = (TAGS as usize + 1) / 64;

pub(crate) struct Tags {
    taken: [AtomicU64; WORDS],
}

impl Tags {
    pub(crate) const fn new() -> Self {
        Self { taken: [const { AtomicU64::new(0) }; WORDS] }
    }

    /// A tag that no other thread has, if one is left.
    pub(crate) fn take(&self) -> Option<u32> {
        (1..=TAGS).find(|&tag| {
            let (word, bit) = self.place(tag);
            // SYNC: tags.again.
            word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Acquire) & bit == 0
        })
    }

    /// Lets another thread have the tag: nothing is held by it, and nothing will be.
    pub(crate) fn give_back(&self, tag: u32) {
        let (word, bit) = self.place(tag);
        // SYNC: tags.again.
        word.fetch_and(!bit, Ordering::Release);
    }

    fn place(&self, tag: u32) -> (&AtomicU64, u64) {
        (&self.taken[tag as usize / 64 % WORDS], 1 << (tag % 64))
    }
}
