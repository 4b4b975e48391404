//! A holder, or a waiter, of a lock dies: exclusion, the waiters' progress, and `OwnerDied` exactly when it
//! held.

use crate::crash_points;
use procession_tests::{Actor, Scratch, raw};

crash_points! {
    acquired_idle at "lock.acquired": acquiring_a_free_lock;
    acquired_by_another at "lock.acquired": failing_to_acquire_a_held_lock;
    acquired_and_ignored at "lock.acquired": holding_a_lock_that_ignores_death;
    acquired_with_a_waiter at "lock.acquired": acquiring_before_others_wait;
    released_idle at "lock.released": releasing_alone;
    released_contended at "lock.released_contended": releasing_with_sleepers;
    released_contended_recovered at "lock.released_contended": releasing_a_recovered_lock;
    woke_one at "lock.woke": releasing_with_sleepers;
    woke_a_dead_waiter at "lock.woke": waking_a_dead_waiter;
    woke_nobody at "lock.woke_nobody": waking_nobody;
    acquired_contended at "lock.acquired_contended": taking_over_alone;
    acquired_contended_before_others at "lock.acquired_contended": taking_over_before_others;
    waiting at "lock.waiting": waiting_while_held;
    slept_one_slice at "lock.slept": waiting_while_held;
    slept_and_woken at "lock.slept": being_woken;
    slept_in_time at "lock.slept": waiting_with_a_timeout;
    waiting_in_time at "lock.waiting": waiting_with_a_timeout;
    gave_up at "lock.gave_up": waiting_with_a_timeout;
    watched at "lock.watched": waiting_as_a_task;
    watched_and_left at "lock.gave_up": waiting_as_a_task;
}

/// Three processes that have the lock `l` open: who will die, and two who live.
pub(crate) fn cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let [victim, mut one, two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create lock l");
    let [mut victim, mut two] = [victim, two];
    victim.does("open lock l");
    two.does("open lock l");
    (victim, one, two)
}

/// The survivors use the lock together, and find `died` (a pid, or nobody) to have died holding it, once;
/// then the lock is as good as new.
pub(crate) fn all_is_well(scratch: &Scratch, one: &mut Actor, two: &mut Actor, died: Option<u32>) {
    one.tell("mend l 300");
    two.tell("mend l 300");
    let found = [one.did(), two.did()].concat();
    assert_eq!(found, died.map(|pid| pid.to_string()).unwrap_or_default(), "who died holding the lock");
    one.does("acquire l");
    two.fails("try l", "WouldBlock");
    one.does("release");
    two.does("acquire l");
    one.fails("acquire_timeout l 20", "TimedOut");
    two.does("release");
    let quick = (0..64).any(|_| {
        one.does("cycle l 1");
        raw::lock_word(scratch, "l") == 0
    });
    assert!(quick, "after 64 releases the word is still {:x}", raw::lock_word(scratch, "l"));
    one.does("unlink l");
}

fn acquiring_a_free_lock(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    let pid = victim.pid();
    victim.dies_at(label, "acquire l");
    assert_ne!(raw::lock_word(&scratch, "l") & raw::OWNED, 0);
    one.fails("try l", &format!("OwnerDied {{ pid: {pid} }}"));
    two.fails("acquire l", &format!("OwnerDied {{ pid: {pid} }}"));
    all_is_well(&scratch, &mut one, &mut two, Some(pid));
}

