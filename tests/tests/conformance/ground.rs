//! What a case stands on: how it makes its objects, and how a child gets them.

use procession::bytemuck::Pod;
use procession::{
    Array, ArrayOptions, Barrier, BarrierOptions, BoundedSemaphore, BoundedSemaphoreOptions, Condition,
    ConditionOptions, Event, EventOptions, JoinableQueue, JoinableQueueOptions, Latch, LatchOptions, Lock,
    LockOptions, Namespace, Once, OnceOptions, OpenError, Pipe, PipeOptions, Process, Queue, QueueOptions,
    RLock, RLockOptions, RawArray, RawArrayOptions, RawValue, RawValueOptions, Semaphore, SemaphoreOptions,
    SharedMemory, SharedMemoryOptions, Value, ValueOptions,
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
    ($([$($T:ident: $($Bound:path),+)?] $Object:ty, $Options:ty;)*) => { $(
        impl$(<$T: $($Bound +)+ 'static>)? Options for $Options {
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

        impl$(<$T: $($Bound +)+ 'static>)? Opened for $Object {
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
    [T: Pod] Value<T>, ValueOptions<T>;
    [T: Pod] RawValue<T>, RawValueOptions<T>;
    [T: Pod] Array<T>, ArrayOptions<T>;
    [T: Pod] RawArray<T>, RawArrayOptions<T>;
    [T: Serialize, DeserializeOwned] Queue<T>, QueueOptions<T>;
    [T: Serialize, DeserializeOwned] JoinableQueue<T>, JoinableQueueOptions<T>;
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
        Made(self.create(options))
    }

    fn create<O: Options>(&self, options: O) -> Sent<O::Object> {
        let options = options.put_into(&self.scratch);
        if !self.named {
            return Sent { object: options.create_anonymous().unwrap(), address: None };
        }
        self.made.set(self.made.get() + 1);
        let name = format!("object-{}", self.made.get());
        let object = options.create_named(&name).unwrap();
        Sent { object, address: Some((self.scratch.name().to_owned(), name)) }
    }

    /// How a pipe of the case is made.
    pub(crate) fn pipes(&self) -> PipeOptions {
        Pipe::options().namespace(&self.scratch)
    }

    /// An end of a pipe for a child. Pipes have no names: where objects have, it goes through a queue that
    /// has one.
    pub(crate) fn hand<E: Serialize + DeserializeOwned + 'static>(&self, end: E) -> Handed<E> {
        if !self.named {
            return Handed { end: Some(end), queue: None };
        }
        let queue = self.create(Queue::options());
        queue.put(&end).unwrap();
        Handed { end: None, queue: Some(queue) }
    }

    /// Something by which one thread of a child says that it waits from now on.
    pub(crate) fn line(&self) -> Line {
        Line(RawValue::options().namespace(&self.scratch).anonymous().unwrap())
    }
}

/// An object that a case has made.
pub(crate) struct Made<O: Opened>(Sent<O>);

impl<O: Opened> Made<O> {
    /// The object for a child: by its name, or as it is.
    pub(crate) fn send(&self) -> Sent<O> {
        self.0.clone()
    }
}

impl<O: Opened> Deref for Made<O> {
    type Target = O;

    fn deref(&self) -> &O {
        &self.0
    }
}

impl<O: Opened> Drop for Made<O> {
    fn drop(&mut self) {
        if self.0.address.is_some() {
            // The case may have done so itself.
            drop(self.0.unlink_it());
        }
    }
}

/// An object on its way to a child, and in it: what has a name crosses as the name, and is opened by it
/// there.
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

/// An end of a pipe on its way to a child, and in it.
pub(crate) struct Handed<E> {
    end: Option<E>,
    /// Where the child finds the end, if it is no argument.
    queue: Option<Sent<Queue<E>>>,
}

impl<E> Handed<E> {
    /// The end, in the child.
    pub(crate) fn take(self) -> E {
        self.end.unwrap()
    }
}

impl<E: Serialize + DeserializeOwned + 'static> Serialize for Handed<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.end, &self.queue).serialize(serializer)
    }
}

impl<'de, E: Serialize + DeserializeOwned + 'static> Deserialize<'de> for Handed<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (end, queue): (Option<E>, Option<Sent<Queue<E>>>) = Deserialize::deserialize(deserializer)?;
        let Some(queue) = queue else { return Ok(Self { end, queue: None }) };
        let end = queue.try_get().map_err(Error::custom)?;
        queue.unlink_it().map_err(Error::custom)?;
        Ok(Self { end: Some(end), queue: None })
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

    /// Returns once the thread sleeps on a futex, or on several, having said that it waits.
    pub(crate) fn falls_asleep<R>(&self, child: &Process<R>) {
        until("a child sleeps on a futex", || {
            assert!(child.is_alive(), "a child that was to wait has ended");
            let (pid, tid) = (child.pid(), self.0.get());
            let call = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).unwrap_or_default();
            let number = call.split(' ').next().and_then(|number| number.parse().ok());
            tid != 0
                && number.is_some_and(|number| [libc::SYS_futex, libc::SYS_futex_waitv].contains(&number))
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

/// Runs each of the cases by each start method, in a process of its own, whose default that method is. It has the
/// one thread that `fork` asks for.
macro_rules! by_each_method {
    ($($case:ident)+) => {
        mod by_spawn {
            $(#[test] fn $case() { crate::ground::by!(Spawn, super::$case); })+
        }
        mod by_forkserver {
            $(#[test] fn $case() { crate::ground::by!(Forkserver, super::$case); })+
        }
        mod by_fork {
            $(#[test] fn $case() { crate::ground::by!(Fork, super::$case); })+
        }
    };
}
pub(crate) use by_each_method;

/// Runs the case by one start method.
macro_rules! by {
    ($Method:ident, $case:path) => {
        procession_tests::in_own_process(30, || {
            procession::set_start_method(procession::StartMethod::$Method);
            $case();
        })
    };
}
pub(crate) use by;
