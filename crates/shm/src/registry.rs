//! The registry of a namespace: one slot per attached process, and the proof that it is still there.
//!
//! | step of registering | what others see | killed here leaves |
//! |---|---|---|
//! | OFD write lock on byte `LIFELINES + slot` through a descriptor of its own | slot taken; its previous owner still reads as alive | nothing: the kernel drops the lock |
//! | one page mapped through that descriptor (`MADV_DONTFORK`), descriptor closed | the same; now the lock lasts exactly as long as the address space | nothing |
//! | `generation += 1` | every id of the previous occupant is dead | a slot with a dead id nobody holds anything by |
//! | pid, time, name | what people see | as above |
//! | the slot reads as locked through the query descriptor | – | as above |
//! | id stored in the identity page | the process may claim things | a dead owner, as everywhere |
//!
//! `dead(owner)`: the slot's generation has moved past the owner's, or the slot's lifeline is free and no ward
//! of the owner lives (`ward.rs`). The answer counts only if the descriptor asked through is, before and after, the registry that this process
//! has mapped. Any failure to ask means alive: late, never false.
//!
//! A process that becomes another user, or looks at another `/dev/shm` (`chroot`, another mount), registers
//! once more, in the registry that is found there: what it had goes on, and what it makes from then on is
//! where others of its new kind look for it.
//!
//! # Orderings
//! Edge `registry.bumped`: the SeqCst store of a generation, made under the slot's lifeline, meets the
//! Acquire of whoever asks about an owner: what the former occupant's death allows is done after it. Edge
//! `registry.described`: what people see of a slot is read between two looks at the generation, with the
//! fences of a seqlock, and so belongs to one occupant. Edge `registry.registered`: the Release of the id in
//! the identity page meets its Acquire in this process's other threads. Edge `segment.retired` is that of
//! `segment.rs`.
//!
//! # Invariants
//! 1. A lifeline's description is opened for nothing else, and survives only in its mapping.
//! 2. Generations only grow (wrapping), and only the holder of a slot's lifeline writes the slot.
//! 3. The identity page is wiped in a forked child, which therefore registers anew on its first operation.
//! 4. Nothing in a slot is changed at exit: the kernel's word alone declares death.
//! 5. A registered process holds the attach byte through a description that no other process is registered
//!    with, and by a mapping, which outlives a `closefrom()`; the registry is removed only by who holds the
//!    byte alone.

use crate::error::OpenError;
use crate::found::File;
use crate::gc;
use crate::header::{self, HEADER_LEN, Parameter, SLOT_LEN, Shape};
use crate::kind::Kind;
use crate::label::{Label, ObjectName};
use crate::namespace::{Namespace, REGISTRY};
use crate::owner::OwnerId;
use crate::roll::{Roll, registry_len_with_roll};
use crate::segment::{self, ATTACH_BYTE, Attachment};
use layout::{SLOTS_OFFSET, SWEEP_OFFSET, Slot, waits_len};
use lines::Lines;
use procession_sys::file_lock::{self, Share};
use procession_sys::fork::ForkLock;
use procession_sys::image::is_secure;
use procession_sys::shm_file::{self, FileId, Place};
use procession_sys::{Deadline, Lifeline, LooseFd, Mapping, ShmSafe, crash_point, shm_struct, wiped_on_fork};
use slot::{fill, moved_past, participant, process_name};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

pub(crate) mod layout;
mod lines;
mod register;
mod sight;
mod slot;
mod starting;
mod ward;

pub(crate) use register::registrations;
pub use register::{is_registered, leave, leave_at_exit, register, register_with_slots};
use sight::Life;
pub use sight::Sight;
pub use slot::{Participant, set_process_name};
pub use starting::{StartingProcess, take_over};

/// The first byte of the lifelines in the registry's lock space.
const LIFELINES: u64 = 1 << 40;
/// How many processes a namespace holds unless its first process asked for another number, by
/// [`register_with_slots`] or by `PROCESSION_SLOTS` in its environment.
pub const DEFAULT_SLOTS: u32 = 1024;
const SLOTS_VARIABLE: &str = "PROCESSION_SLOTS";
shm_struct! {
    /// The page in which this process notes its own id; fork wipes it.
    struct Identity {
        /// The owner's bits; 0 while this process is not registered.
        owner: AtomicU64,
        /// 1 once the query description is this process's own; a forked child finds its parent's, and 0.
        asks_itself: AtomicU32,
        reserved: AtomicU32,
    }
}

