//! What this thread holds: the answer to "would I wait for myself?".
//!
//! Owner ids are per process, so the segment cannot tell two threads of a process apart. Each hold is noted in the
//! thread that took it, under a key that is the same for all handles of one object.

use std::cell::{Cell, RefCell};

const NEAR: usize = 16;

thread_local! {
    /// The first holds, without a destructor: this is on the path of every acquire.
    static HOLDS: (Cell<usize>, [Cell<u64>; NEAR]) = const { (Cell::new(0), [const { Cell::new(0) }; NEAR]) };
    /// What does not fit there.
    static MORE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Notes that this thread holds `key`.
#[inline]
pub(crate) fn note(key: u64) {
    HOLDS.with(|(len, keys)| match keys.get(len.get()) {
        Some(cell) => {
            cell.set(key);
            len.set(len.get() + 1);
        }
        None => MORE.with_borrow_mut(|more| more.push(key)),
    });
}

/// Notes that this thread holds `key` once less.
#[inline]
pub(crate) fn forget(key: u64) {
    HOLDS.with(|(len, keys)| {
        let held = &keys[..len.get().min(NEAR)];
        match held.iter().rposition(|cell| cell.get() == key) {
            Some(index) => {
                let last = held.len() - 1;
                held[index].set(held[last].get());
                len.set(last);
            }
            None => MORE.with_borrow_mut(|more| {
                if let Some(index) = more.iter().rposition(|&held| held == key) {
                    more.swap_remove(index);
                }
            }),
        }
    });
}

/// Whether this thread holds `key`.
pub(crate) fn has(key: u64) -> bool {
    HOLDS.with(|(len, keys)| keys[..len.get().min(NEAR)].iter().any(|cell| cell.get() == key))
        || MORE.with_borrow(|more| more.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::{NEAR, forget, has, note};

    #[test]
    fn holds_are_found_until_forgotten_also_beyond_the_near_ones() {
        let count = NEAR as u64 * 2;
        (1..=count).for_each(note);
        assert!((1..=count).all(has) && !has(count + 1));
        (1..=count).step_by(2).for_each(forget);
        assert!((1..=count).all(|key| has(key) == key.is_multiple_of(2)));
        (2..=count).step_by(2).for_each(forget);
        assert!(!(1..=count).any(has));
    }
}
