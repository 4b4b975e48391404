//! Named bytes between processes: [`SharedMemory`], an object like the others, and [`PlainMemory`], a file as
//! other programs make them.
//!
//! | | `SharedMemory` | `PlainMemory` |
//! |---|---|---|
//! | in `/dev/shm` | `procession.<uid>.<namespace>.<name>` | the name that was given |
//! | the bytes begin | behind our header, at 4096 | at 0 |
//! | is listed, handed on, collected if ephemeral | yes | no: whoever made it looks after it |
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | creating it | nothing, or all of it under its name | the next process that looks, if it is ephemeral |
//! | writing | some bytes new, some old | nobody: bytes have no lock |

use procession_shm::{
    HEADER_LEN, Kind, Label, Object, OpenError, Parameter, Placement, PlainFile, Segment, Shape, Shared,
};
use procession_sys::Mapping;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// More than an address space has.
const MOST_BYTES: u64 = 1 << 47;

/// Named bytes, as Python's `SharedMemory`, but never removed by a process that only attached to them.
///
/// They live until [`unlink`](Self::unlink), or, if they are ephemeral or anonymous, until the last process
/// that is attached has gone. Any process may read and write them at any time, also in the middle of
/// another's write: **what is read may be torn**, word by word of 8 bytes. Keep a [`Lock`](crate::Lock)
/// beside them, or use a [`Value`](crate::Value) or an [`Array`](crate::Array).
///
/// Other programs open the file [`file_name`](Self::file_name), and find the bytes from
/// [`OFFSET`](Self::OFFSET) on: in Python `SharedMemory(name).buf[4096:]`. With Python before 3.13 the name
/// must be unregistered from its `resource_tracker`, and since then `track=False` be given; or Python removes
/// the name when it exits.
///
/// ```
/// use procession::SharedMemory;
///
/// let frames = SharedMemory::create("frames", 640 * 480)?;
/// let same = SharedMemory::open("frames")?;
/// frames.write_at(100, b"pixels")?;
/// assert_eq!(same.read(100..106)?, b"pixels");
/// assert_eq!(same.size(), 640 * 480);
/// # frames.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    body: Shared<[AtomicU8; 0]>,
    size: usize,
}

/// How a [`SharedMemory`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct SharedMemoryOptions {
    place: Placement,
    settings: SharedMemorySettings,
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SharedMemorySettings {
    size: Option<u64>,
}

impl SharedMemoryOptions {
    /// How many bytes it has, all zero at first, and at least one. Those who open it need not say.
    #[must_use]
    pub fn size(mut self, bytes: usize) -> Self {
        self.settings.size = Some(bytes as u64);
        self
    }
}

procession_shm::object_builders!([] SharedMemoryOptions => SharedMemory, (size: usize));

impl Object for SharedMemory {
    const KIND: Kind = Kind::SHARED_MEMORY;
    type Body = [AtomicU8; 0];
    type Settings = SharedMemorySettings;

    fn check(settings: &SharedMemorySettings) -> Result<(), &'static str> {
        match settings.size {
            Some(0) => Err("shared memory has at least one byte"),
            Some(size) if size > MOST_BYTES => Err("no memory is so large"),
            _ => Ok(()),
        }
    }

    fn check_new(settings: &SharedMemorySettings) -> Result<(), &'static str> {
        settings.size.map(drop).ok_or("nobody said how many bytes it has: call .size()")
    }

    fn shape(settings: &SharedMemorySettings) -> Shape {
        let size = Parameter::said("size", settings.size, 0);
        let body_len = size.value;
        let parameters = [size, Parameter::default(), Parameter::default(), Parameter::default()];
        Shape { kind: Self::KIND, body_len, parameters, element: None, codec: 0 }
    }

    fn forget_owners(_: &Self::Body) {}

    fn attach(body: Shared<Self::Body>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let size = usize::try_from(segment.header().parameters[0]).ok();
        let size = size.filter(|&size| body.slice::<AtomicU8>(0, size).is_some());
        let size = size.ok_or_else(|| segment.corrupt("the body is too small for its bytes"))?;
        Ok(Self { size, body })
    }
}

