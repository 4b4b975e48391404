//! The roll of a namespace: a table in its registry of the names that its files have, so that whoever looks
//! for them need not read all of `/dev/shm`, which may be full of files of others.
//!
//! | cell | means |
//! |---|---|
//! | `FREE` | nothing |
//! | `WRITING` | a name is being written into it, which the object does not have yet |
//! | `ENTERED` | the object is about to get the name, or has it |
//! | `THERE` | the object got the name; it may have lost it since |
//!
//! The word `more` is 1 where files may have names that are not on the roll; then who looks for files reads
//! the directory.
//!
//! The word `tried` says where the next one begins to look for a free cell. At first it is how many cells have been tried:
//! those from there on have never had a name, and whoever looks for names does not touch them, for a page of shared memory
//! that was never written to is made when it is read. Once all have been tried, it is their number and the place.
//!
//! A name on the roll says only where to look: whoever reads it opens the file and looks. What counts is that
//! none is missing. An entry names an object (its instance), and so covers also the name that the object gets
//! when it is unlinked in use (`.unlinked-…`).
//!
//! # Who may change what
//! | change | by whom |
//! |---|---|
//! | `FREE` → `WRITING` | who is about to create the object, or to adopt one of another registry |
//! | `WRITING` → `ENTERED` → `THERE` | the same, before and after the file gets its name |
//! | `ENTERED` or `THERE` → `FREE` | who has removed the object's last name |
//! | `THERE` → `FREE` | who finds that the object has no name |
//! | `more` = 1 | who finds no free cell, or a file of the namespace that is not on the roll |
//! | anything, `more` = 0 | who holds the registry alone, and has entered all that is there |
//!
//! # Orderings
//! Edge `roll.entered`: the Release of `ENTERED`, or of `more`, comes before the name exists, and meets the
//! Acquire of who looks for names. So does `tried`, which has counted the cell before it is `ENTERED`. A cell is read
//! between two looks at its word, which counts its occupants, with the fences of a seqlock.
//!
//! # If a process dies
//! | killed | left behind | put right by |
//! |---|---|---|
//! | while `WRITING` | a cell that nobody reads; no file has the name | who is alone and keeps the registry |
//! | after `ENTERED`, before the file has its name | an entry without a file | the same |
//! | after the file has its name | the entry of a file | nothing is wrong with it |
//! | after a file was removed, before its entry is | an entry without a file | who needs a cell, or is alone |
//! | while the roll is made anew | `more` = 1 | the next who is alone |

use crate::header::{HEADER_LEN, INSTANCE_OFFSET, ROLL_CELL_LEN};
use crate::instance::InstanceId;
use crate::inventory::{Entry, entry_in};
use crate::namespace::{self, Namespace, Origin};
use crate::registry::layout::registry_len;
use procession_sys::{Mapping, crash_point, shm_file, shm_struct};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// Where `more` and `tried` are, in the hints before the slots.
const MORE_OFFSET: usize = HEADER_LEN + 16;
const TRIED_OFFSET: usize = HEADER_LEN + 20;
const NAME_LEN: usize = 104;
/// Looking for cells whose objects are gone is worth it if this part of them turns out to be free.
const WORTH: usize = 8;

const FREE: u64 = 0;
const WRITING: u64 = 1;
const ENTERED: u64 = 2;
const THERE: u64 = 3;
/// The bits of a cell's word that say its state; those above count its occupants.
const STATE: u64 = 3;
const ONE_MORE: u64 = STATE + 1;

shm_struct! {
    /// The entry of an object.
    struct Cell {
        word: AtomicU64,
        /// The half of the object's instance id that is in its second name.
        instance: AtomicU64,
        len: AtomicU32,
        reserved: AtomicU32,
        name: [AtomicU8; NAME_LEN],
    }
}

const _: () =
    assert!(size_of::<Cell>() == ROLL_CELL_LEN, "the fingerprint of the layout knows another length");

/// The length of a registry with so many slots: the roll is the last in it.
pub(crate) fn registry_len_with_roll(slots: u32) -> usize {
    registry_len(slots) + cells_for(slots) as usize * ROLL_CELL_LEN
}

/// How many names it has room for.
fn cells_for(slots: u32) -> u32 {
    slots.clamp(16, 256)
}

/// The roll of a registry that is mapped.
#[derive(Clone, Copy)]
pub(crate) struct Roll<'a> {
    namespace: &'a Namespace,
    map: &'a Mapping,
    /// Where it lies in the registry.
    offset: usize,
    cells: u32,
}

/// The name of an object, and which object has it.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    /// The half of its instance id that is in its second name.
    pub(crate) instance: u64,
}

impl Named {
    /// The name, and the one that the object gets when it is unlinked in use.
    fn names(&self) -> impl Iterator<Item = String> {
        let second = match namespace::origin(&self.name) {
            Origin::Spill { .. } | Origin::Unlinked { .. } => None,
            _ => Some(namespace::unlinked_name(InstanceId::from_words([self.instance, 0]))),
        };
        std::iter::once(self.name.clone()).chain(second)
    }

