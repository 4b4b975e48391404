//! Who waits on a condition dies, or who notifies: no signal is lost, and nobody waits for the dead.

use crate::crash_points;
use procession_tests::{Actor, Scratch, until};

crash_points! {
    claimed at "condition.claimed": waiting_in_time;
    waiting at "condition.waiting": waiting_in_time;
    left at "condition.left": waiting_in_time;
    slept at "condition.slept": waiting_in_time;
    gave_up at "condition.gave_up": waiting_in_time;
    slept_and_signaled at "condition.slept": being_signaled;
    entered at "condition.entered": being_signaled;
    taken_up at "condition.taken_up": being_signaled;
    inherited at "condition.inherited": inheriting;
    buried at "condition.buried": inheriting;
    signaled at "condition.signaled": notifying;
    notified at "condition.notified": notifying;
    skipped at "condition.skipped": notifying_the_dead;
    restored at "rlock.restored": coming_back_deep;
}

/// Somebody with the condition `c` and the count `v` open.
fn newcomer(scratch: &Scratch) -> Actor {
    let mut actor = Actor::start(scratch);
    actor.does("open condition c");
    actor.does("open count v");
    actor
}

fn cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let mut one = Actor::start(scratch);
    one.does("create condition c");
    one.does("create count v");
    (newcomer(scratch), one, newcomer(scratch))
}

/// Waiting and notifying work in both directions, and no cell stays taken.
fn all_is_well(one: &mut Actor, two: &mut Actor) {
    for _ in 0..3 {
        one.waits("take c v");
        two.does("give c v 1");
        assert_eq!(one.did(), "0");
        two.waits("take c v");
        one.does("give c v 1");
        assert_eq!(two.did(), "0");
    }
    one.does("unlink c");
    one.does("unlink v");
}

fn waiting_in_time(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "take_timeout c v 30");
    one.waits("take c v");
    two.does("give c v 1");
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

fn being_signaled(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does(&format!("arm {label} 1 kill"));
    victim.tell("take c v");
    // It is to be the one that has waited longest, dead or alive.
    until("the victim waits", || two.does("waiters c") == "1");
    one.waits("take c v");
    two.does("give c v 1");
    victim.dies();
    if label == "condition.taken_up" {
        // It had its signal, and what it was told of is still there.
        two.does("notify c 1");
    }
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

fn inheriting(label: &str) {
    let scratch = Scratch::new();
    let (mut first, mut one, mut two) = cast(&scratch);
    first.waits("take c v");
    first.stop();
    let mut heir = newcomer(&scratch);
    heir.does(&format!("arm {label} 1 kill"));
    heir.waits("take c v");
    two.does("give c v 1");
    first.kill();
    heir.dies();
    one.does("waiters c");
    // Only an heir of the heir is left to go on, if it waits at all.
    one.tell("take c v");
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

fn notifying(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.waits("take c v");
    victim.dies_at(label, "give c v 1");
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

fn notifying_the_dead(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    let mut dead = newcomer(&scratch);
    dead.waits("take c v");
    one.waits("take c v");
    // So that no slice of a sleeper ends before the notifier comes.
    one.stop();
    dead.kill();
    victim.dies_at(label, "give c v 1");
    one.go_on();
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

fn coming_back_deep(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let pid = victim.pid();
    one.does("create rlock r");
    victim.does("open rlock r");
    victim.does(&format!("arm {label} 1 kill"));
    victim.waits("wait_deep c r");
    assert_eq!((one.does("enter r"), one.does("enter r")), ("1".into(), "2".into()));
    one.does("notify c 1");
    one.does("release");
    one.does("release");
    victim.dies();
    one.fails("enter r", &format!("OwnerDied {{ pid: {pid} }}"));
    one.does("recover r");
    one.does("release");
    two.does("open rlock r");
    two.waits("wait_deep c r");
    one.does("notify c 2");
    assert_eq!(two.did(), "2");
    one.does("unlink r");
    all_is_well(&mut one, &mut two);
}
