//! Several threads of one process: each has its own name, names are given on, and a thread that ends holding
//! something is dead.

mod exploring;

use exploring::{explore, found_out};
use loom::cell::UnsafeCell;
use loom::thread;
use procession_models::{Deadline, Segment, Zeroed, kernel, thread_tag};
use std::sync::Arc;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::lock_word::{AcquireError, Claim, LockWord};
        use world::rlock::RLock;
        use world::tags::Tags;
        use $world as world;

        /// Goes in twice, as deep as nobody else is.
        fn pass(lock: &RLock, guarded: &UnsafeCell<u32>) {
            let outer = lock.acquire().unwrap();
            guarded.with_mut(|_| ());
            let inner = lock.acquire().unwrap();
            assert_eq!((outer.depth(), inner.depth()), (2, 2), "how deep");
        }

        pub(super) fn threads_exclude_each_other() {
            let lock = RLock::options().anonymous().unwrap();
            let guarded = Arc::new(UnsafeCell::new(0));
            let (second, same) = (lock.clone(), Arc::clone(&guarded));
            let second = thread::spawn(move || {
                thread_tag::set(2);
                pass(&second, &same);
            });
            pass(&lock, &guarded);
            second.join().unwrap();
            assert!(lock.holder().is_none());
        }

        /// There is one tag: a thread has it after another has ended.
        fn one_after_another(work: impl Fn(&RLock) + Clone + 'static) {
            let lock = RLock::options().anonymous().unwrap();
            let tags = Arc::new(Tags::new());
            let all: Vec<_> = (0..2)
                .map(|_| {
                    let (lock, tags, work) = (lock.clone(), Arc::clone(&tags), work.clone());
                    thread::spawn(move || {
                        let Some(tag) = tags.take() else { return };
                        thread_tag::set(tag);
                        work(&lock);
                        tags.give_back(tag);
                    })
                })
                .collect();
            all.into_iter().for_each(|thread| thread.join().unwrap());
        }

        pub(super) fn a_tag_is_used_again() {
            let guarded = Arc::new(UnsafeCell::new(0));
            one_after_another(move |lock| pass(lock, &guarded));
        }

        /// What the thread before it held, and released, the new one does not take for its own.
        pub(super) fn a_new_thread_holds_nothing() {
            one_after_another(|lock| {
                assert!(lock.release().is_err(), "released what it does not hold");
                drop(lock.acquire().unwrap());
            });
        }

        /// A thread of process 1 ends without releasing: nobody is let in beside it, and whoever waits is
        /// told.
        pub(super) fn a_guard_is_forgotten(waiter: u32) {
            let shared = Arc::new((LockWord::zeroed(), UnsafeCell::new(0)));
            let same = Arc::clone(&shared);
            let forgetful = thread::spawn(move || {
                thread_tag::set(2);
                let me = same.0.acquire(&Segment::of_process(1), Claim::Report, Deadline::NEVER).unwrap();
                same.1.with_mut(|_| ());
                kernel::end_thread(me.owner().to_bits() | 2 << 16);
            });
            let (lock, guarded) = (&shared.0, &shared.1);
            let acquire = |claim| lock.acquire(&Segment::of_process(waiter), claim, Deadline::NEVER);
            let told = match acquire(Claim::Report) {
                Ok(before) => {
                    guarded.with_mut(|_| ());
                    lock.release(before, true);
                    false
                }
                Err(error) => matches!(error, AcquireError::OwnerDied { .. }),
            };
            forgetful.join().unwrap();
            assert!(told || matches!(acquire(Claim::Report), Err(AcquireError::OwnerDied { .. })), "told");
            let recovering = acquire(Claim::Recover).unwrap();
            guarded.with_mut(|_| ());
            lock.make_consistent();
            lock.release(recovering, true);
            lock.release(acquire(Claim::Report).unwrap(), true);
        }
    };
}

mod the_threads {
    models!(procession_models);
}

#[test]
fn threads_of_one_process_exclude_each_other() {
    explore(3, the_threads::threads_exclude_each_other);
}

#[test]
fn a_tag_is_used_again_and_its_new_thread_sees_what_the_old_one_left() {
    explore(3, the_threads::a_tag_is_used_again);
    explore(3, the_threads::a_new_thread_holds_nothing);
}

#[test]
fn who_waits_for_a_forgotten_guard_is_told() {
    explore(3, || the_threads::a_guard_is_forgotten(1));
    explore(3, || the_threads::a_guard_is_forgotten(2));
}

found_out! {
    lock_word_that_asks_about_processes_alone by a_guard_is_forgotten(2) up to 3: "deadlock";
    tags_that_are_taken_relaxed by a_new_thread_holds_nothing up to 3: "does not hold";
    tags_that_are_given_back_relaxed by a_new_thread_holds_nothing up to 3: "does not hold";
    tags_that_two_threads_have by a_tag_is_used_again up to 3: "Concurrent";
}
