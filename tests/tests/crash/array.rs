//! Whoever updates a range of an array dies: others see all of the range or nothing, at once, element by element too.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    logging at "array.logging": before_the_commit;
    committed at "array.committed": after_the_commit;
    applying at "array.applying": after_the_commit;
    applied at "array.applied": after_the_commit;
    committed_before_a_recoverer_dies at "array.applying": finishing_the_update_of_the_dead;
    applied_by_a_recoverer at "array.applied": finishing_the_update_of_the_dead;
    fetched at "array.fetched": adding_to_an_element;
}

fn cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create array a 6");
    victim.does("open array a");
    two.does("open array a");
    victim.does("fill a 0 6 1");
    (victim, one, two)
}

fn all_is_well(one: &mut Actor, two: &mut Actor, now: &str) {
    assert_eq!(one.does("get_each a"), now);
    assert_eq!(two.does("read a"), now);
    assert_eq!(one.does("get_each a"), now);
    one.does("fill a 0 3 5");
    two.does("fill a 3 6 6");
    assert_eq!(one.does("read a"), "[5, 5, 5, 6, 6, 6]");
    one.does("unlink a");
}

fn before_the_commit(label: &str) {
    for nth in [1, 3] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        victim.does(&format!("arm {label} {nth} kill"));
        victim.tell("fill a 2 5 7");
        victim.dies();
        all_is_well(&mut one, &mut two, "[1, 1, 1, 1, 1, 1]");
    }
}

fn after_the_commit(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "fill a 2 5 7");
    all_is_well(&mut one, &mut two, "[1, 1, 7, 7, 7, 1]");
}

fn finishing_the_update_of_the_dead(label: &str) {
    for command in ["read a", "fill a 0 2 9", "fetch_add a 3 1"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        victim.dies_at("array.committed", "fill a 2 5 7");
        let mut heir = Actor::start(&scratch);
        heir.does("open array a");
        heir.dies_at(label, command);
        all_is_well(&mut one, &mut two, "[1, 1, 7, 7, 7, 1]");
    }
}

fn adding_to_an_element(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "fetch_add a 3 4");
    all_is_well(&mut one, &mut two, "[1, 1, 1, 5, 1, 1]");
}
