//! Who may hold, and what is kept: starvation with everybody alive, threads of one process, an unlock by who
//! never recovered, what an acknowledgement promises.

use procession_tests::{Actor, Scratch, raw, until};

#[test]
fn a_lock_taken_again_at_once_starves_nobody() {
    let scratch = Scratch::new();
    let mut hogs: Vec<Actor> = (0..2).map(|_| Actor::start(&scratch)).collect();
    let mut other = Actor::start(&scratch);
    other.does("create lock l");
    for hog in &mut hogs {
        hog.does("open lock l");
        hog.does("hog l");
    }
    // Bounded by the watchdog alone.
    for _ in 0..30 {
        other.does("cycle l 1");
    }
    for hog in hogs {
        hog.kill();
        other.does("mend l 1");
    }
    other.does("unlink l");
}

#[test]
fn only_the_thread_that_holds_it_deadlocks() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create lock l");
    two.does("open lock l");
    one.does("acquire l");
    one.fails("acquire l", "Deadlock");
    one.fails("acquire_timeout l 10000", "Deadlock");
    one.fails("recover l", "Deadlock");
    one.fails("try l", "WouldBlock");
    // A second thread, and a second process, wait.
    one.fails("in_a_thread l 50", "TimedOut");
    two.fails("acquire_timeout l 50", "TimedOut");
    two.waits("acquire l");
    one.does("release");
    two.did();
    // The first thread of the other process is another thread.
    one.fails("acquire_timeout l 50", "TimedOut");
    two.does("release");
    one.does("acquire l");
    one.does("release");
    one.does("unlink l");
}

#[test]
fn the_same_threads_of_two_processes_and_of_a_fork_are_different() {
    let scratch = Scratch::new();
    let mut actor = Actor::start(&scratch);
    actor.does("create lock l");
    actor.does("acquire l");
    actor.does("fork");
    actor.fails("acquire_timeout l 50", "TimedOut");
    actor.does("register");
    actor.fails("acquire_timeout l 50", "TimedOut");
    assert_eq!(actor.ask("exit 0"), "ok exit 0");
    actor.fails("acquire l", "Deadlock");
    actor.does("release");
    actor.does("unlink l");
}

#[test]
fn the_lock_stays_inconsistent_until_somebody_has_put_things_right() {
    let scratch = Scratch::new();
    let (mut holder, mut one, mut two) = three(&scratch);
    let pid = holder.pid();
    holder.does("acquire l");
    holder.kill();
    for _ in 0..3 {
        one.fails("acquire l", &format!("OwnerDied {{ pid: {pid} }}"));
        two.fails("try l", &format!("OwnerDied {{ pid: {pid} }}"));
    }
    // Recovery that fails by a panic, and by death.
    one.does("recover_in_panic l");
    assert_eq!(one.does("inconsistent l"), "true");
    two.fails("acquire l", "OwnerDied");
    let mut third = Actor::start(&scratch);
    third.does("open lock l");
    assert_eq!(third.does("recover l"), "recovers");
    let second_pid = third.pid();
    third.kill();
    two.fails("acquire l", &format!("OwnerDied {{ pid: {second_pid} }}"));
    // A waiter behind a recovery that succeeds gets the lock.
    assert_eq!(one.does("recover l"), "recovers");
    two.waits("acquire l");
    one.does("release");
    assert_eq!(two.did(), "");
    assert_eq!(raw::lock_word(&scratch, "l") & raw::INCONSISTENT, 0);
    two.does("release");
    one.does("unlink l");
}

#[test]
fn a_waiter_behind_a_recovery_that_dies_is_told() {
    let scratch = Scratch::new();
    let (mut holder, mut recoverer, mut waiter) = three(&scratch);
    let pid = recoverer.pid();
    holder.does("acquire l");
    holder.kill();
    recoverer.does("recover l");
    waiter.waits("acquire l");
    recoverer.kill();
    waiter.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    assert_eq!(waiter.does("recover l"), "recovers");
    waiter.does("release");
    waiter.does("unlink l");
}

#[test]
fn how_long_a_lock_is_held_is_known_once_somebody_has_waited_for_it() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter, mut onlooker) = three(&scratch);
    let lasting = "for at least 1 s";
    holder.does("acquire l");
    assert!(!onlooker.fails("try l", "WouldBlock").contains("for at least"));
    assert!(waiter.fails("acquire_timeout l 1300", "TimedOut").contains(lasting));
    assert!(onlooker.fails("try l", "WouldBlock").contains(lasting));
    // Another hold of the same thread is not as old.
    holder.does("release");
    holder.does("acquire l");
    assert!(!onlooker.fails("try l", "WouldBlock").contains("for at least"));
    // The dead are not told of.
    waiter.waits("acquire l");
    holder.kill();
    waiter.failed("OwnerDied");
    waiter.does("recover l");
    assert!(!onlooker.fails("try l", "WouldBlock").contains("for at least"));
    waiter.does("release");
    waiter.does("unlink l");
}

#[test]
fn a_lock_that_ignores_death_is_simply_free_again() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create lock l ignore");
    two.does("open lock l");
    one.does("acquire l");
    two.waits("acquire l");
    one.kill();
    two.did();
    two.does("release");
    assert_eq!(two.does("inconsistent l"), "false");
    two.does("unlink l");
}

#[test]
fn what_was_acknowledged_outlives_everybody() {
    let scratch = Scratch::unswept();
    let mut producer = Actor::start(&scratch);
    producer.does("create queue q");
    for n in 0..10 {
        producer.does(&format!("put q {n}"));
    }
    producer.kill();
    // There is no process in the namespace now. A consumer that got a message takes it with it: at most once.
    let mut consumer = Actor::start(&scratch);
    consumer.does("open queue q");
    assert_eq!(consumer.does("get q"), "0");
    consumer.kill();
    let mut consumer = Actor::start(&scratch);
    consumer.does("open queue q");
    for n in 1..10 {
        assert_eq!(consumer.does("get q"), n.to_string());
    }
    consumer.fails("try_get q", "WouldBlock");
    consumer.does("unlink q");
}

/// A lock `l`, open in three processes.
fn three(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let mut one = Actor::start(scratch);
    one.does("create lock l");
    let [mut two, mut three] = [Actor::start(scratch), Actor::start(scratch)];
    two.does("open lock l");
    three.does("open lock l");
    until("three are registered", || one.does("participants").split(' ').count() == 3);
    (one, two, three)
}
