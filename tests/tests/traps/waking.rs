//! Hints that the dead leave behind, sleepers that a lock must not hide, and the bytes of the ring.

use procession_tests::{Actor, Scratch, raw, until};

const HINTS: u64 = raw::WAITERS | raw::WOKEN | raw::STARVED;

/// Releases until the word of `l` is clean, which must be soon: then acquiring and releasing is one CAS each
/// again.
fn becomes_quick_again(scratch: &Scratch, actor: &mut Actor) {
    for _ in 0..64 {
        actor.does("cycle l 1");
        if raw::lock_word(scratch, "l") == 0 {
            return;
        }
    }
    panic!("after 64 releases the word is still {:x}", raw::lock_word(scratch, "l"));
}

/// A lock `l` that one holds and for which the other waits asleep.
fn held_and_awaited(scratch: &Scratch) -> (Actor, Actor) {
    let (mut holder, mut waiter) = (Actor::start(scratch), Actor::start(scratch));
    holder.does("create lock l");
    waiter.does("open lock l");
    holder.does("acquire l");
    waiter.waits("acquire l");
    (holder, waiter)
}

#[test]
fn a_waiter_killed_asleep_costs_one_wake() {
    let scratch = Scratch::new();
    let (mut holder, waiter) = held_and_awaited(&scratch);
    waiter.kill();
    assert_ne!(raw::lock_word(&scratch, "l") & raw::WAITERS, 0);
    holder.does("release");
    assert_eq!(raw::lock_word(&scratch, "l"), 0);
    holder.does("unlink l");
}

#[test]
fn what_a_woken_waiter_leaves_when_it_is_killed_does_not_make_the_lock_slow_for_ever() {
    // The instant itself is met in the crash tests: a stopped process sleeps on no futex, and cannot be
    // woken.
    let scratch = Scratch::new();
    let mut actor = Actor::start(&scratch);
    actor.does("create lock l");
    let combinations = [
        raw::WAITERS | raw::WOKEN,
        raw::WAITERS | raw::WOKEN | raw::STARVED,
        raw::WAITERS | raw::STARVED,
        raw::WAITERS,
    ];
    for left_behind in combinations {
        raw::poke(&scratch, "l", raw::BODY, &left_behind.to_le_bytes());
        becomes_quick_again(&scratch, &mut actor);
    }
    actor.does("unlink l");
}

#[test]
fn a_waiter_that_dies_does_not_take_the_others_wake_with_it() {
    let scratch = Scratch::new();
    let mut holder = Actor::start(&scratch);
    holder.does("create lock l");
    for _ in 0..20 {
        let [mut waiter, mut other] = std::array::from_fn(|_| Actor::start(&scratch));
        waiter.does("open lock l");
        other.does("open lock l");
        holder.does("acquire l");
        waiter.waits("acquire l");
        other.waits("mend l 1");
        holder.tell("release");
        waiter.begin_to_die();
        holder.did();
        other.did();
        drop(waiter);
        holder.does("mend l 1");
    }
    becomes_quick_again(&scratch, &mut holder);
    holder.does("unlink l");
}

#[test]
fn a_starved_waiter_that_dies_leaves_no_courtesy_behind() {
    let scratch = Scratch::new();
    let (mut holder, waiter) = held_and_awaited(&scratch);
    until("the waiter is starved", || raw::lock_word(&scratch, "l") & raw::STARVED != 0);
    waiter.kill();
    holder.does("release");
    becomes_quick_again(&scratch, &mut holder);
    assert_eq!(raw::lock_word(&scratch, "l") & HINTS, 0);
    holder.does("unlink l");
}

#[test]
fn a_waiter_whose_time_is_over_hands_its_wake_on() {
    let scratch = Scratch::new();
    let (mut holder, mut late) = (Actor::start(&scratch), Actor::start(&scratch));
    holder.does("create lock l");
    late.does("open lock l");
    for _ in 0..6 {
        holder.does("acquire l");
        late.waits("acquire_timeout l 400");
        let mut other = Actor::start(&scratch);
        other.does("open lock l");
        other.waits("acquire l");
        late.stop();
        // Its time passes while it is stopped, and the wake may be given to it.
        holder.fails("in_a_thread l 450", "TimedOut");
        holder.does("release");
        late.go_on();
        until("somebody has an answer", || late.has_answered() || other.has_answered());
        if late.has_answered() {
            // Whether it was still in time is its own affair; the other must get the lock.
            if late.answer() == "ok" {
                late.does("release");
            }
            other.did();
            other.does("release");
        } else {
            other.did();
            other.does("release");
            if late.answer() == "ok" {
                late.does("release");
            }
        }
        other.finish();
    }
    becomes_quick_again(&scratch, &mut holder);
    holder.does("unlink l");
}

