//! Whoever updates a range of an array dies: others see all of the range or nothing, at once, element by
//! element too.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    logging at "array.logging": before_the_commit;
    committed at "array.committed": after_the_commit;
    applying at "array.applying": after_the_commit;
    applied at "array.applied": after_the_commit;
    committed_before_a_recoverer_dies at "array.applying": finishing_the_update_of_the_dead;
    applied_by_a_recoverer at "array.applied": finishing_the_update_of_the_dead;
    stored at "array.stored": changing_an_element;
    logging_with_a_sleeper at "array.logging": with_a_sleeper;
    committed_with_a_sleeper at "array.committed": with_a_sleeper;
    applying_with_a_sleeper at "array.applying": with_a_sleeper;
    logging_while_a_timeout_runs_out at "array.logging": while_a_timeout_runs_out;
    applying_while_a_timeout_runs_out at "array.applying": while_a_timeout_runs_out;
    logging_before_a_recoverer_dies at "array.logging": before_a_recoverer_dies;
    committed_before_a_recoverer_dies_anywhere at "array.committed": before_a_recoverer_dies;
    applying_before_a_recoverer_dies at "array.applying": before_a_recoverer_dies;
    applied_before_a_recoverer_dies at "array.applied": before_a_recoverer_dies;
    raw_written at "raw_array.written": writing_a_raw_array;
    raw_changed at "raw_array.changed": changing_a_raw_array;
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
    for command in ["read a", "fill a 0 2 9", "fetch_add a 3 1", "set a 3 1"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        victim.dies_at("array.committed", "fill a 2 5 7");
        let mut heir = Actor::start(&scratch);
        heir.does("open array a");
        heir.dies_at(label, command);
        all_is_well(&mut one, &mut two, "[1, 1, 7, 7, 7, 1]");
    }
}

fn changing_an_element(label: &str) {
    for command in ["fetch_add a 3 4", "set a 3 5", "fill a 3 4 5"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        victim.dies_at(label, command);
        all_is_well(&mut one, &mut two, "[1, 1, 1, 5, 1, 1]");
    }
}

/// The elements when `fill a 2 5 7` came as far as `label`.
fn as_far_as(label: &str) -> [u32; 6] {
    if label == "array.logging" { [1; 6] } else { [1, 1, 7, 7, 7, 1] }
}

fn with_a_sleeper(label: &str) {
    for command in ["fetch_add a 0 8", "set a 0 9", "fill a 0 1 9"] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        victim.stops_at(label, "fill a 2 5 7");
        one.waits(command);
        // Nobody waits for whoever stopped in the middle, to read elements.
        let mut now = as_far_as(label);
        assert_eq!(two.does("get_each a"), format!("{now:?}"));
        two.fails("fill_timeout a 0 6 8 10", "Lock(TimedOut)");
        victim.kill();
        one.did();
        now[0] = 9;
        all_is_well(&mut one, &mut two, &format!("{now:?}"));
    }
}

/// A waiter's time and its writer's life end together: it has changed the array or not, and the answer says
/// which.
fn while_a_timeout_runs_out(label: &str) {
    for ms in [5, 10, 15, 20] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        victim.stops_at(label, "fill a 2 5 7");
        one.tell(&format!("fill_timeout a 0 6 8 {ms}"));
        victim.kill();
        let now = if one.answer().starts_with("ok") { [8; 6] } else { as_far_as(label) };
        all_is_well(&mut one, &mut two, &format!("{now:?}"));
    }
}

fn before_a_recoverer_dies(label: &str) {
    let old = as_far_as(label);
    let new = [old[0], old[1], old[2], 9, 9, old[5]];
    let to_the_lock = ["lock.owner_found_dead", "lock.buried", "lock.acquired_contended"];
    let pending = ["array.committed", "array.applying"].contains(&label);
    // The first time it passes these it finishes what is pending, if anything is.
    let finishing = if pending { ["array.applying", "array.applied"].as_slice() } else { &[] };
    let on_the_way = to_the_lock.iter().chain(finishing).chain(&["array.logging"]);
    let after = ["array.committed", "lock.released_contended"].iter();
    for (&heirs, now) in on_the_way.map(|heirs| (heirs, old)).chain(after.map(|heirs| (heirs, new))) {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        victim.dies_at(label, "fill a 2 5 7");
        let mut heir = Actor::start(&scratch);
        heir.does("open array a");
        heir.dies_at(heirs, "fill a 3 5 9");
        all_is_well(&mut one, &mut two, &format!("{now:?}"));
    }
}

fn raw_cast(scratch: &Scratch) -> (Actor, Actor) {
    let [mut victim, mut one] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create raw_array a 4");
    victim.does("open raw_array a");
    (victim, one)
}

fn writing_a_raw_array(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one) = raw_cast(&scratch);
    victim.does(&format!("arm {label} 2 kill"));
    victim.tell("write a 0 7 4");
    victim.dies();
    // That is what raw means.
    assert_eq!(one.does("read a"), "[7, 7, 0, 0]");
    one.does("unlink a");
}

fn changing_a_raw_array(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one) = raw_cast(&scratch);
    victim.dies_at(label, "fetch_add a 3 4");
    assert_eq!(
        (one.does("fetch_add a 3 1"), one.does("read a")),
        ("4".to_owned(), "[0, 0, 0, 5]".to_owned())
    );
    one.does("unlink a");
}