/// This process's registration in one namespace. One per process, namespace, user that it was, and `/dev/shm`
/// that it saw; it lives as long as the process.
pub struct Registration {
    /// The user's who this process was then.
    namespace: Namespace,
    /// The folder in which the registry's file lies.
    place: Place,
    /// Everything that is found when the registry is first opened; a forked child goes on using it.
    map: Mapping,
    /// Which file `map` is of: another one of that name is another registry.
    file: FileId,
    /// Which registry this is, of all that ever had its name.
    instance: u64,
    /// How many processes can be registered.
    slots: u32,
    /// An open file by which the kernel is asked which slots are locked. It holds no lock itself.
    query: LooseFd,
    /// This process's owner id, which a forked child finds wiped.
    identity: &'static Identity,
    /// The lifelines of the children that this process is about to start.
    starting: Lines,
}

/// Where this process's id in one namespace is read from: one load, right also in a forked child.
#[derive(Clone, Copy, Debug)]
pub struct Myself(&'static AtomicU64);

impl Myself {
    /// This process's id if it is registered; `None` in a forked child that has done nothing yet.
    #[inline]
    #[must_use]
    pub fn owner(self) -> Option<OwnerId> {
        // Relaxed: the page belongs to this process, and the id was stored after everything it stands for.
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            bits => Some(OwnerId::from_own_bits(bits)),
        }
    }
}

/// Why nothing can be said about an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknowable {
    /// The registry was removed or replaced, and our way to ask is lost.
    RegistryChanged,
    /// There is no such slot: the word that named it is corrupt.
    NoSuchSlot,
}

impl Registration {
    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn is_of(&self, namespace: &Namespace, user: u32, place: Option<Place>) -> bool {
        self.namespace == *namespace && self.namespace.user() == user && Some(self.place) == place
    }

    /// Makes sure that `object`, one of its files, is found by its name, and can be opened, as when this
    /// process registered.
    pub(crate) fn must_be_here(&self, object: impl Into<Label>) -> Result<(), OpenError> {
        let (owner, ours) = (self.namespace.user(), shm_file::effective_uid());
        if owner != ours {
            return Err(OpenError::OtherUser { object: object.into(), owner, ours });
        }
        match Place::current() {
            Ok(place) if place == self.place => Ok(()),
            _ => Err(OpenError::Elsewhere { object: object.into() }),
        }
    }

    /// Where its files have their names.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Which registry this is; another one of the same name has another number.
    #[must_use]
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// This process's id; registers a forked child on its first use.
    ///
    /// # Errors
    /// As [`register()`], in a forked child.
    #[inline]
    pub fn owner(&self) -> Result<OwnerId, OpenError> {
        match self.current_owner() {
            Some(owner) => Ok(owner),
            None => self.take_slot(),
        }
    }

    /// This process's id if it is registered; `None` in a forked child that has done nothing yet.
    #[inline]
    #[must_use]
    pub fn current_owner(&self) -> Option<OwnerId> {
        self.myself().owner()
    }

    /// A reference by which an object learns this process's id on its fast path.
    #[inline]
    #[must_use]
    pub fn myself(&self) -> Myself {
        Myself(&self.identity.owner)
    }

    /// Whether `owner`'s process is gone and can store nothing any more.
    ///
    /// # Errors
    /// [`Unknowable`]; then nothing may be taken from the owner.
    pub fn is_dead(&self, owner: OwnerId) -> Result<bool, Unknowable> {
        self.life(owner).map(|life| matches!(life, Life::Dead))
    }

    /// By what `owner` lives.
    fn life(&self, owner: OwnerId) -> Result<Life, Unknowable> {
        if self.current_owner() == Some(owner) {
            // Alive by definition, whatever the kernel would say: it is the one that asks.
            return Ok(Life::Itself);
        }
        let slot = self.slot(owner.slot()).ok_or(Unknowable::NoSuchSlot)?;
        if moved_past(slot, owner) {
            return Ok(Life::Dead);
        }
        let life = if self.is_slot_locked(owner.slot())? {
            Life::Itself
        } else {
            ward::of(slot, owner.generation()).map_or(Life::Dead, Life::ByWard)
        };
        // Again: between the two questions another may have taken the slot, and hold its lifeline now.
        Ok(if moved_past(slot, owner) { Life::Dead } else { life })
    }

