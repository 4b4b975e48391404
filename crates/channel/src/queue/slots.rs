//! Messages written and read where they lie, without a copy in between.
//!
//! A slot holds its end of the queue: while one process writes into a slot, nobody else puts; while it reads,
//! nobody else gets. So a slot is for those who have the bytes at hand. If its process dies, the end is free
//! again, and the slot never happened; in a forked child the copy of a slot is inert.

use super::Queue;
use super::core::Core;
use super::ends::{HeldNote, QueueEnd};
use super::error::{GetError, PutError};
use super::head::{AtHead, First};
use super::tail::AtTail;
use crate::ring::{Head, Mark, WORD, record_words};
use procession_shm::Spill;
use procession_sync::{Fault, Hold};
use procession_sys::Deadline;
use procession_sys::atomic::AtomicU8;
use std::fmt;
use std::io;
use std::time::Duration;

impl<T> Queue<T> {
    /// The queue's messages as bytes that are written and read where they lie. The queue must have
    /// [`Codec::Bytes`](crate::Codec::Bytes).
    #[must_use]
    pub fn slots(&self) -> QueueSlots<'_> {
        QueueSlots(&self.body)
    }
}

/// A queue's messages as bytes, written and read where they lie: see [`Queue::slots`].
#[derive(Clone, Copy, Debug)]
pub struct QueueSlots<'q>(&'q Core);

impl<'q> QueueSlots<'q> {
    /// A slot at the end of the queue for a message of at most `len` bytes, waiting for room. What is written
    /// into it is in the queue after [`commit`](WriteSlot::commit), and never was if it is dropped before, or
    /// its process dies.
    ///
    /// Until then nobody else can put, nor close the queue.
    ///
    /// ```
    /// use procession::{Bytes, Queue};
    /// use std::io::Write;
    ///
    /// let log: Queue<Bytes> = Queue::new()?;
    /// let mut slot = log.slots().reserve(100)?;
    /// write!(slot, "{} + {} = {}", 1, 2, 1 + 2)?;
    /// slot.commit()?;
    /// assert_eq!(log.bytes().get()?, b"1 + 2 = 3");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::Spill`], [`PutError::Fault`].
    pub fn reserve(&self, len: usize) -> Result<WriteSlot<'q>, PutError> {
        WriteSlot::new(self.0, len, Deadline::NEVER)
    }

    /// A slot at the end of the queue, if there is room now.
    ///
    /// # Errors
    /// [`PutError::WouldBlock`]; otherwise as [`reserve`](Self::reserve).
    pub fn try_reserve(&self, len: usize) -> Result<WriteSlot<'q>, PutError> {
        WriteSlot::new(self.0, len, Deadline::PASSED).map_err(PutError::at_once)
    }

    /// A slot at the end of the queue, waiting for room at most `timeout`.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`reserve`](Self::reserve).
    pub fn reserve_timeout(&self, len: usize, timeout: Duration) -> Result<WriteSlot<'q>, PutError> {
        WriteSlot::new(self.0, len, Deadline::after(timeout))
    }

    /// The first message where it lies, waiting for one. It is taken out by [`commit`](ReadSlot::commit), and
    /// stays if the slot is dropped before, or its process dies.
    ///
    /// Until then nobody else can get.
    ///
    /// ```
    /// use procession::{Bytes, Queue};
    /// use std::io::Read;
    ///
    /// let texts: Queue<Bytes> = Queue::new()?;
    /// texts.bytes().put(b"to be read")?;
    /// let mut slot = texts.slots().read()?;
    /// let mut text = String::new();
    /// slot.read_to_string(&mut text)?;
    /// slot.commit()?;
    /// assert_eq!((text.as_str(), texts.is_empty()), ("to be read", true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GetError::Closed`] once the queue is closed and drained, [`GetError::Spill`], [`GetError::Lost`],
    /// [`GetError::Fault`].
    pub fn read(&self) -> Result<ReadSlot<'q>, GetError> {
        ReadSlot::new(self.0, Deadline::NEVER)
    }

    /// The first message where it lies, if there is one now.
    ///
    /// # Errors
    /// [`GetError::WouldBlock`]; otherwise as [`read`](Self::read).
    pub fn try_read(&self) -> Result<ReadSlot<'q>, GetError> {
        ReadSlot::new(self.0, Deadline::PASSED).map_err(GetError::at_once)
    }

    /// The first message where it lies, waiting for one at most `timeout`.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadSlot<'q>, GetError> {
        ReadSlot::new(self.0, Deadline::after(timeout))
    }
}

