//! The eventcount: nobody sleeps while there is something for him, also when a waiter or a notifier dies.

mod exploring;

use exploring::{explore, found_out};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::thread;
use procession_models::kernel::until_killed;
use procession_models::patience::{Nap, Patience};
use procession_models::{Deadline, Zeroed};

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::eventcount::EventCount;
        use $world as world;

        /// Things to be taken, and who waits for one.
        struct Shared {
            things: AtomicU32,
            bell: EventCount,
        }

        fn shared() -> Arc<Shared> {
            Arc::new(Shared { things: AtomicU32::new(0), bell: EventCount::zeroed() })
        }

        fn put(shared: &Shared) {
            shared.things.fetch_add(1, Ordering::Release);
            fence(Ordering::SeqCst);
            shared.bell.notify_one();
        }

        fn try_take(shared: &Shared) -> bool {
            let one_less = |things: u32| things.checked_sub(1);
            shared.things.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok()
        }

        fn take(shared: &Shared) {
            let mut patience = Patience::new(Deadline::NEVER);
            let mut slept = false;
            while !try_take(shared) {
                let mut took = false;
                let look = || {
                    took = try_take(shared);
                    took
                };
                slept |= shared.bell.wait(None, &mut patience, look, ()) != Ok(Nap::Changed);
                if took {
                    break;
                }
            }
            fence(Ordering::SeqCst);
            if slept && shared.things.load(Ordering::Relaxed) > 0 {
                shared.bell.notify_one();
            }
        }

        fn spawn(shared: &Arc<Shared>, act: fn(&Shared)) -> thread::JoinHandle<()> {
            let shared = Arc::clone(shared);
            thread::spawn(move || act(&shared))
        }

        pub(super) fn one_for_each(takers: usize) {
            let shared = shared();
            let threads: Vec<_> = (0..takers).map(|_| spawn(&shared, take)).collect();
            (0..takers).for_each(|_| put(&shared));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        pub(super) fn two_put_and_two_take() {
            let shared = shared();
            let threads = [spawn(&shared, take), spawn(&shared, put)];
            put(&shared);
            take(&shared);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        pub(super) fn everybody_is_called() {
            let shared = shared();
            let threads = [spawn(&shared, take), spawn(&shared, take)];
            shared.things.fetch_add(2, Ordering::Release);
            fence(Ordering::SeqCst);
            shared.bell.notify_all();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }

        /// A taker dies; another gets what is there.
        pub(super) fn a_taker_dies_at(label: &'static str) {
            let shared = shared();
            let other = spawn(&shared, take);
            let victim = Arc::clone(&shared);
            let victim = thread::spawn(move || {
                until_killed(1, label, || take(&victim));
            });
            put(&shared);
            put(&shared);
            other.join().unwrap();
            victim.join().unwrap();
        }

        /// A putter dies; what it put is found.
        pub(super) fn a_putter_dies_at(label: &'static str) {
            let shared = shared();
            let other = spawn(&shared, take);
            until_killed(1, label, || put(&shared));
            other.join().unwrap();
        }
    };
}

mod the_eventcount {
    models!(procession_models);
}

#[test]
fn each_taker_gets_what_is_put_for_it() {
    explore(3, || the_eventcount::one_for_each(1));
    explore(2, || the_eventcount::one_for_each(2));
}

#[test]
fn nobody_sleeps_while_others_come_and_go() {
    explore(2, the_eventcount::two_put_and_two_take);
}

#[test]
fn a_call_to_all_reaches_all() {
    explore(2, the_eventcount::everybody_is_called);
}

#[test]
fn a_death_at_any_step_is_survived() {
    for label in ["eventcount.listening", "eventcount.slept", "eventcount.arrived", "never: it lives"] {
        explore(1, move || the_eventcount::a_taker_dies_at(label));
    }
    for label in ["eventcount.called", "eventcount.woke", "never: it lives"] {
        explore(2, move || the_eventcount::a_putter_dies_at(label));
    }
}

found_out! {
    eventcount_without_a_fence by one_for_each(1) up to 3: "deadlock";
    eventcount_that_drops_a_waiter by one_for_each(1) up to 3: "exceeded maximum number of branches";
    eventcount_that_does_not_look_again by one_for_each(1) up to 3: "deadlock";
    eventcount_that_does_not_arrive by two_put_and_two_take up to 3: "deadlock";
    eventcount_that_quiets_a_sleeper by one_for_each(2) up to 3: "deadlock";
}
