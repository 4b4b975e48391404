//! Joinable queues, for tasks of an executor: each operation is its try, and the bell that rings when it is worth another
//! one.

use super::{JoinableQueue, Lease};
use crate::queue::{GetError, PutError};
use procession_sync::{Rung, when_ready};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;

impl<T: Serialize + DeserializeOwned + 'static> JoinableQueue<T> {
    /// Leases the first item as [`get`](Self::get) does, as a task. It is cancel-safe: a future that is dropped
    /// has leased nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Panics
    /// As [`get`](Self::get).
    pub async fn get_async(&self) -> Result<Lease<T>, GetError> {
        let items = || Rung::new(self.clone(), |queue| &queue.body.items);
        when_ready(Some(self.body.segment()), items, || GetError::unless_empty(self.try_get())).await
    }

    /// Puts an item at the end as [`put`](Self::put) does, as a task. It is cancel-safe: a future that is
    /// dropped has put nothing.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Panics
    /// As [`put`](Self::put).
    pub async fn put_async<Q>(&self, item: &Q) -> Result<(), PutError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let space = || Rung::new(self.clone(), |queue| &queue.body.space);
        when_ready(Some(self.body.segment()), space, || PutError::unless_full(self.try_put(item))).await
    }
}
