//! The end of a lane that writes. The protocol is described in `lane.rs`.

use super::{Lane, LaneRings, await_change};
use crate::ring::{Mark, Ring, record_words};
use procession_shm::{OpenError, Shared};
use procession_sync::Patience;
use procession_sys::atomic::Ordering;
use procession_sys::{Deadline, cpu, crash_point};
use std::collections::VecDeque;

/// A message is cut into parts when it is longer than the ring divided by this.
const PARTS: usize = 4;
/// Longer ones than this go faster through the larger ring, also those that fit into one record.
const SHORT: usize = 1 << 10;
/// How many words the record takes that announces a long message, or the larger ring.
const ANNOUNCEMENT_WORDS: u32 = 2;

/// The end that writes.
#[derive(Debug)]
pub struct LaneWriter {
    lane: Shared<Lane>,
    bytes: Ring,
    /// The ring to which the lane has not moved yet.
    larger: Option<Ring>,
    /// Messages up to this length are no reason to move there: their path does not count them.
    short: usize,
    /// How many bytes have gone through the first ring in longer ones.
    carried: usize,
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

impl LaneWriter {
    /// The writing end of a lane whose bytes lie in `rings`.
    #[must_use]
    pub fn new(lane: Shared<Lane>, rings: LaneRings) -> Self {
        let tail = Mark::from_bits(lane.tail.load(Ordering::Relaxed));
        let head_seen = Mark::from_bits(lane.head.load(Ordering::Acquire));
        Self {
            lane,
            bytes: rings.first,
            larger: rings.larger,
            short: if rings.larger.is_some() {
                SHORT.min(part_of(rings.first))
            } else {
                part_of(rings.first)
            },
            carried: 0,
            tail,
            head_seen,
            waiting: VecDeque::new(),
            begun: None,
            retracts: false,
            patience: Patience::new(Deadline::NEVER),
        }
    }

    /// Wakes the reader, if it sleeps, after something was written.
    pub fn notify_data(&self) {
        self.lane.notify_data();
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
        part_of(self.bytes)
    }

    /// A message will be written soon: fetches what the reader has had since the last one, both lines at
    /// once.
    #[inline]
    pub fn prepare(&self) {
        self.bytes.will_write(&self.lane, self.tail);
        cpu::will_write(&self.lane.tail);
    }

    /// Writes `message` if there is room for all of it in one record, and nothing waits before it.
    #[inline]
    pub fn try_write(&mut self, message: &[u8]) -> bool {
        self.waiting.is_empty()
            && self.may_begin()
            && (message.len() <= self.short || self.is_worth_no_move(message.len()) || self.enlarge())
            && self.write_record(message, false)
    }

    /// Writes as much of `message` as there is room for, a long one in parts; whether it is written wholly.
    /// To be called with the same message until it is, or until [`abandon`](Self::abandon).
    #[inline]
    pub fn write_some(&mut self, message: &[u8]) -> bool {
        if message.len() <= self.part() {
            return self.try_write(message);
        }
        self.write_parts(message)
    }

    #[inline(never)]
    fn write_parts(&mut self, message: &[u8]) -> bool {
        if !self.may_begin() {
            return false;
        }
        if self.begun.is_none() {
            if !self.enlarge() {
                return false;
            }
            if message.len() <= self.part() {
                return self.write_record(message, false);
            }
            if !self.write_record(&(message.len() as u64).to_le_bytes(), true) {
                return false;
            }
            self.begun = Some(0);
        }
        let mut written = self.begun.unwrap_or(0);
        while written < message.len() {
            self.begun = Some(written);
            let end = message.len().min(written + self.part());
            if !self.write_record(&message[written..end], end < message.len()) {
                return false;
            }
            written = end;
            // The reader can begin with this part while the next is written.
            self.lane.notify_data();
        }
        self.begun = None;
        true
    }

    /// The message that was begun, if one was, will never end: the reader will be told to forget it.
    pub fn abandon(&mut self) {
        self.retracts |= self.begun.take().is_some();
    }

    /// Whether a message can begin: what was begun before, and will never end, the reader has been told to
    /// forget.
    #[inline]
    fn may_begin(&mut self) -> bool {
        !self.retracts || self.retract()
    }

