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

found_out! {
    gate_that_does_not_announce by a_set_releases(1) up to 3: "deadlock";
    gate_that_drops_the_waiters by a_latch_opens up to 3: "deadlock";
    gate_that_changes_relaxed by a_latch_opens up to 3: "Causality violation";
    gate_that_looks_relaxed by a_set_releases(1) up to 3: "Causality violation";
    gate_that_forgets_the_set by a_set_that_is_cleared_releases up to 2: "deadlock";
}
