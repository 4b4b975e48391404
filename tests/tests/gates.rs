//! Events, latches and what is done once, across processes.

use procession_tests::{Actor, Scratch};

/// Two processes that have the event `e` open.
fn two(scratch: &Scratch) -> (Actor, Actor) {
    let (mut one, mut two) = (Actor::start(scratch), Actor::start(scratch));
    one.does("create event e");
    two.does("open event e");
    (one, two)
}

#[test]
fn an_event_is_seen_by_all_and_keeps_its_state_without_anybody() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch);
    two.fails("wait_timeout e 10", "TimedOut");
    one.does("set e");
    assert_eq!(two.does("is_set e"), "true");
    two.does("wait e");
    // A private namespace goes with its last process.
    let mut late = Actor::start(&scratch);
    late.does("register");
    one.finish();
    two.kill();
    late.does("open event e");
    late.does("wait e");
    late.does("unlink e");
}

#[test]
fn set_and_clear_releases_everybody_who_waited_and_nobody_who_comes_later() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch);
    let mut waiters: Vec<Actor> = (0..6).map(|_| Actor::start(&scratch)).collect();
    for release in ["set_and_clear e", "pulse e"] {
        for waiter in &mut waiters {
            waiter.tell("open event e");
            waiter.did();
            waiter.waits("wait e");
        }
        one.does(release);
        for waiter in &mut waiters {
            waiter.did();
        }
        two.fails("wait_timeout e 20", "TimedOut");
    }
    one.does("unlink e");
}

#[test]
fn what_a_process_has_set_for_its_life_ends_with_it() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch);
    for end in [Actor::kill, Actor::finish] {
        let mut owner = Actor::start(&scratch);
        owner.does("open event e");
        two.waits("wait e");
        owner.does("set_owned e");
        two.did();
        owner.does("set_owned e");
        assert_eq!(one.does("owner e"), owner.pid().to_string());
        one.fails("set_owned e", "Owned");
        one.fails("wait_cleared_timeout e 10", "StillSet");
        two.waits("wait_cleared e");
        end(owner);
        two.did();
        one.fails("wait_timeout e 10", "TimedOut");
        assert_eq!((one.does("is_set e").as_str(), one.does("owner e").as_str()), ("false", "0"));
    }
    // Set for good, it stays; cleared, it is anybody's.
    let mut owner = Actor::start(&scratch);
    owner.does("open event e");
    owner.does("set_owned e");
    one.does("set e");
    owner.does("set_owned e");
    one.does("clear e");
    two.does("set_owned e");
    owner.fails("set_owned e", "Owned");
    two.does("set e");
    two.kill();
    owner.kill();
    assert_eq!(one.does("is_set e"), "true");
    one.does("unlink e");
}

#[test]
fn a_stopped_waiter_is_released_by_what_happened_meanwhile() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch);
    two.waits("wait e");
    two.stop();
    for _ in 0..100 {
        one.does("set_and_clear e");
    }
    two.go_on();
    two.did();
    one.does("unlink e");
}

#[test]
fn a_waiter_is_told_when_the_file_is_removed_behind_its_back() {
    let scratch = Scratch::new();
    let (one, mut two) = two(&scratch);
    two.waits("wait e");
    std::fs::remove_file(procession_tests::raw::path(&scratch, "e")).expect("it is there");
    two.failed("Orphaned");
    drop(one);
}

#[test]
fn a_latch_opens_for_all_who_wait_and_for_late_ones() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    let mut dead = Actor::start(&scratch);
    one.does("create latch l 3");
    assert_eq!(dead.does("arrive l"), "0");
    // An arrival counts, whatever becomes of who made it.
    dead.kill();
    two.waits("pass l");
    one.fails("pass_timeout l 10", "TimedOut { arrived: 1, count: 3 }");
    assert_eq!(one.does("arrive l"), "1");
    assert_eq!(one.does("arrive l"), "2");
    two.did();
    two.does("pass l");
    assert_eq!(two.does("arrive l"), "3");
    one.does("unlink l");
}

#[test]
fn what_is_done_once_is_not_done_again_by_those_who_waited() {
    let scratch = Scratch::new();
    let mut actors: Vec<Actor> = (0..6).map(|_| Actor::start(&scratch)).collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    actors[0].does("create once o");
    for actor in &mut actors {
        actor.tell(&format!("once o {}", file.path().display()));
    }
    let outcomes: Vec<String> = actors.iter_mut().map(Actor::did).collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "true false").count(), 1, "{outcomes:?}");
    assert_eq!(std::fs::read_to_string(file.path()).expect("text"), "done\n");
    actors[0].does("unlink o");
}

/// With crash points a signal may interrupt the bookkeeping of those.
#[cfg(not(procession_chaos))]
#[test]
fn an_event_is_used_in_a_signal_handler_that_interrupts_its_own_use() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch);
    two.waits("wait e");
    one.does("set_in_signals e 2000");
    two.did();
    assert_eq!(one.does("wait_for_signals e 500"), "500");
    one.does("unlink e");
}
