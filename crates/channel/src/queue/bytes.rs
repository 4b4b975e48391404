//! Bytes as messages: they are copied once into the queue and once out of it, and no codec looks at them.

use super::Queue;
use super::core::Core;
use super::ends::{HeldNote, QueueEnd};
use super::error::{GetError, PutError};
use crate::codec::{NotBytes, is_encoded};
use procession_sys::Deadline;
use std::time::Duration;

impl<T> Queue<T> {
    /// The queue's messages as bytes. The queue must have [`Codec::Bytes`](crate::Codec::Bytes), as a
    /// `Queue<Bytes>` has: in any other the bytes would be taken for a value, or a value for bytes, and each
    /// call says [`PutError::NotBytes`]. Of a queue of [`Encoded`](crate::Encoded) messages, in whatever codec, they are
    /// the encoded ones; what takes them into a buffer is for bytes and pickles alone.
    ///
    /// ```
    /// use procession::{Bytes, Queue};
    /// let frames: Queue<Bytes> = Queue::new()?;
    /// frames.bytes().put(&[7; 1000])?;
    /// let mut frame = [0; 1024];
    /// let len = frames.bytes().get_into(&mut frame)?;
    /// assert_eq!(frame[..len], [7; 1000]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn bytes(&self) -> QueueBytes<'_> {
        QueueBytes { core: &self.body, as_they_lie: is_encoded::<T>() }
    }
}

/// A queue's messages as bytes: see [`Queue::bytes`].
#[derive(Clone, Copy, Debug)]
pub struct QueueBytes<'q> {
    core: &'q Core,
    /// Whether they are messages of the queue's codec, whichever that is.
    as_they_lie: bool,
}

impl QueueBytes<'_> {
    /// Puts bytes as one message, waiting for room.
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::NotBytes`], [`PutError::Spill`], [`PutError::Fault`].
    pub fn put(self, message: &[u8]) -> Result<(), PutError> {
        self.put_until(message, Deadline::NEVER)
    }

    /// Puts bytes if there is room now.
    ///
    /// # Errors
    /// [`PutError::WouldBlock`]; otherwise as [`put`](Self::put).
    pub fn try_put(self, message: &[u8]) -> Result<(), PutError> {
        self.put_until(message, Deadline::PASSED).map_err(PutError::at_once)
    }

    /// Puts bytes, waiting for room at most `timeout`.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put`](Self::put).
    pub fn put_timeout(self, message: &[u8], timeout: Duration) -> Result<(), PutError> {
        self.put_until(message, Deadline::after(timeout))
    }

    /// Takes the first message out, waiting for one.
    ///
    /// # Errors
    /// [`GetError::Closed`] once the queue is closed and drained, [`GetError::NotBytes`],
    /// [`GetError::Spill`], [`GetError::Lost`], [`GetError::Fault`].
    pub fn get(self) -> Result<Vec<u8>, GetError> {
        self.get_until(Deadline::NEVER)
    }

    /// Takes the first message out if there is one now.
    ///
    /// # Errors
    /// [`GetError::WouldBlock`]; otherwise as [`get`](Self::get).
    pub fn try_get(self) -> Result<Vec<u8>, GetError> {
        self.get_until(Deadline::PASSED).map_err(GetError::at_once)
    }

    /// Takes the first message out, waiting for one at most `timeout`.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get`](Self::get).
    pub fn get_timeout(self, timeout: Duration) -> Result<Vec<u8>, GetError> {
        self.get_until(Deadline::after(timeout))
    }

    /// Takes the first message out into `into`, waiting for one; how long it is.
    ///
    /// # Errors
    /// [`GetError::BufferTooShort`], and then the message stays; otherwise as [`get`](Self::get).
    pub fn get_into(self, into: &mut [u8]) -> Result<usize, GetError> {
        self.get_into_until(into, Deadline::NEVER)
    }

    /// Takes the first message out into `into` if there is one now; how long it is.
    ///
    /// # Errors
    /// [`GetError::WouldBlock`]; otherwise as [`get_into`](Self::get_into).
    pub fn try_get_into(self, into: &mut [u8]) -> Result<usize, GetError> {
        self.get_into_until(into, Deadline::PASSED).map_err(GetError::at_once)
    }

    /// Takes the first message out into `into`, waiting for one at most `timeout`; how long it is.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get_into`](Self::get_into).
    pub fn get_into_timeout(self, into: &mut [u8], timeout: Duration) -> Result<usize, GetError> {
        self.get_into_until(into, Deadline::after(timeout))
    }

    /// Takes the first message out, if there is one now, into what `room` makes for so many bytes. So it is copied once to
    /// where it stays, whatever that is: bytes of another language, for one. Nobody else can get while `room` works.
    ///
    /// ```
    /// use procession::{Bytes, Queue};
    /// let frames: Queue<Bytes> = Queue::new()?;
    /// frames.bytes().put(b"frame")?;
    /// let frame = frames.bytes().try_get_as(|len| vec![0; len].into_boxed_slice())?;
    /// assert_eq!(*frame, *b"frame");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GetError::BufferTooShort`] if it made less, and then the message stays, as it does when `room` panics;
    /// [`GetError::SlotHeld`] inside `room` of this queue; [`Fault::Inherited`](procession_sync::Fault::Inherited) in the
    /// child of a fork inside `room`; otherwise as [`try_get_into`](Self::try_get_into).
    pub fn try_get_as<B: AsMut<[u8]>>(self, room: impl FnOnce(usize) -> B) -> Result<B, GetError> {
        let room = |len| {
            // A get in there would wait for itself.
            let _note = HeldNote::new(self.core.segment(), QueueEnd::Head);
            room(len)
        };
        let (message, _) = self.get_as_until(room, Deadline::PASSED).map_err(GetError::at_once)?;
        Ok(message)
    }

    fn put_until(self, message: &[u8], deadline: Deadline) -> Result<(), PutError> {
        self.may_be_used()?;
        self.core.put(message, deadline)
    }

    fn get_until(self, deadline: Deadline) -> Result<Vec<u8>, GetError> {
        self.may_be_used()?;
        let mut message = Vec::new();
        drop(self.core.get(&mut message, deadline)?);
        Ok(message)
    }

    fn get_into_until(self, into: &mut [u8], deadline: Deadline) -> Result<usize, GetError> {
        let (_, len) = self.get_as_until(|_| into, deadline)?;
        Ok(len)
    }

    fn get_as_until<B: AsMut<[u8]>>(
        self,
        room: impl FnOnce(usize) -> B,
        deadline: Deadline,
    ) -> Result<(B, usize), GetError> {
        // Behind a message of values there may be ends of pipes, which have no room in a buffer.
        if !self.as_they_lie || self.core.carries_ends() {
            self.core.must_be_bytes()?;
        }
        self.core.get_as(room, deadline)
    }

    fn may_be_used(self) -> Result<(), NotBytes> {
        if self.as_they_lie { Ok(()) } else { self.core.must_be_bytes() }
    }
}
