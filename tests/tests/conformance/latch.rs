//! A latch, which Python has not: what is said of `Barrier` and `Event` there, where it applies.

use crate::ground::{Ground, Line, SHORT, Sent, child, conforms, elsewhere};
use procession::{Latch, LatchError};
use std::time::Duration;

conforms!(it_opens_when_all_have_arrived_and_stays_open, a_timeout_says_how_many_had_arrived,);

fn arrive(latch: Sent<Latch>) -> u64 {
    latch.arrive()
}

// As _TestBarrier.test_wait_return and _TestEvent.test_event
fn it_opens_when_all_have_arrived_and_stays_open(ground: &Ground) {
    let (latch, line) = (ground.make(Latch::options().count(3)), ground.line());
    let wait = |(latch, line): (Sent<Latch>, Line)| {
        line.waits_now();
        latch.wait_timeout(Duration::MAX).is_ok()
    };
    let waiter = child(wait, (latch.send(), line.clone()));
    line.falls_asleep(&waiter);
    let arriving: Vec<_> = (0..2).map(|_| child(arrive, latch.send())).collect();
    let mut orders: Vec<_> = arriving.into_iter().map(|child| child.join().unwrap()).collect();
    orders.sort_unstable();
    assert_eq!((orders, latch.is_open()), (vec![0, 1], false));
    assert_eq!(latch.arrive(), 2);
    assert!(waiter.join().unwrap());
    // Late ones pass, and are counted.
    assert_eq!(elsewhere(arrive, latch.send()), 3);
    assert!(elsewhere(|latch: Sent<Latch>| latch.wait().is_ok() && latch.is_open(), latch.send()));
    assert_eq!((latch.arrived(), latch.count()), (4, 3));
}

// As _TestEvent.test_event
fn a_timeout_says_how_many_had_arrived(ground: &Ground) {
    let latch = ground.make(Latch::options().count(2));
    elsewhere(arrive, latch.send());
    let times_out = |latch: Sent<Latch>| {
        let one_of_two = |waited| matches!(waited, Err(LatchError::TimedOut { arrived: 1, count: 2, .. }));
        one_of_two(latch.wait_timeout(Duration::ZERO)) && one_of_two(latch.wait_timeout(SHORT))
    };
    assert!(times_out(latch.send()) && elsewhere(times_out, latch.send()));
}
