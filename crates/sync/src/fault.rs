//! What is wrong with an object itself, whatever was wanted of it.

use crate::patience::Stop;
use procession_shm::{Label, OpenError, OwnerId, Segment, Unknowable};

/// What makes an object unusable: the last case of every operation's error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The object's file was removed while this thread waited: nobody new can come, and maybe nobody is left.
    #[error(
        "the file of {object} was removed from /dev/shm while this process waited for it: whoever comes now finds another one \
         or none; start everybody anew who uses it"
    )]
    Orphaned {
        /// Which one.
        object: Label,
    },
    /// The registry of the object's namespace was removed: whether an owner lives cannot be found out.
    #[error(
        "the registry of the namespace of {object} was removed or replaced while in use: end all processes that use the \
         namespace, then run `procession gc`"
    )]
    RegistryChanged {
        /// Which one.
        object: Label,
    },
    /// What stands in the object's memory is impossible.
    #[error("{object} is corrupt: {what}. When nobody uses it any more, remove it (`procession rm`)")]
    Corrupt {
        /// Which one.
        object: Label,
        /// What is impossible, as a sentence.
        what: &'static str,
    },
    /// This process was forked, and could not register under its own name.
    #[error("this forked process could not register in the namespace of {object}")]
    Unregistered {
        /// Which one.
        object: Label,
        /// Why not.
        source: OpenError,
    },
    /// What was used is a copy, made by `fork`, of what the parent process holds.
    #[error(
        "what this forked process has of {object} belongs to the process that it was forked from: acquire or join here what \
         this process needs"
    )]
    Inherited {
        /// Which one.
        object: Label,
    },
}

procession_shm::debug_as_text!(Fault);

#[doc(hidden)]
impl Fault {
    /// This process in the segment's namespace, where a forked child registers by this.
    ///
    /// # Errors
    /// [`Fault::Unregistered`].
    pub fn or_owner(segment: &Segment) -> Result<OwnerId, Self> {
        segment.registration().owner().map_err(|error| Self::unregistered(segment, error))
    }

    /// The file has no name any more, and nobody said that it was to be removed.
    #[must_use]
    pub fn orphaned(segment: &Segment) -> Self {
        Self::Orphaned { object: segment.label() }
    }

    /// An owner cannot be asked about.
    #[must_use]
    pub fn unknowable(segment: &Segment, why: Unknowable) -> Self {
        let object = segment.label();
        match why {
            Unknowable::NoSuchSlot => Self::Corrupt { object, what: "a word names no possible owner" },
            _ => Self::RegistryChanged { object },
        }
    }

    /// A word says something impossible.
    #[must_use]
    pub fn corrupt(segment: &Segment, what: &'static str) -> Self {
        Self::Corrupt { object: segment.label(), what }
    }

    /// This process is a fork and could not register.
    #[must_use]
    pub fn unregistered(segment: &Segment, source: OpenError) -> Self {
        Self::Unregistered { object: segment.label(), source }
    }

    /// A forked child's copy was used.
    #[must_use]
    pub fn inherited(segment: &Segment) -> Self {
        Self::Inherited { object: segment.label() }
    }

    /// What a wait for the object fails with that was stopped.
    #[must_use]
    pub fn of_stop<E: From<Self>>(segment: &Segment, stop: Stop, interrupted: impl FnOnce(Label) -> E) -> E {
        match stop {
            Stop::Interrupted => interrupted(segment.label()),
            Stop::Orphaned => Self::orphaned(segment).into(),
        }
    }
}
