//! A slot's bytes as slices, for those who can vouch for the other processes.
#![expect(unsafe_code, reason = "a slot's bytes as slices, for those who can vouch for the other processes")]

use super::slots::{ReadSlot, WriteSlot};

impl WriteSlot<'_> {
    /// The bytes that can still be written, as one or two slices. What is in them is arbitrary. Say with
    /// [`advance`](Self::advance) how many were written.
    ///
    /// # Safety
    /// No process but this one may touch these bytes while the slices live. Those that use this library do
    /// not, as long as the slot is held by the process that reserved it, and not by a forked child.
    pub unsafe fn as_mut_slices(&mut self) -> [&mut [u8]; 2] {
        self.unwritten().map(|bytes| {
            // SAFETY: the stretch is mapped as long as the queue is, longer than `self` is borrowed; by the
            // caller's promise nobody else touches it, the two do not overlap, and atomics may be written
            // through their pointer.
            unsafe { std::slice::from_raw_parts_mut(bytes.as_ptr().cast_mut().cast(), bytes.len()) }
        })
    }
}

impl ReadSlot<'_> {
    /// All bytes of the message, as one or two slices.
    ///
    /// # Safety
    /// No process may write these bytes while the slices live. Those that use this library do not, as long as
    /// the slot is held by the process that read it, and not by a forked child.
    pub unsafe fn as_slices(&self) -> [&[u8]; 2] {
        self.all().map(|bytes| {
            // SAFETY: the stretch is mapped as long as the queue is, longer than `self` is borrowed; by the
            // caller's promise nobody writes it.
            unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
        })
    }
}
