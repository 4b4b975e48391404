//! The end of a lane that reads. The protocol is described in `lane.rs`.

use super::{Lane, LaneCorrupt, LaneRings, await_change};
use crate::ring::{Head, Mark, Ring, record_words};
use procession_shm::Shared;
use procession_sync::Patience;
use procession_sys::atomic::{Ordering, fence};
use procession_sys::{Deadline, crash_point};

/// How much memory is taken for a message before it has come.
const MOST_RESERVED: usize = 16 << 20;

/// The end that reads.
#[derive(Debug)]
pub struct LaneReader {
    lane: Shared<Lane>,
    bytes: Ring,
    /// The ring to which the lane has not moved yet.
    larger: Option<Ring>,
    head: Mark,
    tail_seen: Mark,
    begun: Option<Begun>,
    /// What has been read of the message that was begun, unless it lies with whoever reads it.
    kept: Vec<u8>,
    /// Whether the writer has not been told of room yet.
    took: bool,
    patience: Patience,
}

/// A long message that was announced.
#[derive(Clone, Copy, Debug)]
struct Begun {
    total: usize,
    read: usize,
}

impl LaneReader {
    /// The reading end of a lane whose bytes lie in `rings`.
    #[must_use]
    pub fn new(lane: Shared<Lane>, rings: LaneRings) -> Self {
        let head = Mark::from_bits(lane.head.load(Ordering::Relaxed));
        let tail_seen = Mark::from_bits(lane.tail.load(Ordering::Acquire));
        Self {
            lane,
            bytes: rings.first,
            larger: rings.larger,
            head,
            tail_seen,
            begun: None,
            kept: Vec::new(),
            took: false,
            patience: Patience::new(Deadline::NEVER),
        }
    }

    /// Reads the next message into `into`, which is cleared, if there is a whole one.
    ///
    /// # Errors
    /// [`LaneCorrupt`].
    #[inline]
    pub fn try_read(&mut self, into: &mut Vec<u8>) -> Result<bool, LaneCorrupt> {
        match self.next_len(&mut [])? {
            None => Ok(false),
            Some(len) => self.read(len, into).map(|()| true),
        }
    }

    /// Reads the message of `len` bytes that [`next_len`](Self::next_len) has just found.
    ///
    /// # Errors
    /// [`LaneCorrupt`].
    #[inline]
    pub fn read(&mut self, len: usize, into: &mut Vec<u8>) -> Result<(), LaneCorrupt> {
        if self.begun.take().is_some() {
            *into = std::mem::take(&mut self.kept);
            return Ok(());
        }
        into.clear();
        let words = record_words(len).ok_or(LaneCorrupt)?;
        if !self.bytes.append(&self.lane, self.head, len, into) {
            return Err(LaneCorrupt);
        }
        self.pass(words);
        Ok(())
    }

    /// As [`read`](Self::read), into `into`, which is as long as the message.
    ///
    /// # Errors
    /// [`LaneCorrupt`].
    pub fn read_into(&mut self, into: &mut [u8]) -> Result<(), LaneCorrupt> {
        if self.begun.take().is_none() {
            return self.read_record(into);
        }
        if let Some(place) = into.get_mut(..self.kept.len()) {
            place.copy_from_slice(&self.kept);
            self.kept = Vec::new();
        }
        Ok(())
    }

    /// How long the next message is, if there is a whole one. What has come of a long message is read
    /// meanwhile: into `place` if it is long enough, and then the same must be given again, or else
    /// [`keep`](Self::keep) be called.
    ///
    /// # Errors
    /// [`LaneCorrupt`].
    #[inline]
    pub fn next_len(&mut self, place: &mut [u8]) -> Result<Option<usize>, LaneCorrupt> {
        if self.begun.is_some() {
            return self.assemble(place);
        }
        match self.record()? {
            Some(head) if head.continues => self.assemble(place),
            head => Ok(head.map(|head| head.len)),
        }
    }

    /// What was read into a `place` that will not be given again.
    #[inline]
    pub fn keep(&mut self, place: &[u8]) {
        if let Some(begun) = self.begun.filter(|begun| begun.read > self.kept.len()) {
            self.kept = place.get(..begun.read).unwrap_or_default().to_vec();
        }
    }

    /// Forgets what was begun: its end will never come.
    pub fn forget(&mut self) {
        self.begun = None;
        self.kept = Vec::new();
    }