/// Why bytes were not read or written; then none was.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// There are not so many bytes.
    #[error("bytes {start}..{end} were asked for of {object}, which has {size}")]
    OutOfRange {
        /// Which memory.
        object: Label,
        /// The first byte asked for.
        start: usize,
        /// Behind the last one.
        end: usize,
        /// How many there are.
        size: usize,
    },
}

procession_shm::debug_as_text!(MemoryError);

impl SharedMemory {
    /// Where the bytes begin in the file, for other programs.
    pub const OFFSET: usize = HEADER_LEN;

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The file's name in `/dev/shm`, for other programs.
    #[must_use]
    pub fn file_name(&self) -> String {
        let segment = self.body.segment();
        segment.namespace().file_name(segment.name())
    }

    /// Whether somebody has removed the file, other than by [`unlink`](Self::unlink) or `procession rm`: then
    /// nobody finds it any more.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.body.segment().is_orphaned()
    }

    fn bytes(&self) -> Bytes<'_> {
        let segment = self.body.segment();
        Bytes { of: Memory::Object(segment), mapping: segment.mapping(), start: HEADER_LEN, size: self.size }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("name", &self.body.segment().name())
            .field("size", &self.size)
            .finish()
    }
}

/// A shared-memory file of another program, or for one: its bytes from 0 on, and nothing else.
///
/// It is what Python's `SharedMemory(name)`, the `shared_memory` crate, and `shm_open("/name")` of C make and
/// open. It belongs to no namespace: `procession ls` does not list it, and nobody collects it; it lives until
/// somebody unlinks it. Dropping it only unmaps it. What is read may be torn, as with [`SharedMemory`]. If
/// another program makes the file shorter while it is mapped, touching what was cut off is a SIGBUS.
///
/// ```
/// use procession::PlainMemory;
///
/// let name = procession::Namespace::private().name().to_owned();
/// let ours = PlainMemory::create(&name, 16)?;
/// let theirs = PlainMemory::open(&name)?;
/// ours.write_at(0, b"for Python")?;
/// assert_eq!(theirs.read(4..10)?, b"Python");
/// ours.unlink()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PlainMemory(Arc<PlainFile>);

impl PlainMemory {
    /// Creates the file `/dev/shm/<name>` of `size` zero bytes, of mode 0600. It appears when all of it is
    /// there.
    ///
    /// # Errors
    /// [`OpenError::AlreadyExists`], `NoSpace`; `InvalidName`, also for the names of objects; `Impossible`
    /// for no bytes.
    pub fn create(name: &str, size: usize) -> Result<Self, OpenError> {
        PlainFile::create(name, size).map(|file| Self(Arc::new(file)))
    }

    /// Opens the file `/dev/shm/<name>`, if it is this user's, and nobody else's to open. All its pages are
    /// reserved, so that a full `/dev/shm` is an error now and not a SIGBUS later: also those that its
    /// creator never touched.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], `NotRegularFile`, `WrongOwner`, `WrongMode`, `NoSpace`; `Corrupt` when it is
    /// empty.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Self::open_with_mode(name, 0o600)
    }

    /// Opens the file even if others than this user may, as far as `mode` allows them.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_mode(name: &str, mode: u32) -> Result<Self, OpenError> {
        PlainFile::open(name, mode).map(|file| Self(Arc::new(file)))
    }

    /// The file's name in `/dev/shm`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// How many bytes it has; what Python makes may have more than were asked for.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.mapping().len()
    }

    /// Whether the name was removed, or means another file now.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.0.is_orphaned()
    }

    /// Removes the name, if it still means this file; those who have the file go on with it.
    ///
    /// # Errors
    /// [`OpenError::NotFound`].
    pub fn unlink(&self) -> Result<(), OpenError> {
        self.0.unlink()
    }

    fn bytes(&self) -> Bytes<'_> {
        Bytes { of: Memory::File(&self.0), mapping: self.0.mapping(), start: 0, size: self.size() }
    }
}

