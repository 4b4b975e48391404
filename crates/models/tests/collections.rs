//! Maps and lists: no torn reads, nothing lost, and all or nothing of a writer that is killed at any step, the
//! number of entries included. There is so little room that every second change makes a new space, in the memory
//! of the one before the last.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::thread;
use procession_models::kernel::until_killed;

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::list::List;
        use world::map::Map;
        use $world as world;

        /// So large that its halves are in two words.
        type Pair = ([u8; 5], [u8; 5]);

        fn pair(n: u32) -> Pair {
            let half = [0, 0, 0, 0, n as u8];
            (half, half)
        }

        fn number(pair: Pair) -> u32 {
            assert_eq!(pair.0, pair.1, "a torn read");
            pair.0[4].into()
        }

        fn map() -> Map<u8, Pair> {
            let map = Map::options().anonymous().unwrap();
            map.insert(&1, &pair(1)).unwrap();
            map
        }

        fn get(map: &Map<u8, Pair>, key: u8) -> Option<u32> {
            map.get(&key).unwrap().map(number)
        }

        fn add(map: &Map<u8, Pair>, n: u32) {
            map.update(&1, |entry| {
                let old = entry.map_or(0, number);
                *entry = Some(pair(old + n));
            })
            .unwrap();
        }

        pub(super) fn nobody_sees_half(updates: u32) {
            let map = map();
            let writer = map.of_process(1);
            let writer = thread::spawn(move || (0..updates).for_each(|_| add(&writer, 1)));
            let first = get(&map, 1).expect("a key that is there");
            assert!(get(&map, 1).expect("a key that is there") >= first, "time goes back");
            writer.join().unwrap();
            assert_eq!(get(&map, 1), Some(1 + updates), "updates that are there");
        }

        /// Two new spaces, of which the second lies where a reader may still be.
        pub(super) fn memory_is_used_again() {
            let map = map();
            add(&map, 1);
            let writer = map.of_process(1);
            let writer = thread::spawn(move || (0..2).for_each(|_| add(&writer, 1)));
            assert!((2..=4).contains(&get(&map, 1).expect("a key that is there")));
            writer.join().unwrap();
        }

        pub(super) fn no_update_is_lost() {
            let map = map();
            let writer = map.of_process(1);
            let writer = thread::spawn(move || add(&writer, 1));
            add(&map, 2);
            writer.join().unwrap();
            assert_eq!(get(&map, 1), Some(4), "updates that are there");
        }

        pub(super) fn who_updates_dies_at(label: &'static str) -> bool {
            let map = map();
            // So that the next one needs a new space.
            add(&map, 0);
            let victim = map.of_process(1);
            let victim = thread::spawn(move || until_killed(1, label, || add(&victim, 1)));
            let before = get(&map, 1).expect("a key that is there");
            add(&map, 2);
            let died = victim.join().unwrap();
            let after = get(&map, 1).expect("a key that is there");
            assert!(after == 4 || died && before == 1 && after == 3, "{before} became {after}");
            died
        }

        /// Whoever sees a new entry counts it.
        pub(super) fn the_number_is_that_of_the_entries() {
            let map = map();
            let writer = map.of_process(1);
            let writer = thread::spawn(move || {
                writer.insert(&2, &pair(2)).unwrap();
            });
            let is_there = get(&map, 2).is_some();
            let len = map.len().unwrap();
            assert!(len == 2 || len == 1 && !is_there, "{len} entries are counted");
            let now = get(&map, 2).is_some();
            assert!(now || len == 1, "{len} entries are counted");
            writer.join().unwrap();
            assert_eq!(map.len().unwrap(), 2);
        }

        pub(super) fn who_inserts_and_removes_dies_at(label: &'static str) -> bool {
            let map = map();
            let victim = map.of_process(1);
            let victim = thread::spawn(move || {
                until_killed(1, label, || {
                    victim.insert(&2, &pair(2)).unwrap();
                    victim.remove(&2).unwrap();
                })
            });
            let died = victim.join().unwrap();
            let is_there = get(&map, 2).is_some();
            assert_eq!(map.len().unwrap(), 1 + usize::from(is_there), "entries are counted");
            assert_eq!(map.remove(&1).unwrap().map(number), Some(1));
            assert_eq!(map.len().unwrap(), usize::from(is_there), "entries are counted");
            map.insert(&3, &pair(3)).unwrap();
            assert_eq!(map.len().unwrap(), 1 + usize::from(is_there), "entries are counted");
            assert!(died || !is_there);
            died
        }

        /// All entries are of one instant: the second key goes after the first.
        pub(super) fn a_snapshot_is_of_one_instant(first: u8, second: u8) {
            let map = map();
            map.insert(&2, &pair(1)).unwrap();
            let writer = map.of_process(1);
            let writer = thread::spawn(move || {
                writer.remove(&first).unwrap();
                writer.remove(&second).unwrap();
            });
            let all: Vec<u8> = map.iter().unwrap().map(|entry| entry.unwrap().0).collect();
            assert!(!all.contains(&first) || all.contains(&second), "{all:?} were never there together");
            writer.join().unwrap();
        }

        fn list() -> List<Pair> {
            let list = List::options().anonymous().unwrap();
            list.push(&pair(1)).unwrap();
            list
        }

        /// Who reads an element reads one that was there: what is pushed where one was popped is not before its
        /// commit.
        pub(super) fn an_element_was_pushed() {
            let list = list();
            let writer = list.of_process(1);
            let writer = thread::spawn(move || {
                assert_eq!(writer.pop().unwrap(), Some(pair(1)));
                writer.push(&pair(2)).unwrap();
            });
            let seen = list.get(0).unwrap().map(number);
            let len = list.len().unwrap();
            assert!(seen != Some(2) || len == 1, "an element that is not there yet");
            writer.join().unwrap();
            assert_eq!(list.get(0).unwrap().map(number), Some(2));
        }

        /// Who sees more elements sees them whole.
        pub(super) fn an_element_is_whole() {
            let list = list();
            let writer = list.of_process(1);
            let writer = thread::spawn(move || writer.push(&pair(2)).unwrap());
            assert!(
                [None, Some(2)].contains(&list.get(1).unwrap().map(number)),
                "an element that is not there yet"
            );
            writer.join().unwrap();
            assert_eq!(list.get(1).unwrap().map(number), Some(2));
        }

        pub(super) fn who_changes_a_list_dies_at(label: &'static str) -> bool {
            let list = list();
            let victim = list.of_process(1);
            let victim = thread::spawn(move || {
                until_killed(1, label, || {
                    let _popped = victim.pop().unwrap();
                    victim.push(&pair(2)).unwrap();
                    victim.set(0, &pair(3)).unwrap();
                })
            });
            let seen = list.get(0).unwrap().map(number);
            let died = victim.join().unwrap();
            let now = list.get(0).unwrap().map(number);
            assert!(now.is_none() || now >= seen, "{seen:?} became {now:?}");
            assert_eq!(list.len().unwrap(), usize::from(now.is_some()));
            assert!(died || now == Some(3));
            list.push(&pair(4)).unwrap();
            assert_eq!(
                list.get(usize::from(now.is_some())).unwrap().map(number),
                Some(4),
                "elements that are there"
            );
            died
        }
    };
}

