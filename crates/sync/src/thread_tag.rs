//! A number for each thread that holds or has held something: the answer to "would I wait for myself?".
//!
//! Owner ids are per process, so a lock word also carries the tag of the thread that took it, in the same CAS. Tags
//! tell apart the threads that are alive in one process; a thread gives its tag back when it ends. (A table of
//! holds in thread-local storage, the first design, costs a write on each acquire, for which the release's locked
//! instruction then waits: see docs/design/0001-lock.md.)
//!
//! There are [`TAGS`] of them. A thread beyond that has tag 0, and remembers what it holds in a list of its own.

use std::cell::{Cell, RefCell};
use std::sync::{Mutex, PoisonError};

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
        POOL.lock().unwrap_or_else(PoisonError::into_inner).returned.push(self.0);
    }
}

struct Pool {
    returned: Vec<u32>,
    next: u32,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { returned: Vec::new(), next: 1 });

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
    let tag = {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.returned.pop().unwrap_or_else(|| {
            let tag = if pool.next <= TAGS { pool.next } else { 0 };
            pool.next = (pool.next + 1).min(TAGS + 1);
            tag
        })
    };
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
