//! How a writer waits until nobody reads, and how dead readers are removed; the protocol is described in
//! `rwlock.rs`.

use super::{Cell, RwLock, WAITERS};
use crate::deadlock;
use crate::fault::Fault;
use crate::hold::holder_in;
use crate::keeper::too_late;
use crate::lock_error::LockError;
use crate::patience::{Nap, Patience};
use procession_shm::{OwnerId, ShownWait};
use procession_sys::atomic::{AtomicU64, Ordering, fence};
use procession_sys::{Deadline, clock, crash_point, futex};

impl RwLock {
    /// For the holder of `writer`: waits until every cell has been seen free.
    pub(super) fn drain(&self, deadline: Deadline) -> Result<(), LockError> {
        // SYNC: rwlock.dekker.
        fence(Ordering::SeqCst);
        let mut patience = Patience::new(deadline);
        self.cells_in_use().map(|index| &self.body.cells[index]).try_for_each(|cell| {
            // SYNC: rwlock.read.
            while cell.word.load(Ordering::Acquire) != 0 {
                self.wait_for(cell, deadline, &mut patience)?;
            }
            Ok(())
        })
    }

    #[cold]
    fn wait_for(&self, cell: &Cell, deadline: Deadline, patience: &mut Patience) -> Result<(), LockError> {
        let segment = self.body.segment();
        // SYNC: rwlock.read.
        let word = cell.word.load(Ordering::Acquire);
        if word == 0 {
            return Ok(());
        }
        if patience.is_over() {
            // The last question is free of waiting: a try, too, gets past the dead.
            if self.bury_reader(cell)? {
                return Ok(());
            }
            return Err(too_late(self.held_by_reader(cell), deadline));
        }
        // Before the sleep: whoever leaves sees it, and owes a wake.
        let announced = word | WAITERS;
        if word != announced
            && cell.word.compare_exchange(word, announced, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return Ok(());
        }
        crash_point("rwlock.announced");
        // SYNC: rwlock.owner.
        let reader = || [OwnerId::from_bits(cell.word.load(Ordering::Acquire))];
        let nap = patience
            .sleep(Some(segment), futex::low_half(&cell.word), announced as u32, &self.body.asked, reader)
            .map_err(|stop| Fault::of_stop(segment, stop, |object| LockError::Interrupted { object }))?;
        // SYNC: rwlock.owner.
        let reader = |wait: &ShownWait| {
            self.reader_to_show(wait).map_or(0, |cell| holder_in(cell.word.load(Ordering::Acquire)))
        };
        if patience.is_in_a_deadlock(segment, reader) {
            return Err(LockError::Deadlock { object: segment.label(), is_own: false });
        }
        if nap == Nap::Ask {
            // All of the dead at once: one slice for each would be long.
            self.bury_readers()?;
        }
        Ok(())
    }

    /// Of those who read, the one that a writer names as the one it waits for: see `deadlock.rs`.
    fn reader_to_show(&self, wait: &ShownWait) -> Option<&Cell> {
        // SYNC: rwlock.owner.
        let reader = |cell: &Cell| holder_in(cell.word.load(Ordering::Acquire));
        let mut cells: Vec<&Cell> = self.cells_in_use().map(|index| &self.body.cells[index]).collect();
        cells.retain(|cell| reader(cell) != 0);
        // Of those who stand alike, each time another.
        let turn = clock::now_ns() as usize % cells.len().max(1);
        cells.rotate_left(turn);
        cells.into_iter().max_by_key(|cell| deadlock::standing(self.body.segment(), reader(cell), wait))
    }

    /// Frees a cell if its owner is dead; whether it is free or changed now.
    fn bury_reader(&self, cell: &Cell) -> Result<bool, LockError> {
        let segment = self.body.segment();
        // SYNC: rwlock.owner.
        let word = cell.word.load(Ordering::Acquire);
        if word == 0 {
            return Ok(true);
        }
        let dead = segment.registration().is_gone(word);
        if !dead.map_err(|why| Fault::unknowable(segment, why))? {
            return Ok(false);
        }
        crash_point("rwlock.reader_found_dead");
        // SYNC: rwlock.read. From the exact dead value: a failure means that another was quicker.
        let buried = cell.word.compare_exchange(word, 0, Ordering::AcqRel, Ordering::Relaxed);
        if buried.is_ok() {
            crash_point("rwlock.buried");
            if word & WAITERS != 0 {
                futex::wake_all(futex::low_half(&cell.word));
            }
        }
        Ok(true)
    }

    /// Frees the cells of the dead, wherever they are: who finds none free finds those too that `used` leaves
    /// out in a damaged file. Whether one is free.
    pub(super) fn bury_readers(&self) -> Result<bool, LockError> {
        let mut any = false;
        for cell in &self.body.cells {
            any |= self.bury_reader(cell)?;
        }
        Ok(any)
    }
}

#[cold]
pub(super) fn wake_writer(cell: &AtomicU64) {
    futex::wake_all(futex::low_half(cell));
}
