//! A list between processes.
//!
//! How it lies in memory, what a change is, and what survives a death at each step is said in `store.rs` and
//! `store/sequence.rs`; here is the type that people use.

#[cfg(test)]
mod tests;

use crate::collection_error::CollectionError;
use crate::collection_face::{CollectionSettings, Snapshot, collection_options};
use crate::store::{Element, Held, Store, StoreBody};
use procession_channel::codec::with_scratch;
use procession_shm::{Kind, Object, OpenError, Shape, Shared};
use procession_sync::Holder;
use procession_sys::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// A list between processes, of any serde type.
///
/// It grows as it is used, and lies in shared memory: [`get`](Self::get) takes no lock and waits for no writer,
/// unless elements are popped and pushed all the time; all that changes it takes the list's lock, one after the
/// other. Every change is all or nothing, whoever is killed at whatever instruction. Handles are cheap to clone,
/// may be used by any number of threads, and can be sent to other processes. A named list keeps its elements
/// until it is unlinked, also when every process has ended.
///
/// At its end it is quick. To insert or remove an element elsewhere writes the whole list anew: who takes from
/// the front wants a [`Queue`](procession_channel::Queue).
///
/// ```
/// use procession::List;
///
/// let names: List<String> = List::create("names")?;
/// names.push("Ada")?;
/// names.extend(["Grace", "Edsger"])?;
/// assert_eq!(names.get(1)?.as_deref(), Some("Grace"));
/// names.set(1, "Barbara")?;
/// assert_eq!(names.pop()?.as_deref(), Some("Edsger"));
/// assert_eq!(names.iter()?.collect::<Result<Vec<_>, _>>()?, ["Ada", "Barbara"]);
/// # names.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct List<T> {
    body: Store,
    elements: PhantomData<fn(T) -> T>,
}

collection_options! {
    /// How a [`List`] is created or opened.
    ListOptions<T>, "elements"
}

procession_shm::object_builders!([T: Serialize + DeserializeOwned] ListOptions<T> => List<T>);

impl<T: Serialize + DeserializeOwned> Object for List<T> {
    const KIND: Kind = Kind::LIST;
    type Body = StoreBody;
    type Settings = CollectionSettings;

    fn shape(settings: &CollectionSettings) -> Shape {
        let (codec, element) = (settings.form.codec::<T>(), settings.form.element::<T>());
        settings.shape(Self::KIND, element, codec)
    }

    fn asked(settings: &CollectionSettings) -> Shape {
        Shape { codec: settings.form.asked_codec::<T>(), ..Self::shape(settings) }
    }

    fn later(settings: &CollectionSettings) -> u64 {
        settings.later()
    }

    fn initialise(body: &StoreBody, _: &CollectionSettings) {
        body.initialise();
    }

    fn forget_owners(body: &StoreBody) {
        body.forget_owners();
    }

    fn attach(body: Shared<StoreBody>) -> Result<Self, OpenError> {
        Ok(Self { body: Store::attach(body)?, elements: PhantomData })
    }
}

impl<T: Serialize + DeserializeOwned> List<T> {
    /// An element, if there are so many. No writer, alive, stopped or dead, is waited for, unless meanwhile an
    /// element was pushed where one had been popped, or the list was written anew, 64 times in a row.
    ///
    /// # Errors
    /// [`CollectionError::Decode`] for an element that is no `T`; [`CollectionError::Lock`] when the files
    /// beneath it were tampered with.
    ///
    /// # Panics
    /// When `T`'s `Deserialize` does.
    #[inline]
    pub fn get(&self, index: usize) -> Result<Option<T>, CollectionError> {
        with_scratch(|scratch| {
            scratch.clear();
            if self.body.get_at(index, scratch)? { self.body.decode(scratch).map(Some) } else { Ok(None) }
        })
    }

