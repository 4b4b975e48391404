//! RwLock: readers and writers exclude each other, nobody is left waiting, and a death of either is survived.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::cell::UnsafeCell;
use loom::thread;
use procession_models::kernel::until_killed;
use std::sync::Arc;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::rwlock::RwLock;
        use $world as world;

        /// A lock, and what it guards: loom reports a look that is not ordered after each change, and the
        /// reverse.
        #[derive(Clone)]
        struct Table {
            lock: RwLock,
            guarded: Arc<UnsafeCell<u32>>,
        }

        impl Table {
            fn new() -> Self {
                Self { lock: RwLock::options().anonymous().unwrap(), guarded: Arc::new(UnsafeCell::new(0)) }
            }

            fn of_process(&self, slot: u32) -> Self {
                Self { lock: self.lock.of_process(slot), guarded: Arc::clone(&self.guarded) }
            }

            fn read(&self) {
                let reading = self.lock.read().unwrap();
                self.guarded.with(|_| ());
                drop(reading);
            }

            fn write(&self) {
                let writing = self.lock.write().unwrap();
                self.guarded.with_mut(|_| ());
                drop(writing);
            }

            fn recover(&self) {
                let writing = self.lock.recover().unwrap();
                self.guarded.with_mut(|_| ());
                drop(writing);
            }

            fn downgrade(&self) {
                let writing = self.lock.write().unwrap();
                self.guarded.with_mut(|_| ());
                let reading = writing.downgrade().unwrap();
                self.guarded.with(|_| ());
                drop(reading);
            }
        }

        /// As many readers and writers, one of the writers in the main thread.
        pub(super) fn exclusion(readers: u32, writers: u32) {
            let table = Table::new();
            let threads: Vec<_> = (1..readers + writers)
                .map(|slot| {
                    let table = table.of_process(slot);
                    thread::spawn(move || if slot <= readers { table.read() } else { table.write() })
                })
                .collect();
            table.write();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        /// More readers than cells.
        pub(super) fn too_many_readers() {
            let table = Table::new();
            let threads = [1, 2].map(|slot| {
                let table = table.of_process(slot);
                thread::spawn(move || table.read())
            });
            table.read();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        pub(super) fn a_writer_goes_on_reading() {
            let table = Table::new();
            let other = table.of_process(1);
            let other = thread::spawn(move || other.write());
            table.downgrade();
            other.join().unwrap();
        }

        pub(super) fn a_reader_dies_at(label: &'static str) -> bool {
            let table = Table::new();
            let victim = table.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || victim.read()));
            table.write();
            let died = victim.join().unwrap();
            table.write();
            died
        }

        /// A reader that could not come in at once, and waits for a writer to leave.
        pub(super) fn a_writer_dies_at(label: &'static str) -> bool {
            let table = Table::new();
            let (victim, reader) = (table.of_process(1), table.of_process(2));
            let victim = thread::spawn(move || until_killed(1, label, || victim.write()));
            reader.lock.read().map(|_| ()).unwrap_or_else(|_| reader.recover());
            let died = victim.join().unwrap();
            if table.lock.read().is_err() {
                assert!(died && matches!(label, "rwlock.writing"), "only who died writing is reported");
                table.recover();
            }
            table.read();
            table.write();
            died
        }

        pub(super) fn who_recovers_dies_at(label: &'static str) -> bool {
            let table = Table::new();
            let (dead, victim) = (table.of_process(1), table.of_process(2));
            assert!(until_killed(1, "rwlock.writing", || dead.write()));
            let victim = thread::spawn(move || until_killed(2, label, || victim.recover()));
            table.recover();
            let died = victim.join().unwrap();
            table.recover();
            table.read();
            died
        }

        /// Two find a dead reader.
        pub(super) fn who_buries_dies_at(label: &'static str) -> bool {
            let table = Table::new();
            let (dead, victim) = (table.of_process(1), table.of_process(2));
            assert!(until_killed(1, "rwlock.reading", || dead.read()));
            let victim = thread::spawn(move || until_killed(2, label, || victim.write()));
            drop(table.lock.recover().unwrap());
            let died = victim.join().unwrap();
            drop(table.lock.recover().unwrap());
            died
        }
    };
}

mod the_rwlock {
    models!(procession_models);
}

#[test]
fn readers_and_writers_exclude_each_other() {
    explore(3, || the_rwlock::exclusion(1, 1));
    explore(2, || the_rwlock::exclusion(0, 2));
}

#[test]
fn two_readers_and_a_writer_exclude_each_other() {
    explore(1, || the_rwlock::exclusion(2, 1));
}

#[test]
fn a_reader_and_two_writers_exclude_each_other() {
    explore(1, || the_rwlock::exclusion(1, 2));
}

#[test]
fn more_readers_than_cells_all_come_in() {
    explore(1, the_rwlock::too_many_readers);
}

#[test]
fn a_writer_that_goes_on_reading_keeps_others_out() {
    explore(2, the_rwlock::a_writer_goes_on_reading);
}

#[test]
fn a_death_of_a_reader_is_survived() {
    let labels = ["rwlock.used", "rwlock.claimed", "rwlock.reading", "rwlock.left", "rwlock.queued"];
    explore_deaths(2, &labels, the_rwlock::a_reader_dies_at);
}

#[test]
fn a_death_of_a_writer_is_survived() {
    let labels = ["rwlock.draining", "rwlock.announced", "rwlock.writing", "rwlock.written"];
    explore_deaths(2, &labels, the_rwlock::a_writer_dies_at);
    explore_deaths(
        2,
        &["rwlock.draining", "rwlock.writing", "rwlock.written"],
        the_rwlock::who_recovers_dies_at,
    );
    explore_deaths(2, &["rwlock.reader_found_dead", "rwlock.buried"], the_rwlock::who_buries_dies_at);
}

found_out! {
    rwlock_whose_writer_does_not_fence by exclusion(1, 1) up to 3: "Concurrent";
    rwlock_whose_reader_does_not_fence by exclusion(1, 1) up to 3: "Concurrent";
    rwlock_whose_writer_does_not_announce by exclusion(1, 1) up to 3: "deadlock";
    rwlock_that_claims_a_cell_that_nobody_looks_at by exclusion(1, 1) up to 3: "Concurrent";
    rwlock_that_leaves_relaxed by exclusion(1, 1) up to 3: "Causality violation";
    rwlock_that_forgets_who_died by a_writer_dies_at("rwlock.announced") up to 2: "only who died writing is reported";
}
