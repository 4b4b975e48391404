//! Whoever changes a value dies: others see all of the change or nothing, at once, and change it themselves.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    building at "value.building": before_the_commit;
    built at "value.built": before_the_commit;
    committed at "value.committed": after_the_commit;
    building_with_a_sleeper at "value.building": before_the_commit_with_a_sleeper;
    built_with_a_sleeper at "value.built": before_the_commit_with_a_sleeper;
    committed_with_a_sleeper at "value.committed": after_the_commit_with_a_sleeper;
    built_while_a_timeout_runs_out at "value.built": while_a_timeout_runs_out;
    committed_while_a_timeout_runs_out at "value.committed": while_a_timeout_runs_out;
    built_before_a_recoverer_dies at "value.built": before_a_recoverer_dies;
    committed_before_a_recoverer_dies at "value.committed": before_a_recoverer_dies;
    building_a_word_aside at "value.building": before_a_word_is_committed;
    built_a_word_aside at "value.built": before_a_word_is_committed;
    committed_a_word_aside at "value.committed": before_a_word_is_committed;
    taken at "value.taken": before_a_word_is_committed;
    put at "value.put": after_a_word_is_committed;
    taken_with_a_sleeper at "value.taken": with_the_word_taken;
    taken_while_a_timeout_runs_out at "value.taken": with_the_word_taken_while_a_timeout_runs_out;
    taken_before_a_recoverer_dies at "value.taken": before_a_recoverer_of_a_word_dies;
    put_before_a_recoverer_dies at "value.put": before_a_recoverer_of_a_word_dies;
    changed at "value.changed": changing_a_word;
    changed_beside_a_guard at "value.changed": changing_a_word_before_it_is_taken;
    raw_set at "raw_value.set": setting_a_raw_value;
    raw_changed at "raw_value.changed": changing_a_raw_value;
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

/// A waiter's time and its writer's life end together: it has changed the value or not, and the answer says
/// which.
fn while_a_timeout_runs_out(label: &str) {
    let then = if label == "value.committed" { 7 } else { 5 };
    for ms in [5, 10, 15, 20] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch, "wide");
        victim.does("set v 5");
        victim.stops_at(label, "set v 7");
        one.tell(&format!("set_timeout v 20 {ms}"));
        victim.kill();
        let now = if one.answer().starts_with("ok") { 20 } else { then };
        all_is_well(&mut one, &mut two, now);
    }
}

/// What a recoverer passes on its way to the lock.
const RECOVERING: [&str; 3] = ["lock.owner_found_dead", "lock.buried", "lock.acquired_contended"];

fn before_a_recoverer_dies(label: &str) {
    let then = if label == "value.committed" { 7 } else { 5 };
    let on_the_way = ["value.building", "value.built"].iter().chain(&RECOVERING);
    let after = ["value.committed", "lock.released_contended"];
    let labels = on_the_way.map(|&heirs| (heirs, then)).chain(after.map(|heirs| (heirs, then + 1)));
    for (heirs, now) in labels {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch, "wide");
        one.does("set v 5");
        victim.dies_at(label, "set v 7");
        let mut heir = Actor::start(&scratch);
        heir.does("open wide v");
        heir.dies_at(heirs, "add v 1");
        all_is_well(&mut one, &mut two, now);
    }
}

/// Nothing has happened, and nobody who reads or adds needs anybody's help.
fn before_a_word_is_committed(label: &str) {
    for command in ["add v 7", "guard_add v 7"] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch, "count");
        victim.does("set v 5");
        victim.dies_at(label, command);
        assert_eq!(two.does("get v"), "5");
        assert_eq!((one.does("fetch_add v 1"), two.does("fetch_add v 1")), ("5".to_owned(), "6".to_owned()));
        all_is_well(&mut one, &mut two, 7);
    }
}

fn after_a_word_is_committed(label: &str) {
    for command in ["add v 7", "guard_add v 7"] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch, "count");
        victim.does("set v 5");
        victim.dies_at(label, command);
        // The lock is the dead one's still, and these do not ask for it.
        assert_eq!(
            (one.does("fetch_add v 1"), two.does("fetch_add v 1")),
            ("12".to_owned(), "13".to_owned())
        );
        all_is_well(&mut one, &mut two, 14);
    }
}

fn with_the_word_taken(label: &str) {
    for command in ["fetch_add v 1", "set v 6", "add v 1"] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch, "count");
        victim.does("set v 5");
        victim.stops_at(label, "add v 7");
        one.waits(command);
        assert_eq!(two.does("get v"), "5");
        two.fails("set_timeout v 9 10", "TimedOut");
        victim.kill();
        one.did();
        all_is_well(&mut one, &mut two, 6);
    }
}

fn with_the_word_taken_while_a_timeout_runs_out(label: &str) {
    for ms in [5, 10, 15, 20] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch, "count");
        victim.does("set v 5");
        victim.stops_at(label, "add v 7");
        one.tell(&format!("set_timeout v 20 {ms}"));
        victim.kill();
        let now = if one.answer().starts_with("ok") { 20 } else { 5 };
        all_is_well(&mut one, &mut two, now);
    }
}

fn before_a_recoverer_of_a_word_dies(label: &str) {
    let then = if label == "value.put" { 12 } else { 5 };
    for (command, after) in
        [("add v 1", "value.put"), ("fetch_add v 1", "value.put"), ("add v 1", "lock.released_contended")]
    {
        // An addition past a value that is not aside needs no recovery.
        if label == "value.put" && command != "add v 1" {
            continue;
        }
        let labels = RECOVERING.map(|heirs| (heirs, then)).into_iter().chain([(after, then + 1)]);
        for (heirs, now) in labels {
            let scratch = Scratch::new();
            let (victim, mut one, mut two) = cast(&scratch, "count");
            one.does("set v 5");
            victim.dies_at(label, "add v 7");
            let mut heir = Actor::start(&scratch);
            heir.does("open count v");
            heir.dies_at(heirs, command);
            all_is_well(&mut one, &mut two, now);
        }
    }
}

fn changing_a_word(label: &str) {
    for (command, now) in [("fetch_add v 5", 8), ("exchange v 3 8", 8), ("set v 8", 8)] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch, "count");
        one.does("set v 3");
        victim.dies_at(label, command);
        assert_eq!(one.does("exchange v 3 6"), "Err(8)");
        all_is_well(&mut one, &mut two, now);
    }
}

fn changing_a_word_before_it_is_taken(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "count");
    victim.stops_at(label, "fetch_add v 5");
    one.does("keep v 10");
    assert_eq!(two.does("get v"), "5");
    two.waits("fetch_add v 1");
    victim.kill();
    one.does("release");
    assert_eq!(two.did(), "15");
    all_is_well(&mut one, &mut two, 16);
}

fn setting_a_raw_value(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "raw_count");
    victim.dies_at(label, "set v 5");
    assert_eq!((one.does("get v"), two.does("fetch_add v 1")), ("5".to_owned(), "5".to_owned()));
    one.does("unlink v");
}

fn changing_a_raw_value(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "raw_count");
    victim.dies_at(label, "fetch_add v 5");
    assert_eq!((one.does("get v"), two.does("fetch_add v 1")), ("5".to_owned(), "5".to_owned()));
    one.does("unlink v");
}