    /// Whether somebody can have written it who knows names.
    fn is_possible(&self) -> bool {
        match namespace::origin(&self.name) {
            Origin::User => namespace::check_object_name(&self.name).is_ok(),
            Origin::Anonymous | Origin::Spill { .. } | Origin::Unlinked { .. } => true,
            Origin::Registry | Origin::Unknown => false,
        }
    }
}

/// A cell and what its word was when this process had written it.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    index: u32,
    word: u64,
}

impl<'a> Roll<'a> {
    /// The roll in the registry of that namespace, with so many slots.
    pub(crate) fn in_registry(namespace: &'a Namespace, map: &'a Mapping, slots: u32) -> Self {
        Self { namespace, map, offset: registry_len(slots), cells: cells_for(slots) }
    }

    /// The namespace whose roll it is.
    pub(crate) fn namespace(&self) -> &'a Namespace {
        self.namespace
    }

    /// Runs `create`, which creates the object called `name`, and calls what it is given with the object's
    /// mapping before the object gets its name.
    pub(crate) fn entering<T, E>(
        &self,
        name: &str,
        create: impl FnOnce(&dyn Fn(&Mapping)) -> Result<T, E>,
    ) -> Result<T, E> {
        let place = std::cell::Cell::new(None);
        let enter = |mapping: &Mapping| {
            let instance = mapping.at::<AtomicU64>(INSTANCE_OFFSET);
            place.set(self.enter(name, instance.map_or(0, |word| word.load(Ordering::Relaxed))));
        };
        let made = create(&enter);
        self.settle(place.get(), made.is_ok());
        made
    }

    /// Enters an object that is about to get this name, or has it; where, if there is room for it.
    pub(crate) fn enter(&self, name: &str, instance: u64) -> Option<Place> {
        if self.is_whole() && name.len() <= NAME_LEN {
            let taken = self.take_cell().or_else(|| {
                // Some objects lost their names without this being said here: their users were killed.
                let freed = self.forget_the_gone();
                if freed * WORTH < self.cells as usize { None } else { self.take_cell() }
            });
            if let Some(taken) = taken {
                return self.write(taken, name, instance);
            }
        }
        self.set_more();
        None
    }

    /// Says that the object has got its name, or that it will get none.
    pub(crate) fn settle(&self, place: Option<Place>, is_there: bool) {
        let Some(Place { index, word }) = place else { return };
        let Some(cell) = self.cell(index) else { return };
        let settled = word & !STATE | if is_there { THERE } else { FREE };
        // It fails where the object has lost its name again.
        let _: Result<u64, u64> =
            cell.word.compare_exchange(word, settled, Ordering::Release, Ordering::Relaxed);
    }

    fn take_cell(&self) -> Option<Place> {
        let tried = self.map.at::<AtomicU32>(TRIED_OFFSET)?;
        let start = tried.load(Ordering::Relaxed);
        let mut order = (0..self.cells).map(|step| start.wrapping_add(step) % self.cells);
        let taken = order.find_map(|index| {
            let word = &self.cell(index)?.word;
            let seen = word.load(Ordering::Relaxed);
            let claimed = (seen & !STATE).wrapping_add(ONE_MORE) | WRITING;
            // Acquire: what is written into the cell is written after this.
            let claim = || word.compare_exchange(seen, claimed, Ordering::Acquire, Ordering::Relaxed);
            (seen & STATE == FREE && claim().is_ok()).then_some(Place { index, word: claimed })
        })?;
        let next = taken.index + 1;
        if start < self.cells && taken.index >= start && next < self.cells {
            // The largest: of two who begin at one cell, the second takes the next one.
            tried.fetch_max(next, Ordering::Relaxed);
        } else {
            tried.store(self.cells + next % self.cells, Ordering::Relaxed);
        }
        // SYNC: roll.entered. Who sees any of what is written next sees that the cell has another occupant.
        fence(Ordering::Release);
        crash_point("roll.taken");
        Some(taken)
    }

    fn write(&self, taken: Place, name: &str, instance: u64) -> Option<Place> {
        let cell = self.cell(taken.index)?;
        cell.instance.store(instance, Ordering::Relaxed);
        cell.len.store(u32::try_from(name.len()).ok()?, Ordering::Relaxed);
        for (place, &byte) in cell.name.iter().zip(name.as_bytes()) {
            place.store(byte, Ordering::Relaxed);
        }
        let word = taken.word & !STATE | ENTERED;
        // SYNC: roll.entered.
        cell.word.store(word, Ordering::Release);
        crash_point("roll.entered");
        Some(Place { word, ..taken })
    }

    /// Takes an object off the roll that has no name any more.
    pub(crate) fn strike(&self, name: &str, instance: u64) {
        // Most cells hold others, as one look shows.
        for cell in self.cells().filter(|cell| cell.instance.load(Ordering::Relaxed) == instance) {
            match read(cell) {
                Some((word, found)) if found.name == name && found.instance == instance => {
                    let _: bool = free(cell, word);
                }
                _ => {}
            }
        }
    }

    /// Whether every file of the namespace has its name on the roll.
    fn is_whole(&self) -> bool {
        // SYNC: roll.entered.
        self.map.at::<AtomicU32>(MORE_OFFSET).is_some_and(|more| more.load(Ordering::Acquire) == 0)
    }

    /// Says that there are files whose names are not on the roll.
    pub(crate) fn set_more(&self) {
        if let Some(more) = self.map.at::<AtomicU32>(MORE_OFFSET)
            && more.load(Ordering::Relaxed) == 0
        {
            // SYNC: roll.entered.
            more.store(1, Ordering::Release);
        }
    }

    /// All names that files of the namespace may have, but for the registry's; `None` if there may be others.
    pub(crate) fn names(&self) -> Option<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for cell in self.cells() {
            // SYNC: roll.entered.
            if is_entered(cell.word.load(Ordering::Acquire)) {
                // What cannot be read is nonsense, or was entered at this very moment.
                let (_, named) = read(cell).filter(|(_, named)| named.is_possible())?;
                names.extend(named.names());
            }
        }
        self.is_whole().then_some(names)
    }

    /// Makes the roll anew, of what is left of the namespace; called by who holds the registry alone.
    pub(crate) fn rewrite(&self, mut left: impl Iterator<Item = Named>) {
        let Some(more) = self.map.at::<AtomicU32>(MORE_OFFSET) else { return };
        // Killed from here on, this process leaves a roll that nobody goes by. SYNC: roll.entered.
        more.store(1, Ordering::SeqCst);
        for cell in self.cells() {
            cell.word.store(cell.word.load(Ordering::Relaxed) & !STATE | FREE, Ordering::Release);
        }
        if let Some(tried) = self.map.at::<AtomicU32>(TRIED_OFFSET) {
            tried.store(0, Ordering::Relaxed);
        }
        crash_point("roll.cleared");
        let enter = |named: Named| {
            let taken = if named.name.len() <= NAME_LEN { self.take_cell() } else { None };
            let place = taken.and_then(|taken| self.write(taken, &named.name, named.instance));
            self.settle(place, true);
            place.is_some()
        };
        if left.all(enter) {
            // SYNC: roll.entered.
            more.store(0, Ordering::Release);
        }
    }

    /// Frees the cells of objects that have no name any more; how many these are.
    fn forget_the_gone(&self) -> usize {
        let forget = |cell: &&Cell| match read(cell) {
            Some((word, named)) if word & STATE == THERE => !self.may_be_there(&named) && free(cell, word),
            _ => false,
        };
        self.cells().filter(forget).count()
    }

    /// Whether one of its names means the object, as far as can be seen.
    fn may_be_there(&self, named: &Named) -> bool {
        named.names().any(|name| {
            // This question costs little, and of most there is no file.
            let found = shm_file::identity_of_name(&self.namespace.file_name(&name));
            let means =
                |entry: Entry| entry.header.map_or(true, |header| header.instance.low() == named.instance);
            !matches!(found, Ok(None)) && entry_in(self.namespace, &name).is_some_and(means)
        })
    }

    fn cell(&self, index: u32) -> Option<&'a Cell> {
        if index < self.cells { self.map.at(self.offset + index as usize * ROLL_CELL_LEN) } else { None }
    }

    /// Those that may have had a name.
    fn cells(&self) -> impl Iterator<Item = &'a Cell> {
        let roll = *self;
        // SYNC: roll.entered.
        let tried = self.map.at::<AtomicU32>(TRIED_OFFSET).map_or(0, |tried| tried.load(Ordering::Acquire));
        (0..self.cells.min(tried)).filter_map(move |index| roll.cell(index))
    }
}

fn is_entered(word: u64) -> bool {
    matches!(word & STATE, ENTERED | THERE)
}

/// What is entered in the cell, and its word.
fn read(cell: &Cell) -> Option<(u64, Named)> {
    // SYNC: roll.entered.
    let word = cell.word.load(Ordering::Acquire);
    let len = cell.len.load(Ordering::Relaxed) as usize;
    if !is_entered(word) || len > NAME_LEN {
        return None;
    }
    let name = cell.name[..len].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
    let instance = cell.instance.load(Ordering::Relaxed);
    // SYNC: roll.entered.
    fence(Ordering::Acquire);
    let is_same = (cell.word.load(Ordering::Relaxed) ^ word) & !STATE == 0;
    is_same.then_some((word, Named { name: String::from_utf8(name).ok()?, instance }))
}

/// Frees the cell, if its word is still this one; whether it did.
fn free(cell: &Cell, word: u64) -> bool {
    let freed = cell.word.compare_exchange(word, word & !STATE | FREE, Ordering::Release, Ordering::Relaxed);
    freed.is_ok()
}

#[cfg(test)]
mod tests;
