//! The word protocols of `procession-sync`, `procession-channel` and `procession-collections`, compiled from
//! their own files against loom's atomics and a modelled kernel.
//!
//! loom runs a model through every interleaving and every order of loads that the memory model allows (up to
//! a bound on preemptions). This crate stands in for `procession-sys` and `procession-shm`: under their names
//! it offers what the protocols use, so that the very files of `crates/sync/src` and `crates/channel/src` are
//! tried, and no copy can go stale. `build.rs` brings them in, with fewer cells where a model has no use for
//! so many. It also makes copies with one line made wrong; the models must notice each of them.
//!
//! # What is modelled
//! * A futex: a queue per word behind a lock, as in the kernel. A wake takes sleepers from the queue.
//! * Time: slices never end by themselves, so that a lost wake is a deadlock, which loom reports. Timeouts
//!   end when the model [lets them](kernel::expire).
//! * Death: a thread that is [killed at a crash point](kernel::until_killed) does nothing any more: what its
//!   guards do while it unwinds has [no effect](atomic). Then every sleeper's slice ends once, as it would
//!   within 100 ms.
//! * Bytes that are copied (the rings): loom reports a copy that is not ordered after another's.
//!
//! # What is not
//! loom takes the order of sequentially consistent accesses for acquire and release only; the protocols use
//! fences, which it has right. A weak compare-and-exchange never fails without a reason. Most processes have
//! one thread; those with several are the models of `tests/threads.rs`.
#![expect(
    missing_docs,
    reason = "an item without a word of its own is what the item of this name in the library is"
)]

extern crate self as procession_channel;
extern crate self as procession_shm;
extern crate self as procession_sync;
extern crate self as procession_sys;

pub mod atomic;
pub mod crossing;
pub mod kernel;
mod liveness;
pub mod memory;
pub mod patience;
pub mod per_process;
mod spill;
mod turn;

pub use crossing::{HANDLE_NAME, Handle, owner_of_child};
pub use kernel::{Deadline, crash_point};
pub use liveness::{Myself, OpenError, OwnerId, Participant, Registration, Unknowable};
pub use memory::{
    ANY_CODEC, CODECS, Element, HEADER_LEN, Header, InstanceId, Kind, Label, Mapping, Namespace, ONLY_BYTES,
    Object, Parameter, Placement, STRUCTURE_MAX, Segment, Shape, Shared, UNKNOWN, Zeroed, Zeroed as ShmSafe,
    element_tag, name_in_structure,
};
pub use spill::{Marks, Reference, Spill};

/// As `procession_shm::object`.
pub mod object {
    use crate::{Object, OpenError, Placement, memory};

    /// A new object, attached by the process in slot 0.
    pub fn anonymous<O: Object>(settings: &O::Settings, _: &Placement) -> Result<O, OpenError> {
        memory::create(settings)
    }
}

/// As `procession_channel`'s module: no message of a model has an end of a pipe in it.
mod underway {
    use crate::OpenError;
    use crate::codec::{Codec, EncodeError, with_scratch};
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    #[derive(Debug, Default)]
    pub struct Parcel;

    impl Parcel {
        pub(crate) fn adopt<P>(_: Vec<P>) -> Result<Self, OpenError> {
            Ok(Self)
        }

        pub fn take_from(_: &mut Vec<u8>) -> Self {
            Self
        }

        pub fn of_message(message: &[u8]) -> (usize, Self) {
            (message.len(), Self)
        }

        pub(crate) fn adopt_sooner_or_later<P>(_: Vec<P>) -> Self {
            Self
        }
    }

    pub(crate) struct OpenEnds;

    impl OpenEnds {
        pub(crate) fn of<P>(_: Vec<P>) -> Self {
            Self
        }

        pub(crate) fn is_empty(&self) -> bool {
            true
        }

        pub(crate) fn adopt(self) -> Parcel {
            Parcel
        }
    }

    pub(crate) struct Departed;

    impl Departed {
        pub(crate) fn sent(self) {}
    }

