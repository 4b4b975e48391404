//! Events and latches: nobody is left waiting, and who passes sees what was done before, also when somebody
//! dies.

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
        use world::event::Event;
        use world::latch::Latch;
        use $world as world;

        /// What was done before it was let pass: loom reports a look at it that is not ordered after that.
        struct Done(UnsafeCell<u32>);

        fn done() -> Arc<Done> {
            Arc::new(Done(UnsafeCell::new(0)))
        }

        fn waiter(event: &Event, slot: u32, done: &Arc<Done>) -> thread::JoinHandle<()> {
            let (event, done) = (event.of_process(slot), Arc::clone(done));
            thread::spawn(move || {
                event.wait().unwrap();
                done.0.with(|_| ());
            })
        }

        pub(super) fn a_set_releases(waiters: u32) {
            let (event, done) = (Event::options().anonymous().unwrap(), done());
            let threads: Vec<_> = (1..=waiters).map(|slot| waiter(&event, slot, &done)).collect();
            done.0.with_mut(|_| ());
            event.set();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        /// Who sleeps when it is set is released, however soon it is cleared.
        pub(super) fn a_set_that_is_cleared_releases() {
            let (event, done) = (Event::options().anonymous().unwrap(), done());
            let threads = [waiter(&event, 1, &done), waiter(&event, 2, &done)];
            done.0.with_mut(|_| ());
            let sleeping = asleep();
            event.set();
            event.clear();
            if sleeping < 2 {
                event.set();
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        /// Two arrive, each having done something; who waits sees both.
        pub(super) fn a_latch_opens() {
            let latch = Latch::options().count(2).anonymous().unwrap();
            let all = [done(), done()];
            let threads: Vec<_> = all
                .iter()
                .zip(1..)
                .map(|(done, slot)| {
                    let (latch, done) = (latch.of_process(slot), Arc::clone(done));
                    thread::spawn(move || {
                        done.0.with_mut(|_| ());
                        latch.arrive();
                    })
                })
                .collect();
            latch.wait().unwrap();
            all.iter().for_each(|done| done.0.with(|_| ()));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        pub(super) fn who_sets_dies_at(label: &'static str) -> bool {
            let (event, done) = (Event::options().anonymous().unwrap(), done());
            let threads = [waiter(&event, 1, &done), waiter(&event, 2, &done)];
            done.0.with_mut(|_| ());
            let died = until_killed(0, label, || event.set());
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            died
        }

        pub(super) fn who_waits_dies_at(label: &'static str) -> bool {
            let (event, done) = (Event::options().anonymous().unwrap(), done());
            let other = waiter(&event, 1, &done);
            let victim = event.of_process(2);
            let victim = thread::spawn(move || until_killed(2, label, || victim.wait().unwrap()));
            done.0.with_mut(|_| ());
            event.set();
            other.join().unwrap();
            victim.join().unwrap()
        }

        /// It dies in the middle of setting the event for as long as it lives: nobody finds it set, and others may set
        /// it so.
        pub(super) fn who_sets_it_for_its_life_dies_at(label: &'static str) -> bool {
            let (event, done) = (Event::options().anonymous().unwrap(), done());
            let thread = waiter(&event, 1, &done);
            done.0.with_mut(|_| ());
            let died = until_killed(0, label, || event.set_owned().unwrap());
            let other = event.of_process(2);
            assert!(!died || !other.is_set(), "it is set for a dead owner");
            let taken = other.set_owned();
            assert!(taken.is_ok() == died, "{taken:?}");
            assert!(event.of_process(3).is_set(), "it is lost");
            thread.join().unwrap();
            died
        }

        /// One finds that the owner is dead, while another becomes the owner.
        pub(super) fn a_new_owner_keeps_it_set(label: &'static str) -> bool {
            let event = Event::options().anonymous().unwrap();
            let died = until_killed(0, label, || event.set_owned().unwrap());
            if died {
                let looks = event.of_process(1);
                let looks = thread::spawn(move || looks.is_set());
                event.of_process(2).set_owned().unwrap();
                looks.join().unwrap();
                assert!(event.of_process(3).is_set(), "it is lost");
            }
            died
        }

        /// Of two who set it for their lives, one does, whoever waits and whoever sets or clears it meanwhile.
        pub(super) fn one_of_two_owners(others: fn(&Event)) {
            let (event, done) = (Event::options().anonymous().unwrap(), done());
            let owners = [1, 2].map(|slot| {
                let event = event.of_process(slot);
                thread::spawn(move || event.set_owned().is_ok())
            });
            done.0.with_mut(|_| ());
            others(&event);
            let owns: Vec<bool> = owners.into_iter().map(|owner| owner.join().unwrap()).collect();
            assert!(owns.contains(&true), "nobody has set it");
        }
    };
}

mod the_gate {
    models!(procession_models);
}

#[test]
fn a_set_releases_all_who_wait() {
    explore(4, || the_gate::a_set_releases(1));
    explore(2, || the_gate::a_set_releases(2));
}

#[test]
fn a_set_that_is_cleared_at_once_releases_those_who_sleep() {
    explore(2, the_gate::a_set_that_is_cleared_releases);
}

#[test]
fn a_latch_opens_when_enough_have_arrived() {
    explore(3, the_gate::a_latch_opens);
}

#[test]
fn a_death_at_any_step_is_survived() {
    explore_deaths(2, &["gate.changed"], the_gate::who_sets_dies_at);
    explore_deaths(2, &["gate.waiting", "gate.slept"], the_gate::who_waits_dies_at);
}

#[test]
fn what_is_set_for_a_life_ends_with_it_and_no_sooner() {
    let labels = &["event.claimed", "gate.changed"];
    explore_deaths(2, labels, the_gate::who_sets_it_for_its_life_dies_at);
    explore_deaths(3, labels, the_gate::a_new_owner_keeps_it_set);
    explore(3, || the_gate::one_of_two_owners(|_| ()));
    explore(2, || the_gate::one_of_two_owners(|event| event.set()));
    explore(2, || the_gate::one_of_two_owners(|event| event.pulse()));
}

found_out! {
    gate_that_does_not_announce by a_set_releases(1) up to 3: "deadlock";
    gate_that_drops_the_waiters by a_latch_opens up to 3: "deadlock";
    gate_that_changes_relaxed by a_latch_opens up to 3: "Causality violation";
    gate_that_looks_relaxed by a_set_releases(1) up to 3: "Causality violation";
    event_that_clears_whatever_is_there by a_new_owner_keeps_it_set("gate.changed") up to 3: "it is lost";
    event_that_believes_any_claim by who_sets_it_for_its_life_dies_at("gate.changed") up to 2: "it is lost";
    gate_that_forgets_the_set by a_set_that_is_cleared_releases up to 2: "deadlock";
}
