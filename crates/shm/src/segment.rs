//! Segments: shared-memory files that exist whole or not at all.
//!
//! | step of creating | killed here leaves |
//! |---|---|
//! | `O_TMPFILE` in `/dev/shm` | nothing: a file without a name goes with its last descriptor |
//! | `fallocate` of the whole size, but for what is left for later | nothing |
//! | attach byte locked shared, and mapped (the mapping keeps the lock) | nothing |
//! | header and body written | nothing |
//! | `linkat` the name: **the commit** | a whole object; if ephemeral, garbage that the next to look removes |
//!
//! | step of removing garbage | killed here leaves |
//! |---|---|
//! | attach byte locked exclusively: nobody is attached | the object as it was |
//! | header state RETIRED: **the commit** | a name that whoever opens it finishes removing, and then retries |
//! | name lock; the name still means this file; `unlink` | nothing, or as above |
//!
//! | step of unlinking what others may still use | killed here leaves |
//! |---|---|
//! | header state RETIRED: **the commit** | a name that whoever opens it finishes removing, or the collector, once nobody is attached |
//! | name lock, `unlink`; if it is a queue, `rename` to `.unlinked-…` | nothing; or a name that nobody opens, but by which can be found out whether the queue's [spills](crate::spill), and ends of pipes in its messages, are still wanted |
//! | removal of that name, if nobody is attached, else by the last user | nothing |
//!
//! # Orderings
//! Edge `segment.retired`: the Release that retires an object meets the Acquire of whoever finds it retired.
//! Edge `segment.adopted`: the Release of the registry's number, stored when the owners of another registry
//! are forgotten, meets the Acquire of an opener that finds its own registry there. Edge `segment.spilled`:
//! the Release that says that the object spills meets the Acquire of its last user, which looks for what was
//! spilled. What is stored before the name exists needs no ordering: the kernel publishes it.
//!
//! # Invariants
//! 1. A file gets its name once, and loses it only under its own name lock, after the name was seen to mean
//!    it.
//! 2. Whoever uses a segment holds its attach byte shared, by the mapping: it is dropped with the mapping.

use crate::error::OpenError;
use crate::found::{self, File, Found, Refusal};
use crate::header::{self, HEADER_LEN, Header, Page, Shape};
use crate::instance::InstanceId;
use crate::label::ObjectName;
use crate::namespace::{self, Namespace};
use procession_sys::errno::{EISDIR, EOPNOTSUPP};
use procession_sys::file_lock::{self, Share};
use procession_sys::shm_file::{self, FileId};
use procession_sys::{Deadline, Mapping, crash_point};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The byte that everybody attached holds shared.
pub(crate) const ATTACH_BYTE: u64 = 1 << 41;
/// The byte that whoever removes the file's name holds.
const NAME_BYTE: u64 = (1 << 41) + 1;
/// How long an opener waits for a collector that looks at the same file; it holds on for microseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Objects that were removed on the way, and have nobody any more: what they had [spilled](crate::spill) is
/// left to the caller, who knows how to look for it.
#[derive(Debug, Default)]
pub(crate) struct Orphans(pub(crate) Vec<InstanceId>);

/// A file that was created or opened, and its mapping, which holds the attach byte.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) file: File,
    pub(crate) mapping: Mapping,
    pub(crate) header: Header,
}

/// Creates the file and publishes it; [`OpenError::AlreadyExists`] if the name is taken.
pub(crate) fn create_file(
    object: &ObjectName<'_>,
    shape: &Shape,
    later: u64,
    ephemeral: bool,
    registry: u64,
    orphans: &mut Orphans,
    initialise: impl FnOnce(&Mapping),
) -> Result<Attachment, OpenError> {
    let failed = |operation| move |source| OpenError::os(operation, object, source);
    // More than there are numbers for is more than a file can have: it is refused when it is reserved.
    let size = (HEADER_LEN as u64).saturating_add(shape.body_len);
    let handle = shm_file::create_unnamed().map_err(|source| unsupported(object, source))?;
    crash_point("segment.create.unnamed");
    if !shm_file::is_tmpfs(&handle).map_err(failed("look at"))? {
        return Err(OpenError::LifelineUnsupported { namespace: object.namespace.name().to_owned() });
    }
    let reserved = size.saturating_sub(later);
    shm_file::make_long(&handle, size, reserved)
        .map_err(|source| OpenError::no_space("reserve", object, reserved, source))?;
    crash_point("segment.create.reserved");
    let file = File { id: shm_file::identity(&handle).map_err(failed("look at"))?, handle };
    // Before the name exists: a collector that finds the name finds it attached.
    let _: bool = file_lock::try_lock(&file.handle, ATTACH_BYTE, Share::Shared).map_err(failed("attach"))?;
    let mapping = map(&file.handle, size, object)?;
    crash_point("segment.create.attached");
    let page = header::compose(shape, ephemeral, registry);
    let header = header::parse(&page, size, object)?;
    if !mapping.copy_in(0, &page) {
        return Err(OpenError::Corrupt { object: object.label(), what: "it is too short for a header" });
    }
    initialise(&mapping);
    crash_point("segment.create.initialised");
    let name = object.file_name();
    let patience = Deadline::after(PATIENCE);
    while let Err(source) = shm_file::publish(&file.handle, &name) {
        if source.kind() != io::ErrorKind::AlreadyExists {
            return Err(OpenError::os("publish", object, source));
        }
        if !is_free_now(&name, object, orphans)? || patience.has_passed() {
            return Err(OpenError::AlreadyExists { object: object.label() });
        }
        // Whoever else removes it may need a moment.
        std::thread::sleep(Duration::from_micros(50));
    }
    crash_point("segment.create.published");
    Ok(Attachment { file, mapping, header })
}

