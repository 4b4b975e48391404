//! A process that holds something, for people.

use procession_shm::{OwnerId, Registration, Segment};
use std::fmt;
use std::time::Duration;

/// A process that holds something, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its pid, in its own pid namespace; 0 if nobody remembers.
    pub pid: u32,
    /// Its name; empty if nobody remembers.
    pub name: String,
    /// Whether it was killed, or its thread ended, and nobody has noticed yet.
    pub is_dead: bool,
    /// How long it has held the object, at least: since somebody who waited saw it. `None` if nobody has
    /// waited for this hold, and of what is no lock.
    pub held_for: Option<Duration>,
}

impl Holder {
    /// An owner in the segment's namespace.
    #[doc(hidden)]
    #[must_use]
    pub fn of(segment: &Segment, owner: OwnerId) -> Self {
        Self::in_registry(segment.registration(), owner)
    }

    /// An owner in a namespace, as far as it is remembered.
    pub(crate) fn in_registry(registration: &Registration, owner: OwnerId) -> Self {
        let (pid, name) = registration
            .participant(owner)
            .map(|found| (found.pid, found.name))
            .unwrap_or_else(|| (registration.pid_of(owner).unwrap_or(0), String::new()));
        let is_dead = registration.is_dead(owner) == Ok(true);
        Self { pid, name, is_dead, held_for: None }
    }

    /// A process and thread as they stand in a word.
    pub(crate) fn in_word(registration: &Registration, held: u64) -> Self {
        let is_dead = registration.is_gone(held) == Ok(true);
        Self { is_dead, ..Self::in_registry(registration, OwnerId::from_bits(held)) }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            0 => f.write_str("a process that nobody remembers"),
            pid if self.name.is_empty() => write!(f, "pid {pid}"),
            pid => write!(f, "{} (pid {pid})", self.name),
        }
    }
}
