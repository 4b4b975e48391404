//! As `procession_shm`: who a process is, and whether another is dead.

use crate::kernel;

/// As `procession_shm::OwnerId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerId(u64);

impl OwnerId {
    /// As there.
    pub const MASK: u64 = 0xffff_ffff_0000_ffff;

    /// The first occupant of a slot.
    pub const fn of_slot(slot: u32) -> Self {
        Self(slot as u64 | 1 << 32)
    }

    /// As there.
    pub const fn slot(self) -> u32 {
        (self.0 & 0xffff) as u32
    }

    /// As there.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// As there.
    pub const fn from_bits(word: u64) -> Self {
        Self(word & Self::MASK)
    }
}

/// As `procession_shm::Unknowable`; never happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknowable {}

/// As `procession_shm::OpenError`; never happens.
#[derive(Debug)]
pub enum OpenError {}

/// A process of a model, as what it has attached.
#[derive(Clone, Copy, Debug)]
pub struct Segment(Registration);

impl Segment {
    /// Of the process in `slot`.
    pub const fn of_process(slot: u32) -> Self {
        Self(Registration { slot })
    }

    /// As there.
    pub fn registration(&self) -> &Registration {
        &self.0
    }

    /// Never.
    pub fn is_orphaned(&self) -> bool {
        false
    }
}

/// As `procession_shm::Registration`.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    slot: u32,
}

impl Registration {
    /// As there.
    pub fn current_owner(&self) -> Option<OwnerId> {
        Some(OwnerId::of_slot(self.slot))
    }

    /// As there.
    pub fn owner(&self) -> Result<OwnerId, OpenError> {
        Ok(OwnerId::of_slot(self.slot))
    }

    /// As there.
    pub fn is_dead(&self, owner: OwnerId) -> Result<bool, Unknowable> {
        Ok(owner.slot() != self.slot && kernel::is_dead(owner.slot()))
    }

    /// The slot, for want of pids.
    pub fn pid_of(&self, owner: OwnerId) -> Option<u32> {
        Some(owner.slot())
    }
}
