//! The kernel's error numbers that other crates tell apart, from [`std::io::Error::raw_os_error`].

pub use libc::{EAGAIN, EBADF, ECHILD, EFBIG, EINVAL, EISDIR, EMFILE, ENOSPC, ENOSYS, EOPNOTSUPP, ESRCH};
