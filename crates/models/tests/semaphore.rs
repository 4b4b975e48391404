//! Semaphores: no more hold permits than there are, none is lost, and nobody sleeps while there is one, also
//! when somebody dies.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::cell::UnsafeCell;
use loom::thread;
use procession_models::kernel::{asleep, until_killed};
use std::sync::Arc;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::semaphore::Semaphore;
        use $world as world;

        fn semaphore(permits: u32, max: u32) -> Semaphore {
            Semaphore::options().permits(permits as usize).max(max as usize).anonymous().unwrap()
        }

        fn spawn(
            semaphore: &Semaphore,
            slot: u32,
            act: impl FnOnce(&Semaphore) + 'static,
        ) -> thread::JoinHandle<()> {
            let semaphore = semaphore.of_process(slot);
            thread::spawn(move || act(&semaphore))
        }

        fn join_all(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        fn all_are_back(semaphore: &Semaphore, permits: u32) {
            assert_eq!(semaphore.available(), permits as usize, "permits that are there");
        }

        /// As a lock: loom reports two in the critical section.
        pub(super) fn one_permit_for(processes: u32) {
            let semaphore = semaphore(1, 1);
            let guarded = Arc::new(UnsafeCell::new(0));
            let pass = |guarded: Arc<UnsafeCell<u32>>| {
                move |semaphore: &Semaphore| {
                    let permit = semaphore.acquire().unwrap();
                    guarded.with_mut(|_| ());
                    drop(permit);
                }
            };
            let threads: Vec<_> =
                (1..processes).map(|slot| spawn(&semaphore, slot, pass(Arc::clone(&guarded)))).collect();
            pass(guarded)(&semaphore);
            join_all(threads);
            all_are_back(&semaphore, 1);
        }

        /// Some want both permits, some one.
        pub(super) fn many_and_one(many: u32, one: u32) {
            let semaphore = semaphore(2, 2);
            let want = |count| move |semaphore: &Semaphore| drop(semaphore.acquire_many(count).unwrap());
            let wishes = (0..many).map(|_| 2).chain((0..one).map(|_| 1));
            let threads: Vec<_> =
                wishes.zip(1..).map(|(count, slot)| spawn(&semaphore, slot, want(count))).collect();
            drop(semaphore.acquire().unwrap());
            join_all(threads);
            all_are_back(&semaphore, 2);
        }

        /// One wants both permits, one wants one: the second gets it although the first cannot go on.
        pub(super) fn one_beside_many() {
            let semaphore = semaphore(2, 2);
            let permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
            let many = spawn(&semaphore, 1, |semaphore| drop(semaphore.acquire_many(2).unwrap()));
            // Who came first is called first.
            while asleep() == 0 {
                thread::yield_now();
            }
            let one = spawn(&semaphore, 2, |semaphore| drop(semaphore.acquire().unwrap()));
            let [first, second] = permits;
            drop(first);
            one.join().unwrap();
            drop(second);
            many.join().unwrap();
        }

        /// One waits for what somebody releases at once, and another comes.
        pub(super) fn two_are_released() {
            let semaphore = semaphore(0, 2);
            let take = |semaphore: &Semaphore| semaphore.acquire().unwrap().forget();
            let threads = [spawn(&semaphore, 1, take)];
            semaphore.release(2).unwrap();
            take(&semaphore);
            join_all(threads);
            all_are_back(&semaphore, 0);
        }

        /// As a signal: what is taken out is released again, one at a time.
        pub(super) fn a_signal() {
            let semaphore = semaphore(0, 1);
            let take = |semaphore: &Semaphore| semaphore.acquire().unwrap().forget();
            let threads = [spawn(&semaphore, 1, take)];
            semaphore.release(1).unwrap();
            join_all(threads);
            semaphore.release(1).unwrap();
            all_are_back(&semaphore, 1);
        }

        /// One of those who share a permit dies.
        pub(super) fn a_holder_dies_at(label: &'static str) -> bool {
            let semaphore = semaphore(1, 1);
            let victim = semaphore.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || drop(victim.acquire().unwrap())));
            let other = spawn(&semaphore, 2, |semaphore| drop(semaphore.acquire().unwrap()));
            drop(semaphore.acquire().unwrap());
            let died = victim.join().unwrap();
            other.join().unwrap();
            all_are_back(&semaphore, 1);
            died
        }

        /// One who wants two dies, while another wants one.
        pub(super) fn a_holder_of_many_dies_at(label: &'static str) -> bool {
            let semaphore = semaphore(2, 2);
            let victim = semaphore.of_process(1);
            let victim =
                thread::spawn(move || until_killed(1, label, || drop(victim.acquire_many(2).unwrap())));
            drop(semaphore.acquire_many(2).unwrap());
            let died = victim.join().unwrap();
            all_are_back(&semaphore, 2);
            died
        }

        /// One dies while it recovers what another that died held.
        pub(super) fn who_recovers_dies_at(label: &'static str) -> bool {
            let semaphore = semaphore(1, 1);
            let dead = semaphore.of_process(3);
            assert!(until_killed(3, "semaphore.taken", || drop(dead.acquire().unwrap())));
            let (victim, guarded) = (semaphore.of_process(1), Arc::new(UnsafeCell::new(0)));
            let pass = |semaphore: &Semaphore, guarded: &UnsafeCell<u32>| {
                let permit = semaphore.acquire().unwrap();
                guarded.with_mut(|_| ());
                drop(permit);
            };
            let same = Arc::clone(&guarded);
            let victim = thread::spawn(move || until_killed(1, label, || pass(&victim, &same)));
            pass(&semaphore, &guarded);
            let died = victim.join().unwrap();
            all_are_back(&semaphore, 1);
            died
        }

        /// One who forgets dies: what it held comes back, or was forgotten.
        pub(super) fn who_forgets_dies_at(label: &'static str) -> bool {
            let semaphore = semaphore(1, 1);
            let victim = semaphore.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || victim.acquire().unwrap().forget()));
            let released = semaphore.release(1).is_ok();
            let died = victim.join().unwrap();
            if !released {
                semaphore.release(1).unwrap();
            }
            all_are_back(&semaphore, 1);
            died
        }

        /// One who releases two dies: both are there, or none.
        pub(super) fn who_releases_two_dies_at(label: &'static str) -> bool {
            let semaphore = semaphore(0, 2);
            let victim = semaphore.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || victim.release(2).unwrap()));
            let before = semaphore.try_acquire().map(drop).is_ok();
            let died = victim.join().unwrap();
            let now = semaphore.available();
            assert!(now == 2 || now == 0 && !before, "{now} of two were released");
            if now == 0 {
                semaphore.release(2).unwrap();
            }
            drop(semaphore.acquire_many(2).unwrap());
            died
        }

        /// One who releases dies, while somebody waits; then another does it again if need be.
        pub(super) fn who_signals_dies_at(label: &'static str) -> bool {
            let semaphore = semaphore(0, 1);
            let taker = spawn(&semaphore, 2, |semaphore| semaphore.acquire().unwrap().forget());
            let victim = semaphore.of_process(1);
            let died = until_killed(1, label, || victim.release(1).unwrap());
            // There may be no room, because it is there, or has been taken and forgotten.
            drop(semaphore.release(1));
            taker.join().unwrap();
            died
        }
    };
}

