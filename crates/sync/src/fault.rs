//! What is wrong with an object itself, whatever was wanted of it.

use crate::lock_word::AcquireError;
use procession_shm::{OpenError, Segment, Unknowable};

/// What makes an object unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncFault {
    /// The object's file was removed while this thread waited: nobody new can come, and maybe nobody is left.
    #[error("the file of object {object} was removed from /dev/shm while this process waited for it")]
    Orphaned {
        /// Name and namespace.
        object: String,
    },
    /// The registry of the object's namespace was removed: whether an owner lives cannot be found out.
    #[error("the registry of the namespace of object {object} was removed or replaced while in use")]
    RegistryChanged {
        /// Name and namespace.
        object: String,
    },
    /// The object's words say something impossible.
    #[error("object {object} is corrupt: {what}")]
    Corrupt {
        /// Name and namespace.
        object: String,
        /// What is impossible.
        what: &'static str,
    },
    /// This process was forked, and could not register under its own name.
    #[error("this forked process could not register in the object's namespace")]
    Unregistered(#[source] OpenError),
}

impl SyncFault {
    /// The file has no name any more, and nobody said that it was to be removed.
    pub(crate) fn orphaned(segment: &Segment) -> Self {
        Self::Orphaned { object: segment.display_name() }
    }

    /// A lock inside the object was not acquired; `None` when it was merely too late.
    pub(crate) fn of_acquiring(segment: &Segment, error: AcquireError) -> Option<Self> {
        match error {
            // None of these objects asks for deadlocks to be detected.
            AcquireError::TimedOut | AcquireError::Deadlock => None,
            AcquireError::Orphaned => Some(Self::orphaned(segment)),
            AcquireError::Unknowable(why) => Some(Self::unknowable(segment, why)),
            AcquireError::Unregistered(error) => Some(Self::Unregistered(error)),
            AcquireError::OwnerDied { .. } => Some(Self::corrupt(segment, "a lock that was not taken")),
        }
    }

    /// An owner cannot be asked about.
    pub(crate) fn unknowable(segment: &Segment, why: Unknowable) -> Self {
        let object = segment.display_name();
        match why {
            Unknowable::NoSuchSlot => Self::Corrupt { object, what: "a word names no possible owner" },
            _ => Self::RegistryChanged { object },
        }
    }

    /// A word says something impossible.
    pub(crate) fn corrupt(segment: &Segment, what: &'static str) -> Self {
        Self::Corrupt { object: segment.display_name(), what }
    }
}
