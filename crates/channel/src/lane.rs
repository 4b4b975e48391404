//! A one-way ring between one writer and one reader, without locks.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `tail` | the writer | words and records written; **its store commits a record** |
//! | `head` | the reader | words and records read; **its store gives their place back** |
//! | `data`, `room` | both | eventcounts: the reader sleeps on the first, the writer on the second |
//!
//! Messages longer than a part of the ring are cut into records that [continue](crate::ring): the first of
//! them announces the length of the message, the others are its parts, and the last one does not continue. A
//! continuing record without bytes retracts what was begun. The reader has a message when it has its last
//! part. There is one writer and one reader because their owner makes it so: the ends are not `Clone`.
//!
//! # Two rings
//! A lane may have a second, larger ring, which takes no memory until a message comes that is longer than a
//! part of the first, or until the writer has written as much as the larger one holds in messages that are
//! not short. Then the writer reserves it, and announces a message of no bytes: the record after that lies in
//! the larger ring, and so do all others. `tail` and `head` go on counting. Without memory for it the lane
//! stays where it is. What is gained is said in `docs/design/0006-two-rings.md`. Each side remembers in which
//! ring it is, so one handle has to be the writer, and one the reader, from first to last.
//!
//! # Orderings
//! Edges `lane.data` and `lane.room`: the Release store of `tail` (`head`) meets the other side's Acquire
//! load.
//!
//! # If a process dies
//! | killed | left behind |
//! |---|---|
//! | the writer, before the store of `tail` | nothing that anybody sees |
//! | the writer, in the middle of a long message | parts of a message that never ends; who knows of the death drops them |
//! | the writer, after it reserved the larger ring | its memory, as long as the object |
//! | the writer, after it announced the larger ring | nothing: no message was begun |
//! | the reader, before the store of `head` | the record is still there |

mod reader;
mod writer;

pub use reader::LaneReader;
pub use writer::LaneWriter;

use crate::ring::Ring;
use procession_sync::{EventCount, Nap, Patience, Stop, spin_until};
use procession_sys::atomic::{AtomicU64, Ordering, fence};
use procession_sys::{Deadline, shm_struct};
use std::ops::RangeInclusive;

/// Between two looks of a waiter that does not sleep yet.
const PAUSES: RangeInclusive<u32> = 1..=16;

shm_struct! {
    /// The words of a lane; its bytes lie elsewhere in the same body.
    pub struct Lane {
        tail: AtomicU64,
        tail_spare: [AtomicU64; 7],
        head: AtomicU64,
        head_spare: [AtomicU64; 7],
        data: EventCount,
        data_spare: [AtomicU64; 6],
        room: EventCount,
        room_spare: [AtomicU64; 6],
    }
}

/// Where the bytes of a lane lie in the body that the lane is in. They are the same for both ends.
#[derive(Clone, Copy, Debug)]
pub struct LaneRings {
    first: Ring,
    larger: Option<Ring>,
}

impl LaneRings {
    /// In `len` bytes, a power of two, at `offset` in the body.
    #[must_use]
    pub fn new(offset: usize, len: u32) -> Self {
        Self { first: Ring::new(offset, len / 8), larger: None }
    }

    /// And in a larger ring, which need not be reserved: where that lies, and how many bytes, a power of two,
    /// it has.
    #[must_use]
    pub fn with_larger(self, ring: Option<(usize, u32)>) -> Self {
        Self { larger: ring.map(|(offset, len)| Ring::new(offset, len / 8)), ..self }
    }
}

/// The other side wrote something impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring between two processes is corrupt")]
pub struct LaneCorrupt;

impl Lane {
    /// Wakes the reader, if it sleeps, after something was written.
    fn notify_data(&self) {
        // SYNC: eventcount.dekker.
        fence(Ordering::SeqCst);
        self.data.notify_one();
    }

    /// What the reader sleeps on.
    pub(crate) fn data(&self) -> &EventCount {
        &self.data
    }

    /// What the writer sleeps on.
    pub(crate) fn room(&self) -> &EventCount {
        &self.room
    }
}

/// Spins, then sleeps one slice at most; a new patience for the next wait if this one was rewarded.
fn await_change(bell: &EventCount, patience: &mut Patience, mut is_ready: impl FnMut() -> bool) {
    if spin_until(PAUSES, &mut is_ready) {
        *patience = Patience::new(Deadline::NEVER);
        return;
    }
    // No object that people know: nobody is shown the wait, and nothing interrupts it.
    let _: Result<Nap, Stop> = bell.wait(None, patience, is_ready, ());
}
