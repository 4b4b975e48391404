//! What is spoiled.

use crate::hand::Hand;
use crate::messages::LaneObject;
use crate::registries::{Fresh, Registry};
use procession::{
    Array, Barrier, BoundedSemaphore, Condition, Event, JoinableQueue, Latch, List, Lock, Map, MemberDeath,
    Namespace, OnOwnerDeath, Once, OpenError, Queue, RLock, RawArray, RawValue, RwLock, Semaphore,
    SharedMemory, Value,
};

/// An object, as it is used.
pub(crate) trait Subject: Send + Sync {
    /// Does one thing, and at times another while that lasts.
    fn operate(&self, hand: &mut Hand<'_>);
    /// Removes it.
    fn unlink(&self);
}

type Make = fn(&Namespace) -> Result<Box<dyn Subject>, OpenError>;

/// A kind of object, and how one is made and found.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// The object whose file is spoiled.
    pub(crate) file: &'static str,
    pub(crate) create: Make,
    pub(crate) open: Make,
    /// How many rounds one process plays at most.
    pub(crate) rounds: u64,
}

fn boxed<S: Subject + 'static>(made: Result<S, OpenError>) -> Result<Box<dyn Subject>, OpenError> {
    made.map(|subject| Box::new(subject) as Box<dyn Subject>)
}

/// A target called `x`, by the options it is created and opened with.
macro_rules! named {
    ($name:literal, $options:expr) => {
        Target {
            name: $name,
            file: "x",
            create: |namespace| boxed($options.namespace(namespace).create("x")),
            open: |namespace| boxed($options.namespace(namespace).open("x")),
            rounds: u64::MAX,
        }
    };
}

/// All of them.
pub(crate) const ALL: &[Target] = &[
    named!("lock", Lock::options()),
    named!("lock-ignoring", Lock::options().on_owner_death(OnOwnerDeath::Ignore).detect_deadlock(true)),
    named!("rlock", RLock::options()),
    named!("rwlock", RwLock::options()),
    named!("semaphore", Semaphore::options().permits(3).max(9)),
    named!("bounded-semaphore", BoundedSemaphore::options().permits(2)),
    named!("event", Event::options()),
    named!("latch", Latch::options().count(3)),
    named!("once", Once::options()),
    named!("barrier", Barrier::options().parties(2)),
    named!("barrier-elastic", Barrier::options().parties(4).elastic().on_member_death(MemberDeath::Remove)),
    named!("condition", Condition::options()),
    named!("value-word", Value::<u32>::options().initial(7)),
    named!("value-cacheline", Value::<[u64; 8]>::options()),
    named!("value-page", Value::<[u64; 512]>::options()),
    named!("array", Array::<u32>::options().len(50)),
    named!("array-bytes", Array::<u8>::options().len(333)),
    named!("raw-value", RawValue::<[u32; 5]>::options()),
    named!("raw-array", RawArray::<u64>::options().len(50)),
    named!("shared-memory", SharedMemory::options().size(1000)),
    named!("map", Map::<u16, Vec<u16>>::options().bytes(64 << 10)),
    named!("list", List::<Vec<u16>>::options().bytes(64 << 10)),
    named!("queue", Queue::<(u64, Vec<u8>)>::options().bytes(512)),
    named!("queue-bounded", Queue::<String>::options().bytes(1024).capacity(4)),
    named!(
        "joinable-queue",
        JoinableQueue::<(u64, Vec<u8>)>::options().bytes(1024).capacity(5).max_attempts(2)
    ),
    Target {
        name: "lane",
        file: "x",
        create: |namespace| boxed(LaneObject::create(namespace)),
        open: |namespace| boxed(LaneObject::open(namespace)),
        rounds: u64::MAX,
    },
    Target {
        name: "registry",
        file: ".registry",
        create: |namespace| boxed(Registry::new(namespace)),
        open: |namespace| boxed(Registry::new(namespace)),
        rounds: u64::MAX,
    },
    Target {
        name: "registration",
        file: ".registry",
        create: |namespace| boxed(Ok(Fresh::new(namespace))),
        open: |namespace| boxed(Fresh::open(namespace)),
        // Each of them keeps a descriptor.
        rounds: 150,
    },
];
