//! The kinds of objects.

use std::fmt;

/// The kind of an object: lock, queue, event and so on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub(crate) u32);

impl Kind {
    /// The namespace's table of processes.
    pub const REGISTRY: Self = Self(1);
    /// `procession::Lock`.
    pub const LOCK: Self = Self(2);
    /// `procession::Queue`.
    pub const QUEUE: Self = Self(3);
    /// The two rings between a pool and one of its workers.
    pub const POOL_WORKER: Self = Self(4);
    /// `procession::JoinableQueue`.
    pub const JOINABLE_QUEUE: Self = Self(5);
    /// A message of a queue that is larger than the queue.
    pub const SPILL: Self = Self(6);
    /// `procession::Event`.
    pub const EVENT: Self = Self(16);
    /// `procession::Semaphore`.
    pub const SEMAPHORE: Self = Self(17);
    /// `procession::BoundedSemaphore`.
    pub const BOUNDED_SEMAPHORE: Self = Self(18);
    /// `procession::Latch`.
    pub const LATCH: Self = Self(19);
    /// `procession::Once`.
    pub const ONCE: Self = Self(20);
    /// `procession::Barrier`.
    pub const BARRIER: Self = Self(21);
    /// `procession::RLock`.
    pub const RLOCK: Self = Self(22);
    /// `procession::Value`.
    pub const VALUE: Self = Self(23);
    /// `procession::Array`.
    pub const ARRAY: Self = Self(24);
    /// `procession::RwLock`.
    pub const RWLOCK: Self = Self(25);
    /// `procession::Condition`.
    pub const CONDITION: Self = Self(26);
    /// `procession::RawValue`.
    pub const RAW_VALUE: Self = Self(27);
    /// `procession::RawArray`.
    pub const RAW_ARRAY: Self = Self(28);
    /// `procession::SharedMemory`.
    pub const SHARED_MEMORY: Self = Self(29);
    /// `procession::Sender` and `Receiver`, or two `Connection`s.
    pub const PIPE: Self = Self(34);
    /// `procession::Map`.
    pub const MAP: Self = Self(35);
    /// `procession::List`.
    pub const LIST: Self = Self(36);
    /// `procession::Group<Lock>`.
    pub const LOCK_GROUP: Self = Self(48);
    /// `procession::Group<RLock>`.
    pub const RLOCK_GROUP: Self = Self(49);
    /// `procession::Group<Event>`.
    pub const EVENT_GROUP: Self = Self(50);

    /// The word for people: `lock`, `queue`, …; `unknown` for a kind of a later version.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::REGISTRY => "registry",
            Self::LOCK => "lock",
            Self::QUEUE => "queue",
            Self::POOL_WORKER => "pool-worker",
            Self::JOINABLE_QUEUE => "joinable-queue",
            Self::SPILL => "spill",
            Self::EVENT => "event",
            Self::SEMAPHORE => "semaphore",
            Self::BOUNDED_SEMAPHORE => "bounded-semaphore",
            Self::LATCH => "latch",
            Self::ONCE => "once",
            Self::BARRIER => "barrier",
            Self::RLOCK => "rlock",
            Self::VALUE => "value",
            Self::ARRAY => "array",
            Self::RWLOCK => "rwlock",
            Self::CONDITION => "condition",
            Self::RAW_VALUE => "raw-value",
            Self::RAW_ARRAY => "raw-array",
            Self::SHARED_MEMORY => "shared-memory",
            Self::PIPE => "pipe",
            Self::MAP => "map",
            Self::LIST => "list",
            Self::LOCK_GROUP => "lock-group",
            Self::RLOCK_GROUP => "rlock-group",
            Self::EVENT_GROUP => "event-group",
            _ => "unknown",
        }
    }

    /// The words that people read: `bounded semaphore`; `object` for a kind of a later version.
    #[must_use]
    pub fn words(self) -> String {
        match self.name() {
            "unknown" => "object".to_owned(),
            name => name.replace('-', " "),
        }
    }

    /// The words with the article that they take: `an event`, `a lock`, `shared memory`.
    #[must_use]
    pub fn with_article(self) -> String {
        let words = self.words();
        match words.as_bytes() {
            _ if self == Self::SHARED_MEMORY => words,
            // An "ar-lock", an "ar-w-lock".
            [b'a' | b'e' | b'i' | b'o' | b'u', ..] | [b'r', b'l' | b'w', ..] => format!("an {words}"),
            _ => format!("a {words}"),
        }
    }

    /// Whether others may ask, when an object of this kind was unlinked, whether somebody still has it: for
    /// what its messages refer to.
    pub(crate) fn is_asked_about(self) -> bool {
        [Self::QUEUE, Self::JOINABLE_QUEUE].contains(&self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({}, {})", self.0, self.name())
    }
}
