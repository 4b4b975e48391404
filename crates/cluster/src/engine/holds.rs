//! What can be held: locks, read-write locks and permits of semaphores.

use super::Patience;
use crate::error::{ClusterError, Subject};
use crate::token::Token;
use std::fmt::Debug;

/// What is to be held.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// Its kind, name and place.
    pub(crate) subject: Subject,
    /// How many permits it has; 1 for a lock.
    pub(crate) size: u32,
}

/// The longest name of an object: with `cluster.` and its kind before it, it fits shared memory.
const LONGEST: usize = 80;

impl Object {
    /// That what was wanted of it did not come in time.
    pub(crate) fn not_in_time(&self, patience: Patience, holder: String) -> ClusterError {
        let object = self.subject.clone();
        match patience {
            Patience::Try => ClusterError::WouldBlock { object, holder },
            _ => ClusterError::TimedOut { object, holder },
        }
    }

    /// That it never has so many permits as are asked for at once, if that is so.
    pub(crate) fn check_mode(&self, mode: Mode) -> Result<(), ClusterError> {
        match mode.permits() {
            Some(count) if count == 0 || count > self.size => Err(ClusterError::Mismatch {
                object: self.subject.clone(),
                there: format!("{} permits", self.size),
                asked: format!("{count} of them at once"),
            }),
            _ => Ok(()),
        }
    }

    /// Whether its name is one that all engines take.
    pub(crate) fn check_name(&self) -> Result<(), ClusterError> {
        let name = &self.subject.name;
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !name.is_empty() && name.len() <= LONGEST && name.bytes().all(is_good) {
            return Ok(());
        }
        let reason =
            format!("a name is made of A-Z, a-z, 0-9, '.', '_' and '-', and has 1 to {LONGEST} bytes");
        Err(ClusterError::InvalidName { name: name.clone(), reason })
    }
}

/// How it is to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By one alone.
    Alone,
    /// With others who share it.
    Shared,
    /// So many of its permits, all at once.
    Permits(u32),
}

impl Mode {
    /// How many permits it is; `None` of a lock.
    pub(crate) fn permits(self) -> Option<u32> {
        match self {
            Self::Alone | Self::Shared => None,
            Self::Permits(count) => Some(count),
        }
    }
}

/// The part of an engine with which things are held.
pub(crate) trait Holds {
    /// Takes hold of the object, as soon as that is possible.
    fn take(&self, object: &Object, mode: Mode, patience: Patience) -> Result<Box<dyn Hold>, ClusterError>;

    /// How many permits the semaphore has, if there is one.
    fn permits_of(&self, object: &Object) -> Result<Option<u32>, ClusterError>;
}

/// Something that is held. Dropping it releases it.
pub(crate) trait Hold: Debug {
    /// The mark of this hold.
    fn token(&self) -> Token;

    /// Whether the hold has ended without being released.
    fn is_lost(&self) -> bool;

    /// Ends the hold, and says whether it lasted until now.
    fn release(self: Box<Self>) -> Result<(), ClusterError>;
}
