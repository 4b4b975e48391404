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
    took_up_and_signaled at "value.building": having_taken_up;
    took_up_and_took at "value.put": having_taken_up;
    taken_up_the_lock at "condition.taken_up": having_taken_up_the_lock;
    entered_twice at "condition.entered": being_signaled_twice;
    entered_without_the_lock at "condition.entered": failing_to_enter;
    taken_up_without_the_lock at "condition.taken_up": failing_to_enter;
    slept_in_time_and_signaled at "condition.slept": being_signaled_as_the_time_runs_out;
    gave_up_before_a_signal at "condition.gave_up": giving_up_before_a_signal;
    passed_on at "condition.passed_on": passing_on;
    buried at "condition.buried": passing_on;
    passed_on_twice at "condition.passed_on": passing_on_twice;
    buried_twice at "condition.buried": passing_on_twice;
    signaled at "condition.signaled": notifying;
    notified at "condition.notified": notifying;
    skipped at "condition.skipped": notifying_the_dead;
    about_to_change at "value.taken": notifying_with_the_lock;
    signaled_with_the_lock at "condition.signaled": notifying_with_the_lock;
    notified_with_the_lock at "condition.notified": notifying_with_the_lock;
    changed_with_the_lock at "value.put": notifying_with_the_lock;
    signaled_itself at "condition.signaled_itself": going_on_after_a_death;
    restored at "rlock.restored": coming_back_deep;
}

/// Somebody with the condition `c`, the count `v` and the lock `l` open.
fn newcomer(scratch: &Scratch) -> Actor {
    let mut actor = Actor::start(scratch);
    actor.does("open condition c");
    actor.does("open count v");
    actor.does("open lock l");
    actor
}

fn cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let mut one = Actor::start(scratch);
    one.does("create condition c");
    one.does("create count v");
    one.does("create lock l");
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
    one.does("unlink l");
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
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

/// It has its signal, and holds what it was told of: at the second time, after the wait, either it has not
/// committed that it took it, or it has.
fn having_taken_up(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does(&format!("arm {label} 2 kill"));
    victim.waits("take c v");
    one.waits("take c v");
    two.does("give c v 1");
    victim.dies();
    if label == "value.put" {
        assert_eq!(two.does("get v"), "0");
        two.does("give c v 1");
    }
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

/// Nobody is signaled any more, and all who wait are told that the lock's holder died.
fn having_taken_up_the_lock(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let mut three = newcomer(&scratch);
    let died = format!("OwnerDied {{ pid: {} }}", victim.pid());
    victim.does(&format!("arm {label} 1 kill"));
    victim.waits("wait_and_keep c l");
    one.waits("wait c l");
    three.waits("wait c l");
    two.does("notify c 1");
    victim.dies();
    one.failed(&died);
    three.failed(&died);
    two.does("recover l");
    two.does("release");
    all_is_well(&mut one, &mut two);
}

/// The signal goes to the second when the first has died, and to the third when the second has.
fn being_signaled_twice(label: &str) {
    let scratch = Scratch::new();
    let (mut first, mut one, mut two) = cast(&scratch);
    let mut second = newcomer(&scratch);
    for (victim, waiters) in [(&mut first, "1"), (&mut second, "2")] {
        victim.does(&format!("arm {label} 1 kill"));
        victim.tell("take c v");
        until("it waits", || two.does("waiters c") == waiters);
    }
    one.waits("take c v");
    two.does("give c v 1");
    first.dies();
    second.dies();
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

/// The signaled cannot get the lock back, because its holder has died, and dies itself.
fn failing_to_enter(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let mut holder = newcomer(&scratch);
    let died = format!("OwnerDied {{ pid: {} }}", holder.pid());
    victim.does(&format!("arm {label} 1 kill"));
    victim.tell("wait c l");
    until("the victim waits", || two.does("waiters c") == "1");
    one.waits("wait c l");
    holder.does("acquire l");
    two.does("notify c 1");
    holder.kill();
    victim.dies();
    one.failed(&died);
    two.does("recover l");
    two.does("release");
    all_is_well(&mut one, &mut two);
}

/// Its time is over, and before it can say so it is signaled: then it was notified, or, dead, passes that on.
fn being_signaled_as_the_time_runs_out(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.stops_at(label, "take_timeout c v 5");
    two.does("notify c 1");
    victim.go_on();
    assert_eq!(victim.did(), "true");
    victim.stops_at(label, "take_timeout c v 5");
    one.waits("wait c l");
    two.does("notify c 1");
    victim.kill();
    one.did();
    all_is_well(&mut one, &mut two);
}

fn giving_up_before_a_signal(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.stops_at(label, "take_timeout c v 5");
    one.waits("wait c l");
    two.does("notify c 1");
    one.did();
    victim.go_on();
    assert_eq!(victim.did(), "false");
    all_is_well(&mut one, &mut two);
}

/// One is signaled and dies; then those die, one after the other, who pass its signal on.
fn passing_on_by(heirs: u32, label: &str) {
    let scratch = Scratch::new();
    let (mut first, mut one, mut two) = cast(&scratch);
    first.waits("wait c l");
    first.stop();
    two.does("notify c 1");
    first.kill();
    for _ in 0..heirs {
        newcomer(&scratch).dies_at(label, "wait c l");
    }
    one.does("wait c l");
    all_is_well(&mut one, &mut two);
}

fn passing_on(label: &str) {
    passing_on_by(1, label);
}

fn passing_on_twice(label: &str) {
    passing_on_by(2, label);
}

fn notifying(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.waits("take c v");
    victim.dies_at(label, "give c v 1");
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

/// It changes what they wait for, and notifies, with the lock held: what it has changed they find without
/// further ado, and what it has not, another changes.
fn notifying_with_the_lock(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.waits("take c v");
    victim.dies_at(label, "give_held c v 1");
    if label != "value.put" {
        two.does("give_held c v 1");
    }
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

/// The holder of the lock dies, so those who wait look again, one of them in vain for ever.
fn going_on_after_a_death(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let mut holder = newcomer(&scratch);
    victim.does(&format!("arm {label} 1 kill"));
    victim.waits("take c v");
    one.waits("take c v");
    holder.does("keep v 1");
    holder.kill();
    victim.dies();
    assert_eq!(two.does("get v"), "0");
    assert!(!one.has_answered());
    two.does("give c v 1");
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
    // The signal of the dead one is passed on to it, sooner or later.
    two.tell("wait_deep c r");
    one.does("notify c 2");
    assert_eq!(two.did(), "2");
    one.does("unlink r");
    all_is_well(&mut one, &mut two);
}
