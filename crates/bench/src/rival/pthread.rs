//! A pthread mutex, robust and process-shared.
#![expect(unsafe_code, reason = "the mutex is C, and lies in shared memory")]

use crate::error::{BenchError, Result};
use crate::lock::{Acquire, ProcessLock};
use crate::ours::Session;
use crate::page::Page;
use crate::recovery::{Scene, Victim};
use libc::{c_int, pthread_mutex_t, pthread_mutexattr_t};
use std::mem::MaybeUninit;

/// `pthread_mutex_t` with `PTHREAD_PROCESS_SHARED` and `PTHREAD_MUTEX_ROBUST`.
///
/// # Invariants
/// The room of the page holds a mutex that was initialised before any other process could know the page,
/// and that is never destroyed: its page goes with the last process that maps it.
pub(crate) struct RobustMutex(Page);

impl RobustMutex {
    #[inline]
    fn raw(&self) -> *mut pthread_mutex_t {
        self.0.room().cast()
    }
}

impl Acquire for RobustMutex {
    #[inline]
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        // SAFETY: by the invariants `raw` is an initialised mutex in memory that lives as long as `self`.
        done("pthread_mutex_lock", unsafe { libc::pthread_mutex_lock(self.raw()) })?;
        let result = work();
        // SAFETY: this thread has just locked the mutex, which is initialised by the invariants.
        done("pthread_mutex_unlock", unsafe { libc::pthread_mutex_unlock(self.raw()) })?;
        Ok(result)
    }
}

impl ProcessLock for RobustMutex {
    const HAMMER: &'static str = "pthread/hammer";

    fn create(_: &Session, _: &str) -> Result<Self> {
        let mutex = RobustMutex(Page::create()?);
        let mut attributes = MaybeUninit::<pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: `attributes` points to room for them.
        done("pthread_mutexattr_init", unsafe { libc::pthread_mutexattr_init(attributes) })?;
        // SAFETY: the attributes are initialised now.
        let code = unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        done("pthread_mutexattr_setpshared", code)?;
        // SAFETY: the attributes are initialised.
        let code = unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
        done("pthread_mutexattr_setrobust", code)?;
        // SAFETY: `raw` points into a page that nobody else knows yet, with room for a mutex, aligned to the
        // page; the attributes are initialised.
        done("pthread_mutex_init", unsafe { libc::pthread_mutex_init(mutex.raw(), attributes) })?;
        // INVARIANT: the mutex is initialised, and the caller has no address of the page before this returns.
        Ok(mutex)
    }

    fn address(&self) -> String {
        self.0.address()
    }

    fn open(address: &str) -> Result<Self> {
        // INVARIANT: addresses come from `address`, so the mutex was initialised by `create`.
        Ok(RobustMutex(Page::open(address)?))
    }
}

impl Scene for RobustMutex {
    const NAME: &'static str = "pthread";
    type Object = Self;

    fn create(session: &Session, name: &str) -> Result<Self> {
        ProcessLock::create(session, name)
    }

    fn open(address: &str) -> Result<Self> {
        ProcessLock::open(address)
    }

    fn address(mutex: &Self, _: &str) -> String {
        ProcessLock::address(mutex)
    }

    fn hold(mutex: &Self, victim: &mut Victim<'_>) -> Result<()> {
        mutex.locked(|| victim.holds_until_killed())?
    }

    fn wait(mutex: &Self) -> Result<Option<u64>> {
        // SAFETY: by the invariants `raw` is an initialised mutex in memory that lives as long as `mutex`.
        match unsafe { libc::pthread_mutex_lock(mutex.raw()) } {
            libc::EOWNERDEAD => Ok(None),
            code => Err(refused("pthread_mutex_lock after a death", code)),
        }
    }

    fn mend(mutex: &Self) -> Result<()> {
        // SAFETY: the mutex is initialised, and this thread has just locked it as one whose owner died.
        done("pthread_mutex_consistent", unsafe { libc::pthread_mutex_consistent(mutex.raw()) })?;
        // SAFETY: this thread has locked the mutex.
        done("pthread_mutex_unlock", unsafe { libc::pthread_mutex_unlock(mutex.raw()) })
    }
}

#[inline]
fn done(what: &str, code: c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(refused(what, code)) }
}

#[cold]
fn refused(what: &str, code: c_int) -> BenchError {
    BenchError::Failed(format!("{what}: {}", std::io::Error::from_raw_os_error(code)))
}
