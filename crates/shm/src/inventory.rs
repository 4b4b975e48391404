//! The inventory: the objects of a namespace, or of all namespaces, read without attaching to any.

use crate::error::OpenError;
use crate::found::{self, Found, Refusal};
use crate::header::{self, Header};
use crate::kind::Kind;
use crate::label::{Label, ObjectName};
use crate::lost;
use crate::namespace::{self, Namespace, Origin};
use crate::segment::{self, ATTACH_BYTE};
use procession_sys::file_lock;
use procession_sys::shm_file::{self, FileId};
use std::os::unix::fs::MetadataExt;

/// The unit in which files count their memory, whatever the file system.
const BLOCK: u64 = 512;

/// An object as `procession ls` shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The object's namespace.
    pub namespace: Namespace,
    /// The object's name.
    pub name: String,
    /// How many bytes of memory its file takes: whole pages.
    pub bytes: u64,
    /// Whether any process is attached.
    pub attached: bool,
    /// The object's header, or why it cannot be read.
    pub header: Result<Header, String>,
    /// Which file was looked at, if it could be opened: only this one is removed as garbage.
    pub(crate) file: Option<FileId>,
    /// Whether its life was tied to processes or objects, which are gone if nobody is attached.
    pub(crate) goes: bool,
    /// Whether it may be an object of this user's, and does not only stand in the place of one.
    pub(crate) ours: bool,
}

impl Entry {
    /// Whether it is the namespace's own table of processes.
    #[must_use]
    pub fn is_registry(&self) -> bool {
        namespace::origin(&self.name) == Origin::Registry
    }

    /// Keeps everybody from attaching to it, if nobody is attached.
    pub(crate) fn hold_alone(&self) -> Option<segment::Alone> {
        segment::Alone::hold(&self.namespace, &self.name, self.file?)
    }

    /// Whether nobody can use it again: its life was tied to processes, or to an object, that are gone.
    #[must_use]
    pub fn is_garbage(&self) -> bool {
        !self.attached && !self.is_registry() && self.goes
    }

    /// Whether it was unlinked, and is kept by those who use it: nobody else finds it.
    #[must_use]
    pub fn is_unlinked(&self) -> bool {
        matches!(namespace::origin(&self.name), Origin::Unlinked { .. })
    }

    /// Whether it is a message of an object that is larger than the object.
    #[must_use]
    pub fn is_spill(&self) -> bool {
        self.header.as_ref().is_ok_and(|header| header.kind == Kind::SPILL)
    }

    /// Whether it is such a message of this object.
    pub(crate) fn is_spill_of(&self, home: &Self) -> bool {
        let headers = self.header.as_ref().ok().zip(home.header.as_ref().ok());
        self.is_spill()
            && self.namespace == home.namespace
            && headers.is_some_and(|(own, other)| lost::is_home(own, other))
    }
}

/// Every object of this user, in every namespace, registries included.
///
/// # Errors
/// [`OpenError::Os`] when `/dev/shm` cannot be read; [`OpenError::InvalidName`] for a `PROCESSION_PREFIX`
/// that is none.
pub fn list_all() -> Result<Vec<Entry>, OpenError> {
    namespace::check_prefix()?;
    list(&namespace::user_prefix())
}

impl Namespace {
    /// The objects of the namespace, the registry included, by name.
    ///
    /// # Errors
    /// [`OpenError::Os`] when `/dev/shm` cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, OpenError> {
        list(&self.prefix())
    }

    /// Whether anybody has ever registered in the namespace, and it was not removed since.
    #[must_use]
    pub fn has_registry(&self) -> bool {
        entry_in(self, namespace::REGISTRY).is_some()
    }

    /// The object of that name.
    ///
    /// # Errors
    /// [`OpenError::NotFound`]; [`OpenError::InvalidName`] for what can be no name of an object.
    pub fn entry(&self, name: &str) -> Result<Entry, OpenError> {
        namespace::check_object_name(name)?;
        let object = ObjectName { kind: None, namespace: self, name };
        entry_in(self, name).ok_or_else(|| OpenError::NotFound { object: object.label() })
    }
}

pub(crate) fn list(prefix: &str) -> Result<Vec<Entry>, OpenError> {
    let names = shm_file::names(prefix).map_err(|source| {
        let (operation, object) = ("list", Label::of_directory());
        OpenError::Os { operation, object, source }
    })?;
    Ok(names.iter().filter_map(|file| entry(file)).collect())
}

/// The entry for one file; `None` when it is no name of ours, or gone by now.
pub(crate) fn entry(file_name: &str) -> Option<Entry> {
    let (namespace, name) = Namespace::parse_file_name(file_name)?;
    entry_in(&namespace, name)
}

/// The entry for the file of that name in the namespace, whoever this process is by now; `None` when it is
/// gone.
pub(crate) fn entry_in(namespace: &Namespace, name: &str) -> Option<Entry> {
    let object = ObjectName { kind: None, namespace, name };
    let (file_name, namespace) = (&*object.file_name(), namespace.clone());
    let found = match found::look_at_own(file_name) {
        Ok(found) => found,
        Err(Refusal::Missing) => return None,
        Err(refusal) => {
            let ours = !refusal.means_nothing_of_ours();
            let header = Err(refusal.into_error(object.label(), file_name).to_string());
            let name = name.to_owned();
            return Some(Entry {
                namespace,
                name,
                bytes: 0,
                attached: ours,
                header,
                file: None,
                goes: false,
                ours,
            });
        }
    };
    let Found { file, meta } = &found;
    let page = segment::read_page(&file.handle, meta.len(), &object);
    // Who retired it was killed before it had removed the name.
    let retired = page.as_ref().is_ok_and(header::is_retired);
    let header = page
        .and_then(|page| header::parse(&page, meta.len(), &object))
        .and_then(|header| if has_come_by(name, &header) { Ok(header) } else { Err(misnamed(&object)) });
    let attached = file_lock::is_locked(&file.handle, ATTACH_BYTE).unwrap_or(true);
    let goes = |header: &Header| match header.kind {
        Kind::SPILL => !attached && lost::is_lost(&namespace, header, &file.handle),
        _ => header.ephemeral || retired,
    };
    // What others may have changed is removed by nobody but its owner, who says so.
    let refused = found.must_be_private(shm_file::PRIVATE_MODE).err();
    let goes = refused.is_none() && header.as_ref().is_ok_and(goes);
    let refused = refused.map(|refusal| refusal.into_error(object.label(), file_name));
    let header = header.and_then(|header| refused.map_or(Ok(header), Err)).map_err(|error| error.to_string());
    let (name, bytes, file) = (name.to_owned(), meta.blocks() * BLOCK, Some(file.id));
    Some(Entry { namespace, name, bytes, attached, header, file, goes, ours: true })
}

/// Whether an object of this header can have got this name from the library. A link to another object, which
/// somebody gave such a name, has not.
fn has_come_by(name: &str, header: &Header) -> bool {
    match namespace::origin(name) {
        Origin::User => ![Kind::REGISTRY, Kind::SPILL].contains(&header.kind),
        Origin::Registry => header.kind == Kind::REGISTRY,
        Origin::Anonymous => header.ephemeral,
        Origin::Spill { home } => header.kind == Kind::SPILL && lost::home_of(header).low() == home,
        Origin::Unlinked { object } => header.instance.low() == object,
        Origin::Unknown => false,
    }
}

fn misnamed(object: &ObjectName<'_>) -> OpenError {
    OpenError::Corrupt { object: object.label(), what: "it has a name that was made for another object" }
}
