//! Whoever changes a value dies: others see all of the change or nothing, at once, and change it themselves.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    building at "value.building": before_the_commit;
    built at "value.built": before_the_commit;
    committed at "value.committed": after_the_commit;
    building_with_a_sleeper at "value.building": before_the_commit_with_a_sleeper;
    committed_with_a_sleeper at "value.committed": after_the_commit_with_a_sleeper;
    word at "value.word": changing_a_word;
    fetched at "value.fetched": adding_to_a_word;
    exchanged at "value.exchanged": exchanging_a_word;
}

fn cast(scratch: &Scratch, kind: &str) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does(&format!("create {kind} v"));
    victim.does(&format!("open {kind} v"));
    two.does(&format!("open {kind} v"));
    (victim, one, two)
}

/// It is `now`, readers do not even wait for that, and both survivors can change it.
fn all_is_well(one: &mut Actor, two: &mut Actor, now: u64) {
    assert_eq!((one.does("get v"), two.does("get v")), (now.to_string(), now.to_string()));
    one.does("add v 1");
    two.does("add v 1");
    assert_eq!(one.does("get v"), (now + 2).to_string());
    one.does("unlink v");
}

fn before_the_commit(label: &str) {
    for command in ["set v 7", "add v 7", "guard_add v 7", "try_set v 7"] {
        for nth in [1, 4, 8] {
            let scratch = Scratch::new();
            let (mut victim, mut one, mut two) = cast(&scratch, "wide");
            victim.does("set v 3");
            victim.does("set v 5");
            let nth = if label == "value.built" { 1 } else { nth };
            victim.does(&format!("arm {label} {nth} kill"));
            victim.tell(command);
            victim.dies();
            all_is_well(&mut one, &mut two, 5);
        }
    }
}

fn after_the_commit(label: &str) {
    for command in ["set v 7", "add v 2", "guard_add v 2"] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch, "wide");
        victim.does("set v 5");
        victim.dies_at(label, command);
        all_is_well(&mut one, &mut two, 7);
    }
}

fn before_the_commit_with_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "wide");
    victim.does("set v 5");
    victim.stops_at(label, "add v 7");
    one.waits("add v 1");
    // Nobody waits for whoever stopped in the middle, to read.
    assert_eq!(two.does("get v"), "5");
    two.fails("set_timeout v 9 10", "TimedOut");
    victim.kill();
    one.did();
    all_is_well(&mut one, &mut two, 6);
}

fn after_the_commit_with_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "wide");
    victim.does("keep v 7");
    victim.does(&format!("arm {label} 1 stop"));
    one.waits("add v 1");
    assert_eq!(two.does("get v"), "0");
    victim.tell("release");
    victim.is_stopped();
    assert_eq!(two.does("get v"), "7");
    victim.kill();
    one.did();
    all_is_well(&mut one, &mut two, 8);
}

fn changing_a_word(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "count");
    victim.dies_at(label, "add v 5");
    all_is_well(&mut one, &mut two, 5);
}

fn adding_to_a_word(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "count");
    victim.dies_at(label, "fetch_add v 5");
    assert_eq!(one.does("fetch_add v 1"), "5");
    all_is_well(&mut one, &mut two, 6);
}

fn exchanging_a_word(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "count");
    victim.dies_at(label, "exchange v 0 5");
    assert_eq!(one.does("exchange v 0 6"), "Err(5)");
    all_is_well(&mut one, &mut two, 5);
}
