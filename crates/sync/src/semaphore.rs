//! Permits that come back when their holder dies.
//!
//! The protocol, its state table and what survives a death at each step are in `permit_cells.rs`; here are
//! the types that people use: options, permits, errors.
//!
//! # If a process dies
//! Its permits come back: whoever finds too few looks for the dead. Permits that were
//! [forgotten](Permit::forget) belong to nobody, and only a release brings them back.

mod bounded;
mod error;
mod permit;

pub use bounded::{BoundedSemaphore, BoundedSemaphoreOptions};
pub use error::{ReleaseError, SemaphoreError, Shortage};
pub use permit::{OwnedPermit, Permit};

use crate::fault::Fault;
use crate::holder::Holder;
use crate::patience::{Nap, Patience};
use crate::permit_cells::{self, MOST, PermitCells, SemaphoreBody};
use permit::CellsHeld;
use procession_shm::{
    Handle, Kind, Myself, Object, OpenError, OwnerId, Parameter, Placement, Segment, Shape, Shared,
};
use procession_sys::atomic::AtomicU32;
use procession_sys::{Deadline, Mapping};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The most permits unless said otherwise.
const DEFAULT_MAX: usize = 1024;
/// Between two tries of a waiter that does not sleep yet.
const PAUSES: RangeInclusive<u32> = 1..=64;

/// A number of permits between processes.
///
/// `acquire` takes one, and waits while there is none; dropping the [`Permit`] gives it back, and so does the
/// death of the process that has it. [`release`](Self::release) adds permits that nobody acquired, up to a
/// maximum: together with [`Permit::forget`] the semaphore is then a signal. Handles are cheap to clone, may
/// be used by any number of threads, and can be sent to other processes.
///
/// ```
/// use procession::{Semaphore, SemaphoreError};
///
/// let slots = Semaphore::create("slots", 2)?;
/// let one = slots.acquire()?;
/// let two = slots.acquire()?;
/// assert!(matches!(slots.try_acquire(), Err(SemaphoreError::WouldBlock(_))));
/// drop(one);
/// assert_eq!(slots.available(), 1);
/// two.forget();
/// slots.release(2)?;
/// assert_eq!(slots.available(), 3);
/// # slots.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Semaphore {
    body: Shared<SemaphoreBody>,
    cells: PermitCells,
    myself: Myself,
}

/// How a [`Semaphore`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct SemaphoreOptions {
    place: Placement,
    settings: SemaphoreSettings,
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SemaphoreSettings {
    permits: Option<usize>,
    max: Option<usize>,
}

impl SemaphoreSettings {
    fn permits(&self) -> usize {
        self.permits.unwrap_or(1)
    }

    fn max(&self) -> usize {
        self.max.unwrap_or_else(|| self.permits().max(DEFAULT_MAX))
    }

    fn shape(&self, kind: Kind, max: usize) -> Shape {
        let permits =
            Parameter { name: "permits", value: self.permits() as u64, asked: self.permits.is_some() };
        let max_parameter = Parameter { name: "max", value: max as u64, asked: self.max.is_some() };
        let parameters = [permits, max_parameter, Parameter::default(), Parameter::default()];
        let body_len = size_of::<SemaphoreBody>() as u64 + permit_cells::cells_len(cells_for(max));
        Shape { kind, body_len, parameters, element: None, codec: 0 }
    }

    fn check(&self, max: usize) -> Result<(), &'static str> {
        if max == 0 {
            return Err("a semaphore can have at least one permit: call .max() with 1 or more");
        }
        if max > MOST as usize {
            return Err("a semaphore has at most 65536 permits");
        }
        if self.permits() > max {
            Err("it cannot begin with more permits than .max() allows")
        } else {
            Ok(())
        }
    }
}

impl SemaphoreOptions {
    /// How many permits there are at first; 1 unless said, 0 for a semaphore that others release into.
    #[must_use]
    pub fn permits(mut self, permits: usize) -> Self {
        self.settings.permits = Some(permits);
        self
    }

    /// How many permits there can ever be, at most 65,536; unless said, 1024 or the permits at first if they
    /// are more.
    #[must_use]
    pub fn max(mut self, max: usize) -> Self {
        self.settings.max = Some(max);
        self
    }
}

procession_shm::object_builders!([] SemaphoreOptions => Semaphore, (permits: usize));

