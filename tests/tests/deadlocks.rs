//! Deadlocks are seen, told apart from waits that end, and broken where that was asked for.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{Deadlock, blocked_in, deadlocks_in};
use procession_tests::{Actor, Scratch, until};

/// `count` processes, each of which holds the lock of its number and waits for the next one's; the last waits for the
/// first's once `close` is called.
fn chain(scratch: &Scratch, count: usize, options: &str) -> Vec<Actor> {
    let mut actors: Vec<Actor> = (0..count).map(|_| Actor::start(scratch)).collect();
    for (index, actor) in actors.iter_mut().enumerate() {
        actor.does(&format!("create lock l{index} {options}"));
        actor.does(&format!("acquire l{index}"));
    }
    for (index, actor) in actors.iter_mut().enumerate() {
        let next = (index + 1) % count;
        actor.does(&format!("open lock l{next}"));
        if next != 0 {
            actor.waits(&format!("acquire l{next}"));
        }
    }
    until("the waits are shown", || blocked(scratch) == count - 1);
    actors
}

fn blocked(scratch: &Scratch) -> usize {
    blocked_in(scratch).unwrap().len()
}

fn unlink(scratch: &Scratch) {
    for entry in scratch.list().unwrap().iter().filter(|entry| !entry.is_registry()) {
        scratch.unlink(&entry.name).unwrap();
    }
}

fn found(scratch: &Scratch) -> Vec<Deadlock> {
    deadlocks_in(scratch).unwrap()
}

#[test]
fn a_circle_is_reported_with_who_waits_for_what_and_a_chain_is_not() {
    let scratch = Scratch::new();
    let mut actors = chain(&scratch, 3, "");
    assert!(found(&scratch).is_empty(), "a chain has an end");
    actors[2].waits("acquire_timeout l0 60000");
    until("the circle is found", || !found(&scratch).is_empty());
    let [deadlock] = found(&scratch).try_into().unwrap();
    let threads = deadlock.threads;
    assert_eq!(threads.len(), 3);
    for (index, thread) in threads.iter().enumerate() {
        let next = (index + 1) % 3;
        assert_eq!(thread.process.pid, actors[index].pid());
        assert_eq!(thread.object.as_deref(), Some(&*format!("l{next}")));
        assert_eq!((thread.kind, thread.is_timed), ("lock", index == 2));
        assert_eq!(thread.holder.as_ref().unwrap().pid, actors[next].pid());
    }
    // One of them dies: there is no circle any more, and nobody waits for ever.
    actors.pop().unwrap().kill();
    actors[1].failed("OwnerDied");
    assert!(found(&scratch).is_empty());
    actors[1].does("release");
    actors[0].did();
    until("nobody waits", || blocked(&scratch) == 0);
    unlink(&scratch);
}

#[test]
fn of_a_circle_exactly_one_backs_out_and_the_others_go_on() {
    let scratch = Scratch::new();
    let mut actors = chain(&scratch, 4, "detecting");
    actors[3].fails("acquire l0", "Deadlock");
    assert!(!actors[..3].iter().any(Actor::has_answered));
    actors[3].does("release");
    for index in (0..3).rev() {
        actors[index].did();
        actors[index].does("release");
        actors[index].does("release");
    }
    unlink(&scratch);
}

#[test]
fn whoever_waits_for_a_circle_without_being_in_it_waits_on() {
    let scratch = Scratch::new();
    let mut actors = chain(&scratch, 2, "detecting");
    let mut outsider = Actor::start(&scratch);
    outsider.does("open lock l0");
    outsider.waits("acquire l0");
    actors[1].fails("acquire l0", "Deadlock");
    assert!(!outsider.has_answered());
    actors.pop().unwrap().kill();
    actors[0].failed("OwnerDied");
    actors[0].does("release");
    outsider.did();
    unlink(&scratch);
}

#[test]
fn threads_of_one_process_are_told_apart() {
    let scratch = Scratch::new();
    let mut actor = Actor::start(&scratch);
    actor.does("create lock a detecting");
    actor.does("acquire a");
    // Another thread waits for this one, which waits for nobody: no circle, though it is one process.
    actor.fails("in_a_thread a 200", "TimedOut");
    unlink(&scratch);
}

#[test]
fn waits_that_only_passed_through_each_other_are_no_deadlock() {
    // Each takes both locks, one after the other and never together, again and again.
    let scratch = Scratch::new();
    let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start(&scratch)).collect();
    for actor in &mut actors {
        actor.does("open_or_create lock a detecting");
        actor.does("open_or_create lock b detecting");
    }
    for (index, actor) in actors.iter_mut().enumerate() {
        let (first, second) = if index % 2 == 0 { ("a", "b") } else { ("b", "a") };
        actor.tell(&format!("take_turns {first} {second} 60"));
    }
    for actor in &mut actors {
        actor.did();
    }
    unlink(&scratch);
}
