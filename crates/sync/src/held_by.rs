//! The holder that is in the way, as an error tells of it.

use crate::holder::Holder;
use crate::lock_word::LockWord;
use procession_shm::{Label, OwnerId, Registration, Segment};
use std::fmt;
use std::time::Duration;

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

    /// The process that holds it; `None` if it was let go in the very moment in which the time was over.
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

/// The process that holds a lock word now.
pub fn holder_of(word: &LockWord, segment: &Segment) -> Option<Holder> {
    HeldBy::of_word(word, segment).holder()
}