    /// The pid that `owner` had, if the registry still remembers.
    #[must_use]
    pub fn pid_of(&self, owner: OwnerId) -> Option<u32> {
        let slot = self.slot(owner.slot())?;
        // SYNC: registry.described.
        let before = slot.generation.load(Ordering::Acquire);
        let pid = match before.wrapping_sub(owner.generation()) {
            0 => slot.pid.load(Ordering::Relaxed),
            // There was one other occupant since, and the slot remembers the one before.
            1 => slot.previous_pid.load(Ordering::Relaxed),
            _ => return None,
        };
        // SYNC: registry.described.
        fence(Ordering::Acquire);
        (slot.generation.load(Ordering::Relaxed) == before && pid != 0).then_some(pid)
    }

    /// The process `owner` as people want to see it, while it is the slot's latest occupant.
    #[must_use]
    pub fn participant(&self, owner: OwnerId) -> Option<Participant> {
        participant(self.slot(owner.slot())?, owner.slot()).filter(|found| found.owner == owner)
    }

    /// Every process that is registered now.
    #[must_use]
    pub fn participants(&self) -> Vec<Participant> {
        let live = |slot: u32| {
            let found = participant(self.slot(slot)?, slot)?;
            (self.is_dead(found.owner) == Ok(false)).then_some(found)
        };
        (0..self.slots).filter_map(live).collect()
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        (index < self.slots).then(|| self.map.at(SLOTS_OFFSET + index as usize * SLOT_LEN)).flatten()
    }

    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    /// The words at `offset` of the table of waits.
    pub(crate) fn waits_at<T: ShmSafe>(&self, offset: usize) -> Option<&T> {
        self.map.at(SLOTS_OFFSET + self.slots as usize * SLOT_LEN + offset)
    }

    /// The words at `offset` of the table of threads that ended.
    pub(crate) fn ended_at<T: ShmSafe>(&self, offset: usize) -> Option<&T> {
        self.waits_at(waits_len(self.slots) + offset)
    }

