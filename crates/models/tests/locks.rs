//! Lock and RLock: exclusion, guards of all depths, and the report of a holder that died.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::cell::UnsafeCell;
use loom::thread;
use procession_models::LockError;
use procession_models::kernel::until_killed;
use std::sync::Arc;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::lock::Lock;
        use world::rlock::RLock;
        use $world as world;

        /// Two critical sections, the second one inside the first; what a dead holder left is recovered.
        fn pass_twice(lock: &RLock, guarded: &UnsafeCell<u32>) {
            let outer = match lock.acquire() {
                Err(LockError::OwnerDied { .. }) => lock.recover().unwrap(),
                acquired => acquired.unwrap(),
            };
            guarded.with_mut(|_| ());
            let inner = lock.acquire().unwrap();
            assert_eq!((outer.depth(), inner.depth()), (2, 2), "how deep");
            drop(outer);
            guarded.with_mut(|_| ());
            drop(inner);
        }

        pub(super) fn recursive_locks_exclude(processes: u32) {
            let lock = RLock::options().anonymous().unwrap();
            let guarded = Arc::new(UnsafeCell::new(0));
            let threads: Vec<_> = (1..processes)
                .map(|slot| {
                    let (lock, guarded) = (lock.of_process(slot), Arc::clone(&guarded));
                    thread::spawn(move || pass_twice(&lock, &guarded))
                })
                .collect();
            pass_twice(&lock, &guarded);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(lock.holder().is_none() && !lock.is_inconsistent());
        }

        pub(super) fn a_recursive_holder_dies_at(label: &'static str) -> bool {
            let lock = RLock::options().anonymous().unwrap();
            let guarded = Arc::new(UnsafeCell::new(0));
            let (victim, same) = (lock.of_process(1), Arc::clone(&guarded));
            let victim = thread::spawn(move || until_killed(1, label, || pass_twice(&victim, &same)));
            pass_twice(&lock, &guarded);
            let died = victim.join().unwrap();
            pass_twice(&lock, &guarded);
            assert!(lock.holder().is_none() && !lock.is_inconsistent());
            died
        }

        /// Everybody is told of a holder that died, until one has recovered.
        pub(super) fn a_holder_dies_at(label: &'static str) -> bool {
            let lock = Lock::options().anonymous().unwrap();
            let victim = lock.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || drop(victim.acquire().unwrap())));
            let told = matches!(lock.acquire().map(drop), Err(LockError::OwnerDied { pid: 1, .. }));
            let died = victim.join().unwrap();
            assert!(died || !told);
            if told {
                assert!(matches!(lock.acquire().map(drop), Err(LockError::OwnerDied { pid: 1, .. })));
            }
            let recovering = lock.recover().unwrap();
            assert!(died && label == "lock.acquired" || !recovering.recovers());
            drop(recovering);
            drop(lock.acquire().unwrap());
            died
        }
    };
}

mod the_locks {
    models!(procession_models);
}

#[test]
fn recursive_locks_exclude_each_other() {
    explore(3, || the_locks::recursive_locks_exclude(2));
    explore(1, || the_locks::recursive_locks_exclude(3));
}

#[test]
fn a_death_of_a_holder_is_reported_and_survived() {
    let labels = ["rlock.entered", "rlock.deeper", "rlock.shallower", "lock.released"];
    explore_deaths(2, &labels, the_locks::a_recursive_holder_dies_at);
    explore_deaths(3, &["lock.acquired", "lock.released"], the_locks::a_holder_dies_at);
}

found_out! {
    rlock_that_enters_as_deep_as_the_dead by a_recursive_holder_dies_at("rlock.deeper") up to 3: "how deep";
    rlock_that_leaves_with_the_first by recursive_locks_exclude(2) up to 3: "Concurrent write";
}
