//! Values and arrays: no torn reads, nothing lost, and all or nothing of a writer that is killed at any step.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::thread;
use procession_models::kernel::until_killed;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::array::Array;
        use world::value::Value;
        use $world as world;

        fn pair() -> Value<[u64; 2]> {
            Value::options().anonymous().unwrap()
        }

        fn get_whole(pair: &Value<[u64; 2]>) -> u64 {
            let [one, other] = pair.get().unwrap();
            assert_eq!(one, other, "a torn read");
            one
        }

        fn add(pair: &Value<[u64; 2]>, n: u64) {
            pair.update(|pair| *pair = pair.map(|half| half + n)).unwrap();
        }

        pub(super) fn nobody_sees_half(updates: u64) {
            let value = pair();
            let writer = value.of_process(1);
            let writer = thread::spawn(move || (0..updates).for_each(|_| add(&writer, 1)));
            let first = get_whole(&value);
            assert!(get_whole(&value) >= first, "time goes back");
            writer.join().unwrap();
            assert_eq!(get_whole(&value), updates, "updates that are there");
        }

        pub(super) fn no_update_is_lost() {
            let value = pair();
            let writer = value.of_process(1);
            let writer = thread::spawn(move || add(&writer, 1));
            add(&value, 2);
            writer.join().unwrap();
            assert_eq!(get_whole(&value), 3, "updates that are there");
        }

        pub(super) fn who_updates_dies_at(label: &'static str) -> bool {
            let value = pair();
            let victim = value.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || add(&victim, 1)));
            let before = get_whole(&value);
            add(&value, 2);
            let died = victim.join().unwrap();
            let after = get_whole(&value);
            assert!(after == 3 || died && before == 0 && after == 2, "{before} became {after}");
            died
        }

        /// A word is changed by an addition, beside a guard.
        pub(super) fn an_addition_beside_a_guard() {
            let count: Value<u64> = Value::options().initial(10).anonymous().unwrap();
            let adder = count.of_process(1);
            let adder = thread::spawn(move || adder.fetch_add(1).unwrap());
            {
                let mut guard = count.acquire().unwrap();
                *guard += 100;
            }
            let before = adder.join().unwrap();
            assert!(before == 10 || before == 110);
            assert_eq!(count.get().unwrap(), 111, "additions that are there");
        }

        pub(super) fn two_guards_and_a_reader() {
            let count: Value<u64> = Value::options().initial(10).anonymous().unwrap();
            let adder = count.of_process(1);
            let adder =
                thread::spawn(move || (0..2).for_each(|_| adder.update(|count| *count += 1).unwrap()));
            let first = count.get().unwrap();
            let second = count.get().unwrap();
            assert!((10..=second).contains(&first) && second <= 12, "{first}, then {second}");
            adder.join().unwrap();
            assert_eq!(count.get().unwrap(), 12, "additions that are there");
        }

        pub(super) fn who_has_a_guard_dies_at(label: &'static str) -> bool {
            let count: Value<u64> = Value::options().initial(10).anonymous().unwrap();
            let victim = count.of_process(1);
            let victim = thread::spawn(move || {
                until_killed(1, label, || victim.update(|count| *count += 100).unwrap())
            });
            let before = count.fetch_add(1).unwrap();
            let died = victim.join().unwrap();
            let after = count.get().unwrap();
            assert!(before == 10 || before == 110, "{before} before");
            assert!(after == 111 || died && before == 10 && after == 11, "{before} became {after}");
            died
        }

        fn cells() -> Array<u64> {
            let cells: Array<u64> = Array::options().len(2).anonymous().unwrap();
            // Its memory is made before there are other threads.
            assert_eq!(cells.get(0).unwrap(), 0);
            cells
        }

        /// Who has seen one element of an update sees the others.
        pub(super) fn an_update_is_seen_as_one(updates: u64) {
            let cells = cells();
            let writer = cells.of_process(1);
            let writer = thread::spawn(move || {
                (1..=updates).for_each(|n| writer.write(0, &[n, n]).unwrap());
            });
            let first = cells.get(1).unwrap();
            let second = cells.get(0).unwrap();
            assert!(second >= first, "{first}, then {second}");
            writer.join().unwrap();
            assert_eq!(cells.read(0..2).unwrap(), [updates; 2], "elements that are there");
        }

        pub(super) fn no_element_is_lost() {
            let cells = cells();
            let writer = cells.of_process(1);
            let writer = thread::spawn(move || {
                writer.update(0..2, |part| part.iter_mut().for_each(|n| *n += 10)).unwrap()
            });
            cells.fetch_add(1, 1).unwrap();
            writer.join().unwrap();
            assert_eq!(cells.read(0..2).unwrap(), [10, 11], "elements that are there");
        }

        pub(super) fn who_writes_elements_dies_at(label: &'static str) -> bool {
            let cells = cells();
            let victim = cells.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || victim.write(0, &[5, 5]).unwrap()));
            let first = cells.get(1).unwrap();
            let second = cells.get(0).unwrap();
            assert!(second >= first, "{first}, then {second}");
            let died = victim.join().unwrap();
            let seen = [cells.get(0).unwrap(), cells.get(1).unwrap()];
            assert!(seen == [5, 5] || died && first == 0 && seen == [0, 0], "half an update: {seen:?}");
            cells.fetch_add(0, 1).unwrap();
            assert_eq!(cells.read(0..2).unwrap(), [seen[0] + 1, seen[1]], "elements that are there");
            died
        }

        /// One who applies what a dead one has committed dies over it.
        pub(super) fn who_applies_dies_at(label: &'static str) -> bool {
            let cells = cells();
            let (dead, victim) = (cells.of_process(1), cells.of_process(2));
            assert!(until_killed(1, "array.committed", || dead.write(0, &[5, 5]).unwrap()));
            let victim = thread::spawn(move || until_killed(2, label, || drop(victim.read(0..2).unwrap())));
            assert_eq!(cells.read(0..2).unwrap(), [5, 5], "elements that are there");
            victim.join().unwrap()
        }
    };
}

