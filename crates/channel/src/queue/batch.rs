//! Many messages by one lock and one commit.
//!
//! A batch is encoded before the lock is taken, record after record as they are to lie in the ring, so that
//! one copy brings in as many as there is room for, and one store commits them: nobody sees a part of those.
//! Getting is the same the other way round.
//!
//! # If a process dies
//! | killed | left behind |
//! |---|---|
//! | putting | what was committed, all of it from the batch's beginning; the rest never was |
//! | getting, before the store of `head` | all of the messages |
//! | after it | they went with their consumer |

use super::Queue;
use super::core::Core;
use super::error::{GetError, GetManyError, PutError, PutManyError};
use super::head::{AtHead, First, cut_spill};
use crate::codec::with_scratch;
use crate::pipe_end::{Decoding, Passage};
use crate::ring::{Head, Mark, WORD};
use crate::underway::{self, Departed, Parcel};
use procession_shm::Spill;
use procession_sys::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// The queue's messages, many at a time.
    ///
    /// ```
    /// use procession::Queue;
    /// let numbers: Queue<u32> = Queue::new()?;
    /// numbers.batch().put(&[1, 2, 3, 4])?;
    /// assert_eq!(numbers.batch().get(3)?, [1, 2, 3]);
    /// assert_eq!(numbers.batch().drain()?, [4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn batch(&self) -> QueueBatch<'_, T> {
        QueueBatch(self)
    }
}

/// A queue's messages, many at a time: see [`Queue::batch`].
pub struct QueueBatch<'q, T>(&'q Queue<T>);

impl<T> Clone for QueueBatch<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for QueueBatch<'_, T> {}

impl<T> fmt::Debug for QueueBatch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueBatch").field(self.0).finish()
    }
}

