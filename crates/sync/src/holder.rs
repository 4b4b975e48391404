//! Who holds something, for people; and what is done about holders that die.

use crate::OnOwnerDeath;
use crate::lock_word::{Claim, LockWord};
use procession_shm::{Label, OwnerId, Parameter, Registration, Segment};
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
    /// How long it has held the object, at least: since somebody who waited saw it. `None` if nobody has waited
    /// for this hold, and of what is no lock.
    pub held_for: Option<Duration>,
}

impl Holder {
    /// What is known of an owner in the segment's namespace.
    pub(crate) fn of(segment: &Segment, owner: OwnerId) -> Self {
        Self::in_registry(segment.registration(), owner)
    }

    /// What is known of an owner in a namespace.
    pub(crate) fn in_registry(registration: &Registration, owner: OwnerId) -> Self {
        let (pid, name) = registration
            .participant(owner)
            .map(|found| (found.pid, found.name))
            .unwrap_or_else(|| (registration.pid_of(owner).unwrap_or(0), String::new()));
        let is_dead = registration.is_dead(owner) == Ok(true);
        Self { pid, name, is_dead, held_for: None }
    }

    /// What is known of a process and thread as they stand in a word.
    fn in_word(registration: &Registration, held: u64) -> Self {
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

/// Something that could not be had because somebody else holds it.
///
/// A try that fails is cheap: the holder's name and pid are looked up when this is shown, or when
/// [`holder`](Self::holder) is called. It is the process that held the object when the try failed, or when
/// the time was over; by the time you look it may hold it no more.
#[derive(Clone)]
pub struct HeldBy {
    object: Label,
    registration: &'static Registration,
    /// As it stands in a word; 0 if it was let go just then.
    held: u64,
    held_for: Option<Duration>,
}

impl HeldBy {
    /// Of the segment's object, which the process and thread hold that stand in a word as `held`.
    pub(crate) fn new(segment: &Segment, held: u64) -> Self {
        Self { object: segment.label(), registration: segment.registration(), held, held_for: None }
    }

    /// Of the segment's object, or a part of it, whose lock word this is.
    pub(crate) fn of_word(word: &LockWord, segment: &Segment) -> Self {
        let held = word.held_as().unwrap_or(0);
        Self { held_for: word.held_for(held), ..Self::new(segment, held) }
    }

    /// Which object is held.
    #[must_use]
    pub fn object(&self) -> &Label {
        &self.object
    }

    /// Who holds it; `None` if it was let go in the very moment in which the time was over.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        let holder = || Holder { held_for: self.held_for, ..Holder::in_word(self.registration, self.held) };
        (self.held != 0).then(holder)
    }
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match self.holder() {
            None => write!(f, "{object} was held by somebody who has just let it go"),
            Some(_) if self.registration.current_owner() == Some(OwnerId::from_bits(self.held)) => {
                write!(f, "{object} is held by this process")
            }
            Some(holder) => write!(f, "{object} is held by {holder}"),
        }?;
        match self.held_for.map_or(0, |held_for| held_for.as_secs()) {
            // A hold that is shorter is nobody's concern.
            0 => Ok(()),
            seconds => write!(f, ", for at least {seconds} s"),
        }
    }
}

impl fmt::Debug for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who holds a lock word now.
pub(crate) fn of_word(word: &LockWord, segment: &Segment) -> Option<Holder> {
    HeldBy::of_word(word, segment).holder()
}

/// The header's parameter for an object that may ignore the deaths of its holders.
pub(crate) fn policy_parameter(policy: Option<OnOwnerDeath>) -> Parameter {
    let ignores = policy == Some(OnOwnerDeath::Ignore);
    Parameter { name: "on_owner_death", value: u64::from(ignores), asked: policy.is_some() }
}

/// What the header says about holders that die.
pub(crate) fn claim_of(segment: &Segment) -> Claim {
    if segment.header().parameters[0] == 0 { Claim::Report } else { Claim::Ignore }
}

/// The claim of those who would put things right.
pub(crate) fn recovering(claim: Claim) -> Claim {
    if claim == Claim::Ignore { Claim::Ignore } else { Claim::Recover }
}