/// Room for a message at the end of a queue: see [`QueueSlots::reserve`].
///
/// It is written front to back, by [`io::Write`], and the message is what was written when it is committed.
/// It stays with its thread.
#[must_use = "what is not committed never was in the queue"]
pub struct WriteSlot<'q> {
    /// `None` once it was let go.
    tail: Option<AtTail<'q>>,
    /// Where the bytes are, if they do not fit into the ring.
    spill: Option<Spill>,
    written: usize,
    capacity: usize,
    _note: HeldNote,
}

impl<'q> WriteSlot<'q> {
    fn new(core: &'q Core, capacity: usize, deadline: Deadline) -> Result<Self, PutError> {
        core.must_be_bytes()?;
        let (words, spill) = match core.words_for(capacity) {
            Some(words) => (words, None),
            None => (core.spill_words(), Some(core.spill_when_there_is_room(capacity, deadline)?)),
        };
        let tail = core.at_tail(words, deadline)?;
        Ok(Self {
            tail: Some(tail),
            spill,
            written: 0,
            capacity,
            _note: HeldNote::new(core.segment(), QueueEnd::Tail),
        })
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.written
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// How many bytes can be written in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Puts what was written. It does not wait.
    ///
    /// # Errors
    /// [`PutError::Fault`]: [`Fault::Inherited`] in a forked child.
    pub fn commit(mut self) -> Result<(), PutError> {
        let Some(mut tail) = self.ours()? else { return Ok(()) };
        match self.spill.take() {
            Some(mut spill) => {
                spill.truncate(self.written);
                tail.commit_spill(spill)
            }
            None => {
                let core = tail.core;
                if !core.ring.write_head(&core.words, tail.tail, Head::word(self.written)) {
                    return Err(core.too_small().into());
                }
                let words = record_words(self.written).unwrap_or(u32::MAX);
                tail.commit(Mark { words, items: 1 });
                Ok(())
            }
        }
    }

    /// Where the bytes lie that can still be written.
    pub(super) fn unwritten(&self) -> [&[AtomicU8]; 2] {
        let left = self.capacity - self.written;
        let stretches = match (&self.spill, &self.tail) {
            (Some(spill), _) => [spill.bytes(self.capacity).and_then(|all| all.get(self.written..)), None],
            (None, Some(tail)) => stretches(tail.core, tail.tail, WORD + self.written, left),
            (None, None) => [None; 2],
        };
        stretches.map(Option::unwrap_or_default)
    }

    /// Counts `count` bytes as written, which were written into [`as_mut_slices`](Self::as_mut_slices).
    ///
    /// # Panics
    /// When there were not so many left.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.capacity - self.written, "{count} bytes are more than the slot has left");
        self.written += count;
    }

    /// What holds the queue's end, if that is this process.
    fn ours(&mut self) -> Result<Option<AtTail<'q>>, Fault> {
        take_ours(&mut self.tail, |tail| (tail.core, tail.hold))
    }
}

impl io::Write for WriteSlot<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tail) = &self.tail else { return Ok(0) };
        if !tail.core.is_ours(tail.hold) {
            return Err(io::Error::other(tail.core.inherited()));
        }
        let count = bytes.len().min(self.capacity - self.written);
        let bytes = &bytes[..count];
        let is_written = match &self.spill {
            Some(spill) => spill.copy_in(self.written, bytes),
            None => tail.core.ring.write_at(&tail.core.words, tail.tail, WORD + self.written, bytes),
        };
        if !is_written {
            return Err(io::Error::other(tail.core.too_small()));
        }
        self.written += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WriteSlot<'_> {
    fn drop(&mut self) {
        drop(self.ours());
    }
}