/// Gives memory the ways to read and write its bytes, by its `bytes()`.
macro_rules! byte_access {
    ($Memory:ident) => {
        impl $Memory {
            /// Fills `to` with the bytes from `offset` on.
            ///
            /// # Errors
            /// [`MemoryError::OutOfRange`].
            pub fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<(), MemoryError> {
                self.bytes().read_at(offset, to)
            }

            /// The bytes of a range.
            ///
            /// # Errors
            /// [`MemoryError::OutOfRange`].
            pub fn read(&self, range: Range<usize>) -> Result<Vec<u8>, MemoryError> {
                self.bytes().read(range)
            }

            /// Writes `from` at `offset`.
            ///
            /// # Errors
            /// [`MemoryError::OutOfRange`].
            pub fn write_at(&self, offset: usize, from: &[u8]) -> Result<(), MemoryError> {
                self.bytes().write_at(offset, from)
            }

            /// The first byte, for what copies are too slow for. It is valid, for [`size`](Self::size) bytes,
            /// while a clone of `self` lives. Every process may change the bytes at any time: only atomics, or
            /// a protocol between the processes, make it sound to look at them through a reference.
            #[must_use]
            pub fn as_ptr(&self) -> *mut u8 {
                self.bytes().as_ptr()
            }
        }
    };
}

byte_access!(SharedMemory);
byte_access!(PlainMemory);

/// Bytes that others may change at any time: read and written in whole words where they are aligned.
struct Bytes<'a> {
    of: Memory<'a>,
    mapping: &'a Mapping,
    /// A multiple of 8.
    start: usize,
    size: usize,
}

/// Where bytes lie: whose they are is asked only when something is wrong.
enum Memory<'a> {
    Object(&'a Segment),
    File(&'a PlainFile),
}

/// A range of bytes: those before the first whole word, the words, and those behind the last.
type Parts<'a> = (&'a [AtomicU8], &'a [AtomicU64], &'a [AtomicU8]);

impl Bytes<'_> {
    fn read(&self, range: Range<usize>) -> Result<Vec<u8>, MemoryError> {
        let len = range.end.checked_sub(range.start).filter(|_| range.end <= self.size);
        let len = len.ok_or_else(|| self.out_of_range(range.clone()))?;
        let mut bytes = vec![0; len];
        self.read_at(range.start, &mut bytes)?;
        Ok(bytes)
    }

    fn read_at(&self, offset: usize, to: &mut [u8]) -> Result<(), MemoryError> {
        let (before, words, behind) = self.parts(offset, to.len())?;
        let (first, rest) = to.split_at_mut(before.len());
        let (middle, last) = rest.as_chunks_mut::<8>();
        for (byte, to) in before.iter().zip(first).chain(behind.iter().zip(last)) {
            *to = byte.load(Ordering::Relaxed);
        }
        for (word, to) in words.iter().zip(middle) {
            *to = word.load(Ordering::Relaxed).to_le_bytes();
        }
        Ok(())
    }

    fn write_at(&self, offset: usize, from: &[u8]) -> Result<(), MemoryError> {
        let (before, words, behind) = self.parts(offset, from.len())?;
        let (first, rest) = from.split_at(before.len());
        let (middle, last) = rest.as_chunks::<8>();
        for (byte, &from) in before.iter().zip(first).chain(behind.iter().zip(last)) {
            byte.store(from, Ordering::Relaxed);
        }
        for (word, &from) in words.iter().zip(middle) {
            word.store(u64::from_le_bytes(from), Ordering::Relaxed);
        }
        Ok(())
    }

    fn parts(&self, offset: usize, len: usize) -> Result<Parts<'_>, MemoryError> {
        let end = offset.saturating_add(len);
        let fits = end <= self.size && end - offset == len;
        let part = || {
            let start = self.start + offset;
            let before = (start.next_multiple_of(8) - start).min(len);
            let words = (len - before) / 8;
            let behind = start + before + 8 * words;
            Some((
                self.mapping.slice(start, before)?,
                self.mapping.slice(start + before, words).or((words == 0).then_some(&[]))?,
                self.mapping.slice(behind, len - before - 8 * words)?,
            ))
        };
        let parts = if fits { part() } else { None };
        parts.ok_or_else(|| self.out_of_range(offset..end))
    }

    #[cold]
    fn out_of_range(&self, Range { start, end }: Range<usize>) -> MemoryError {
        let object = match self.of {
            Memory::Object(segment) => segment.label(),
            Memory::File(file) => file.label(),
        };
        MemoryError::OutOfRange { object, start, end, size: self.size }
    }

    fn as_ptr(&self) -> *mut u8 {
        let first = self.mapping.pointer::<AtomicU8>(self.start);
        first.map_or(std::ptr::null_mut(), |first| first.as_ptr().cast())
    }
}

