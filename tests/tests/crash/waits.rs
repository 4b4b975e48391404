//! A thread dies while it shows, renews or ends its wait in the table: what it left is never taken for a wait
//! of the living, and hides no deadlock.

use super::lock::{all_is_well, cast};
use crate::crash_points;
use procession::{blocked_in, deadlocks_in};
use procession_tests::{Actor, Scratch, until};

crash_points! {
    claimed at "waits.claimed": waiting_long;
    shown at "waits.shown": waiting_long;
    looks at "waits.looks": waiting_long;
    drew at "waits.drew": waiting_long;
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

/// `one` stands still, about to note who holds what it waits for; `two`, who held that, lets it go meanwhile,
/// and then waits for what `one` holds. That was never a circle, and nobody backs out.
fn a_holder_lets_go_at(label: &str, let_go: impl Fn(&mut Actor, &mut Actor)) {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    two.does("create lock m");
    one.does("open lock m");
    one.does("acquire m");
    one.does(&format!("arm {label} 1 stop"));
    let_go(&mut one, &mut two);
    two.waits("acquire m");
    until("only the wait for the other lock begins", || blocked_in(&scratch).unwrap().len() == 2);
    one.go_on();
    one.did();
    one.does("release");
    one.does("release");
    two.did();
    two.does("release");
    scratch.objects().iter().for_each(|name| scratch.unlink(name).unwrap());
}

fn a_lock(one: &mut Actor, two: &mut Actor) {
    two.does("create lock l detecting");
    one.does("open lock l");
    two.does("acquire l");
    one.tell("acquire l");
    one.is_stopped();
    two.does("release");
}

fn a_reading(one: &mut Actor, two: &mut Actor) {
    two.does("create rwlock w detecting");
    one.does("open rwlock w");
    two.does("read w");
    one.tell("write w");
    one.is_stopped();
    two.does("release");
}

#[test]
fn who_let_go_before_it_began_to_wait_is_in_no_circle() {
    for label in ["waits.looks", "waits.drew", "waits.saw"] {
        a_holder_lets_go_at(label, a_lock);
        a_holder_lets_go_at(label, a_reading);
    }
}
