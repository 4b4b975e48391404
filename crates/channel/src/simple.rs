//! A queue for those who want nothing but to put and get.

use crate::queue::{CloseError, GetError, PutError, Queue};
use procession_shm::{Namespace, OpenError, Segment};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;

/// A [`Queue`] of which only `put`, `get`, `is_empty` and `close` are shown, as Python's `SimpleQueue`.
///
/// Underneath it is a queue of the default size: both can be opened by the same name, and one be made of the
/// other.
///
/// ```
/// use procession::SimpleQueue;
///
/// let words: SimpleQueue<String> = SimpleQueue::new()?;
/// words.put("first")?;
/// assert!(!words.is_empty());
/// assert_eq!(words.get()?, "first");
/// words.close()?;
/// assert!(words.get().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "T: Serialize + DeserializeOwned")]
pub struct SimpleQueue<T>(Queue<T>);

impl<T: Serialize + DeserializeOwned> SimpleQueue<T> {
    /// Creates the queue called `name`.
    ///
    /// # Errors
    /// As [`Queue::create`].
    pub fn create(name: &str) -> Result<Self, OpenError> {
        Queue::create(name).map(Self)
    }

    /// Opens the queue called `name`.
    ///
    /// # Errors
    /// As [`Queue::open`].
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Queue::open(name).map(Self)
    }

    /// Opens the queue called `name`, or creates it.
    ///
    /// # Errors
    /// As [`Queue::open_or_create`].
    pub fn open_or_create(name: &str) -> Result<Self, OpenError> {
        Queue::open_or_create(name).map(Self)
    }

    /// Creates one without a name; it goes with the last process that is attached to it.
    ///
    /// # Errors
    /// As [`Queue::new`].
    pub fn new() -> Result<Self, OpenError> {
        Queue::new().map(Self)
    }

    /// The same in `namespace`, instead of the process's own.
    ///
    /// # Errors
    /// As [`Queue::new`].
    pub fn anonymous_in(namespace: &Namespace) -> Result<Self, OpenError> {
        Queue::options().namespace(namespace).anonymous().map(Self)
    }

    /// As [`Queue::put`].
    ///
    /// # Errors
    /// As [`Queue::put`].
    ///
    /// # Panics
    /// When `T`'s `Serialize` does.
    pub fn put<Q>(&self, message: &Q) -> Result<(), PutError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.0.put(message)
    }

    /// As [`Queue::get`].
    ///
    /// # Errors
    /// As [`Queue::get`].
    ///
    /// # Panics
    /// When `T`'s `Deserialize` does.
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get()
    }

    /// Its name; one that the library chose if it is anonymous.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Removes its name; see [`Queue::unlink`].
    ///
    /// # Errors
    /// As [`Queue::unlink`].
    pub fn unlink(&self) -> Result<(), OpenError> {
        self.0.unlink()
    }
}

impl<T> SimpleQueue<T> {
    /// Whether there was no message at one instant during the call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As [`Queue::close`]: for everybody. Python's closes the queue in one process, which here dropping
    /// does.
    ///
    /// # Errors
    /// [`CloseError`].
    pub fn close(&self) -> Result<(), CloseError> {
        self.0.close()
    }
}

impl<T> From<Queue<T>> for SimpleQueue<T> {
    fn from(queue: Queue<T>) -> Self {
        Self(queue)
    }
}

impl<T> From<SimpleQueue<T>> for Queue<T> {
    fn from(simple: SimpleQueue<T>) -> Self {
        simple.0
    }
}

#[doc(hidden)]
impl<T: Serialize + DeserializeOwned> AsRef<Segment> for SimpleQueue<T> {
    fn as_ref(&self) -> &Segment {
        self.0.as_ref()
    }
}

impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for SimpleQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimpleQueue").field(&self.0).finish()
    }
}