/// The number of cells that so many permits take; more than there can be is too many whatever it is.
fn cells_for(permits: usize) -> u32 {
    u32::try_from(permits).unwrap_or(u32::MAX)
}

/// Implements `Object` for both kinds of semaphore: they differ in their kind, and in what their maximum
/// is.
macro_rules! semaphore_object {
    ($Semaphore:ident, $kind:expr, $max:expr, $attach:expr) => {
        impl Object for $Semaphore {
            const KIND: Kind = $kind;
            type Body = SemaphoreBody;
            type Settings = SemaphoreSettings;

            fn check(settings: &SemaphoreSettings) -> Result<(), &'static str> {
                settings.check($max(settings))
            }

            fn shape(settings: &SemaphoreSettings) -> Shape {
                settings.shape($kind, $max(settings))
            }

            fn initialise_all(body: &SemaphoreBody, mapping: &Mapping, settings: &SemaphoreSettings) {
                $crate::permit_cells::initialise(
                    body,
                    mapping,
                    $crate::semaphore::cells_for(settings.permits()),
                );
            }

            fn forget_owners(body: &SemaphoreBody) {
                $crate::permit_cells::forget_release(body);
            }

            fn forget_owners_of_all(mapping: &Mapping) {
                $crate::permit_cells::forget_owners(mapping);
            }

            fn attach(body: Shared<SemaphoreBody>) -> Result<Self, OpenError> {
                $attach(body)
            }
        }
    };
}
use semaphore_object;

semaphore_object!(Semaphore, Kind::SEMAPHORE, SemaphoreSettings::max, Semaphore::over);

impl Semaphore {
    /// The semaphore in an attached segment, of either kind.
    fn over(body: Shared<SemaphoreBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let [permits, max, ..] = segment.header().parameters;
        let fits = (1..=u64::from(MOST)).contains(&max)
            && permits <= max
            && segment.header().size
                == (procession_shm::HEADER_LEN + size_of::<SemaphoreBody>()) as u64 + max * 8;
        let max = u32::try_from(max).ok().filter(|_| fits);
        let max = max.ok_or_else(|| segment.corrupt("it says an impossible number of permits"))?;
        let myself = segment.registration().myself();
        let slot = myself.owner().map_or(0, OwnerId::slot);
        // Each process begins at a cell of its own, if there are enough.
        let start = slot.checked_rem(u32::try_from(permits).unwrap_or(max)).unwrap_or(0);
        let cells = PermitCells { body: body.clone(), max, start };
        Ok(Self { body, cells, myself })
    }

    /// Where the builders of both kinds find it.
    pub(crate) fn segment(&self) -> &Segment {
        self.body.segment()
    }

    /// As above.
    pub(crate) fn handle(&self) -> Handle {
        self.body.handle()
    }

