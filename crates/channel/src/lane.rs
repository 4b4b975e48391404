//! A one-way ring between one writer and one reader, without locks.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `tail` | the writer | words and records written; **its store commits a record** |
//! | `head` | the reader | words and records read; **its store gives their place back** |
//! | `data`, `room` | both | eventcounts: the reader sleeps on the first, the writer on the second |
//!
//! Messages longer than a part of the ring are cut into records that [continue](crate::ring): the first of them
//! announces the length of the message, the others are its parts, and the last one does not continue. A continuing
//! record without bytes retracts what was begun. The reader has a message when it has its last part. There is one
//! writer and one reader because their owner makes it so: the ends are not `Clone`.
//!
//! # Two rings
//! A lane may have a second, larger ring, which takes no memory until a message comes that is longer than a part of the
//! first. Then the writer reserves it, and announces a message of no bytes: the record after that lies in the larger ring,
//! and so do all others. `tail` and `head` go on counting. Without memory for it the lane stays where it is. What is
//! gained is said in `docs/design/0006-two-rings.md`. Each side remembers in which ring it is, so one handle has to be
//! the writer, and one the reader, from first to last.
//!
//! # Orderings
//! Edges `lane.data` and `lane.room`: the Release store of `tail` (`head`) meets the other side's Acquire load.
//!
//! # If a process dies
//! | killed | left behind |
//! |---|---|
//! | the writer, before the store of `tail` | nothing that anybody sees |
//! | the writer, in the middle of a long message | parts of a message that never ends; who knows of the death drops them |
//! | the writer, after it reserved the larger ring | its memory, as long as the object |
//! | the writer, after it announced the larger ring | nothing: no message was begun |
//! | the reader, before the store of `head` | the record is still there |

use crate::ring::{Head, Mark, Ring, record_words};
use procession_shm::{OpenError, Shared};
use procession_sync::{EventCount, Nap, Patience, Stop, spin_until};
use procession_sys::atomic::{AtomicU64, Ordering, fence};
use procession_sys::cpu;
use procession_sys::{Deadline, ShmSafe, crash_point, shm_struct};
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// Between two looks of a waiter that does not sleep yet.
const PAUSES: RangeInclusive<u32> = 1..=16;
/// A message is cut into parts when it is longer than the ring divided by this.
const PARTS: usize = 4;
/// How many words the record takes that announces a long message, or the larger ring.
const ANNOUNCEMENT_WORDS: u32 = 2;

shm_struct! {
    /// The words of a lane; its bytes lie elsewhere in the same body.
    pub struct Lane {
        tail: AtomicU64,
        tail_spare: [AtomicU64; 7],
        head: AtomicU64,
        head_spare: [AtomicU64; 7],
        data: EventCount,
        data_spare: [AtomicU64; 6],
        room: EventCount,
        room_spare: [AtomicU64; 6],
    }
}

/// The other side wrote something impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring between two processes is corrupt")]
pub struct LaneCorrupt;

/// The end that writes.
#[derive(Debug)]
pub struct LaneWriter {
    bytes: Ring,
    /// The ring to which the lane has not moved yet.
    larger: Option<Ring>,
    tail: Mark,
    head_seen: Mark,
    /// Messages that did not fit yet; some parts of the first may have been written.
    waiting: VecDeque<Vec<u8>>,
    /// How many bytes of a long message that was announced have been written.
    begun: Option<usize>,
    /// Whether a message was begun that will never end.
    retracts: bool,
    patience: Patience,
}

/// The end that reads.
#[derive(Debug)]
pub struct LaneReader {
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

impl LaneWriter {
    /// The writing end of a lane whose `len` bytes, a power of two, lie at `offset` in the body.
    #[must_use]
    pub fn new(lane: &Lane, offset: usize, len: u32) -> Self {
        let tail = Mark::from_bits(lane.tail.load(Ordering::Relaxed));
        Self {
            bytes: Ring::new(offset, len / 8),
            larger: None,
            tail,
            head_seen: Mark::from_bits(lane.head.load(Ordering::Acquire)),
            waiting: VecDeque::new(),
            begun: None,
            retracts: false,
            patience: Patience::new(Deadline::NEVER),
        }
    }

