//! Looks at what a name in `/dev/shm` leads to, before it is believed.
//!
//! Everybody may make files in `/dev/shm`, also under names that are ours, and make links to them. So whoever
//! opens a name learns from the *descriptor* (a name may change hands at any moment) what it has in hand:
//!
//! | found | is | because |
//! |---|---|---|
//! | a file of another user | refused: neither read, mapped, locked nor removed | its owner can shorten it under a mapping (SIGBUS) and write whatever it likes |
//! | no regular file: a directory, a link, a FIFO | refused | it is no object |
//! | a file that others than its owner may open | refused; its owner can remove its name | they can shorten it, and hold its locks |
//! | a file with two names | refused; its owner can remove its name | who removes what one name means would remove it for the other |
//! | a file without a name | not found | it lost its name while it was opened |
//! | any other one | used | only this user can have made it, and only this user can open it |
//!
//! The kernel is asked to follow no link and to wait for nobody (`O_NONBLOCK`): a FIFO has no other end to
//! wait for, and the owner of a file may hold a lease on it.

use crate::error::OpenError;
use crate::label::Label;
use crate::namespace;
use procession_sys::shm_file::{self, FileId};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// An open file and which one it is.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) handle: std::fs::File,
    pub(crate) id: FileId,
}

/// A file of this user's, and what was seen of it when it was opened.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) meta: Metadata,
}

/// Why what a name leads to is not used.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is nothing of that name.
    Missing,
    /// The file belongs to another user than the one who is to own it.
    Foreign { owner: u32, ours: u32 },
    /// The name leads to something else than a file.
    NotAFile { what: &'static str },
    /// Others may open it.
    Mode { found: u32, accepted: u32 },
    /// The file has other names, too.
    Linked { links: u64 },
    /// The kernel refused.
    Failed(io::Error),
}

impl Refusal {
    /// Whether it is certain that there is no object of ours.
    pub(crate) fn means_nothing_of_ours(&self) -> bool {
        matches!(self, Self::Missing | Self::Foreign { .. } | Self::NotAFile { .. })
    }

    /// The error that says so of the object called `object`, whose file is called `name`.
    pub(crate) fn into_error(self, object: Label, name: &str) -> OpenError {
        let path = shm_file::path(name).display().to_string();
        match self {
            Self::Missing => OpenError::NotFound { object },
            Self::Foreign { owner, ours } => OpenError::WrongOwner { object, path, owner, ours },
            Self::NotAFile { what } => OpenError::NotRegularFile { object, path, what },
            Self::Mode { found, accepted: asked } => OpenError::WrongMode { object, path, found, asked },
            Self::Linked { links } => OpenError::Linked { object, path, links },
            Self::Failed(source) => OpenError::Os { operation: "open", object, source },
        }
    }
}

/// Opens the object's file called `name` for reading and writing, if it is one that nobody else can have made
/// or changed.
pub(crate) fn open(name: &str) -> Result<File, Refusal> {
    let found = open_own(name)?;
    found.must_be_private(shm_file::PRIVATE_MODE)?;
    Ok(found.file)
}

/// Opens the object's file called `name` for reading and writing, if it is the user's whose number is in the
/// name; others may be able to open it, too.
pub(crate) fn open_own(name: &str) -> Result<Found, Refusal> {
    Found::from(name, user_of(name), shm_file::open(name))
}

/// Opens a file of any name, of this user, as [`open_own`] does.
pub(crate) fn open_mine(name: &str) -> Result<Found, Refusal> {
    Found::from(name, shm_file::effective_uid(), shm_file::open(name))
}

/// Opens a file as [`open_own`] does, but for reading only: for tools that look and touch nothing.
pub(crate) fn look_at_own(name: &str) -> Result<Found, Refusal> {
    Found::from(name, user_of(name), shm_file::open_read_only(name))
}

/// The user who is to own an object's file: this user, or, of a registration made before this process changed
/// its user, that one.
fn user_of(name: &str) -> u32 {
    namespace::user_in(name).unwrap_or_else(shm_file::effective_uid)
}

impl Found {
    fn from(name: &str, user: u32, opened: io::Result<std::fs::File>) -> Result<Self, Refusal> {
        let handle = opened.map_err(|error| refusal(name, user, error))?;
        let meta = handle.metadata().map_err(Refusal::Failed)?;
        must_be_file_of(user, &meta)?;
        if meta.nlink() == 0 {
            return Err(Refusal::Missing);
        }
        let id = FileId { device: meta.dev(), inode: meta.ino() };
        Ok(Self { file: File { handle, id }, meta })
    }

    /// Refuses a file that others may open beyond what `accepted` allows them, or that has other names.
    pub(crate) fn must_be_private(&self, accepted: u32) -> Result<(), Refusal> {
        let found = self.meta.mode() & 0o777;
        if found & 0o077 & !accepted != 0 {
            return Err(Refusal::Mode { found, accepted });
        }
        match self.meta.nlink() {
            1 => Ok(()),
            links => Err(Refusal::Linked { links }),
        }
    }
}

/// Why the name could not be opened. Whose file it is says more than that the kernel refused: of another
/// user's private file it says EACCES, of a link ELOOP, of one with a lease EWOULDBLOCK.
fn refusal(name: &str, user: u32, error: io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::NotFound {
        return Refusal::Missing;
    }
    let seen = std::fs::symlink_metadata(shm_file::path(name));
    seen.ok().and_then(|meta| must_be_file_of(user, &meta).err()).unwrap_or(Refusal::Failed(error))
}

fn must_be_file_of(user: u32, meta: &Metadata) -> Result<(), Refusal> {
    if meta.uid() != user {
        return Err(Refusal::Foreign { owner: meta.uid(), ours: user });
    }
    let kind = meta.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(Refusal::NotAFile { what })
}
