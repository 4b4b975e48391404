//! The engine in shared memory: our own objects of one host, under names that begin with `cluster.`.

mod queue;
mod signals;

use crate::engine::{Engine, Hold, Holds, Mode, Object, Patience};
use crate::error::ClusterError;
use crate::report::{ClusterDeadlock, ClusterObject, ClusterParticipant};
use crate::token::Token;
use procession_shm::{Namespace, OpenError};
use procession_sync::{
    LockError, LockOptions, OnOwnerDeath, RwLockOptions, SemaphoreError, SemaphoreOptions,
};
use std::fmt::Debug;

/// What the names of a cluster's objects begin with: no object of the host becomes one of a cluster by chance.
const PREFIX: &str = "cluster.";

/// A cluster that is one namespace of this host.
#[derive(Debug)]
pub(crate) struct Shm {
    pub(crate) namespace: Namespace,
    place: String,
}

impl Shm {
    /// In this namespace; in that of the process when it has no name.
    pub(crate) fn connect(namespace: &str) -> Result<Self, ClusterError> {
        let found = if namespace.is_empty() { Namespace::current() } else { Namespace::new(namespace) };
        let namespace = found.map_err(|error| ClusterError::InvalidName {
            name: error.name,
            reason: error.reason.to_owned(),
        })?;
        let place = format!("shm:{}", namespace.name());
        let shm = Self { namespace, place };
        // It takes part from now on, as a session does: a private namespace lasts as long as somebody does.
        let _: &procession_shm::Registration =
            procession_shm::register(&shm.namespace).map_err(|error| shm.unreadable(error))?;
        Ok(shm)
    }

    /// The name that the object has among those of the host.
    pub(crate) fn local_name(object: &Object) -> Result<String, ClusterError> {
        object.check_name()?;
        Ok(format!("{PREFIX}{}.{}", object.subject.kind, object.subject.name))
    }

    fn unreadable(&self, error: OpenError) -> ClusterError {
        ClusterError::Refused { place: self.place.clone(), reason: error.to_string() }
    }
}

/// What cannot be opened.
pub(crate) fn unusable(
    object: &Object,
    error: impl std::error::Error + Send + Sync + 'static,
) -> ClusterError {
    ClusterError::Memory { object: object.subject.clone(), source: Box::new(error) }
}

fn from_lock(object: &Object, error: LockError) -> ClusterError {
    let subject = object.subject.clone();
    let holder = error.holder().map(|holder| holder.to_string()).unwrap_or_default();
    match error {
        LockError::WouldBlock(_) => ClusterError::WouldBlock { object: subject, holder },
        LockError::TimedOut(_) => ClusterError::TimedOut { object: subject, holder },
        LockError::Deadlock { is_own, .. } => ClusterError::Deadlock { object: subject, is_own },
        LockError::Interrupted { .. } => ClusterError::Interrupted { object: subject },
        other => unusable(object, other),
    }
}

fn from_semaphore(object: &Object, error: SemaphoreError) -> ClusterError {
    let subject = object.subject.clone();
    let names = |holders: Vec<(procession_sync::Holder, usize)>| {
        holders.iter().take(4).map(|(holder, _)| holder.to_string()).collect::<Vec<_>>().join(", ")
    };
    match error {
        SemaphoreError::WouldBlock(lack) => {
            ClusterError::WouldBlock { object: subject, holder: names(lack.holders()) }
        }
        SemaphoreError::TimedOut(lack) => {
            ClusterError::TimedOut { object: subject, holder: names(lack.holders()) }
        }
        SemaphoreError::Interrupted { .. } => ClusterError::Interrupted { object: subject },
        other => unusable(object, other),
    }
}

/// Opens, or says that the one there is another.
macro_rules! opened {
    ($object:expr, $options:expr, $name:expr) => {
        $options.open_or_create($name).map_err(|error| match error {
            OpenError::Parameter { parameter, found, .. } => ClusterError::Mismatch {
                object: $object.subject.clone(),
                there: format!("{found} {parameter}"),
                asked: format!("{} {parameter}", $object.size),
            },
            other => unusable($object, other),
        })
    };
}

