//! Why an object could not be created, opened, listed or removed.

use crate::codec::codec_name;
use crate::kind::Kind;
use crate::label::{Label, ObjectName};
use crate::namespace::InvalidName;
use crate::structure::Difference;
use procession_sys::errno::EAGAIN;
use procession_sys::{limits, shm_file};
use std::error::Error;
use std::fmt;
use std::io;

/// Why an object could not be created, opened or removed; each variant names the object and both sides of a
/// disagreement.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A name of an object, or of a namespace, that is none.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The options ask for what cannot be.
    #[error("{object} cannot be made: {what}")]
    Impossible {
        /// Which one.
        object: Label,
        /// The rule that the options break, as a sentence.
        what: &'static str,
    },
    /// Nothing has this name.
    #[error("{object} does not exist: create it first, or use open_or_create")]
    NotFound {
        /// Which one.
        object: Label,
    },
    /// The name is taken.
    #[error("{object} exists already: open it, or use open_or_create")]
    AlreadyExists {
        /// Which one.
        object: Label,
    },
    /// The file belongs to another user: nothing of another user is used.
    #[error(
        "{object} belongs to uid {owner} ({}), not to uid {ours}: have that user or root remove {path}, or use another namespace",
        user_name(*owner)
    )]
    WrongOwner {
        /// Which one.
        object: Label,
        /// The file.
        path: String,
        /// Who owns the file.
        owner: u32,
        /// Who we are.
        ours: u32,
    },
    /// The object was made by another user than this process is now: it, or who sent it, has changed its user
    /// id.
    #[error(
        "{object} is in the namespace of uid {owner}, and this process runs as uid {ours}: make objects after the user was changed; in a forked process, use them once before"
    )]
    OtherUser {
        /// Which one.
        object: Label,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        ours: u32,
    },
    /// The object lies where this process does not look any more: it has changed its root, or its mounts.
    #[error(
        "{object} lies in another /dev/shm than the one that this process sees now: make objects after the root or the mounts were changed; in a forked process, use them once before"
    )]
    Elsewhere {
        /// Which one.
        object: Label,
    },
    /// Others than its owner may open the file.
    #[error(
        "{object} has mode {found:o}, which lets others in than {asked:o} does: find out who changed it, then `chmod {asked:o} {path}`, or remove it"
    )]
    WrongMode {
        /// Which one.
        object: Label,
        /// The file.
        path: String,
        /// The file's permission bits.
        found: u32,
        /// The bits that are accepted.
        asked: u32,
    },
    /// The file has another name, too: what was done under one of them would be done to the other.
    #[error(
        "{object} has {links} names, {path} and others: remove all but one (`find /dev/shm -samefile {path}` shows them)"
    )]
    Linked {
        /// Which one.
        object: Label,
        /// The file.
        path: String,
        /// How many names it has.
        links: u64,
    },
    /// A directory, link, FIFO or device has this name.
    #[error("{object} is not a regular file: {path} is {what}; if it serves nobody, remove it")]
    NotRegularFile {
        /// Which one.
        object: Label,
        /// Where it is.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// The file was not made by this library.
    #[error(
        "{object} is not a procession object: {path} does not begin with the magic bytes; if it serves nobody, remove it"
    )]
    NotAnObject {
        /// Which one.
        object: Label,
        /// The file.
        path: String,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "{object} is truncated: it has {found} bytes, and its header says {expected}. When nobody uses it any more, remove it (`procession rm`)"
    )]
    Truncated {
        /// Which one.
        object: Label,
        /// The size in the header.
        expected: u64,
        /// The size of the file.
        found: u64,
    },
    /// Another version of the format wrote it.
    #[error(
        "{object} has format version {found}, and this program understands version {ours}: build all programs with the same version of procession, or use another namespace for each"
    )]
    Version {
        /// Which one.
        object: Label,
        /// The version in the header.
        found: u32,
        /// The version of this library.
        ours: u32,
    },
    /// The same version laid out differently: two builds that must not share.
    #[error(
        "{object} has layout {found:08x}, and this program uses {ours:08x}: build all programs with the same version of procession, or use another namespace for each"
    )]
    Layout {
        /// Which one.
        object: Label,
        /// The fingerprint in the header.
        found: u32,
        /// The fingerprint of this build.
        ours: u32,
    },
    /// Another kind of object has this name.
    #[error("{object} is {}, not {}: open it as what it is, or take another name", found.with_article(), asked.with_article())]
    Kind {
        /// Which one.
        object: Label,
        /// What it is.
        found: Kind,
        /// What was asked for.
        asked: Kind,
    },
    /// It was created with another parameter than the one asked for.
    #[error(
        "{object} was created with {parameter} {found}, not {asked}: ask for the same, or open it without saying any"
    )]
    Parameter {
        /// Which one.
        object: Label,
        /// Which one: `capacity`, `bytes`, …
        parameter: &'static str,
        /// What it was created with.
        found: u64,
        /// What was asked for.
        asked: u64,
    },
    /// Its elements have another type.
    #[error(
        "{object} holds elements of type {found}, not {asked}: create and open it with the same .type_tag(\"…\") if \
         the two programs mean one type"
    )]
    ElementType {
        /// Which one.
        object: Label,
        /// The type it was created with.
        found: String,
        /// The type asked for.
        asked: String,
    },
    /// Its elements are made of something else than those of this program's type: another build of a program
    /// has created it, or another program.
    #[error("{object} holds elements{}", made_otherwise(difference))]
    Structure {
        /// Which one.
        object: Label,
        /// Both types, and what is different.
        difference: Box<Difference>,
    },
    /// Its messages are encoded in another way.
    #[error(
        "{object} carries its messages in codec {}, and was opened with codec {}",
        codec_name(*found),
        codec_name(*asked)
    )]
    Codec {
        /// Which one.
        object: Label,
        /// The codec in the header: [`codec_name`].
        found: u32,
        /// The codec that was asked for.
        asked: u32,
    },
    /// Its messages are encoded by a codec that this program does not have.
    #[error(
        "{object} carries its messages in codec {}, which this program was built without (cargo features json, msgpack)",
        codec_name(*codec)
    )]
    UnknownCodec {
        /// Which one.
        object: Label,
        /// The codec in the header: [`codec_name`].
        codec: u32,
    },
    /// The namespace's registry was removed while in use: processes of the old and of the new one must not
    /// share.
    #[error(
        "the registry of namespace {namespace:?} was removed or replaced while {object} is in use; end the processes that use it, then run `procession gc`"
    )]
    RegistryChanged {
        /// The object, or the registry itself.
        object: Label,
        /// The namespace.
        namespace: String,
    },
    /// As many processes are registered as the registry has slots.
    #[error(
        "the registry of namespace {namespace:?} is full: {slots} live processes are in it, and it holds no more; use another namespace for some of them, or end all, run `procession gc`, and start with PROCESSION_SLOTS={more} in the environment",
        more = slots.saturating_mul(4).min(65_535)
    )]
    RegistryFull {
        /// The namespace.
        namespace: String,
        /// How many processes it holds.
        slots: u32,
    },
    /// `/dev/shm` cannot prove that a process is alive (overlayfs, a network file system).
    #[error(
        "/dev/shm is not a tmpfs that keeps locks of mappings (namespace {namespace:?}): mount a tmpfs there"
    )]
    LifelineUnsupported {
        /// The namespace.
        namespace: String,
    },
    /// `/dev/shm` is full.
    #[error(
        "/dev/shm has no space for {bytes} bytes of {object}: remove something (`procession gc`, `df /dev/shm`), or mount it with a larger size"
    )]
    NoSpace {
        /// Which one.
        object: Label,
        /// How much was needed.
        bytes: u64,
    },
    /// `/dev/shm` may hold no more files.
    #[error(
        "/dev/shm has no room for one more file, which {object} needs: remove some (`df -i /dev/shm` counts them), or mount it with a larger nr_inodes"
    )]
    NoInodes {
        /// Which one.
        object: Label,
    },
    /// A handle names an object that was removed, or replaced by another of the same name.
    #[error("{object} is gone: it was removed after this handle was made")]
    Gone {
        /// Which one.
        object: Label,
    },
    /// The header is ours, but what it says is impossible.
    #[error("{object} is corrupt: {what}. When nobody uses it any more, remove it (`procession rm`)")]
    Corrupt {
        /// Which one.
        object: Label,
        /// What is impossible, as a sentence.
        what: &'static str,
    },
    /// The kernel refused.
    #[error("failed to {operation} {object}{}", remedy(operation, source))]
    Os {
        /// What was tried.
        operation: &'static str,
        /// Which one.
        object: Label,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

crate::debug_as_text!(OpenError);

impl OpenError {
    /// Whether the object may well be there, although it was not opened: the kernel refuses something now,
    /// this process looks elsewhere than who made the object, or somebody made a link to its file, or changed
    /// its mode. A later try, or another process, may find it.
    #[must_use]
    pub fn may_be_there(&self) -> bool {
        matches!(
            self,
            Self::Os { .. }
                | Self::OtherUser { .. }
                | Self::Elsewhere { .. }
                | Self::WrongMode { .. }
                | Self::Linked { .. }
                | Self::NoSpace { .. }
                | Self::NoInodes { .. }
                | Self::RegistryFull { .. }
        )
    }

    /// The error for bytes that are none of ours.
    pub(crate) fn no_object(object: &ObjectName<'_>) -> Self {
        let path = shm_file::path(&object.file_name()).display().to_string();
        Self::NotAnObject { object: object.label_without_kind(), path }
    }

    /// Wraps a kernel error; some have variants of their own.
    pub(crate) fn os(operation: &'static str, object: impl Into<Label>, source: io::Error) -> Self {
        let object = object.into();
        match source.kind() {
            io::ErrorKind::NotFound if operation == "open" => Self::NotFound { object },
            // Nothing was written yet: it is not the bytes that are too many.
            io::ErrorKind::StorageFull if matches!(operation, "create" | "publish") => {
                Self::NoInodes { object }
            }
            _ => Self::Os { operation, object, source },
        }
    }

    /// As [`os`](Self::os), for what may have failed for want of `bytes` of memory.
    pub(crate) fn no_space(
        operation: &'static str,
        object: impl Into<Label>,
        bytes: u64,
        source: io::Error,
    ) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull if operation == "reserve" => {
                Self::NoSpace { object: object.into(), bytes }
            }
            _ => Self::os(operation, object, source),
        }
    }
}

