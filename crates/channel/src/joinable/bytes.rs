//! Bytes as items: no codec looks at them.

use super::{JoinableQueue, Lease};
use crate::codec::{Bytes, Codec, NotBytes, is_encoded};
use crate::queue::{GetError, PutError};
use procession_sys::Deadline;
use std::marker::PhantomData;
use std::time::Duration;

impl<T> JoinableQueue<T> {
    /// The queue's items as bytes. The queue must have [`Codec::Bytes`], as a `JoinableQueue<Bytes>` has:
    /// otherwise each call says [`PutError::NotBytes`]. Into a queue of [`Encoded`](crate::Encoded) items, in
    /// whatever codec, encoded ones can be put by this; it is the queue itself from which one gets them.
    ///
    /// ```
    /// use procession::{Bytes, JoinableQueue};
    /// let frames: JoinableQueue<Bytes> = JoinableQueue::new()?;
    /// frames.bytes().put(b"frame")?;
    /// let lease = frames.bytes().get()?;
    /// assert_eq!(*lease, *b"frame");
    /// lease.task_done()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn bytes(&self) -> JoinableBytes {
        let Self { codec, capacity, count, max_attempts, lease_timeout_ns, .. } = *self;
        let body = self.body.clone();
        let items = PhantomData;
        let queue = JoinableQueue { body, codec, capacity, count, max_attempts, lease_timeout_ns, items };
        JoinableBytes { queue, as_they_lie: is_encoded::<T>() }
    }
}

/// The items of a [`JoinableQueue`] as bytes: see [`JoinableQueue::bytes`].
#[derive(Debug)]
pub struct JoinableBytes {
    queue: JoinableQueue<Bytes>,
    /// Whether what is put is an item of the queue's codec, whichever that is.
    as_they_lie: bool,
}

impl JoinableBytes {
    /// Puts bytes as one item, waiting for room.
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::TooLarge`], [`PutError::NotBytes`], [`PutError::Fault`];
    /// [`PutError::Encode`] for more bytes than a message may have ([`LIMIT`](crate::codec::LIMIT)).
    pub fn put(&self, item: &[u8]) -> Result<(), PutError> {
        self.put_until(item, Deadline::NEVER)
    }

    /// Puts bytes if there is room now.
    ///
    /// # Errors
    /// [`PutError::WouldBlock`]; otherwise as [`put`](Self::put).
    pub fn try_put(&self, item: &[u8]) -> Result<(), PutError> {
        self.put_until(item, Deadline::PASSED).map_err(PutError::at_once)
    }

    /// Puts bytes, waiting for room at most `timeout`.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put`](Self::put).
    pub fn put_timeout(&self, item: &[u8], timeout: Duration) -> Result<(), PutError> {
        self.put_until(item, Deadline::after(timeout))
    }

    /// Leases the first item that is there, waiting for one.
    ///
    /// # Errors
    /// [`GetError::NotBytes`]; otherwise as [`JoinableQueue::get`].
    pub fn get(&self) -> Result<Lease<Bytes>, GetError> {
        self.must_be_bytes()?;
        self.queue.get()
    }

    /// Leases the first item that is there, if there is one now.
    ///
    /// # Errors
    /// [`GetError::WouldBlock`]; otherwise as [`get`](Self::get).
    pub fn try_get(&self) -> Result<Lease<Bytes>, GetError> {
        self.must_be_bytes()?;
        self.queue.try_get()
    }

    /// Leases the first item that is there, waiting for one at most `timeout`.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Lease<Bytes>, GetError> {
        self.must_be_bytes()?;
        self.queue.get_timeout(timeout)
    }

    fn put_until(&self, item: &[u8], deadline: Deadline) -> Result<(), PutError> {
        if !self.as_they_lie {
            self.must_be_bytes()?;
        }
        self.queue.put_payload(item, deadline)
    }

    fn must_be_bytes(&self) -> Result<(), NotBytes> {
        let JoinableQueue { body, codec, .. } = &self.queue;
        if *codec == Codec::Bytes { Ok(()) } else { Err(NotBytes::new(body.segment(), *codec)) }
    }
}
