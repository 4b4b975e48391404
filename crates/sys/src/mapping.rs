//! Shared mappings. Nobody ever holds `&[u8]` or `&mut [u8]` over bytes that another process may write:
//! words are atomics, and bytes are copied in and out.
#![expect(unsafe_code, reason = "references and copies into memory that other processes map too")]

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};
use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Types that may lie in shared memory.
///
/// # Safety
/// Every byte pattern is a valid value; there is no pointer, padding read, or destructor in it; and all of it
/// may change at any time under a shared reference (atomics, and arrays and structs of them).
pub unsafe trait ShmSafe {}

// SAFETY: any bits are a valid atomic integer, and changing under a shared reference is what it is for.
unsafe impl ShmSafe for AtomicU8 {}
// SAFETY: as above.
unsafe impl ShmSafe for AtomicU16 {}
// SAFETY: as above.
unsafe impl ShmSafe for AtomicU32 {}
// SAFETY: as above.
unsafe impl ShmSafe for AtomicU64 {}
// SAFETY: an array of such values holds nothing else.
unsafe impl<T: ShmSafe, const N: usize> ShmSafe for [T; N] {}

/// Declares a `repr(C)` struct for shared memory; every field must be [`ShmSafe`].
#[macro_export]
macro_rules! shm_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $fvis:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[repr(C)]
        $vis struct $name { $($(#[$doc])* $fvis $field: $type,)* }
        // SAFETY: every field is `ShmSafe`, as the bounds require.
        unsafe impl $crate::ShmSafe for $name where $($type: $crate::ShmSafe,)* {}
    };
}

/// A shared, writable mapping of the beginning of a file.
#[derive(Debug)]
pub struct Mapping {
    raw: MmapRaw,
    /// Where bytes were copied in: from here to there the pages are known to be mapped. A hint.
    touched: [AtomicUsize; 2],
}

/// Copies of so many bytes map their pages beforehand.
const LARGE: usize = 256 << 10;

impl Mapping {
    /// Maps `len` bytes of `file`; the descriptor may be closed afterwards, the mapping keeps the
    /// description.
    ///
    /// # Errors
    /// As `mmap`: `ENOMEM`, `EACCES`, …
    pub fn of_file(file: &File, len: usize) -> Result<Self> {
        MmapOptions::new().len(len).map_raw(file).map(Self::over)
    }

    /// Maps `len` bytes of `file` to be looked at: what is stored there is seen by nobody else, nor by this process
    /// in any other mapping, and a page that was stored to shows no changes any more.
    ///
    /// # Errors
    /// As `mmap`: `ENOMEM`, `EACCES`, …
    pub fn view_of(file: &File, len: usize) -> Result<Self> {
        // SAFETY: others change the bytes, as in every mapping here; nobody makes a slice of them: `MmapRaw`.
        unsafe { MmapOptions::new().len(len).no_reserve_swap().map_copy(file) }
            .map(|map| Self::over(map.into()))
    }

    /// Forgets what was stored in a [view](Self::view_of): it shows what the file holds now.
    ///
    /// # Errors
    /// As `madvise`.
    pub fn renew(&self) -> Result<()> {
        // SAFETY: only what this process stored is lost, and what a mapping of a file holds besides is the file's.
        // Nobody has a reference to bytes that do not change meanwhile: all of it is atomics and cells.
        unsafe { self.raw.unchecked_advise(UncheckedAdvice::DontNeed) }
    }

    fn over(raw: MmapRaw) -> Self {
        Self { raw, touched: [const { AtomicUsize::new(0) }; 2] }
    }

    /// How many bytes are mapped.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether nothing is mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `T` at `offset`, or `None` if it would be misaligned or reach past the end.
    ///
    /// The pointer is valid for shared use while the mapping lives.
    #[inline]
    #[must_use]
    pub fn pointer<T: ShmSafe>(&self, offset: usize) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.len() || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: `offset` lies inside the mapping, checked above.
        let pointer = unsafe { self.raw.as_mut_ptr().add(offset) };
        NonNull::new(pointer).map(NonNull::cast)
    }

    /// The `T` at `offset`, or `None` if it would be misaligned or reach past the end.
    #[inline]
    #[must_use]
    pub fn at<T: ShmSafe>(&self, offset: usize) -> Option<&T> {
        // SAFETY: inside the mapping and aligned (mappings are page-aligned), alive as long as `self`;
        // `ShmSafe` makes any bytes valid and changeable.
        self.pointer(offset).map(|pointer| unsafe { pointer.as_ref() })
    }

    /// The `count` values of `T` from `offset` on, or `None` if they would be misaligned or reach past the
    /// end.
    #[must_use]
    pub fn slice<T: ShmSafe>(&self, offset: usize, count: usize) -> Option<&[T]> {
        let end = size_of::<T>().checked_mul(count)?.checked_add(offset)?;
        if end > self.len() || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: `offset` lies inside the mapping or at its end, checked above.
        let first = unsafe { self.raw.as_ptr().add(offset) }.cast::<T>();
        // SAFETY: all of it lies inside the mapping, aligned, and lives as long as `self`; `ShmSafe` makes
        // any bytes valid and changeable under a shared reference.
        Some(unsafe { std::slice::from_raw_parts(first, count) })
    }

    /// Takes memory for the pages of the `len` bytes from `offset` on, of a file that cannot be opened any more;
    /// where there is not so much, the pages that lie wholly in there have none.
    ///
    /// # Errors
    /// `ENOSPC`; `EINVAL` before Linux 5.14.
    pub fn populate(&self, offset: usize, len: usize) -> Result<()> {
        let end = offset.checked_add(len).filter(|&end| end <= self.len());
        let end = end.ok_or_else(|| Error::from_raw_os_error(libc::EINVAL))?;
        let page = page_size();
        self.map_pages(offset - offset % page, end).map_err(|error| {
            // What a touch of the page would have met as SIGBUS.
            if error.raw_os_error() != Some(libc::EFAULT) {
                return error;
            }
            let (from, to) = (offset.next_multiple_of(page), end - end % page);
            if from < to {
                // SAFETY: `from` lies inside the mapping, because it is at most `end`, which was checked above.
                let first = unsafe { self.raw.as_mut_ptr().add(from) };
                // If that fails, the pages stay, as those of one who died here.
                // SAFETY: the range lies inside the mapping, has been populated just now, and nobody uses it yet.
                unsafe { libc::madvise(first.cast(), to - from, libc::MADV_REMOVE) };
            }
            Error::from_raw_os_error(libc::ENOSPC)
        })
    }

    /// Maps the pages from the one that begins at `from` on, for writing: in one call instead of a fault for each.
    fn map_pages(&self, from: usize, to: usize) -> Result<()> {
        // SAFETY: `from` lies inside the mapping: all callers have checked `to`.
        let first = unsafe { self.raw.as_mut_ptr().add(from) };
        // SAFETY: the range lies inside the mapping, and to populate it changes nothing that is there.
        match unsafe { libc::madvise(first.cast(), to - from, libc::MADV_POPULATE_WRITE) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }

    /// Prepares a large copy to a place where this process has not written yet: a fault for each page would cost
    /// more than the copy. A ring is written from its beginning to its end, again and again: so one stretch says
    /// all, and what it does not know is asked of the kernel once more.
    #[cold]
    fn touch(&self, from: usize, to: usize) {
        // Whole pages: between two messages of a ring lies the length of one.
        let page = page_size();
        let (from, to) = (from - from % page, to.next_multiple_of(page).min(self.len()));
        // Relaxed: hints. Two threads that mix them up cost faults, or a call.
        let [known_from, known_to] = self.touched.each_ref().map(|end| end.load(Ordering::Relaxed));
        if known_from <= from && to <= known_to {
            return;
        }
        // Where it fails, the copy meets what is wrong, or is only slow: before Linux 5.14.
        drop(self.map_pages(from, to));
        let is_one = from <= known_to && known_from <= to;
        let stretch = if is_one { [from.min(known_from), to.max(known_to)] } else { [from, to] };
        for (end, value) in self.touched.iter().zip(stretch) {
            end.store(value, Ordering::Relaxed);
        }
    }

    /// Leaves the mapping out of core dumps: to dump a file without a name the kernel would touch all of it, also
    /// where it has no memory yet. What goes wrong with that is no matter before there is a dump.
    pub fn leave_out_of_dumps(&self) {
        // SAFETY: the range is the mapping, and the advice changes nothing of what is in it.
        unsafe { libc::madvise(self.raw.as_mut_ptr().cast(), self.len(), libc::MADV_DONTDUMP) };
    }

    /// Copies bytes out; `false`, and nothing copied, if they would reach past the end.
    #[inline]
    #[must_use]
    pub fn copy_out(&self, offset: usize, to: &mut [u8]) -> bool {
        if offset.checked_add(to.len()).is_none_or(|end| end > self.len()) {
            return false;
        }
        // SAFETY: `offset` lies inside the mapping, checked above.
        let from = unsafe { self.raw.as_ptr().add(offset) };
        // SAFETY: both sides hold `to.len()` bytes and cannot overlap: `to` is ours alone. The protocols let
        // nobody write these bytes meanwhile; a foreign writer makes them arbitrary, which every reader must
        // survive.
        unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
        true
    }

    /// Copies bytes in; `false`, and nothing copied, if they would reach past the end.
    #[inline]
    #[must_use]
    pub fn copy_in(&self, offset: usize, from: &[u8]) -> bool {
        if offset.checked_add(from.len()).is_none_or(|end| end > self.len()) {
            return false;
        }
        if from.len() >= LARGE {
            self.touch(offset, offset + from.len());
        }
        // SAFETY: `offset` lies inside the mapping, checked above.
        let to = unsafe { self.raw.as_mut_ptr().add(offset) };
        // SAFETY: both sides hold `from.len()` bytes and cannot overlap: `from` is ours alone.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        true
    }
}

fn page_size() -> usize {
    // SAFETY: it only asks.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// A page of a file mapped without access: the mapping keeps the file's description, and so its locks.
///
/// It lives until [`Lifeline::release`] or the end of the process; dropping it does not unmap it, because its
/// lock is the proof that this process exists.
#[derive(Debug)]
pub struct Lifeline(NonNull<libc::c_void>);

// SAFETY: the pointer is an address for munmap; nothing is read or written through it.
unsafe impl Send for Lifeline {}
// SAFETY: as above.
unsafe impl Sync for Lifeline {}

impl Lifeline {
    const LEN: usize = 4096;

    /// Maps one page of `file` inaccessibly, and keeps it from forked children.
    ///
    /// # Errors
    /// As `mmap` and `madvise`.
    pub fn of_file(file: &File) -> Result<Self> {
        // SAFETY: a new mapping at an address the kernel chooses; nothing of ours is replaced.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::LEN,
                libc::PROT_NONE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        let Some(page) = NonNull::new(page).filter(|_| page != libc::MAP_FAILED) else {
            return Err(Error::last_os_error());
        };
        let lifeline = Self(page);
        // SAFETY: the range is exactly the page mapped above.
        if unsafe { libc::madvise(page.as_ptr(), Self::LEN, libc::MADV_DONTFORK) } != 0 {
            let error = Error::last_os_error();
            lifeline.release();
            return Err(error);
        }
        Ok(lifeline)
    }

    /// Unmaps it: for everybody else, this process has ceased to exist.
    pub fn release(self) {
        // SAFETY: the range was mapped by `of_file`, and nothing was ever read or written through it.
        unsafe { libc::munmap(self.0.as_ptr(), Self::LEN) };
    }
}

#[cfg(test)]
mod tests {
    use super::Mapping;
    use crate::shm_file;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    #[test]
    fn two_mappings_of_one_file_share_words_and_bounds_are_checked() {
        let file = shm_file::create_unnamed().unwrap();
        shm_file::reserve(&file, 0, 4096).unwrap();
        let one = Mapping::of_file(&file, 4096).unwrap();
        let two = Mapping::of_file(&file, 4096).unwrap();
        one.at::<AtomicU64>(8).unwrap().store(5, Ordering::Relaxed);
        assert_eq!(two.at::<AtomicU64>(8).unwrap().load(Ordering::Relaxed), 5);
        assert!(one.at::<AtomicU64>(4092).is_none());
        assert_eq!(two.slice::<AtomicU64>(0, 512).map(|words| words[1].load(Ordering::Relaxed)), Some(5));
        assert!(one.slice::<AtomicU64>(0, 513).is_none() && one.slice::<AtomicU64>(4, 1).is_none());
        assert!(one.slice::<AtomicU64>(8, usize::MAX).is_none());
        assert!(one.at::<AtomicU32>(2).is_none());
        assert!(one.at::<AtomicU32>(usize::MAX - 3).is_none());
        assert!(one.copy_in(4090, b"abcdef") && !one.copy_in(4091, b"abcdef"));
        let mut bytes = [0; 6];
        assert!(two.copy_out(4090, &mut bytes) && !two.copy_out(4091, &mut bytes));
        assert_eq!(&bytes, b"abcdef");
    }

    #[test]
    fn a_renewed_view_shows_the_file_and_not_what_was_stored_to_it() {
        let file = shm_file::create_unnamed().unwrap();
        shm_file::reserve(&file, 0, 4096).unwrap();
        let shared = Mapping::of_file(&file, 4096).unwrap();
        let view = Mapping::view_of(&file, 4096).unwrap();
        let words = [&shared, &view].map(|mapping| mapping.at::<AtomicU64>(8).unwrap());
        let now = || words.map(|word| word.load(Ordering::Relaxed));
        words[1].store(1, Ordering::Relaxed);
        words[0].store(2, Ordering::Relaxed);
        assert_eq!(now(), [2, 1]);
        view.renew().unwrap();
        assert_eq!(now(), [2, 2]);
        words[0].store(3, Ordering::Relaxed);
        assert_eq!(now(), [3, 3]);
    }
}
