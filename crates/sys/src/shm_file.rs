//! Files in `/dev/shm`: made without a name, filled, then published by one `linkat`.
//!
//! Their descriptors are numbered 3 or more: a program that has closed its stdout must not print into one of
//! them.
#![expect(unsafe_code, reason = "O_TMPFILE, linkat and fstatfs go through libc")]

use crate::limits::longest_file;
use crate::memfd::above_stdio;
use crate::random;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::{Mode, fstat, fstatat, stat};
use std::ffi::{CStr, CString};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Result, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where POSIX shared memory lives; `shm_open("/x")` of any program is `/dev/shm/x`.
pub const DIRECTORY: &str = "/dev/shm";

/// Follows no link, waits for no FIFO, and is inherited by no program.
const CAREFULLY: i32 = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;

fn open_at(path: impl AsRef<Path>, options: &OpenOptions) -> Result<File> {
    above_stdio(options.open(path)?.into()).map(File::from)
}
/// The permission bits of all that is ours.
pub const PRIVATE_MODE: u32 = 0o600;

/// The path of the file called `name`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let mut path = PathBuf::from(DIRECTORY);
    path.push(name);
    path
}

/// Which file it is, whatever its name is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The file in it.
    pub inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// Which directory `/dev/shm` is: another one in another root, or under another mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(FileId);

impl Place {
    /// The place that this process sees now.
    ///
    /// # Errors
    /// `ENOENT`, `EACCES`.
    pub fn current() -> Result<Self> {
        let found = stat(DIRECTORY)?;
        Ok(Self(FileId { device: found.st_dev, inode: found.st_ino }))
    }

    /// Whether `name` surely means the file `id` no more: it means nothing or another file here, in this very
    /// directory. Where that cannot be seen, it is not said.
    #[must_use]
    pub fn has_lost(self, name: &str, id: FileId) -> bool {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Ok(directory) = nix::fcntl::open(DIRECTORY, flags, Mode::empty()) else { return false };
        let is_here = fstat(&directory)
            .is_ok_and(|found| self.0 == FileId { device: found.st_dev, inode: found.st_ino });
        is_here
            && match fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(found) => id != FileId { device: found.st_dev, inode: found.st_ino },
                Err(errno) => errno == nix::errno::Errno::ENOENT,
            }
    }
}

/// Creates a file without a name; killed now, it leaves nothing.
///
/// # Errors
/// `ENOENT` without `/dev/shm`, `EOPNOTSUPP` where it is no tmpfs, `ENOSPC`, `EMFILE`, …
pub fn create_unnamed() -> Result<File> {
    let unnamed = libc::O_TMPFILE | libc::O_CLOEXEC;
    let mut options = OpenOptions::new();
    let file = open_at(DIRECTORY, options.read(true).write(true).mode(PRIVATE_MODE).custom_flags(unnamed))?;
    // A umask may have taken the owner's bits away.
    file.set_permissions(PermissionsExt::from_mode(PRIVATE_MODE))?;
    Ok(file)
}