fn failing_to_acquire_a_held_lock(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.does("acquire l");
    victim.dies_at(label, "acquire l");
    two.fails("try l", "WouldBlock");
    two.waits("acquire l");
    one.does("release");
    two.did();
    two.does("release");
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn holding_a_lock_that_ignores_death(label: &str) {
    let scratch = Scratch::new();
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(&scratch));
    one.does("create lock l ignore");
    victim.does("open lock l");
    two.does("open lock l");
    victim.dies_at(label, "acquire l");
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn acquiring_before_others_wait(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let pid = victim.pid();
    // It stops holding the lock, others fall asleep, and then it dies.
    victim.stops_at(label, "acquire l");
    one.waits("acquire l");
    two.waits("acquire l");
    victim.kill();
    one.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    two.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    all_is_well(&scratch, &mut one, &mut two, Some(pid));
}

fn releasing_alone(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("acquire l");
    victim.dies_at(label, "release");
    assert_eq!(raw::lock_word(&scratch, "l"), 0);
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn releasing_with_sleepers(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("acquire l");
    one.waits("mend l 1");
    two.waits("mend l 1");
    victim.dies_at(label, "release");
    assert_eq!([one.did(), two.did()], ["", ""]);
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn releasing_a_recovered_lock(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("acquire l");
    victim.kill();
    let mut victim = Actor::start(&scratch);
    victim.does("open lock l");
    assert_eq!(victim.does("recover l"), "recovers");
    // The release is what makes it consistent; it dies when that is done.
    victim.dies_at(label, "release");
    assert_eq!(raw::lock_word(&scratch, "l") & raw::INCONSISTENT, 0);
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn waking_a_dead_waiter(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("acquire l");
    let mut waiter = Actor::start(&scratch);
    waiter.does("open lock l");
    waiter.waits("acquire l");
    waiter.stop();
    one.waits("mend l 1");
    two.waits("mend l 1");
    // Both the waker and the woken die.
    victim.dies_at(label, "release");
    waiter.kill();
    assert_eq!([one.did(), two.did()], ["", ""]);
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn waking_nobody(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("acquire l");
    let mut waiter = Actor::start(&scratch);
    waiter.does("open lock l");
    waiter.waits("acquire l");
    waiter.kill();
    victim.dies_at(label, "release");
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn taking_over_alone(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let pid = victim.pid();
    one.does("acquire l");
    victim.does(&format!("arm {label} 1 kill"));
    victim.waits("acquire l");
    one.does("release");
    victim.dies();
    assert_ne!(raw::lock_word(&scratch, "l") & raw::OWNED, 0);
    all_is_well(&scratch, &mut one, &mut two, Some(pid));
}

fn taking_over_before_others(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let mut three = Actor::start(&scratch);
    three.does("open lock l");
    let pid = victim.pid();
    one.does("acquire l");
    victim.does(&format!("arm {label} 1 kill"));
    victim.waits("acquire l");
    two.waits("mend l 100");
    three.waits("mend l 100");
    one.does("release");
    victim.dies();
    // Whether its attempt was the one that succeeded is for the survivors to find out: at most one of them
    // reports it.
    let found = [two.did(), three.did()].concat();
    let late = one.does("mend l 1");
    let found = found + &late;
    assert!(found.is_empty() || found == pid.to_string(), "{found}");
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn waiting_while_held(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.does("acquire l");
    victim.dies_at(label, "acquire l");
    two.waits("acquire l");
    one.does("release");
    two.did();
    two.does("release");
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn being_woken(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.finish();
    // Its first slice lasts 10 ms: the wake must come first, which is seen from what it leaves behind.
    let left_woken = (0..200).any(|_| {
        dies_at_the_end_of_a_sleep(&scratch, label, &mut one, |_| ());
        raw::lock_word(&scratch, "l") & raw::WOKEN != 0
    });
    assert!(left_woken, "no victim was woken before its slice ended");
    one.does("cycle l 200");
    assert_eq!(raw::lock_word(&scratch, "l"), 0);
    // The same with another asleep, whose wake the dead one may have taken.
    for _ in 0..5 {
        dies_at_the_end_of_a_sleep(&scratch, label, &mut one, |_| {
            two.tell("mend l 1");
            two.falls_asleep();
        });
        assert_eq!(two.did(), "");
    }
    all_is_well(&scratch, &mut one, &mut two, None);
}

/// While `one` holds the lock another falls asleep; `one` releases, and the other dies when it wakes.
fn dies_at_the_end_of_a_sleep(
    scratch: &Scratch,
    label: &str,
    one: &mut Actor,
    before_the_wake: impl FnOnce(&Scratch),
) {
    let mut victim = Actor::start(scratch);
    victim.does("open lock l");
    victim.does(&format!("arm {label} 1 kill"));
    one.does("acquire l");
    victim.tell("acquire l");
    victim.falls_asleep_or_dies();
    before_the_wake(scratch);
    one.does("release");
    victim.dies();
}

/// The thread that waits for the victim's task dies with it, before it sleeps or after.
fn waiting_as_a_task(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.does("acquire l");
    two.waits("acquire l");
    victim.dies_at(label, "task l");
    one.does("release");
    two.did();
    two.does("release");
    all_is_well(&scratch, &mut one, &mut two, None);
}

fn waiting_with_a_timeout(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.does("acquire l");
    two.waits("acquire l");
    victim.dies_at(label, "acquire_timeout l 30");
    one.does("release");
    two.did();
    two.does("release");
    all_is_well(&scratch, &mut one, &mut two, None);
}
