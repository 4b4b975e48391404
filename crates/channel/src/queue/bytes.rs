//! Bytes as messages: they are copied once into the queue and once out of it, and no codec looks at them.

use super::Queue;
use super::error::{GetError, PutError};
use procession_sys::Deadline;
use std::time::Duration;

impl<T> Queue<T> {
    /// Puts bytes as one message, waiting for room. For anything but small messages this is much faster than a `Vec<u8>`
    /// by [`put`](Self::put). Whoever gets it must know that it is bytes: [`get`](Self::get) would take them for a `T`.
    ///
    /// ```
    /// # let namespace = procession_shm::Namespace::private();
    /// use procession_channel::Queue;
    /// let frames: Queue<()> = Queue::options().namespace(&namespace).anonymous()?;
    /// frames.put_bytes(&[7; 1000])?;
    /// let mut frame = [0; 1024];
    /// let len = frames.get_bytes_into(&mut frame)?;
    /// assert_eq!(frame[..len], [7; 1000]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::Spill`], [`PutError::Fault`].
    pub fn put_bytes(&self, message: &[u8]) -> Result<(), PutError> {
        self.body.put(message, Deadline::NEVER)
    }

    /// Puts bytes if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`]; otherwise as [`put_bytes`](Self::put_bytes).
    pub fn try_put_bytes(&self, message: &[u8]) -> Result<(), PutError> {
        self.body.put(message, Deadline::PASSED).map_err(PutError::at_once)
    }

    /// Puts bytes, waiting for room at most `timeout`.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put_bytes`](Self::put_bytes).
    pub fn put_bytes_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), PutError> {
        self.body.put(message, Deadline::after(timeout))
    }

    /// Takes the first message out as bytes, waiting for one. If it was put as a `T`, these are its encoding.
    ///
    /// # Errors
    /// [`GetError::Closed`] once the queue is closed and drained, [`GetError::Spill`], [`GetError::Lost`],
    /// [`GetError::Fault`].
    pub fn get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_bytes_until(Deadline::NEVER)
    }

    /// Takes the first message out as bytes if there is one now.
    ///
    /// # Errors
    /// [`GetError::Empty`]; otherwise as [`get_bytes`](Self::get_bytes).
    pub fn try_get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_bytes_until(Deadline::PASSED).map_err(GetError::at_once)
    }

    /// Takes the first message out as bytes, waiting for one at most `timeout`.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get_bytes`](Self::get_bytes).
    pub fn get_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, GetError> {
        self.get_bytes_until(Deadline::after(timeout))
    }

    /// Takes the first message out into `into`, waiting for one; how long it is.
    ///
    /// # Errors
    /// [`GetError::BufferTooShort`], and then the message stays; otherwise as [`get_bytes`](Self::get_bytes).
    pub fn get_bytes_into(&self, into: &mut [u8]) -> Result<usize, GetError> {
        self.body.get_into(into, Deadline::NEVER)
    }

    /// Takes the first message out into `into` if there is one now; how long it is.
    ///
    /// # Errors
    /// [`GetError::Empty`]; otherwise as [`get_bytes_into`](Self::get_bytes_into).
    pub fn try_get_bytes_into(&self, into: &mut [u8]) -> Result<usize, GetError> {
        self.body.get_into(into, Deadline::PASSED).map_err(GetError::at_once)
    }

    /// Takes the first message out into `into`, waiting for one at most `timeout`; how long it is.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get_bytes_into`](Self::get_bytes_into).
    pub fn get_bytes_into_timeout(&self, into: &mut [u8], timeout: Duration) -> Result<usize, GetError> {
        self.body.get_into(into, Deadline::after(timeout))
    }

    fn get_bytes_until(&self, deadline: Deadline) -> Result<Vec<u8>, GetError> {
        let mut message = Vec::new();
        // Ends of pipes in it are nobody's now.
        drop(self.body.get(&mut message, deadline)?);
        Ok(message)
    }
}
