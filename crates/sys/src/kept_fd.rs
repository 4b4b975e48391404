//! A descriptor that is kept for long, and that the program may close behind our back.
//!
//! Daemons close every descriptor they find, and the numbers are used again for other files. So a kept
//! descriptor is asked which file it is before it is used, and it is closed only while it is still ours.

use crate::shm_file::FileId;
use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};
use std::io::Result;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

/// Since Linux 6.9 each process and thread has an inode of its own there.
const PIDFS: i64 = 0x5049_4446;
/// `st_mode` of what has no file type: pidfds, eventfds and the like, which share one inode.
const NO_FILE_TYPE: u32 = 0;

/// A descriptor, and which file it was when it was ours.
#[derive(Debug)]
pub struct KeptFd {
    /// There until the drop.
    fd: Option<OwnedFd>,
    id: Option<FileId>,
    /// The mark by which it is told from other files with the same inode.
    mark: Option<String>,
}

impl KeptFd {
    /// Keeps `fd`, under a number of 3 or more.
    ///
    /// # Errors
    /// `EMFILE`, if it has to be duplicated for that.
    pub fn keep(fd: OwnedFd) -> Result<Self> {
        let fd = crate::memfd::above_stdio(fd)?;
        Ok(Self { id: file_id(fd.as_fd()), mark: mark(fd.as_fd()), fd: Some(fd) })
    }

    /// The descriptor, unless somebody has closed it.
    #[must_use]
    pub fn get(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.fd.as_ref()?.as_fd();
        let is_ours = file_id(fd) == self.id && (self.mark.is_none() || self.mark == mark(fd));
        is_ours.then_some(fd)
    }
}

/// The number as it is, whatever it means now; for those who poll it together with others.
impl AsFd for KeptFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Some(fd) => fd.as_fd(),
            None => unreachable!("it is there until the drop"),
        }
    }
}

impl Drop for KeptFd {
    fn drop(&mut self) {
        if self.get().is_none()
            && let Some(fd) = self.fd.take()
        {
            // By now it is nobody's, or somebody else's.
            let _: i32 = fd.into_raw_fd();
        }
    }
}

fn file_id(fd: BorrowedFd<'_>) -> Option<FileId> {
    fstat(fd).ok().map(|stat| FileId { device: stat.st_dev, inode: stat.st_ino })
}

/// The line of `/proc/self/fdinfo` that tells files with a common inode apart; none where the inode says it
/// all.
fn mark(fd: BorrowedFd<'_>) -> Option<String> {
    let has_type = fstat(fd).ok()?.st_mode & libc::S_IFMT != NO_FILE_TYPE;
    if has_type || fstatfs(fd).is_ok_and(|stat| stat.filesystem_type() == FsType(PIDFS)) {
        return None;
    }
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let is_mark = |line: &&str| line.starts_with("Pid:") || line.starts_with("eventfd-id:");
    info.lines().find(is_mark).map(str::to_owned)
}

#[cfg(test)]
#[expect(unsafe_code, reason = "the program closes and opens descriptors by number")]
mod tests {
    use super::KeptFd;
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};

    fn bell() -> OwnedFd {
        crate::eventfd::create().unwrap()
    }

    #[test]
    fn what_is_ours_is_given_out_and_closed_and_what_took_its_number_is_neither() {
        let files: [fn() -> OwnedFd; 3] = [
            || File::open("/dev/null").unwrap().into(),
            bell,
            || crate::pidfd::open(std::process::id()).unwrap(),
        ];
        for make in files {
            let kept = KeptFd::keep(make()).unwrap();
            let number = kept.as_fd().as_raw_fd();
            assert!(number >= 3 && kept.get().is_some());
            for other in [File::open("/dev/zero").unwrap().into(), bell()] {
                // SAFETY: what the number meant is not used again, as `KeptFd` promises.
                assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
                assert!(kept.get().is_none());
            }
            drop(kept);
            // SAFETY: the number is asked for, and closed, once.
            assert_eq!(unsafe { libc::close(number) }, 0, "the stranger's file was closed");
        }
    }
}