mod the_semaphore {
    models!(procession_models);
}

#[test]
fn one_permit_is_a_lock() {
    explore(3, || the_semaphore::one_permit_for(2));
    explore(1, || the_semaphore::one_permit_for(3));
}

#[test]
fn those_who_want_many_and_one_all_get_them() {
    explore(2, || the_semaphore::many_and_one(1, 0));
    explore(1, || the_semaphore::many_and_one(1, 1));
    explore(1, || the_semaphore::many_and_one(2, 0));
    explore(1, the_semaphore::one_beside_many);
}

#[test]
fn what_is_released_is_taken() {
    explore(2, the_semaphore::a_signal);
    explore(1, the_semaphore::two_are_released);
}

#[test]
fn a_death_of_a_holder_is_survived() {
    explore_deaths(1, &["semaphore.taken", "semaphore.released"], the_semaphore::a_holder_dies_at);
    let labels = ["semaphore.taken", "semaphore.released", "semaphore.gave_back"];
    explore_deaths(1, &labels, the_semaphore::a_holder_of_many_dies_at);
    explore_deaths(
        1,
        &["semaphore.owner_found_dead", "semaphore.recovered"],
        the_semaphore::who_recovers_dies_at,
    );
}

#[test]
fn a_death_of_one_who_forgets_or_releases_is_survived() {
    explore_deaths(2, &["semaphore.handed", "semaphore.forgotten"], the_semaphore::who_forgets_dies_at);
    let labels = [
        "semaphore.turn",
        "semaphore.raised",
        "semaphore.releasing",
        "semaphore.decided",
        "semaphore.settling",
        "semaphore.settled",
    ];
    explore_deaths(1, &labels, the_semaphore::who_releases_two_dies_at);
    explore_deaths(1, &["semaphore.signalled", "semaphore.raised"], the_semaphore::who_signals_dies_at);
}

found_out! {
    semaphore_that_frees_relaxed by one_permit_for(2) up to 3: "Causality violation";
    semaphore_without_a_fence by one_permit_for(2) up to 3: "deadlock";
    semaphore_that_buries_the_wrong_owner by who_recovers_dies_at("never") up to 2: "Concurrent";
    semaphore_that_releases_one_by_one by who_releases_two_dies_at("semaphore.releasing") up to 2: "of two were released";
    semaphore_that_calls_only_one by one_beside_many up to 1: "deadlock";
}
