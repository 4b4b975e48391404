//! A number for each thread that holds or has held something: the answer to "would I wait for myself?".
//!
//! Owner ids are per process, so a lock word also carries the tag of the thread that took it, in the same
//! CAS. Tags tell apart the threads of one process. (A table of holds in thread-local storage, the first
//! design, costs several writes on each acquire, for which the release's locked instruction then waits:
//! docs/design/0001-lock.md.)
//!
//! There are [`TAGS`] of them. A thread beyond that has tag 0, and remembers what it holds in a list of its
//! own.
//!
//! # If a thread ends
//! | it ended | its tag |
//! |---|---|
//! | holding nothing | is given to another thread (`tags.rs`) |
//! | holding something: a guard was forgotten | stays its own for ever, and the registry says that this thread ended: whoever waits for what it holds is told as of a dead process's hold |
//! | holding something, without a tag | has none: what it holds stays held until its process ends |
//!
//! "Ends" is after the destructors of all thread-locals, in which guards may still be dropped or acquired.
//! What little can run even later, in destructors of other keys of the C library, finds tag 0.
//!
//! Each thread counts what it holds, in thread-local storage: one write, which is measured to cost nothing,
//! where a list would.

use crate::tags::{TAGS, Tags};
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

/// The lowest bit of the tag in a lock word.
const SHIFT: u32 = 16;
/// The bits of the tag in a lock word.
pub(crate) const MASK: u32 = TAGS << SHIFT;
const UNKNOWN: u32 = u32::MAX;

static ALL: Tags = Tags::new();

// None of them has a destructor: they are used on every acquire, and in the destructors of other
// thread-locals.
thread_local! {
    /// This thread's tag, where it stands in a word.
    static TAG: Cell<u32> = const { Cell::new(UNKNOWN) };
    /// How many lock words and cells this thread holds.
    static HELD: Cell<u32> = const { Cell::new(0) };
    /// The holds of a thread without a tag.
    static HOLDS: ManuallyDrop<RefCell<Vec<u64>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// This thread's tag, where it stands in a lock word; 0 if there are too many threads.
#[inline]
pub(crate) fn current() -> u32 {
    match TAG.get() {
        UNKNOWN => assign(),
        tag => tag,
    }
}

#[cold]
fn assign() -> u32 {
    let tag = ALL.take().unwrap_or(0);
    // Where nothing can run at the end of a thread, tags are never given back, and the list's memory is lost.
    let _: bool = procession_sys::at_thread_end(end);
    TAG.set(tag << SHIFT);
    tag << SHIFT
}

/// Gives the thread's tag back when the thread ends, or says that it ended while it held something.
fn end() {
    let tag = TAG.replace(0) >> SHIFT;
    drop(HOLDS.with(|holds| holds.take()));
    match (tag, HELD.get()) {
        (0, _) => {}
        (tag, 0) => ALL.give_back(tag),
        // The tag stays this thread's for ever: words name it, and must not mean another thread.
        (tag, _) => procession_shm::thread_ended(tag),
    }
}

/// Counts one more lock word, or cell, that this thread holds.
#[inline]
pub(crate) fn took() {
    HELD.set(HELD.get().wrapping_add(1));
}

/// Counts one lock word, or cell, less.
#[inline]
pub(crate) fn gave() {
    HELD.set(HELD.get().wrapping_sub(1));
}

/// How many locks this thread holds.
#[must_use]
pub fn held_by_this_thread() -> u32 {
    HELD.get()
}

/// Notes what a thread without a tag holds.
#[cold]
pub(crate) fn note(key: u64) {
    HOLDS.with(|holds| holds.borrow_mut().push(key));
}

/// Notes that a thread without a tag holds `key` once less.
#[cold]
pub(crate) fn forget(key: u64) {
    HOLDS.with(|holds| {
        let mut holds = holds.borrow_mut();
        if let Some(index) = holds.iter().rposition(|&held| held == key) {
            holds.swap_remove(index);
        }
    });
}

/// Whether this thread, which has no tag, holds `key`.
pub(crate) fn holds(key: u64) -> bool {
    HOLDS.with(|holds| holds.borrow().contains(&key))
}

#[cfg(test)]
mod tests {
    use super::{MASK, TAGS, current, gave, took};
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
                    took();
                    together.wait();
                    gave();
                    tag
                };
                let threads: Vec<_> = (0..32).map(|_| scope.spawn(tag)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(tags.len() == 32 && !tags.contains(&0) && !tags.contains(&mine));
        }
    }

    #[test]
    fn a_tag_under_which_something_is_held_is_nobody_elses() {
        let forgetful = std::thread::spawn(|| {
            took();
            current()
        });
        let forgotten = forgetful.join().unwrap();
        for _ in 0..100 {
            assert_ne!(std::thread::spawn(current).join().unwrap(), forgotten);
        }
    }
}
