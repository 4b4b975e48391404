//! Condition: who waits is told of what was done under the lock, one for each that is meant, also when
//! somebody dies.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::cell::Cell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use procession_models::kernel::{asleep, expire, until_killed};
use procession_models::{Lock, LockError, LockGuard, RLock, Value, crash_point};
use std::sync::Arc;
use std::time::Duration;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::condition::Condition;
        use $world as world;

        /// Things that are taken under the lock, as one process has them: loom reports a look at them without
        /// it.
        struct Store {
            lock: Lock,
            changed: Condition,
            things: Arc<Cell<u32>>,
        }

        fn store() -> Store {
            Store {
                lock: Lock::options().anonymous().unwrap(),
                changed: Condition::options().anonymous().unwrap(),
                things: Arc::new(Cell::new(0)),
            }
        }

        impl Store {
            fn of_process(&self, slot: u32) -> Self {
                Self {
                    lock: self.lock.of_process(slot),
                    changed: self.changed.of_process(slot),
                    things: Arc::clone(&self.things),
                }
            }

            fn spawn<T: 'static>(
                &self,
                slot: u32,
                act: impl FnOnce(&Self) -> T + 'static,
            ) -> thread::JoinHandle<T> {
                let store = self.of_process(slot);
                thread::spawn(move || act(&store))
            }

            /// Gets the lock, whoever died with it: things come and go as a whole.
            fn enter(&self) -> LockGuard<'_> {
                self.lock.recover().unwrap()
            }

            fn wait<'a>(&'a self, guard: LockGuard<'a>) -> LockGuard<'a> {
                match self.changed.wait(guard) {
                    Err(LockError::OwnerDied { .. }) => self.enter(),
                    waited => waited.unwrap(),
                }
            }

            fn take(&self) {
                let mut guard = self.enter();
                while self.things.get() == 0 {
                    guard = self.wait(guard);
                }
                self.things.set(self.things.get() - 1);
            }

            /// Waits once and not for long; whether it took something.
            fn take_in_time(&self) -> bool {
                let mut guard = self.enter();
                if self.things.get() == 0 {
                    let (again, waited) = self.changed.wait_timeout(guard, Duration::ZERO).unwrap();
                    guard = again;
                    if waited.timed_out() {
                        return false;
                    }
                }
                let there = self.things.get() > 0;
                if there {
                    self.things.set(self.things.get() - 1);
                }
                there
            }

            fn put(&self) {
                let _guard = self.enter();
                self.things.set(self.things.get() + 1);
                crash_point("things.put");
                self.changed.notify(1);
            }

            fn put_for_all(&self, takers: u32) {
                let _guard = self.enter();
                self.things.set(takers);
                crash_point("things.put");
                self.changed.notify_all();
            }

            /// Waits until something is there, leaves it there, and tells the next.
            fn pass(&self) {
                let mut guard = self.enter();
                while self.things.get() == 0 {
                    guard = self.wait(guard);
                }
                self.changed.notify(1);
            }
        }

        fn join_all(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        pub(super) fn one_for_each(takers: u32) {
            let store = store();
            let threads: Vec<_> = (1..=takers).map(|slot| store.spawn(slot, Store::take)).collect();
            (0..takers).for_each(|_| store.put());
            join_all(threads);
        }

        /// The notify comes when the lock has been let go.
        pub(super) fn notified_without_the_lock() {
            let store = store();
            let taker = store.spawn(1, Store::take);
            let guard = store.enter();
            store.things.set(1);
            drop(guard);
            store.changed.notify(1);
            taker.join().unwrap();
        }

        /// Two wait; the first to come goes on, and the other stays until it is notified too.
        pub(super) fn one_after_the_other() {
            let store = store();
            let turns = |store: &Store, turn: u32| {
                let _guard = store.changed.wait(store.enter()).unwrap();
                assert_eq!(store.things.replace(turn), turn - 1, "whose turn it is");
            };
            let first = store.spawn(1, move |store| turns(store, 1));
            while asleep() < 1 {
                thread::yield_now();
            }
            let second = store.spawn(2, move |store| turns(store, 2));
            while asleep() < 2 {
                thread::yield_now();
            }
            let guard = store.enter();
            store.changed.notify(1);
            drop(guard);
            first.join().unwrap();
            let guard = store.enter();
            assert_eq!((store.things.get(), store.changed.waiters()), (1, 1), "whose turn it is");
            store.changed.notify(1);
            drop(guard);
            second.join().unwrap();
        }

        pub(super) fn all_are_told(takers: u32) {
            let store = store();
            let threads: Vec<_> = (1..=takers).map(|slot| store.spawn(slot, Store::take)).collect();
            store.put_for_all(takers);
            join_all(threads);
        }

        /// The others that can be let go: a recursive lock, over both levels, and a value.
        pub(super) fn a_recursive_lock_is_let_go() {
            let (lock, changed) =
                (RLock::options().anonymous().unwrap(), Condition::options().anonymous().unwrap());
            let things = Arc::new(Cell::new(0));
            let (its_lock, its_changed, same) =
                (lock.of_process(1), changed.of_process(1), Arc::clone(&things));
            let taker = thread::spawn(move || {
                let outer = its_lock.acquire().unwrap();
                let inner = its_changed.wait_for(its_lock.acquire().unwrap(), |_| same.get() > 0).unwrap();
                assert_eq!((outer.depth(), inner.depth()), (2, 2), "how deep");
            });
            let guard = lock.acquire().unwrap();
            things.set(1);
            changed.notify(1);
            drop(guard);
            taker.join().unwrap();
        }

        pub(super) fn a_value_is_let_go() {
            let stock: Value<u32> = Value::options().anonymous().unwrap();
            let changed = Condition::options().anonymous().unwrap();
            let (its_stock, its_changed) = (stock.of_process(1), changed.of_process(1));
            let taker = thread::spawn(move || {
                let mut stock = its_changed.wait_for(its_stock.acquire().unwrap(), |n| *n > 0).unwrap();
                *stock -= 1;
            });
            let mut guard = stock.acquire().unwrap();
            *guard += 1;
            changed.notify(1);
            drop(guard);
            taker.join().unwrap();
            assert_eq!(stock.get().unwrap(), 0, "things that are there");
        }

        /// What was done before a notify without the lock is seen by the one that it reaches.
        pub(super) fn what_was_done_is_seen() {
            let store = store();
            let done = Arc::new(Cell::new(0));
            let returned = Arc::new(AtomicU32::new(0));
            let (its_done, its_return) = (Arc::clone(&done), Arc::clone(&returned));
            let waiter = store.spawn(1, move |store| {
                let _guard = store.wait(store.enter());
                assert_eq!(its_done.get(), 1);
                its_return.store(1, Ordering::Relaxed);
            });
            done.set(1);
            while returned.load(Ordering::Relaxed) == 0 {
                store.changed.notify(1);
                thread::yield_now();
            }
            waiter.join().unwrap();
        }

        /// One waits only for some time: it has the thing, or the other.
        pub(super) fn one_gives_up() {
            let store = store();
            let hasty = store.spawn(1, Store::take_in_time);
            let patient = store.spawn(2, Store::take);
            store.put();
            expire();
            if hasty.join().unwrap() {
                store.put();
            }
            patient.join().unwrap();
            assert_eq!(store.things.get(), 0, "things that are there");
        }

        /// Two wait for one door; who is let in tells the next. One dies, and the other is let in.
        pub(super) fn who_waits_dies_at(label: &'static str) -> bool {
            let store = store();
            let other = store.spawn(1, Store::pass);
            let victim = store.spawn(2, move |victim| until_killed(2, label, || victim.pass()));
            store.put();
            other.join().unwrap();
            victim.join().unwrap()
        }

        /// The same, and it is the one that opens the door.
        pub(super) fn who_notifies_dies_at(label: &'static str) -> bool {
            let store = store();
            let threads = [store.spawn(1, Store::pass), store.spawn(2, Store::pass)];
            let died = until_killed(0, label, || store.put());
            if label == "lock.acquired" {
                store.of_process(4).put();
            }
            join_all(threads);
            died
        }

        /// The same, and nobody tells anybody else.
        pub(super) fn who_calls_all_dies_at(label: &'static str) -> bool {
            let store = store();
            let threads = [store.spawn(1, Store::take), store.spawn(2, Store::take)];
            let died = until_killed(0, label, || store.put_for_all(2));
            join_all(threads);
            died
        }

        /// One dies with the lock, and so does one that looks for itself therefore.
        pub(super) fn who_signals_itself_dies_at(label: &'static str) -> bool {
            let store = store();
            let other = store.spawn(1, Store::pass);
            let victim = store.spawn(2, move |victim| until_killed(2, label, || victim.pass()));
            until_killed(0, "things.put", || store.put());
            other.join().unwrap();
            victim.join().unwrap()
        }

        /// One that was signaled is dead, and so is who did that, and who passes the signal on.
        pub(super) fn who_passes_on_dies_at(label: &'static str) -> bool {
            let store = store();
            let [dead, notifier] = [store.of_process(3), store.of_process(4)];
            assert!(until_killed(3, "condition.left", || dead.pass()));
            assert!(until_killed(4, "condition.signaled", || notifier.changed.notify(1)));
            // Who is told makes true what it was told.
            let believe = |store: &Store| {
                let mut guard = store.enter();
                if store.things.get() == 0 {
                    guard = store.wait(guard);
                }
                store.things.set(1);
                store.changed.notify(1);
                drop(guard);
            };
            let victim = store.spawn(2, move |victim| until_killed(2, label, || believe(victim)));
            believe(&store);
            victim.join().unwrap()
        }

        /// Those who have the cells are dead: nobody is told of less for want of one.
        pub(super) fn cells_of_the_dead(takers: u32) {
            let store = store();
            for slot in [3, 4] {
                let dead = store.of_process(slot);
                assert!(until_killed(slot, "condition.left", || dead.take()));
            }
            let threads: Vec<_> = (1..=takers).map(|slot| store.spawn(slot, Store::take)).collect();
            (0..takers).for_each(|_| store.put());
            join_all(threads);
        }
    };
}

