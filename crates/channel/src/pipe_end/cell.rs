//! The cell of an end: one word that says whose the end is.

use procession_shm::OwnerId;
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::shm_struct;

shm_struct! {
    /// Whose an end is.
    pub struct EndCell {
        /// An owner, what the end is to it, and which of its handles uses it.
        pub(super) word: AtomicU64,
        /// The pid of the owner that died, for people.
        pub(super) died: AtomicU32,
        reserved: AtomicU32,
        spare: [AtomicU64; 6],
    }
}

// What the end is to the owner in its word.
pub(super) const STATE: u64 = 7 << 16;
pub(super) const CARRIED: u64 = 1 << 16;
pub(super) const CLAIMED: u64 = 2 << 16;
pub(super) const CLOSED: u64 = 3 << 16;
pub(super) const DEAD: u64 = 4 << 16;
/// The handle that claimed it, 13 bits, so that two handles of one process are not taken for one another; of
/// an end that is carried, how often it changed hands or was sent off, so that what was found out about one
/// journey is not done to another.
pub(super) const HANDLE: u32 = 19;
pub(super) const HANDLES: u64 = 1 << 13;

impl EndCell {
    /// Its owner is nobody who can be asked about.
    pub(super) fn forget_owner(&self) {
        self.word.store(DEAD, Ordering::Relaxed);
    }
}

/// The word of an end that `owner` carries from now on, after it was `before`.
pub(super) fn carried_by(owner: OwnerId, before: u64) -> u64 {
    let times = (before >> HANDLE & (HANDLES - 1)).wrapping_add(1) % HANDLES;
    owner.to_bits() | CARRIED | times << HANDLE
}