    pub(crate) fn send<T, Q, E>(
        codec: Codec,
        message: &Q,
        _: impl Sized,
        send: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<(), E>
    where
        T: Serialize + DeserializeOwned,
        Q: Serialize + ?Sized,
        E: From<EncodeError>,
    {
        with_scratch(|scratch| {
            scratch.clear();
            codec.encode::<T, Q>(message, scratch)?;
            send(scratch)
        })
    }

    pub(crate) fn encode<T, Q>(
        codec: Codec,
        message: &Q,
        out: &mut Vec<u8>,
        _: impl Sized,
        _: impl FnOnce(Departed),
    ) -> Result<(), EncodeError>
    where
        T: Serialize + DeserializeOwned,
        Q: Serialize + ?Sized,
    {
        codec.encode::<T, Q>(message, out)
    }

    pub(crate) fn list<P>(_: usize, _: impl Fn(usize, &mut [u8]) -> bool) -> Option<(usize, Vec<P>)> {
        None
    }

    pub(crate) fn list_of<P>(_: &[u8]) -> Option<(usize, Vec<P>)> {
        None
    }

    pub(crate) fn len_without_list(message: &[u8]) -> usize {
        message.len()
    }

    pub(crate) fn cut<P>(_: &mut Vec<u8>) -> Vec<P> {
        Vec::new()
    }

    pub(crate) fn decoding<D, R>(_: D, decode: impl FnOnce() -> R) -> R {
        decode()
    }

    pub(crate) fn rules<D: Default>() -> D {
        D::default()
    }

    pub(crate) fn departs<E>(_: &E) {}

    pub(crate) fn let_go_of_arrived() {}
}

/// As `procession_sys::futex`.
pub mod futex {
    pub use crate::kernel::{Waited, low_half, wait, wake, wake_all};
}

/// As `procession_sys::clock`: time stands still, unless a model says otherwise.
pub mod clock {
    pub use crate::kernel::now_ns;
    use std::time::Duration;

    pub const fn ms_of(now_ns: u64) -> u32 {
        (now_ns / 1_000_000) as u32
    }

    /// All processes have one clock.
    pub fn machine_ns() -> Option<u64> {
        Some(now_ns())
    }

    /// Lets others go first.
    pub fn nap(_: Duration) {
        loom::thread::yield_now();
    }
}

/// As `procession_sys::limits`: files may be of any length.
pub mod limits {
    /// No limit.
    pub fn longest_file() -> u64 {
        u64::MAX
    }

    /// No limit.
    pub fn address_space() -> u64 {
        u64::MAX
    }
}

/// As `procession_sys::fork`: nobody forks.
pub mod fork {
    /// Always the same.
    pub fn cookie() -> u64 {
        1
    }
}

/// As `procession_sys::interrupt`.
pub mod interrupt {
    use crate::kernel;

    /// As `procession_sys::interrupt::Deferred`.
    #[derive(Debug)]
    pub struct Deferred(bool);

    /// This thread's waits are not interrupted.
    pub fn defer() -> Deferred {
        Deferred(kernel::set_interruptible(false))
    }

    impl Drop for Deferred {
        fn drop(&mut self) {
            kernel::set_interruptible(self.0);
        }
    }
}

/// As `procession_sys::cpu`: nobody spins.
pub mod cpu {
    /// A hint.
    pub fn will_write<T>(_: &T) {}

    /// Gives up at once.
    #[derive(Debug)]
    pub struct Spin;

    impl Spin {
        /// As if the time was over.
        pub fn for_ns(_: u64) -> Self {
            Self
        }

        /// The same.
        pub fn starting_with(self, _: u32) -> Self {
            self
        }

        /// Never pauses.
        pub fn pause(&mut self, _: u32) -> bool {
            false
        }
    }

    /// One, on which nobody looks again at once.
    pub fn available() -> usize {
        1
    }

    /// A locked instruction is a fence on x86-64 alone; modelled as on the others.
    pub fn fence_after_rmw() {
        crate::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
}

/// As `procession_sync`'s module: nobody waits for several things.
mod waitable {
    use crate::atomic::AtomicU32;
    use crate::{EventCount, OwnerId, Segment};

    pub trait Waitable {
        fn is_ready(&self) -> bool;
        fn is_ready_after_all(&self) -> bool {
            self.is_ready()
        }
        fn mortal(&self) -> Option<&Segment> {
            None
        }
        fn concerned(&self) -> Vec<OwnerId> {
            Vec::new()
        }
        fn watch(&self) -> Watch<'_>;
        fn unwatch(&self);
    }

