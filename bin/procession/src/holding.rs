//! What can be held: a lock, alone or shared with others, or permits of a semaphore; as it is typed, and as the
//! library's object.
//!
//! A lock of the command is a [`Lock`], so that a program that opens the same name meets it there. Only what is first
//! asked for by `--shared` is an [`RwLock`]. A name keeps its kind: whoever wants it alone takes a `Lock`, an `RLock`
//! or an `RwLock` as it finds it. Who wants to share a name that is a `Lock` makes an `RwLock` of it if nobody uses
//! it, and otherwise holds it alone: that is slower than sharing, but never wrong.

use crate::state::Held;
use procession::shm::Kind;
use procession::{
    BoundedSemaphore, Fault, Lock, LockError, Namespace, OpenError, OwnedLockGuard, OwnedPermit,
    OwnedRLockGuard, OwnedReadGuard, OwnedWriteGuard, RLock, RwLock, Semaphore, SemaphoreError, WriteGuard,
};
use procession_sys::Deadline;
use procession_terminal::exit::{DISAGREE, Failure, NO_SUCH_OBJECT, NOT_ACQUIRED, Refusal};
use procession_terminal::output;
use serde_json::Map;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is to be held, in the order in which several are acquired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Lock { name: String, shared: bool },
    Permits { name: String, permits: usize, count: Option<usize> },
}

impl Target {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Lock { name, .. } | Self::Permits { name, .. } => name,
        }
    }

    /// `lock` or `sem`, as it is typed.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Lock { .. } => "lock",
            Self::Permits { .. } => "sem",
        }
    }

    /// How many permits the semaphore has, if that was said.
    pub(crate) fn count(&self) -> Option<usize> {
        if let Self::Permits { count, .. } = self { *count } else { None }
    }

    /// The same, of a semaphore of so many permits.
    pub(crate) fn of_all(self, count: Option<usize>) -> Self {
        match self {
            Self::Permits { name, permits, .. } => Self::Permits { name, permits, count },
            lock @ Self::Lock { .. } => lock,
        }
    }

    /// Whether both are about one object.
    pub(crate) fn is_of_same_object(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.name() == other.name()
    }
}

/// As people read it: `lock "deploy"`.
pub(crate) struct Quoted<'a>(pub(crate) &'a Target);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0.kind(), self.0.name())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock { name, shared: false } => write!(f, "lock:{name}"),
            Self::Lock { name, shared: true } => write!(f, "lock:{name}:shared"),
            Self::Permits { name, permits: 1, .. } => write!(f, "sem:{name}"),
            Self::Permits { name, permits, .. } => write!(f, "sem:{name}={permits}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is none of lock:NAME, lock:NAME:shared, sem:NAME, sem:NAME=PERMITS");
        match text.split_once(':').ok_or_else(form)? {
            ("lock", rest) => {
                let (name, shared) = rest.strip_suffix(":shared").map_or((rest, false), |name| (name, true));
                Ok(Self::Lock { name: name.to_owned(), shared })
            }
            ("sem", rest) => {
                let (name, permits) = rest.split_once('=').unwrap_or((rest, "1"));
                let permits = permits.parse().ok().filter(|&permits| permits > 0).ok_or_else(form)?;
                Ok(Self::Permits { name: name.to_owned(), permits, count: None })
            }
            _ => Err(form()),
        }
    }
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Not,
    For(Duration),
    Ever,
}

impl Wait {
    /// For how long at most; `None` is for ever.
    pub(crate) fn timeout(self) -> Option<Duration> {
        match self {
            Self::Not => Some(Duration::ZERO),
            Self::For(time) => Some(time),
            Self::Ever => None,
        }
    }

    pub(crate) fn deadline(self) -> Deadline {
        match self {
            Self::Not => Deadline::PASSED,
            Self::For(time) => Deadline::after(time),
            Self::Ever => Deadline::NEVER,
        }
    }

    /// Until then.
    pub(crate) fn until(deadline: Deadline) -> Self {
        match deadline.remaining() {
            None => Self::Ever,
            Some(Duration::ZERO) => Self::Not,
            Some(left) => Self::For(left),
        }
    }
}

