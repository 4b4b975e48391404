//! A slot of the registry: the process that has it, and what people see of that.

use super::layout::{NAME_LEN, Slot};
use crate::beginning::beginning;
use crate::owner::OwnerId;
use procession_sys::{Latest, clock, crash_point, start};
use std::sync::atomic::{Ordering, fence};

/// A process as the registry shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Participant {
    /// The process's id in the namespace.
    pub owner: OwnerId,
    /// The process's pid, in its own pid namespace.
    pub pid: u32,
    /// When it registered, in nanoseconds since the epoch.
    pub registered_ns: u64,
    /// The process's name: of the process object, or of the program.
    pub name: String,
}

static PROCESS_NAME: Latest<String> = Latest::none();

/// Names this process in every registry it joins from now on, instead of the program's name.
pub fn set_process_name(name: &str) {
    PROCESS_NAME.set(name.to_owned());
}

/// Whether the slot has had another occupant since: signed, so that a stale load never kills a live owner.
pub(super) fn moved_past(slot: &Slot, owner: OwnerId) -> bool {
    // SYNC: registry.bumped.
    slot.generation.load(Ordering::Acquire).wrapping_sub(owner.generation()).cast_signed() > 0
}

/// Bumps the generation, from where on the occupant before is dead, and says who has the slot now.
pub(super) fn fill(slot: &Slot, index: u32, pid: u32, name: &str) -> OwnerId {
    slot.previous_pid.store(slot.pid.load(Ordering::Relaxed), Ordering::Relaxed);
    let mut generation = slot.generation.load(Ordering::Relaxed).wrapping_add(1);
    if generation == 0 {
        // An owner of slot 0 must never pack to zero.
        generation = 1;
    }
    // SYNC: registry.bumped.
    slot.generation.store(generation, Ordering::SeqCst);
    // SYNC: registry.described. Nothing of this occupant is seen with the generation of the last one.
    fence(Ordering::Release);
    crash_point("registry.generation_bumped");
    describe(slot, pid, name);
    crash_point("registry.filled");
    OwnerId::new(index, generation)
}

/// Writes what people see of a slot.
pub(super) fn describe(slot: &Slot, pid: u32, name: &str) {
    slot.pid.store(pid, Ordering::Relaxed);
    slot.registered_ns.store(clock::wall_ns(), Ordering::Relaxed);
    let shown = beginning(name, NAME_LEN).as_bytes();
    // While it is written, there is no name: a process that takes over what its parent prepared describes
    // itself under the same generation.
    slot.name_len.store(0, Ordering::Relaxed);
    fence(Ordering::Release);
    for (cell, &byte) in slot.name.iter().zip(shown) {
        cell.store(byte, Ordering::Relaxed);
    }
    // SYNC: registry.described.
    slot.name_len.store(u32::try_from(shown.len()).unwrap_or(0), Ordering::Release);
}

/// The process that has the slot, as people see it; `None` if none ever had, or another one takes it just
/// now.
pub(super) fn participant(slot: &Slot, index: u32) -> Option<Participant> {
    // SYNC: registry.described.
    let generation = slot.generation.load(Ordering::Acquire);
    let len = (slot.name_len.load(Ordering::Acquire) as usize).min(NAME_LEN);
    let name: Vec<u8> = slot.name[..len].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
    let found = Participant {
        owner: OwnerId::new(index, generation),
        pid: slot.pid.load(Ordering::Relaxed),
        registered_ns: slot.registered_ns.load(Ordering::Relaxed),
        name: String::from_utf8_lossy(&name).into_owned(),
    };
    // SYNC: registry.described.
    fence(Ordering::Acquire);
    (generation != 0 && slot.generation.load(Ordering::Relaxed) == generation).then_some(found)
}

/// The name of this process: the one that was set, or the program's.
pub(super) fn process_name() -> String {
    PROCESS_NAME.get().cloned().or_else(start::title).unwrap_or_else(|| "?".into())
}