    /// Waits until there is a permit, and takes it.
    ///
    /// # Errors
    /// [`SemaphoreError::Fault`].
    #[inline]
    pub fn acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
        self.acquire_until(1, Deadline::NEVER)
    }

    /// Takes a permit if there is one. One whose holder is found dead counts, so that a try never fails for
    /// ever.
    ///
    /// # Errors
    /// [`SemaphoreError::WouldBlock`] when none was found: one that changed hands meanwhile may have been
    /// missed. Otherwise as [`acquire`](Self::acquire).
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, SemaphoreError> {
        self.acquire_until(1, Deadline::PASSED)
    }

    /// Waits at most `timeout` until there is a permit.
    ///
    /// # Errors
    /// [`SemaphoreError::TimedOut`]; otherwise as [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, SemaphoreError> {
        self.acquire_until(1, Deadline::after(timeout))
    }

    /// Acquires as [`acquire`](Self::acquire) does, with a permit that keeps the semaphore, and can be sent
    /// to other threads.
    ///
    /// ```
    /// use procession::Semaphore;
    ///
    /// let slots = Semaphore::new(1)?;
    /// let slot = slots.acquire_owned()?;
    /// std::thread::spawn(move || drop(slot)).join().unwrap();
    /// assert_eq!(slots.available(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_owned(&self) -> Result<OwnedPermit, SemaphoreError> {
        self.acquire().map(Permit::into_owned)
    }

    /// Waits until there are `count` permits, and takes all of them; while it waits it has none.
    ///
    /// Nothing is put by for it: those that want fewer can overtake it again and again.
    ///
    /// # Errors
    /// [`SemaphoreError::TooMany`]; otherwise as [`acquire`](Self::acquire).
    pub fn acquire_many(&self, count: usize) -> Result<Permit<'_>, SemaphoreError> {
        self.acquire_until(count, Deadline::NEVER)
    }

    /// Takes `count` permits if there are so many.
    ///
    /// # Errors
    /// [`SemaphoreError::WouldBlock`]; otherwise as [`acquire_many`](Self::acquire_many).
    pub fn try_acquire_many(&self, count: usize) -> Result<Permit<'_>, SemaphoreError> {
        self.acquire_until(count, Deadline::PASSED)
    }

    /// Waits at most `timeout` until there are `count` permits.
    ///
    /// # Errors
    /// [`SemaphoreError::TimedOut`]; otherwise as [`acquire_many`](Self::acquire_many).
    pub fn acquire_many_timeout(
        &self,
        count: usize,
        timeout: Duration,
    ) -> Result<Permit<'_>, SemaphoreError> {
        self.acquire_until(count, Deadline::after(timeout))
    }

    /// Adds `count` permits, whoever calls it: first those that were forgotten, then new ones up to the
    /// maximum.
    ///
    /// All or none, also when this process is killed in the middle. Several at a time (and one, when there
    /// seems to be no room) are released one caller after the other: they wait for one that is stopped in the
    /// middle of it.
    ///
    /// # Errors
    /// [`ReleaseError::Full`] when that would be too many: at some instant during the call there was not so
    /// much room. Then none was added.
    pub fn release(&self, count: usize) -> Result<(), ReleaseError> {
        if count == 0 || count == 1 && self.cells.try_release() {
            return Ok(());
        }
        let max = self.max();
        if count <= max && self.cells.release(cells_for(count), self.me()?)? {
            return Ok(());
        }
        Err(ReleaseError::Full { object: self.segment().label(), max })
    }

    /// Gives back a permit that this process holds without a [`Permit`]; whether it held one. It is for bindings of other
    /// languages, and after `std::mem::forget` of a permit: one that is still there is given back by this, and does nothing
    /// any more.
    ///
    /// ```
    /// use procession::Semaphore;
    ///
    /// let slots = Semaphore::new(1)?;
    /// std::mem::forget(slots.acquire()?);
    /// assert_eq!(slots.available(), 0);
    /// assert!(slots.give_back());
    /// assert!(!slots.give_back());
    /// assert_eq!(slots.available(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn give_back(&self) -> bool {
        let gave_back = self.myself.owner().is_some_and(|me| self.cells.free_one_of(me));
        if gave_back {
            self.cells.notify();
        }
        gave_back
    }

    /// How many permits nobody has, those of the dead included.
    ///
    /// Exact while nobody acquires or releases. Otherwise each permit was looked at once during the call: one
    /// that changed hands meanwhile may have been seen twice or not at all, and by the time you look it may
    /// be another number.
    #[must_use]
    pub fn available(&self) -> usize {
        // What the dead have is available to whoever wants it. If nobody can be asked about, all are alive.
        drop(self.me().and_then(|me| self.cells.recover(me)));
        self.cells.count_free() as usize
    }

    /// How many permits there are now, held by somebody or not; those that were [forgotten](Permit::forget) are
    /// not there.
    ///
    /// Exact while nobody [releases](Self::release) or forgets: it does not matter who acquires meanwhile.
    ///
    /// ```
    /// use procession::Semaphore;
    ///
    /// let slots = Semaphore::new(3)?;
    /// let _one = slots.acquire()?;
    /// assert_eq!((slots.permits(), slots.available()), (3, 2));
    /// slots.acquire()?.forget();
    /// assert_eq!((slots.permits(), slots.available()), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn permits(&self) -> usize {
        self.cells.count_present() as usize
    }

    /// Whether there are permits that nobody has, those of the dead not included.
    #[doc(hidden)]
    #[must_use]
    pub fn has_permits(&self) -> bool {
        self.cells.count_free() > 0
    }

    /// Announces a waiter: the futex on which to sleep, while it says this.
    pub(crate) fn watch(&self) -> (&AtomicU32, u32) {
        let listened = self.cells.listen(1);
        (self.body.freed.word(), listened)
    }

    /// The waiter has slept, and leaves what it was told of to the next.
    pub(crate) fn unwatch(&self) {
        self.cells.arrive();
        self.cells.pass_on();
    }

    /// Those whose death gives permits back.
    pub(crate) fn concerned(&self) -> Vec<OwnerId> {
        self.cells.owners()
    }

    /// How many permits there can ever be.
    #[must_use]
    pub fn max(&self) -> usize {
        self.cells.max as usize
    }

    /// The processes that hold permits now, and how many each, for people to read.
    #[must_use]
    pub fn holders(&self) -> Vec<(Holder, usize)> {
        let segment = self.body.segment();
        let holders = self.cells.holders().into_iter();
        holders.map(|(owner, count)| (Holder::of(segment, owner), count as usize)).collect()
    }

    fn me(&self) -> Result<OwnerId, Fault> {
        match self.myself.owner() {
            Some(me) => Ok(me),
            None => Fault::or_owner(self.body.segment()),
        }
    }

    #[inline]
    fn acquire_until(&self, count: usize, deadline: Deadline) -> Result<Permit<'_>, SemaphoreError> {
        if count == 1
            && let Some(me) = self.myself.owner()
            && let Some(cell) = self.cells.try_take(me)
        {
            return Ok(Permit { semaphore: self, me, cells: CellsHeld::One(cell) });
        }
        self.acquire_contended(count, deadline)
    }

    fn too_late(&self, asked: usize, deadline: Deadline) -> SemaphoreError {
        let shortage = Shortage::new(self, asked);
        if deadline == Deadline::PASSED {
            SemaphoreError::WouldBlock(shortage)
        } else {
            SemaphoreError::TimedOut(shortage)
        }
    }

    fn try_take(&self, me: OwnerId, count: u32) -> Option<Permit<'_>> {
        let cells = match count {
            0 => CellsHeld::Several(Vec::new()),
            1 => CellsHeld::One(self.cells.try_take(me)?),
            _ => CellsHeld::Several(self.cells.try_take_many(me, count)?),
        };
        Some(Permit { semaphore: self, me, cells })
    }

    #[cold]
    fn acquire_contended(&self, count: usize, deadline: Deadline) -> Result<Permit<'_>, SemaphoreError> {
        let (segment, me) = (self.body.segment(), self.me()?);
        if count > self.max() {
            return Err(SemaphoreError::TooMany { object: segment.label(), asked: count, max: self.max() });
        }
        let mut has_slept = false;
        let outcome = self.wait_for(me, cells_for(count), deadline, &mut has_slept);
        // Whether or not it has a permit now: it may have been the only one that was told of several.
        if has_slept {
            self.cells.pass_on();
        }
        outcome
    }

    fn wait_for(
        &self,
        me: OwnerId,
        count: u32,
        deadline: Deadline,
        has_slept: &mut bool,
    ) -> Result<Permit<'_>, SemaphoreError> {
        let (cells, segment) = (&self.cells, self.body.segment());
        let mut patience = Patience::new(deadline);
        let mut nap = Nap::Woken;
        loop {
            if let Some(permit) = self.try_take(me, count) {
                return Ok(permit);
            }
            let is_over = patience.is_over();
            // The last question is free of waiting: a try finds dead holders too.
            if is_over || nap == Nap::Ask {
                match cells.recover(me)? {
                    true => continue,
                    false if is_over => return Err(self.too_late(count as usize, deadline)),
                    false => {}
                }
            }
            // A permit often comes back at once; after a sleep it did not.
            if !*has_slept && patience.spins(PAUSES) {
                continue;
            }
            let listened = cells.listen(count);
            // A permit that was freed before this thread announced itself wakes nobody.
            if cells.count_free() >= count {
                nap = Nap::Changed;
                continue;
            }
            let slept = self.body.freed.sleep(Some(segment), listened, &mut patience, || cells.owners());
            nap = slept.map_err(|stop| {
                Fault::of_stop(segment, stop, |object| SemaphoreError::Interrupted { object })
            })?;
            *has_slept = true;
            cells.arrive();
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("name", &self.body.segment().name())
            .field("available", &self.cells.count_free())
            .field("max", &self.cells.max)
            .field("holders", &self.holders())
            .finish()
    }
}

#[cfg(test)]
mod tests;
