//! `_TestEvent`.

use crate::ground::{Ground, Line, SHORT, Sent, child, conforms, elsewhere};
use procession::{Event, EventError};
use std::time::{Duration, Instant};

conforms!(
    it_is_unset_at_first_and_waiting_times_out,
    while_it_is_set_nobody_waits_and_after_clear_they_do,
    a_child_that_sets_it_wakes_who_waits,
    set_wakes_all,
    who_waited_at_the_set_goes_on_although_it_is_cleared_at_once,
    debug_shows_whether_it_is_set,
);

fn is_set(event: Sent<Event>) -> bool {
    event.is_set()
}

fn wait((event, line): (Sent<Event>, Line)) -> bool {
    line.waits_now();
    event.wait_timeout(Duration::MAX).is_ok()
}

// test_event
fn it_is_unset_at_first_and_waiting_times_out(ground: &Ground) {
    let event = ground.make(Event::options());
    let times_out = |event: Sent<Event>| {
        let start = Instant::now();
        assert!(!event.is_set());
        assert!(matches!(event.wait_timeout(Duration::ZERO), Err(EventError::TimedOut { .. })));
        assert!(matches!(event.wait_timeout(SHORT), Err(EventError::TimedOut { .. })));
        start.elapsed() >= SHORT
    };
    assert!(times_out(event.send()) && elsewhere(times_out, event.send()));
}

// test_event
fn while_it_is_set_nobody_waits_and_after_clear_they_do(ground: &Ground) {
    let event = ground.make(Event::options());
    let passes = |event: Sent<Event>| {
        event.is_set() && event.wait().is_ok() && event.wait_timeout(Duration::ZERO).is_ok()
    };
    for _ in 0..2 {
        event.set();
        assert!(passes(event.send()) && elsewhere(passes, event.send()));
    }
    event.clear();
    assert!(!is_set(event.send()) && !elsewhere(is_set, event.send()));
    assert!(matches!(event.wait_timeout(SHORT), Err(EventError::TimedOut { .. })));
}

// test_event
fn a_child_that_sets_it_wakes_who_waits(ground: &Ground) {
    let event = ground.make(Event::options());
    let setter = child(|event: Sent<Event>| event.set(), event.send());
    event.wait().unwrap();
    assert!(event.is_set());
    setter.join().unwrap();
}

// test_event, of several
fn set_wakes_all(ground: &Ground) {
    let event = ground.make(Event::options());
    let lines: Vec<Line> = (0..4).map(|_| ground.line()).collect();
    let waiters: Vec<_> = lines.iter().map(|line| child(wait, (event.send(), line.clone()))).collect();
    lines.iter().zip(&waiters).for_each(|(line, waiter)| line.falls_asleep(waiter));
    event.set();
    assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
}

// None: there, in `multiprocessing`, an untimed wait may return False (gh-95826). As `threading.Event`, this
// is exact.
fn who_waited_at_the_set_goes_on_although_it_is_cleared_at_once(ground: &Ground) {
    let event = ground.make(Event::options());
    let change: [fn(&Event); 2] = [
        |event| {
            event.set();
            event.clear();
        },
        Event::pulse,
    ];
    for change in change {
        let line = ground.line();
        let waiter = child(wait, (event.send(), line.clone()));
        line.falls_asleep(&waiter);
        change(&event);
        assert!(waiter.join().unwrap());
        assert!(!event.is_set());
    }
}

// test_repr
fn debug_shows_whether_it_is_set(ground: &Ground) {
    let event = ground.make(Event::options());
    let show = |event: Sent<Event>| format!("{:?}", *event);
    for (is_set, shown) in [(false, "set: false"), (true, "set: true"), (false, "set: false")] {
        if is_set {
            event.set()
        } else {
            event.clear()
        }
        assert!(elsewhere(show, event.send()).contains(shown));
    }
}
