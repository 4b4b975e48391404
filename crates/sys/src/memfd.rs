//! Files without a name, in memory: they vanish with their last descriptor, whoever is killed.

use crate::limits::longest_file;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::Result;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// The seals of a file that nobody can change any more: they forbid changing its bytes, its length, and this
/// very list.
const FROZEN: SealFlag = SealFlag::F_SEAL_WRITE
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SEAL);

/// A fresh, empty file that only its descriptor leads to. `name` shows in `/proc/<pid>/fd`.
///
/// The descriptor is close-on-exec and never one of 0, 1 and 2, even when those are closed.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`; `EINVAL` for a name longer than 249 bytes.
pub fn create(name: &str) -> Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let not_executable = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let fd = match memfd_create(name, flags | not_executable) {
        // Kernels before 6.3 do not know the flag; some later ones insist on it.
        Err(Errno::EINVAL) => memfd_create(name, flags)?,
        other => other?,
    };
    Ok(File::from(above_stdio(fd)?))
}

/// Writes all of `bytes`, unless the file would become longer than this process may make one: the kernel
/// would answer with SIGXFSZ, which kills.
///
/// # Errors
/// `EFBIG` beyond the limit of file sizes ([`longest_file`]), and then nothing is written; `ENOMEM`.
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<()> {
    if offset.saturating_add(bytes.len() as u64) > longest_file() {
        return Err(Errno::EFBIG.into());
    }
    file.write_all_at(bytes, offset)
}

/// Freezes the file: from now on nobody can change a byte of it.
///
/// # Errors
/// `EBUSY` while a writable mapping of it exists; `EPERM` if it was sealed before.
pub fn seal(file: &File) -> Result<()> {
    fcntl(file, FcntlArg::F_ADD_SEALS(FROZEN))?;
    Ok(())
}

/// Whether the file is one of ours that was sealed; anything but a memfd is not.
#[must_use]
pub fn is_sealed(file: impl AsFd) -> bool {
    fcntl(file, FcntlArg::F_GET_SEALS).is_ok_and(|seals| SealFlag::from_bits_retain(seals).contains(FROZEN))
}

/// Moves a descriptor to a number that no redirection of stdin, stdout or stderr replaces.
pub(crate) fn above_stdio(fd: OwnedFd) -> Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() > libc::STDERR_FILENO { Ok(fd) } else { duplicate_above_stdio(fd) }
}

/// Makes another close-on-exec descriptor of the description, numbered 3 or more.
///
/// # Errors
/// `EMFILE`; `EBADF` if `fd` is one of the standard three and closed.
pub fn duplicate_above_stdio(fd: impl AsFd) -> Result<OwnedFd> {
    // `try_clone_to_owned` is F_DUPFD_CLOEXEC with 3 as the least number.
    fd.as_fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::{create, is_sealed, seal};
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_sealed_file_can_be_read_and_no_longer_written() {
        let file = create("procession-test").unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        assert!(!is_sealed(&file));
        seal(&file).unwrap();
        assert!(is_sealed(&file));
        assert!(file.write_all_at(b"x", 0).is_err());
        assert!(file.set_len(0).is_err());
        let mut back = [0; 5];
        file.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(&back, b"hello");
    }

    #[test]
    fn other_files_are_not_sealed() {
        assert!(!is_sealed(std::fs::File::open("/dev/null").unwrap()));
    }
}