#[test]
fn closing_reaches_sleeping_consumers_and_producers() {
    let scratch = Scratch::new();
    let mut actors: Vec<Actor> = (0..5).map(|_| Actor::start(&scratch)).collect();
    actors[0].does("create queue empty");
    actors[0].does("create queue full capacity=1");
    actors[0].does("put full 7");
    for actor in &mut actors[1..] {
        actor.does("open queue empty");
        actor.does("open queue full");
    }
    actors[1].waits("get empty");
    actors[2].waits("get empty");
    actors[3].waits("put full 8");
    actors[4].waits("put full 9");
    actors[0].does("close empty");
    actors[0].does("close full");
    actors[1].failed("Closed");
    actors[2].failed("Closed");
    actors[3].failed("Closed");
    actors[4].failed("Closed");
    // The end comes after what was acknowledged.
    assert_eq!(actors[1].does("get full"), "7");
    actors[1].fails("get full", "Closed");
    actors[1].fails("put full 1", "Closed");
    actors[0].does("unlink empty");
    actors[0].does("unlink full");
}

#[test]
fn a_sleeping_consumer_that_is_stopped_or_killed_hides_no_message() {
    let scratch = Scratch::new();
    let [mut producer, mut one, mut two, mut three] = std::array::from_fn(|_| Actor::start(&scratch));
    producer.does("create queue q");
    for actor in [&mut one, &mut two, &mut three] {
        actor.does("open queue q");
    }
    one.waits("get q");
    two.waits("get q");
    one.stop();
    two.stop();
    producer.does("put q 1");
    assert_eq!(three.does("get q"), "1");
    three.waits("get q");
    // The wake may be given to either of the two that cannot use it.
    producer.does("put q 2");
    assert_eq!(three.did(), "2");
    three.waits("get q");
    one.kill();
    two.kill();
    producer.does("put q 3");
    assert_eq!(three.did(), "3");
    three.does("unlink q");
}

#[test]
fn a_sleeping_producer_that_is_stopped_or_killed_holds_up_nobody() {
    let scratch = Scratch::new();
    let [mut consumer, mut one, mut two] = std::array::from_fn(|_| Actor::start(&scratch));
    consumer.does("create queue q capacity=1");
    consumer.does("put q 0");
    one.does("open queue q");
    two.does("open queue q");
    one.waits("put q 1");
    one.stop();
    two.waits("put q 2");
    assert_eq!(consumer.does("get q"), "0");
    two.did();
    one.kill();
    assert_eq!(consumer.does("get q"), "2");
    consumer.does("put q 3");
    assert_eq!(consumer.does("get q"), "3");
    consumer.fails("try_get q", "WouldBlock");
    consumer.does("unlink q");
}

#[test]
fn idle_consumers_hold_nothing() {
    let scratch = Scratch::new();
    let [mut producer, mut one, mut two] = std::array::from_fn(|_| Actor::start(&scratch));
    producer.does("create queue q");
    one.does("open queue q");
    two.does("open queue q");
    one.waits("get q");
    two.waits("get q");
    for word in words_of_the_queue(&scratch) {
        assert_eq!(word & raw::OWNED, 0, "{word:x}");
    }
    producer.does("put q 1");
    producer.does("put q 2");
    let mut got = [one.did(), two.did()];
    got.sort_unstable();
    assert_eq!(got, ["1", "2"]);
    producer.does("unlink q");
}

/// The words of the put lock and of the get lock.
fn words_of_the_queue(scratch: &Scratch) -> Vec<u64> {
    [0, 128].map(|offset| raw::peek(scratch, "q", raw::BODY + offset)).to_vec()
}

#[test]
fn messages_wrap_around_the_end_of_the_ring_between_processes() {
    let scratch = Scratch::new();
    let (mut producer, mut consumer) = (Actor::start(&scratch), Actor::start(&scratch));
    producer.does("create queue q bytes=256");
    consumer.does("open queue q");
    producer.tell("put_many q 0 3000");
    consumer.tell("get_to_the_end q");
    producer.did();
    producer.does("close q");
    let expected: Vec<String> = (0..3000).map(|n: u32| n.to_string()).collect();
    assert_eq!(consumer.did(), expected.join(" "));
    producer.does("unlink q");
    producer.does("drop q");
    // What never fits is put elsewhere at once.
    producer.does("create queue q bytes=256");
    producer.does("put q 1 300");
    assert_eq!(producer.does("get q"), "1");
    producer.does("unlink q");
}
