//! A holder of permits, or who releases or recovers some, dies: no permit is lost, none is there twice.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    taken at "semaphore.taken": taking;
    taken_one_of_several at "semaphore.taken": taking_several;
    taken_with_a_sleeper at "semaphore.taken": taking_before_others_wait;
    released at "semaphore.released": giving_back;
    handed at "semaphore.handed": forgetting;
    gave_back at "semaphore.gave_back": failing_to_take_several;
    signalled at "semaphore.signalled": signalling;
    signalled_a_sleeper at "semaphore.signalled": signalling_a_sleeper;
    releasing at "semaphore.releasing": releasing_several;
    released_of_many at "semaphore.released_of_many": releasing_several;
    owner_found_dead at "semaphore.owner_found_dead": recovering;
    recovered at "semaphore.recovered": recovering;
    recovered_with_sleepers at "semaphore.recovered": recovering_before_sleepers;
}

/// Three processes that have the semaphore `s` open, which has 2 permits and a maximum of 4.
fn cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create semaphore s 2 4");
    victim.does("open semaphore s");
    two.does("open semaphore s");
    (victim, one, two)
}

fn newcomer(scratch: &Scratch) -> Actor {
    let mut actor = Actor::start(scratch);
    actor.does("open semaphore s");
    actor
}

/// There are so many permits (at least one), all of them free, and they can be taken, waited for and released.
fn all_is_well(one: &mut Actor, two: &mut Actor, permits: u32) {
    assert_eq!(one.does("available s"), permits.to_string());
    one.does(&format!("take_many s {permits}"));
    two.fails("try_take s", "WouldBlock");
    two.fails("take_timeout s 10", "TimedOut");
    two.waits("take s");
    one.does("release");
    two.did();
    two.does("release");
    if permits < 4 {
        one.does(&format!("give s {}", 4 - permits));
    }
    one.fails("give s 1", "Full");
    assert_eq!(two.does("available s"), "4");
    two.does("unlink s");
}

fn taking(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "take s");
    newcomer(&scratch).dies_at(label, "take_timeout s 1000");
    // Nobody helps; the third finds what the two had.
    one.does("take_many s 2");
    one.does("release");
    all_is_well(&mut one, &mut two, 2);
}

fn taking_several(label: &str) {
    for nth in 1..=2 {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        victim.does(&format!("arm {label} {nth} kill"));
        victim.tell("take_many s 2");
        victim.dies();
        one.does("try_take_many s 2");
        one.does("release");
        all_is_well(&mut one, &mut two, 2);
    }
}

fn taking_before_others_wait(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    one.does("take s");
    victim.stops_at(label, "take s");
    two.waits("take s");
    victim.kill();
    two.did();
    two.does("release");
    one.does("release");
    all_is_well(&mut one, &mut two, 2);
}

fn giving_back(label: &str) {
    for sleepers in [false, true] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        victim.does("take_many s 2");
        if sleepers {
            one.waits("take s");
            two.waits("take s");
        }
        victim.dies_at(label, "release");
        if sleepers {
            one.did();
            two.did();
            one.does("release");
            two.does("release");
        }
        all_is_well(&mut one, &mut two, 2);
    }
}

fn forgetting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "take_and_forget s");
    // What was forgotten does not come back by death.
    assert_eq!(one.does("available s"), "1");
    two.does("give s 1");
    all_is_well(&mut one, &mut two, 2);
}

fn failing_to_take_several(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let mut rival = newcomer(&scratch);
    rival.tell("cycle_many s 1 1000000000000");
    victim.does(&format!("arm {label} 1 kill"));
    victim.tell("cycle_many s 2 1000000000000");
    victim.dies();
    rival.kill();
    all_is_well(&mut one, &mut two, 2);
}

fn signalling(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "give s 1");
    one.does("take_and_forget s");
    newcomer(&scratch).dies_at(label, "give s 1");
    all_is_well(&mut one, &mut two, 3);
}

fn signalling_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.does("take_many s 2");
    two.waits("take s");
    victim.dies_at(label, "give s 1");
    two.did();
    two.does("release");
    one.does("release");
    all_is_well(&mut one, &mut two, 3);
}

fn releasing_several(label: &str) {
    for nth in 1..=3 {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        // One was forgotten, two never were there.
        one.does("take_and_forget s");
        victim.does(&format!("arm {label} {nth} kill"));
        victim.tell("give s 3");
        victim.dies();
        let released = if label == "semaphore.releasing" { 0 } else { nth };
        all_is_well(&mut one, &mut two, 1 + released);
    }
}

fn recovering(label: &str) {
    for way in ["take s", "try_take s", "take_many s 2", "available s", "take_timeout s 5000"] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        victim.does("take_many s 2");
        victim.kill();
        newcomer(&scratch).dies_at(label, way);
        if label == "semaphore.owner_found_dead" {
            newcomer(&scratch).dies_at(label, way);
        }
        one.does("take_many s 2");
        one.does("release");
        all_is_well(&mut one, &mut two, 2);
    }
}

fn recovering_before_sleepers(label: &str) {
    let scratch = Scratch::new();
    let (mut holder, mut one, mut two) = cast(&scratch);
    holder.does("take_many s 2");
    one.waits("take s");
    two.waits("take s");
    one.stop();
    two.stop();
    holder.kill();
    newcomer(&scratch).dies_at(label, "available s");
    one.go_on();
    two.go_on();
    one.did();
    two.did();
    one.does("release");
    two.does("release");
    all_is_well(&mut one, &mut two, 2);
}
