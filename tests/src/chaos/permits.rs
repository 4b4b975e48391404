//! Permits: never more holders among the living than permits, and all of them there at the end. Tokens, which
//! are given and taken for ever: as many as were given, less those taken.

use super::{Account, BURST, End, LIMIT, Law, Participant, Place, Table};
use procession::{BoundedSemaphore, Permit, ReleaseError, Semaphore, SemaphoreError};
use procession_sys::clock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

const PERMITS: u32 = 5;
const BOUNDED: u32 = 3;
const TOKENS: u32 = 64;
/// How long the test may take to say that somebody is dead.
const PATIENCE_NS: u64 = 10_000_000_000;

pub(super) struct Permits {
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    tokens: Semaphore,
    /// Who has which permit, 0 for nobody: a place for each, those of the semaphore first.
    places: Table<AtomicU64>,
}

impl Permits {
    pub(super) fn new(place: &Place) -> Self {
        let semaphore =
            |permits, max| Semaphore::options().namespace(&place.namespace).permits(permits).max(max);
        let bounded = BoundedSemaphore::options().namespace(&place.namespace).permits(BOUNDED as usize);
        Self {
            semaphore: semaphore(PERMITS as usize, PERMITS as usize).open_or_create("semaphore").unwrap(),
            bounded: bounded.open_or_create("bounded").unwrap(),
            tokens: semaphore(0, TOKENS as usize).open_or_create("tokens").unwrap(),
            places: place.table("permits", (PERMITS + BOUNDED) as usize),
        }
    }

    fn acquire<'a>(who: &mut Participant<'_>, of: &'a Semaphore, max: u32) -> Option<Permit<'a>> {
        who.does("acquiring permits");
        let count = if who.dice.below(3) == 0 { 1 + who.dice.below(u64::from(max)) as u32 } else { 1 };
        let outcome = match (who.dice.below(4), count) {
            (0, 1) => of.try_acquire(),
            (0, _) => of.try_acquire_many(count as usize),
            (1, 1) => of.acquire_timeout(LIMIT),
            (1, _) => of.acquire_many_timeout(count as usize, LIMIT),
            (_, 1) => of.acquire(),
            (_, _) => of.acquire_many(count as usize),
        };
        match outcome {
            Err(SemaphoreError::WouldBlock { .. } | SemaphoreError::TimedOut { .. }) => None,
            other => who.must(other, "acquiring permits"),
        }
    }

    /// One of these places is nobody's, or a dead one's: there are as many as permits.
    fn take_place(&self, who: &Participant<'_>, places: std::ops::Range<u32>) -> usize {
        let give_up = clock::now_ns() + PATIENCE_NS;
        loop {
            for place in places.clone().map(|place| place as usize) {
                let mark = self.places[place].load(SeqCst);
                let is_free = mark == 0 || who.diaries[mark as usize - 1].is_dead.load(SeqCst) != 0;
                let take = || self.places[place].compare_exchange(mark, who.mark(), SeqCst, Relaxed);
                if is_free && take().is_ok() {
                    return place;
                }
            }
            // Its permit is free before the test has heard of its death.
            std::thread::yield_now();
            if clock::now_ns() > give_up {
                who.breaks("more permits are held by the living than there are");
                return places.start as usize;
            }
        }
    }

    fn hold(&self, who: &mut Participant<'_>, of: &Semaphore, places: std::ops::Range<u32>) {
        let Some(permit) = Self::acquire(who, of, places.len() as u32) else { return };
        who.does("holding permits");
        let mine: Vec<usize> = (0..permit.count()).map(|_| self.take_place(who, places.clone())).collect();
        who.dawdle();
        for place in mine {
            let found = self.places[place].swap(0, SeqCst);
            who.expects(found == who.mark(), || format!("{found} has the permit of {}", who.mark()));
        }
        drop(permit);
    }

    fn give(&self, who: &mut Participant<'_>) {
        who.does("giving a token");
        let count = 1 + who.dice.below(2) as u32;
        who.begins(Account::Given, u64::from(count));
        match self.tokens.release(count as usize) {
            Ok(()) => who.acknowledges(Account::Given, u64::from(count)),
            Err(ReleaseError::Full { .. }) => who.gives_up(Account::Given, u64::from(count)),
            Err(error) => who.breaks(&format!("giving: {error}")),
        }
    }

    fn take(&self, who: &mut Participant<'_>) {
        who.does("taking a token");
        who.begins(Account::Taken, 1);
        match self.tokens.acquire_timeout(LIMIT) {
            Ok(permit) => {
                permit.forget();
                who.acknowledges(Account::Taken, 1);
            }
            Err(SemaphoreError::TimedOut { .. }) => who.gives_up(Account::Taken, 1),
            Err(error) => who.breaks(&format!("taking: {error}")),
        }
    }
}

impl Law for Permits {
    fn step(&self, who: &mut Participant<'_>) {
        let way = who.dice.below(8);
        for _ in 0..1 + who.dice.below(BURST) {
            match way {
                0..3 => self.hold(who, &self.semaphore, 0..PERMITS),
                3..5 => self.hold(who, &self.bounded, PERMITS..PERMITS + BOUNDED),
                5 => self.give(who),
                6 => self.take(who),
                _ => {
                    // Nobody forgets any, so there is never room.
                    let released = self.bounded.release(1);
                    who.expects(matches!(released, Err(ReleaseError::Full { .. })), || {
                        format!("one permit too many: {released:?}")
                    });
                }
            }
        }
    }

    fn check(&self, end: &End<'_>) {
        assert_eq!(self.semaphore.available(), PERMITS as usize);
        assert_eq!(self.bounded.available(), BOUNDED as usize);
        let (given, taken) = (end.sum(Account::Given), end.sum(Account::Taken));
        let left = self.tokens.available() as u64;
        let (least, most) = (given.0.saturating_sub(taken.1), given.1 - taken.0.min(given.1));
        assert!((least..=most).contains(&left), "{left} tokens; given {given:?}, taken {taken:?}");
        crate::note(&format!("chaos: {left} tokens of {least} to {most}; given {given:?}, taken {taken:?}"));
    }

    fn unlink(&self) {
        self.semaphore.unlink().unwrap();
        self.bounded.unlink().unwrap();
        self.tokens.unlink().unwrap();
    }
}
