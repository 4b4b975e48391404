//! Spills: messages too large for the ring of their object, each in a segment of its own.
//!
//! In the ring lies a reference to the spill; in the spill's header stands to which object, its home, it
//! belongs, and where in that object's body the two marks are between which references count.
//!
//! | the spill is | because | and goes |
//! |---|---|---|
//! | being made | its maker is attached, `place` is 0 | with its maker, or garbage if that dies |
//! | in its home | `place` says at which word of the ring the reference lies, and that is between the marks | – |
//! | taken | the home's `head` has passed its place | by whoever moved `head`, who is attached; garbage if that one dies |
//! | lost | its home is removed, and nobody has that any more | garbage |
//!
//! Nobody is attached to what is in its home: it needs nobody alive. Garbage is what nobody is attached to
//! and is not in its home ([`is_lost`](crate::lost::is_lost)); that can never change again, so the verdict
//! may be late, and never wrong.
//!
//! A home that is unlinked while it is in use keeps a name that nobody opens, so that it can be asked about
//! its marks: see `segment.rs`.
//!
//! # Orderings
//! Edge `segment.spilled` (`segment.rs`) covers the word that says that an object spills. Edge
//! `spill.placed`: the Release of the place is seen by whoever sees the home's mark behind it, which is
//! stored later.
//!
//! # If a process dies
//! | killed | left behind |
//! |---|---|
//! | making it, before its name | nothing |
//! | with its name, before the reference is committed | garbage |
//! | after that | the message |
//! | opening it | the message |
//! | after `head` has passed it | garbage: the message went with its taker |

use crate::attached::Segment;
use crate::error::OpenError;
use crate::found;
use crate::header::{Element, HEADER_LEN, Parameter, Shape};
use crate::instance::InstanceId;
use crate::kind::Kind;
use crate::label::ObjectName;
use crate::lost::{PLACED, home_of};
use crate::namespace;
use crate::registry::Registration;
use crate::segment::{self, Attachment, Orphans};
use crate::structure::UNKNOWN;
use procession_sys::shm_file::FileId;
use procession_sys::{Mapping, crash_point, fork, random};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Where the bytes begin, behind `place`.
const DATA_OFFSET: usize = HEADER_LEN + 64;

/// Where in an object's body its two marks are: words whose low halves say at which word of the ring the
/// references begin that count, and where they end.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// Where they begin.
    pub head: u32,
    /// Where they end.
    pub tail: u32,
}

/// A reference to a spill: it lies in the ring instead of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    number: u64,
    instance: InstanceId,
    /// How long the message is.
    pub len: u64,
}

impl Reference {
    /// How many bytes it takes.
    pub const LEN: usize = 32;

    /// The reference as it lies in the ring.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [low, high] = self.instance.to_words();
        let mut bytes = [0; Self::LEN];
        for (place, word) in bytes.chunks_exact_mut(8).zip([self.number, low, high, self.len]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads a reference that [`to_bytes`](Self::to_bytes) wrote.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        }
        let [number, low, high, len] = words;
        Self { number, instance: InstanceId::from_words([low, high]), len }
    }
}

/// A message in a segment of its own, attached.
///
/// One that was made is removed when it is dropped, until [`stay`](Self::stay); one that was opened stays,
/// until [`go`](Self::go).
#[derive(Debug)]
pub struct Spill {
    mapping: Mapping,
    reference: Reference,
    removal: SpillRemoval,
}

/// After the mapping: removes the file, unless it stays.
#[derive(Debug)]
struct SpillRemoval {
    registration: &'static Registration,
    name: String,
    instance: InstanceId,
    file: FileId,
    goes: bool,
    cookie: u64,
}

impl Spill {
    /// Makes one of `len` bytes for a message of `home`, which is written where it lies.
    ///
    /// # Errors
    /// [`OpenError::NoSpace`]; `OtherUser` and `Elsewhere` when no other user of the object would find it;
    /// and whatever else creating a file can meet.
    pub fn create(home: &Segment, marks: Marks, len: usize) -> Result<Self, OpenError> {
        Self::make(home, marks, len, 0, |_| Ok(()))
    }

