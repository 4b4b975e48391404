//! Semaphores across processes.

use procession_tests::{Actor, Scratch, until};

/// Two processes that have the semaphore `s` open.
fn two(scratch: &Scratch, how: &str) -> (Actor, Actor) {
    let (mut one, mut two) = (Actor::start(scratch), Actor::start(scratch));
    one.does(&format!("create semaphore s {how}"));
    two.does("open semaphore s");
    (one, two)
}

#[test]
fn permits_are_counted_across_processes_and_a_dead_holder_is_told() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "2 1024");
    one.does("take s");
    assert_eq!(two.does("available s"), "1");
    two.does("take s");
    assert_eq!(two.does("available s"), "0");
    assert!(two.does("holders s").contains(&format!("pid: {}", one.pid())));
    one.kill();
    assert!(two.does("holders s").contains("is_dead: true"));
    assert_eq!(two.does("available s"), "1");
    two.does("release");
    assert_eq!(two.does("available s"), "2");
    two.does("unlink s");
}

#[test]
fn a_waiter_gets_the_permits_of_the_dead_and_who_wants_many_waits_for_many() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "3 3");
    one.does("take_many s 2");
    two.waits("take_many s 3");
    let mut third = Actor::start(&scratch);
    third.does("open semaphore s");
    // Who waits for three has none: one is still to be had.
    third.does("take s");
    third.does("release");
    one.kill();
    two.did();
    third.fails("try_take s", "WouldBlock");
    two.does("release");
    two.does("unlink s");
}

#[test]
fn several_sleepers_are_all_told_of_several_permits() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "0 8");
    let mut waiters: Vec<Actor> = (0..5).map(|_| Actor::start(&scratch)).collect();
    for waiter in &mut waiters {
        waiter.does("open semaphore s");
        waiter.waits("take s");
    }
    one.does("give s 5");
    for waiter in &mut waiters {
        waiter.did();
    }
    two.fails("try_take s", "WouldBlock");
    drop(waiters);
    until("the permits of the dead to come back", || two.does("available s") == "5");
    two.does("unlink s");
}

#[test]
fn a_bounded_semaphore_is_exact_under_races() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create bounded s 4");
    two.does("open bounded s");
    two.fails("open semaphore s", "Kind");
    two.does("take_and_forget s");
    two.does("take_and_forget s");
    two.does("take_and_forget s");
    // Each releases two and takes them out again, if it can: there is never room for both.
    one.tell("give_and_take_many s 2 20000");
    two.does("give_and_take_many s 2 20000");
    one.did();
    assert_eq!(one.does("available s"), "1");
    one.does("give s 3");
    two.fails("give s 1", "Full");
    two.does("unlink s");
}

#[test]
fn whoever_is_killed_over_releases_and_bundles_no_permit_is_lost_or_there_twice() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create bounded s 6");
    two.does("open bounded s");
    for round in 0..40 {
        let mut workers: Vec<Actor> = (0..4).map(|_| Actor::start(&scratch)).collect();
        for (index, worker) in workers.iter_mut().enumerate() {
            worker.does("open bounded s");
            let way =
                ["cycle_many s 3", "give_and_take_many s 2", "give_and_take_many s 3", "cycle_many s 1"];
            worker.tell(&format!("{} 1000000000000", way[index]));
        }
        // Those that get on meanwhile let the others be killed somewhere else in each round.
        one.does(&format!("cycle_many s 2 {}", 100 * round));
        workers.into_iter().for_each(Actor::kill);
        let available: u32 = one.does("available s").parse().expect("a number");
        if available < 6 {
            two.does(&format!("give s {}", 6 - available));
        }
        two.fails("give s 1", "Full");
        one.does("take_many s 6");
        one.does("release");
        if round % 2 == 0 {
            two.does("take_many_and_forget s 4");
        }
    }
    two.does("unlink s");
}

#[test]
fn those_who_want_all_at_once_get_on_beside_each_other() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "2 2");
    let mut third = Actor::start(&scratch);
    third.does("open semaphore s");
    for actor in [&mut one, &mut two, &mut third] {
        actor.tell("cycle_waiting s 2 3000");
    }
    for actor in [&mut one, &mut two, &mut third] {
        actor.did();
    }
    assert_eq!(one.does("available s"), "2");
    one.does("unlink s");
}

#[test]
fn a_permit_inherited_by_fork_does_nothing() {
    for way in ["fork", "raw_fork"] {
        let scratch = Scratch::new();
        let (mut one, mut two) = two(&scratch, "1 1");
        one.does("take s");
        one.does(way);
        // In the child.
        one.does("release");
        assert_eq!(one.does("available s"), "0");
        two.fails("try_take s", "WouldBlock");
        assert_eq!(one.ask("exit 0"), "ok exit 0");
        assert_eq!(two.does("available s"), "0");
        one.does("release");
        assert_eq!(two.does("available s"), "1");
        two.does("unlink s");
    }
}

#[test]
fn impossible_and_disagreeing_options_are_refused() {
    let scratch = Scratch::new();
    let mut one = Actor::start(&scratch);
    one.fails("create semaphore s 5 4", "Impossible");
    one.fails("create semaphore s 0 0", "Impossible");
    one.fails("create semaphore s 1 4000000000", "Impossible");
    one.fails("create bounded s 0", "Impossible");
    one.does("create semaphore s 2 4");
    one.fails("open bounded s", "Kind");
    one.does("unlink s");
}
