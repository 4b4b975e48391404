//! How one thread waits at a barrier; the protocol is described in `barrier.rs`.

use super::place::{Place, WAITER};
use super::word::{
    ABORTED, ACTING, ARRIVAL, ARRIVED, COMING, RESETTING, TIMED_OUT, WAITERS, WITHDRAWN, arrived, ended,
    failure, following, generation, is_whole, state, waiting, with_arrival, with_state,
};
use super::{Barrier, BarrierError};
use crate::fault::Fault;
use crate::patience::{Nap, Patience};
use procession_shm::OwnerId;
use procession_sys::atomic::{Ordering, fence};
use procession_sys::{Deadline, crash_point, futex};
use std::ops::RangeInclusive;

/// Between two looks of a waiter that does not sleep yet.
const PAUSES: RangeInclusive<u32> = 1..=16;

/// Whether somebody who could end a generation did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trip {
    Tripped,
    /// Somebody came between, or not all are there: look again.
    NotYet,
    /// Another thread is ending the generation now.
    Busy,
}

/// How a generation ended.
enum End {
    Passed,
    Broken(BarrierError),
    /// A thread that had arrived was interrupted: the others arrive again.
    Again,
}

/// A thread that waits.
pub(super) struct Waiter<'a> {
    barrier: &'a Barrier,
    me: OwnerId,
    /// A member's own; or, if `is_seated`, one for as long as this waits.
    place: Option<&'a Place>,
    is_seated: bool,
    deadline: Deadline,
    patience: Patience,
    /// Whether a slice has ended, and nobody has asked about the others since.
    asks: bool,
    /// Whether a hook of this thread wanted the wait to end.
    is_interrupted: bool,
}

impl<'a> Waiter<'a> {
    pub(super) fn new(
        barrier: &'a Barrier,
        place: Option<&'a Place>,
        deadline: Deadline,
    ) -> Result<Self, Fault> {
        let me = Fault::or_owner(barrier.body.segment())?;
        let patience = Patience::new(deadline);
        Ok(Self {
            barrier,
            me,
            place,
            is_seated: false,
            deadline,
            patience,
            asks: false,
            is_interrupted: false,
        })
    }

    /// Arrives, and waits until all have; the order of the arrival.
    pub(super) fn pass(&mut self) -> Result<u32, BarrierError> {
        self.barrier.must_not_be_in_action(self.me)?;
        loop {
            // SYNC: barrier.trip.
            let word = self.barrier.body.word.load(Ordering::Acquire);
            if let Some(index) = self.arrive_when_possible(word)? {
                return Ok(u32::try_from(index).unwrap_or(0));
            }
        }
    }

    fn arrive_when_possible(&mut self, word: u64) -> Result<Option<u64>, BarrierError> {
        if word & RESETTING != 0 {
            self.barrier.finish_reset(word);
            return Ok(None);
        }
        match state(word) {
            0 if self.barrier.rules.elastic => self.arrive_elastic(word),
            0 => self.arrive(word),
            // This one's generation begins when that has ended.
            ACTING => self.sleep(word).map(|()| None),
            _ => Err(self.barrier.broken_by(state(word))),
        }
    }

    /// Arrives at a barrier of so many parties: the arrival, and the trip that it causes, are one CAS of the
    /// word.
    fn arrive(&mut self, word: u64) -> Result<Option<u64>, BarrierError> {
        let (barrier, index) = (self.barrier, arrived(word));
        let parties = u64::from(barrier.rules.parties);
        if index >= parties {
            return Err(
                Fault::corrupt(barrier.body.segment(), "more have arrived than there are parties").into()
            );
        }
        if index + 1 == parties {
            return match self.trip(word)? {
                Trip::Tripped => Ok(Some(index)),
                Trip::NotYet => Ok(None),
                Trip::Busy => self.sleep(word).map(|()| None),
            };
        }
        let Some(place) = self.seat(index)? else {
            // All places are taken by the living: each frees its own when it leaves.
            self.sleep(word)?;
            return Ok(None);
        };
        // SYNC: barrier.failed.
        place.wait.store(waiting(generation(word), COMING), Ordering::Release);
        // SYNC: barrier.trip.
        let (done, otherwise) = (Ordering::AcqRel, Ordering::Relaxed);
        if barrier.body.word.compare_exchange(word, word + ARRIVAL, done, otherwise).is_err() {
            // Somebody else arrived, or it was broken: not counted, and so nothing to take back.
            return Ok(None);
        }
        crash_point("barrier.arrived");
        let passed = self.wait_for_end(generation(word), place)?;
        Ok(passed.then_some(index))
    }

