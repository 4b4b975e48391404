//! Many items by one lock. Each of them is committed by itself, in their order: who puts many and is killed has put the
//! first ones, each whole.

use super::JoinableQueue;
use crate::pipe_end::Location;
use crate::queue::{Batch, PutError, PutManyError};
use crate::underway;
use procession_sys::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

/// How many bytes of items are encoded before they are put.
const BYTES_AT_A_TIME: usize = 1 << 16;

impl<T> JoinableQueue<T> {
    /// The queue's items, many at a time.
    ///
    /// ```
    /// use procession::JoinableQueue;
    /// let numbers: JoinableQueue<u32> = JoinableQueue::new()?;
    /// numbers.batch().put(&[1, 2, 3, 4])?;
    /// assert_eq!((numbers.len(), *numbers.get()?), (4, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn batch(&self) -> JoinableBatch<'_, T> {
        JoinableBatch(self)
    }
}

/// A joinable queue's items, many at a time: see [`JoinableQueue::batch`].
pub struct JoinableBatch<'q, T>(&'q JoinableQueue<T>);

impl<T> Clone for JoinableBatch<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for JoinableBatch<'_, T> {}

impl<T> fmt::Debug for JoinableBatch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinableBatch").field(self.0).finish()
    }
}

impl<T: Serialize + DeserializeOwned> JoinableBatch<'_, T> {
    /// Puts items at the end in their order, waiting for room. Items of others may come between them.
    ///
    /// # Errors
    /// As [`JoinableQueue::put`]; the error says how many were put. Those are the first ones.
    ///
    /// # Panics
    /// When the items' `Serialize` or the iterator does; some of the items before may be put then.
    pub fn put<'a, Q>(self, items: impl IntoIterator<Item = &'a Q>) -> Result<(), PutManyError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.put_until(items, Deadline::NEVER)
    }

    /// Puts as many of the items as there is room for now.
    ///
    /// # Errors
    /// [`PutError::WouldBlock`] when that is not all of them; otherwise as [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put).
    pub fn try_put<'a, Q>(self, items: impl IntoIterator<Item = &'a Q>) -> Result<(), PutManyError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.put_until(items, Deadline::PASSED)
            .map_err(|failed| PutManyError { error: failed.error.at_once(), ..failed })
    }

    /// Puts items at the end, waiting for room at most `timeout` in all.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put).
    pub fn put_timeout<'a, Q>(
        self,
        items: impl IntoIterator<Item = &'a Q>,
        timeout: Duration,
    ) -> Result<(), PutManyError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.put_until(items, Deadline::after(timeout))
    }

    fn put_until<'a, Q>(
        self,
        items: impl IntoIterator<Item = &'a Q>,
        deadline: Deadline,
    ) -> Result<(), PutManyError>
    where
        Q: Serialize + ?Sized + 'a,
    {
        let mut batch = Batch::default();
        let done = self.put_all(items, &mut batch, deadline);
        done.map_err(|error| PutManyError { put: batch.put, error })
    }

    /// Puts all items, and says in `batch` how far that has come.
    fn put_all<'a, Q>(
        self,
        items: impl IntoIterator<Item = &'a Q>,
        batch: &mut Batch,
        deadline: Deadline,
    ) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized + 'a,
    {
        let queue = self.0;
        let home = || Location::of_queue(queue.body.segment());
        let (mut encoded, mut ends) = (Vec::new(), Vec::new());
        for item in items {
            let departs = |ends| batch.depart(ends);
            let appended = underway::encode::<T, Q>(queue.coding(), item, &mut encoded, home, departs);
            batch.encoded += 1;
            if let Err(error) = appended {
                // Those before it first.
                self.put_encoded(&encoded, &ends, batch, deadline)?;
                return Err(error.into());
            }
            ends.push(encoded.len());
            if encoded.len() >= BYTES_AT_A_TIME || ends.len() >= BYTES_AT_A_TIME / 8 {
                self.put_encoded(&encoded, &ends, batch, deadline)?;
                encoded.clear();
                ends.clear();
            }
        }
        self.put_encoded(&encoded, &ends, batch, deadline)
    }

    /// Puts items that lie behind one another, and end there.
    fn put_encoded(
        self,
        encoded: &[u8],
        ends: &[usize],
        batch: &mut Batch,
        deadline: Deadline,
    ) -> Result<(), PutError> {
        let (mut begin, mut left) = (0, ends);
        while !left.is_empty() {
            let begins = std::iter::once(begin).chain(left.iter().copied());
            let items = begins.zip(left).map(|(begin, &end)| &encoded[begin..end]);
            let count = self.0.put_some(items, deadline)?;
            begin = left[count - 1];
            left = &left[count..];
            batch.put += count;
        }
        Ok(())
    }
}