impl<T: Serialize + DeserializeOwned> QueueBatch<'_, T> {
    /// Puts messages at the end in their order, waiting for room. As many as there is room for become visible
    /// at once: it takes as many from the iterator as fill the queue before it puts the first.
    ///
    /// # Errors
    /// As [`Queue::put`]; the error says how many were put. Those are the first ones.
    ///
    /// # Panics
    /// When the messages' `Serialize` or the iterator does; some of the messages before may be put then.
    pub fn put<'a, Q>(self, messages: impl IntoIterator<Item = &'a Q>) -> Result<(), PutManyError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.put_until(messages, Deadline::NEVER)
    }

    /// Puts as many of the messages as there is room for now.
    ///
    /// # Errors
    /// [`PutError::WouldBlock`] when that is not all of them; otherwise as [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put).
    pub fn try_put<'a, Q>(self, messages: impl IntoIterator<Item = &'a Q>) -> Result<(), PutManyError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.put_until(messages, Deadline::PASSED)
            .map_err(|failed| PutManyError { error: failed.error.at_once(), ..failed })
    }

    /// Puts messages at the end, waiting for room at most `timeout` in all.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put).
    pub fn put_timeout<'a, Q>(
        self,
        messages: impl IntoIterator<Item = &'a Q>,
        timeout: Duration,
    ) -> Result<(), PutManyError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.put_until(messages, Deadline::after(timeout))
    }

    /// Takes the first messages out, at most `most` of those that are there, waiting until there is one.
    ///
    /// # Errors
    /// [`GetError::Closed`] once the queue is closed and drained, [`GetError::Decode`] and [`GetError::Lost`]
    /// with the messages that were taken out too, [`GetError::Spill`], [`GetError::Fault`].
    ///
    /// # Panics
    /// When `T`'s `Deserialize` does; the messages are then gone.
    pub fn get(self, most: usize) -> Result<Vec<T>, GetManyError<T>> {
        self.get_until(most, Deadline::NEVER)
    }

    /// Takes the first messages out, at most `most`, if there are any now.
    ///
    /// # Errors
    /// [`GetError::WouldBlock`]; otherwise as [`get`](Self::get).
    ///
    /// # Panics
    /// As [`get`](Self::get).
    pub fn try_get(self, most: usize) -> Result<Vec<T>, GetManyError<T>> {
        self.get_until(most, Deadline::PASSED)
            .map_err(|failed| GetManyError { error: failed.error.at_once(), ..failed })
    }

    /// Takes the first messages out, at most `most`, waiting until there is one at most `timeout`.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get`](Self::get).
    ///
    /// # Panics
    /// As [`get`](Self::get).
    pub fn get_timeout(self, most: usize, timeout: Duration) -> Result<Vec<T>, GetManyError<T>> {
        self.get_until(most, Deadline::after(timeout))
    }

    /// Takes all messages out that are there now, which may be none. It never waits: while another holds a
    /// [slot](crate::QueueSlots::read), there seem to be none.
    ///
    /// # Errors
    /// As [`get`](Self::get), but an empty queue is none, closed or not.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    pub fn drain(self) -> Result<Vec<T>, GetManyError<T>> {
        match self.try_get(usize::MAX) {
            Err(GetManyError { error: GetError::WouldBlock(_) | GetError::Closed(_), .. }) => Ok(Vec::new()),
            drained => drained,
        }
    }

    /// Copies of the first messages, at most `most` of those that are there now, which stay. It never waits. Ends of
    /// pipes in the copies cannot be used: they are in the messages still.
    ///
    /// ```
    /// use procession::Queue;
    /// let numbers: Queue<u32> = Queue::new()?;
    /// numbers.batch().put(&[1, 2, 3])?;
    /// assert_eq!(numbers.batch().peek(2)?, [1, 2]);
    /// assert_eq!(numbers.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get), but an empty queue is none, closed or not.
    ///
    /// # Panics
    /// When `T`'s `Deserialize` does.
    pub fn peek(self, most: usize) -> Result<Vec<T>, GetManyError<T>> {
        let core = &self.0.body;
        with_scratch(|records| match core.peek_records(most, records) {
            Err(GetError::TimedOut(_) | GetError::Closed(_)) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
            Ok((count, spills)) => {
                underway::decoding(Decoding::Looks, || core.decode_all(count, records, spills))
            }
        })
    }

    fn put_until<'a, Q>(
        self,
        messages: impl IntoIterator<Item = &'a Q>,
        deadline: Deadline,
    ) -> Result<(), PutManyError>
    where
        Q: Serialize + ?Sized + 'a,
    {
        let mut batch = Batch::default();
        let done = self.put_all(messages, &mut batch, deadline);
        done.map_err(|error| PutManyError { put: batch.put, error })
    }

    /// Puts all messages, and says in `batch` how far that has come.
    fn put_all<'a, Q>(
        self,
        messages: impl IntoIterator<Item = &'a Q>,
        batch: &mut Batch,
        deadline: Deadline,
    ) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized + 'a,
    {
        let core = &self.0.body;
        with_scratch(|records| {
            records.clear();
            let mut all = Mark::default();
            for message in messages {
                let start = records.len();
                let appended = append::<T, Q>(records, message, core, |ends| batch.depart(ends));
                batch.encoded += 1;
                let words = appended.as_ref().ok().and_then(|&len| core.words_for(len));
                if let Some(words) = words
                    && records.len() / WORD <= core.ring.words() as usize
                {
                    all = all.after_record(words);
                    continue;
                }
                // Those before it first: the ring has no room for more at a time, or this one is special.
                let rest = records.split_off(start);
                core.put_records(records, all, &mut batch.put, deadline)?;
                *records = rest;
                all = Mark::default().after_record(words.unwrap_or(0));
                let len = appended?;
                if words.is_none() {
                    core.put_spilled(records.get(WORD..WORD + len).unwrap_or_default(), deadline)?;
                    batch.put += 1;
                    (all, *records) = (Mark::default(), Vec::new());
                }
            }
            core.put_records(records, all, &mut batch.put, deadline)
        })
    }

    fn get_until(self, most: usize, deadline: Deadline) -> Result<Vec<T>, GetManyError<T>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let core = &self.0.body;
        with_scratch(|records| {
            let (count, spills, _ends) = core.get_records(most, records, deadline)?;
            core.decode_all(count, records, spills)
        })
    }
}

impl Core {
    /// Puts whole records, so many as `all` says, as many at a time as there is room for; counts what was
    /// `put`.
    fn put_records(
        &self,
        mut records: &[u8],
        mut all: Mark,
        put: &mut usize,
        deadline: Deadline,
    ) -> Result<(), PutError> {
        while let Some(first) = head_at(records, 0) {
            let mut tail = self.at_tail(first.words, deadline)?;
            if !tail.room().has(all) {
                tail.look()?;
            }
            let now = if tail.room().has(all) { all } else { prefix(records, tail.room()) };
            let (first, later) = records.split_at(now.words as usize * WORD);
            tail.write_records(first)?;
            tail.commit(now);
            *put += now.items as usize;
            (records, all) = (later, all.since(now));
        }
        Ok(())
    }

