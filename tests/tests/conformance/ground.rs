//! What a case stands on: how it makes its objects, and how a child gets them.

use procession::bytemuck::Pod;
use procession::{
    Array, ArrayOptions, Barrier, BarrierOptions, BoundedSemaphore, BoundedSemaphoreOptions, Condition,
    ConditionOptions, Event, EventOptions, Latch, LatchOptions, Lock, LockOptions, Namespace, Once,
    OnceOptions, OpenError, Process, RLock, RLockOptions, RawArray, RawArrayOptions, RawValue,
    RawValueOptions, Semaphore, SemaphoreOptions, SharedMemory, SharedMemoryOptions, Value, ValueOptions,
};
use procession_tests::{Scratch, until};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::fs;
use std::ops::Deref;
use std::time::Duration;

/// Long enough to be measured, for timeouts that are to run out.
pub(crate) const SHORT: Duration = Duration::from_millis(20);

/// The options of a kind of object: what all of them can do, as a trait.
pub(crate) trait Options: Sized {
    type Object: Opened;

    fn put_into(self, namespace: &Namespace) -> Self;
    fn create_named(&self, name: &str) -> Result<Self::Object, OpenError>;
    fn create_anonymous(&self) -> Result<Self::Object, OpenError>;
}

/// An object that can be opened by its name, and sent as an argument.
pub(crate) trait Opened: Sized + Clone + Serialize + DeserializeOwned + 'static {
    fn open_in(namespace: &Namespace, name: &str) -> Result<Self, OpenError>;
    fn unlink_it(&self) -> Result<(), OpenError>;
}

macro_rules! objects {
    ($([$($T:ident)?] $Object:ty, $Options:ty;)*) => { $(
        impl$(<$T: Pod>)? Options for $Options {
            type Object = $Object;

            fn put_into(self, namespace: &Namespace) -> Self {
                self.namespace(namespace)
            }

            fn create_named(&self, name: &str) -> Result<$Object, OpenError> {
                self.create(name)
            }

            fn create_anonymous(&self) -> Result<$Object, OpenError> {
                self.anonymous()
            }
        }

        impl$(<$T: Pod>)? Opened for $Object {
            fn open_in(namespace: &Namespace, name: &str) -> Result<Self, OpenError> {
                <$Object>::options().namespace(namespace).open(name)
            }

            fn unlink_it(&self) -> Result<(), OpenError> {
                self.unlink()
            }
        }
    )* };
}

objects! {
    [] Lock, LockOptions;
    [] RLock, RLockOptions;
    [] Semaphore, SemaphoreOptions;
    [] BoundedSemaphore, BoundedSemaphoreOptions;
    [] Condition, ConditionOptions;
    [] Event, EventOptions;
    [] Barrier, BarrierOptions;
    [] Latch, LatchOptions;
    [] Once, OnceOptions;
    [] SharedMemory, SharedMemoryOptions;
    [T] Value<T>, ValueOptions<T>;
    [T] RawValue<T>, RawValueOptions<T>;
    [T] Array<T>, ArrayOptions<T>;
    [T] RawArray<T>, RawArrayOptions<T>;
}

/// A namespace of the case's own, and whether its objects have names.
pub(crate) struct Ground {
    scratch: Scratch,
    named: bool,
    made: Cell<u32>,
}

impl Ground {
    pub(crate) fn named() -> Self {
        Self { scratch: Scratch::new(), named: true, made: Cell::new(0) }
    }

    pub(crate) fn anonymous() -> Self {
        Self { named: false, ..Self::named() }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.scratch
    }

    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    /// Makes an object, which is removed when this handle is dropped.
    pub(crate) fn make<O: Options>(&self, options: O) -> Made<O::Object> {
        let options = options.put_into(&self.scratch);
        if !self.named {
            return Made { object: options.create_anonymous().unwrap(), address: None };
        }
        self.made.set(self.made.get() + 1);
        let name = format!("object-{}", self.made.get());
        let object = options.create_named(&name).unwrap();
        Made { object, address: Some((self.scratch.name().to_owned(), name)) }
    }

