//! The layout of a registry: the hints, the slots, the table of waits, the table of threads that ended.

use crate::header::{HEADER_LEN, SLOT_LEN};
use procession_sys::shm_struct;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

pub(crate) const NAME_LEN: usize = 48;
/// Where a sweep goes on reading the directory; the hint where to look for a free slot lies before it.
pub(crate) const SWEEP_OFFSET: usize = HEADER_LEN + 8;
/// The slots begin on a page of their own behind the header and the hints.
pub(crate) const SLOTS_OFFSET: usize = HEADER_LEN + 64;

shm_struct! {
    /// The slot of a process.
    pub(crate) struct Slot {
        pub(crate) generation: AtomicU32,
        pub(crate) pid: AtomicU32,
        /// The pid of the occupant before, for people who ask who died.
        pub(crate) previous_pid: AtomicU32,
        pub(crate) reserved: AtomicU32,
        /// When it registered, in nanoseconds since the epoch.
        pub(crate) registered_ns: AtomicU64,
        pub(crate) name_len: AtomicU32,
        pub(crate) reserved_too: AtomicU32,
        pub(crate) name: [AtomicU8; NAME_LEN],
        /// The ward of the occupant (`ward.rs`): its generation (high half) and the ward's pid; 0 for none.
        pub(crate) ward: AtomicU64,
        /// Its generation (high half) and the low half of when the ward began, in ticks since the machine was
        /// started; that half is 0 if it is not known.
        pub(crate) ward_start: AtomicU64,
        /// In which pid namespace the ward has that pid.
        pub(crate) ward_space: AtomicU64,
        pub(crate) spare: [AtomicU64; 3],
    }
}

const _: () = assert!(size_of::<Slot>() == SLOT_LEN, "the fingerprint of the layout knows another length");

/// The number of cells of the table of waits of which a thread may take one.
pub(crate) const REACH: usize = 32;

shm_struct! {
    /// The head of the table of waits, before its cells.
    pub(crate) struct Head {
        pub(crate) tick: AtomicU64,
        pub(crate) spare: [AtomicU64; 7],
    }
}

shm_struct! {
    /// The cell of a thread that waits.
    pub(crate) struct Cell {
        /// The process and thread that wait, as they stand in a lock word.
        pub(crate) waiter: AtomicU64,
        /// When the wait was shown, in ticks; 0 while the cell is not whole.
        pub(crate) began: AtomicU64,
        pub(crate) object: [AtomicU64; 2],
        /// The thread that was seen to hold the object, as in a lock word; 0 if that is not known.
        pub(crate) holder: AtomicU64,
        pub(crate) seen: AtomicU64,
        /// When the wait began, monotonic, for people.
        pub(crate) since_ns: AtomicU64,
        pub(crate) tid: AtomicU32,
        pub(crate) what: AtomicU32,
    }
}

/// How many cells the table of a registry with so many slots has.
pub(crate) const fn cells(slots: u32) -> usize {
    let wanted = (slots as usize * 4).next_power_of_two();
    if wanted < REACH { REACH } else { wanted }
}

/// How many bytes the table takes behind the slots.
pub(crate) const fn waits_len(slots: u32) -> usize {
    size_of::<Head>() + cells(slots) * size_of::<Cell>()
}

/// How many words of bits a slot has in the table of threads that ended.
const WORDS: usize = 32;
/// How many tags a slot has bits for.
pub(crate) const TAGS: u64 = WORDS as u64 * 64;

shm_struct! {
    /// The threads of one slot's occupant.
    pub(crate) struct Row {
        pub(crate) bits: [AtomicU64; WORDS],
    }
}

/// How many bytes the table takes behind the table of waits.
pub(crate) const fn ended_len(slots: u32) -> usize {
    slots as usize * size_of::<Row>()
}

/// How long the file of a registry with so many slots is.
pub(crate) fn registry_len(slots: u32) -> usize {
    SLOTS_OFFSET + slots as usize * SLOT_LEN + waits_len(slots) + ended_len(slots)
}
