//! A segment that this process is attached to, how it is named to other processes, and how it loses its name.

use crate::carry::carry;
use crate::error::OpenError;
use crate::found;
use crate::gc;
use crate::header::{self, Element, Header};
use crate::instance::InstanceId;
use crate::inventory::Entry;
use crate::label::{Label, ObjectName};
use crate::namespace::{self, Namespace};
use crate::registry::{self, Registration};
use crate::segment::{self, Attachment};
use procession_sys::errno::ENOSPC;
use procession_sys::shm_file::{self, FileId};
use procession_sys::{Mapping, fork};
use std::fmt;
use std::fs::Metadata;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An attached segment; clones share the attachment. When the last clone in the last process of an ephemeral
/// object is dropped, the object is removed.
#[derive(Clone)]
pub struct Segment(Arc<Inner>);

struct Inner {
    mapping: Mapping,
    header: Header,
    registration: &'static Registration,
    label: Label,
    file: FileId,
    file_name: String,
    /// After the mapping, because fields are dropped in order: only then is this process not attached any
    /// more. `None` if it never was, and only looks.
    removal: Option<RemovalAtLastUse>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(removal) = &mut self.removal else { return };
        // SYNC: segment.retired; segment.spilled.
        removal.unlinked = segment::state(&self.mapping).load(Ordering::Acquire) == header::RETIRED;
        removal.has_spilled = segment::spilled(&self.mapping).load(Ordering::Acquire) != 0;
    }
}

/// Removes what goes with its last user, when that has let it go: an ephemeral object, and what an unlinked
/// one left.
struct RemovalAtLastUse {
    registration: &'static Registration,
    /// Its name in `/dev/shm` when it was attached.
    file_name: String,
    file: FileId,
    ephemeral: bool,
    /// Whether its name was taken away while this process used it; read from the mapping at the end.
    unlinked: bool,
    /// Whether anything was ever spilled for it; read from the mapping at the end.
    has_spilled: bool,
    instance: InstanceId,
    /// Whether it is one that keeps a name when it is unlinked.
    is_asked_about: bool,
    /// Of the process that attached it: a forked child has another.
    cookie: u64,
}

impl Drop for RemovalAtLastUse {
    fn drop(&mut self) {
        // A forked child only inherited the segment: it never removes what its parent uses.
        if !(self.ephemeral || self.unlinked) || self.cookie != fork::cookie() {
            return;
        }
        let namespace = self.registration.namespace();
        // Failure leaves all of it to the next process that looks.
        let collect = |name: &str| segment::collect(name, self.file, namespace).unwrap_or(false);
        let unlinked = || namespace.file_name(&namespace::unlinked_name(self.instance));
        let gone = self.ephemeral && collect(&self.file_name)
            || self.unlinked && self.is_asked_about && collect(&unlinked());
        let roll = self.registration.roll();
        if gone && let Some(name) = self.file_name.strip_prefix(&namespace.prefix()) {
            roll.strike(name, self.instance.low());
        }
        if gone && self.has_spilled && self.is_asked_about {
            gc::sweep_spills(namespace, Some(roll), self.instance);
        }
    }
}

impl Segment {
    /// The segment of the object called `name`, which was just created or opened.
    pub(crate) fn new(attachment: Attachment, registration: &'static Registration, name: &str) -> Self {
        let Attachment { file, mapping, header } = attachment;
        let file_name = registration.namespace().file_name(name);
        let removal = RemovalAtLastUse {
            registration,
            file_name: file_name.clone(),
            file: file.id,
            ephemeral: header.ephemeral,
            unlinked: false,
            has_spilled: false,
            instance: header.instance,
            is_asked_about: header.kind.is_asked_about(),
            cookie: fork::cookie(),
        };
        let label = Label::new(header.kind, name, registration.namespace());
        // The descriptor closes here; the mapping keeps the attach byte.
        drop(file.handle);
        let (file, removal) = (file.id, Some(removal));
        Self(Arc::new(Inner { mapping, header, registration, label, file, file_name, removal }))
    }

