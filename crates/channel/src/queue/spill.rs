//! Messages that are larger than the ring: each lies in a [`Spill`], a segment of its own, and its record in
//! the ring refers to it.
//!
//! The record takes a quarter of the ring, most of it unused: so a queue holds four such messages at the
//! most, and whoever puts them faster than they are got waits, as with smaller ones.
//!
//! # If a process dies
//! | killed | left behind |
//! |---|---|
//! | putting, before the store of `tail` | a spill that is in no queue: garbage |
//! | after the store of `tail` | the message |
//! | getting, before the store of `head` | the message |
//! | after the store of `head` | the message went with its consumer; its spill is garbage |

use super::QueueBody;
use super::core::Core;
use super::error::{GetError, PutError};
use super::head::{AtHead, cut_spill};
use super::tail::AtTail;
use crate::ring::{Head, Mark, WORD, record_words};
use crate::underway::Parcel;
use procession_shm::{Marks, OpenError, Reference, Spill};
use procession_sys::{Deadline, crash_point};
use std::mem::offset_of;

/// A spilled message's record takes the ring divided by this.
const PARTS: u32 = 4;

const MARKS: Marks =
    Marks { head: offset_of!(QueueBody, head) as u32, tail: offset_of!(QueueBody, tail) as u32 };

impl Core {
    /// Puts a message that is larger than the ring.
    #[cold]
    pub(super) fn put_spilled(&self, payload: &[u8], deadline: Deadline) -> Result<(), PutError> {
        drop(self.at_tail(self.spill_words(), deadline)?);
        let spill = Spill::create_of(self.segment(), MARKS, payload);
        let spill = spill.map_err(|source| self.no_spill(payload.len(), source))?;
        crash_point("queue.spill.made");
        self.at_tail(self.spill_words(), deadline)?.commit_spill(spill)
    }

    /// How many words the record of a spilled message takes.
    pub(super) fn spill_words(&self) -> u32 {
        record_words(Reference::LEN).unwrap_or(0).max(self.ring.words() / PARTS)
    }

    /// A segment for a message of so many bytes, once there is room for its record: those who wait have made
    /// no files yet, and those who make a file, which takes time, hold nobody up.
    pub(super) fn spill_when_there_is_room(&self, len: usize, deadline: Deadline) -> Result<Spill, PutError> {
        drop(self.at_tail(self.spill_words(), deadline)?);
        Spill::create(self.segment(), MARKS, len).map_err(|source| self.no_spill(len, source))
    }

    fn no_spill(&self, len: usize, source: OpenError) -> PutError {
        PutError::Spill { queue: self.segment().label(), len, source }
    }

    /// Copies a message out of its spill.
    pub(super) fn read_spill(&self, spill: &Spill, into: &mut [u8]) -> Result<(), GetError> {
        if spill.read(into) { Ok(()) } else { Err(self.too_small().into()) }
    }
}

impl AtTail<'_> {
    /// Puts the reference to a message that was written.
    pub(super) fn commit_spill(mut self, mut spill: Spill) -> Result<(), PutError> {
        let words = self.core.spill_words();
        spill.place(self.tail.words);
        let reference = spill.reference().to_bytes();
        if !self.core.ring.write_spilled(&self.core.words, self.tail, &reference, words) {
            return Err(self.core.too_small().into());
        }
        self.commit(Mark { words, items: 1 });
        spill.stay();
        // Before the spill, which is not unmapped while others wait.
        drop(self);
        Ok(())
    }
}

impl AtHead<'_> {
    /// Takes the first message out, which was spilled.
    #[cold]
    pub(super) fn get_spilled(mut self, record: Head, into: &mut Vec<u8>) -> Result<Parcel, GetError> {
        let mut spill = self.first_spilled(record)?;
        let carries_ends = self.core.carries_ends();
        let ends = if carries_ends { self.core.adopt(cut_spill(&mut spill))? } else { Parcel::default() };
        let (core, spill) = (self.core, self.take(spill, record.words));
        drop(self);
        into.resize(spill.len(), 0);
        core.read_spill(&spill, into)?;
        Ok(ends)
    }

    /// Opens the first message, which was spilled. If somebody has removed or spoilt its file, its record is
    /// taken out: nobody could ever get it, nor what is behind it.
    #[cold]
    pub(super) fn first_spilled(&mut self, record: Head) -> Result<Spill, GetError> {
        match self.open_spill(Mark::default()) {
            Ok(spill) => Ok(spill),
            // The kernel may have its reasons now, and none later; and another process can get what this one
            // cannot open.
            Err(source) if source.may_be_there() => {
                Err(GetError::Spill { queue: self.core.segment().label(), source })
            }
            Err(source) => {
                self.commit(record.words, 1);
                Err(GetError::Lost { queue: self.core.segment().label(), source })
            }
        }
    }

    /// Opens the spill of the record that comes `skipped` behind the head.
    pub(super) fn open_spill(&self, skipped: Mark) -> Result<Spill, OpenError> {
        let corrupt = |_| self.core.segment().corrupt("the ring reaches past the segment");
        let mut reference = [0; Reference::LEN];
        self.read_at(WORD * (1 + skipped.words as usize), &mut reference).map_err(corrupt)?;
        let spill = Spill::open(self.core.segment(), Reference::from_bytes(reference))?;
        crash_point("queue.spill.opened");
        Ok(spill)
    }

    /// Takes the first message out, which was spilled: the spill goes when it is dropped.
    pub(super) fn take(&mut self, mut spill: Spill, words: u32) -> Spill {
        self.commit(words, 1);
        spill.go();
        spill
    }
}