/// How elements are different, in words that follow upon others.
fn made_otherwise(difference: &Difference) -> String {
    let Difference { element, type_name, place, found, asked } = difference;
    let of_type = if element.is_empty() { String::new() } else { format!(" of type {element}") };
    format!(
        "{of_type} that are made otherwise than {type_name} is in this program: {place} is {found} there, and \
         {asked} here; build both programs with the same type, or take another name, or remove the object"
    )
}

/// What is wrong around this process when the kernel refuses this, and what to do; in words that follow upon
/// others.
fn remedy(operation: &str, source: &io::Error) -> &'static str {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    match (operation, source.kind(), source.raw_os_error()) {
        ("create", NotFound | NotADirectory, _) => {
            ": there is no directory /dev/shm; mount it (`mount -t tmpfs -o mode=1777 tmpfs /dev/shm`)"
        }
        ("create" | "publish", PermissionDenied, _) => {
            ": this user may not make files in /dev/shm; give it its usual mode (`chmod 1777 /dev/shm`)"
        }
        (_, ReadOnlyFilesystem, _) => {
            ": /dev/shm is mounted read-only; let it be written (`mount -o remount,rw /dev/shm`)"
        }
        ("publish", NotFound, _) => {
            ": /proc is not mounted, which gives a file in /dev/shm its name before Linux 6.10; mount it (`mount -t proc proc /proc`)"
        }
        ("map", _, Some(EAGAIN)) => {
            ": this process locks all its memory, and may not lock more; raise the limit (`ulimit -l`)"
        }
        _ => limits::remedy(source),
    }
}

/// What `/etc/passwd` calls a user. The C library would ask services in the network, too, and an error has no
/// time for that.
fn user_name(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_it = |line: &&str| line.split(':').nth(2) == Some(&uid.to_string());
    let name = users.lines().find(is_it).and_then(|line| line.split(':').next());
    name.map_or_else(|| "a user without a name".to_owned(), |name| format!("user {name:?}"))
}

/// Writes what an error says, then what its causes say: what `Debug` of this library's errors prints, because
/// that is what people see of an error that `main` returns, or that `unwrap` meets.
#[doc(hidden)]
pub fn fmt_with_causes(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

/// Makes `Debug` of error types print their text and their causes', as [`fmt_with_causes`] does.
#[macro_export]
macro_rules! debug_as_text {
    ([$($generics:tt)*] $Error:ty) => {
        impl<$($generics)*> ::std::fmt::Debug for $Error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                $crate::fmt_with_causes(self, f)
            }
        }
    };
    ($($Error:ty),+ $(,)?) => {
        $($crate::debug_as_text!([] $Error);)+
    };
}
