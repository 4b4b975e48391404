//! A number for each thread that holds or has held something: the answer to "would I wait for myself?".
//!
//! Owner ids are per process, so a lock word also carries the tag of the thread that took it, in the same CAS. Tags
//! tell apart the threads that are alive in one process; a thread gives its tag back when it ends. (A table of
//! holds in thread-local storage, the first design, costs a write on each acquire, for which the release's locked
//! instruction then waits: see docs/design/0001-lock.md.)
//!
//! There are [`TAGS`] of them. A thread beyond that has tag 0, and remembers what it holds in a list of its own.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many threads of a process can have a tag at a time.
const TAGS: u32 = 2047;
/// Where the tag stands in a lock word.
const SHIFT: u32 = 16;
/// The bits of the tag in a lock word.
pub(crate) const MASK: u32 = TAGS << SHIFT;
const UNKNOWN: u32 = u32::MAX;

thread_local! {
    /// This thread's tag, where it stands in a word. Without a destructor, because it is read on every acquire.
    static TAG: Cell<u32> = const { Cell::new(UNKNOWN) };
    /// Gives the tag back when the thread ends.
    static LEASE: RefCell<Option<Lease>> = const { RefCell::new(None) };
    /// What a thread without a tag holds.
    static HOLDS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Lease(u32);

impl Drop for Lease {
    fn drop(&mut self) {
        let (word, bit) = place(self.0);
        // Relaxed: a tag guards nothing; two threads with one tag can never be, because a bit is set by one alone.
        word.fetch_and(!bit, Ordering::Relaxed);
    }
}

/// A bit for each tag that a living thread has; the first is never given out. No lock, because a forked child would
/// inherit it held; it does inherit the tags of its parent's other threads, which nobody gives back there.
static TAKEN: [AtomicU64; 32] = {
    let mut words = [const { AtomicU64::new(0) }; 32];
    words[0] = AtomicU64::new(1);
    words
};

fn place(tag: u32) -> (&'static AtomicU64, u64) {
    (&TAKEN[(tag / 64 % 32) as usize], 1 << (tag % 64))
}

/// A tag that no living thread has.
fn take() -> Option<u32> {
    (0..=TAGS).find(|&tag| {
        let (word, bit) = place(tag);
        word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
    })
}

/// This thread's tag, where it stands in a lock word; 0 if there are too many threads.
#[inline]
pub(crate) fn current() -> u32 {
    match TAG.with(Cell::get) {
        UNKNOWN => assign(),
        tag => tag,
    }
}

#[cold]
fn assign() -> u32 {
    let tag = take().unwrap_or(0);
    // A thread that is already ending keeps the tag for good: it would have nobody to give it back.
    if tag != 0 {
        let _: Result<(), std::thread::AccessError> =
            LEASE.try_with(|lease| *lease.borrow_mut() = Some(Lease(tag)));
    }
    TAG.with(|cell| cell.set(tag << SHIFT));
    tag << SHIFT
}

/// Notes what a thread without a tag holds.
#[cold]
pub(crate) fn note(key: u64) {
    HOLDS.with_borrow_mut(|holds| holds.push(key));
}

/// Notes that a thread without a tag holds `key` once less.
#[cold]
pub(crate) fn forget(key: u64) {
    HOLDS.with_borrow_mut(|holds| {
        if let Some(index) = holds.iter().rposition(|&held| held == key) {
            holds.swap_remove(index);
        }
    });
}

/// Whether this thread, which has no tag, holds `key`.
pub(crate) fn holds(key: u64) -> bool {
    HOLDS.with_borrow(|holds| holds.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::{MASK, TAGS, current};
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    #[test]
    fn threads_alive_together_differ_and_tags_are_used_again() {
        let mine = current();
        assert!(mine == current() && mine != 0 && mine & !MASK == 0);
        for _ in 0..2 * TAGS / 32 {
            let together = Barrier::new(32);
            let tags: BTreeSet<u32> = std::thread::scope(|scope| {
                let tag = || {
                    let tag = current();
                    together.wait();
                    tag
                };
                let threads: Vec<_> = (0..32).map(|_| scope.spawn(tag)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(tags.len() == 32 && !tags.contains(&0) && !tags.contains(&mine));
        }
    }
}
