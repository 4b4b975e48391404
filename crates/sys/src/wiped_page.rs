//! Pages that the kernel wipes in a forked child.
//!
//! A page with `MADV_WIPEONFORK` reads as zero in every child that copies the address space, however it was
//! made. So what is cached there is read anew in the child, and a lock there is open.
#![expect(unsafe_code, reason = "mmap, madvise, and a reference into the page they return")]

use crate::mapping::ShmSafe;
use std::io::{Error, Result};
use std::ptr::null_mut;

const PAGE: usize = 4096;

/// A zeroed `T` in a page of its own that a forked child finds zeroed again. It lives as long as the process.
///
/// # Errors
/// `ENOMEM`; `EINVAL` on a kernel before 4.14.
pub fn wiped_on_fork<T: ShmSafe>() -> Result<&'static T> {
    const { assert!(size_of::<T>() <= PAGE && align_of::<T>() <= PAGE) };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: an anonymous private mapping at an address the kernel chooses; nothing of ours is replaced.
    let page = unsafe { libc::mmap(null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    // SAFETY: the page was mapped above and is not yet used.
    if unsafe { libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) } != 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the page is zeroed, aligned, large enough for `T`, never unmapped, and `ShmSafe` says that any
    // bytes are a valid `T` which tolerates being changed under a shared reference.
    Ok(unsafe { &*page.cast::<T>() })
}