mod the_condition {
    models!(procession_models);
}

#[test]
fn each_taker_is_told_of_what_is_put_for_it() {
    explore(3, || the_condition::one_for_each(1));
    explore(1, || the_condition::one_for_each(2));
    explore(3, the_condition::notified_without_the_lock);
    explore(2, the_condition::what_was_done_is_seen);
}

#[test]
fn a_notify_is_for_the_one_that_has_waited_longest() {
    explore(1, the_condition::one_after_the_other);
}

#[test]
fn a_call_to_all_reaches_all() {
    explore(1, || the_condition::all_are_told(2));
}

#[test]
fn who_waits_lets_go_of_every_kind_of_lock() {
    explore(2, the_condition::a_recursive_lock_is_let_go);
    explore(2, the_condition::a_value_is_let_go);
}

#[test]
fn a_signal_for_one_who_gives_up_is_passed_on() {
    explore(1, the_condition::one_gives_up);
}

#[test]
fn a_death_of_one_who_waits_is_survived() {
    let labels = ["condition.claimed", "condition.waiting", "condition.left", "condition.slept"];
    explore_deaths(2, &labels, the_condition::who_waits_dies_at);
}

#[test]
fn cells_of_the_dead_keep_nobody_from_being_told() {
    explore(2, || the_condition::cells_of_the_dead(1));
    explore(1, || the_condition::cells_of_the_dead(2));
}