    /// What an entry of the inventory means, to be looked at and not used: this process does not attach, and what
    /// it would store there is its own. `None` if it is gone or cannot be read, or is of another registry's time.
    pub(crate) fn view(entry: &Entry) -> Option<Self> {
        let header = entry.header.as_ref().ok()?.clone();
        let file_name = entry.namespace.file_name(&entry.name);
        let found = found::look_at_own(&file_name).ok().filter(|found| Some(found.file.id) == entry.file)?;
        let mapping = Mapping::view_of(&found.file.handle, usize::try_from(found.meta.len()).ok()?).ok()?;
        let registration = registry::register(&entry.namespace).ok()?;
        let label = Label::new(header.kind, &entry.name, registration.namespace());
        let (file, removal) = (found.file.id, None);
        let view = Self(Arc::new(Inner { mapping, header, registration, label, file, file_name, removal }));
        view.is_of_its_registry().then_some(view)
    }

    /// Lets a view show what the object is in now; whether it is still the one that has the name.
    pub(crate) fn renew_view(&self) -> bool {
        let len = self.0.mapping.len() as u64;
        // What was cut behind our back is not read: it would be the end of this process.
        let is_as_long = |meta: &Metadata| FileId::from(meta) == self.0.file && meta.len() == len;
        std::fs::symlink_metadata(shm_file::path(&self.0.file_name)).is_ok_and(|meta| is_as_long(&meta))
            && self.0.mapping.renew().is_ok()
            && self.is_of_its_registry()
    }

    /// Whether its owners are of the registry in which this process is: those of another one mean nobody there.
    fn is_of_its_registry(&self) -> bool {
        // SYNC: segment.adopted.
        segment::registry_word(&self.0.mapping).load(Ordering::Acquire) == self.0.registration.instance()
    }

    /// The whole mapping, header included.
    #[inline]
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.0.mapping
    }

    /// The header, as it was when the segment was attached.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// This process in the segment's namespace.
    #[inline]
    #[must_use]
    pub fn registration(&self) -> &'static Registration {
        self.0.registration
    }

    /// The object's name; the library's own for an anonymous one.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.label.name()
    }

    /// The namespace it lies in.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        self.0.registration.namespace()
    }

    /// The name and the kind by which people know it: for errors.
    #[must_use]
    pub fn label(&self) -> Label {
        self.0.label.clone()
    }

    /// The error for nonsense found in the segment.
    #[must_use]
    pub fn corrupt(&self, what: &'static str) -> OpenError {
        OpenError::Corrupt { object: self.label(), what }
    }

    /// Whether its elements are made of what the caller's are, as far as that is known.
    ///
    /// # Errors
    /// [`OpenError::Structure`].
    pub fn must_hold(&self, element: &Element) -> Result<(), OpenError> {
        self.header().must_hold(element, || self.label())
    }

    /// Reserves memory as [`Shared::reserve`](crate::Shared::reserve) does, from `offset` in the file on.
    pub(crate) fn reserve(&self, offset: usize, len: usize) -> Result<(), OpenError> {
        let object =
            ObjectName { kind: Some(self.header().kind), namespace: self.namespace(), name: self.name() };
        match segment::reserve_later(&object, self.0.file, offset as u64, len as u64) {
            Err(error) if !matches!(error, OpenError::NoSpace { .. }) => {
                // It has lost its name, or this process cannot open it now; who has it goes on with it.
                self.mapping().populate(offset, len).map_err(|source| match source.raw_os_error() {
                    Some(ENOSPC) => OpenError::no_space("reserve", &object, len as u64, source),
                    _ => error,
                })
            }
            reserved => reserved,
        }
    }

    /// Which file it is, whatever its name means by now.
    pub(crate) fn file(&self) -> FileId {
        self.0.file
    }

    /// Whether somebody outside this library removed the file: whoever waits here waits for nobody.
    ///
    /// Not to find its name proves nothing where the names are others': in another root, or under another
    /// mount.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.registration().place().has_lost(&self.0.file_name, self.0.file)
            // A removal by `unlink` is said in the header, and then its users may go on with it.
            // SYNC: segment.retired.
            && segment::state(self.mapping()).load(Ordering::Acquire) == header::LIVE
    }

    /// Whether this process finds the file under its name. If it does not, it finds nothing out about other
    /// names either: it has changed its user, its root or its mounts since.
    #[must_use]
    pub fn is_found(&self) -> bool {
        let named = shm_file::identity_of_name(&self.namespace().file_name(self.name()));
        named.is_ok_and(|id| id == Some(self.0.file))
    }

    /// The handle that is sent in its place: the receiver opens the object again from it.
    ///
    /// Inside [`carrying`](crate::carrying) the segment is kept alive with the message.
    #[must_use]
    pub fn handle(&self) -> Handle {
        carry(Arc::clone(&self.0) as Arc<dyn std::any::Any + Send + Sync>);
        Handle {
            namespace: self.namespace().name().to_owned(),
            user: self.namespace().user(),
            name: self.name().to_owned(),
            instance: self.0.header.instance,
            cell: 0,
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("name", &self.name())
            .field("namespace", &self.namespace().name())
            .finish()
    }
}

