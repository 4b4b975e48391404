//! A map between processes.
//!
//! How it lies in memory, what a change is, and what survives a death at each step is said in `store.rs` and
//! `store/table.rs`; here is the type that people use.

#[cfg(test)]
mod tests;

use crate::collection_error::CollectionError;
use crate::collection_face::{CollectionSettings, Snapshot, collection_options};
use crate::store::{Key, Store, StoreBody};
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

/// A map between processes: any serde type as key, any as value.
///
/// It grows as it is used, and lies in shared memory: [`get`](Self::get) takes no lock and waits for nobody;
/// all that changes it takes the map's lock, one after the other. Every change is all or nothing: whoever is
/// killed at whatever instruction, each key has the value that it had or the new one, and the next to come goes
/// on. Handles are cheap to clone, may be used by any number of threads, and can be sent to other processes. A
/// named map keeps its entries until it is unlinked, also when every process has ended.
///
/// Two keys are the same if they are encoded the same. So it is with numbers, strings, tuples, structs and
/// enums of those; a `HashMap` as a key would not be found again.
///
/// ```
/// use procession::Map;
///
/// let stock: Map<String, u32> = Map::create("stock")?;
/// stock.insert("apples", &3)?;
/// stock.insert("pears", &5)?;
/// assert_eq!(stock.get("apples")?, Some(3));
///
/// // Reads, changes and writes as one.
/// let left = stock.update("apples", |count| {
///     *count = count.map(|count| count - 1);
///     *count
/// })?;
/// assert_eq!(left, Some(2));
/// assert_eq!(stock.remove("pears")?, Some(5));
/// assert_eq!(stock.len()?, 1);
/// # stock.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Map<K, V> {
    body: Store,
    entries: PhantomData<fn() -> (K, V)>,
}

collection_options! {
    /// How a [`Map`] is created or opened.
    MapOptions<K, V>, "keys and values"
}

