//! Exclusion: two plain words that only the holder of a lock writes differ only while a holder is inside, or
//! died inside.
//!
//! Two locks, a recursive one and one of readers and writers; waiting on conditions with the lock let go;
//! forking and executing while holding; threads that end while holding.

use super::{End, LIMIT, Law, Participant, Place, Table};
use procession::{Condition, Lock, LockError, LockGuard, RLock, RLockGuard, ReadGuard, RwLock, WriteGuard};
use procession_sys::shm_struct;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Two locks, a recursive one, writers; readers are no kind of their own.
const LOCKS: u64 = 4;
const NESTED: usize = 2;
const SHARED: usize = 3;

shm_struct! {
    struct Pair {
        /// Written first.
        first: AtomicU64,
        /// Written last.
        second: AtomicU64,
        /// Who is inside, 0 for nobody.
        inside: AtomicU64,
        spare: [AtomicU64; 5],
    }
}

/// The locks and their witnesses.
#[derive(Debug)]
pub struct Exclusion {
    plain: [Lock; 2],
    nested: RLock,
    shared: RwLock,
    conditions: [Condition; 3],
    pairs: Table<Pair>,
}

#[derive(Debug)]
enum Held<'a> {
    Plain(LockGuard<'a>),
    Nested(Vec<RLockGuard<'a>>),
    Write(WriteGuard<'a>),
    Read(#[expect(dead_code, reason = "it is there to be dropped")] ReadGuard<'a>),
}

impl Held<'_> {
    fn recovers(&self) -> bool {
        match self {
            Self::Plain(guard) => guard.recovers(),
            Self::Nested(guards) => guards[0].recovers(),
            Self::Write(guard) => guard.recovers(),
            Self::Read(_) => false,
        }
    }

    fn reads(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}

impl Exclusion {
    pub(super) fn new(place: &Place) -> Self {
        let at = &place.namespace;
        let condition = |name| Condition::options().namespace(at).open_or_create(name).unwrap();
        Self {
            plain: ["lock-0", "lock-1"]
                .map(|name| Lock::options().namespace(at).open_or_create(name).unwrap()),
            nested: RLock::options().namespace(at).open_or_create("rlock").unwrap(),
            shared: RwLock::options().namespace(at).open_or_create("rwlock").unwrap(),
            conditions: ["changed-0", "changed-1", "changed-2"].map(condition),
            pairs: place.table("exclusion", LOCKS as usize),
        }
    }

    fn acquire(&self, which: usize, way: u64, reads: bool) -> Result<Held<'_>, LockError> {
        match which {
            NESTED => {
                let guard = match way {
                    0 => self.nested.try_acquire(),
                    1 => self.nested.acquire_timeout(LIMIT),
                    _ => self.nested.acquire(),
                };
                guard.map(|guard| Held::Nested(vec![guard]))
            }
            SHARED if reads => {
                let guard = match way {
                    0 => self.shared.try_read(),
                    1 => self.shared.read_timeout(LIMIT),
                    _ => self.shared.read(),
                };
                guard.map(Held::Read)
            }
            SHARED => {
                let guard = match way {
                    0 => self.shared.try_write(),
                    1 => self.shared.write_timeout(LIMIT),
                    _ => self.shared.write(),
                };
                guard.map(Held::Write)
            }
            _ => {
                let lock = &self.plain[which];
                let guard = match way {
                    0 => lock.try_acquire(),
                    1 => lock.acquire_timeout(LIMIT),
                    _ => lock.acquire(),
                };
                guard.map(Held::Plain)
            }
        }
    }

    fn recover(&self, which: usize) -> Result<Held<'_>, LockError> {
        match which {
            NESTED => self.nested.recover().map(|guard| Held::Nested(vec![guard])),
            SHARED => self.shared.recover().map(Held::Write),
            _ => self.plain[which].recover().map(Held::Plain),
        }
    }

    fn enter(&self, who: &mut Participant<'_>, which: usize) -> Option<Held<'_>> {
        who.does("acquiring a lock");
        let (way, reads) = (who.dice.below(4), who.dice.below(4) != 0);
        who.settle(self.acquire(which, way, reads), || self.recover(which))
    }

    /// What was written by whoever died inside is put right.
    fn begin(&self, who: &Participant<'_>, which: usize, held: &Held<'_>) -> u64 {
        let pair = &self.pairs[which];
        let before = pair.inside.swap(who.mark(), Relaxed);
        let first = pair.first.load(Relaxed);
        if held.recovers() {
            pair.second.store(first, Relaxed);
        } else {
            who.does("inside a lock");
            who.expects(before == 0, || format!("lock {which}: {} and {before} were inside", who.mark()));
        }
        let second = pair.second.load(Relaxed);
        who.expects(first == second, || {
            format!("lock {which}: {first} and {second} differ, and nobody was said to have died")
        });
        pair.first.store(first + 1, Relaxed);
        first + 1
    }

    fn finish(&self, who: &Participant<'_>, which: usize, first: u64) {
        let pair = &self.pairs[which];
        let (found, inside) = (pair.first.load(Relaxed), pair.inside.load(Relaxed));
        who.expects((found, inside) == (first, who.mark()), || {
            format!("lock {which}: {inside} came in, too: {found} instead of {first}")
        });
        pair.second.store(first, Relaxed);
        pair.inside.store(0, Relaxed);
    }

    fn write(&self, who: &mut Participant<'_>, which: usize, held: &Held<'_>) {
        let first = self.begin(who, which, held);
        who.dawdle();
        who.linger(if held.recovers() { 2 } else { 100 });
        self.finish(who, which, first);
    }

    fn read(&self, who: &mut Participant<'_>) {
        who.does("inside a lock, reading");
        let pair = &self.pairs[SHARED];
        let look = || (pair.first.load(Relaxed), pair.second.load(Relaxed), pair.inside.load(Relaxed));
        let before = look();
        who.dawdle();
        let after = look();
        who.expects(before == after && before.0 == before.1 && before.2 == 0, || {
            format!("somebody wrote while another read: {before:?}, {after:?}")
        });
    }

    /// Enters once more, up to three times, and leaves again in any order.
    fn nest<'a>(&'a self, who: &mut Participant<'_>, guards: &mut Vec<RLockGuard<'a>>) {
        for _ in 0..who.dice.below(4) {
            let again = match who.dice.below(3) {
                0 => self.nested.try_acquire(),
                1 => self.nested.acquire_timeout(LIMIT),
                _ => self.nested.acquire(),
            };
            guards.extend(who.must(again, "once more"));
        }
        let depth = guards[0].depth() as usize;
        who.expects(depth == guards.len(), || format!("depth {depth} with {} guards", guards.len()));
    }

    /// Lets the lock go until somebody has changed something, or for a moment; another lock is left as it is.
    fn wait<'a>(&'a self, who: &Participant<'_>, which: usize, held: Held<'a>) -> Option<Held<'a>> {
        const MOMENT: Duration = Duration::from_millis(2);
        who.does("waiting with a lock let go");
        let outcome = match held {
            Held::Plain(guard) => {
                let waited = self.conditions[which].wait_timeout(guard, MOMENT);
                waited.map(|(guard, _)| Held::Plain(guard))
            }
            Held::Nested(mut guards) => {
                // The others hold again what this one gets back.
                let waited = self.conditions[NESTED].wait_timeout(guards.swap_remove(0), MOMENT);
                waited.map(|(guard, _)| {
                    guards.insert(0, guard);
                    Held::Nested(guards)
                })
            }
            other => return Some(other),
        };
        who.settle(outcome, || self.recover(which))
    }

    /// Forks in the middle of a change: in the child, which gets none of what its parent holds, this is true.
    /// `fork` returns to the parent when the child has ended.
    pub fn fork_inside(
        &self,
        who: &mut Participant<'_>,
        fork: impl FnOnce() -> bool,
        is_orphan: impl Fn() -> bool,
    ) -> bool {
        let which = who.dice.below(LOCKS) as usize;
        let Some(held) = self.enter(who, which) else { return false };
        let reads = held.reads();
        let first = if reads { 0 } else { self.begin(who, which, &held) };
        who.does("inside a lock, forking");
        if fork() {
            drop(held);
            let mine = self.acquire(which, 0, reads).is_ok();
            let excused = reads || is_orphan();
            who.expects(!mine || excused, || format!("the child of a holder got lock {which}"));
            return true;
        }
        if !reads {
            self.finish(who, which, first);
        }
        false
    }

    /// Executes another program in the middle of a change; returns only if that was not to be.
    pub fn execute_inside(&self, who: &mut Participant<'_>, execute: impl FnOnce()) {
        let which = who.dice.below(LOCKS) as usize;
        let Some(held) = self.enter(who, which) else { return };
        if !held.reads() {
            self.begin(who, which, &held);
        }
        who.does("inside a lock, executing");
        execute();
    }
}