    /// Makes one of `payload`. The kernel writes it, into pages that it need not zero first, and without a
    /// page fault for each.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_of(home: &Segment, marks: Marks, payload: &[u8]) -> Result<Self, OpenError> {
        let len = payload.len();
        Self::make(home, marks, len, len as u64, |file| file.write_all_at(payload, DATA_OFFSET as u64))
    }

    /// Makes one of `len` bytes, the last `later` of which have no memory before `fill` writes them.
    fn make(
        home: &Segment,
        marks: Marks,
        len: usize,
        later: u64,
        fill: impl FnOnce(&std::fs::File) -> std::io::Result<()>,
    ) -> Result<Self, OpenError> {
        let number = random::nonzero_u64();
        let name = namespace::spill_name(home.header().instance, number);
        let object = ObjectName { kind: Some(Kind::SPILL), namespace: home.namespace(), name: &name };
        home.registration().must_be_here(&object)?;
        let [low, high] = home.header().instance.to_words();
        let marks = u64::from(marks.head) | u64::from(marks.tail) << 32;
        let parameter = |value| Parameter { value, ..Parameter::default() };
        let shape = Shape {
            kind: Kind::SPILL,
            body_len: ((DATA_OFFSET - HEADER_LEN) as u64).saturating_add(len as u64),
            parameters: [low, high, marks, 0].map(parameter),
            element: Some(Element {
                tag: Some(home.name().to_owned()),
                type_name: "",
                structure: UNKNOWN.into(),
            }),
            codec: home.header().codec,
        };
        let registry = home.registration().instance();
        // Before it has a name: who removes the object and finds 0 there has nothing to look for.
        // SYNC: segment.spilled.
        segment::spilled(home.mapping()).store(1, Ordering::Release);
        let made = home.registration().roll().entering(&name, |enter| {
            segment::create_file(&object, &shape, later, false, registry, &mut Orphans::default(), enter)
        })?;
        let filled = fill(&made.file.handle)
            .map_err(|source| OpenError::no_space("reserve", &object, len as u64, source));
        // If it was not filled, it goes.
        let made = Self::attached(made, number, len as u64, home, name.clone(), true);
        filled.map(|()| made)
    }

    /// Opens the one that a reference in the ring of `home` is to.
    ///
    /// # Errors
    /// [`OpenError::Gone`] when somebody removed it, `OtherUser` and `Elsewhere` when this process cannot
    /// find it, `Corrupt` when it is another than it should be, and whatever else opening a file can meet.
    pub fn open(home: &Segment, reference: Reference) -> Result<Self, OpenError> {
        let name = namespace::spill_name(home.header().instance, reference.number);
        let object = ObjectName { kind: Some(Kind::SPILL), namespace: home.namespace(), name: &name };
        home.registration().must_be_here(&object)?;
        let gone = || OpenError::Gone { object: object.label() };
        let shape = Shape {
            kind: Kind::SPILL,
            body_len: 0,
            parameters: [Parameter::default(); 4],
            element: None,
            codec: home.header().codec,
        };
        let found = match segment::open_file(&object, &shape, &mut Orphans::default()) {
            Err(OpenError::NotFound { .. }) => return Err(gone()),
            found => found?,
        };
        let room = found.header.size.saturating_sub(DATA_OFFSET as u64);
        if found.header.instance != reference.instance {
            return Err(gone());
        }
        if room < reference.len || home_of(&found.header) != home.header().instance {
            return Err(OpenError::Corrupt {
                object: object.label(),
                what: "it holds another message's bytes",
            });
        }
        Ok(Self::attached(found, reference.number, reference.len, home, name, false))
    }

    fn attached(
        attachment: Attachment,
        number: u64,
        len: u64,
        home: &Segment,
        name: String,
        goes: bool,
    ) -> Self {
        let Attachment { file, mapping, header } = attachment;
        let reference = Reference { number, instance: header.instance, len };
        let (registration, instance) = (home.registration(), header.instance);
        let removal =
            SpillRemoval { registration, name, instance, file: file.id, goes, cookie: fork::cookie() };
        Self { mapping, reference, removal }
    }

    /// The reference that is to lie in the ring.
    #[must_use]
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// How long the message is.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.reference.len).unwrap_or(usize::MAX)
    }

    /// Whether the message is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reference.len == 0
    }

    /// Makes the message shorter.
    pub fn truncate(&mut self, len: usize) {
        self.reference.len = self.reference.len.min(len as u64);
    }

    /// Says at which word of the home's ring the reference is about to lie. From then on it is in its home if
    /// the marks say so.
    pub fn place(&self, word: u32) {
        if let Some(place) = place(&self.mapping) {
            // Before the home's mark moves past it, which publishes this.
            // SYNC: spill.placed.
            place.store(PLACED | u64::from(word), Ordering::Release);
        }
        crash_point("spill.placed");
    }

    /// Lets it stay when it is dropped: the reference is committed.
    pub fn stay(&mut self) {
        self.removal.goes = false;
    }

    /// Lets it go when it is dropped: the reference was taken.
    pub fn go(&mut self) {
        self.removal.goes = true;
    }

    /// Copies bytes into the message, `offset` bytes from its beginning; `false` if they would reach past its
    /// end.
    #[must_use]
    pub fn copy_in(&self, offset: usize, from: &[u8]) -> bool {
        self.mapping.copy_in(DATA_OFFSET.saturating_add(offset), from)
    }

    /// Copies bytes out of the message, `offset` bytes from its beginning; `false` if they would reach past
    /// its end.
    #[must_use]
    pub fn copy_out(&self, offset: usize, to: &mut [u8]) -> bool {
        self.mapping.copy_out(DATA_OFFSET.saturating_add(offset), to)
    }

    /// Copies all of the message out; `false` if it is not as long as `to`. As long as the file has its name,
    /// the kernel copies: that spares a page fault for each page.
    #[must_use]
    pub fn read(&self, to: &mut [u8]) -> bool {
        let name = self.removal.registration.namespace().file_name(&self.removal.name);
        match found::open(&name) {
            Ok(file) if file.id == self.removal.file => {
                file.handle.read_exact_at(to, DATA_OFFSET as u64).is_ok()
            }
            _ => self.copy_out(0, to),
        }
    }

    /// The first `len` bytes of it, or `None` if there are not so many.
    #[must_use]
    pub fn bytes(&self, len: usize) -> Option<&[AtomicU8]> {
        self.mapping.slice(DATA_OFFSET, len)
    }
}

impl Drop for SpillRemoval {
    fn drop(&mut self) {
        // A forked child only inherited it.
        if self.goes && self.cookie == fork::cookie() {
            // Others may look at it still. Failure leaves it to the next process that looks.
            if segment::remove_name(&self.registration.namespace().file_name(&self.name), self.file) {
                self.registration.roll().strike(&self.name, self.instance.low());
            }
        }
    }
}

fn place(mapping: &Mapping) -> Option<&AtomicU64> {
    mapping.at(HEADER_LEN)
}

#[cfg(test)]
mod tests {
    use super::Reference;
    use crate::instance::InstanceId;

    #[test]
    fn a_reference_comes_back_from_its_bytes() {
        let reference =
            Reference { number: 7, instance: InstanceId::from_words([1, u64::MAX]), len: 1 << 40 };
        assert_eq!(Reference::from_bytes(reference.to_bytes()), reference);
    }
}