/// The one of three forms of an operation that has this patience; with this argument, before the time.
macro_rules! with_patience {
    ($patience:expr, $lock:expr, $plain:ident, $tries:ident, $timed:ident $(; $argument:expr)?) => {
        match $patience {
            Patience::Try => $lock.$tries($($argument)?),
            Patience::Forever => $lock.$plain($($argument)?),
            Patience::Until(_) => $lock.$timed($($argument,)? $patience.left().unwrap_or_default()),
        }
    };
}

use {opened, with_patience};

impl Holds for Shm {
    fn take(&self, object: &Object, mode: Mode, patience: Patience) -> Result<Box<dyn Hold>, ClusterError> {
        let name = Self::local_name(object)?;
        let wrong = |error| from_lock(object, error);
        match (object.subject.kind, mode) {
            (_, Mode::Permits(count)) => {
                object.check_mode(mode)?;
                let permits = object.size as usize;
                let options =
                    SemaphoreOptions::default().namespace(&self.namespace).permits(permits).max(permits);
                let semaphore = opened!(object, options, &name)?;
                let permit = with_patience!(
                    patience, semaphore, acquire_many, try_acquire_many, acquire_many_timeout; count as usize
                );
                let permit = permit.map_err(|error| from_semaphore(object, error))?.into_owned();
                Ok(Box::new(Held { token: Token::new(0, 0), _guard: permit }))
            }
            ("rwlock", _) => {
                let options = RwLockOptions::default()
                    .namespace(&self.namespace)
                    .on_owner_death(OnOwnerDeath::Ignore)
                    .detect_deadlock(true);
                let lock = opened!(object, options, &name)?;
                if mode == Mode::Shared {
                    let guard = with_patience!(patience, lock, read, try_read, read_timeout);
                    let guard = guard.map_err(wrong)?.into_owned();
                    Ok(Box::new(Held { token: Token::new(0, guard.fencing_token()), _guard: guard }))
                } else {
                    let guard = with_patience!(patience, lock, write, try_write, write_timeout);
                    let guard = guard.map_err(wrong)?.into_owned();
                    Ok(Box::new(Held { token: Token::new(0, guard.fencing_token()), _guard: guard }))
                }
            }
            _ => {
                let options = LockOptions::default()
                    .namespace(&self.namespace)
                    .on_owner_death(OnOwnerDeath::Ignore)
                    .detect_deadlock(true);
                let lock = opened!(object, options, &name)?;
                let guard = with_patience!(patience, lock, acquire, try_acquire, acquire_timeout);
                let guard = guard.map_err(wrong)?.into_owned();
                Ok(Box::new(Held { token: Token::new(0, guard.fencing_token()), _guard: guard }))
            }
        }
    }

    fn permits_of(&self, object: &Object) -> Result<Option<u32>, ClusterError> {
        let options = SemaphoreOptions::default().namespace(&self.namespace);
        match options.open(&Self::local_name(object)?) {
            Ok(semaphore) => Ok(Some(u32::try_from(semaphore.max()).unwrap_or(u32::MAX))),
            Err(OpenError::NotFound { .. }) => Ok(None),
            Err(error) => Err(unusable(object, error)),
        }
    }
}

/// A hold of an object of this host: nothing can end it but its process.
#[derive(Debug)]
struct Held<G> {
    token: Token,
    _guard: G,
}

impl<G: Debug> Hold for Held<G> {
    fn token(&self) -> Token {
        self.token
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn release(self: Box<Self>) -> Result<(), ClusterError> {
        Ok(())
    }
}

impl Engine for Shm {
    fn place(&self) -> &str {
        &self.place
    }

    fn objects(&self) -> Result<Vec<ClusterObject>, ClusterError> {
        let entries = self.namespace.list().map_err(|error| self.unreadable(error))?;
        let ours = entries.iter().filter_map(|entry| {
            let (kind, name) = entry.name.strip_prefix(PREFIX)?.split_once('.')?;
            Some(describe(entry, kind, name))
        });
        Ok(ours.collect())
    }

    fn participants(&self) -> Result<Vec<ClusterParticipant>, ClusterError> {
        let registration =
            procession_shm::register(&self.namespace).map_err(|error| self.unreadable(error))?;
        let of = |found: procession_shm::Participant| ClusterParticipant {
            host: String::new(),
            pid: found.pid,
            command: found.name,
            since: found.registered_ns / 1_000_000_000,
        };
        Ok(registration.participants().into_iter().map(of).collect())
    }

