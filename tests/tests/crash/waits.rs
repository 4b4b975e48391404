//! A thread dies while it shows, renews or ends its wait in the table: what it left is never taken for a wait of the
//! living, and hides no deadlock.

use super::lock::{all_is_well, cast};
use crate::crash_points;
use procession::{blocked_in, deadlocks_in};
use procession_tests::{Actor, Scratch, until};

crash_points! {
    claimed at "waits.claimed": waiting_long;
    shown at "waits.shown": waiting_long;
    saw at "waits.saw": waiting_long;
    ended at "waits.ended": having_waited_long;
}

fn waiting_long(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.does("acquire l");
    victim.dies_at(label, "acquire l");
    nobody_waits_but_the_living(&scratch, &mut one, &mut two);
}

fn having_waited_long(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    one.does("acquire l");
    victim.does(&format!("arm {label} 1 kill"));
    victim.tell("acquire_timeout l 60");
    victim.dies();
    nobody_waits_but_the_living(&scratch, &mut one, &mut two);
}

/// `one` holds the lock; the two make a deadlock with another lock, which is found, and then resolved.
fn nobody_waits_but_the_living(scratch: &Scratch, one: &mut Actor, two: &mut Actor) {
    assert!(blocked_in(scratch).unwrap().is_empty());
    two.does("create lock m");
    two.does("acquire m");
    one.does("open lock m");
    two.waits("acquire_timeout l 60000");
    one.waits("acquire_timeout m 60000");
    until("the deadlock is found", || deadlocks_in(scratch).unwrap().len() == 1);
    let mut late = Actor::start(scratch);
    late.does("open lock l");
    late.waits("acquire l");
    until("all three are seen", || blocked_in(scratch).unwrap().len() == 3);
    late.kill();
    until("the dead one is not", || blocked_in(scratch).unwrap().len() == 2);
    one.begin_to_die();
    two.failed("OwnerDied");
    assert!(deadlocks_in(scratch).unwrap().is_empty());
    two.does("release");
    let (mut other, mut three) = (Actor::start(scratch), Actor::start(scratch));
    other.does("open lock l");
    three.does("open lock l");
    let dead = one.pid();
    all_is_well(scratch, &mut other, &mut three, Some(dead));
    two.does("unlink m");
}
