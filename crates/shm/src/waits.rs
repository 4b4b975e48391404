//! The table of waits: it lies behind the registry's slots, in which every thread that has waited for longer
//! than a slice shows itself. What is in it helps people, and the search for deadlocks; no protocol depends
//! on it.
//!
//! A cell is `FREE` (`waiter` 0), `CLAIMED` (`waiter` set, `began` 0) or `SHOWN` (both set). Its waiter alone
//! writes it: claims it by CAS, fills it, shows it by storing `began`, renews `holder` and `seen`, and clears
//! it at the end of the wait. A cell whose waiter died is freed by whoever looks for a free one, by CAS from
//! the dead value.
//!
//! # Ticks
//! `began` and `seen` are drawn from one counter by read-modify-write, `seen` **before** the holder is read.
//! So if A saw at `seen` that B held something, and B `began` earlier than that and still waits, then B held
//! it while it waited, and still does: a thread that sleeps releases nothing. A circle of such sights is a
//! deadlock for sure, whatever was stale elsewhere in the table.
//!
//! # Orderings
//! Edge `waits.shown`: a cell is a seqlock whose version is `began` (and, for the holder, `seen`). The waiter
//! makes the version 0, fences (Release), writes, and stores the new version (Release); a reader loads the
//! version (Acquire), reads, fences (Acquire), and believes what it has read if the version is still the
//! same. Edge `waits.claimed`: the CAS by which a cell changes hands (AcqRel). Edge `waits.ticks`: the chain
//! of read-modify-writes of the counter (AcqRel), so that who draws later sees what earlier ones did before
//! they drew.
//!
//! # If a process dies
//! Its cells stay `CLAIMED` or `SHOWN` with a dead owner. Readers leave them out; a thread that finds no free
//! cell among those it may take asks about their owners and takes one.
//!
//! # Not promised
//! A cell for everybody: a thread that finds none waits unseen.

use crate::attached::Segment;
use crate::instance::InstanceId;
use crate::owner::OwnerId;
use crate::registry::Registration;
use crate::registry::layout::{Cell, Head, REACH, cells};
use procession_sys::{clock, crash_point};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

/// The bits of a cell's `what`: the wait has a deadline; the waiter backs out of a deadlock.
const TIMED: u32 = 1;
const BACKS_OUT: u32 = 2;

/// A thread that has waited for a while, as it shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The process and the thread that wait, as they stand in a lock word.
    pub waiter: u64,
    /// Which object it waits for.
    pub object: InstanceId,
    /// The thread that was last seen to hold that, as in a lock word; 0 if nobody does, or it is not known.
    pub holder: u64,
    /// The waiting thread's number in the kernel, in its own pid namespace.
    pub tid: u32,
    /// Whether it gives up by itself some time.
    pub is_timed: bool,
    /// Whether it gives up when it finds itself in a deadlock.
    pub backs_out: bool,
    /// For how long it had waited when it was looked at.
    pub since: Duration,
    /// When the wait began, on the machine's clock: orders waits that were looked at one after the other.
    pub since_ns: u64,
    /// Orders the waits of a namespace by when they were shown.
    pub began: u64,
    seen: u64,
}

impl Waiting {
    /// Whether `next` is the thread that this one waits for, and was in its present wait when it was seen
    /// holding.
    #[must_use]
    pub fn waits_for(&self, next: &Self) -> bool {
        self.holder == next.waiter && self.seen > next.began
    }
}

/// The details of a wait that its waiter shows, besides who it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct WaitNote {
    /// Whether it gives up by itself some time.
    pub is_timed: bool,
    /// Whether it gives up when it finds itself in a deadlock.
    pub backs_out: bool,
    /// When the wait began, on this process's clock.
    pub since_ns: u64,
}

/// This thread's wait, shown until this is dropped.
pub struct ShownWait {
    registration: &'static Registration,
    index: usize,
    waiter: u64,
}

impl ShownWait {
    /// Notes who is seen to hold the object now; `look` reads it, as it stands in a lock word.
    pub fn sees(&self, look: impl FnOnce() -> u64) {
        let Some((head, cell)) = self.registration.wait_cell(self.index) else { return };
        crash_point("waits.looks");
        // Drawn first: see "Ticks".
        let seen = next_tick(head);
        crash_point("waits.drew");
        let holder = look();
        // SYNC: waits.shown.
        cell.seen.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        cell.holder.store(holder, Ordering::Relaxed);
        // SYNC: waits.shown.
        cell.seen.store(seen, Ordering::Release);
        crash_point("waits.saw");
    }

    /// The wait as the others see it; `None` when it is not to be seen.
    #[must_use]
    pub fn as_seen(&self) -> Option<Waiting> {
        read(self.registration.wait_cell(self.index)?.1).filter(|seen| seen.waiter == self.waiter)
    }
}

impl Drop for ShownWait {
    fn drop(&mut self) {
        // A copy in a forked child shows nothing.
        let is_mine = self.registration.current_owner() == Some(OwnerId::from_bits(self.waiter));
        if let (true, Some((_, cell))) = (is_mine, self.registration.wait_cell(self.index)) {
            // SYNC: waits.shown; waits.claimed. Hidden first: nobody takes the cell while it is shown.
            cell.began.store(0, Ordering::Release);
            cell.waiter.store(0, Ordering::Release);
            crash_point("waits.ended");
        }
    }
}

impl std::fmt::Debug for ShownWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ShownWait").field(&self.as_seen()).finish()
    }
}