    /// Gives the lane a larger ring, which need not be reserved: where it lies, and how many bytes, a power of two, it has.
    #[must_use]
    pub fn with_larger(self, ring: Option<(usize, u32)>) -> Self {
        Self { larger: ring.map(|(offset, len)| Ring::new(offset, len / 8)), ..self }
    }

    /// The longest message that can be written as one record, in bytes.
    #[must_use]
    pub fn most(&self) -> usize {
        (self.larger.unwrap_or(self.bytes).words() as usize - 1) * 8
    }

    /// Messages up to this length are written as one record, unless whoever writes one cannot wait.
    #[inline]
    #[must_use]
    pub fn part(&self) -> usize {
        self.bytes.words() as usize * 8 / PARTS
    }

    /// A message will be written soon: fetches what the reader has had since the last one, both lines at once.
    #[inline]
    pub fn prepare<T: ShmSafe>(&self, body: &Shared<T>, lane: &Lane) {
        self.bytes.will_write(body, self.tail);
        cpu::will_write(&lane.tail);
    }

    /// Writes `message` if there is room for all of it in one record, and nothing waits before it.
    #[inline]
    pub fn try_write<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane, message: &[u8]) -> bool {
        self.waiting.is_empty()
            && self.may_begin(body, lane)
            && (message.len() <= self.part() || self.enlarge(body, lane))
            && self.write_record(body, lane, message, false)
    }

