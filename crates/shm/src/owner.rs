//! Owner ids: who holds something, in one 64-bit word.

use std::fmt;

/// A process's place in its namespace's registry, and which occupant of that place it is: the identity that
/// claims things. Never a pid, which is used again, and means different processes in different containers.
///
/// Packed into a word it takes bits 0..16 (slot) and 32..64 (generation); bits 16..32 are left to the object.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerId(u64);

impl OwnerId {
    /// The bits an owner takes in a word.
    pub const MASK: u64 = 0xffff_ffff_0000_ffff;
    /// Slots are numbers below this.
    pub const MAX_SLOTS: u32 = 1 << 16;

    /// The occupant of `slot` (below [`MAX_SLOTS`](Self::MAX_SLOTS)) that is its `generation`-th.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self((slot as u64 | (generation as u64) << 32) & Self::MASK)
    }

    /// The slot in the registry.
    #[must_use]
    pub const fn slot(self) -> u32 {
        (self.0 & 0xffff) as u32
    }

    /// Which occupant of the slot; the first is 1.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The owner's bits.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The owner in a word that holds nothing else: what this process wrote about itself.
    #[inline]
    pub(crate) const fn from_own_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The owner in a word, whatever else is in it.
    #[inline]
    #[must_use]
    pub const fn from_bits(word: u64) -> Self {
        Self(word & Self::MASK)
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::OwnerId;

    #[test]
    fn an_owner_survives_packing_beside_other_bits() {
        for owner in [
            OwnerId::new(0, 1),
            OwnerId::new(OwnerId::MAX_SLOTS - 1, u32::MAX),
            OwnerId::new(77, 0x8000_0000),
        ] {
            assert_eq!(owner.to_bits() & !OwnerId::MASK, 0);
            assert_eq!(OwnerId::from_bits(owner.to_bits() | !OwnerId::MASK), owner);
            assert_eq!(OwnerId::new(owner.slot(), owner.generation()), owner);
        }
    }
}
