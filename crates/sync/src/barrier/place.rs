//! The places of a barrier: who takes part, and what each of them waits for. The protocol is described in
//! `barrier.rs`.

use super::word::{ARRIVED, COMING, PEER_DIED, WAITERS, failed, generation, is_whole, waiting, with_state};
use super::{Barrier, BarrierBody};
use crate::fault::Fault;
use crate::holder::Holder;
use procession_shm::OwnerId;
use procession_sys::atomic::{AtomicU64, Ordering, fence};
use procession_sys::{crash_point, shm_struct};

/// Beside the owner: a member.
pub(super) const MEMBER: u64 = 1 << 16;
/// Beside the owner: somebody who waits, and is no member.
pub(super) const WAITER: u64 = 1 << 17;
/// How many more can wait at a barrier than it has parties, while those of earlier generations have not left.
pub(super) const SPARE: usize = 64;

shm_struct! {
    /// Free while all zero.
    pub struct Place {
        /// The owner of the place; 0 if it is free.
        pub(super) owner: AtomicU64,
        /// The generation that is waited for, and how it goes.
        pub(super) wait: AtomicU64,
    }
}

impl Place {
    fn take(&self, mine: u64) -> bool {
        self.owner.load(Ordering::Relaxed) == 0 && self.hand_over(0, mine)
    }

    pub(super) fn belongs_to(&self, owner: u64) -> bool {
        // SYNC: barrier.place.
        self.owner.load(Ordering::Acquire) == owner
    }

    /// Makes it another's; whether it was this one's.
    pub(super) fn hand_over(&self, from: u64, to: u64) -> bool {
        // SYNC: barrier.place.
        self.owner.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether somebody waits here for the generation, for people.
    pub(super) fn waits_for(&self, mine: u64) -> bool {
        // SYNC: barrier.failed.
        [COMING, ARRIVED].contains(&(self.wait.load(Ordering::Acquire) ^ waiting(mine, 0)))
    }

    /// Frees it from exactly this owner; whether it was it.
    pub(super) fn free(&self, owner: u64) -> bool {
        self.hand_over(owner, 0)
    }

    /// Tells whoever waits here for the generation that it will never trip.
    fn fail(&self, mine: u64, word: u64) {
        for code in [COMING, ARRIVED] {
            let (from, to) = (waiting(mine, code), failed(mine, word));
            // SYNC: barrier.failed.
            let _: Result<u64, u64> =
                self.wait.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed);
        }
    }
}

impl Barrier {
    pub(super) fn places(&self) -> &[Place] {
        self.body.slice(size_of::<BarrierBody>(), self.rules.places()).unwrap_or_default()
    }

    /// The places that members take.
    pub(super) fn member_places(&self) -> &[Place] {
        let places = self.places();
        places.get(..self.rules.parties as usize).unwrap_or(places)
    }

    /// The places of those who wait without being members.
    fn waiter_places(&self) -> &[Place] {
        self.places().get(self.rules.parties as usize..).unwrap_or_default()
    }

    /// The owners that stand in some places, as people want to see them.
    pub(super) fn owners(&self, places: &[Place], is_asked: impl Fn(&Place) -> bool) -> Vec<Holder> {
        let segment = self.body.segment();
        // SYNC: barrier.place.
        let owner = |place: &Place| match place.owner.load(Ordering::Acquire) {
            0 => None,
            owner => is_asked(place).then(|| Holder::of(segment, OwnerId::from_bits(owner))),
        };
        places.iter().filter_map(owner).collect()
    }

    /// Takes a place for a member; which.
    pub(super) fn take_place(&self, me: OwnerId) -> Option<usize> {
        let mine = me.to_bits() | MEMBER;
        let found = self.member_places().iter().position(|place| place.take(mine))?;
        crash_point("barrier.place_taken");
        // What a member before may have left. At an elastic barrier nobody looks until the lock is released.
        self.member_places()[found].wait.store(0, Ordering::Relaxed);
        Some(found)
    }

    /// A place for somebody who is about to wait, and is no member; `None` if all are taken by the living.
    pub(super) fn take_seat(&self, me: OwnerId, hint: u64) -> Result<Option<&Place>, Fault> {
        let seats = self.waiter_places();
        let start = (hint as usize).min(seats.len());
        let (before, after) = seats.split_at(start);
        let mine = me.to_bits() | WAITER;
        let look = || after.iter().chain(before).find(|seat| seat.take(mine));
        let mut found = look();
        if found.is_none() && self.free_dead(seats)? {
            found = look();
        }
        crash_point("barrier.seated");
        Ok(found)
    }

    pub(super) fn is_dead(&self, owner: OwnerId) -> Result<bool, Fault> {
        let segment = self.body.segment();
        segment.registration().is_dead(owner).map_err(|why| Fault::unknowable(segment, why))
    }