    /// Writes as much of `message` as there is room for, a long one in parts; whether it is written wholly. To be called
    /// with the same message until it is, or until [`abandon`](Self::abandon).
    #[inline]
    pub fn write_some<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane, message: &[u8]) -> bool {
        if message.len() <= self.part() {
            return self.try_write(body, lane, message);
        }
        self.write_parts(body, lane, message)
    }

    #[inline(never)]
    fn write_parts<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane, message: &[u8]) -> bool {
        if !self.may_begin(body, lane) {
            return false;
        }
        if self.begun.is_none() {
            if !self.enlarge(body, lane) {
                return false;
            }
            if message.len() <= self.part() {
                return self.write_record(body, lane, message, false);
            }
            if !self.write_record(body, lane, &(message.len() as u64).to_le_bytes(), true) {
                return false;
            }
            self.begun = Some(0);
        }
        let mut written = self.begun.unwrap_or(0);
        while written < message.len() {
            self.begun = Some(written);
            let end = message.len().min(written + self.part());
            if !self.write_record(body, lane, &message[written..end], end < message.len()) {
                return false;
            }
            written = end;
            // The reader can begin with this part while the next is written.
            lane.notify_data();
        }
        self.begun = None;
        true
    }

    /// The message that was begun, if one was, will never end: the reader will be told to forget it.
    pub fn abandon(&mut self) {
        self.retracts |= self.begun.take().is_some();
    }

    /// Whether a message can begin: what was begun before, and will never end, the reader has been told to forget.
    #[inline]
    fn may_begin<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane) -> bool {
        !self.retracts || self.retract(body, lane)
    }

    #[cold]
    fn retract<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane) -> bool {
        self.retracts = !self.write_record(body, lane, &[], true);
        !self.retracts
    }

    /// Goes on in the larger ring, if there is one and memory for it; `false` while there is no room to say so. Only between
    /// two messages: in the middle of one it would be taken for a part.
    fn enlarge<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane) -> bool {
        let Some(larger) = self.larger.filter(|_| self.has_room(lane, ANNOUNCEMENT_WORDS)) else {
            return self.larger.is_none();
        };
        match larger.reserve(body) {
            Ok(()) => {}
            // Too many open files, perhaps: with the next long message it may be different.
            Err(OpenError::Os { .. }) => return true,
            Err(_) => {
                self.larger = None;
                return true;
            }
        }
        crash_point("lane.reserved");
        if !self.write_record(body, lane, &0_u64.to_le_bytes(), true) {
            return false;
        }
        (self.bytes, self.larger) = (larger, None);
        true
    }

    /// Lets `message` wait its turn; [`pump`](Self::pump) writes what waits.
    pub fn enqueue(&mut self, message: Vec<u8>) {
        self.waiting.push_back(message);
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the reader's word says that it has read what was never written: then there never is room again.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        self.tail.since(self.head_seen).words > self.bytes.words()
    }

    /// Writes as much of what waits as there is room for; whether anything was written.
    pub fn pump<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane) -> bool {
        let before = self.tail;
        while let Some(message) = self.waiting.pop_front() {
            let written = if message.len() <= self.part() {
                self.may_begin(body, lane) && self.write_record(body, lane, &message, false)
            } else {
                self.write_parts(body, lane, &message)
            };
            if !written {
                self.waiting.push_front(message);
                break;
            }
        }
        self.tail != before
    }

    #[inline]
    fn write_record<T: ShmSafe>(
        &mut self,
        body: &Shared<T>,
        lane: &Lane,
        payload: &[u8],
        continues: bool,
    ) -> bool {
        let Some(words) = record_words(payload.len()) else { return false };
        if !self.has_room(lane, words) || !self.bytes.write(body, self.tail, payload, continues) {
            return false;
        }
        crash_point("lane.written");
        self.tail = self.tail.after_record(words);
        // SYNC: lane.data.
        lane.tail.store(self.tail.to_bits(), Ordering::Release);
        crash_point("lane.committed");
        true
    }

    #[inline]
    fn has_room(&mut self, lane: &Lane, words: u32) -> bool {
        let fits = |used: Mark| used.words <= self.bytes.words() && self.bytes.words() - used.words >= words;
        if fits(self.tail.since(self.head_seen)) {
            return true;
        }
        // SYNC: lane.room.
        let head = Mark::from_bits(lane.head.load(Ordering::Acquire));
        let there_is = fits(self.tail.since(head));
        self.head_seen = head;
        there_is
    }

    /// Whether there is room for what of a message of `len` bytes is to be written next.
    pub fn has_room_for(&mut self, lane: &Lane, len: usize) -> bool {
        let next = match self.begun {
            _ if self.retracts => 0,
            Some(written) => len - written,
            None if len > self.part() => size_of::<u64>(),
            None => len,
        };
        self.has_room(lane, record_words(next.min(self.part())).unwrap_or(1))
    }

    /// Waits until some of what waits can be written: spins, then sleeps one slice at most.
    pub fn await_room(&mut self, lane: &Lane) {
        let len = self.waiting.front().map_or(0, Vec::len);
        let mut patience = std::mem::replace(&mut self.patience, Patience::new(Deadline::NEVER));
        await_change(&lane.room, &mut patience, || self.has_room_for(lane, len));
        self.patience = patience;
    }
}

impl LaneReader {
    /// The reading end of a lane whose `len` bytes, a power of two, lie at `offset` in the body.
    #[must_use]
    pub fn new(lane: &Lane, offset: usize, len: u32) -> Self {
        let head = Mark::from_bits(lane.head.load(Ordering::Relaxed));
        Self {
            bytes: Ring::new(offset, len / 8),
            larger: None,
            head,
            tail_seen: Mark::from_bits(lane.tail.load(Ordering::Acquire)),
            begun: None,
            kept: Vec::new(),
            took: false,
            patience: Patience::new(Deadline::NEVER),
        }
    }

    /// As [`LaneWriter::with_larger`], with the same ring.
    #[must_use]
    pub fn with_larger(self, ring: Option<(usize, u32)>) -> Self {
        Self { larger: ring.map(|(offset, len)| Ring::new(offset, len / 8)), ..self }
    }

