//! A holder of permits, or who releases or recovers some, dies: no permit is lost, none is there twice.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    taken at "semaphore.taken": taking;
    taken_one_of_several at "semaphore.taken": taking_several;
    taken_with_a_sleeper at "semaphore.taken": taking_before_others_wait;
    taken_at_the_timeout at "semaphore.taken": being_too_late_and_in_time;
    slept_until_the_timeout at "eventcount.slept": being_too_late_and_in_time;
    arrived_at_the_timeout at "eventcount.arrived": being_too_late_and_in_time;
    released at "semaphore.released": giving_back;
    released_one_of_several at "semaphore.released": giving_several_back;
    handed at "semaphore.handed": forgetting;
    handed_one_of_several at "semaphore.handed": forgetting_several;
    forgotten at "semaphore.forgotten": forgetting;
    gave_back at "semaphore.gave_back": failing_to_take_several;
    signalled at "semaphore.signalled": signalling;
    signalled_a_sleeper at "semaphore.signalled": signalling_a_sleeper;
    raised at "semaphore.raised": raising;
    turn at "semaphore.turn": releasing_several;
    turn_before_a_sleeper at "semaphore.turn": releasing_several_before_a_sleeper;
    releasing at "semaphore.releasing": releasing_several;
    releasing_before_a_sleeper at "semaphore.releasing": releasing_several_before_a_sleeper;
    releasing_too_many at "semaphore.releasing": releasing_more_than_there_is_room;
    decided at "semaphore.decided": releasing_several;
    decided_before_a_sleeper at "semaphore.decided": releasing_several_before_a_sleeper;
    settling at "semaphore.settling": releasing_several;
    settling_before_a_sleeper at "semaphore.settling": releasing_several_before_a_sleeper;
    settling_too_many at "semaphore.settling": releasing_more_than_there_is_room;
    settled at "semaphore.settled": releasing_several;
    settled_before_a_sleeper at "semaphore.settled": releasing_several_before_a_sleeper;
    settled_too_many at "semaphore.settled": releasing_more_than_there_is_room;
    owner_found_dead_to_settle at "lock.owner_found_dead": settling_anothers;
    buried_to_settle at "lock.buried": settling_anothers;
    acquired_to_settle at "lock.acquired_contended": settling_anothers;
    turn_to_settle at "semaphore.turn": settling_anothers;
    settling_anothers_release at "semaphore.settling": settling_anothers;
    settled_anothers_release at "semaphore.settled": settling_anothers;
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

/// There are so many permits (at least one), all of them free, and they can be taken, waited for and
/// released.
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

fn giving_several_back(label: &str) {
    for nth in 1..=2 {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        victim.does("take_many s 2");
        one.waits("take_many s 2");
        victim.does(&format!("arm {label} {nth} kill"));
        victim.tell("release");
        victim.dies();
        one.did();
        one.does("release");
        all_is_well(&mut one, &mut two, 2);
    }
}

fn forgetting_several(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    // One was forgotten; the other comes back.
    victim.dies_at(label, "take_many_and_forget s 2");
    assert_eq!(one.does("available s"), "1");
    two.does("give s 1");
    all_is_well(&mut one, &mut two, 2);
}

fn failing_to_take_several(label: &str) {
    for sleeps in [false, true] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        // It has seen two, and has one; then another takes the other.
        victim.does(&format!("arm semaphore.taken 1 stop {label} 1 kill"));
        victim.tell("take_many s 2");
        victim.is_stopped();
        one.does("take s");
        if sleeps {
            two.waits("take s");
        }
        victim.go_on();
        victim.dies();
        if sleeps {
            two.did();
            two.does("release");
        }
        one.does("release");
        all_is_well(&mut one, &mut two, 2);
    }
}

/// A waiter's time is over, and before it looks again there is a permit: it takes it. If it is killed then,
/// the permit is another's.
fn being_too_late_and_in_time(label: &str) {
    for dies in [false, true] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        one.does("take_many s 2");
        let death = if dies { format!("{label} 1 kill") } else { String::new() };
        if label == "eventcount.slept" {
            // The stop is at the same place: it has slept, and does not come to look.
            victim.does("arm eventcount.slept 1 stop");
        } else {
            victim.does(&format!("arm eventcount.slept 1 stop {death}"));
        }
        victim.tell("take_timeout s 5");
        victim.is_stopped();
        two.waits("take_many s 2");
        one.does("release");
        two.did();
        two.does("release");
        if !dies {
            victim.go_on();
            victim.did();
            victim.does("release");
        } else if label == "eventcount.slept" {
            victim.kill();
        } else {
            victim.go_on();
            victim.dies();
        }
        all_is_well(&mut one, &mut two, 2);
    }
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

fn raising(label: &str) {
    for way in ["give s 1", "give s 2"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        victim.dies_at(label, way);
        all_is_well(&mut one, &mut two, 2);
    }
}