    /// Reads parts of a long message as they come.
    #[inline(never)]
    fn assemble(&mut self, place: &mut [u8]) -> Result<Option<usize>, LaneCorrupt> {
        loop {
            if let Some(begun) = self.begun.filter(|begun| begun.read == begun.total) {
                return Ok(Some(begun.total));
            }
            let Some(head) = self.record()? else { return Ok(None) };
            match self.begun {
                None if !head.continues => return Ok(Some(head.len)),
                None => self.announced(head.len)?,
                Some(_) if head.continues && head.len == 0 => {
                    self.read_record(&mut [])?;
                    self.forget();
                }
                Some(Begun { total, read }) => {
                    let end = read + head.len;
                    if end > total || head.continues == (end == total) {
                        return Err(LaneCorrupt);
                    }
                    if self.kept.is_empty() && place.len() >= total {
                        self.read_record(&mut place[read..end])?;
                    } else {
                        let mut kept = std::mem::take(&mut self.kept);
                        // At once, unless somebody has announced what never comes.
                        kept.reserve(total.min(MOST_RESERVED).saturating_sub(kept.len()));
                        kept.resize(end, 0);
                        self.read_record(&mut kept[read..])?;
                        self.kept = kept;
                    }
                    self.begun = Some(Begun { total, read: end });
                    // The writer can use the room while the next part is read.
                    // SYNC: eventcount.dekker.
                    fence(Ordering::SeqCst);
                    self.lane.room.notify_one();
                }
            }
        }
    }

    /// Reads the announcement of a long message, or of the larger ring.
    fn announced(&mut self, len: usize) -> Result<(), LaneCorrupt> {
        let mut total = [0; 8];
        if len != total.len() {
            return Err(LaneCorrupt);
        }
        self.read_record(&mut total)?;
        let total = usize::try_from(u64::from_le_bytes(total)).map_err(|_| LaneCorrupt)?;
        match (total, self.larger) {
            (0, None) => return Err(LaneCorrupt),
            (0, Some(larger)) => {
                self.bytes = larger;
                self.larger = None;
            }
            _ => self.begun = Some(Begun { total, read: 0 }),
        }
        Ok(())
    }

    /// The record at the head, if there is one.
    #[inline]
    fn record(&mut self) -> Result<Option<Head>, LaneCorrupt> {
        if !self.has_data() {
            return Ok(None);
        }
        let available = self.tail_seen.since(self.head).words;
        if available > self.larger.unwrap_or(self.bytes).words() {
            return Err(LaneCorrupt);
        }
        // Some of it may lie in the larger ring.
        let here = available.min(self.bytes.words());
        self.bytes.head(&self.lane, self.head, here).map(Some).ok_or(LaneCorrupt)
    }

    /// Takes the record at the head, whose payload is as long as `into`.
    #[inline]
    fn read_record(&mut self, into: &mut [u8]) -> Result<(), LaneCorrupt> {
        let words = record_words(into.len()).ok_or(LaneCorrupt)?;
        if !self.bytes.read(&self.lane, self.head, into) {
            return Err(LaneCorrupt);
        }
        self.pass(words);
        Ok(())
    }

    /// Gives back the place of the record at the head, which has `words`.
    #[inline]
    fn pass(&mut self, words: u32) {
        self.head = self.head.after_record(words);
        // SYNC: lane.room.
        self.lane.head.store(self.head.to_bits(), Ordering::Release);
        self.took = true;
        crash_point("lane.read");
    }

    /// Wakes the writer, if it sleeps, when anything was read since the last call; whether that was so. A
    /// part of a message that is not whole yet counts too: without the room it gives, the rest could not
    /// come.
    pub fn give_room(&mut self) -> bool {
        let took = std::mem::take(&mut self.took);
        if took {
            // SYNC: eventcount.dekker.
            fence(Ordering::SeqCst);
            self.lane.room.notify_one();
        }
        took
    }

    /// Whether there is something to read that has not been looked at.
    #[inline]
    pub fn has_data(&mut self) -> bool {
        if self.tail_seen != self.head {
            return true;
        }
        // SYNC: lane.data.
        self.tail_seen = Mark::from_bits(self.lane.tail.load(Ordering::Acquire));
        self.tail_seen != self.head
    }

    /// As [`has_data`](Self::has_data), for who looks again and again: fetches the next record together with
    /// `tail`.
    #[inline]
    pub fn has_data_soon(&mut self) -> bool {
        self.bytes.will_read(&self.lane, self.head);
        self.has_data()
    }

    /// Waits until there is something to read: spins, then sleeps one slice at most.
    pub fn await_data(&mut self) {
        let mut patience = std::mem::replace(&mut self.patience, Patience::new(Deadline::NEVER));
        let lane = self.lane.clone();
        await_change(&lane.data, &mut patience, || self.has_data());
        self.patience = patience;
    }
}