    /// Reads the next message into `into`, which is cleared, if there is a whole one.
    ///
    /// # Errors
    /// [`LaneCorrupt`].
    #[inline]
    pub fn try_read<T: ShmSafe>(
        &mut self,
        body: &Shared<T>,
        lane: &Lane,
        into: &mut Vec<u8>,
    ) -> Result<bool, LaneCorrupt> {
        match self.next_len(body, lane, &mut [])? {
            None => Ok(false),
            Some(len) => self.read(body, lane, len, into).map(|()| true),
        }
    }

    /// Reads the message of `len` bytes that [`next_len`](Self::next_len) has just found.
    ///
    /// # Errors
    /// [`LaneCorrupt`].
    #[inline]
    pub fn read<T: ShmSafe>(
        &mut self,
        body: &Shared<T>,
        lane: &Lane,
        len: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), LaneCorrupt> {
        if self.begun.take().is_some() {
            *into = std::mem::take(&mut self.kept);
            return Ok(());
        }
        into.clear();
        let words = record_words(len).ok_or(LaneCorrupt)?;
        if !self.bytes.append(body, self.head, len, into) {
            return Err(LaneCorrupt);
        }
        self.pass(lane, words);
        Ok(())
    }

    /// As [`read`](Self::read), into `into`, which is as long as the message.
    ///
    /// # Errors
    /// [`LaneCorrupt`].
    pub fn read_into<T: ShmSafe>(
        &mut self,
        body: &Shared<T>,
        lane: &Lane,
        into: &mut [u8],
    ) -> Result<(), LaneCorrupt> {
        if self.begun.take().is_none() {
            return self.read_record(body, lane, into);
        }
        if let Some(place) = into.get_mut(..self.kept.len()) {
            place.copy_from_slice(&self.kept);
            self.kept = Vec::new();
        }
        Ok(())
    }

