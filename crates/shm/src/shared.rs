//! A typed view of a segment's body.
#![expect(unsafe_code, reason = "a reference into the mapping that the segment keeps alive")]

use crate::attached::{Handle, Segment};
use crate::error::OpenError;
use crate::header::HEADER_LEN;
use procession_sys::{ShmSafe, cpu};
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A segment whose body begins with a `T`, or has a `T` in it.
///
/// # Invariants
/// `body` points into `segment`'s mapping, aligned, with room for a `T`; the mapping lives as long as
/// `segment`. (Or it points to a `T` that lives for ever: see `part`.)
pub struct Shared<T: ShmSafe> {
    segment: Segment,
    body: NonNull<T>,
}

impl<T: ShmSafe> Shared<T> {
    /// The view, or `None` when the body is too small.
    pub(crate) fn new(segment: &Segment) -> Option<Self> {
        // INVARIANT: `pointer` checks bounds and alignment.
        let body = segment.mapping().pointer(HEADER_LEN)?;
        Some(Self { segment: segment.clone(), body })
    }

    /// The view of the `index`-th of the `T`s of which the body consists, or `None` if it has not so many.
    #[must_use]
    pub fn cell(segment: &Segment, index: usize) -> Option<Self> {
        let offset = index.checked_mul(size_of::<T>())?.checked_add(HEADER_LEN)?;
        // INVARIANT: `pointer` checks bounds and alignment.
        let body = segment.mapping().pointer(offset)?;
        Some(Self { segment: segment.clone(), body })
    }

    /// How many bytes of the segment's body are before this: 0 unless it is a [`cell`](Self::cell).
    #[must_use]
    pub fn offset(&self) -> usize {
        let first = self.segment.mapping().pointer::<T>(HEADER_LEN).map_or(0, |first| first.addr().get());
        self.body.addr().get().wrapping_sub(first)
    }

    /// The object as it crosses to another process.
    #[must_use]
    pub fn handle(&self) -> Handle {
        let handle = self.segment.handle();
        match self.offset() {
            0 => handle,
            offset => Handle { cell: (offset / size_of::<T>()) as u64, ..handle },
        }
    }

    /// A part of the body as a view of its own; offsets in it still count from the beginning of the body.
    #[must_use]
    pub fn part<U: ShmSafe>(&self, part: impl Fn(&T) -> &U + Send + Sync + 'static) -> Shared<U> {
        // INVARIANT: whatever the lifetime, `part` answers a reference that is valid as long as the body, which
        // is in the mapping, or one that is valid for ever.
        Shared { segment: self.segment.clone(), body: NonNull::from(part(self)) }
    }

    /// The segment.
    #[inline]
    #[must_use]
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The `count` values of `U` in the body from `offset` on, or `None` if they would reach past its end.
    #[inline]
    #[must_use]
    pub fn slice<U: ShmSafe>(&self, offset: usize, count: usize) -> Option<&[U]> {
        self.segment.mapping().slice(HEADER_LEN.saturating_add(offset), count)
    }

    /// Takes the memory for the `len` bytes at `offset` in the body that the object left
    /// [for later](crate::Object::later).
    ///
    /// # Errors
    /// [`OpenError::NoSpace`]; before Linux 5.14 also `NotFound` or `Gone` where the file has lost its name, and
    /// whatever else opening a file can meet.
    pub fn reserve(&self, offset: usize, len: usize) -> Result<(), OpenError> {
        self.segment.reserve(HEADER_LEN.saturating_add(offset), len)
    }

    /// Asks for the cache line at `offset` in the body, to write there soon: a hint.
    #[inline]
    pub fn will_write(&self, offset: usize) {
        let word = self.segment.mapping().at::<AtomicU64>(HEADER_LEN.saturating_add(offset));
        word.into_iter().for_each(cpu::will_write);
    }

    /// Asks for the cache line at `offset` in the body, to read there soon: a hint.
    #[inline]
    pub fn will_read(&self, offset: usize) {
        let word = self.segment.mapping().at::<AtomicU64>(HEADER_LEN.saturating_add(offset));
        word.into_iter().for_each(cpu::will_read);
    }

    /// Copies bytes out of the body; `false` if they would reach past its end.
    #[inline]
    #[must_use]
    pub fn copy_out(&self, offset: usize, to: &mut [u8]) -> bool {
        self.segment.mapping().copy_out(HEADER_LEN.saturating_add(offset), to)
    }

    /// Copies bytes into the body; `false` if they would reach past its end.
    #[inline]
    #[must_use]
    pub fn copy_in(&self, offset: usize, from: &[u8]) -> bool {
        self.segment.mapping().copy_in(HEADER_LEN.saturating_add(offset), from)
    }
}

impl<T: ShmSafe> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by the invariant the pointer is valid while `self.segment` lives, which `self` keeps;
        // `ShmSafe` makes any bytes a valid `T` that may change under a shared reference.
        unsafe { self.body.as_ref() }
    }
}

impl<T: ShmSafe> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { segment: self.segment.clone(), body: self.body }
    }
}

impl<T: ShmSafe> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segment.fmt(f)
    }
}

// SAFETY: the pointer is used only for shared access to `ShmSafe` memory, which any thread of any process may
// touch at any time; the segment itself is Send and Sync.
unsafe impl<T: ShmSafe> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: ShmSafe> Sync for Shared<T> {}
