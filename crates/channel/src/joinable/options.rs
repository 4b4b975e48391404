//! How a joinable queue is created or opened.

use super::table::{self, BLOCK, Cell, MOST_ATTEMPTS, Table};
use super::{JoinableBody, JoinableQueue};
use crate::codec::{Codec, Form};
use crate::queue::{limit, typed_options};
use procession_shm::{HEADER_LEN, Kind, Object, OpenError, Parameter, Shape, Shared};
use procession_sys::Mapping;
use procession_sys::atomic::Ordering;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::time::Duration;

/// How many bytes of items a queue holds unless said otherwise.
const DEFAULT_BYTES: u64 = 1 << 20;
/// And how often an item is got.
const MAX_ATTEMPTS: u64 = 5;
const MIN_BYTES: u64 = 2 * BLOCK as u64;
const MAX_BYTES: u64 = 1 << 31;

typed_options! {
    /// How a [`JoinableQueue`] is created or opened.
    JoinableQueueOptions<T>, JoinableSettings, "items"
}

#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct JoinableSettings {
    capacity: Option<u64>,
    bytes: Option<u64>,
    max_attempts: Option<u64>,
    lease_timeout_ns: Option<u64>,
    form: Form,
}

impl<T> JoinableQueueOptions<T> {
    /// Puts wait while so many items are there to be got; 0, the default, for as many as the bytes allow.
    /// Items that are leased do not count (as in Python), and one that comes back finds room in any case.
    #[must_use]
    pub fn capacity(mut self, items: usize) -> Self {
        self.settings.capacity = Some(limit(items));
        self
    }

    /// Holds at most so many bytes of items, counting those that are leased and dead letters; each takes a
    /// multiple of 128. 1 MiB unless said, rounded up to a power of two between 256 bytes and 2 GiB. No item
    /// can be larger than that.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.settings.bytes = Some(bytes.clamp(MIN_BYTES, MAX_BYTES).next_power_of_two());
        self
    }

    /// After so many attempts, 5 unless said, an item that is not done becomes a dead letter instead of being
    /// got again: an item that kills whoever works on it would otherwise kill them all. 0 for never; at most
    /// 4095.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = Some(attempts.into());
        self
    }

    /// Takes a lease away when it is older than `timeout`, although its holder lives: the item is got again,
    /// and the late acknowledgement is refused. Zero, the default, for never. Those who get look for such
    /// leases about ten times a second.
    #[must_use]
    pub fn lease_timeout(mut self, timeout: Duration) -> Self {
        self.settings.lease_timeout_ns = Some(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        self
    }
}

procession_shm::object_builders!(
    [T: Serialize + DeserializeOwned] JoinableQueueOptions<T> => JoinableQueue<T>
);

impl<T: Serialize + DeserializeOwned> Object for JoinableQueue<T> {
    const KIND: Kind = Kind::JOINABLE_QUEUE;
    type Body = JoinableBody;
    type Settings = JoinableSettings;

    fn check(settings: &JoinableSettings) -> Result<(), &'static str> {
        let is_possible = settings.max_attempts.is_none_or(|most| most <= u64::from(MOST_ATTEMPTS));
        if is_possible { Ok(()) } else { Err("an item can be tried 4095 times at most (.max_attempts())") }
    }

    fn shape(settings: &JoinableSettings) -> Shape {
        let capacity = Parameter::said("capacity", settings.capacity, 0);
        let bytes = Parameter::said("bytes", settings.bytes, DEFAULT_BYTES);
        let max_attempts = Parameter::said("max_attempts", settings.max_attempts, MAX_ATTEMPTS);
        let lease_timeout = Parameter::said("lease_timeout", settings.lease_timeout_ns, 0);
        Shape {
            kind: Kind::JOINABLE_QUEUE,
            body_len: table::body_len(bytes.value / BLOCK as u64),
            parameters: [capacity, bytes, max_attempts, lease_timeout],
            element: Some(settings.form.element::<T>()),
            codec: settings.form.codec::<T>().id(),
        }
    }

    fn asked(settings: &JoinableSettings) -> Shape {
        Shape { codec: settings.form.asked_codec::<T>(), ..Self::shape(settings) }
    }

    fn initialise(body: &JoinableBody, _: &JoinableSettings) {
        // No item has the number 0, which stands in every block that was never used.
        body.next_seq.store(1, Ordering::Relaxed);
        body.first_ready.store(1, Ordering::Relaxed);
    }

    fn forget_owners(body: &JoinableBody) {
        // Before the leases are forgotten: from then on the counts are wrong.
        body.uncounted.store(1, Ordering::Relaxed);
        body.lock.forget_owner();
    }

    fn forget_owners_of_all(mapping: &Mapping) {
        let behind = mapping.len().saturating_sub(HEADER_LEN) as u64;
        let count = behind.saturating_sub(table::body_len(0)) / (table::body_len(1) - table::body_len(0));
        let cells = mapping.slice::<Cell>(HEADER_LEN + table::body_len(0) as usize, count as usize);
        Table::forget_leases(cells.unwrap_or_default());
    }

    fn attach(body: Shared<JoinableBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let [capacity, bytes, max_attempts, lease_timeout_ns] = segment.header().parameters;
        let capacity =
            u32::try_from(capacity).map_err(|_| segment.corrupt("it says an impossible capacity"))?;
        let max_attempts = u32::try_from(max_attempts).ok().filter(|&most| most <= MOST_ATTEMPTS);
        let max_attempts =
            max_attempts.ok_or_else(|| segment.corrupt("it says an impossible number of attempts"))?;
        let fits = bytes.is_power_of_two()
            && (MIN_BYTES..=MAX_BYTES).contains(&bytes)
            && table::body_len(bytes / BLOCK as u64) + HEADER_LEN as u64 == segment.header().size;
        let count = u32::try_from(bytes / BLOCK as u64).ok().filter(|_| fits);
        let count = count.ok_or_else(|| segment.corrupt("it says an impossible number of bytes"))?;
        let capacity = if capacity == 0 { u32::MAX } else { capacity };
        let codec = Codec::of(segment)?;
        Ok(Self { body, codec, capacity, count, max_attempts, lease_timeout_ns, items: PhantomData })
    }
}
