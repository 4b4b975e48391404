//! A page of memory that several processes share.
//!
//! The page is a memfd, which other processes open through `/proc`: it has no name that could be left behind.
//! It has room for one object of C, and words.
#![expect(unsafe_code, reason = "atomics in shared memory")]

use crate::error::{BenchError, Context, Result};
use memmap2::MmapRaw;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

const PAGE_SIZE: usize = 4096;
/// So far from each other that no two share a cache line, or the line that is fetched with it.
const APART: usize = 512;
/// How many words there are behind the room.
const WORDS: usize = PAGE_SIZE / APART - 1;

/// One page of shared memory.
///
/// # Invariants
/// `map` is [`PAGE_SIZE`] bytes, readable and writable, and page-aligned, for as long as the page lives.
/// Behind the first [`APART`] bytes it is only ever used as [`AtomicU64`]s, in all processes.
pub(crate) struct Page {
    map: MmapRaw,
    file: File,
}

impl Page {
    pub(crate) fn create() -> Result<Self> {
        let file =
            File::from(memfd_create(c"procession-bench", MFdFlags::MFD_CLOEXEC).context("memfd_create")?);
        file.set_len(PAGE_SIZE as u64).context("ftruncate")?;
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
        if map.len() != PAGE_SIZE {
            return Err(BenchError::Failed(format!("a page of {} bytes", map.len())));
        }
        // INVARIANT: the size was checked, `map_raw` maps for reading and writing, and mappings are
        // page-aligned.
        Ok(Page { map, file })
    }

    /// Where an object of C may lie: [`APART`] bytes, page-aligned, zero at first.
    #[inline]
    pub(crate) fn room(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// One of the words, which are zero at first. There are seven.
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        let word = self.map.as_mut_ptr().wrapping_add((index % WORDS + 1) * APART).cast();
        // SAFETY: by the invariants the word is inside the mapping, aligned, borrowed from `self`, and atomic
        // everywhere.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// Whatever a lock guards: a counter.
    pub(crate) fn witness(&self) -> &AtomicU64 {
        self.word(0)
    }

    /// Tells the processes of a case when to start and stop.
    pub(crate) fn gate(&self) -> &AtomicU64 {
        self.word(1)
    }
}