    /// Takes at most `most` records out as they lie in the ring; how many, the spills they refer to, and the
    /// ends of pipes in them.
    fn get_records(
        &self,
        most: usize,
        records: &mut Vec<u8>,
        deadline: Deadline,
    ) -> Result<(usize, Vec<Spill>, Parcel), GetError> {
        let mut head = self.at_head(deadline)?;
        let (taken, mut spills) = head.copy_records(most, records)?;
        let carries_ends = self.carries_ends();
        let ends = if carries_ends { self.adopt(lists_in(records, &mut spills))? } else { Parcel::default() };
        head.commit(taken.words, taken.items);
        drop(head);
        spills.iter_mut().for_each(Spill::go);
        Ok((taken.items as usize, spills, ends))
    }

    /// The same without taking them out, and without the ends, which stay where they are.
    fn peek_records(&self, most: usize, records: &mut Vec<u8>) -> Result<(usize, Vec<Spill>), GetError> {
        let mut head = self.at_head(Deadline::PASSED)?;
        let (seen, mut spills) = head.copy_records(most, records)?;
        // Who is attached keeps them, whoever takes them out meanwhile.
        drop(head);
        if self.carries_ends() {
            spills.iter_mut().for_each(|spill| drop(cut_spill(spill)));
        }
        Ok((seen.items as usize, spills))
    }

    fn decode_all<T: DeserializeOwned>(
        &self,
        count: usize,
        mut left: &[u8],
        spills: Vec<Spill>,
    ) -> Result<Vec<T>, GetManyError<T>> {
        let mut spills = spills.into_iter();
        let mut messages = Vec::with_capacity(count);
        let mut buffer = Vec::new();
        while let Some((mut payload, spilled)) = self.next_record(&mut left) {
            if spilled {
                if let Err(error) = self.fetch(spills.next(), &mut buffer) {
                    return Err(self.failed(messages, error, left, spills));
                }
                payload = &buffer;
            }
            match self.codec.of_messages::<T>().decode(payload) {
                Ok(message) => messages.push(message),
                Err(source) => {
                    let error =
                        GetError::Decode { queue: self.segment().label(), bytes: payload.to_vec(), source };
                    return Err(self.failed(messages, error, left, spills));
                }
            }
        }
        Ok(messages)
    }

    /// The payload of the first record, without the list of its ends, and whether it is a reference to a
    /// spill; it is cut off.
    #[inline]
    fn next_record<'a>(&self, records: &mut &'a [u8]) -> Option<(&'a [u8], bool)> {
        let (payload, spilled) = next_whole_record(records)?;
        let has_no_list = spilled || !self.carries_ends();
        let len = if has_no_list { payload.len() } else { underway::len_without_list(payload) };
        Some((&payload[..len], spilled))
    }

    /// The message in a spill.
    #[cold]
    fn fetch(&self, spill: Option<Spill>, buffer: &mut Vec<u8>) -> Result<(), GetError> {
        let spill = spill.ok_or_else(|| self.too_small())?;
        buffer.resize(spill.len(), 0);
        self.read_spill(&spill, buffer)
    }

    /// The failure of a batch at one of its messages, with what was taken out behind that.
    #[cold]
    fn failed<T>(
        &self,
        got: Vec<T>,
        error: GetError,
        mut left: &[u8],
        mut spills: impl Iterator<Item = Spill>,
    ) -> GetManyError<T> {
        let mut rest = Vec::new();
        while let Some((payload, spilled)) = self.next_record(&mut left) {
            let mut buffer = Vec::new();
            if !spilled {
                rest.push(payload.to_vec());
            } else if self.fetch(spills.next(), &mut buffer).is_ok() {
                rest.push(buffer);
            }
        }
        GetManyError { got, error, rest: rest.into_boxed_slice() }
    }
}