/// Calls the one of three methods of an object that waits so long, or of two where there is none that does not wait; with
/// these arguments, before the time.
macro_rules! patiently {
    ($object:expr, $wait:expr, $ever:ident, $not:ident, $timeout:ident $(; $($argument:expr),+)?) => {
        match $wait {
            $crate::holding::Wait::Ever => $object.$ever($($($argument),+)?),
            $crate::holding::Wait::Not => $object.$not($($($argument),+)?),
            $crate::holding::Wait::For(time) => $object.$timeout($($($argument,)+)? time),
        }
    };
    ($object:expr, $wait:expr, $ever:ident, $timeout:ident $(; $($argument:expr),+)?) => {
        match $wait.timeout() {
            None => $object.$ever($($($argument),+)?),
            Some(time) => $object.$timeout($($($argument,)+)? time),
        }
    };
}

pub(crate) use patiently;

/// Why something is not held now.
#[derive(Debug)]
pub(crate) enum Missed {
    /// Others hold it.
    Busy,
    /// Its last holder died, and had this pid.
    OwnerDied(u32),
    /// A signal has come.
    Interrupted,
    /// The object was removed, and another one may have its name.
    Removed,
    Failed(Failure),
}

impl From<LockError> for Missed {
    fn from(error: LockError) -> Self {
        match error {
            LockError::WouldBlock(_) | LockError::TimedOut(_) => Self::Busy,
            LockError::OwnerDied { pid, .. } => Self::OwnerDied(pid),
            LockError::Interrupted { .. } => Self::Interrupted,
            LockError::Fault(Fault::Orphaned { .. }) => Self::Removed,
            error => Self::Failed(error.into()),
        }
    }
}

impl From<SemaphoreError> for Missed {
    fn from(error: SemaphoreError) -> Self {
        match error {
            SemaphoreError::WouldBlock(_) | SemaphoreError::TimedOut(_) => Self::Busy,
            SemaphoreError::Interrupted { .. } => Self::Interrupted,
            SemaphoreError::Fault(Fault::Orphaned { .. }) => Self::Removed,
            error => Self::Failed(error.into()),
        }
    }
}

/// Something, held until this is dropped.
#[derive(Debug)]
pub(crate) enum Guard {
    Lock(OwnedLockGuard),
    RLock(OwnedRLockGuard),
    Read(OwnedReadGuard),
    Write(OwnedWriteGuard),
    #[expect(dead_code, reason = "kept for what it does when it is dropped")]
    Permits(OwnedPermit),
}

/// The object that is to be held.
#[derive(Debug)]
enum Object {
    Lock(Lock),
    RLock(RLock),
    RwLock { lock: RwLock, shared: bool },
    Semaphore { semaphore: Semaphore, permits: usize, kind: Kind },
}

impl Object {
    fn claim(&self, wait: Wait) -> Result<Guard, Missed> {
        Ok(match self {
            Self::Lock(lock) => {
                let guard = patiently!(lock, wait, acquire, try_acquire, acquire_timeout)?;
                Guard::Lock(guard.into_owned())
            }
            Self::RLock(lock) => {
                let guard = patiently!(lock, wait, acquire, try_acquire, acquire_timeout)?;
                Guard::RLock(guard.into_owned())
            }
            Self::RwLock { lock, shared: true } => {
                Guard::Read(patiently!(lock, wait, read, try_read, read_timeout)?.into_owned())
            }
            Self::RwLock { lock, shared: false } => {
                Guard::Write(patiently!(lock, wait, write, try_write, write_timeout)?.into_owned())
            }
            Self::Semaphore { semaphore, permits, .. } => {
                let permits = patiently!(
                    semaphore, wait, acquire_many, try_acquire_many, acquire_many_timeout; *permits
                );
                Guard::Permits(permits?.into_owned())
            }
        })
    }

    /// Claims it although its last holder died: what the lock guards is right again once the guard is dropped.
    fn recover(&self, wait: Wait) -> Result<Guard, Missed> {
        Ok(match self {
            Self::Lock(lock) => {
                let guard = patiently!(lock, wait, recover, try_recover, recover_timeout)?;
                Guard::Lock(guard.into_owned())
            }
            Self::RLock(lock) => {
                let guard = patiently!(lock, wait, recover, try_recover, recover_timeout)?;
                Guard::RLock(guard.into_owned())
            }
            Self::RwLock { lock, .. } => {
                let guard = patiently!(lock, wait, recover, try_recover, recover_timeout)?;
                Guard::Write(WriteGuard::into_owned(guard))
            }
            Self::Semaphore { .. } => self.claim(wait)?,
        })
    }
}

impl Guard {
    /// A number by which others can tell this holder from those before it; locks have one.
    pub(crate) fn fencing_token(&self) -> Option<u64> {
        match self {
            Self::Lock(guard) => Some(guard.fencing_token()),
            Self::RLock(guard) => Some(guard.fencing_token()),
            Self::Read(guard) => Some(guard.fencing_token()),
            Self::Write(guard) => Some(guard.fencing_token()),
            Self::Permits(_) => None,
        }
    }

