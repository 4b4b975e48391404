//! As `procession_shm`: who a process is, and whether another is dead.

use crate::kernel;

/// As `procession_shm::OwnerId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerId(u64);

impl OwnerId {
    pub const MASK: u64 = 0xffff_ffff_0000_ffff;
    pub const MAX_SLOTS: u32 = 1 << 16;

    pub const fn new(slot: u32, generation: u32) -> Self {
        Self(slot as u64 | (generation as u64) << 32)
    }

    /// The first occupant of a slot.
    pub const fn of_slot(slot: u32) -> Self {
        Self::new(slot, 1)
    }

    pub const fn slot(self) -> u32 {
        (self.0 & 0xffff) as u32
    }

    pub const fn to_bits(self) -> u64 {
        self.0
    }

    pub const fn from_bits(word: u64) -> Self {
        Self(word & Self::MASK)
    }
}

/// As `procession_shm::Unknowable`; never happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknowable {
    NoSuchSlot,
    RegistryChanged,
}

/// As `procession_shm::OpenError`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Corrupt(&'static str),
    #[error("{object} is gone")]
    Gone { object: String },
    #[error("{object} has codec {codec}")]
    UnknownCodec { object: crate::Label, codec: u32 },
    #[error("failed to {operation}")]
    Os { operation: &'static str },
}

impl OpenError {
    pub fn may_be_there(&self) -> bool {
        matches!(self, Self::Os { .. })
    }
}

/// As `procession_shm::Myself`.
#[derive(Clone, Copy, Debug)]
pub struct Myself {
    slot: u32,
}

impl Myself {
    pub fn owner(self) -> Option<OwnerId> {
        Some(OwnerId::of_slot(self.slot))
    }
}

/// As `procession_shm::Participant`.
#[derive(Clone, Debug)]
pub struct Participant {
    pub pid: u32,
    pub name: String,
}

/// As `procession_shm::Registration`.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    slot: u32,
}

impl Registration {
    /// Of the process in `slot`, of which a model has few.
    pub fn of(slot: u32) -> &'static Self {
        const MOST: usize = 16;
        const ALL: [Registration; MOST] = {
            let mut all = [Registration { slot: 0 }; MOST];
            let mut slot = 0;
            while slot < MOST {
                all[slot].slot = slot as u32;
                slot += 1;
            }
            all
        };
        static TABLE: [Registration; MOST] = ALL;
        &TABLE[slot as usize]
    }

    pub fn myself(&self) -> Myself {
        Myself { slot: self.slot }
    }

    pub fn current_owner(&self) -> Option<OwnerId> {
        Some(OwnerId::of_slot(self.slot))
    }

    pub fn owner(&self) -> Result<OwnerId, OpenError> {
        Ok(OwnerId::of_slot(self.slot))
    }

    pub fn is_dead(&self, owner: OwnerId) -> Result<bool, Unknowable> {
        Ok(owner.slot() != self.slot && kernel::is_dead(owner.slot()))
    }

    pub fn is_gone(&self, holder: u64) -> Result<bool, Unknowable> {
        const NAME: u64 = OwnerId::MASK | 2047 << 16;
        Ok(self.is_dead(OwnerId::from_bits(holder))? || kernel::has_ended(holder & NAME))
    }

    /// The slot, for want of pids.
    pub fn pid_of(&self, owner: OwnerId) -> Option<u32> {
        Some(owner.slot())
    }

    /// Nobody has a name.
    pub fn participant(&self, _: OwnerId) -> Option<Participant> {
        None
    }
}