    /// Arrives at an elastic barrier: the word gives the order, the member's own place is the arrival.
    fn arrive_elastic(&mut self, word: u64) -> Result<Option<u64>, BarrierError> {
        let Some(place) = self.place else {
            return Err(BarrierError::NotAMember { object: self.barrier.label() });
        };
        let (body, mine) = (&self.barrier.body, generation(word));
        let coming = waiting(mine, COMING);
        // SYNC: barrier.failed.
        place.wait.store(coming, Ordering::Release);
        // SYNC: barrier.trip.
        let (done, otherwise) = (Ordering::AcqRel, Ordering::Relaxed);
        if body.word.compare_exchange(word, with_arrival(word), done, otherwise).is_err() {
            return Ok(None);
        }
        crash_point("barrier.counted");
        // SYNC: barrier.trip. Failure means that the generation has failed, as the wait below finds.
        let _: Result<u64, u64> =
            place.wait.compare_exchange(coming, waiting(mine, ARRIVED), done, otherwise);
        crash_point("barrier.arrived");
        // SYNC: barrier.fewer. Of two that arrive last, one sees the other.
        fence(Ordering::SeqCst);
        let passed = self.wait_for_end(mine, place)?;
        Ok(passed.then_some(arrived(word)))
    }

    /// Where this thread waits; `None` while all places are taken.
    fn seat(&mut self, hint: u64) -> Result<Option<&'a Place>, Fault> {
        if self.place.is_none() {
            self.place = self.barrier.take_seat(self.me, hint)?;
            self.is_seated = self.place.is_some();
        }
        Ok(self.place)
    }

    /// Ends the generation of `word`, whose last arrival this is.
    fn trip(&mut self, word: u64) -> Result<Trip, BarrierError> {
        // The action may wait for something else.
        self.patience.hide();
        let Some(action) = &self.barrier.action else {
            let tripped = self.barrier.change_from(word, ended(word)).is_ok();
            return Ok(if tripped { Trip::Tripped } else { Trip::NotYet });
        };
        self.barrier.act(action, self.deadline, || {
            let acting = with_state(word + ARRIVAL, ACTING);
            // SYNC: barrier.trip.
            let (done, otherwise) = (Ordering::AcqRel, Ordering::Relaxed);
            let begun = self.barrier.body.word.compare_exchange(word, acting, done, otherwise);
            Ok(begun.is_ok().then_some(generation(word)))
        })
    }

    /// Ends the generation of an elastic barrier, if all members have arrived.
    fn trip_elastic(&mut self, mine: u64) -> Result<Trip, BarrierError> {
        let barrier = self.barrier;
        if !barrier.have_all_arrived(mine) {
            return Ok(Trip::NotYet);
        }
        // The action may wait for something else.
        self.patience.hide();
        // Holding the lock: nobody joins between the look and the change.
        let change = |to: &dyn Fn(u64) -> u64| {
            let lock = &barrier.body.joining;
            let Some(hold) = barrier.lock(lock, self.deadline)? else { return Ok(Trip::Busy) };
            crash_point("barrier.tripping");
            let is_due = |word| generation(word) == mine && is_whole(word) && state(word) == 0;
            let is_due = |word| is_due(word) && barrier.have_all_arrived(mine);
            let tripped = barrier.change(|word| is_due(word).then(|| to(word)));
            lock.release(hold, true);
            Ok(if tripped { Trip::Tripped } else { Trip::NotYet })
        };
        let Some(action) = &barrier.action else { return change(&ended) };
        barrier.act(action, self.deadline, || {
            Ok((change(&|word| with_state(word, ACTING))? == Trip::Tripped).then_some(mine))
        })
    }

    /// Waits until the generation, in which this thread has arrived at `place`, has ended; whether it passed,
    /// and is not to arrive again.
    fn wait_for_end(&mut self, mine: u64, place: &Place) -> Result<bool, BarrierError> {
        loop {
            // SYNC: barrier.trip.
            let word = self.barrier.body.word.load(Ordering::Acquire);
            if let Some(end) = self.end(word, mine, place) {
                if self.asks {
                    // Nobody woke this one: who ended it may have died before it woke anybody.
                    futex::wake_all(futex::low_half(&self.barrier.body.word));
                }
                return match end {
                    End::Passed => Ok(true),
                    End::Broken(error) => Err(error),
                    End::Again if self.is_interrupted => Err(self.interrupted()),
                    End::Again => Ok(false),
                };
            }
            if self.barrier.rules.elastic && state(word) == 0 && self.trip_elastic(mine)? == Trip::Tripped {
                return Ok(true);
            }
            if self.is_interrupted && (!self.is_ours() || self.barrier.withdraw(word)) {
                return Err(self.interrupted());
            }
            // Interrupted while the action runs: the arrival cannot be taken back, and its end decides.
            match self.sleep(word) {
                Err(BarrierError::Interrupted { .. }) => self.is_interrupted = true,
                slept => slept?,
            }
        }
    }

    /// Whether it is this process that waits, and not a copy of it, which a hook has made.
    fn is_ours(&self) -> bool {
        self.barrier.keeper.owner() == Some(self.me)
    }

    fn interrupted(&self) -> BarrierError {
        BarrierError::Interrupted { object: self.barrier.body.segment().label() }
    }

    /// How the generation `mine` ended; `None` while it goes on.
    fn end(&self, word: u64, mine: u64, place: &Place) -> Option<End> {
        let broken_by = |why| match why {
            WITHDRAWN => End::Again,
            _ => End::Broken(self.barrier.broken_by(why)),
        };
        if generation(word) == mine {
            return (!is_whole(word)).then(|| broken_by(state(word)));
        }
        // After the word: a reset says so in every place before it changes the generation.
        // SYNC: barrier.failed.
        if let Some(why) = failure(place.wait.load(Ordering::Acquire)) {
            return Some(broken_by(why));
        }
        if word & RESETTING == 0
            && state(word) == ABORTED
            && arrived(word) == 0
            && generation(word) == following(mine)
        {
            // Aborted before all had left.
            return Some(broken_by(ABORTED));
        }
        Some(End::Passed)
    }

    /// Sleeps for a slice, unless the deadline has passed: then the barrier is broken.
    pub(super) fn sleep(&mut self, word: u64) -> Result<(), BarrierError> {
        let (barrier, body) = (self.barrier, &self.barrier.body);
        if self.patience.is_over() {
            // Only from the word that was seen: a trip or a reset in between counts, and not the time.
            return match barrier.change_from(word, with_state(word, TIMED_OUT)) {
                Ok(()) => Err(barrier.timed_out(word)),
                Err(_) => Ok(()),
            };
        }
        // The last slice ended without a wake, so that somebody who would have come may be dead.
        if std::mem::take(&mut self.asks) {
            if state(word) == ACTING {
                barrier.find_dead_runner(word)?;
            }
            barrier.bury_dead_members()?;
            return Ok(());
        }
        if word & WAITERS == 0 {
            // The others are often on their way.
            if self.patience.spins(PAUSES) {
                return Ok(());
            }
            // Before the sleep: whoever changes the word sees it and owes a wake.
            let announced = word | WAITERS;
            if body.word.compare_exchange(word, announced, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                return Ok(());
            }
            crash_point("barrier.waiting");
            if barrier.rules.elastic {
                // SYNC: barrier.fewer. Who left before this was announced is not waited for: look again.
                fence(Ordering::SeqCst);
                return Ok(());
            }
        }
        let (segment, announced) = (body.segment(), (word | WAITERS) as u32);
        let nap = self
            .patience
            .sleep(Some(segment), futex::low_half(&body.word), announced, &body.asked, || barrier.concerned())
            .map_err(|stop| Fault::of_stop(segment, stop, |object| BarrierError::Interrupted { object }))?;
        crash_point("barrier.slept");
        self.asks = nap == Nap::Ask;
        Ok(())
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place.filter(|_| self.is_seated && self.is_ours()) {
            place.free(self.me.to_bits() | WAITER);
            crash_point("barrier.seat_left");
        }
    }
}
