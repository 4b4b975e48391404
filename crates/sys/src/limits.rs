//! What to do when the kernel refuses for want of something of which a process may have so much and no more.

use std::io::Error;

/// Which limit was met, and how it is raised, in words that follow upon others; nothing if it is not that.
#[must_use]
pub fn remedy(error: &Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            ": this process has as many files open as it may; raise the limit (`ulimit -n`)"
        }
        Some(libc::ENFILE) => ": the system has as many files open as it may (fs.file-max)",
        Some(libc::EFBIG) => {
            ": it is longer than files of this process may be; raise the limit (`ulimit -f`), or make it smaller"
        }
        Some(libc::ENOMEM) => {
            ": this process may not have more memory; raise the limit of its address space (`ulimit -v`) or of the number of its mappings (vm.max_map_count)"
        }
        Some(libc::ENOLCK) => ": the kernel has no memory for one more file lock",
        _ => "",
    }
}