/// How many of three are there when who released them was killed at `label`: all or none.
fn of_three(label: &str) -> u32 {
    if ["semaphore.turn", "semaphore.releasing"].contains(&label) { 0 } else { 3 }
}

/// Three permits can be released: one that was forgotten, and two that never were there. Somebody is killed
/// over it.
fn dies_releasing_three(label: &str, nth: u32, mut victim: Actor, one: &mut Actor) {
    one.does("take_and_forget s");
    victim.does(&format!("arm {label} {nth} kill"));
    victim.tell("give s 3");
    victim.dies();
}

fn releasing_several(label: &str) {
    let times = if ["semaphore.releasing", "semaphore.settling"].contains(&label) { 3 } else { 1 };
    for nth in 1..=times {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        dies_releasing_three(label, nth, victim, &mut one);
        all_is_well(&mut one, &mut two, 1 + of_three(label));
    }
}

fn releasing_several_before_a_sleeper(label: &str) {
    for way in ["take s", "take_many s 3"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        one.does("take s");
        two.waits(if way == "take s" { "take_many s 2" } else { way });
        dies_releasing_three(label, 1, victim, &mut one);
        if of_three(label) == 0 {
            // Nothing came: the sleeper goes on when it does.
            assert!(!two.has_answered());
            one.does("give s 3");
        }
        two.did();
        two.does("release");
        one.does("release");
        all_is_well(&mut one, &mut two, 4);
    }
}

fn releasing_more_than_there_is_room(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    // It has seen room for two, and has claimed one; then another releases one: too much.
    let place = format!("{label} {} kill", if label == "semaphore.releasing" { 2 } else { 1 });
    if label == "semaphore.releasing" {
        victim.does(&format!("arm {label} 1 kill"));
        victim.tell("give s 2");
    } else {
        victim.does(&format!("arm semaphore.releasing 1 stop {place}"));
        victim.tell("give s 2");
        victim.is_stopped();
        one.does("give s 1");
        victim.go_on();
    }
    victim.dies();
    let there = if label == "semaphore.releasing" { 2 } else { 3 };
    all_is_well(&mut one, &mut two, there);
}

/// One is killed while it releases, and one after the other those who finish or undo that.
fn settling_anothers(label: &str) {
    for (first, nth) in [("semaphore.releasing", 2), ("semaphore.decided", 1), ("semaphore.settling", 2)] {
        for way in ["available s", "give s 3", "take_many s 3"] {
            let scratch = Scratch::new();
            let (victim, mut one, mut two) = cast(&scratch);
            one.does("take s");
            dies_releasing_three(first, nth, victim, &mut one);
            // Only one who finds too few looks for what the dead decided.
            if way != "take_many s 3" || of_three(first) != 0 {
                newcomer(&scratch).dies_at(label, way);
                // Nothing may be left to do for a second one.
                if ["lock.owner_found_dead", "semaphore.turn"].contains(&label) {
                    newcomer(&scratch).dies_at(label, way);
                }
            }
            one.does("release");
            all_is_well(&mut one, &mut two, 1 + of_three(first));
        }
    }
}

#[test]
fn that_there_is_no_room_is_said_only_when_nobody_is_about_to_make_some() {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    // There is room for two, of which it has claimed one.
    victim.stops_at("semaphore.releasing", "give s 2");
    one.does("give s 1");
    // It will find out that it cannot have both: there is room for this one.
    two.waits("give s 1");
    victim.go_on();
    victim.failed("Full");
    two.did();
    all_is_well(&mut one, &mut two, 4);
}

#[test]
fn who_is_stopped_while_it_releases_several_holds_up_nobody_who_can_go_on() {
    let scratch = Scratch::new();
    let (mut stopped, mut one, mut two) = cast(&scratch);
    one.does("take_and_forget s");
    stopped.stops_at("semaphore.releasing", "give s 2");
    one.does("give s 1");
    one.does("take_many s 2");
    two.fails("take_timeout s 300", "TimedOut");
    two.waits("take s");
    one.does("release");
    two.did();
    two.does("release");
    stopped.go_on();
    stopped.did();
    all_is_well(&mut one, &mut two, 4);
}

#[test]
fn a_waiter_that_is_stopped_does_not_keep_the_wake_from_others() {
    for place in ["eventcount.slept", "eventcount.arrived", "eventcount.listening"] {
        let scratch = Scratch::new();
        let (mut stopped, mut one, mut two) = cast(&scratch);
        one.does("take_many s 2");
        stopped.stops_at(place, "take s");
        two.waits("take_many s 2");
        one.does("release");
        two.did();
        two.does("release");
        stopped.go_on();
        stopped.did();
        stopped.does("release");
        all_is_well(&mut one, &mut two, 2);
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