impl fmt::Debug for WriteSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteSlot").field("written", &self.written).field("capacity", &self.capacity).finish()
    }
}

/// The first message of a queue, where it lies: see [`QueueSlots::read`].
///
/// It is read front to back, by [`io::Read`]. It stays with its thread.
#[must_use = "what is not committed stays in the queue"]
pub struct ReadSlot<'q> {
    /// `None` once it was let go.
    head: Option<AtHead<'q>>,
    first: First,
    read: usize,
    _note: HeldNote,
}

impl<'q> ReadSlot<'q> {
    fn new(core: &'q Core, deadline: Deadline) -> Result<Self, GetError> {
        core.must_be_bytes()?;
        let mut head = core.at_head(deadline)?;
        let first = head.first()?;
        Ok(Self { head: Some(head), first, read: 0, _note: HeldNote::new(core.segment(), QueueEnd::Head) })
    }

    /// How long the message is, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the message out. It does not wait.
    ///
    /// # Errors
    /// [`GetError::Fault`]: [`Fault::Inherited`] in a forked child.
    pub fn commit(mut self) -> Result<(), GetError> {
        let Some(mut head) = self.ours()? else { return Ok(()) };
        let head = &mut head;
        match &mut self.first {
            First::Here(record) => head.commit(record.words, 1),
            First::Spilled(spill, words) => {
                head.commit(*words, 1);
                spill.go();
            }
        }
        Ok(())
    }

    /// Where the bytes of the message lie.
    pub(super) fn all(&self) -> [&[AtomicU8]; 2] {
        let stretches = match (&self.first, &self.head) {
            (First::Spilled(spill, _), _) => [spill.bytes(spill.len()), None],
            (First::Here(record), Some(head)) => stretches(head.core, head.head, WORD, record.len),
            (First::Here(_), None) => [None; 2],
        };
        stretches.map(Option::unwrap_or_default)
    }

    /// What holds the queue's end, if that is this process.
    fn ours(&mut self) -> Result<Option<AtHead<'q>>, Fault> {
        take_ours(&mut self.head, |head| (head.core, head.hold))
    }
}

impl io::Read for ReadSlot<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(head) = &self.head else { return Ok(0) };
        if !head.core.is_ours(head.hold) {
            return Err(io::Error::other(head.core.inherited()));
        }
        let count = into.len().min(self.first.len() - self.read);
        let into = &mut into[..count];
        let is_read = match &self.first {
            First::Here(_) => head.read_at(WORD + self.read, into).is_ok(),
            First::Spilled(spill, _) => spill.copy_out(self.read, into),
        };
        if !is_read {
            return Err(io::Error::other(head.core.too_small()));
        }
        self.read += count;
        Ok(count)
    }
}

impl Drop for ReadSlot<'_> {
    fn drop(&mut self) {
        drop(self.ours());
    }
}

impl fmt::Debug for ReadSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadSlot").field("len", &self.len()).field("read", &self.read).finish()
    }
}

/// What holds a queue's end, if that is this process: in a forked child, the parent holds it. `None` once it
/// was let go.
pub(super) fn take_ours<E>(
    held: &mut Option<E>,
    of: impl Fn(&E) -> (&Core, Hold),
) -> Result<Option<E>, Fault> {
    let Some(end) = held.take() else { return Ok(None) };
    let (core, hold) = of(&end);
    if core.is_ours(hold) {
        return Ok(Some(end));
    }
    let fault = core.inherited();
    std::mem::forget(end);
    Err(fault)
}

/// The one or two stretches of the ring that `len` bytes take which come `offset` bytes behind `at`.
fn stretches(core: &Core, at: Mark, offset: usize, len: usize) -> [Option<&[AtomicU8]>; 2] {
    core.ring.stretches(at, offset, len).map(|(place, len)| core.words.slice(place, len))
}
