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
use procession_sys::{PerProcess, shm_struct};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};

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
        // A forked child may have inherited its parent's taken, for ever.
        static TURN: PerProcess<Mutex<()>> = PerProcess::new(Mutex::default);
        let mut bytes = Vec::new();
        let is_encoded = place.is_some_and(|place| codec::encode(place, &mut bytes).is_ok());
        let _turn = TURN.get().lock().unwrap_or_else(PoisonError::into_inner);
        // With a name that is too long nobody knows.
        let len = if is_encoded && bytes.len() <= HOME_LEN { bytes.len() } else { 0 };
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

#[cfg(test)]
mod tests {
    use super::{HOME_LEN, Home, Location};
    use crate::{Queue, codec};
    use procession_shm::Namespace;
    use procession_sys::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
    use serde::Serialize;

    fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::encode(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn of_two_threads_that_send_one_end_at_once_one_is_believed() {
        let (turn, len, of) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU64::new(0));
        let home = Home { turn, len, of, bytes: [const { AtomicU8::new(0) }; HOME_LEN] };
        let namespace = Namespace::private();
        let queues = [(); 2].map(|()| Queue::<u32>::options().namespace(&namespace).anonymous().unwrap());
        // A queue is written as its handle.
        let location = |queue| Location { object: codec::decode(&encoded(queue)).unwrap(), receiver: None };
        let both = [0, 1].map(|n| encoded(&location(&queues[n])));
        home.set(7, Some(&location(&queues[0])));
        std::thread::scope(|scope| {
            for queue in &queues {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        home.set(7, Some(&location(queue)));
                        let turn = home.turn.load(Ordering::Acquire);
                        let known = home.get(7).map(|location| encoded(&location));
                        fence(Ordering::Acquire);
                        // Unless it was written meanwhile.
                        if turn.is_multiple_of(2) && home.turn.load(Ordering::Relaxed) == turn {
                            assert!(known.is_some_and(|known| both.contains(&known)));
                        }
                    }
                });
            }
        });
    }
}
