//! A POSIX semaphore between processes. It recovers nothing: a permit dies with its holder.
#![expect(unsafe_code, reason = "the semaphore is C, and lies in shared memory")]

use crate::error::{BenchError, Result};
use crate::lock::Acquire;
use crate::page::Page;
use libc::{c_int, sem_t};

/// `sem_t` with `pshared`, of one permit.
///
/// # Invariants
/// The room of the page holds a semaphore that is initialised, and never destroyed: its page goes with it.
pub(crate) struct PosixSemaphore(Page);

impl PosixSemaphore {
    pub(crate) fn create() -> Result<Self> {
        let semaphore = PosixSemaphore(Page::create()?);
        // SAFETY: `raw` points into a page that nobody else knows yet, with room for a semaphore, aligned to
        // the page.
        done("sem_init", unsafe { libc::sem_init(semaphore.raw(), 1, 1) })?;
        // INVARIANT: the semaphore is initialised.
        Ok(semaphore)
    }

    #[inline]
    fn raw(&self) -> *mut sem_t {
        self.0.room().cast()
    }
}

impl Acquire for PosixSemaphore {
    #[inline]
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        // SAFETY: by the invariants `raw` is an initialised semaphore in memory that lives as long as `self`.
        done("sem_wait", unsafe { libc::sem_wait(self.raw()) })?;
        let result = work();
        // SAFETY: as before.
        done("sem_post", unsafe { libc::sem_post(self.raw()) })?;
        Ok(result)
    }
}

#[inline]
fn done(what: &str, code: c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(refused(what)) }
}

#[cold]
fn refused(what: &str) -> BenchError {
    BenchError::Failed(format!("{what}: {}", std::io::Error::last_os_error()))
}