    /// Whether the place belongs to a process that died while it had it.
    fn is_deserted(&self, place: &Place, owner: u64) -> Result<bool, Fault> {
        crash_point("barrier.asking");
        // Again after the answer: one that left its place and then ended has not died as a member.
        // SYNC: barrier.place.
        Ok(self.is_dead(OwnerId::from_bits(owner))? && place.owner.load(Ordering::Acquire) == owner)
    }

    /// Frees the places of the dead; whether there were any.
    pub(super) fn free_dead(&self, places: &[Place]) -> Result<bool, Fault> {
        let mut found = false;
        for place in places {
            // SYNC: barrier.place.
            let owner = place.owner.load(Ordering::Acquire);
            if owner != 0 && self.is_deserted(place, owner)? {
                found |= place.free(owner);
                crash_point("barrier.place_freed");
            }
        }
        Ok(found)
    }

    /// Those whose death those who wait have to do something about: the members, and who runs the action.
    pub(super) fn concerned(&self) -> Vec<OwnerId> {
        // SYNC: barrier.place.
        let words = self.member_places().iter().map(|place| place.owner.load(Ordering::Acquire));
        let members = words.filter(|&word| word != 0).map(OwnerId::from_bits);
        self.body.runner.owner().into_iter().chain(members).collect()
    }

    /// Does what the barrier's policy says about members that are dead; whether there were any.
    pub(super) fn bury_dead_members(&self) -> Result<bool, Fault> {
        if self.rules.removes {
            let found = self.free_dead(self.member_places())?;
            if found {
                self.call_waiters();
            }
            return Ok(found);
        }
        loop {
            if let Some(found) = self.try_break_for_the_dead()? {
                return Ok(found);
            }
        }
    }

    /// Breaks the barrier if a member is dead, unless it is broken already, and frees the member's place;
    /// `None` if somebody arrived or reset it meanwhile.
    fn try_break_for_the_dead(&self) -> Result<Option<bool>, Fault> {
        // Before the places: if it is reset meanwhile, the break fails.
        // SYNC: barrier.trip.
        let word = self.body.word.load(Ordering::Acquire);
        for place in self.member_places() {
            // SYNC: barrier.place.
            let owner = place.owner.load(Ordering::Acquire);
            if owner == 0 || !self.is_deserted(place, owner)? {
                continue;
            }
            crash_point("barrier.member_found_dead");
            self.note_dead(OwnerId::from_bits(owner));
            if is_whole(word) && self.change_from(word, with_state(word, PEER_DIED)).is_err() {
                return Ok(None);
            }
            crash_point("barrier.broken_for_the_dead");
            place.free(owner);
            return Ok(Some(true));
        }
        Ok(Some(false))
    }

    pub(super) fn note_dead(&self, owner: OwnerId) {
        let pid = self.body.segment().registration().pid_of(owner).unwrap_or(0);
        self.body.died.store(pid, Ordering::Relaxed);
    }

    /// Tells everybody who waits for the generation of `word` that it has failed.
    pub(super) fn fail_places(&self, word: u64) {
        for place in self.places() {
            place.fail(generation(word), word);
        }
        crash_point("barrier.failed");
    }

    /// How many members an elastic barrier has.
    pub(super) fn count_members(&self) -> usize {
        // SYNC: barrier.place.
        self.member_places().iter().filter(|place| place.owner.load(Ordering::Acquire) != 0).count()
    }

    /// How many have arrived at an elastic barrier, of the members that it has.
    pub(super) fn count_arrived(&self, mine: u64) -> usize {
        let arrived = waiting(mine, ARRIVED);
        // SYNC: barrier.trip; barrier.place.
        let is_counted = |place: &&Place| {
            place.wait.load(Ordering::Acquire) == arrived && place.owner.load(Ordering::Acquire) != 0
        };
        self.member_places().iter().filter(is_counted).count()
    }

    /// Whether all members of an elastic barrier have arrived.
    pub(super) fn have_all_arrived(&self, mine: u64) -> bool {
        let arrived = waiting(mine, ARRIVED);
        // SYNC: barrier.trip.
        let has = |place: &Place| {
            place.owner.load(Ordering::Acquire) == 0 || place.wait.load(Ordering::Acquire) == arrived
        };
        self.member_places().iter().all(has)
    }

    /// Wakes those who wait at an elastic barrier, to look whether all members have arrived: there are fewer
    /// now.
    pub(super) fn call_waiters(&self) {
        // SYNC: barrier.fewer.
        fence(Ordering::SeqCst);
        let mut word = self.body.word.load(Ordering::Relaxed);
        while word & WAITERS != 0 {
            // `change_from` takes `WAITERS` away: whoever is about to sleep finds another word.
            match self.change_from(word, word) {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
    }
}
