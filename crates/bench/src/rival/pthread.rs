//! A pthread mutex, robust and process-shared, and the page of shared memory that it lives in.
//!
//! The page is a memfd, which other processes open through `/proc`: it has no name that could be left behind.
//! Every lock's contended case uses such a page for its gate and its witness.
#![expect(unsafe_code, reason = "the mutex is C, and its page is shared memory")]

use crate::error::{BenchError, Context, Result};
use crate::lock::{Exclusive, ProcessLock};
use crate::ours::Session;
use libc::{c_int, pthread_mutex_t, pthread_mutexattr_t};
use memmap2::MmapRaw;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

const PAGE_SIZE: u64 = 4096;
// Far enough from each other that no two share a cache line, or the line that is fetched with it.
const MUTEX_AT: usize = 0;
const WITNESS_AT: usize = 512;
const GATE_AT: usize = 1024;

/// One page of shared memory.
///
/// # Invariants
/// `map` is [`PAGE_SIZE`] bytes, readable and writable, and page-aligned, for as long as the page lives. The
/// words at [`WITNESS_AT`] and [`GATE_AT`] are only ever used as [`AtomicU64`], in all processes.
pub(crate) struct Page {
    map: MmapRaw,
    file: File,
}

impl Page {
    pub(crate) fn create() -> Result<Self> {
        let file =
            File::from(memfd_create(c"procession-bench", MFdFlags::MFD_CLOEXEC).context("memfd_create")?);
        file.set_len(PAGE_SIZE).context("ftruncate")?;
        Page::map(file)
    }

    pub(crate) fn open(address: &str) -> Result<Self> {
        Page::map(File::options().read(true).write(true).open(address).context(address)?)
    }

    /// Where other processes open the page while this handle lives.
    pub(crate) fn address(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    fn map(file: File) -> Result<Self> {
        let map = MmapRaw::map_raw(&file).context("mmap")?;
        if map.len() as u64 != PAGE_SIZE {
            return Err(BenchError::Failed(format!("a page of {} bytes", map.len())));
        }
        // INVARIANT: the size was checked, `map_raw` maps for reading and writing, and mappings are page-aligned.
        Ok(Page { map, file })
    }

    /// Whatever a lock guards: a counter.
    pub(crate) fn witness(&self) -> &AtomicU64 {
        let word = self.map.as_mut_ptr().wrapping_add(WITNESS_AT).cast();
        // SAFETY: by the invariants the word is inside the mapping, aligned, borrowed from `self`, and atomic
        // everywhere.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Tells the crew of a case when to start and stop.
    pub(crate) fn gate(&self) -> &AtomicU64 {
        let word = self.map.as_mut_ptr().wrapping_add(GATE_AT).cast();
        // SAFETY: as in `witness`.
        unsafe { AtomicU64::from_ptr(word) }
    }
}

/// `pthread_mutex_t` with `PTHREAD_PROCESS_SHARED` and `PTHREAD_MUTEX_ROBUST`.
///
/// # Invariants
/// The bytes at [`MUTEX_AT`] hold a mutex that was initialised before any other process could know the page,
/// and that is never destroyed: its page goes with the last process that maps it.
pub(crate) struct RobustMutex(Page);

impl RobustMutex {
    #[inline]
    fn raw(&self) -> *mut pthread_mutex_t {
        self.0.map.as_mut_ptr().wrapping_add(MUTEX_AT).cast()
    }
}

impl Exclusive for RobustMutex {
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

#[inline]
fn done(what: &str, code: c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(refused(what, code)) }
}

#[cold]
fn refused(what: &str, code: c_int) -> BenchError {
    BenchError::Failed(format!("{what}: {}", std::io::Error::from_raw_os_error(code)))
}
