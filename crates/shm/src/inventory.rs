//! What is there: the objects of a namespace, or of all, read without attaching to any.

use crate::Segment;
use crate::error::{ObjectName, OpenError};
use crate::header::{self, Header, Kind};
use crate::namespace::{self, Namespace, REGISTRY};
use crate::segment::{self, ATTACH_BYTE};
use crate::spill;
use procession_sys::file_lock;
use procession_sys::shm_file::{self, FileId};
use std::os::unix::fs::MetadataExt;

/// What files count their memory in, whatever their system.
const BLOCK: u64 = 512;

/// One object as `procession ls` shows it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// How many bytes of memory its file takes: whole pages.
    pub bytes: u64,
    /// Whether any process is attached.
    pub attached: bool,
    /// What its header says, or why it cannot be read.
    pub header: Result<Header, String>,
    /// Which file was looked at, if it could be opened: only this one is removed as garbage.
    pub(crate) file: Option<FileId>,
    /// Whether its life was tied to processes or objects, which are gone if nobody is attached.
    goes: bool,
}

impl Entry {
    /// Whether it is the namespace's own table of processes.
    #[must_use]
    pub fn is_registry(&self) -> bool {
        self.name == REGISTRY
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
        namespace::is_unlinked(&self.name)
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
            && headers.is_some_and(|(own, other)| spill::is_home(own, other))
    }
}

/// Every object of this user, in every namespace, registries included.
///
/// # Errors
/// [`OpenError::Os`] when `/dev/shm` cannot be read.
pub fn list_all() -> Result<Vec<Entry>, OpenError> {
    list(&namespace::user_prefix())
}

impl Namespace {
    /// Its objects, the registry included, by name.
    ///
    /// # Errors
    /// [`OpenError::Os`] when `/dev/shm` cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, OpenError> {
        list(&self.prefix())
    }

    /// Removes the name of an object, whatever it is and whoever uses it: they go on with it, and nobody finds it
    /// any more.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::InvalidName`].
    pub fn unlink(&self, name: &str) -> Result<(), OpenError> {
        namespace::check_object_name(name)?;
        segment::unlink(&self.file_name(name), &ObjectName { namespace: self, name }, None)
    }

    #[doc(hidden)]
    pub fn unlink_segment(&self, segment: &Segment) -> Result<(), OpenError> {
        let name = segment.name();
        let object = ObjectName { namespace: self, name };
        segment::unlink(&self.file_name(name), &object, Some(segment.file()))
    }
}

pub(crate) fn list(prefix: &str) -> Result<Vec<Entry>, OpenError> {
    let names = shm_file::names(prefix).map_err(|source| {
        let (operation, object) = ("list", shm_file::DIRECTORY.to_owned());
        OpenError::Os { operation, object, source }
    })?;
    Ok(names.iter().filter_map(|file| entry(file)).collect())
}

/// The entry for one file; `None` when it is no name of ours, or gone by now.
pub(crate) fn entry(file_name: &str) -> Option<Entry> {
    let (namespace, name) = Namespace::parse_file_name(file_name)?;
    let object = ObjectName { namespace: &namespace, name };
    let (bytes, attached, header, file, goes) = match shm_file::open_read_only(file_name) {
        Ok(file) => {
            let (size, bytes) = file.metadata().map_or((0, 0), |meta| (meta.len(), meta.blocks() * BLOCK));
            let page = segment::read_page(&file, size, &object);
            // Who retired it was killed before it had removed the name.
            let retired = page.as_ref().is_ok_and(header::is_retired);
            let header =
                page.and_then(|page| header::parse(&page, size, &object)).map_err(|error| error.to_string());
            let attached = file_lock::is_locked(&file, ATTACH_BYTE).unwrap_or(true);
            let goes = |header: &Header| match header.kind {
                Kind::SPILL => !attached && spill::is_lost(&namespace, header, &file),
                _ => header.ephemeral || retired || namespace::is_unlinked(name),
            };
            let goes = header.as_ref().is_ok_and(goes);
            (bytes, attached, header, shm_file::identity(&file).ok(), goes)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => (0, true, Err(error.to_string()), None, false),
    };
    let name = name.to_owned();
    Some(Entry { namespace, name, bytes, attached, header, file, goes })
}
