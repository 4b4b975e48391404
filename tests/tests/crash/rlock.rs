//! A thread that holds a recursive lock dies at whatever depth: the lock is found inconsistent, once, and is
//! as good as new when it has been recovered.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    entered at "rlock.entered": entering;
    deeper at "rlock.deeper": going_deeper;
    deeper_with_a_sleeper at "rlock.deeper": going_deeper_while_another_waits;
    shallower at "rlock.shallower": coming_back;
    owner_found_dead_deep at "lock.owner_found_dead": recovering;
    buried_deep at "lock.buried": recovering;
    acquired_to_recover at "lock.acquired_contended": recovering;
    entered_to_recover at "rlock.entered": recovering;
    deeper_while_recovering at "rlock.deeper": recovering;
    shallower_while_recovering at "rlock.shallower": recovering;
}

/// Three processes that have the recursive lock `r` open.
fn cast(scratch: &Scratch, options: &str) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does(&format!("create rlock r {options}"));
    victim.does("open rlock r");
    two.does("open rlock r");
    (victim, one, two)
}

/// `died` is found to have died holding it; it is recovered, and then works for both.
fn all_is_well(one: &mut Actor, two: &mut Actor, died: u32) {
    two.fails("try_enter r", &format!("OwnerDied {{ pid: {died} }}"));
    assert_eq!(one.does("recover r"), "1 recovers");
    assert_eq!(one.does("enter r"), "2 recovers");
    two.fails("enter_timeout r 10", "TimedOut");
    one.fails("in_a_thread r 10", "TimedOut");
    one.does("release");
    two.fails("try_enter r", "WouldBlock");
    one.does("release");
    assert_eq!((two.does("enter r"), two.does("enter r")), ("1".into(), "2".into()));
    two.does("release");
    two.does("release");
    one.does("unlink r");
}

fn entering(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    let pid = victim.pid();
    victim.dies_at(label, "enter r");
    one.fails("enter r", &format!("OwnerDied {{ pid: {pid} }}"));
    all_is_well(&mut one, &mut two, pid);
}

fn going_deeper(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    let pid = victim.pid();
    victim.does("enter r");
    assert_eq!(victim.does("enter r"), "2");
    victim.dies_at(label, "try_enter r");
    all_is_well(&mut one, &mut two, pid);
    // Where nobody minds, the next holder begins at depth 1 again.
    let (mut victim, mut one, mut two) = cast(&scratch, "ignore");
    victim.does("enter r");
    victim.dies_at(label, "enter r");
    assert_eq!((one.does("enter r"), one.does("release")), ("1".into(), String::new()));
    assert_eq!(two.does("enter r"), "1");
    two.does("release");
    one.does("unlink r");
}

fn going_deeper_while_another_waits(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    let pid = victim.pid();
    victim.does("enter r");
    one.waits("enter r");
    victim.dies_at(label, "enter r");
    one.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    all_is_well(&mut one, &mut two, pid);
}

fn coming_back(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    let pid = victim.pid();
    victim.does("enter r");
    victim.does("enter r");
    one.waits("enter r");
    victim.dies_at(label, "release");
    one.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    all_is_well(&mut one, &mut two, pid);
}

/// Two in a row: who recovers from a death at depth 2 dies on the way, and so does the next.
fn recovering(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    let mut pid = victim.pid();
    victim.does("enter r");
    victim.does("enter r");
    victim.kill();
    for _ in 0..2 {
        let mut heir = Actor::start(&scratch);
        heir.does("open rlock r");
        let heirs_pid = heir.pid();
        match label {
            "rlock.deeper" | "rlock.shallower" => {
                assert_eq!(heir.does("recover r"), "1 recovers");
                if label == "rlock.shallower" {
                    heir.does("enter r");
                }
                heir.dies_at(label, if label == "rlock.deeper" { "enter r" } else { "release" });
            }
            _ => {
                heir.does(&format!("arm {label} 1 kill"));
                heir.tell("recover r");
                if heir.answers_or_dies().is_some() {
                    // Only the first of them found a dead owner to bury; this one holds the lock.
                    assert_eq!(label, "lock.buried");
                    pid = heirs_pid;
                }
            }
        }
        if !matches!(label, "lock.owner_found_dead" | "lock.buried") {
            pid = heirs_pid;
        }
    }
    all_is_well(&mut one, &mut two, pid);
}
