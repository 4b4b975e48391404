//! Limits of a process (open files, memory, file sizes), and what to do when the kernel refuses because of
//! one.

use nix::sys::resource::{Resource, getrlimit};
use std::io::Error;

/// How long this process may make a file, in bytes.
#[must_use]
pub fn longest_file() -> u64 {
    getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| soft)
}

/// How many bytes of addresses this process may have.
#[must_use]
pub fn address_space() -> u64 {
    getrlimit(Resource::RLIMIT_AS).map_or(u64::MAX, |(soft, _)| soft)
}

/// Which limit was met, and how it is raised, in words that follow upon others; nothing if it is not that.
#[must_use]
pub fn remedy(error: &Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            ": this process has as many files open as it may; raise the limit (`ulimit -n`)"
        }
        Some(libc::ENFILE) => ": the system has as many files open as it may; raise the limit (fs.file-max)",
        Some(libc::EFBIG) => {
            ": it is longer than files of this process may be; raise the limit (`ulimit -f`), or make it smaller"
        }
        Some(libc::ENOMEM) => {
            ": this process may not have more memory; raise the limit of its address space (`ulimit -v`) or of the number of its mappings (vm.max_map_count)"
        }
        Some(libc::ENOLCK) => ": the kernel has no memory for one more file lock; free some",
        _ => "",
    }
}
