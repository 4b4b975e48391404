//! Whether a [spill](crate::spill) is still in its home: asked of the bytes of both, by who is attached to
//! neither.

use crate::error::OpenError;
use crate::found::{self, File, Found};
use crate::header::{self, HEADER_LEN, Header};
use crate::instance::InstanceId;
use crate::label::ObjectName;
use crate::namespace::{self, Namespace};
use crate::segment;
use procession_sys::shm_file;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{Ordering, fence};

/// How often marks that are moving are read before they are given up until next time.
const READS: usize = 16;
/// The bit of a spill's `place` that says that it has one.
pub(crate) const PLACED: u64 = 1 << 63;

/// Which object a spill belongs to.
pub(crate) fn home_of(header: &Header) -> InstanceId {
    InstanceId::from_words([header.parameters[0], header.parameters[1]])
}

/// Whether a spill of this header belongs to an object of that one.
pub(crate) fn is_home(spill: &Header, home: &Header) -> bool {
    home_of(spill) == home.instance
}

/// Whether a spill that nobody is attached to is in no object any more: its file is open, and this is its
/// header.
pub(crate) fn is_lost(namespace: &Namespace, spill: &Header, file: &std::fs::File) -> bool {
    let mut place = [0; 8];
    if file.read_exact_at(&mut place, HEADER_LEN as u64).is_err() {
        return false;
    }
    // Its maker is gone: this is what it said last, if it said anything.
    let place = u64::from_le_bytes(place);
    let home = home_of(spill);
    if !namespace::is_possible(&spill.element) {
        return false;
    }
    for name in [spill.element.clone(), namespace::unlinked_name(home)] {
        match marks_of(namespace, &name, home, spill.parameters[2]) {
            Home::Elsewhere => {}
            Home::Unknown => return false,
            Home::Here { head, tail } => {
                let at = (place as u32).wrapping_sub(head);
                return place & PLACED == 0 || at >= tail.wrapping_sub(head);
            }
        }
    }
    true
}

enum Home {
    /// The object is not under this name.
    Elsewhere,
    /// The object cannot be looked at.
    Unknown,
    /// The object has this name, and these are its marks.
    Here { head: u32, tail: u32 },
}

/// The marks of the object `home` called `name`, if that is what has the name. Its bytes are read, and never
/// mapped: nobody here is attached to it, so nobody keeps it from being cut.
fn marks_of(namespace: &Namespace, name: &str, home: InstanceId, marks: u64) -> Home {
    let Found { file, meta } = match found::look_at_own(&namespace.file_name(name)) {
        Ok(found) if found.must_be_private(shm_file::PRIVATE_MODE).is_ok() => found,
        Err(refusal) if refusal.means_nothing_of_ours() => return Home::Elsewhere,
        _ => return Home::Unknown,
    };
    let object = ObjectName { kind: None, namespace, name };
    let page = segment::read_page(&file.handle, meta.len(), &object);
    match page.and_then(|page| header::parse(&page, meta.len(), &object)) {
        Err(OpenError::Os { .. }) => return Home::Unknown,
        // Replaced by what is no object at all, or by another one.
        Err(_) => return Home::Elsewhere,
        Ok(found) if found.instance != home => return Home::Elsewhere,
        Ok(_) => {}
    }
    read_marks(&file, marks).map_or(Home::Unknown, |(head, tail)| Home::Here { head, tail })
}

/// The marks of an object that others may be moving, or `None` while they move too fast.
fn read_marks(file: &File, marks: u64) -> Option<(u32, u32)> {
    let mark = |offset: u32| {
        let mut bytes = [0; 8];
        file.handle.read_exact_at(&mut bytes, HEADER_LEN as u64 + u64::from(offset)).ok()?;
        // Keeps the reads of the two marks, and of the two rounds, in their order.
        // SYNC: spill.placed.
        fence(Ordering::SeqCst);
        Some(u64::from_le_bytes(bytes) as u32)
    };
    let both = || Some((mark(marks as u32)?, mark((marks >> 32) as u32)?));
    // A copy of bytes that others store meanwhile may be half of each store. Marks only grow: what is read
    // twice has stood there from the first time to the second, and the two have been true together.
    let read_twice = || both().filter(|&found| both() == Some(found));
    (0..READS).find_map(|_| read_twice())
}