    /// The guard of one that recovered a lock, once the lock is to be used: what is to be shared is shared now.
    pub(crate) fn settled(self, target: &Target) -> Result<Self, LockError> {
        match (self, target) {
            (Self::Write(guard), Target::Lock { shared: true, .. }) => guard.downgrade().map(Self::Read),
            (guard, _) => Ok(guard),
        }
    }
}

/// What is to be held, and the object that it is.
#[derive(Debug)]
pub(crate) struct Thing {
    pub(crate) target: Target,
    object: Object,
}

impl Thing {
    /// Opens the object, or creates it.
    ///
    /// # Errors
    /// When it is of another kind, or has another number of permits; and those of the library.
    pub(crate) fn open(target: Target) -> Result<Self, Failure> {
        let object = match &target {
            Target::Lock { name, shared } => open_lock(name, *shared)?,
            Target::Permits { name, permits, count } => {
                let (semaphore, kind) = open_semaphore(name, *permits, *count)?;
                Object::Semaphore { semaphore, permits: *permits, kind }
            }
        };
        Ok(Self { target, object })
    }

    /// The object if there is one: `None` if the name is free.
    pub(crate) fn find(target: Target) -> Result<Option<Self>, Failure> {
        let found = match &target {
            Target::Lock { name, shared } => open_as_it_is(name, *shared),
            Target::Permits { name, permits, .. } => {
                let found = find_semaphore(name);
                found.map(|(semaphore, kind)| Object::Semaphore { semaphore, permits: *permits, kind })
            }
        };
        match found {
            Ok(object) => Ok(Some(Self { target, object })),
            Err(OpenError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the object that has the name now.
    pub(crate) fn reopen(&mut self) -> Result<(), Failure> {
        *self = Self::open(self.target.clone())?;
        Ok(())
    }

    pub(crate) fn claim(&self, wait: Wait) -> Result<Guard, Missed> {
        self.object.claim(wait)
    }

    pub(crate) fn recover(&self, wait: Wait) -> Result<Guard, Missed> {
        self.object.recover(wait)
    }

    /// The semaphore, if it is one.
    pub(crate) fn semaphore(&self) -> Option<&Semaphore> {
        if let Object::Semaphore { semaphore, .. } = &self.object { Some(semaphore) } else { None }
    }

    /// The kind of the object, as the library calls it.
    pub(crate) fn kind(&self) -> Kind {
        match &self.object {
            Object::Lock(_) => Kind::LOCK,
            Object::RLock(_) => Kind::RLOCK,
            Object::RwLock { .. } => Kind::RWLOCK,
            Object::Semaphore { kind, .. } => *kind,
        }
    }

    /// Those who hold it and are alive, and how.
    pub(crate) fn holders(&self) -> Vec<Held> {
        let mut holders: Vec<Held> = match &self.object {
            Object::Lock(lock) => lock.holder().map(Held::alone).into_iter().collect(),
            Object::RLock(lock) => lock.holder().map(Held::alone).into_iter().collect(),
            Object::RwLock { lock, .. } => {
                let readers = lock.readers().into_iter().map(Held::shared);
                lock.writer().map(Held::alone).into_iter().chain(readers).collect()
            }
            Object::Semaphore { semaphore, .. } => {
                semaphore.holders().into_iter().map(Held::permits).collect()
            }
        };
        holders.retain(|held| !held.holder.is_dead);
        holders
    }

    /// Whether `wanted` is to be had in vain as long as those hold `held` of it: all permits are a semaphore's.
    pub(crate) fn leaves_room_beside(&self, held: usize) -> bool {
        match &self.object {
            Object::Semaphore { semaphore, permits, .. } => semaphore.permits() >= held + permits,
            _ => held == 0,
        }
    }
}

fn open_lock(name: &str, shared: bool) -> Result<Object, Failure> {
    let namespace = Namespace::current()?;
    loop {
        let made = if shared {
            RwLock::open_or_create(name).map(|lock| Object::RwLock { lock, shared })
        } else {
            Lock::open_or_create(name).map(Object::Lock)
        };
        let found = match made {
            Err(OpenError::Kind { found: Kind::LOCK, .. }) => share_a_lock(name, &namespace),
            Err(OpenError::Kind { found: Kind::RLOCK | Kind::RWLOCK, .. }) => open_as_it_is(name, shared),
            made => return Ok(made?),
        };
        match found {
            // Meanwhile others have removed it, or have made another kind of lock of it.
            Err(OpenError::NotFound { .. })
            | Err(OpenError::Kind { found: Kind::LOCK | Kind::RLOCK | Kind::RWLOCK, .. }) => {}
            found => return Ok(found?),
        }
    }
}

/// For who wants to share a name that is a `Lock`.
fn share_a_lock(name: &str, namespace: &Namespace) -> Result<Object, OpenError> {
    let lock = Lock::open(name)?;
    // What a dead holder has left half-done, somebody is still to be told.
    if !lock.is_inconsistent() && lock.holder().is_none() {
        drop(lock);
        if namespace.unlink_unused(name)? {
            let lock = RwLock::open_or_create(name)?;
            return Ok(Object::RwLock { lock, shared: true });
        }
    }
    let object = open_as_it_is(name, true)?;
    if matches!(object, Object::Lock(_)) {
        output::warn(&format!(
            "lock {name:?} is in use by programs that cannot share it, and is held alone this time"
        ));
    }
    Ok(object)
}

fn open_as_it_is(name: &str, shared: bool) -> Result<Object, OpenError> {
    match Lock::open(name) {
        Err(OpenError::Kind { found: Kind::RLOCK, .. }) => RLock::open(name).map(Object::RLock),
        Err(OpenError::Kind { found: Kind::RWLOCK, .. }) => {
            RwLock::open(name).map(|lock| Object::RwLock { lock, shared })
        }
        lock => lock.map(Object::Lock),
    }
}

/// The most permits that a semaphore of the command can get by `sem resize`, unless it begins with more.
const MOST: usize = 1024;

fn open_semaphore(name: &str, permits: usize, count: Option<usize>) -> Result<(Semaphore, Kind), Failure> {
    let (semaphore, kind) = loop {
        match find_semaphore(name) {
            Err(OpenError::NotFound { .. }) => {}
            found => break found?,
        }
        let Some(count) = count else {
            return Err(no_such_object(format!(
                "there is no semaphore {name:?}: say how many permits it has, by -c"
            )));
        };
        match Semaphore::options().permits(count).max(count.max(MOST)).create(name) {
            Err(OpenError::AlreadyExists { .. }) => {}
            made => break (made?, Kind::SEMAPHORE),
        }
    };
    let all = semaphore.permits();
    match count {
        Some(count) if count != all => Err(refusal(
            "disagree",
            DISAGREE,
            format!(
                "semaphore {name:?} has {}, not {count}: all who use it must say the same, or `procession sem resize` it",
                output::number_of(all as u64, "permit")
            ),
        )),
        _ if permits > all => Err(refusal(
            "disagree",
            DISAGREE,
            format!(
                "semaphore {name:?} has {}, and never {permits}",
                output::number_of(all as u64, "permit")
            ),
        )),
        _ => Ok((semaphore, kind)),
    }
}

fn find_semaphore(name: &str) -> Result<(Semaphore, Kind), OpenError> {
    match Semaphore::open(name) {
        Err(OpenError::Kind { found: kind @ Kind::BOUNDED_SEMAPHORE, .. }) => {
            BoundedSemaphore::open(name).map(|semaphore| (Semaphore::clone(&semaphore), kind))
        }
        found => found.map(|semaphore| (semaphore, Kind::SEMAPHORE)),
    }
}

/// The failure for something that cannot be had.
pub(crate) fn refusal(reason: &'static str, code: u8, message: String) -> Failure {
    Failure::Refused(Box::new(Refusal { code, reason, message, details: Map::new() }))
}

/// The failure for something that is not there.
pub(crate) fn no_such_object(message: String) -> Failure {
    refusal("no_such_object", NO_SUCH_OBJECT, message)
}

/// The failure for something that has not come in time.
pub(crate) fn not_in_time(code: Option<u8>, message: String) -> Failure {
    refusal("not_in_time", code.unwrap_or(NOT_ACQUIRED), message)
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn targets_are_read_as_they_are_written() {
        for text in ["lock:a", "lock:b:shared", "sem:gpu=2", "sem:net"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for wrong in ["a", "lock", "queue:a", "sem:gpu=0", "sem:gpu=x", "sem:gpu="] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_are_acquired_in_one_order() {
        let read = |text: &str| text.parse::<Target>().unwrap();
        let mut targets = ["sem:a", "lock:b", "lock:a:shared"].map(read);
        targets.sort();
        assert_eq!(targets.map(|target| target.to_string()), ["lock:a:shared", "lock:b", "sem:a"]);
    }
}