procession_shm::object_builders!(
    [K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned] MapOptions<K, V> => Map<K, V>
);

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned> Object for Map<K, V> {
    const KIND: Kind = Kind::MAP;
    type Body = StoreBody;
    type Settings = CollectionSettings;

    fn shape(settings: &CollectionSettings) -> Shape {
        let codec = settings.form.codec::<(K, V)>();
        settings.shape(Self::KIND, settings.form.element_of_entries::<K, V>(), codec)
    }

    fn asked(settings: &CollectionSettings) -> Shape {
        Shape { codec: settings.form.asked_codec::<(K, V)>(), ..Self::shape(settings) }
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
        Ok(Self { body: Store::attach(body)?, entries: PhantomData })
    }
}

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned> Map<K, V> {
    /// The value of a key, if there is one. No writer, alive, stopped or dead, is waited for, unless the map was
    /// laid out anew 64 times meanwhile.
    ///
    /// What a key borrows as can be looked for in its place: a `&str` in a map from `String`s.
    ///
    /// # Errors
    /// [`CollectionError::Encode`] for a key that has no encoding, [`CollectionError::Decode`] for a value that
    /// is no `V`; [`CollectionError::Lock`] when the files beneath it were tampered with.
    ///
    /// # Panics
    /// When `Q`'s `Serialize`, or `V`'s `Deserialize`, does.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, CollectionError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_scratch(|scratch| {
            let key_len = self.encode_key(key, scratch)?;
            if !self.body.get(scratch)? {
                return Ok(None);
            }
            self.body.decode(scratch.get(key_len..).unwrap_or_default()).map(Some)
        })
    }

    /// Whether there is such a key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool, CollectionError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_scratch(|scratch| {
            self.encode_key(key, scratch)?;
            self.body.contains(scratch)
        })
    }

    /// Makes `value` the value of `key`; what it was before.
    ///
    /// When it returns, the entry survives every process. If the process is killed before, the map is as it was,
    /// or has the entry.
    ///
    /// # Errors
    /// [`CollectionError::NoMemory`], [`Full`](CollectionError::Full) and
    /// [`TooManyEntries`](CollectionError::TooManyEntries) when it cannot grow,
    /// [`CollectionError::Lock`] as [`Value::update`](procession_sync::Value::update), and in the child of a fork inside
    /// `V`'s `Deserialize`; otherwise as [`get`](Self::get).
    ///
    /// # Panics
    /// When a `Serialize` or `Deserialize` of the types does; the map is untouched.
    pub fn insert<Q, W>(&self, key: &Q, value: &W) -> Result<Option<V>, CollectionError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
        V: Borrow<W>,
        W: Serialize + ?Sized,
    {
        with_scratch(|scratch| {
            let key_len = self.encode_key(key, scratch)?;
            self.body.codec.encode::<V, W>(value, scratch)?;
            let (end, hash) = (scratch.len(), self.body.hash(&scratch[..key_len]));
            let held = self.body.hold()?;
            let spot = held.find(Key { bytes: &scratch[..key_len], hash })?;
            let is_there = spot.copy_value(scratch);
            let old = if is_there { Some(self.body.decode(&scratch[end..])?) } else { None };
            held.must_be_mine()?;
            let (bytes, value) = scratch[..end].split_at(key_len);
            held.put(spot, Key { bytes, hash }, value)?;
            Ok(old)
        })
    }

    /// Removes a key; what its value was. It needs no memory.
    ///
    /// # Errors
    /// [`CollectionError::Lock`] as [`insert`](Self::insert); otherwise as [`get`](Self::get): a value that is
    /// no `V` is not removed ([`clear`](Self::clear) removes it).
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, CollectionError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.update(key, Option::take)
    }

    /// Changes the value of a key, or inserts one, or removes it: `change` gets the value, or `None` if there is
    /// none, and what it leaves there is committed at once when it returns; nothing of it if it panics, or if
    /// the process is killed before.
    ///
    /// Nobody else changes the map meanwhile, so `change` should be quick. It must not change this map itself;
    /// others it may, and it may read this one, which is as it was before.
    ///
    /// ```
    /// use procession::Map;
    ///
    /// let words: Map<String, u64> = Map::new()?;
    /// for word in "to be or not to be".split(' ') {
    ///     words.update(word, |count| *count.get_or_insert(0) += 1)?;
    /// }
    /// assert_eq!((words.get("be")?, words.get("or")?), (Some(2), Some(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`insert`](Self::insert); [`LockError::Deadlock`](procession_sync::LockError::Deadlock) in
    /// [`CollectionError::Lock`] inside an update of this map.
    ///
    /// # Panics
    /// When `change` does, or a `Serialize` or `Deserialize` of the types; the map is untouched.
    pub fn update<Q, R>(
        &self,
        key: &Q,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, CollectionError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.update_until(key, change, Deadline::NEVER)
    }

    /// Updates as [`update`](Self::update) does, if nobody is changing the map now.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`](procession_sync::LockError::WouldBlock) in [`CollectionError::Lock`]; otherwise
    /// as [`update`](Self::update).
    pub fn try_update<Q, R>(
        &self,
        key: &Q,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, CollectionError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.update_until(key, change, Deadline::PASSED)
    }

    /// Updates as [`update`](Self::update) does, waiting at most `timeout` for those who are changing the map.
    ///
    /// # Errors
    /// [`LockError::TimedOut`](procession_sync::LockError::TimedOut) in [`CollectionError::Lock`]; otherwise as
    /// [`update`](Self::update).
    pub fn update_timeout<Q, R>(
        &self,
        key: &Q,
        change: impl FnOnce(&mut Option<V>) -> R,
        timeout: Duration,
    ) -> Result<R, CollectionError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.update_until(key, change, Deadline::after(timeout))
    }

    /// All entries, as they were at one instant, in no particular order. They are copied now and decoded as the
    /// iterator comes to them. No writer is waited for, unless the map was changed during each of eight attempts
    /// to copy them.
    ///
    /// ```
    /// use procession::Map;
    /// use std::collections::BTreeMap;
    ///
    /// let squares: Map<u32, u32> = Map::new()?;
    /// for n in 1..4 {
    ///     squares.insert(&n, &(n * n))?;
    /// }
    /// let all: BTreeMap<u32, u32> = squares.iter()?.collect::<Result<_, _>>()?;
    /// assert_eq!(all, BTreeMap::from([(1, 1), (2, 4), (3, 9)]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CollectionError::Lock`].
    pub fn iter(&self) -> Result<Snapshot<(K, V)>, CollectionError> {
        let read: fn(&Store, &[u8], &[u8]) -> _ =
            |store, key, value| Ok((store.decode(key)?, store.decode(value)?));
        Ok(Snapshot::new(&self.body, self.body.entries()?, read))
    }

    /// All keys, as they were at one instant, in no particular order; otherwise as [`iter`](Self::iter).
    ///
    /// # Errors
    /// As [`iter`](Self::iter).
    pub fn keys(&self) -> Result<Snapshot<K>, CollectionError> {
        Ok(Snapshot::new(&self.body, self.body.entries()?, |store, key, _| store.decode(key)))
    }

    /// All values, as they were at one instant, in no particular order; otherwise as [`iter`](Self::iter).
    ///
    /// # Errors
    /// As [`iter`](Self::iter).
    pub fn values(&self) -> Result<Snapshot<V>, CollectionError> {
        Ok(Snapshot::new(&self.body, self.body.entries()?, |store, _, value| store.decode(value)))
    }

    #[inline]
    fn encode_key<Q>(&self, key: &Q, scratch: &mut Vec<u8>) -> Result<usize, CollectionError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        scratch.clear();
        self.body.codec.encode::<K, Q>(key, scratch)?;
        Ok(scratch.len())
    }

    fn update_until<Q, R>(
        &self,
        key: &Q,
        change: impl FnOnce(&mut Option<V>) -> R,
        deadline: Deadline,
    ) -> Result<R, CollectionError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_scratch(|scratch| {
            let key_len = self.encode_key(key, scratch)?;
            let hash = self.body.hash(scratch);
            let held = self.body.hold_until(deadline)?;
            let spot = held.find(Key { bytes: scratch, hash })?;
            let was_there = spot.copy_value(scratch);
            let mut entry = if was_there { Some(self.body.decode::<V>(&scratch[key_len..])?) } else { None };
            let result = change(&mut entry);
            scratch.truncate(key_len);
            if let Some(value) = &entry {
                self.body.codec.encode::<V, V>(value, scratch)?;
            }
            // The child of a fork inside `change` returns from here too, and must not commit.
            if held.is_mine() {
                let (bytes, value) = scratch.split_at(key_len);
                match entry {
                    Some(_) => held.put(spot, Key { bytes, hash }, value)?,
                    None => held.remove(spot)?,
                }
            }
            Ok(result)
        })
    }
}

impl<K, V> Map<K, V> {
    /// How many entries there are: exact at one instant during the call. No writer is waited for, unless the map
    /// was changed during each of eight attempts to look.
    ///
    /// # Errors
    /// [`CollectionError::Lock`] when the files beneath it were tampered with.
    pub fn len(&self) -> Result<usize, CollectionError> {
        self.body.count().map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Whether there was no entry at one instant during the call.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool, CollectionError> {
        self.len().map(|len| len == 0)
    }

    /// Removes all entries at once. It needs no memory.
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

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), entries: PhantomData }
    }
}

impl<K, V> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("name", &self.body.segment().name())
            .field("len", &self.len().ok())
            .field("holder", &self.holder())
            .finish()
    }
}