mod the_collections {
    models!(procession_models);
}

#[test]
fn nobody_sees_half_an_entry() {
    explore(2, || the_collections::nobody_sees_half(1));
    explore(2, || the_collections::nobody_sees_half(2));
    explore(1, the_collections::memory_is_used_again);
}

#[test]
fn no_update_of_an_entry_is_lost() {
    explore(2, the_collections::no_update_is_lost);
}

#[test]
fn the_number_is_that_of_the_entries() {
    explore(2, the_collections::the_number_is_that_of_the_entries);
}

#[test]
fn a_snapshot_is_of_one_instant() {
    explore(2, || the_collections::a_snapshot_is_of_one_instant(1, 2));
    explore(2, || the_collections::a_snapshot_is_of_one_instant(2, 1));
}

#[test]
fn a_death_of_who_updates_leaves_all_or_nothing() {
    let labels =
        ["store.writing", "store.written", "store.appended", "table.placed", "store.copying", "store.built"];
    explore_deaths(2, &labels, the_collections::who_updates_dies_at);
    explore_deaths(2, &["store.moved"], the_collections::who_updates_dies_at);
}

#[test]
fn a_death_leaves_the_number_that_there_is() {
    let labels = [
        "table.announced",
        "table.placed",
        "table.counted",
        "table.announced_removal",
        "table.removed",
        "table.counted_removal",
    ];
    explore_deaths(2, &labels, the_collections::who_inserts_and_removes_dies_at);
}

#[test]
fn nobody_reads_an_element_that_was_not_pushed() {
    explore(2, the_collections::an_element_was_pushed);
    explore(3, the_collections::an_element_is_whole);
}

#[test]
fn a_death_of_who_changes_a_list_leaves_all_or_nothing() {
    let labels = [
        "sequence.popped",
        "sequence.rewriting",
        "sequence.pushing",
        "sequence.pushed",
        "sequence.set",
        "store.built",
        "store.moved",
    ];
    explore_deaths(2, &labels, the_collections::who_changes_a_list_dies_at);
}

found_out! {
    store_that_moves_relaxed by memory_is_used_again up to 1: "corrupt";
    store_that_reuses_without_a_fence by memory_is_used_again up to 1: "a torn read";
    store_that_reads_without_a_fence by memory_is_used_again up to 1: "a torn read";
    store_that_builds_where_it_is by nobody_sees_half(2) up to 2: "a key that is there";
    table_that_places_relaxed by nobody_sees_half(1) up to 2: "a key that is there";
    table_that_announces_nothing by who_inserts_and_removes_dies_at("table.placed") up to 1: "entries are counted";
    table_that_believes_announcements by who_inserts_and_removes_dies_at("table.announced") up to 1: "entries are counted";
    table_whose_dead_are_not_corrected by who_inserts_and_removes_dies_at("table.placed") up to 1: "entries are counted";
    table_whose_snapshots_are_not_stamped by a_snapshot_is_of_one_instant(2, 1) up to 2: "were never there together";
    sequence_that_does_not_tell by an_element_was_pushed up to 2: "are not of its type";
    sequence_that_tells_late by an_element_was_pushed up to 2: "are not of its type";
    sequence_that_pushes_relaxed by an_element_is_whole up to 3: "are not of its type";
    sequence_that_counts_first by an_element_is_whole up to 3: "are not of its type";
}