    fn deadlocks(&self) -> Result<Vec<ClusterDeadlock>, ClusterError> {
        let found = procession_sync::deadlocks_in(&self.namespace).map_err(|error| self.unreadable(error))?;
        let circle = |deadlock: procession_sync::Deadlock| ClusterDeadlock {
            waits: deadlock
                .threads
                .into_iter()
                .map(|thread| {
                    (
                        of_holder(&thread.process),
                        format!("{} {}", thread.kind, thread.object.unwrap_or_default()),
                    )
                })
                .collect(),
        };
        Ok(found.into_iter().map(circle).collect())
    }
}

fn of_holder(holder: &procession_sync::Holder) -> ClusterParticipant {
    ClusterParticipant { host: String::new(), pid: holder.pid, command: holder.name.clone(), since: 0 }
}

/// The number and the state of an object that nobody holds.
fn state_of(entry: &procession_shm::Entry, kind: &str) -> Option<(i64, String)> {
    use procession_channel::{Encoded, JoinableQueue};
    use procession_sync::{Barrier, Event, Latch, Value};
    let many = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    Some(match kind {
        "event" => {
            let is_set = procession_shm::look::<Event>(entry)?.is_set();
            (is_set.into(), if is_set { "set" } else { "not set" }.to_owned())
        }
        "latch" => {
            let latch = procession_shm::look::<Latch>(entry)?;
            let (arrived, all) = (latch.arrived(), latch.count());
            let state =
                if latch.is_open() { "open".to_owned() } else { format!("{arrived} of {all} arrived") };
            (i64::try_from(arrived).unwrap_or(i64::MAX), state)
        }
        "counter" => {
            let now = procession_shm::look::<Value<i64>>(entry)?.get().ok()?;
            (now, now.to_string())
        }
        "barrier" => {
            let barrier = procession_shm::look::<Barrier>(entry)?;
            let (arrived, all) = (barrier.n_waiting(), barrier.parties());
            let whole = || format!("{arrived} of {all} arrived");
            (many(arrived), barrier.broken().map_or_else(whole, |cause| format!("broken: {cause}")))
        }
        "queue" => {
            let queue = procession_shm::look::<JoinableQueue<Encoded>>(entry)?;
            let (items, closed) = (queue.unfinished(), if queue.is_closed() { ", closed" } else { "" });
            (many(items), format!("{items} items{closed}"))
        }
        _ => return None,
    })
}

/// An object with its holders. How many wait is not counted in shared memory.
fn describe(entry: &procession_shm::Entry, kind: &str, name: &str) -> ClusterObject {
    use procession_sync::{Lock, RwLock, Semaphore};
    let mut number = None;
    let (state, holders) = match kind {
        "lock" => {
            let holders: Vec<_> =
                procession_shm::look::<Lock>(entry).and_then(|lock| lock.holder()).into_iter().collect();
            (if holders.is_empty() { "free" } else { "held" }.to_owned(), holders)
        }
        "rwlock" => procession_shm::look::<RwLock>(entry).map_or(("free".to_owned(), Vec::new()), |lock| {
            let readers = lock.readers();
            match lock.writer() {
                Some(writer) => ("written".to_owned(), vec![writer]),
                None => (if readers.is_empty() { "free" } else { "read" }.to_owned(), readers),
            }
        }),
        "semaphore" => {
            procession_shm::look::<Semaphore>(entry).map_or((String::new(), Vec::new()), |semaphore| {
                let holders =
                    semaphore.holders().into_iter().flat_map(|(holder, count)| vec![holder; count]).collect();
                (format!("{} of {} permits free", semaphore.available(), semaphore.max()), holders)
            })
        }
        _ => {
            let (counted, state) = state_of(entry, kind).unzip();
            number = counted;
            let event =
                (kind == "event").then(|| procession_shm::look::<procession_sync::Event>(entry)).flatten();
            (state.unwrap_or_default(), event.and_then(|event| event.owner()).into_iter().collect())
        }
    };
    let holders = holders.iter().map(of_holder).collect();
    ClusterObject { kind: kind.to_owned(), name: name.to_owned(), state, number, holders, waiters: 0 }
}