impl AtHead<'_> {
    /// Copies at most `most` records out as they lie in the ring, and leaves them there; how many, and the spills they
    /// refer to.
    fn copy_records(&mut self, most: usize, records: &mut Vec<u8>) -> Result<(Mark, Vec<Spill>), GetError> {
        if (self.there.items as usize) < most {
            self.look()?;
        }
        let mut spills = Vec::new();
        let mut taken = Mark::default();
        while (taken.items as usize) < most && taken.words < self.there.words {
            let Some(record) = self.record_if_whole(taken) else {
                // What is before it is whole.
                if taken == Mark::default() {
                    self.record(taken)?;
                }
                break;
            };
            if record.spilled {
                match self.open_spill(taken) {
                    Ok(spill) => spills.push(spill),
                    Err(_) if taken != Mark::default() => break,
                    // Once more, to say what is wrong with it.
                    Err(_) => match self.first()? {
                        First::Spilled(spill, _) => spills.push(spill),
                        First::Here(_) => break,
                    },
                }
            }
            taken = taken.after_record(record.words);
        }
        records.resize(taken.words as usize * WORD, 0);
        self.read_at(0, records)?;
        Ok((taken, spills))
    }
}

/// How far a batch has come. The ends in those messages that were not put are where they were.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) encoded: usize,
    pub(crate) put: usize,
    /// The ends in the how manieth message, if there are any.
    departed: Vec<(usize, Departed)>,
}

impl Batch {
    /// The ends in the message that is encoded now.
    #[cold]
    pub(crate) fn depart(&mut self, ends: Departed) {
        self.departed.push((self.encoded, ends));
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let put = self.put;
        self.departed.drain(..).filter(|(nth, _)| *nth < put).for_each(|(_, ends)| ends.sent());
    }
}

/// Appends a message as a record, padded to whole words; how long its payload is. If there are ends of pipes
/// in it, `departs` is called with them.
#[inline]
fn append<T, Q>(
    records: &mut Vec<u8>,
    message: &Q,
    core: &Core,
    departs: impl FnOnce(Departed),
) -> Result<usize, PutError>
where
    T: Serialize + DeserializeOwned,
    Q: Serialize + ?Sized,
{
    let start = records.len();
    records.extend_from_slice(&[0; WORD]);
    let encoded = underway::encode::<T, Q>(
        core.codec.of_messages::<T>(),
        message,
        records,
        || core.as_location(),
        departs,
    );
    if let Err(error) = encoded {
        records.truncate(start);
        return Err(error.into());
    }
    let len = records.len() - start - WORD;
    records[start..start + WORD].copy_from_slice(&Head::word(len).to_le_bytes());
    records.resize(records.len().next_multiple_of(WORD), 0);
    Ok(len)
}

/// How many words and records of these fit into `room`, from the first on.
fn prefix(records: &[u8], room: Mark) -> Mark {
    let mut fitting = Mark::default();
    while fitting.items < room.items
        && let Some(record) = head_at(records, fitting.words)
        && fitting.words + record.words <= room.words
    {
        fitting = fitting.after_record(record.words);
    }
    fitting
}

/// The lists of ends in these records, and in the spills they refer to, from which they are cut off.
fn lists_in(mut records: &[u8], spills: &mut [Spill]) -> Vec<Passage> {
    let mut ends: Vec<Passage> = spills.iter_mut().flat_map(cut_spill).collect();
    while let Some((payload, spilled)) = next_whole_record(&mut records) {
        if !spilled && let Some((_, found)) = underway::list_of(payload) {
            ends.extend(found);
        }
    }
    ends
}

/// The payload of the first record, with the list of its ends, and whether it is a reference to a spill; it
/// is cut off.
#[inline]
fn next_whole_record<'a>(records: &mut &'a [u8]) -> Option<(&'a [u8], bool)> {
    let record = head_at(records, 0)?;
    let (first, rest) = records.split_at_checked(record.words as usize * WORD)?;
    *records = rest;
    Some((first.get(WORD..WORD + record.len)?, record.spilled))
}

/// The first word of the record that lies so many words behind the beginning.
#[inline]
fn head_at(records: &[u8], words: u32) -> Option<Head> {
    let records = records.get(words as usize * WORD..)?;
    let (head, _) = records.split_first_chunk::<WORD>()?;
    Head::of(u64::from_le_bytes(*head), u32::try_from(records.len() / WORD).unwrap_or(u32::MAX))
}
