//! Queues, for tasks of an executor: each operation is its try, and the bell that rings when it is worth another
//! one.

use super::{GetError, PutError, Queue};
use procession_sync::{Rung, when_ready};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;

impl<T: Serialize + DeserializeOwned + 'static> Queue<T> {
    /// Takes the first message out as [`get`](Self::get) does, as a task. It is cancel-safe: a future that is
    /// dropped has taken nothing.
    ///
    /// ```
    /// use procession::Queue;
    ///
    /// async fn sum(numbers: &Queue<u32>) -> Result<u32, procession::GetError> {
    ///     Ok(numbers.get_async().await? + numbers.get_async().await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Panics
    /// As [`get`](Self::get).
    pub async fn get_async(&self) -> Result<T, GetError> {
        let items = || Rung::new(self.clone(), |queue| &queue.body.words.items);
        when_ready(Some(self.body.segment()), items, || GetError::unless_empty(self.try_get())).await
    }

    /// Puts a message at the end as [`put`](Self::put) does, as a task. It is cancel-safe: a future that is
    /// dropped has put nothing. What it waits for is room; the message is encoded at each try.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put).
    pub async fn put_async<Q>(&self, message: &Q) -> Result<(), PutError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let space = || Rung::new(self.clone(), |queue| &queue.body.words.space);
        when_ready(Some(self.body.segment()), space, || PutError::unless_full(self.try_put(message))).await
    }
}