    /// Makes an element `value`.
    ///
    /// # Errors
    /// [`CollectionError::OutOfRange`]; otherwise as [`push`](Self::push).
    pub fn set<Q>(&self, index: usize, value: &Q) -> Result<(), CollectionError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.encoded(value, |value| {
            let held = self.body.hold()?;
            self.check(&held, index, 0)?;
            held.set(index, value)
        })
    }

    /// Appends an element. When it returns, the element survives every process.
    ///
    /// # Errors
    /// [`CollectionError::NoMemory`] and [`Full`](CollectionError::Full) when it cannot grow,
    /// [`CollectionError::Encode`], [`CollectionError::Lock`] as
    /// [`Value::update`](procession_sync::Value::update).
    ///
    /// # Panics
    /// When the `Serialize` of the element does; the list is untouched.
    pub fn push<Q>(&self, value: &Q) -> Result<(), CollectionError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.encoded(value, |value| self.body.hold()?.push(value, &[value.len()]))
    }

    /// Appends all of these elements at once: others see all of them, or none.
    ///
    /// # Errors
    /// As [`push`](Self::push), and then none of them was appended.
    ///
    /// # Panics
    /// When the iterator, or the `Serialize` of an element, does; the list is untouched.
    pub fn extend<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> Result<(), CollectionError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        // Not the thread's own buffer: the iterator may use that.
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for value in values {
            self.body.codec.encode::<T, Q>(value, &mut bytes)?;
            ends.push(bytes.len());
        }
        self.body.hold()?.push(&bytes, &ends)
    }

    /// Removes the last element; `None` if there is none. It needs no memory.
    ///
    /// # Errors
    /// As [`get`](Self::get), and then the element stays; [`CollectionError::Lock`] as [`push`](Self::push), and in the
    /// child of a fork inside `T`'s `Deserialize`.
    pub fn pop(&self) -> Result<Option<T>, CollectionError> {
        with_scratch(|scratch| {
            scratch.clear();
            let held = self.body.hold()?;
            let Some(last) = held.len()?.checked_sub(1) else { return Ok(None) };
            held.value_at(last, scratch)?;
            let element = self.body.decode(scratch)?;
            held.must_be_mine()?;
            held.truncate(last)?;
            Ok(Some(element))
        })
    }

    /// Inserts an element before that of this number, or at the end if there are just so many. Unless it is at
    /// the end, the whole list is written anew.
    ///
    /// # Errors
    /// [`CollectionError::OutOfRange`]; otherwise as [`push`](Self::push).
    pub fn insert<Q>(&self, index: usize, value: &Q) -> Result<(), CollectionError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.encoded(value, |value| {
            let held = self.body.hold()?;
            let len = self.check(&held, index, 1)?;
            if index == len {
                return held.push(value, &[value.len()]);
            }
            let (before, behind) = ((0..index).map(Element::Old), (index..len).map(Element::Old));
            held.rebuild(before.chain([Element::New(value)]).chain(behind), 0, 0)
        })
    }

    /// Removes an element. Unless it is the last, the whole list is written anew.
    ///
    /// # Errors
    /// [`CollectionError::OutOfRange`]; [`CollectionError::NoMemory`] and [`Full`](CollectionError::Full) when
    /// there is no room for the new one beside the old; otherwise as [`pop`](Self::pop).
    pub fn remove(&self, index: usize) -> Result<T, CollectionError> {
        with_scratch(|scratch| {
            scratch.clear();
            let held = self.body.hold()?;
            let len = self.check(&held, index, 0)?;
            held.value_at(index, scratch)?;
            let element = self.body.decode(scratch)?;
            held.must_be_mine()?;
            if index + 1 == len {
                held.truncate(index)?;
            } else {
                held.rebuild((0..index).chain(index + 1..len).map(Element::Old), 0, 0)?;
            }
            Ok(element)
        })
    }

    /// Changes an element: what `change` does to it is committed at once when it returns; nothing of it if it
    /// panics, or if the process is killed before.
    ///
    /// Nobody else changes the list meanwhile, so `change` should be quick. It must not change this list itself.
    ///
    /// ```
    /// use procession::List;
    ///
    /// let scores: List<u32> = List::new()?;
    /// scores.extend(&[1, 2])?;
    /// assert_eq!(scores.update(1, |score| std::mem::replace(score, 20))?, 2);
    /// assert_eq!(scores.get(1)?, Some(20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`set`](Self::set); [`LockError::Deadlock`](procession_sync::LockError::Deadlock) in
    /// [`CollectionError::Lock`] inside an update of this list.
    ///
    /// # Panics
    /// When `change` does, or `T`'s `Serialize` or `Deserialize`; the list is untouched.
    pub fn update<R>(&self, index: usize, change: impl FnOnce(&mut T) -> R) -> Result<R, CollectionError> {
        self.update_until(index, change, Deadline::NEVER)
    }

    /// Updates as [`update`](Self::update) does, if nobody is changing the list now.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`](procession_sync::LockError::WouldBlock) in [`CollectionError::Lock`]; otherwise
    /// as [`update`](Self::update).
    pub fn try_update<R>(
        &self,
        index: usize,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, CollectionError> {
        self.update_until(index, change, Deadline::PASSED)
    }

    /// Updates as [`update`](Self::update) does, waiting at most `timeout` for those who are changing the list.
    ///
    /// # Errors
    /// [`LockError::TimedOut`](procession_sync::LockError::TimedOut) in [`CollectionError::Lock`]; otherwise as
    /// [`update`](Self::update).
    pub fn update_timeout<R>(
        &self,
        index: usize,
        change: impl FnOnce(&mut T) -> R,
        timeout: Duration,
    ) -> Result<R, CollectionError> {
        self.update_until(index, change, Deadline::after(timeout))
    }

    /// All elements, as they were at one instant. They are copied now and decoded as the iterator comes to them.
    /// No writer is waited for, unless the list was changed during each of eight attempts to copy them.
    ///
    /// # Errors
    /// [`CollectionError::Lock`].
    pub fn iter(&self) -> Result<Snapshot<T>, CollectionError> {
        Ok(Snapshot::new(&self.body, self.body.elements()?, |store, _, value| store.decode(value)))
    }

    fn update_until<R>(
        &self,
        index: usize,
        change: impl FnOnce(&mut T) -> R,
        deadline: Deadline,
    ) -> Result<R, CollectionError> {
        with_scratch(|scratch| {
            scratch.clear();
            let held = self.body.hold_until(deadline)?;
            self.check(&held, index, 0)?;
            held.value_at(index, scratch)?;
            let mut element: T = self.body.decode(scratch)?;
            let result = change(&mut element);
            scratch.clear();
            self.body.codec.encode::<T, T>(&element, scratch)?;
            // The child of a fork inside `change` returns from here too, and must not commit.
            if held.is_mine() {
                held.set(index, scratch)?;
            }
            Ok(result)
        })
    }

    /// How many elements there are, if `index` is one of them, or one of `more` behind them.
    fn check(&self, held: &Held<'_>, index: usize, more: usize) -> Result<usize, CollectionError> {
        let len = held.len()?;
        if index < len + more {
            Ok(len)
        } else {
            Err(CollectionError::OutOfRange { object: self.body.segment().label(), index, len })
        }
    }

    fn encoded<Q, R>(
        &self,
        value: &Q,
        work: impl FnOnce(&[u8]) -> Result<R, CollectionError>,
    ) -> Result<R, CollectionError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_scratch(|scratch| {
            scratch.clear();
            self.body.codec.encode::<T, Q>(value, scratch)?;
            work(scratch)
        })
    }
}

impl<T> List<T> {
    /// How many elements there are: exact at one instant during the call.
    ///
    /// # Errors
    /// [`CollectionError::Lock`] when the files beneath it were tampered with.
    pub fn len(&self) -> Result<usize, CollectionError> {
        self.body.len()
    }

    /// Whether there was no element at one instant during the call.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool, CollectionError> {
        self.len().map(|len| len == 0)
    }

    /// Keeps the first `len` elements and removes the others at once. It needs no memory.
    ///
    /// # Errors
    /// [`CollectionError::Lock`].
    pub fn truncate(&self, len: usize) -> Result<(), CollectionError> {
        self.body.hold()?.truncate(len)
    }

    /// Removes all elements at once. It needs no memory.
    ///
    /// # Errors
    /// [`CollectionError::Lock`].
    pub fn clear(&self) -> Result<(), CollectionError> {
        self.body.hold()?.clear()
    }

    /// How many bytes of shared memory it has taken so far.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.body.backed_bytes()
    }

    /// The process that is changing it now, for people to read: by the time you look it may be another.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        self.body.holder()
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), elements: PhantomData }
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("name", &self.body.segment().name())
            .field("len", &self.len().ok())
            .field("holder", &self.holder())
            .finish()
    }
}
