//! Permits in somebody's hands.

use super::Semaphore;
use crate::permit_cells;
use procession_shm::OwnerId;
use procession_sys::atomic::AtomicU64;
use std::fmt;

/// Permits, held; dropping it gives them back, and so does the death of this process.
///
/// It may be dropped by another thread. In a forked child the copy of a permit does nothing: the parent has
/// it.
#[must_use = "dropping the permit gives it back at once"]
pub struct Permit<'a> {
    pub(super) semaphore: &'a Semaphore,
    pub(super) me: OwnerId,
    pub(super) cells: CellsHeld<'a>,
}

/// The cells of a permit.
pub(super) enum CellsHeld<'a> {
    /// Almost always: no more is written for it than a pointer.
    One(&'a AtomicU64),
    Several(Vec<&'a AtomicU64>),
}

impl CellsHeld<'_> {
    fn as_slice(&self) -> &[&AtomicU64] {
        match self {
            Self::One(cell) => std::slice::from_ref(cell),
            Self::Several(cells) => cells,
        }
    }
}

impl Permit<'_> {
    /// How many permits it is.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cells.as_slice().len()
    }

    /// Takes the permits out of the semaphore: from now on nobody holds them, and only
    /// [`release`](Semaphore::release) brings as many back, by whomever.
    ///
    /// If this process is killed in the middle of forgetting several, those that it had not come to come back
    /// by themselves.
    pub fn forget(mut self) {
        let cells = std::mem::replace(&mut self.cells, CellsHeld::Several(Vec::new()));
        if self.is_ours() {
            for cell in cells.as_slice() {
                self.semaphore.cells.set_handed(cell, self.me);
            }
        }
    }

    /// Makes the permit own its semaphore: for a struct that keeps both, for another thread, or for a task.
    pub fn into_owned(mut self) -> OwnedPermit {
        let cells = std::mem::replace(&mut self.cells, CellsHeld::Several(Vec::new()));
        let indices = cells.as_slice().iter().filter_map(|cell| self.semaphore.cells.index_of(cell));
        OwnedPermit { cells: indices.collect(), semaphore: self.semaphore.clone(), me: self.me }
    }

    #[inline]
    fn is_ours(&self) -> bool {
        // A forked child is another owner, or none yet: its copy of the permit is inert.
        self.semaphore.myself.owner() == Some(self.me)
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        match &self.cells {
            CellsHeld::One(cell) => permit_cells::free(cell, self.me),
            CellsHeld::Several(cells) => free_several(cells, self.me),
        }
        self.semaphore.cells.notify();
    }
}

/// Permits, held, with the semaphore itself: what [`Permit`] is, for as long as one likes. It can be sent to
/// other threads.
#[must_use = "dropping the permit gives it back at once"]
pub struct OwnedPermit {
    semaphore: Semaphore,
    me: OwnerId,
    cells: Vec<u32>,
}

impl OwnedPermit {
    /// How many permits it is.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cells.len()
    }

    /// The semaphore that they are of.
    #[must_use]
    pub fn semaphore(&self) -> &Semaphore {
        &self.semaphore
    }

    /// Forgets the permits, as [`Permit::forget`] does.
    pub fn forget(mut self) {
        self.take().forget();
    }

    /// The permits, without the semaphore; dropping it then gives nothing back.
    fn take(&mut self) -> Permit<'_> {
        let indices = std::mem::take(&mut self.cells);
        let cells = indices.into_iter().filter_map(|index| self.semaphore.cells.cell(index)).collect();
        Permit { semaphore: &self.semaphore, me: self.me, cells: CellsHeld::Several(cells) }
    }
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl fmt::Debug for OwnedPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit")
            .field("semaphore", &self.semaphore.body.segment().name())
            .field("count", &self.count())
            .finish()
    }
}

#[cold]
fn free_several(cells: &[&AtomicU64], me: OwnerId) {
    for cell in cells {
        permit_cells::free(cell, me);
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("semaphore", &self.semaphore.body.segment().name())
            .field("count", &self.count())
            .finish()
    }
}