mod the_values {
    models!(procession_models);
}

#[test]
fn nobody_sees_half_a_value() {
    explore(3, || the_values::nobody_sees_half(1));
    explore(2, || the_values::nobody_sees_half(2));
}

#[test]
fn no_update_of_a_value_is_lost() {
    explore(3, the_values::no_update_is_lost);
    explore(3, the_values::an_addition_beside_a_guard);
    explore(2, the_values::two_guards_and_a_reader);
}

#[test]
fn a_death_of_a_writer_leaves_all_or_nothing() {
    explore_deaths(2, &["value.building", "value.built", "value.committed"], the_values::who_updates_dies_at);
    let labels = ["value.building", "value.built", "value.committed", "value.taken", "value.put"];
    explore_deaths(2, &labels, the_values::who_has_a_guard_dies_at);
}

#[test]
fn nobody_sees_half_an_update_of_an_array() {
    explore(3, || the_values::an_update_is_seen_as_one(1));
    explore(2, || the_values::an_update_is_seen_as_one(2));
    explore(3, the_values::no_element_is_lost);
}

#[test]
fn a_death_of_a_writer_of_an_array_leaves_all_or_nothing() {
    let labels = ["array.logging", "array.committed", "array.applying", "array.applied"];
    explore_deaths(2, &labels, the_values::who_writes_elements_dies_at);
    explore_deaths(2, &["array.applying", "array.applied"], the_values::who_applies_dies_at);
}

found_out! {
    value_that_commits_relaxed by nobody_sees_half(1) up to 3: "a torn read";
    value_that_reuses_without_a_fence by nobody_sees_half(2) up to 2: "a torn read";
    value_that_reads_without_a_fence by nobody_sees_half(2) up to 2: "a torn read";
    value_that_builds_in_the_copy_that_counts by who_updates_dies_at("value.building") up to 2: "a torn read";
    value_that_does_not_look_aside by an_addition_beside_a_guard up to 3: "additions that are there";
    array_that_commits_relaxed by an_update_is_seen_as_one(1) up to 3: "then";
    array_without_a_log by who_writes_elements_dies_at("array.applying") up to 2: "half an update";
    array_that_leaves_it_to_the_dead by who_writes_elements_dies_at("array.committed") up to 2: "elements that are there";
}
