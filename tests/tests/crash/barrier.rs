//! One of the parties of a barrier dies: the others pass, or are told, and a reset makes it as good as new.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    arrived at "barrier.arrived": arriving;
    arrived_and_waiting at "barrier.waiting": arriving;
    arrived_and_slept at "barrier.slept": arriving;
    tripped at "barrier.ended": tripping;
    aborted at "barrier.ended": aborting;
    began_to_act at "barrier.acting": acting;
    acted at "barrier.ended": acting;
    reset at "barrier.reset": resetting;
    reset_before_telling at "barrier.ended": resetting;
    joined at "barrier.joined": joining;
    left at "barrier.left": leaving;
    member_found_dead at "barrier.member_found_dead": finding_a_dead_member;
    broken_for_the_dead at "barrier.broken_for_the_dead": finding_a_dead_member;
    place_freed at "barrier.place_freed": freeing_a_place;
}

/// Three processes that have the barrier `b` open, for so many parties.
fn cast(scratch: &Scratch, parties: u32) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does(&format!("create barrier b {parties}"));
    victim.does("open barrier b");
    two.does("open barrier b");
    (victim, one, two)
}

/// The barrier, for two parties, is reset and works; all places are free.
fn all_is_well(one: &mut Actor, two: &mut Actor) {
    one.does("reset b");
    one.does("join b");
    two.does("join b");
    one.fails("join b", "NoPlace");
    for _ in 0..2 {
        one.waits("wait b");
        assert_eq!(two.does("wait b"), "1");
        assert_eq!(one.did(), "0");
    }
    one.does("release");
    two.does("release");
    two.does("unlink b");
}

fn arriving(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    // Who has arrived has arrived.
    victim.dies_at(label, "wait b");
    assert_eq!(one.does("wait b"), "1");
    all_is_well(&mut one, &mut two);
}

fn tripping(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    one.waits("wait b");
    victim.dies_at(label, "wait b");
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

fn aborting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    one.waits("wait b");
    victim.dies_at(label, "abort b");
    one.failed("Broken { cause: Aborted }");
    two.fails("wait b", "Broken { cause: Aborted }");
    all_is_well(&mut one, &mut two);
}

fn acting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    let pid = victim.pid();
    one.waits("wait b");
    victim.dies_at(label, "wait_acting b");
    if label == "barrier.ended" {
        assert_eq!(one.did(), "0");
    } else {
        one.failed(&format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    }
    all_is_well(&mut one, &mut two);
}

fn resetting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    one.waits("wait b");
    victim.dies_at(label, "reset b");
    one.failed("Broken { cause: Reset }");
    all_is_well(&mut one, &mut two);
}

fn joining(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    let pid = victim.pid();
    victim.dies_at(label, "join b");
    one.fails("wait b", &format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    all_is_well(&mut one, &mut two);
}

fn leaving(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, 2);
    victim.does("join b");
    victim.dies_at(label, "release");
    one.does("join b");
    two.does("join b");
    one.does("release");
    two.does("release");
    all_is_well(&mut one, &mut two);
}

fn finding_a_dead_member(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, 3);
    let pid = victim.pid();
    victim.does("join b");
    victim.kill();
    let mut finder = Actor::start(&scratch);
    finder.does("open barrier b");
    finder.dies_at(label, "wait b");
    one.fails("wait b", &format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    one.does("reset b");
    let mut third = Actor::start(&scratch);
    third.does("open barrier b");
    for actor in [&mut one, &mut two, &mut third] {
        actor.does("join b");
    }
    one.waits("wait b");
    two.waits("wait b");
    third.does("wait b");
    one.did();
    two.did();
    third.does("unlink b");
}

fn freeing_a_place(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, 2);
    victim.does("join b");
    victim.kill();
    let mut second = Actor::start(&scratch);
    second.does("open barrier b");
    second.dies_at(label, "reset b");
    all_is_well(&mut one, &mut two);
}
