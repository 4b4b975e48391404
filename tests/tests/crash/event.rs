//! A setter or a waiter of an event dies: everybody who waited at the set is released, and nobody else.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    waiting_for_it at "gate.waiting": waiting;
    slept at "gate.slept": waiting;
    slept_and_woken at "gate.slept": being_woken;
    released_by_set at "gate.changed": setting;
    released_by_pulse at "gate.changed": pulsing;
    cleared at "gate.changed": clearing;
    claimed at "event.claimed": owning;
    owned at "gate.changed": owning;
    cleared_for_a_dead_owner at "gate.changed": burying;
    slept_until_the_timeout at "gate.slept": being_too_late_and_in_time;
}

/// Three processes that have the event `e` open.
fn cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create event e");
    victim.does("open event e");
    two.does("open event e");
    (victim, one, two)
}

/// The event, which is not set now, works as on its first day.
fn all_is_well(one: &mut Actor, two: &mut Actor) {
    one.fails("wait_timeout e 10", "TimedOut");
    for release in ["set_and_clear e", "pulse e"] {
        one.waits("wait e");
        two.does(release);
        one.did();
    }
    one.waits("wait_timeout e 60000");
    two.does("set e");
    one.did();
    one.does("wait e");
    two.does("clear e");
    assert_eq!(one.does("is_set e"), "false");
    one.does("unlink e");
}

fn waiting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.waits("wait e");
    victim.dies_at(label, "wait e");
    let mut second = Actor::start(&scratch);
    second.does("open event e");
    second.dies_at(label, "wait_timeout e 1000");
    two.does("set_and_clear e");
    one.did();
    all_is_well(&mut one, &mut two);
}

fn being_woken(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does(&format!("arm {label} 1 kill"));
    victim.tell("wait e");
    one.waits("wait e");
    two.does("pulse e");
    one.did();
    victim.dies();
    all_is_well(&mut one, &mut two);
}

fn setting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.waits("wait e");
    two.waits("wait e");
    victim.dies_at(label, "set e");
    one.did();
    two.did();
    assert_eq!(one.does("is_set e"), "true");
    two.does("clear e");
    all_is_well(&mut one, &mut two);
}

fn pulsing(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.waits("wait e");
    two.waits("wait e");
    victim.dies_at(label, "pulse e");
    one.did();
    two.did();
    // The first of two steps is enough.
    let mut second = Actor::start(&scratch);
    second.does("open event e");
    one.waits("wait e");
    second.dies_at(label, "set_and_clear e");
    one.did();
    two.does("clear e");
    all_is_well(&mut one, &mut two);
}

fn clearing(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.does("set e");
    victim.dies_at(label, "clear e");
    assert_eq!(two.does("is_set e"), "false");
    all_is_well(&mut one, &mut two);
}

/// It sets the event for as long as it lives: nobody finds it set then, and others may set it so.
fn owning(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    if label == "gate.changed" {
        // It is set for the moment: whoever waits now is released.
        one.waits("wait e");
    }
    victim.dies_at(label, "set_owned e");
    if label == "gate.changed" {
        one.did();
    }
    two.does("wait_cleared e");
    assert_eq!((one.does("is_set e").as_str(), two.does("owner e").as_str()), ("false", "0"));
    one.does("set_owned e");
    two.fails("set_owned e", "Owned");
    one.does("clear e");
    all_is_well(&mut one, &mut two);
}

/// It looks at an event whose owner is dead.
fn burying(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    let mut owner = Actor::start(&scratch);
    owner.does("open event e");
    owner.does("set_owned e");
    owner.kill();
    victim.dies_at(label, "is_set e");
    one.does("wait_cleared e");
    all_is_well(&mut one, &mut two);
}

/// A waiter's time is over, and before it looks again the event was set: it was released.
fn being_too_late_and_in_time(label: &str) {
    for release in ["set_and_clear e", "pulse e"] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        let mut doomed = Actor::start(&scratch);
        doomed.does("open event e");
        doomed.stops_at(label, "wait_timeout e 5");
        victim.stops_at(label, "wait_timeout e 5");
        one.waits("wait e");
        two.does(release);
        one.did();
        victim.go_on();
        victim.did();
        doomed.kill();
        all_is_well(&mut one, &mut two);
    }
}

#[test]
fn who_is_stopped_before_it_wakes_anybody_has_released_them() {
    for release in ["set e", "pulse e"] {
        let scratch = Scratch::new();
        let (mut stopped, mut one, mut two) = cast(&scratch);
        one.waits("wait e");
        two.waits("wait e");
        stopped.stops_at("gate.changed", release);
        one.did();
        two.did();
        stopped.go_on();
        stopped.did();
        two.does("clear e");
        all_is_well(&mut one, &mut two);
    }
}

#[test]
fn who_is_stopped_before_it_sleeps_is_released_all_the_same() {
    let scratch = Scratch::new();
    let (mut stopped, mut one, mut two) = cast(&scratch);
    stopped.stops_at("gate.waiting", "wait e");
    one.does("set_and_clear e");
    // As others wait again.
    one.waits("wait e");
    stopped.go_on();
    stopped.did();
    two.does("pulse e");
    one.did();
    all_is_well(&mut one, &mut two);
}
