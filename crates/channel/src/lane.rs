//! A one-way ring between one writer and one reader, without locks.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `tail` | the writer | words and records written; **its store commits a record** |
//! | `head` | the reader | words and records read; **its store gives their place back** |
//! | `data`, `room` | both | eventcounts: the reader sleeps on the first, the writer on the second |
//!
//! Messages longer than a part of the ring are cut into records that [continue](crate::ring); the reader has a
//! message when it has its last record. There is one writer and one reader because their owner makes it so: the
//! ends are not `Clone`.
//!
//! # Orderings
//! Edges `lane.data` and `lane.room`: the Release store of `tail` (`head`) meets the other side's Acquire load.
//!
//! # If a process dies
//! | killed | left behind |
//! |---|---|
//! | the writer, before the store of `tail` | nothing that anybody sees |
//! | the writer, in the middle of a long message | records whose message never ends; who knows of the death drops them |
//! | the reader, before the store of `head` | the record is still there |

use crate::ring::{Bytes, Mark, record_words};
use procession_shm::Shared;
use procession_sync::{EventCount, Nap, Patience};
use procession_sys::atomic::{AtomicU64, Ordering, fence};
use procession_sys::cpu::Spin;
use procession_sys::{Deadline, ShmSafe, crash_point, shm_struct};
use std::collections::VecDeque;

const SPIN_NS: u64 = 20_000;
const SPIN_CAP: u32 = 16;

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
    bytes: Bytes,
    tail: Mark,
    head_seen: Mark,
    /// Messages that did not fit yet, the first of them from `sent` on.
    waiting: VecDeque<Vec<u8>>,
    sent: usize,
    patience: Patience,
}

/// The end that reads.
#[derive(Debug)]
pub struct LaneReader {
    bytes: Bytes,
    head: Mark,
    tail_seen: Mark,
    /// The beginning of a message whose end has not come.
    begun: Vec<u8>,
    /// Whether the writer has not been told of room yet.
    took: bool,
    patience: Patience,
}

impl LaneWriter {
    /// The writing end of a lane whose `len` bytes, a power of two, lie at `offset` in the body.
    #[must_use]
    pub fn new(lane: &Lane, offset: usize, len: u32) -> Self {
        let tail = Mark::from_bits(lane.tail.load(Ordering::Relaxed));
        Self {
            bytes: Bytes::new(offset, len / 8),
            tail,
            head_seen: Mark::from_bits(lane.head.load(Ordering::Acquire)),
            waiting: VecDeque::new(),
            sent: 0,
            patience: Patience::new(Deadline::NEVER),
        }
    }

    /// How many records were committed since the beginning, modulo 2^32.
    #[must_use]
    pub fn committed(&self) -> u32 {
        self.tail.items
    }

    /// Writes `message` if there is room for all of it in one record, and nothing waits before it.
    #[inline]
    pub fn try_write<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane, message: &[u8]) -> bool {
        self.waiting.is_empty() && self.write_record(body, lane, message, false)
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

    /// Writes as much of what waits as there is room for; whether anything was written.
    pub fn pump<T: ShmSafe>(&mut self, body: &Shared<T>, lane: &Lane) -> bool {
        let part = self.bytes.words() as usize * 8 / 4;
        let mut wrote = false;
        while let Some(message) = self.waiting.pop_front() {
            let end = message.len().min(self.sent + part);
            let continues = end < message.len();
            let written = self.write_record(body, lane, &message[self.sent..end], continues);
            wrote |= written;
            if written && !continues {
                self.sent = 0;
                continue;
            }
            if written {
                self.sent = end;
            }
            self.waiting.push_front(message);
            if !written {
                break;
            }
        }
        wrote
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

    /// Waits until some of what waits can be written: spins, then sleeps one slice at most.
    pub fn await_room(&mut self, lane: &Lane) {
        let next = self.waiting.front().map_or(0, |message| message.len() - self.sent);
        let part = self.bytes.words() as usize * 8 / 4;
        let words = record_words(next.min(part)).unwrap_or(1);
        let mut patience = std::mem::replace(&mut self.patience, Patience::new(Deadline::NEVER));
        await_change(&lane.room, &mut patience, || self.has_room(lane, words));
        self.patience = patience;
    }
}

impl LaneReader {
    /// The reading end of a lane whose `len` bytes, a power of two, lie at `offset` in the body.
    #[must_use]
    pub fn new(lane: &Lane, offset: usize, len: u32) -> Self {
        let head = Mark::from_bits(lane.head.load(Ordering::Relaxed));
        Self {
            bytes: Bytes::new(offset, len / 8),
            head,
            tail_seen: Mark::from_bits(lane.tail.load(Ordering::Acquire)),
            begun: Vec::new(),
            took: false,
            patience: Patience::new(Deadline::NEVER),
        }
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
        loop {
            if !self.has_data(lane) {
                return Ok(false);
            }
            let available = self.tail_seen.since(self.head).words;
            if available > self.bytes.words() {
                return Err(LaneCorrupt);
            }
            let record = self.bytes.head(body, self.head, available).ok_or(LaneCorrupt)?;
            let in_parts = record.continues || !self.begun.is_empty();
            let target = if in_parts { &mut self.begun } else { &mut *into };
            let start = if in_parts { target.len() } else { 0 };
            target.resize(start + record.len, 0);
            if !self.bytes.read(body, self.head, &mut target[start..]) {
                return Err(LaneCorrupt);
            }
            self.head = self.head.after_record(record.words);
            // SYNC: lane.room.
            lane.head.store(self.head.to_bits(), Ordering::Release);
            self.took = true;
            crash_point("lane.read");
            if record.continues {
                continue;
            }
            if in_parts {
                *into = std::mem::take(&mut self.begun);
            }
            return Ok(true);
        }
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

    #[inline]
    fn has_data(&mut self, lane: &Lane) -> bool {
        if self.tail_seen != self.head {
            return true;
        }
        // SYNC: lane.data.
        self.tail_seen = Mark::from_bits(lane.tail.load(Ordering::Acquire));
        self.tail_seen != self.head
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
        fence(Ordering::SeqCst);
        self.data.notify_one();
    }
}

/// Spins, then sleeps one slice at most; a new patience for the next wait if this one was rewarded.
fn await_change(bell: &EventCount, patience: &mut Patience, mut is_ready: impl FnMut() -> bool) {
    let mut spin = Spin::for_ns(SPIN_NS);
    loop {
        if is_ready() {
            *patience = Patience::new(Deadline::NEVER);
            return;
        }
        if !spin.pause(SPIN_CAP) {
            break;
        }
    }
    let listened = bell.listen();
    if !is_ready() && bell.sleep(listened, patience) != Nap::Changed {
        bell.arrive();
    }
}
