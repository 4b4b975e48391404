//! Threads that ended while they held something: a table behind the registry's waits, with a bit for each
//! thread tag of each slot.
//!
//! | bit | meaning |
//! |---|---|
//! | 0 | the thread with this tag lives, or ended holding nothing, or there never was one |
//! | 1 | the thread with this tag of the slot's present occupant ended, and never gives up what stands under its name |
//!
//! # Who may change what
//! 0 → 1: the thread itself, when it ends. Nobody has its tag after it. 1 → 0: who takes the slot, before it
//! bumps the generation.
//!
//! # Orderings
//! Edge `ended.holds`: the Release that sets the bit meets the Acquire of who asks, so what the thread did
//! while it held is visible to who takes what it held. The bits are cleared before the generation is bumped
//! (Release), and the generation is loaded (Acquire) before a bit: nobody takes a bit of the slot's previous
//! occupant for one of the present one.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | before the bit is set | a dead process's holds | as any dead process's |
//! | after | the same, and a bit | as above; the next occupant of the slot clears the bit |
//! | taking a slot, after it cleared the bits | a dead occupant without bits, whose lifeline is free again | all of its holds are a dead process's |

use crate::owner::OwnerId;
use crate::registry::layout::{Row, TAGS};
use crate::registry::{Registration, Unknowable, registrations};
use procession_sys::crash_point;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the tag of a thread stands in a lock word.
const TAG_SHIFT: u32 = 16;
/// Says that the calling thread ends, and what stands under its `tag` in any lock word of this process is
/// never given up.
pub fn thread_ended(tag: u32) {
    for registration in registrations() {
        let Some(owner) = registration.current_owner() else { continue };
        if let Some((word, bit)) = registration.ended_bit(owner, tag.into()) {
            // SYNC: ended.holds.
            word.fetch_or(bit, Ordering::Release);
            crash_point("registry.thread_ended");
        }
    }
}

impl Registration {
    /// Whether nothing will ever be done any more under the name that stands in a lock word as `holder`: its
    /// process is gone, or its thread ended.
    ///
    /// # Errors
    /// [`Unknowable`]; then nothing may be taken from the holder.
    #[inline]
    pub fn is_gone(&self, holder: u64) -> Result<bool, Unknowable> {
        let owner = OwnerId::from_bits(holder);
        Ok(self.is_dead(owner)? || self.has_ended(owner, holder >> TAG_SHIFT & (TAGS - 1)))
    }

    fn has_ended(&self, owner: OwnerId, tag: u64) -> bool {
        // The generation first: see "Orderings". If it has moved on, the owner is dead.
        let is_occupant = self.generation_of(owner.slot()) == Some(owner.generation());
        // SYNC: ended.holds.
        let is_set = |(word, bit): (&AtomicU64, u64)| word.load(Ordering::Acquire) & bit != 0;
        is_occupant && self.ended_bit(owner, tag).is_some_and(is_set)
    }

    /// For who takes the slot, before it bumps the generation.
    pub(crate) fn forget_ended(&self, slot: u32) {
        for word in self.ended_row(slot).iter().flat_map(|row| &row.bits) {
            // Almost always it is 0, and its page is not touched.
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    fn ended_row(&self, slot: u32) -> Option<&Row> {
        self.ended_at(slot as usize * size_of::<Row>())
    }

    fn ended_bit(&self, owner: OwnerId, tag: u64) -> Option<(&AtomicU64, u64)> {
        let word = self.ended_row(owner.slot())?.bits.get(usize::try_from(tag / 64).ok()?)?;
        Some((word, 1 << (tag % 64)))
    }
}
