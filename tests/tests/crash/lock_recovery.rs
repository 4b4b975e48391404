//! Those who recover from a death die themselves, several in a row.

use crate::crash_points;
use crate::lock::{all_is_well, cast};
use procession_tests::{Actor, Scratch, raw};

crash_points! {
    owner_found_dead at "lock.owner_found_dead": finding_it;
    owner_found_dead_with_a_sleeper at "lock.owner_found_dead": finding_it_before_a_sleeper;
    burial_counted at "lock.burial_counted": finding_it;
    burial_counted_with_a_sleeper at "lock.burial_counted": finding_it_before_a_sleeper;
    buried at "lock.buried": finding_it;
    buried_with_a_sleeper at "lock.buried": finding_it_before_a_sleeper;
    acquired_contended_to_recover at "lock.acquired_contended": recovering;
    released_contended_unrepaired at "lock.released_contended": releasing_what_was_not_repaired;
    gave_up_when_told at "lock.gave_up": being_told;
}

/// Somebody new that has `l` open.
fn newcomer(scratch: &Scratch) -> Actor {
    let mut actor = Actor::start(scratch);
    actor.does("open lock l");
    actor
}

/// The lock `l`, whose holder was killed; who that was, and two others.
fn held_by_the_dead(scratch: &Scratch) -> (u32, Actor, Actor) {
    let (mut dead, one, two) = cast(scratch);
    let pid = dead.pid();
    dead.does("acquire l");
    dead.kill();
    (pid, one, two)
}

fn finding_it(label: &str) {
    let ways = ["acquire l", "try l", "acquire_timeout l 5000", "recover l", "recover_timeout l 5000"];
    for pair in ways.windows(2) {
        let scratch = Scratch::new();
        let (pid, mut one, mut two) = held_by_the_dead(&scratch);
        // Two in a row, where the second still finds something to do.
        newcomer(&scratch).dies_at(label, pair[0]);
        if label != "lock.buried" {
            assert_ne!(raw::lock_word(&scratch, "l") & raw::OWNED, 0);
            newcomer(&scratch).dies_at(label, pair[1]);
        } else {
            assert_eq!(raw::lock_word(&scratch, "l") & (raw::OWNED | raw::INCONSISTENT), raw::INCONSISTENT);
        }
        one.fails("acquire l", &format!("OwnerDied {{ pid: {pid} }}"));
        all_is_well(&scratch, &mut one, &mut two, Some(pid));
    }
}

fn finding_it_before_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (mut dead, mut one, mut two) = cast(&scratch);
    let pid = dead.pid();
    dead.does("acquire l");
    one.waits("acquire l");
    two.waits("acquire l");
    one.stop();
    two.stop();
    dead.kill();
    newcomer(&scratch).dies_at(label, "try l");
    one.go_on();
    two.go_on();
    one.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    two.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    all_is_well(&scratch, &mut one, &mut two, Some(pid));
}

fn recovering(label: &str) {
    let scratch = Scratch::new();
    let (first, mut one, mut two) = held_by_the_dead(&scratch);
    let mut pid = first;
    for _ in 0..3 {
        let victim = newcomer(&scratch);
        let before = std::mem::replace(&mut pid, victim.pid());
        one.fails("try l", &format!("OwnerDied {{ pid: {before} }}"));
        victim.dies_at(label, "recover l");
        let word = raw::lock_word(&scratch, "l");
        assert_eq!(word & (raw::OWNED | raw::INCONSISTENT), raw::OWNED | raw::INCONSISTENT);
    }
    two.fails("acquire l", &format!("OwnerDied {{ pid: {pid} }}"));
    all_is_well(&scratch, &mut one, &mut two, Some(pid));
}

fn releasing_what_was_not_repaired(label: &str) {
    let scratch = Scratch::new();
    let (_, mut one, mut two) = held_by_the_dead(&scratch);
    let victim = newcomer(&scratch);
    // A panic under the lock counts as a death: it is the last.
    let pid = victim.pid();
    victim.dies_at(label, "recover_in_panic l");
    assert_eq!(raw::lock_word(&scratch, "l") & (raw::OWNED | raw::INCONSISTENT), raw::INCONSISTENT);
    all_is_well(&scratch, &mut one, &mut two, Some(pid));
}

fn being_told(label: &str) {
    let scratch = Scratch::new();
    let (mut dead, mut one, mut two) = cast(&scratch);
    let pid = dead.pid();
    dead.does("acquire l");
    let mut victim = newcomer(&scratch);
    victim.does(&format!("arm {label} 1 kill"));
    victim.waits("acquire l");
    one.waits("acquire l");
    dead.kill();
    victim.dies();
    one.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    all_is_well(&scratch, &mut one, &mut two, Some(pid));
}