    /// How long the next message is, if there is a whole one. What has come of a long message is read meanwhile: into
    /// `place` if it is long enough, and then the same must be given again, or else [`keep`](Self::keep) be called.
    ///
    /// # Errors
    /// [`LaneCorrupt`].
    #[inline]
    pub fn next_len<T: ShmSafe>(
        &mut self,
        body: &Shared<T>,
        lane: &Lane,
        place: &mut [u8],
    ) -> Result<Option<usize>, LaneCorrupt> {
        if self.begun.is_some() {
            return self.assemble(body, lane, place);
        }
        match self.record(body, lane)? {
            Some(head) if head.continues => self.assemble(body, lane, place),
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
    fn assemble<T: ShmSafe>(
        &mut self,
        body: &Shared<T>,
        lane: &Lane,
        place: &mut [u8],
    ) -> Result<Option<usize>, LaneCorrupt> {
        loop {
            if let Some(begun) = self.begun.filter(|begun| begun.read == begun.total) {
                return Ok(Some(begun.total));
            }
            let Some(head) = self.record(body, lane)? else { return Ok(None) };
            match self.begun {
                None if !head.continues => return Ok(Some(head.len)),
                None => self.announced(body, lane, head.len)?,
                Some(_) if head.continues && head.len == 0 => {
                    self.read_record(body, lane, &mut [])?;
                    self.forget();
                }
                Some(Begun { total, read }) => {
                    let end = read + head.len;
                    if end > total || head.continues == (end == total) {
                        return Err(LaneCorrupt);
                    }
                    if self.kept.is_empty() && place.len() >= total {
                        self.read_record(body, lane, &mut place[read..end])?;
                    } else {
                        let mut kept = std::mem::take(&mut self.kept);
                        kept.resize(end, 0);
                        self.read_record(body, lane, &mut kept[read..])?;
                        self.kept = kept;
                    }
                    self.begun = Some(Begun { total, read: end });
                    // The writer can use the room while the next part is read.
                    // SYNC: eventcount.dekker.
                    fence(Ordering::SeqCst);
                    lane.room.notify_one();
                }
            }
        }
    }

    /// Reads the announcement of a long message, or of the larger ring.
    fn announced<T: ShmSafe>(
        &mut self,
        body: &Shared<T>,
        lane: &Lane,
        len: usize,
    ) -> Result<(), LaneCorrupt> {
        let mut total = [0; 8];
        if len != total.len() {
            return Err(LaneCorrupt);
        }
        self.read_record(body, lane, &mut total)?;
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
    fn record<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane) -> Result<Option<Head>, LaneCorrupt> {
        if !self.has_data(lane) {
            return Ok(None);
        }
        let available = self.tail_seen.since(self.head).words;
        if available > self.larger.unwrap_or(self.bytes).words() {
            return Err(LaneCorrupt);
        }
        // Some of it may lie in the larger ring.
        let here = available.min(self.bytes.words());
        self.bytes.head(body, self.head, here).map(Some).ok_or(LaneCorrupt)
    }

    /// Takes the record at the head, whose payload is as long as `into`.
    #[inline]
    fn read_record<T: ShmSafe>(
        &mut self,
        body: &Shared<T>,
        lane: &Lane,
        into: &mut [u8],
    ) -> Result<(), LaneCorrupt> {
        let words = record_words(into.len()).ok_or(LaneCorrupt)?;
        if !self.bytes.read(body, self.head, into) {
            return Err(LaneCorrupt);
        }
        self.pass(lane, words);
        Ok(())
    }

    /// Gives back the place of the record at the head, which has `words`.
    #[inline]
    fn pass(&mut self, lane: &Lane, words: u32) {
        self.head = self.head.after_record(words);
        // SYNC: lane.room.
        lane.head.store(self.head.to_bits(), Ordering::Release);
        self.took = true;
        crash_point("lane.read");
    }

    /// Wakes the writer, if it sleeps, when anything was read since the last call; whether that was so. A part of a
    /// message that is not whole yet counts too: without the room it gives, the rest could not come.
    pub fn give_room(&mut self, lane: &Lane) -> bool {
        let took = std::mem::take(&mut self.took);
        if took {
            // SYNC: eventcount.dekker.
            fence(Ordering::SeqCst);
            lane.room.notify_one();
        }
        took
    }

    /// Whether there is something to read that has not been looked at.
    #[inline]
    pub fn has_data(&mut self, lane: &Lane) -> bool {
        if self.tail_seen != self.head {
            return true;
        }
        // SYNC: lane.data.
        self.tail_seen = Mark::from_bits(lane.tail.load(Ordering::Acquire));
        self.tail_seen != self.head
    }

    /// As [`has_data`](Self::has_data), for who looks again and again: fetches the next record together with `tail`.
    #[inline]
    pub fn has_data_soon<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane) -> bool {
        self.bytes.will_read(body, self.head);
        self.has_data(lane)
    }

    /// Waits until there is something to read: spins, then sleeps one slice at most.
    pub fn await_data(&mut self, lane: &Lane) {
        let mut patience = std::mem::replace(&mut self.patience, Patience::new(Deadline::NEVER));
        await_change(&lane.data, &mut patience, || self.has_data(lane));
        self.patience = patience;
    }
}

impl Lane {
    /// Wakes the reader, if it sleeps, after something was written.
    pub fn notify_data(&self) {
        // SYNC: eventcount.dekker.
        fence(Ordering::SeqCst);
        self.data.notify_one();
    }

    /// What the reader sleeps on.
    pub(crate) fn data(&self) -> &EventCount {
        &self.data
    }

    /// What the writer sleeps on.
    pub(crate) fn room(&self) -> &EventCount {
        &self.room
    }
}

/// Spins, then sleeps one slice at most; a new patience for the next wait if this one was rewarded.
fn await_change(bell: &EventCount, patience: &mut Patience, mut is_ready: impl FnMut() -> bool) {
    if spin_until(PAUSES, &mut is_ready) {
        *patience = Patience::new(Deadline::NEVER);
        return;
    }
    // No object that people know: nobody is shown the wait, and nothing interrupts it.
    let _: Result<Nap, Stop> = bell.wait(None, patience, is_ready);
}