/// The name of a [`Handle`] in serde, by which a codec knows a message that names an object.
pub const HANDLE_NAME: &str = "procession::Handle";

/// An object as it crosses to another process: its name, and which object of that name it was.
///
/// A handle pins nothing: if the object is removed before it is opened, that says [`OpenError::Gone`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename = "procession::Handle")]
pub struct Handle {
    pub(crate) namespace: String,
    /// The user whose namespace it is: who sends it may have been another user when the object was made.
    pub(crate) user: u32,
    pub(crate) name: String,
    pub(crate) instance: InstanceId,
    /// Which object of a group it is. The first one of a group, and an object that is in none, are 0: they are told
    /// apart by what is opened.
    pub(crate) cell: u64,
}

impl Namespace {
    /// Removes the name of an object, whatever it is and whoever uses it: they go on with it, and nobody
    /// finds it any more.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::InvalidName`].
    pub fn unlink(&self, name: &str) -> Result<(), OpenError> {
        namespace::check_object_name(name)?;
        let object = ObjectName { kind: None, namespace: self, name };
        gc::sweeping(self, None, |orphans| segment::unlink(&self.file_name(name), &object, None, orphans))
    }

    /// Removes an object that no process is attached to, with all that is in it; `false` if somebody is, or if there
    /// is none. A process that opens it at the same time either keeps it or does not find it.
    ///
    /// ```
    /// use procession::{Lock, Namespace};
    ///
    /// let namespace = Namespace::current()?;
    /// let lock = Lock::create("deploy")?;
    /// assert!(!namespace.unlink_unused("deploy")?);
    /// drop(lock);
    /// assert!(namespace.unlink_unused("deploy")?);
    /// assert!(!namespace.unlink_unused("deploy")?);
    /// # Ok::<(), procession::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenError::InvalidName`]; those of opening an object.
    pub fn unlink_unused(&self, name: &str) -> Result<bool, OpenError> {
        namespace::check_object_name(name)?;
        gc::remove_unused(self, name)
    }

    #[doc(hidden)]
    pub fn unlink_segment(&self, segment: &Segment) -> Result<(), OpenError> {
        let name = segment.name();
        let object = ObjectName { kind: Some(segment.header().kind), namespace: self, name };
        segment.registration().must_be_here(&object)?;
        let (file_name, file) = (self.file_name(name), segment.file());
        let roll = segment.registration().roll();
        gc::sweeping(self, Some(roll), |orphans| segment::unlink(&file_name, &object, Some(file), orphans))
    }
}