#[cfg(test)]
mod tests {
    use super::{MemoryError, PlainMemory, SharedMemory};
    use procession_shm::{Namespace, OpenError};

    fn memory(size: usize) -> SharedMemory {
        SharedMemory::options().namespace(&Namespace::private()).size(size).anonymous().unwrap()
    }

    #[test]
    fn bytes_at_every_alignment_come_back_as_they_went_in() {
        let memory = memory(61);
        for start in 0..20 {
            for end in start..=61 {
                let bytes: Vec<u8> = (start..end).map(|index| index as u8 ^ end as u8).collect();
                memory.write_at(0, &[0xee; 61]).unwrap();
                memory.write_at(start, &bytes).unwrap();
                assert_eq!(memory.read(start..end).unwrap(), bytes);
                let all = memory.read(0..61).unwrap();
                assert!(all[..start].iter().chain(&all[end..]).all(|&byte| byte == 0xee), "{start}..{end}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let memory = memory(10);
        let backwards = std::ops::Range { start: 2, end: 1 };
        for range in [0..11, 11..11, backwards, 5..usize::MAX] {
            let refused = memory.read(range);
            assert!(matches!(refused, Err(MemoryError::OutOfRange { size: 10, .. })), "{refused:?}");
        }
        assert!(memory.read(10..10).unwrap().is_empty());
        assert!(matches!(memory.write_at(8, b"abc"), Err(MemoryError::OutOfRange { start: 8, end: 11, .. })));
        assert!(matches!(memory.write_at(usize::MAX, b"abc"), Err(MemoryError::OutOfRange { .. })));
        let options = || SharedMemory::options().namespace(&Namespace::private());
        for impossible in [options(), options().size(0), options().size(usize::MAX)] {
            assert!(matches!(impossible.anonymous(), Err(OpenError::Impossible { .. })), "{impossible:?}");
        }
        assert!(matches!(options().size(1 << 46).anonymous(), Err(OpenError::NoSpace { .. })));
    }

    #[test]
    fn it_is_opened_by_its_name_alone_and_lives_until_it_is_unlinked() {
        let namespace = Namespace::private();
        let options = || SharedMemory::options().namespace(&namespace);
        let made = options().size(5).create("m").unwrap();
        assert!(matches!(options().size(6).open("m"), Err(OpenError::Parameter { parameter: "size", .. })));
        made.write_at(0, b"hello").unwrap();
        drop(made);
        let opened = options().open("m").unwrap();
        assert_eq!((opened.size(), opened.read(0..5).unwrap()), (5, b"hello".to_vec()));
        // What another program sees.
        let plain = PlainMemory::open(&opened.file_name()).unwrap();
        assert_eq!(plain.size(), SharedMemory::OFFSET + 5);
        assert_eq!(plain.read(SharedMemory::OFFSET..plain.size()).unwrap(), b"hello");
        assert_eq!(opened.as_ptr().addr() % 4096, 0);
        opened.unlink().unwrap();
        assert!(!opened.is_orphaned() && plain.is_orphaned());
        assert!(matches!(options().open("m"), Err(OpenError::NotFound { .. })));
        assert_eq!(opened.read(1..3).unwrap(), b"el");
    }
}