    #[cold]
    fn retract(&mut self) -> bool {
        self.retracts = !self.write_record(&[], true);
        !self.retracts
    }

    /// Whether a message, not a short one, is to be written where the lane is. To move takes as long as it
    /// takes to write as many bytes as the larger ring has: a lane that has carried so many may carry more.
    #[inline(never)]
    fn is_worth_no_move(&mut self, len: usize) -> bool {
        let Some(larger) = self.larger.filter(|_| len <= self.part()) else { return false };
        self.carried = self.carried.saturating_add(len);
        if self.carried < larger.words() as usize * 8 {
            return true;
        }
        // If it fails, it is tried again as many bytes later.
        self.carried = 0;
        false
    }

    /// Goes on in the larger ring, if there is one and memory for it; `false` while there is no room to say
    /// so. Only between two messages: in the middle of one it would be taken for a part.
    fn enlarge(&mut self) -> bool {
        let Some(larger) = self.larger.filter(|_| self.has_room(ANNOUNCEMENT_WORDS)) else {
            return self.larger.is_none();
        };
        match larger.reserve(&self.lane) {
            Ok(()) => {}
            // Too many open files, perhaps: with the next long message it may be different.
            Err(OpenError::Os { .. }) => return true,
            Err(_) => {
                self.stay_in(self.bytes);
                return true;
            }
        }
        crash_point("lane.reserved");
        if !self.write_record(&0_u64.to_le_bytes(), true) {
            return false;
        }
        self.stay_in(larger);
        true
    }

    /// Moves to this ring for good.
    fn stay_in(&mut self, ring: Ring) {
        (self.bytes, self.larger, self.short) = (ring, None, part_of(ring));
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

    /// Whether the reader's word says that it has read what was never written: then there never is room
    /// again.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        self.tail.since(self.head_seen).words > self.bytes.words()
    }

    /// Writes as much of what waits as there is room for; whether anything was written.
    pub fn pump(&mut self) -> bool {
        let before = self.tail;
        while let Some(message) = self.waiting.pop_front() {
            let written = if message.len() <= self.part() {
                self.may_begin() && self.write_record(&message, false)
            } else {
                self.write_parts(&message)
            };
            if !written {
                self.waiting.push_front(message);
                break;
            }
        }
        self.tail != before
    }

    #[inline]
    fn write_record(&mut self, payload: &[u8], continues: bool) -> bool {
        let Some(words) = record_words(payload.len()) else { return false };
        if !self.has_room(words) || !self.bytes.write(&self.lane, self.tail, payload, continues) {
            return false;
        }
        crash_point("lane.written");
        self.tail = self.tail.after_record(words);
        // SYNC: lane.data.
        self.lane.tail.store(self.tail.to_bits(), Ordering::Release);
        crash_point("lane.committed");
        true
    }

    #[inline]
    fn has_room(&mut self, words: u32) -> bool {
        let fits = |used: Mark| used.words <= self.bytes.words() && self.bytes.words() - used.words >= words;
        if fits(self.tail.since(self.head_seen)) {
            return true;
        }
        // SYNC: lane.room.
        let head = Mark::from_bits(self.lane.head.load(Ordering::Acquire));
        let there_is = fits(self.tail.since(head));
        self.head_seen = head;
        there_is
    }

    /// Whether there is room for what of a message of `len` bytes is to be written next.
    pub fn has_room_for(&mut self, len: usize) -> bool {
        let next = match self.begun {
            _ if self.retracts => 0,
            Some(written) => len - written,
            None if len > self.part() => size_of::<u64>(),
            None => len,
        };
        self.has_room(record_words(next.min(self.part())).unwrap_or(1))
    }

    /// Waits until some of what waits can be written: spins, then sleeps one slice at most.
    pub fn await_room(&mut self) {
        let len = self.waiting.front().map_or(0, Vec::len);
        let mut patience = std::mem::replace(&mut self.patience, Patience::new(Deadline::NEVER));
        let lane = self.lane.clone();
        await_change(&lane.room, &mut patience, || self.has_room_for(len));
        self.patience = patience;
    }
}

/// How long a message can be that is written as one record.
const fn part_of(ring: Ring) -> usize {
    ring.words() as usize * 8 / PARTS
}
