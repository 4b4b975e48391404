//! Many small objects of one kind in one file: a lock for each row of a table, an event for each job.
//!
//! An object by itself takes two pages of shared memory, a file, and a mapping in every process that has it. The body of
//! a group is the bodies of its objects, one behind the other, each of 64 or 80 bytes; which protocol they follow, and
//! what a death leaves behind, is in the file of the object.
//!
//! # If a process dies
//! What it held of each object is found out by whoever waits for that object, as if it were alone. The group itself has
//! no state: its number of objects stands in the header.

use crate::event::Event;
use crate::lock::Lock;
use crate::lock_face::LockSettings;
use crate::owner_death::OnOwnerDeath;
use crate::rlock::RLock;
use procession_shm::{Kind, Object, OpenError, Parameter, Placement, Segment, Shape, Shared, object};
use procession_sys::{Mapping, ShmSafe};
use std::fmt;
use std::marker::PhantomData;

/// An object that there can be many of in one [`Group`]: [`Lock`], [`RLock`], [`Event`].
pub trait Grouped: sealed::Grouped {}

impl<T: sealed::Grouped> Grouped for T {}

mod sealed {
    use procession_shm::Object;

    pub trait Grouped: Object<Settings: Clone + Default + std::fmt::Debug> {}
}

impl sealed::Grouped for Lock {}
impl sealed::Grouped for RLock {}
impl sealed::Grouped for Event {}

/// So many objects of one kind that share a name and a file: 10,000 locks take 0.7 MB of shared memory instead of 80.
///
/// Each is used as if it were alone, survives deaths as it does alone, and can be sent to other processes by itself. A
/// handle of one keeps the whole group.
///
/// ```
/// use procession::{Group, Lock, LockError};
///
/// let rows: Group<Lock> = Group::create("rows", 10_000)?;
/// let seventh = rows.get(7).ok_or("there are not so many")?;
/// let guard = seventh.acquire()?;
/// // Another process that asks for the same row waits, and one that asks for another does not.
/// assert!(matches!(rows.get(7).unwrap().try_acquire(), Err(LockError::WouldBlock(_))));
/// assert!(rows.get(8).unwrap().try_acquire().is_ok());
/// # drop(guard);
/// # rows.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Errors and `procession ls` name the group; they do not say which of its objects is meant.
pub struct Group<T: Grouped> {
    body: Shared<T::Body>,
    len: usize,
    objects: PhantomData<fn() -> T>,
}

/// What a creator chooses about a group, and an opener may insist on.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct GroupSettings<T: Grouped> {
    count: Option<u64>,
    of_each: T::Settings,
}

/// How a [`Group`] is created or opened.
#[derive(Clone, Debug)]
pub struct GroupOptions<T: Grouped> {
    place: Placement,
    settings: GroupSettings<T>,
}

impl<T: Grouped> Default for GroupOptions<T> {
    fn default() -> Self {
        let settings = GroupSettings { count: None, of_each: T::Settings::default() };
        Self { place: Placement::default(), settings }
    }
}

impl<T: Grouped> GroupOptions<T> {
    /// How many objects there are, from 1 on. Whoever opens a group need not say.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        self.settings.count = Some(count as u64);
        self
    }
}

impl<T: Grouped + Object<Settings = LockSettings>> GroupOptions<T> {
    /// Chooses what becomes of a lock of the group when its holder is killed, or panics;
    /// [`OnOwnerDeath::Report`] unless said.
    #[must_use]
    pub fn on_owner_death(mut self, policy: OnOwnerDeath) -> Self {
        self.settings.of_each.on_owner_death = Some(policy);
        self
    }

    /// Whether a thread that waits for a lock of the group, and finds that it is in a deadlock, is told so instead of
    /// waiting on; not unless said.
    #[must_use]
    pub fn detect_deadlock(mut self, detect: bool) -> Self {
        self.settings.of_each.detect_deadlock = Some(detect);
        self
    }
}

procession_shm::object_builders!([T: Grouped] GroupOptions<T> => Group<T>, (count: usize));

/// Which of the header's parameters is the number of objects: the last one, which none of them has for itself.
const COUNT: usize = 3;

impl<T: Grouped> Object for Group<T> {
    const KIND: Kind = match T::GROUP {
        Some(kind) => kind,
        None => panic!("an object that can be in groups says of what kind they are"),
    };
    type Body = T::Body;
    type Settings = GroupSettings<T>;

