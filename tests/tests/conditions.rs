//! Conditions across processes: more waiters than cells, and locks whose holders die.

use procession_tests::{Actor, Scratch, raw, until};

/// How many waiters have a cell.
const CELLS: usize = 64;

/// So many processes that have the condition `c`, the count `v`, the lock `l` and the recursive lock `r`
/// open.
fn cast<const N: usize>(scratch: &Scratch) -> [Actor; N] {
    let mut cast: [Actor; N] = std::array::from_fn(|_| Actor::start(scratch));
    for (index, actor) in cast.iter_mut().enumerate() {
        let way = if index == 0 { "create" } else { "open" };
        for object in ["condition c", "count v", "lock l", "rlock r"] {
            actor.does(&format!("{way} {object}"));
        }
    }
    cast
}

fn unlink(actor: &mut Actor) {
    for name in ["c", "v", "l", "r"] {
        actor.does(&format!("unlink {name}"));
    }
}

/// Makes `crowd` wait in all cells.
fn fills_the_cells(crowd: &mut Actor, looks_on: &mut Actor) {
    crowd.tell(&format!("take_in_threads c v {CELLS}"));
    until("the crowd waits", || looks_on.does("waiters c") == CELLS.to_string());
    crowd.falls_asleep_in_threads(CELLS);
}

#[test]
fn a_waiter_without_a_cell_is_told_of_what_was_notified_and_of_nothing_else() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut crowd] = cast(&scratch);
    fills_the_cells(&mut crowd, &mut one);
    // Several slices long.
    assert_eq!(two.does("take_timeout c v 300"), "false");
    two.waits("take_timeout c v 50000");
    one.does("notify c 1");
    assert_eq!(two.did(), "true");
    two.waits("take c v");
    one.does(&format!("give c v {}", CELLS + 1));
    crowd.did();
    two.did();
    assert_eq!((one.does("waiters c"), one.does("get v")), ("0".into(), "0".into()));
    unlink(&mut one);
}

#[test]
fn each_signal_of_a_dead_crowd_is_passed_on() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three, mut crowd] = cast(&scratch);
    fills_the_cells(&mut crowd, &mut one);
    crowd.stop();
    one.does("notify c 3");
    // Only now do they come, and have no cell.
    for late in [&mut one, &mut two, &mut three] {
        late.waits("wait c l");
    }
    crowd.kill();
    for late in [&mut one, &mut two, &mut three] {
        late.did();
    }
    assert_eq!(one.does("waiters c"), "0");
    unlink(&mut one);
}

#[test]
fn waiters_in_the_place_of_a_dead_crowd_are_signaled() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three, mut crowd] = cast(&scratch);
    fills_the_cells(&mut crowd, &mut one);
    two.waits("take c v");
    crowd.kill();
    three.waits("take c v");
    one.does("give c v 1");
    one.does("give c v 1");
    two.did();
    three.did();
    assert_eq!(one.does("get v"), "0");
    unlink(&mut one);
}

#[test]
fn a_waiter_that_cannot_get_the_lock_back_passes_its_signal_on() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three, mut holder] = cast(&scratch);
    let died = format!("OwnerDied {{ pid: {} }}", holder.pid());
    for waiter in [&mut one, &mut two] {
        waiter.waits("wait c l");
    }
    holder.does("acquire l");
    three.does("notify c 1");
    holder.kill();
    one.failed(&died);
    two.failed(&died);
    three.does("recover l");
    three.does("release");
    one.waits("wait c l");
    three.does("notify c 1");
    one.did();
    assert_eq!(three.does("waiters c"), "0");
    unlink(&mut one);
}

#[test]
fn guards_from_before_a_wait_that_failed_do_nothing_to_the_recovered_lock() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut holder] = cast(&scratch);
    one.waits("wait_deep c r");
    holder.does("enter r");
    two.does("notify c 1");
    holder.kill();
    // Once, and still, after the guard from before has been dropped.
    assert_eq!(one.did(), "10");
    assert_eq!(two.does("enter r"), "1");
    two.does("release");
    unlink(&mut one);
}

#[test]
fn a_notifier_waits_for_nobody() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut holder] = cast(&scratch);
    one.waits("wait c l");
    holder.does("acquire l");
    one.stop();
    two.does("notify c 1");
    two.does("notify c 1000");
    one.go_on();
    holder.does("release");
    one.did();
    unlink(&mut one);
}

#[test]
fn the_signal_of_two_that_die_asleep_goes_to_the_third() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut first, mut second] = cast(&scratch);
    for sleeper in [&mut first, &mut second] {
        sleeper.waits("take c v");
        sleeper.stop();
    }
    one.waits("take c v");
    two.does("give c v 1");
    first.kill();
    // Cells follow each other behind the first line; bit 30 says that one is signaled.
    let signaled = |cell: u64| raw::peek(&scratch, "c", raw::BODY + 64 * (1 + cell)) >> 30 & 1 == 1;
    until("the signal has come to the second", || signaled(1) && !signaled(0));
    assert!(!one.has_answered());
    second.kill();
    assert_eq!(one.did(), "0");
    assert_eq!(two.does("waiters c"), "0");
    unlink(&mut one);
}

#[test]
fn what_a_notified_waiter_could_not_take_before_it_died_another_takes() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut first] = cast(&scratch);
    first.waits("take_and_keep c v");
    one.waits("take c v");
    two.does("give c v 1");
    first.did();
    first.kill();
    assert_eq!(one.did(), "0");
    assert_eq!(two.does("waiters c"), "0");
    unlink(&mut two);
}

#[test]
fn a_death_with_the_value_is_noticed_also_when_another_has_buried_the_dead() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut holder] = cast(&scratch);
    one.waits("take c v");
    one.stop();
    holder.does("keep v 7");
    holder.kill();
    // It is not told that somebody died, and notifies nobody.
    two.does("guard_add v 1");
    one.go_on();
    assert_eq!(one.did(), "0");
    unlink(&mut two);
}

#[test]
fn all_who_wait_are_told_that_a_holder_died_before_it_notified() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three, mut holder] = cast(&scratch);
    let died = format!("OwnerDied {{ pid: {} }}", holder.pid());
    one.waits("wait c l");
    two.waits("wait c l");
    three.waits("wait_deep c r");
    holder.does("acquire l");
    holder.does("enter r");
    holder.kill();
    one.failed(&died);
    two.failed(&died);
    // It had to recover the recursive lock.
    assert_eq!(three.did(), "10");
    assert_eq!(two.does("waiters c"), "0");
    unlink(&mut two);
}

#[test]
fn a_waiter_without_a_cell_is_told_too_that_a_holder_died() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut crowd, mut holder] = cast(&scratch);
    let died = format!("OwnerDied {{ pid: {} }}", holder.pid());
    fills_the_cells(&mut crowd, &mut one);
    two.waits("wait c l");
    holder.does("acquire l");
    holder.kill();
    two.failed(&died);
    assert_eq!(one.does("waiters c"), CELLS.to_string());
    one.does(&format!("give c v {CELLS}"));
    crowd.did();
    unlink(&mut one);
}
