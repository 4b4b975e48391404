//! Shared-memory files of other programs, or for them: bytes and nothing else, neither header nor attach
//! byte.
//!
//! Created as segments are, by `O_TMPFILE`, `fallocate` and `linkat`: the name appears when all of it is
//! there. A death leaves the file whole or without a name; a name stays until somebody removes it, as
//! everywhere in POSIX.

use crate::error::OpenError;
use crate::found::{self, File, Found, Refusal};
use crate::label::Label;
use crate::namespace::{self, InvalidName};
use procession_sys::shm_file::{self, FileId, Place};
use procession_sys::{Mapping, crash_point};
use std::io;

/// The longest name of a file.
const MAX_NAME: usize = 255;

/// A mapped file of `/dev/shm` without a header.
#[derive(Debug)]
pub struct PlainFile {
    mapping: Mapping,
    name: String,
    file: FileId,
    place: Place,
}

impl PlainFile {
    /// Creates the file called `name`, of `size` bytes, all zero.
    ///
    /// # Errors
    /// [`OpenError::InvalidName`], `Impossible` for no bytes, `AlreadyExists`, `NoSpace`.
    pub fn create(name: &str, size: usize) -> Result<Self, OpenError> {
        let name = check_name(name)?;
        if namespace::is_reserved(name) {
            let reason = "names that begin with `procession.` are those of objects";
            return Err(InvalidName { name: name.to_owned(), reason }.into());
        }
        if size == 0 {
            return Err(OpenError::Impossible {
                object: Label::of_file(name),
                what: "shared memory has at least one byte",
            });
        }
        let failed = |operation| move |source| error(operation, name, size as u64, source);
        let handle = shm_file::create_unnamed().map_err(failed("create"))?;
        shm_file::make_long(&handle, size as u64, size as u64).map_err(failed("reserve"))?;
        let file = shm_file::identity(&handle).map_err(failed("look at"))?;
        let mapping = Mapping::of_file(&handle, size).map_err(failed("map"))?;
        crash_point("plain.create.mapped");
        shm_file::publish(&handle, name).map_err(failed("publish"))?;
        crash_point("plain.create.published");
        Ok(Self { mapping, name: name.to_owned(), file, place: Place::current().map_err(failed("look at"))? })
    }

    /// Opens the file called `name`, if it is this user's and allows others no more than `mode` does.
    ///
    /// The file's pages are reserved, so that a full `/dev/shm` is an error now, and no SIGBUS later.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], `NotRegularFile`, `WrongOwner`, `WrongMode`, `NoSpace`; `Corrupt` when it is
    /// empty.
    pub fn open(name: &str, mode: u32) -> Result<Self, OpenError> {
        let name = check_name(name)?;
        let object = || Label::of_file(name);
        let refused = |refusal: Refusal| refusal.into_error(object(), name);
        let found = found::open_mine(name).map_err(refused)?;
        found.must_be_private(mode).map_err(refused)?;
        let Found { file: File { handle, id }, meta } = found;
        let size = usize::try_from(meta.len()).ok().filter(|&size| size != 0);
        let what = "the file is empty: who creates it has not given it a size yet";
        let size = size.ok_or_else(|| OpenError::Corrupt { object: object(), what })?;
        shm_file::reserve(&handle, 0, size as u64)
            .map_err(|source| error("reserve", name, size as u64, source))?;
        let failed = |operation| move |source| error(operation, name, 0, source);
        let mapping = Mapping::of_file(&handle, size).map_err(failed("map"))?;
        let place = Place::current().map_err(failed("look at"))?;
        Ok(Self { mapping, name: name.to_owned(), file: id, place })
    }

    /// All of its bytes.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The file as people know it.
    #[must_use]
    pub fn label(&self) -> Label {
        Label::of_file(&self.name)
    }

    /// The name in `/dev/shm`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the name does not mean this file any more: it was removed, and maybe replaced.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.place.has_lost(&self.name, self.file)
    }

    /// Removes the name, if it still means this file; who has the file goes on with it.
    ///
    /// # Errors
    /// [`OpenError::NotFound`].
    pub fn unlink(&self) -> Result<(), OpenError> {
        // Other programs know no name lock: what they do between these two steps cannot be helped.
        if shm_file::identity_of_name(&self.name).map_err(|source| error("look at", &self.name, 0, source))?
            != Some(self.file)
        {
            return Err(OpenError::NotFound { object: self.label() });
        }
        shm_file::unlink(&self.name).map_err(|source| error("open", &self.name, 0, source))
    }
}

/// The name without the slash that it has in POSIX.
fn check_name(name: &str) -> Result<&str, OpenError> {
    let short = name.strip_prefix('/').unwrap_or(name);
    let reason = match short {
        "" => "it is empty",
        "." | ".." => "it is a directory",
        _ if short.len() > MAX_NAME => "it is longer than 255 bytes",
        _ if short.contains(['/', '\0']) => "a name in /dev/shm has no slash and no NUL",
        _ => return Ok(short),
    };
    Err(InvalidName { name: name.to_owned(), reason }.into())
}

fn error(operation: &'static str, name: &str, bytes: u64, source: io::Error) -> OpenError {
    let object = Label::of_file(name);
    match (operation, source.kind()) {
        ("publish", io::ErrorKind::AlreadyExists) => OpenError::AlreadyExists { object },
        _ => OpenError::no_space(operation, object, bytes, source),
    }
}

#[cfg(test)]
mod tests {
    use super::PlainFile;
    use crate::error::OpenError;
    use crate::namespace::Namespace;

    #[test]
    fn names_that_cannot_be_are_refused() {
        for bad in ["", "/", ".", "..", "a/b", "//a", "a\0b", &"x".repeat(256)] {
            assert!(matches!(PlainFile::open(bad, 0o600), Err(OpenError::InvalidName { .. })), "{bad:?}");
            assert!(matches!(PlainFile::create(bad, 1), Err(OpenError::InvalidName { .. })), "{bad:?}");
        }
        let ours = Namespace::private().file_name("a");
        assert!(matches!(PlainFile::create(&ours, 1), Err(OpenError::InvalidName { .. })));
        assert!(matches!(PlainFile::open(&ours, 0o600), Err(OpenError::NotFound { .. })));
    }

    #[test]
    fn a_name_is_taken_once_and_removed_once() {
        let name = Namespace::private().name().to_owned();
        assert!(matches!(PlainFile::create(&name, 0), Err(OpenError::Impossible { .. })));
        let made = PlainFile::create(&format!("/{name}"), 5).unwrap();
        let path = procession_sys::shm_file::path(&name);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(PlainFile::create(&name, 5), Err(OpenError::AlreadyExists { .. })));
        assert!(matches!(PlainFile::open(&name, 0o600), Err(OpenError::WrongMode { found: 0o644, .. })));
        let opened = PlainFile::open(&name, 0o644).unwrap();
        assert!(made.mapping().copy_in(0, b"hello"));
        let mut bytes = [0; 5];
        assert!(opened.mapping().copy_out(0, &mut bytes));
        assert_eq!((&bytes, opened.name(), opened.is_orphaned()), (b"hello", &*name, false));
        opened.unlink().unwrap();
        assert!(made.is_orphaned() && matches!(made.unlink(), Err(OpenError::NotFound { .. })));
    }
}