#[test]
fn a_death_of_one_who_was_told_is_survived() {
    let labels = [
        "lock.slept",
        "lock.acquired_contended",
        "condition.entered",
        "condition.taken_up",
        "condition.signaled",
        "condition.notified",
    ];
    explore_deaths(2, &labels, the_condition::who_waits_dies_at);
}

#[test]
fn a_death_of_one_who_notifies_is_survived() {
    let labels = ["lock.acquired", "things.put", "condition.signaled", "condition.notified", "lock.released"];
    explore_deaths(1, &labels, the_condition::who_notifies_dies_at);
    let labels = ["things.put", "condition.signaled", "condition.notified"];
    explore_deaths(1, &labels, the_condition::who_calls_all_dies_at);
    let labels = ["condition.signaled_itself", "condition.entered"];
    explore_deaths(1, &labels, the_condition::who_signals_itself_dies_at);
}

#[test]
fn a_death_of_one_who_passes_on_is_survived() {
    let labels = ["condition.passed_on", "condition.buried"];
    explore_deaths(2, &labels, the_condition::who_passes_on_dies_at);
}

found_out! {
    condition_that_does_not_wake by one_for_each(1) up to 3: "deadlock";
    condition_that_comes_when_it_has_left by one_for_each(1) up to 3: "deadlock";
    condition_that_tells_one_of_all by all_are_told(2) up to 2: "deadlock";
    condition_that_signals_the_youngest by one_after_the_other up to 1: "whose turn it is";
    condition_that_signals_one_more by one_after_the_other up to 1: "whose turn it is";
    condition_that_gives_a_signal_up by one_gives_up up to 2: "deadlock";
    condition_that_keeps_the_signals_of_the_dead by who_waits_dies_at("condition.slept") up to 2: "deadlock";
    condition_that_takes_a_signal_up_too_early by who_waits_dies_at("lock.slept") up to 2: "deadlock";
    condition_that_does_not_watch_the_holder by who_calls_all_dies_at("things.put") up to 2: "deadlock";
    condition_that_does_not_watch_the_burials by who_calls_all_dies_at("things.put") up to 1: "deadlock";
    condition_that_looks_at_the_burials_first by who_calls_all_dies_at("things.put") up to 2: "deadlock";
    condition_that_calls_nobody_without_a_cell by cells_of_the_dead(1) up to 2: "deadlock";
    condition_that_signals_relaxed by what_was_done_is_seen up to 2: "Causality violation";
    condition_that_looks_relaxed by what_was_done_is_seen up to 2: "Causality violation";
}