    /// Something by which one thread of a child says that it waits from now on.
    pub(crate) fn line(&self) -> Line {
        Line(RawValue::options().namespace(&self.scratch).anonymous().unwrap())
    }
}

/// An object that a case has made.
pub(crate) struct Made<O: Opened> {
    object: O,
    address: Option<(String, String)>,
}

impl<O: Opened> Made<O> {
    /// The object for a child: by its name, or as it is.
    pub(crate) fn send(&self) -> Sent<O> {
        Sent { object: self.object.clone(), address: self.address.clone() }
    }
}

impl<O: Opened> Deref for Made<O> {
    type Target = O;

    fn deref(&self) -> &O {
        &self.object
    }
}

impl<O: Opened> Drop for Made<O> {
    fn drop(&mut self) {
        if self.address.is_some() {
            // The case may have done so itself.
            drop(self.object.unlink_it());
        }
    }
}

/// An object on its way to a child, and in it: what has a name crosses as the name, and is opened by it there.
#[derive(Clone)]
pub(crate) struct Sent<O> {
    object: O,
    address: Option<(String, String)>,
}

impl<O> Deref for Sent<O> {
    type Target = O;

    fn deref(&self) -> &O {
        &self.object
    }
}

impl<O: Opened> Serialize for Sent<O> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let object = self.address.is_none().then_some(&self.object);
        (&self.address, object).serialize(serializer)
    }
}

impl<'de, O: Opened> Deserialize<'de> for Sent<O> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (address, object): (Option<(String, String)>, Option<O>) =
            Deserialize::deserialize(deserializer)?;
        let object = match (&address, object) {
            (None, Some(object)) => object,
            (Some((namespace, name)), None) => {
                let namespace = Namespace::new(namespace).map_err(Error::custom)?;
                O::open_in(&namespace, name).map_err(Error::custom)?
            }
            _ => return Err(Error::custom("neither a name nor an object")),
        };
        Ok(Self { object, address })
    }
}

/// The number of a thread that says when it waits.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Line(RawValue<i32>);

impl Line {
    /// What this thread does next is what the case wants to see it wait in.
    pub(crate) fn waits_now(&self) {
        self.0.set(nix::unistd::gettid().as_raw());
    }

    /// Returns once the thread sleeps on a futex, having said that it waits.
    pub(crate) fn falls_asleep<R>(&self, child: &Process<R>) {
        until("a child sleeps on a futex", || {
            assert!(child.is_alive(), "a child that was to wait has ended");
            let (pid, tid) = (child.pid(), self.0.get());
            let call = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).unwrap_or_default();
            tid != 0 && call.split(' ').next() == Some(&libc::SYS_futex.to_string())
        });
    }
}

/// Starts a child that calls `f`.
pub(crate) fn child<F, A, R>(f: F, arguments: A) -> Process<R>
where
    F: Fn(A) -> R + Copy + 'static,
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    Process::spawn(f, arguments).unwrap()
}

/// What `f` answers in another process.
pub(crate) fn elsewhere<F, A, R>(f: F, arguments: A) -> R
where
    F: Fn(A) -> R + Copy + 'static,
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    child(f, arguments).join().unwrap()
}

/// Kills a child (SIGKILL), and returns when it is gone: it is attached to nothing any more.
pub(crate) fn kill<R>(child: &Process<R>) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
}

/// Never returns: to be killed.
pub(crate) fn for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Runs each of the cases on objects with names, and on objects without.
macro_rules! conforms {
    ($($case:ident),+ $(,)?) => {
        mod named {
            $(#[test] fn $case() { super::$case(&crate::ground::Ground::named()); })+
        }
        mod anonymous {
            $(#[test] fn $case() { super::$case(&crate::ground::Ground::anonymous()); })+
        }
    };
}
pub(crate) use conforms;