/// Opens and attaches the file; finishes its removal if it was being removed, and then finds nothing.
pub(crate) fn open_file(
    object: &ObjectName<'_>,
    shape: &Shape,
    orphans: &mut Orphans,
) -> Result<Attachment, OpenError> {
    let name = object.file_name();
    let deadline = Deadline::after(PATIENCE);
    loop {
        let file = found::open(&name).map_err(|refusal| refusal.into_error(object.label(), &name))?;
        if let Some(attachment) = attach(file, &name, object, shape, orphans)? {
            return Ok(attachment);
        }
        if deadline.has_passed() {
            let source = io::Error::from(io::ErrorKind::ResourceBusy);
            return Err(OpenError::os("attach", object, source));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Opens the file of a registry, or creates it if there is none; a lost race ends in opening the winner's.
///
/// One that another build made says who of that build is alive. When nobody is, it is only in the way of this
/// build, and is removed; the objects stay, and whoever opens one of them is told.
pub(crate) fn open_or_create_file(
    object: &ObjectName<'_>,
    shape: &Shape,
    registry: u64,
    initialise: impl Fn(&Mapping),
) -> Result<Attachment, OpenError> {
    let deadline = Deadline::after(PATIENCE);
    // What stands in the way under this name has spilled nothing: it is no queue's.
    let mut orphans = Orphans::default();
    loop {
        match open_file(object, shape, &mut orphans) {
            Err(OpenError::NotFound { .. }) => {}
            Err(error @ (OpenError::Version { .. } | OpenError::Layout { .. })) => {
                if !is_collected(object)? {
                    return Err(error);
                }
            }
            found => return found,
        }
        match create_file(object, shape, 0, false, registry, &mut orphans, &initialise) {
            Err(OpenError::AlreadyExists { .. }) if !deadline.has_passed() => {}
            made => return made,
        }
    }
}

/// Removes what has the object's name if nobody is attached; whether it did, or somebody else has done so.
fn is_collected(object: &ObjectName<'_>) -> Result<bool, OpenError> {
    let name = object.file_name();
    match found::open(&name) {
        Ok(file) => collect(&name, file.id, object.namespace),
        Err(Refusal::Missing) => Ok(true),
        Err(refusal) => Err(refusal.into_error(object.label(), &name)),
    }
}

/// Takes the memory for `len` bytes from `offset` on that the file `id` left for later.
pub(crate) fn reserve_later(
    object: &ObjectName<'_>,
    id: FileId,
    offset: u64,
    len: u64,
) -> Result<(), OpenError> {
    let name = object.file_name();
    let file = found::open(&name).map_err(|refusal| refusal.into_error(object.label(), &name))?;
    if file.id != id {
        return Err(OpenError::Gone { object: object.label() });
    }
    shm_file::reserve(&file.handle, offset, len)
        .map_err(|source| OpenError::no_space("reserve", object, len, source))
}

/// Whether the name, just taken, is free: what had it is gone, or was garbage and is removed now.
///
/// # Errors
/// [`OpenError::WrongOwner`]: nobody can make this user's object while another user has taken its name.
fn is_free_now(name: &str, object: &ObjectName<'_>, orphans: &mut Orphans) -> Result<bool, OpenError> {
    let file = match found::open(name) {
        Ok(file) => file,
        Err(Refusal::Missing) => return Ok(true),
        Err(foreign @ Refusal::Foreign { .. }) => return Err(foreign.into_error(object.label(), name)),
        // Whatever it is, it is no object: it is not ours to remove.
        Err(_) => return Ok(false),
    };
    let mut is_removed = || {
        let size = file.handle.metadata().ok()?.len();
        let page = read_page(&file.handle, size, object).ok()?;
        let header = header::parse(&page, size, object).ok()?;
        finish_removal(&file, name, &page, &header, object, orphans).ok()
    };
    Ok(is_removed().unwrap_or(false))
}

/// Removes an object that nobody can use any more: it is retired, or it is ephemeral and its last user is
/// gone. Whether it was one; then its name is to be looked up again.
fn finish_removal(
    file: &File,
    name: &str,
    page: &Page,
    header: &Header,
    object: &ObjectName<'_>,
    orphans: &mut Orphans,
) -> Result<bool, OpenError> {
    if header::is_retired(page) {
        // False means that somebody else did it.
        let _: bool = remove_retired(file, name, header, object.namespace, orphans);
        return Ok(true);
    }
    let failed = |source| OpenError::os("look at", object, source);
    if header.ephemeral && !file_lock::is_locked(&file.handle, ATTACH_BYTE).map_err(failed)? {
        // Its last user is gone, so it is garbage: this opener is the next process that looks.
        let _: bool = collect(name, file.id, object.namespace)?;
        return Ok(true);
    }
    Ok(false)
}

/// Attaches an open file; `None` if it was being removed, or is looked at by a collector: try again.
fn attach(
    file: File,
    name: &str,
    object: &ObjectName<'_>,
    shape: &Shape,
    orphans: &mut Orphans,
) -> Result<Option<Attachment>, OpenError> {
    let failed = |operation| move |source| OpenError::os(operation, object, source);
    let size = file.handle.metadata().map_err(failed("look at"))?.len();
    let page = read_page(&file.handle, size, object)?;
    let header = header::parse(&page, size, object)?;
    // Garbage is removed before its kind and its parameters are compared: it is no object any more.
    if finish_removal(&file, name, &page, &header, object, orphans)? {
        return Ok(None);
    }
    header.must_fit(shape, object)?;
    if !file_lock::try_lock(&file.handle, ATTACH_BYTE, Share::Shared).map_err(failed("attach"))? {
        // A collector holds it alone for a moment.
        return Ok(None);
    }
    let mapping = map(&file.handle, size, object)?;
    crash_point("segment.open.attached");
    // Retired between the first look and the attachment: nobody may come in any more.
    // SYNC: segment.retired.
    if state(&mapping).load(Ordering::Acquire) != header::LIVE {
        remove_retired(&file, name, &header, object.namespace, orphans);
        return Ok(None);
    }
    if shm_file::identity_of_name(name).map_err(failed("look at"))? != Some(file.id) {
        // The name was removed before we were attached: those who come later would not find us in it.
        return Ok(None);
    }
    Ok(Some(Attachment { file, mapping, header }))
}

/// Removes the file `id` called `name` if nobody is attached; whether it did. Another file that has got the
/// name since somebody found this one to be garbage may be of use: it is left alone.
pub(crate) fn collect(name: &str, id: FileId, namespace: &Namespace) -> Result<bool, OpenError> {
    let (_, short) = Namespace::parse_file_name(name).unwrap_or((namespace.clone(), name));
    let object = ObjectName { kind: None, namespace, name: short };
    let failed = |operation| move |source| OpenError::os(operation, &object, source);
    let handle = match found::open(name) {
        Ok(file) if file.id == id => file.handle,
        Ok(_) | Err(Refusal::Missing) => return Ok(false),
        Err(refusal) => return Err(refusal.into_error(object.label(), name)),
    };
    // A question first: the exclusive lock itself would turn openers away for a moment.
    if file_lock::is_locked(&handle, ATTACH_BYTE).map_err(failed("look at"))?
        || !file_lock::try_lock(&handle, ATTACH_BYTE, Share::Exclusive).map_err(failed("lock"))?
    {
        return Ok(false);
    }
    crash_point("segment.collect.locked");
    let retired = handle.write_all_at(&header::RETIRED.to_le_bytes(), header::STATE_OFFSET as u64);
    crash_point("segment.collect.retired");
    let removed = retired.is_ok() && remove_name(name, id);
    crash_point("segment.collect.unlinked");
    // Explicitly, before close: a forked child may share the description.
    drop(file_lock::unlock(&handle, ATTACH_BYTE));
    Ok(removed)
}

/// A file that nobody is attached to, kept so until this is dropped.
pub(crate) struct Alone {
    handle: std::fs::File,
    namespace: Namespace,
}

impl Alone {
    /// Holds the file `id` called `name` alone, if that is what the name means and nobody is attached.
    pub(crate) fn hold(namespace: &Namespace, name: &str, id: FileId) -> Option<Self> {
        let File { handle, .. } =
            found::open(&namespace.file_name(name)).ok().filter(|file| file.id == id)?;
        let is_alone = file_lock::try_lock(&handle, ATTACH_BYTE, Share::Exclusive).unwrap_or(false);
        is_alone.then(|| Self { handle, namespace: namespace.clone() })
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// All of it, `size` bytes long.
    pub(crate) fn map(&self, size: u64) -> Option<Mapping> {
        Mapping::of_file(&self.handle, usize::try_from(size).ok()?).ok()
    }

    /// Removes it, called `name`.
    pub(crate) fn remove(&self, name: &str) {
        let retired = self.handle.write_all_at(&header::RETIRED.to_le_bytes(), header::STATE_OFFSET as u64);
        crash_point("segment.collect.retired");
        if let (Ok(()), Ok(id)) = (retired, shm_file::identity(&self.handle)) {
            let _: bool = remove_name(&self.namespace.file_name(name), id);
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // Explicitly, before close: a forked child may share the description.
        drop(file_lock::unlock(&self.handle, ATTACH_BYTE));
    }
}

/// Removes the name whoever is attached: they go on with the object, and nobody finds it any more. If a file
/// is `meant`, and the name belongs to another one by now, it stays.
pub(crate) fn unlink(
    name: &str,
    object: &ObjectName<'_>,
    meant: Option<FileId>,
    orphans: &mut Orphans,
) -> Result<(), OpenError> {
    let found = found::open_own(name).map_err(|refusal| refusal.into_error(object.label(), name))?;
    let Found { file, meta } = &found;
    if meant.is_some_and(|meant| meant != file.id) {
        // Somebody made another object of that name since: it is not the one to remove.
        return Err(OpenError::NotFound { object: object.label() });
    }
    let header = || {
        found.must_be_private(0o777).ok()?;
        let page = read_page(&file.handle, meta.len(), object).ok()?;
        header::parse(&page, meta.len(), object).ok()
    };
    let removed = match header() {
        Some(header) => {
            drop(file.handle.write_all_at(&header::RETIRED.to_le_bytes(), header::STATE_OFFSET as u64));
            crash_point("segment.unlink.retired");
            remove_retired(file, name, &header, object.namespace, orphans)
        }
        // Even what is corrupt can be removed, and one of two names; but only an object that has this name
        // alone can be told that it is being removed.
        None => remove_name(name, file.id),
    };
    if removed { Ok(()) } else { Err(OpenError::NotFound { object: object.label() }) }
}

/// Removes the name of a retired object that others may use; whether it did. One that nobody uses becomes an
/// orphan.
fn remove_retired(
    file: &File,
    name: &str,
    header: &Header,
    namespace: &Namespace,
    orphans: &mut Orphans,
) -> bool {
    if !header.kind.is_asked_about() {
        // It can have spilled nothing, and so needs no second name.
        return remove_name(name, file.id);
    }
    let second = namespace.file_name(&namespace::unlinked_name(header.instance));
    let removed = take_name(name, file.id, || shm_file::rename(name, &second));
    // While somebody uses it the second name stays, and the last user removes it.
    if !file_lock::is_locked(&file.handle, ATTACH_BYTE).unwrap_or(true) {
        drop(collect(&second, file.id, namespace));
        if has_spilled(&file.handle) {
            orphans.0.push(header.instance);
        }
    }
    removed
}

/// Whether anything was ever spilled for the object.
fn has_spilled(file: &std::fs::File) -> bool {
    let mut word = [0; 4];
    // SYNC: segment.spilled. Nobody uses it any more, so nobody can say so from now on.
    let read = file.read_exact_at(&mut word, header::SPILLED_OFFSET as u64);
    read.is_err() || word != [0; 4]
}

/// Removes the file `id` called `name`, whoever uses it; whether it did. Unlike [`unlink`] it leaves a queue
/// no second name: nobody is to find out about its spills.
pub(crate) fn retire_and_remove(name: &str, id: FileId) -> bool {
    let Some(file) = found::open(name).ok().filter(|file| file.id == id) else { return false };
    let retired = file.handle.write_all_at(&header::RETIRED.to_le_bytes(), header::STATE_OFFSET as u64);
    crash_point("segment.leave.retired");
    retired.is_ok() && remove_name(name, id)
}

/// Marks a mapped segment as being removed.
pub(crate) fn retire(mapping: &Mapping) {
    // SYNC: segment.retired.
    state(mapping).store(header::RETIRED, Ordering::Release);
}

/// Removes the name if it still means the file `id`; whether it did.
pub(crate) fn remove_name(name: &str, id: FileId) -> bool {
    take_name(name, id, || shm_file::unlink(name))
}

/// Takes the name away from the file `id`, if it still means that; whether it did.
fn take_name(name: &str, id: FileId, take: impl Fn() -> io::Result<()>) -> bool {
    // Others may have it open, or have given it a second name: that is no reason to leave it the first one.
    let Some(Found { file, .. }) = found::open_own(name).ok().filter(|found| found.file.id == id) else {
        return false;
    };
    let patience = Deadline::after(PATIENCE);
    if !file_lock::lock_until(&file.handle, NAME_BYTE, Share::Exclusive, patience).unwrap_or(false) {
        return false;
    }
    crash_point("segment.remove.name_locked");
    // INVARIANT 1: under the file's name lock nobody else removes the name, so it cannot change hands now.
    let is_ours = shm_file::identity_of_name(name).is_ok_and(|found| found == Some(id));
    let removed = is_ours && take().is_ok();
    crash_point("segment.remove.unlinked");
    drop(file_lock::unlock(&file.handle, NAME_BYTE));
    removed
}

/// Whether nobody can come to use the object `instance` under this name any more: the name is nobody's, or
/// another's, or means garbage. What cannot be found out is no.
pub(crate) fn is_lost(namespace: &Namespace, name: &str, instance: InstanceId) -> bool {
    let object = ObjectName { kind: None, namespace, name };
    let handle = match found::open(&object.file_name()) {
        Ok(file) => file.handle,
        Err(refusal) => return refusal.means_nothing_of_ours(),
    };
    let Ok(size) = handle.metadata().map(|meta| meta.len()) else { return false };
    let Ok(page) = read_page(&handle, size, &object) else { return false };
    match header::parse(&page, size, &object) {
        Ok(header) if header.instance == instance => {
            (header.ephemeral || header::is_retired(&page))
                && matches!(file_lock::is_locked(&handle, ATTACH_BYTE), Ok(false))
        }
        // Another object has the name now.
        Ok(_) => true,
        // What is damaged may be the object.
        Err(_) => false,
    }
}

/// The word that says whether the segment is being removed.
pub(crate) fn state(mapping: &Mapping) -> &AtomicU32 {
    static NOWHERE: AtomicU32 = AtomicU32::new(header::RETIRED);
    mapping.at(header::STATE_OFFSET).unwrap_or(&NOWHERE)
}

/// The word that says whether a spill was ever made for the object.
pub(crate) fn spilled(mapping: &Mapping) -> &AtomicU32 {
    static NOWHERE: AtomicU32 = AtomicU32::new(1);
    mapping.at(header::SPILLED_OFFSET).unwrap_or(&NOWHERE)
}

/// The word that says which registry the body's owner ids belong to.
pub(crate) fn registry_word(mapping: &Mapping) -> &AtomicU64 {
    static NOWHERE: AtomicU64 = AtomicU64::new(0);
    mapping.at(header::REGISTRY_OFFSET).unwrap_or(&NOWHERE)
}

/// The header page of an open file, copied out once.
pub(crate) fn read_page(file: &std::fs::File, size: u64, object: &ObjectName<'_>) -> Result<Page, OpenError> {
    let mut page = [0; HEADER_LEN];
    if size == 0 {
        return Err(OpenError::no_object(object));
    }
    let len = usize::try_from(size).unwrap_or(HEADER_LEN).min(HEADER_LEN);
    match file.read_exact_at(&mut page[..len], 0) {
        Ok(()) => Ok(page),
        Err(source) => Err(OpenError::os("read", object, source)),
    }
}

fn map(file: &std::fs::File, size: u64, object: &ObjectName<'_>) -> Result<Mapping, OpenError> {
    let corrupt = || OpenError::Corrupt { object: object.label(), what: "it has an impossible size" };
    let len = usize::try_from(size).map_err(|_| corrupt())?;
    Mapping::of_file(file, len).map_err(|source| OpenError::os("map", object, source))
}

/// A file without a name cannot be made: in `/dev/shm` as it is, or by this process.
fn unsupported(object: &ObjectName<'_>, source: io::Error) -> OpenError {
    match source.raw_os_error() {
        Some(EOPNOTSUPP | EISDIR) => {
            OpenError::LifelineUnsupported { namespace: object.namespace.name().to_owned() }
        }
        _ => OpenError::os("create", object, source),
    }
}