    pub enum Watch<'a> {
        Futex(&'a AtomicU32, u32),
    }

    impl<'a> Watch<'a> {
        pub(crate) fn at(bell: &'a EventCount) -> Self {
            let expected = bell.listen();
            Self::Futex(bell.word(), expected)
        }

        pub(crate) fn leave(_: &EventCount, _: impl FnOnce() -> bool) {}
    }
}

/// As `procession_sync`'s module: nobody backs out.
mod deadlock {
    use crate::{Parameter, Segment, ShownWait};

    pub(crate) fn standing(_: &Segment, _: u64, _: &ShownWait) -> u64 {
        0
    }

    pub(crate) fn parameter(_: Option<bool>) -> Parameter {
        Parameter::default()
    }

    pub(crate) fn is_ours_to_break<W>(_: &Segment, _: &W) -> bool {
        false
    }
}

/// As `procession_sync`'s module: nobody asks how long somebody has held something.
mod held_since {
    use std::time::Duration;

    /// Nothing, because each atomic costs time in every interleaving.
    #[derive(Debug)]
    pub struct HeldSince;

    impl crate::Zeroed for HeldSince {
        const WIDTH: usize = 8;

        fn zeroed() -> Self {
            Self
        }
    }

    impl HeldSince {
        pub(crate) fn note(&self, _: u64, _: u64, _: impl FnOnce() -> bool) {}

        pub(crate) fn clear(&self) {}

        pub(crate) fn duration(&self, _: u64) -> Option<Duration> {
            None
        }
    }
}

/// As `procession_sync`'s module: a thread of a model has tag 1, unless the model gives it another.
pub mod thread_tag {
    use std::cell::Cell;

    pub(crate) const MASK: u32 = 2047 << SHIFT;
    const SHIFT: u32 = 16;

    loom::thread_local! {
        static TAG: Cell<u32> = Cell::new(1 << SHIFT);
    }

    /// Gives this thread a tag.
    pub fn set(tag: u32) {
        TAG.with(|cell| cell.set(tag << SHIFT));
    }

    pub(crate) fn current() -> u32 {
        TAG.with(Cell::get)
    }

    /// Models say themselves which thread ends, and with what.
    pub(crate) fn took() {}

    pub(crate) fn gave() {}

    pub(crate) fn holds(_: u64) -> bool {
        false
    }

    pub(crate) fn note(_: u64) {}

    pub(crate) fn forget(_: u64) {}
}

include!(concat!(env!("OUT_DIR"), "/protocols.rs"));

// As the roots of `procession-sync`, `procession-channel` and `procession-collections`.
pub use array::{Array, ArrayError};
pub use barrier::{Barrier, BarrierError, BreakCause, MemberDeath};
pub use cells::{load_words, store_words};
pub use codec::Codec;
pub use condition::Condition;
pub use event::Event;
pub use eventcount::EventCount;
pub use fault::Fault;
pub use held_by::{HeldBy, holder_of};
pub use hold::Hold;
pub use holder::Holder;
pub use integer::Integer;
pub use keeper::Keeper;
pub use latch::Latch;
pub use lock::{Lock, LockGuard, LockGuardOf};
pub use lock_error::LockError;
pub use lock_word::{AcquireError, Claim, HolderEnd, LockWord};
pub use once::Once;
pub use owner_death::OnOwnerDeath;
pub use patience::{Nap, Patience, Shown as ShownWait, Stop, Whom, spin_until};
pub use per_process::PerProcess;
pub use queue::{ClosedQueue, Fullness, GetError, PutError, Queue};
pub use rlock::{RLock, RLockGuard, RLockGuardOf};
pub use rwlock::{READERS, RwLock};
pub use semaphore::Semaphore;
pub use turn::{NoTurn, Turn, TurnGuard};
pub use value::{Value, ValueGuard, ValueGuardOf};
pub use waitable::{Waitable, Watch};

/// The protocols, each with one mistake, and those that use them.
pub mod mutants {
    include!(concat!(env!("OUT_DIR"), "/mutants.rs"));
}