impl Exclusion {
    /// Begins a change and forgets to finish it: true, and then the calling thread is to end.
    pub fn end_inside(&self, who: &mut Participant<'_>) -> bool {
        let which = who.dice.below(LOCKS) as usize;
        let Some(held) = self.enter(who, which) else { return false };
        if !held.reads() {
            self.begin(who, which, &held);
        }
        who.does("inside a lock, ending");
        std::mem::forget(held);
        true
    }
}

impl Law for Exclusion {
    fn step(&self, who: &mut Participant<'_>) {
        let which = who.dice.below(LOCKS) as usize;
        let Some(mut held) = self.enter(who, which) else { return };
        if held.reads() {
            return self.read(who);
        }
        self.write(who, which, &held);
        if let Held::Nested(guards) = &mut held {
            self.nest(who, guards);
        }
        match (who.dice.below(8), held) {
            (0, Held::Write(guard)) => {
                if let Some(_guard) = who.must(guard.downgrade(), "downgrading") {
                    self.read(who);
                }
            }
            (0, held) => {
                if let Some(held) = self.wait(who, which, held) {
                    self.write(who, which, &held);
                }
            }
            (1, held) if which < self.conditions.len() => {
                self.conditions[which].notify(1 + who.dice.below(2) as usize);
                drop(held);
            }
            (_, held) => drop(held),
        }
    }

    fn check(&self, _: &End<'_>) {
        for which in 0..LOCKS as usize {
            let died = match self.acquire(which, 2, false) {
                Ok(_) => false,
                Err(LockError::OwnerDied { .. }) => self.recover(which).unwrap().recovers(),
                Err(error) => panic!("{error}"),
            };
            let pair = &self.pairs[which];
            let same = pair.first.load(Relaxed) == pair.second.load(Relaxed);
            assert!(same || died, "the words of lock {which} differ, and nobody died holding it");
            assert!(self.acquire(which, 0, false).is_ok());
        }
    }

    fn unlink(&self) {
        self.plain.iter().for_each(|lock| lock.unlink().unwrap());
        self.nested.unlink().unwrap();
        self.shared.unlink().unwrap();
        self.conditions.iter().for_each(|condition| condition.unlink().unwrap());
    }
}
