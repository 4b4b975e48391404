//! Once: it is done once, everybody sees what was done, and a death at any step is survived.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::cell::UnsafeCell;
use loom::thread;
use procession_models::crash_point;
use procession_models::kernel::until_killed;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::once::Once;
        use $world as world;

        /// What is done once; how often it was begun and ended is the model's own knowledge.
        #[derive(Clone)]
        struct Prepared {
            once: Once,
            done: Arc<UnsafeCell<u32>>,
            begun: Arc<AtomicU32>,
            ended: Arc<AtomicU32>,
        }

        impl Prepared {
            fn new() -> Self {
                let once = Once::options().anonymous().unwrap();
                Self {
                    once,
                    done: Arc::new(UnsafeCell::new(0)),
                    begun: Arc::default(),
                    ended: Arc::default(),
                }
            }

            fn of_process(&self, slot: u32) -> Self {
                Self { once: self.once.of_process(slot), ..self.clone() }
            }

            fn run(&self) {
                let mut is_again = None;
                self.once
                    .run(|run| {
                        is_again = Some(run.is_again);
                        let before = self.begun.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(run.is_again, before > 0, "who is told that somebody began before");
                        self.done.with_mut(|_| ());
                        crash_point("once: in the middle");
                        self.ended.fetch_add(1, Ordering::Relaxed);
                    })
                    .unwrap();
                self.done.with(|_| ());
                assert!(self.once.is_done());
            }
        }

        pub(super) fn of_many_one_does_it(processes: u32) {
            let prepared = Prepared::new();
            let threads: Vec<_> = (1..processes)
                .map(|slot| {
                    let prepared = prepared.of_process(slot);
                    thread::spawn(move || prepared.run())
                })
                .collect();
            prepared.run();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(prepared.ended.load(Ordering::Relaxed), 1, "how often it was done");
        }

        pub(super) fn one_dies_at(label: &'static str) -> bool {
            let prepared = Prepared::new();
            let victim = prepared.of_process(1);
            let other = prepared.of_process(2);
            let other = thread::spawn(move || other.run());
            let died = until_killed(1, label, || victim.run());
            other.join().unwrap();
            prepared.run();
            assert_eq!(prepared.ended.load(Ordering::Relaxed), 1, "how often it was done");
            died
        }
    };
}

mod the_once {
    models!(procession_models);
}

#[test]
fn of_many_one_does_it() {
    explore(3, || the_once::of_many_one_does_it(2));
    explore(1, || the_once::of_many_one_does_it(3));
}

/// Between `once.running` and the first step of what is done nothing was begun, so that nobody can be told
/// exactly.
#[test]
fn a_death_at_any_step_is_survived() {
    explore_deaths(2, &["once: in the middle", "once.done"], the_once::one_dies_at);
}

found_out! {
    once_that_is_done_relaxed by of_many_one_does_it(2) up to 4: "Causality violation";
    once_that_looks_relaxed by of_many_one_does_it(2) up to 4: "Causality violation";
    once_that_does_not_look_again by of_many_one_does_it(2) up to 4: "who is told";
    once_that_is_not_done by of_many_one_does_it(2) up to 4: "is_done";
}
