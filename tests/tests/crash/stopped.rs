//! A process that stands still at a crash point is alive: others may wait for it, but nothing is taken from
//! it.

use procession_tests::{Actor, Scratch, raw};

fn two(scratch: &Scratch) -> (Actor, Actor) {
    let (mut one, mut other) = (Actor::start(scratch), Actor::start(scratch));
    one.does("create lock l");
    other.does("open lock l");
    (one, other)
}

#[test]
fn a_stopped_holder_is_never_declared_dead() {
    let scratch = Scratch::new();
    let (mut one, mut other) = two(&scratch);
    one.stops_at("lock.acquired", "acquire l");
    other.fails("acquire_timeout l 1500", "TimedOut");
    other.waits("acquire l");
    one.go_on();
    one.did();
    one.does("release");
    other.did();
    other.does("release");
    one.does("unlink l");
}

#[test]
fn a_newcomer_that_stands_still_keeps_the_dead_one_before_it_alive() {
    let scratch = Scratch::new();
    let mut keeper = Actor::start(&scratch);
    keeper.does("register 2");
    keeper.does("create lock l");
    let mut holder = Actor::start(&scratch);
    holder.does("open lock l");
    holder.does("acquire l");
    holder.kill();
    let mut newcomer = Actor::start(&scratch);
    newcomer.stops_at("registry.descriptor_closed", "register");
    // Late, never false.
    keeper.fails("acquire_timeout l 300", "TimedOut");
    keeper.waits("acquire l");
    newcomer.go_on();
    newcomer.did();
    keeper.failed("OwnerDied");
    keeper.does("recover l");
    keeper.does("release");
    keeper.does("unlink l");
}

#[test]
fn a_new_object_is_attached_before_it_has_a_name() {
    let scratch = Scratch::new();
    let (mut one, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("register");
    one.stops_at("segment.create.published", "create lock x ephemeral");
    assert_eq!(other.does("gc"), "0");
    other.does("open lock x");
    one.go_on();
    one.did();
    one.does("acquire x");
    other.fails("try x", "WouldBlock");
    one.does("release");
}

#[test]
fn a_collector_that_stands_still_holds_up_openers_and_no_longer() {
    let scratch = Scratch::new();
    let (mut collector, mut opener) = (Actor::start(&scratch), Actor::start(&scratch));
    collector.does("register");
    opener.does("register");
    let mut last = Actor::start(&scratch);
    last.does("create lock x ephemeral");
    last.kill();
    collector.stops_at("segment.collect.locked", "gc");
    opener.tell("open_or_create lock x");
    collector.go_on();
    assert_eq!(collector.did(), "1");
    opener.did();
    opener.does("cycle x 1");
    opener.does("unlink x");
}

#[test]
fn two_who_unlink_meet_at_the_name_lock() {
    let scratch = Scratch::new();
    let (mut one, mut other) = two(&scratch);
    one.stops_at("segment.remove.name_locked", "unlink l");
    assert!(raw::is_retired(&scratch, "l"));
    other.tell("unlink l");
    one.go_on();
    one.did();
    other.failed("NotFound");
}

#[test]
fn who_waited_for_the_name_lock_looks_again_whose_name_it_is() {
    let scratch = Scratch::new();
    let (mut one, mut other) = two(&scratch);
    let mut third = Actor::start(&scratch);
    one.stops_at("segment.remove.name_locked", "unlink l");
    // It has found the same object under the name, and waits for the same lock.
    other.tell("unlink l");
    other.pauses();
    other.stop();
    one.go_on();
    one.did();
    third.does("create queue l");
    third.does("put l 1");
    other.go_on();
    other.failed("NotFound");
    assert_eq!(scratch.objects(), ["l"]);
    one.does("open queue l");
    assert_eq!(one.does("get l"), "1");
    third.does("unlink l");
}

#[test]
fn a_last_one_that_stands_still_while_leaving_holds_up_newcomers_and_no_longer() {
    let scratch = Scratch::new();
    let (mut last, mut next) = (Actor::start(&scratch), Actor::start(&scratch));
    last.does("register");
    last.stops_at("registry.retired", "exit 0");
    // It finds the registry retired and makes another.
    next.tell("create lock l");
    last.go_on();
    assert!(last.wait().success());
    next.did();
    next.does("cycle l 1");
    let mut third = Actor::start(&scratch);
    third.does("open lock l");
    assert_eq!(third.does("participants").split(' ').count(), 2);
    next.does("unlink l");
}
