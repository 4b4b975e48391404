//! A sleeper, or who wakes it, dies: nobody else sleeps past a message, a place or the end.

use crate::crash_points;
use crate::queue::{all_is_well, cast};
use procession_tests::{Actor, Scratch};

crash_points! {
    consumer_listening at "eventcount.listening": waiting_for_a_message;
    consumer_slept at "eventcount.slept": waiting_for_a_message;
    consumer_arrived at "eventcount.arrived": waiting_for_a_message;
    consumer_slept_and_woken at "eventcount.slept": taking_anothers_wake;
    consumer_arrived_and_woken at "eventcount.arrived": taking_anothers_wake;
    producer_listening at "eventcount.listening": waiting_for_room;
    producer_slept at "eventcount.slept": waiting_for_room;
    producer_arrived at "eventcount.arrived": waiting_for_room;
    called_by_a_producer at "eventcount.called": waking_a_consumer;
    woke_by_a_producer at "eventcount.woke": waking_a_consumer;
    called_by_a_consumer at "eventcount.called": waking_a_producer;
    woke_by_a_consumer at "eventcount.woke": waking_a_producer;
    called_all at "eventcount.called_all": waking_all;
}

fn waiting_for_a_message(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    victim.dies_at(label, "get q");
    one.waits("get q");
    two.does("put q 1");
    assert_eq!(one.did(), "1");
    // Another way, beside a sleeper.
    one.waits("get q");
    let mut second = Actor::start(&scratch);
    second.does("open queue q");
    second.dies_at(label, "get_timeout q 20");
    two.does("put q 2");
    assert_eq!(one.did(), "2");
    all_is_well(&mut one, &mut two);
}

fn taking_anothers_wake(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    victim.finish();
    for round in 0..20 {
        let mut victim = Actor::start(&scratch);
        victim.does("open queue q");
        victim.does(&format!("arm {label} 1 kill"));
        // It sleeps first, so that the wake goes to it, unless its first slice ends before.
        victim.tell("get q");
        victim.falls_asleep_or_dies();
        one.tell("get q");
        one.falls_asleep();
        two.does(&format!("put q {round}"));
        victim.dies();
        assert_eq!(one.did(), round.to_string());
    }
    all_is_well(&mut one, &mut two);
}

fn waiting_for_room(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "capacity=1");
    one.does("put q 1");
    victim.dies_at(label, "put q 99");
    two.waits("put q 2");
    assert_eq!(one.does("get q"), "1");
    two.did();
    let mut second = Actor::start(&scratch);
    second.does("open queue q");
    second.dies_at(label, "put_timeout q 99 20");
    assert_eq!(one.does("get q"), "2");
    all_is_well(&mut one, &mut two);
}

fn waking_a_consumer(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    one.waits("get q");
    two.waits("get q");
    victim.dies_at(label, "put q 1");
    let mut third = Actor::start(&scratch);
    third.does("open queue q");
    third.does("put q 2");
    let mut got = [one.did(), two.did()];
    got.sort_unstable();
    assert_eq!(got, ["1", "2"]);
    all_is_well(&mut one, &mut two);
}

fn waking_a_producer(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "capacity=2");
    one.does("put q 1");
    one.does("put q 1");
    one.waits("put q 2");
    two.waits("put q 2");
    victim.dies_at(label, "get q");
    let mut third = Actor::start(&scratch);
    third.does("open queue q");
    assert_eq!(third.does("get q"), "1");
    one.did();
    two.did();
    assert_eq!(third.does("get q"), "2");
    assert_eq!(third.does("get q"), "2");
    all_is_well(&mut one, &mut two);
}

fn waking_all(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    one.waits("get q");
    two.waits("get q");
    victim.dies_at(label, "close q");
    one.failed("Closed");
    two.failed("Closed");
    one.does("unlink q");
}
