use super::{Named, Place, Roll};
use crate::namespace::Namespace;
use crate::registry;

const CELLS: usize = 256;

/// Runs `test` with the roll of a namespace that nobody else has.
fn with_roll(test: impl FnOnce(&Roll<'_>)) {
    let registration = registry::register(&Namespace::private()).unwrap();
    test(&registration.roll());
}

fn enter(roll: &Roll<'_>, name: &str, instance: u64) -> Option<Place> {
    let place = roll.enter(name, instance);
    roll.settle(place, true);
    place
}

fn names(roll: &Roll<'_>) -> Option<Vec<String>> {
    Some(roll.names()?.into_iter().collect())
}

#[test]
fn what_is_entered_is_found_under_both_of_its_names_until_it_is_struck() {
    with_roll(|roll| {
        assert_eq!(names(roll), Some(vec![]));
        assert!(enter(roll, "a", 0x1b).is_some());
        let second = ".unlinked-000000000000001b".to_owned();
        assert_eq!(names(roll), Some(vec![second.clone(), "a".to_owned()]));
        // Another object that had the name, and one of this number that had another.
        roll.strike("a", 2);
        roll.strike("b", 0x1b);
        assert_eq!(names(roll), Some(vec![second, "a".to_owned()]));
        roll.strike("a", 0x1b);
        assert_eq!(names(roll), Some(vec![]));
        // One that did not come to be.
        let place = roll.enter("c", 3);
        assert!(names(roll).is_some_and(|names| names.contains(&"c".to_owned())));
        roll.settle(place, false);
        assert_eq!(names(roll), Some(vec![]));
    });
}

#[test]
fn those_that_are_gone_make_room_for_others() {
    with_roll(|roll| {
        for instance in 0..3 * CELLS as u64 {
            assert!(enter(roll, &format!("n{instance}"), instance).is_some());
        }
        assert!(names(roll).is_some_and(|names| names.contains(&format!("n{}", 3 * CELLS - 1))));
    });
}

/// Whatever the order in which cells are taken and freed.
#[test]
fn all_that_are_there_are_found() {
    with_roll(|roll| {
        let mut there = std::collections::VecDeque::new();
        for nth in 0..6 * CELLS as u64 {
            assert!(enter(roll, &format!("n{nth}"), nth).is_some());
            there.push_back(nth);
            let most = if nth % 512 < 256 { 3 } else { CELLS - 1 };
            while there.len() > most {
                // The oldest, or the one before the last.
                let at = if nth % 3 == 0 { 0 } else { there.len() - 2 };
                let gone = there.remove(at).unwrap();
                roll.strike(&format!("n{gone}"), gone);
            }
            let found = names(roll).unwrap();
            assert_eq!(found.len(), 2 * there.len(), "after {nth}");
            assert!(there.iter().all(|nth| found.contains(&format!("n{nth}"))));
        }
    });
}

#[test]
fn where_there_is_no_room_the_roll_is_not_whole_until_it_is_made_anew() {
    with_roll(|roll| {
        // They are about to get their names: nobody can say that they have none.
        for instance in 0..CELLS as u64 {
            assert!(roll.enter(&format!("n{instance}"), instance).is_some());
        }
        assert!(names(roll).is_some());
        assert!(roll.enter("one-more", 1).is_none());
        assert_eq!(names(roll), None);
        let named = |count: usize| (0..count).map(|at| Named { name: format!("m{at:03}"), instance: 1 });
        roll.rewrite(named(CELLS + 1));
        assert_eq!(names(roll), None);
        roll.rewrite(named(2));
        assert_eq!(names(roll).map(|names| names[1..].to_vec()), Some(vec!["m000".into(), "m001".into()]));
        assert!(enter(roll, "a", 1).is_some());
    });
}

#[test]
fn nonsense_on_the_roll_is_no_name() {
    with_roll(|roll| {
        for name in ["a/b", ".registry", "../x", "ü"] {
            let place = roll.enter(name, 7);
            assert_eq!(names(roll), None, "{name}");
            roll.settle(place, false);
        }
        assert_eq!(names(roll), Some(vec![]));
    });
}