    /// The names of the namespace's files.
    pub(crate) fn roll(&self) -> Roll<'_> {
        Roll::in_registry(&self.namespace, &self.map, self.slots)
    }

    /// The generation of the slot's latest occupant.
    pub(crate) fn generation_of(&self, slot: u32) -> Option<u32> {
        // SYNC: registry.bumped.
        self.slot(slot).map(|slot| slot.generation.load(Ordering::Acquire))
    }

    /// Asks the kernel for the slot's lifeline, through a descriptor that surely is this registry.
    fn is_slot_locked(&self, index: u32) -> Result<bool, Unknowable> {
        let byte = LIFELINES + u64::from(index);
        if let Some(locked) = self.query.is_locked(byte) {
            return Ok(locked);
        }
        // The descriptor was closed behind our back: the name leads to the registry, or to nothing we may
        // believe.
        self.reopen_query().ok_or(Unknowable::RegistryChanged)?;
        self.query.is_locked(byte).ok_or(Unknowable::RegistryChanged)
    }

    /// Whether it was inherited by fork and then removed by the last process that used it.
    fn is_left(&self) -> bool {
        // SYNC: segment.retired.
        self.current_owner().is_none() && segment::state(&self.map).load(Ordering::Acquire) != header::LIVE
    }

    fn reopen_query(&self) -> Option<()> {
        let again = shm_file::open(&self.namespace.file_name(REGISTRY)).ok()?;
        if shm_file::identity(&again).ok()? != self.file {
            // Another registry of that name: our owners are not in its lock space.
            return None;
        }
        self.query.replace(again);
        Some(())
    }

    /// Opens the namespace's registry, creating it if there is none.
    fn open(namespace: &Namespace, slots: Option<u32>) -> Result<Self, OpenError> {
        let namespace = namespace.of_user(shm_file::effective_uid());
        let object = ObjectName { kind: Some(Kind::REGISTRY), namespace: &namespace, name: REGISTRY };
        let failed = |operation| move |source| OpenError::os(operation, &object, source);
        let place = Place::current().map_err(failed("create"))?;
        let identity: &'static Identity = wiped_on_fork().map_err(failed("register with"))?;
        let slots = slots.map_or_else(|| usual_slots(&object), Ok)?.clamp(1, OwnerId::MAX_SLOTS - 1);
        let body_len = (registry_len_with_roll(slots) - HEADER_LEN) as u64;
        let slots = Parameter { name: "slots", value: u64::from(slots), asked: false };
        let parameters = [slots, Parameter::default(), Parameter::default(), Parameter::default()];
        let shape = Shape { kind: Kind::REGISTRY, body_len, parameters, element: None, codec: 0 };
        let Attachment { file, mapping, header, .. } =
            segment::open_or_create_file(&object, &shape, 0, |_| ())?;
        let corrupt =
            || OpenError::Corrupt { object: object.label(), what: "it says an impossible number of slots" };
        let slots = u32::try_from(header.parameters[0]).map_err(|_| corrupt())?;
        if slots == 0 || mapping.len() < registry_len_with_roll(slots) {
            return Err(corrupt());
        }
        let File { handle, id } = file;
        identity.asks_itself.store(1, Ordering::Relaxed);
        Ok(Self {
            namespace: namespace.clone(),
            place,
            map: mapping,
            file: id,
            instance: header.instance.low(),
            slots,
            query: LooseFd::keep(handle, id),
            identity,
            starting: Lines::none(),
        })
    }

    /// Takes a slot for this process: the steps of the table above, in order.
    #[cold]
    fn take_slot(&self) -> Result<OwnerId, OpenError> {
        ForkLock::registration()
            .hold(|| {
                if let Some(owner) = self.current_owner() {
                    // Another thread of this process was quicker.
                    return Ok(owner);
                }
                let owner = self.occupy()?;
                // SYNC: registry.registered.
                self.identity.owner.store(owner.to_bits(), Ordering::Release);
                Ok(owner)
            })
            .inspect(|_| gc::sweep_at_registration(&self.roll(), self.map.at(SWEEP_OFFSET)))
    }

    fn occupy(&self) -> Result<OwnerId, OpenError> {
        let line = self.open_line()?;
        if self.identity.asks_itself.load(Ordering::Relaxed) == 0 {
            // Attached before it is registered, so that its parent's end finds it there.
            self.attach_forked()?;
        }
        let index = self.take_free_slot(&line)?;
        crash_point("registry.slot_locked");
        let lifeline = Lifeline::of_file(&line).map_err(self.failed("map the lifeline of"))?;
        crash_point("registry.lifeline_mapped");
        drop(line);
        crash_point("registry.descriptor_closed");
        let owner = self.fill(index, std::process::id(), &process_name())?;
        self.verify(index, lifeline)?;
        crash_point("registry.verified");
        Ok(owner)
    }

    /// Gives a freshly locked slot its next occupant.
    fn fill(&self, index: u32, pid: u32, name: &str) -> Result<OwnerId, OpenError> {
        let slot = self.slot(index).ok_or_else(|| self.unsupported())?;
        // INVARIANT 2: we hold the lifeline, so nobody else writes the slot.
        self.forget_ended(index);
        Ok(fill(slot, index, pid, name))
    }

    fn failed(&self, operation: &'static str) -> impl Fn(std::io::Error) -> OpenError {
        move |source| OpenError::os(operation, &self.object(), source)
    }

    fn object(&self) -> ObjectName<'_> {
        ObjectName { kind: Some(Kind::REGISTRY), namespace: &self.namespace, name: REGISTRY }
    }

    fn changed(&self) -> OpenError {
        OpenError::RegistryChanged {
            object: self.object().label(),
            namespace: self.namespace.name().to_owned(),
        }
    }

    fn unsupported(&self) -> OpenError {
        OpenError::LifelineUnsupported { namespace: self.namespace.name().to_owned() }
    }

    /// A descriptor for a lifeline: INVARIANT 1.
    fn open_line(&self) -> Result<std::fs::File, OpenError> {
        let opened = shm_file::open(&self.namespace.file_name(REGISTRY));
        let line = opened.map_err(|source| match source.kind() {
            ErrorKind::NotFound => self.must_be_here(&self.object()).err().unwrap_or_else(|| self.changed()),
            _ => self.must_be_here(&self.object()).err().unwrap_or_else(|| self.failed("open")(source)),
        })?;
        if shm_file::identity(&line).map_err(self.failed("look at"))? == self.file {
            return Ok(line);
        }
        // Also another namespace's registry, which has the name where this process is now.
        self.must_be_here(&self.object())?;
        Err(self.changed())
    }

    fn take_free_slot(&self, line: &std::fs::File) -> Result<u32, OpenError> {
        let found = self.lock_free_slot(line).map_err(self.failed("take a slot of"))?;
        found.ok_or_else(|| OpenError::RegistryFull {
            namespace: self.namespace.name().to_owned(),
            slots: self.slots,
        })
    }

    /// Makes sure that others see the slot locked; otherwise lets it go.
    fn verify(&self, index: u32, lifeline: Lifeline) -> Result<(), OpenError> {
        if matches!(self.is_slot_locked(index), Ok(true)) {
            return Ok(());
        }
        lifeline.release();
        Err(self.unsupported())
    }

    /// Gives a forked child a query description of its own. With its parent's it would take itself for the
    /// last one out, and would ask in vain about its own lock on the attach byte.
    fn attach_forked(&self) -> Result<(), OpenError> {
        let own = self.open_line()?;
        let patience = Deadline::after(segment::PATIENCE);
        let is_attached = file_lock::lock_until(&own, ATTACH_BYTE, Share::Shared, patience);
        if !is_attached.map_err(self.failed("attach"))? {
            return Err(self.changed());
        }
        // INVARIANT 5: kept as long as this process lives; its own children attach anew.
        let kept = Lifeline::of_file(&own).map_err(self.failed("map"))?;
        crash_point("registry.attached_forked");
        // After the lock: whoever removes the registry holds the byte exclusively before and while it does.
        // SYNC: segment.retired.
        if segment::state(&self.map).load(Ordering::Acquire) != header::LIVE {
            kept.release();
            return Err(self.changed());
        }
        self.query.replace(own);
        self.identity.asks_itself.store(1, Ordering::Relaxed);
        Ok(())
    }

    /// Locks a free slot, from a rotating hint on: from slot 0 the thousandth process would try 999 taken
    /// ones first.
    fn lock_free_slot(&self, line: &std::fs::File) -> std::io::Result<Option<u32>> {
        let hint = self.map.at::<AtomicU32>(HEADER_LEN);
        let start = hint.map_or(0, |hint| hint.load(Ordering::Relaxed));
        for step in 0..self.slots {
            let index = start.wrapping_add(step) % self.slots;
            let byte = LIFELINES + u64::from(index);
            if file_lock::try_lock(line, byte, Share::Exclusive)? {
                if !self.slot(index).is_none_or(ward::clear) {
                    // Its occupant was killed, and counts as alive until its ward has ended, too.
                    file_lock::unlock(line, byte)?;
                    continue;
                }
                if let Some(hint) = hint {
                    hint.store((index + 1) % self.slots, Ordering::Relaxed);
                }
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// At this process's normal end: the last one out removes what nobody will use again.
    fn leave(&self) {
        // Elsewhere these names are others', and another user can remove nothing.
        if self.current_owner().is_none() || self.must_be_here(&self.object()).is_err() {
            return;
        }
        // This description holds the registry's attach byte shared; alone, it can hold it exclusively.
        if self.query.try_lock(ATTACH_BYTE, Share::Exclusive) != Some(true) {
            return;
        }
        crash_point("registry.leaving");
        if gc::sweep_left(&self.roll(), self.instance) {
            segment::retire(&self.map);
            crash_point("registry.retired");
            segment::remove_name(&self.namespace.file_name(REGISTRY), self.file);
        }
        // Something is still in use, or is used by what runs after this: it must not look abandoned.
        let _: Option<bool> = self.query.try_lock(ATTACH_BYTE, Share::Shared);
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("namespace", &self.namespace.name())
            .field("owner", &self.current_owner())
            .finish_non_exhaustive()
    }
}

/// How many slots a registry gets if its first process does not say it in its code.
fn usual_slots(registry: &ObjectName<'_>) -> Result<u32, OpenError> {
    let chosen = std::env::var(SLOTS_VARIABLE).ok().filter(|_| !is_secure());
    let Some(chosen) = chosen else { return Ok(DEFAULT_SLOTS) };
    let number = chosen.parse().ok().filter(|number| (1..OwnerId::MAX_SLOTS).contains(number));
    let what = "PROCESSION_SLOTS in the environment is no number from 1 to 65535";
    number.ok_or_else(|| OpenError::Impossible { object: registry.label(), what })
}