/// Shows that `waiter`, a thread of this process as it stands in a lock word, waits for the segment's object;
/// `None` if there is no room.
#[must_use]
pub fn show_wait(segment: &Segment, waiter: u64, note: WaitNote) -> Option<ShownWait> {
    let registration = segment.registration();
    let index = registration.claim_wait_cell(waiter)?;
    crash_point("waits.claimed");
    let (head, cell) = registration.wait_cell(index)?;
    // SYNC: waits.shown. `began` is 0 since the cell was hidden.
    fence(Ordering::Release);
    let object = segment.header().instance.to_words();
    cell.object[0].store(object[0], Ordering::Relaxed);
    cell.object[1].store(object[1], Ordering::Relaxed);
    cell.holder.store(0, Ordering::Relaxed);
    cell.seen.store(0, Ordering::Relaxed);
    // For people: whose clock it is matters only if it cannot be told.
    let since_ns = clock::on_machine(note.since_ns).unwrap_or(note.since_ns);
    cell.since_ns.store(since_ns, Ordering::Relaxed);
    cell.tid.store(procession_sys::thread_id(), Ordering::Relaxed);
    let timed = if note.is_timed { TIMED } else { 0 };
    let backs_out = if note.backs_out { BACKS_OUT } else { 0 };
    cell.what.store(timed | backs_out, Ordering::Relaxed);
    // SYNC: waits.shown.
    cell.began.store(next_tick(head), Ordering::Release);
    crash_point("waits.shown");
    Some(ShownWait { registration, index, waiter })
}

impl Registration {
    /// Every wait that is shown now by a process that is alive.
    #[must_use]
    pub fn waits(&self) -> Vec<Waiting> {
        let shown = (0..self.wait_cells()).filter_map(|index| read(self.wait_cell(index)?.1));
        shown.filter(|wait| self.is_dead(OwnerId::from_bits(wait.waiter)) == Ok(false)).collect()
    }

    /// The wait of the thread that stands in a lock word as `waiter`.
    #[must_use]
    pub fn wait_of(&self, waiter: u64) -> Option<Waiting> {
        self.reach_of(waiter)
            .filter_map(|index| self.wait_cell(index))
            .filter(|(_, cell)| cell.waiter.load(Ordering::Relaxed) == waiter)
            .find_map(|(_, cell)| read(cell))
    }

    fn wait_cells(&self) -> usize {
        cells(self.slots())
    }

    fn wait_cell(&self, index: usize) -> Option<(&Head, &Cell)> {
        let head = self.waits_at::<Head>(0)?;
        let offset = size_of::<Head>() + index * size_of::<Cell>();
        Some((head, self.waits_at::<Cell>(offset)?))
    }

    /// The cells that `waiter` may take.
    fn reach_of(&self, waiter: u64) -> impl Iterator<Item = usize> {
        let mask = self.wait_cells() - 1;
        // Fibonacci hashing: the threads of one process, and the processes of one namespace, fall apart.
        let start = (waiter.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize;
        (0..REACH).map(move |step| (start + step) & mask)
    }

    fn claim_wait_cell(&self, waiter: u64) -> Option<usize> {
        let claim = |index: usize, from: u64| {
            let (_, cell) = self.wait_cell(index)?;
            // SYNC: waits.claimed.
            let won = cell.waiter.compare_exchange(from, waiter, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            won.then_some(index)
        };
        self.reach_of(waiter).find_map(|index| claim(index, 0)).or_else(|| {
            self.reach_of(waiter).find_map(|index| {
                let (_, cell) = self.wait_cell(index)?;
                // Before the waiter: of one that has taken the cell since, this is not the tick, and it stays shown.
                // SYNC: waits.shown.
                let began = cell.began.load(Ordering::Acquire);
                // SYNC: waits.claimed.
                let other = cell.waiter.load(Ordering::Acquire);
                let is_dead = self.is_dead(OwnerId::from_bits(other)) == Ok(true);
                // First hidden, by CAS from the dead's own tick: nobody may read half of each.
                let hide = || cell.began.compare_exchange(began, 0, Ordering::AcqRel, Ordering::Relaxed);
                if is_dead && hide().is_ok() { claim(index, other) } else { None }
            })
        })
    }
}

fn next_tick(head: &Head) -> u64 {
    // SYNC: waits.ticks.
    head.tick.fetch_add(1, Ordering::AcqRel).wrapping_add(1)
}

/// A copy of a cell that was whole and stayed the same while it was read.
fn read(cell: &Cell) -> Option<Waiting> {
    let now_ns = clock::machine_ns().unwrap_or_else(clock::now_ns);
    for _ in 0..8 {
        // SYNC: waits.shown.
        let began = cell.began.load(Ordering::Acquire);
        if began == 0 {
            return None;
        }
        // SYNC: waits.shown.
        let seen = cell.seen.load(Ordering::Acquire);
        let object = [cell.object[0].load(Ordering::Relaxed), cell.object[1].load(Ordering::Relaxed)];
        let what = cell.what.load(Ordering::Relaxed);
        let since_ns = cell.since_ns.load(Ordering::Relaxed);
        let waiting = Waiting {
            waiter: cell.waiter.load(Ordering::Relaxed),
            object: InstanceId::from_words(object),
            // While it is renewed, nothing is known of the holder.
            holder: if seen == 0 { 0 } else { cell.holder.load(Ordering::Relaxed) },
            tid: cell.tid.load(Ordering::Relaxed),
            is_timed: what & TIMED != 0,
            backs_out: what & BACKS_OUT != 0,
            since: Duration::from_nanos(now_ns.saturating_sub(since_ns)),
            since_ns,
            began,
            seen,
        };
        // SYNC: waits.shown.
        fence(Ordering::Acquire);
        if cell.seen.load(Ordering::Relaxed) == seen && cell.began.load(Ordering::Relaxed) == began {
            return (waiting.waiter != 0).then_some(waiting);
        }
    }
    None
}
