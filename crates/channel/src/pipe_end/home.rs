//! Where the message is in which an end travels: so that the other side can find out that nobody will ever
//! get it.
//!
//! | word | meaning |
//! |---|---|
//! | `turn` | odd while the place is written; another number whenever it was |
//! | `of` | the word of the end's cell of which that is true: who carries it, and the how manieth time it was sent off |
//! | `len` | how many bytes say where; 0: nobody knows, and the end is its carrier's as long as that lives |
//! | `bytes` | an encoded [`Location`] |
//!
//! # Who may change what
//! Who carries the end, before it puts the message, and again when the message was not put. Its threads take
//! turns.
//!
//! # If a process dies
//! Killed anywhere in here, it is the end's carrier, and the end is dead with it. The next carrier writes all
//! of it anew.

use crate::codec;
use procession_shm::{Handle, Segment};
use procession_sys::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use procession_sys::shm_struct;
use serde::{Deserialize, Serialize};
use std::sync::Mutex;

/// For any object but one with the longest names of all.
const HOME_LEN: usize = 240;

shm_struct! {
    /// Where the message is in which an end travels.
    pub struct Home {
        turn: AtomicU32,
        len: AtomicU32,
        of: AtomicU64,
        bytes: [AtomicU8; HOME_LEN],
    }
}

/// A queue or a pipe that messages are in.
#[derive(Serialize, Deserialize)]
pub(crate) struct Location {
    /// Which it is.
    pub(crate) object: Handle,
    /// Of a pipe: the end that receives them.
    pub(crate) receiver: Option<u8>,
}

impl Location {
    pub(crate) fn of_queue(queue: &Segment) -> Self {
        Self { object: queue.handle(), receiver: None }
    }
}

impl Home {
    /// Writes where the message is in which an end travels whose cell has the word `of`; `None` where nobody
    /// can be asked.
    pub(super) fn set(&self, of: u64, place: Option<&Location>) {
        static TURN: Mutex<()> = Mutex::new(());
        let mut bytes = Vec::new();
        let is_encoded = place.is_some_and(|place| codec::encode(place, &mut bytes).is_ok());
        // A forked child may have inherited the turn taken. Then nobody knows, as with a name that is too
        // long.
        let turn = TURN.try_lock();
        let len = if is_encoded && turn.is_ok() && bytes.len() <= HOME_LEN { bytes.len() } else { 0 };
        if len == 0 && self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let writing = self.turn.load(Ordering::Relaxed).wrapping_add(1) | 1;
        self.turn.store(writing, Ordering::Relaxed);
        fence(Ordering::Release);
        for (cell, &byte) in self.bytes.iter().zip(&bytes[..len]) {
            cell.store(byte, Ordering::Relaxed);
        }
        self.of.store(of, Ordering::Relaxed);
        self.len.store(len as u32, Ordering::Relaxed);
        self.turn.store(writing.wrapping_add(1), Ordering::Release);
    }

    /// Where the message is in which an end travels whose cell has the word `of`, if that is known and is not
    /// being written.
    pub(super) fn get(&self, of: u64) -> Option<Location> {
        let turn = self.turn.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Relaxed) as usize;
        if len == 0 || !turn.is_multiple_of(2) || self.of.load(Ordering::Relaxed) != of {
            return None;
        }
        let bytes: Vec<u8> = self.bytes.iter().take(len).map(|byte| byte.load(Ordering::Relaxed)).collect();
        fence(Ordering::Acquire);
        let is_whole = self.turn.load(Ordering::Relaxed) == turn;
        codec::decode(&bytes).ok().filter(|_| is_whole)
    }
}
