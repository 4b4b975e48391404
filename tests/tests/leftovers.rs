//! What the last process of a namespace removes: it knows the names of its files by the roll in its registry.

use procession_tests::{Actor, Scratch, raw};
use std::fs;

procession::test_support!();

/// How many names the roll has room for.
const ROOM: usize = 256;

#[test]
fn more_objects_than_the_roll_has_room_for_go_with_the_last_process() {
    let scratch = Scratch::unswept();
    let mut last = Actor::start(&scratch);
    for at in 0..ROOM + 20 {
        last.does(&format!("anonymous lock l{at}"));
    }
    last.does("create lock named");
    last.finish();
    assert_eq!(scratch.names(), [".registry", "named"]);
    // From now on there is room again.
    let mut last = Actor::start(&scratch);
    last.does("anonymous lock l");
    last.does("unlink named");
    last.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn more_objects_than_the_roll_has_room_for_go_when_their_last_process_is_killed() {
    let scratch = Scratch::unswept();
    let mut killed = Actor::start(&scratch);
    for at in 0..ROOM + 20 {
        killed.does(&format!("anonymous lock l{at}"));
    }
    killed.kill();
    let mut next = Actor::start(&scratch);
    next.does("register");
    next.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn objects_that_come_and_go_leave_room_on_the_roll() {
    let scratch = Scratch::unswept();
    let mut actor = Actor::start(&scratch);
    for _ in 0..ROOM + 20 {
        actor.does("create lock l");
        actor.does("unlink l");
        actor.does("anonymous queue q");
        actor.does("drop q");
    }
    actor.does("anonymous queue q");
    actor.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn an_object_of_a_lost_registry_keeps_the_next_one() {
    let scratch = Scratch::unswept();
    let mut killed = Actor::start(&scratch);
    killed.does("create lock l");
    killed.does("anonymous lock a");
    killed.kill();
    fs::remove_file(raw::registry(&scratch)).unwrap();
    let mut next = Actor::start(&scratch);
    next.does("register");
    next.finish();
    assert_eq!(scratch.names(), [".registry", "l"]);
    let mut next = Actor::start(&scratch);
    next.does("open lock l");
    next.does("cycle l 3");
    next.does("unlink l");
    next.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn a_file_that_somebody_removed_keeps_no_registry() {
    let scratch = Scratch::unswept();
    let mut actor = Actor::start(&scratch);
    actor.does("create lock l");
    fs::remove_file(raw::path(&scratch, "l")).unwrap();
    actor.finish();
    assert_eq!(scratch.names(), [""; 0]);
}