/// Reserves every page of `len` bytes from `offset` on now, so that a full tmpfs is `ENOSPC` here and not
/// SIGBUS at the first touch.
///
/// # Errors
/// `ENOSPC`, `EFBIG`, …
pub fn reserve(file: &File, offset: u64, len: u64) -> Result<()> {
    let too_big = |_| Error::from_raw_os_error(libc::EFBIG);
    let (offset, len) = (i64::try_from(offset).map_err(too_big)?, i64::try_from(len).map_err(too_big)?);
    let try_once = || {
        // SAFETY: the descriptor is open; fallocate touches no memory of ours.
        match unsafe { libc::fallocate(file.as_raw_fd(), 0, offset, len) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    };
    match try_once() {
        Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
        outcome => return outcome,
    }
    // Some kernels begin again from nothing after any signal: where one comes every millisecond they would
    // not end.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let outcome = try_once();
    mask.thread_set_mask()?;
    outcome
}

/// Makes a new file `len` bytes long, of which it reserves the first `reserved`.
///
/// # Errors
/// `EFBIG` beyond what this process may write (`RLIMIT_FSIZE`), for which the kernel would also send SIGXFSZ,
/// which kills; otherwise as [`reserve`].
pub fn make_long(file: &File, len: u64, reserved: u64) -> Result<()> {
    if len > longest_file() {
        return Err(Error::from_raw_os_error(libc::EFBIG));
    }
    reserve(file, 0, reserved)?;
    if reserved < len { file.set_len(len) } else { Ok(()) }
}

/// Gives the unnamed `file` its name, whole or not at all.
///
/// # Errors
/// `EEXIST` when the name is taken, `ENAMETOOLONG`; `ENOENT` without `/proc`, unless this user or kernel
/// (6.10) can do without; …
pub fn publish(file: &File, name: &str) -> Result<()> {
    let from = c_path(format!("/proc/self/fd/{}", file.as_raw_fd()).into())?;
    let to = c_path(path(name))?;
    let link = |directory: i32, from: &CStr, flags: i32| {
        // SAFETY: both paths are NUL-terminated strings that outlive the call, and the descriptor is open.
        match unsafe { libc::linkat(directory, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    };
    match link(libc::AT_FDCWD, &from, libc::AT_SYMLINK_FOLLOW) {
        Err(error) if error.kind() == ErrorKind::NotFound => link(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH),
        outcome => outcome,
    }
}

/// Opens the file called `name` for reading and writing; never creates it, never follows a link, never waits.
/// Whose file it is, and whether it is a file, is for the caller to ask.
///
/// # Errors
/// `ENOENT`, `ELOOP` for a symbolic link, `EACCES`, …
pub fn open(name: &str) -> Result<File> {
    open_at(path(name), OpenOptions::new().read(true).write(true).custom_flags(CAREFULLY))
}

/// Opens for reading only: for tools that look and touch nothing.
///
/// # Errors
/// As [`open`].
pub fn open_read_only(name: &str) -> Result<File> {
    open_at(path(name), OpenOptions::new().read(true).custom_flags(CAREFULLY))
}

/// A second description of the same file, whatever has become of its name.
///
/// # Errors
/// `ENOENT` without `/proc`, `EMFILE`, …
pub fn reopen(file: &File) -> Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    open_at(path, OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC))
}

/// Removes the name; the file lives on while anybody has it open or mapped.
///
/// # Errors
/// `ENOENT`, `EPERM` in a sticky directory, …
pub fn unlink(name: &str) -> Result<()> {
    std::fs::remove_file(path(name))
}

/// Gives the file another name instead of the one it has.
///
/// # Errors
/// `ENOENT`, `EPERM` in a sticky directory, …
pub fn rename(name: &str, to: &str) -> Result<()> {
    std::fs::rename(path(name), path(to))
}

/// Which file a descriptor refers to.
///
/// # Errors
/// As `fstat`.
pub fn identity(file: &File) -> Result<FileId> {
    file.metadata().map(|meta| FileId::from(&meta))
}

/// Which file the name refers to now; `None` when there is no such name.
///
/// # Errors
/// As `lstat`, except `ENOENT`.
pub fn identity_of_name(name: &str) -> Result<Option<FileId>> {
    match std::fs::symlink_metadata(path(name)) {
        Ok(meta) => Ok(Some(FileId::from(&meta))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the file lies on a tmpfs: only there does a mapping keep its description's lock (overlayfs maps
/// another file underneath).
///
/// # Errors
/// As `fstatfs`.
pub fn is_tmpfs(file: &File) -> Result<bool> {
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open and `stat` has room for one statfs.
    if unsafe { libc::fstatfs(file.as_raw_fd(), stat.as_mut_ptr()) } != 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: fstatfs succeeded, so it filled the struct.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_type == libc::TMPFS_MAGIC)
}

/// The names of all files whose name begins with `prefix`, in order, each of them once.
///
/// # Errors
/// As reading the directory.
pub fn names(prefix: &str) -> Result<Vec<String>> {
    let directory = Directory::open()?;
    let expected = usize::try_from(directory.count()?).unwrap_or(usize::MAX).saturating_mul(LONG_ENTRY_LEN);
    let mut room = expected.clamp(READ_LEN, READ_LEN_AT_MOST);
    loop {
        let mut found = Vec::new();
        let mut calls = 0;
        while directory.read(room, prefix, &mut found)?.is_some() {
            calls += 1;
        }
        // One call of the kernel lists the directory as it is at one moment; between two calls it may change. A tmpfs
        // that no longer has the file at which a call ended goes on at a newer one (Linux 6.18, `fs/libfs.c`), and
        // lists again what it has listed. So one call shall be enough: for its buffer memory is taken only where
        // the kernel writes.
        if calls <= 1 || room >= READ_LEN_AT_MOST {
            found.sort_unstable();
            found.dedup();
            return Ok(found);
        }
        directory.seek(0)?;
        room *= 4;
    }
}

/// Lists names as [`names`] does, but only of a part of the directory: what it costs does not grow with the
/// directory, and after some calls all of it was read.
///
/// A directory of up to about a thousand names is read as a whole, or nearly. Of a larger one it is the
/// beginning, where the kernel lists what is new, and a part from the place `from` on, which is 0 at first, for
/// a place by chance, and then what the call before returned. Behind the end comes what follows the beginning.
///
/// # Errors
/// As [`names`].
pub fn some_names(from: u64, prefix: &str) -> Result<(Vec<String>, u64)> {
    let mut found = Vec::new();
    let directory = Directory::open()?;
    let count = directory.count()?;
    if count < (READ_LEN / LONG_ENTRY_LEN) as u64 {
        let next =
            if directory.seek(from).is_ok() { directory.read(READ_LEN, prefix, &mut found)? } else { None };
        if let Some(next) = next {
            return Ok((found, next));
        }
        directory.seek(0)?;
        let next = directory.read(READ_LEN, prefix, &mut found)?.unwrap_or(0);
        return Ok((found, next));
    }
    let behind = directory.read(PART_LEN, prefix, &mut found)?.unwrap_or(0);
    let from = if from == 0 { by_chance(behind.max(count)) } else { from };
    let next =
        if directory.seek(from).is_ok() { directory.read(PART_LEN, prefix, &mut found)? } else { None };
    found.sort_unstable();
    found.dedup();
    Ok((found, next.unwrap_or(behind)))
}

/// A place below `end` by chance.
///
/// Places are numbers that grow by one with each file that is made, or with each that is there. In the former case most
/// of them are of files that are gone, and what is there can lie close to either end: so it is by its distance's
/// logarithm from one of them, or evenly.
fn by_chance(end: u64) -> u64 {
    let chance = random::nonzero_u64();
    let (way, evenly) = (chance % 3, (chance / 3) % end.max(1));
    let near = evenly >> ((chance >> 32) % u64::from(u64::BITS - end.leading_zeros()).max(1));
    match way {
        0 => evenly,
        1 => near,
        _ => end - near,
    }
}

/// How much of the directory is read at once: about 1,500 names.
const READ_LEN: usize = 1 << 16;
/// How much is read at once of a directory of millions of files.
const READ_LEN_AT_MOST: usize = 1 << 28;
/// How much of a large directory is read at each place: about 200 names.
const PART_LEN: usize = 1 << 13;
/// How long a tmpfs says that a directory is, for each name in it.
const ENTRY_LEN: u64 = 20;
/// How long an entry is with a name of 39 bytes: a registry's is longer, most of others are shorter.
const LONG_ENTRY_LEN: usize = 64;

/// The open directory. What there is for it in std makes a string of each name, of which very few may be
/// ours.
struct Directory(File);

impl Directory {
    fn open() -> Result<Self> {
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(DIRECTORY).map(Self)
    }

    /// About how many files there are.
    fn count(&self) -> Result<u64> {
        Ok(self.0.metadata()?.len() / ENTRY_LEN)
    }

    /// Lets the next [`read`](Self::read) begin there.
    fn seek(&self, place: u64) -> Result<u64> {
        (&self.0).seek(SeekFrom::Start(place))
    }

    /// Appends what the next names are that begin with `prefix`; the place behind them, or `None` at the end.
    fn read(&self, room: usize, prefix: &str, found: &mut Vec<String>) -> Result<Option<u64>> {
        // Not filled with zeroes before: most of it is never touched.
        let mut buffer = Vec::<u8>::with_capacity(room);
        // SAFETY: the descriptor is open, and the kernel writes at most as many bytes as it is told.
        let len =
            unsafe { libc::syscall(libc::SYS_getdents64, self.0.as_raw_fd(), buffer.as_mut_ptr(), room) };
        let Ok(len) = usize::try_from(len) else { return Err(Error::last_os_error()) };
        // SAFETY: the kernel has written so many bytes, which are no more than there is room for.
        unsafe { buffer.set_len(len) };
        let mut entries = buffer.as_slice();
        let mut place = None;
        // struct linux_dirent64: inode (8), place of the next one (8), length of this one (2), type (1),
        // name, NUL.
        while let Some((head, rest)) = entries.split_first_chunk::<19>() {
            let [_, _, _, _, _, _, _, _, next @ .., low, high, _] = *head;
            place = Some(u64::from_ne_bytes(next));
            let record_len = usize::from(u16::from_ne_bytes([low, high]));
            let Some((padded, others)) =
                record_len.checked_sub(19).and_then(|len| rest.split_at_checked(len))
            else {
                break;
            };
            let name = padded.split(|&byte| byte == 0).next().unwrap_or_default();
            // Our names are ASCII; what is not UTF-8 is not ours.
            if name.starts_with(prefix.as_bytes())
                && let Ok(name) = std::str::from_utf8(name)
            {
                found.push(name.to_owned());
            }
            entries = others;
        }
        Ok(place)
    }
}

/// The effective user, who owns what this process creates.
#[must_use]
pub fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn c_path(path: PathBuf) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::from_raw_os_error(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::{create_unnamed, names, publish, some_names, unlink};

    #[test]
    fn all_names_are_found_some_at_a_time() {
        let prefix = format!("procession-sys-test-{}-", crate::random::nonzero_u64());
        // Most places are empty when many files were removed.
        for number in 0..50_000 {
            let name = format!("{prefix}gone-{number}");
            publish(&create_unnamed().unwrap(), &name).unwrap();
            unlink(&name).unwrap();
        }
        let mut made: Vec<String> =
            (0..3000).map(|number| format!("{prefix}{number}-{}", "x".repeat(40))).collect();
        for name in &made {
            publish(&create_unnamed().unwrap(), name).unwrap();
        }
        let enough = 4 + names("").unwrap().len() / 60;
        let mut found = Vec::new();
        // The end: from the next call on all is read, one part behind the other.
        let mut place = 1;
        let mut calls = 0;
        while found.len() < made.len() {
            let (some, next) = some_names(place, &prefix).unwrap();
            assert!(some.len() < 2000 && calls < enough, "{} names in call {calls}", some.len());
            found.extend(some);
            found.sort_unstable();
            found.dedup();
            (place, calls) = (next, calls + 1);
        }
        let all = names(&prefix).unwrap();
        // What lies behind the end begins anew.
        let (again, _) = some_names(1 << 40, "").unwrap();
        for name in &made {
            unlink(name).unwrap();
        }
        made.sort_unstable();
        found.sort_unstable();
        assert!(found == made && all == made, "{} and {} of {} names", found.len(), all.len(), made.len());
        assert!(calls > 1 && !again.is_empty(), "{calls} calls");
        assert!(names(&prefix).unwrap().is_empty());
    }
}
