//! Who arrives at a latch or waits for it dies: an arrival counts once or not at all, and nobody sleeps on.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    arrived at "gate.changed": arriving;
    arrived_last at "gate.changed": opening;
    waiting_for_it at "gate.waiting": waiting;
    slept at "gate.slept": waiting;
    slept_until_the_timeout at "gate.slept": being_too_late_and_in_time;
}

/// Three processes, and the latch `l` for two arrivals.
fn cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let [victim, mut one, two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create latch l 2");
    (victim, one, two)
}

fn arriving(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    two.waits("pass l");
    victim.dies_at(label, "arrive l");
    assert_eq!(one.does("arrive l"), "1");
    two.did();
    one.does("unlink l");
}

fn opening(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    assert_eq!(one.does("arrive l"), "0");
    one.waits("pass l");
    two.waits("pass_timeout l 60000");
    victim.dies_at(label, "arrive l");
    one.did();
    two.did();
    one.does("unlink l");
}

fn waiting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.waits("pass l");
    victim.dies_at(label, "pass l");
    two.does("arrive l");
    two.does("arrive l");
    one.did();
    two.does("unlink l");
}

/// A waiter's time is over, and before it looks again the latch was opened: it passes.
fn being_too_late_and_in_time(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let mut doomed = Actor::start(&scratch);
    doomed.stops_at(label, "pass_timeout l 5");
    victim.stops_at(label, "pass_timeout l 5");
    one.does("arrive l");
    one.waits("pass l");
    // Who opens it is stopped before it wakes anybody.
    two.stops_at("gate.changed", "arrive l");
    one.did();
    victim.go_on();
    victim.did();
    doomed.kill();
    two.go_on();
    assert_eq!(two.did(), "1");
    two.does("pass l");
    one.does("unlink l");
}
