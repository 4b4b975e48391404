//! Owner ids: who holds something, in one 64-bit word.

use std::fmt;

/// A process's place in its namespace's registry, and which occupant of that place it is: the identity that
/// claims things. Never a pid, which is used again, and means different processes in different containers.
///
/// Packed into a word it takes bits 0..24 (slot) and 32..64 (generation); bits 24..32 are left to the object.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerId {
    /// The slot in the registry.
    pub slot: u32,
    /// Which occupant of the slot; the first is 1.
    pub generation: u32,
}

impl OwnerId {
    /// The bits an owner takes in a word.
    pub const MASK: u64 = 0xffff_ffff_00ff_ffff;
    /// Slots are numbers below this.
    pub const MAX_SLOTS: u32 = 1 << 24;

    /// The owner's bits.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.slot as u64 | (self.generation as u64) << 32
    }

    /// The owner in a word, whatever else is in it.
    #[inline]
    #[must_use]
    pub const fn from_bits(word: u64) -> Self {
        Self { slot: (word & 0x00ff_ffff) as u32, generation: (word >> 32) as u32 }
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::OwnerId;

    #[test]
    fn an_owner_survives_packing_beside_other_bits() {
        for owner in [
            OwnerId { slot: 0, generation: 1 },
            OwnerId { slot: OwnerId::MAX_SLOTS - 1, generation: u32::MAX },
            OwnerId { slot: 77, generation: 0x8000_0000 },
        ] {
            assert_eq!(owner.to_bits() & !OwnerId::MASK, 0);
            assert_eq!(OwnerId::from_bits(owner.to_bits() | !OwnerId::MASK), owner);
        }
    }
}
