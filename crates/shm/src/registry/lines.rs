//! The lifelines of processes that are about to start.

use std::sync::atomic::{AtomicI32, Ordering};

/// The descriptors of the processes that this one is about to start, for those that are forked meanwhile:
/// numbers, and 0 for none. Changed under the registration lock alone, so that no fork sees half of a change.
pub(super) struct Lines(pub(super) [AtomicI32; LINES]);

/// How many starts at once a forked process knows of; the others it keeps, as a raw `clone` does.
const LINES: usize = 64;

impl Lines {
    pub(super) const fn none() -> Self {
        Self([const { AtomicI32::new(0) }; LINES])
    }

    pub(super) fn change(&self, from: i32, to: i32) {
        if let Some(cell) = self.0.iter().find(|cell| cell.load(Ordering::Relaxed) == from) {
            cell.store(to, Ordering::Relaxed);
        }
    }
}