    fn check(settings: &GroupSettings<T>) -> Result<(), &'static str> {
        match settings.count {
            Some(0) => Err("a group has one object or more"),
            Some(count) if bytes::<T::Body>(count).is_none() => Err("there is no room for so many objects"),
            _ => T::check(&settings.of_each),
        }
    }

    fn check_new(settings: &GroupSettings<T>) -> Result<(), &'static str> {
        if settings.count.is_none() {
            return Err("a new group needs a number of objects: .count(n)");
        }
        T::check_new(&settings.of_each)
    }

    fn shape(settings: &GroupSettings<T>) -> Shape {
        let mut shape = T::shape(&settings.of_each);
        shape.parameters[COUNT] = Parameter::said("count", settings.count, 0);
        let body_len = bytes::<T::Body>(settings.count.unwrap_or_default()).unwrap_or(u64::MAX);
        Shape { kind: Self::KIND, body_len, ..shape }
    }

    fn initialise_all(_: &T::Body, mapping: &Mapping, settings: &GroupSettings<T>) {
        object::initialise_cells::<T>(mapping, &settings.of_each);
    }

    fn forget_owners(_: &T::Body) {}

    fn forget_owners_of_all(mapping: &Mapping) {
        object::forget_owners_of_cells::<T>(mapping);
    }

    fn attach(body: Shared<T::Body>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let len = usize::try_from(segment.header().parameters[COUNT]).unwrap_or(usize::MAX);
        if body.slice::<T::Body>(0, len).is_none() {
            return Err(segment.corrupt("the body is too small for its objects"));
        }
        Ok(Self { body, len, objects: PhantomData })
    }
}

/// How many bytes so many bodies take.
fn bytes<B: ShmSafe>(count: u64) -> Option<u64> {
    count.checked_mul(size_of::<B>() as u64).filter(|&bytes| i64::try_from(bytes).is_ok())
}

impl<T: Grouped> Group<T> {
    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a group has one object or more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The object of this number, from 0; `None` if there are not so many. It makes a new handle: whoever uses an object
    /// again and again keeps it.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        let segment: &Segment = self.body.segment();
        if index < self.len { object::cell(segment, index).ok() } else { None }
    }

    /// All objects, in their order.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.len).filter_map(|index| self.get(index))
    }
}

impl<T: Grouped> Clone for Group<T> {
    fn clone(&self) -> Self {
        Self { body: self.body.clone(), len: self.len, objects: PhantomData }
    }
}

impl<T: Grouped> fmt::Debug for Group<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("name", &self.name()).field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Group;
    use crate::{Event, Lock, LockError, OnOwnerDeath, RLock};
    use procession_shm::{Namespace, OpenError};

    #[test]
    fn each_object_is_one_by_itself() {
        let group: Group<Lock> = Group::new(100).unwrap();
        let (first, last) = (group.get(0).unwrap(), group.get(99).unwrap());
        assert!(group.get(100).is_none() && group.iter().count() == group.len() && !group.is_empty());
        let guard = first.acquire().unwrap();
        assert!(matches!(group.get(0).unwrap().try_acquire(), Err(LockError::WouldBlock(_))));
        assert!(matches!(group.get(0).unwrap().acquire(), Err(LockError::Deadlock { .. })));
        let other = last.acquire().unwrap();
        assert_eq!(group.iter().filter(|lock| lock.holder().is_some()).count(), 2);
        assert!(
            matches!(group.get(1).unwrap().release(), Err(LockError::NotHeld { .. })),
            "another one is held"
        );
        drop((guard, other));
        assert!(group.iter().all(|lock| lock.holder().is_none()));
    }

    #[test]
    fn levels_and_events_are_kept_apart() {
        let group: Group<RLock> = Group::new(3).unwrap();
        let [first, second] = [0, 1].map(|index| group.get(index).unwrap());
        let (outer, inner, other) =
            (first.acquire().unwrap(), first.acquire().unwrap(), second.acquire().unwrap());
        assert_eq!((inner.depth(), other.depth()), (2, 1));
        drop((inner, outer, other));
        let events: Group<Event> = Group::new(3).unwrap();
        events.get(1).unwrap().set();
        let set: Vec<bool> = events.iter().map(|event| event.is_set()).collect();
        assert_eq!(set, [false, true, false]);
    }

    #[test]
    fn a_group_is_opened_as_it_was_created() {
        let namespace = Namespace::private();
        let options = || Group::<Lock>::options().namespace(&namespace);
        let made =
            options().count(5).on_owner_death(OnOwnerDeath::Ignore).ephemeral().create("rows").unwrap();
        assert_eq!(options().open("rows").unwrap().len(), 5);
        assert!(matches!(options().count(6).open("rows"), Err(OpenError::Parameter { .. })));
        assert!(matches!(options().create("others"), Err(OpenError::Impossible { .. })), "of how many?");
        assert!(matches!(options().count(0).create("none"), Err(OpenError::Impossible { .. })));
        assert!(matches!(options().count(usize::MAX).create("many"), Err(OpenError::Impossible { .. })));
        let events = Group::<Event>::options().namespace(&namespace);
        assert!(matches!(events.open("rows"), Err(OpenError::Kind { .. })));
        assert!(matches!(Lock::options().namespace(&namespace).open("rows"), Err(OpenError::Kind { .. })));
        drop(made);
    }
}
