//! Somebody dies in the middle of a put, a get or a close: the message is wholly there or not at all, and
//! nobody hangs.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    put_written at "queue.put.written": putting;
    put_committed at "queue.put.committed": putting;
    put_released at "queue.put.released": putting;
    put_written_to_a_sleeper at "queue.put.written": putting_for_a_sleeper;
    put_committed_to_a_sleeper at "queue.put.committed": putting_for_a_sleeper;
    put_released_to_a_sleeper at "queue.put.released": putting_for_a_sleeper;
    get_copied at "queue.get.copied": getting;
    get_committed at "queue.get.committed": getting;
    get_released at "queue.get.released": getting;
    get_copied_from_a_full_queue at "queue.get.copied": getting_for_a_sleeper;
    get_committed_from_a_full_queue at "queue.get.committed": getting_for_a_sleeper;
    get_released_from_a_full_queue at "queue.get.released": getting_for_a_sleeper;
    batch_written at "queue.put.written": putting_many;
    batch_committed at "queue.put.committed": putting_many;
    batch_released at "queue.put.released": putting_many;
    batch_copied at "queue.get.copied": getting_many;
    batch_got at "queue.get.committed": getting_many;
    batch_let_go at "queue.get.released": getting_many;
    slot_written at "queue.put.written": putting_by_slot;
    slot_committed at "queue.put.committed": putting_by_slot;
    slot_released at "queue.put.released": putting_by_slot;
    slot_copied at "queue.get.copied": getting_by_slot;
    slot_got at "queue.get.committed": getting_by_slot;
    slot_let_go at "queue.get.released": getting_by_slot;
    shutdown_closed at "queue.close.released": shutting_down;
    shutdown_not_discarded at "queue.get.copied": shutting_down;
    shutdown_committed at "queue.get.committed": shutting_down;
    shutdown_discarded at "queue.shutdown.discarded": shutting_down;
    close_stored at "queue.close.stored": closing;
    close_released at "queue.close.released": closing;
    reopen_stored at "queue.reopen.stored": reopening;
}

/// Three processes that have the queue `q` open.
pub(crate) fn cast(scratch: &Scratch, options: &str) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does(&format!("create queue q {options}"));
    victim.does("open queue q");
    two.does("open queue q");
    (victim, one, two)
}

/// The survivors pass each other messages, which come out whole and in order, and close the empty queue.
pub(crate) fn all_is_well(one: &mut Actor, two: &mut Actor) {
    assert_eq!(one.does("len q"), "0");
    two.tell("get_to_the_end q");
    one.does("put_many q 1000 300");
    one.does("close q");
    let expected: Vec<String> = (1000..1300).map(|n: u32| n.to_string()).collect();
    assert_eq!(two.did(), expected.join(" "));
    one.fails("put q 1", "Closed");
    two.does("unlink q");
}

fn is_put(label: &str) -> bool {
    label != "queue.put.written"
}

fn is_got(label: &str) -> bool {
    label != "queue.get.copied"
}

fn putting(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    victim.does("put q 1");
    victim.dies_at(label, "put q 2 50");
    // Another one in its place, another way of putting.
    let mut second = Actor::start(&scratch);
    second.does("open queue q");
    second.dies_at(label, "put_timeout q 3 1000");
    one.does("put q 4");
    let expected: &[&str] = if is_put(label) { &["1", "2", "3", "4"] } else { &["1", "4"] };
    assert_eq!(two.does("len q"), expected.len().to_string());
    for message in expected {
        assert_eq!(two.does("get q"), *message);
    }
    two.fails("try_get q", "WouldBlock");
    all_is_well(&mut one, &mut two);
}

fn putting_for_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    one.waits("get q");
    victim.dies_at(label, "put q 1");
    if !is_put(label) {
        two.does("put q 2");
    }
    assert_eq!(one.did(), if is_put(label) { "1" } else { "2" });
    all_is_well(&mut one, &mut two);
}

fn getting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    one.does("put_many q 1 4");
    victim.dies_at(label, "get q");
    let mut second = Actor::start(&scratch);
    second.does("open queue q");
    second.dies_at(label, "get_timeout q 1000");
    let expected: &[&str] = if is_got(label) { &["3", "4"] } else { &["1", "2", "3", "4"] };
    assert_eq!(one.does("len q"), expected.len().to_string());
    for message in expected {
        assert_eq!(two.does("get q"), *message);
    }
    all_is_well(&mut one, &mut two);
}

fn getting_for_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "capacity=1");
    one.does("put q 1");
    two.waits("put q 2");
    victim.dies_at(label, "get q");
    if !is_got(label) {
        assert_eq!(one.does("get q"), "1");
    }
    two.did();
    assert_eq!(one.does("get q"), "2");
    all_is_well(&mut one, &mut two);
}

fn putting_many(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    one.waits("get q");
    victim.dies_at(label, "batch q 1 5 30");
    if !is_put(label) {
        two.does("batch q 1 5 30");
    }
    // All or none of them, and the sleeper gets the first.
    assert_eq!(one.did(), "1");
    assert_eq!(two.does("get_batch q 9"), "2 3 4 5");
    all_is_well(&mut one, &mut two);
}

fn getting_many(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "capacity=5");
    one.does("batch q 1 5 30");
    two.waits("put q 6");
    victim.dies_at(label, "get_batch q 4");
    if !is_got(label) {
        assert_eq!(one.does("get_batch q 4"), "1 2 3 4");
    }
    two.did();
    assert_eq!(one.does("get_batch q 9"), "5 6");
    one.does("unlink q");
}

fn putting_by_slot(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    two.waits("get q");
    victim.dies_at(label, "slot q 1 50");
    if !is_put(label) {
        one.does("slot q 1 50");
    }
    assert_eq!(two.did(), "1");
    all_is_well(&mut one, &mut two);
}

fn getting_by_slot(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "capacity=1");
    one.does("put q 1");
    two.waits("put q 2");
    victim.dies_at(label, "read q");
    if !is_got(label) {
        assert_eq!(one.does("read q"), "1");
    }
    two.did();
    assert_eq!(one.does("read q"), "2");
    all_is_well(&mut one, &mut two);
}

/// Who holds a slot is killed, stopped, or just has it: the slot never was, and meanwhile the other end goes
/// on.
#[test]
fn a_slot_whose_process_dies_never_was() {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    victim.does("reserve q 100");
    one.fails("try_put q 1", "WouldBlock");
    two.waits("put q 2");
    victim.kill();
    two.did();
    assert_eq!(one.does("len q"), "1");
    let mut victim = Actor::start(&scratch);
    victim.does("open queue q");
    victim.does("hold q");
    one.fails("try_get q", "WouldBlock");
    one.does("put q 3");
    two.waits("get_batch q 5");
    victim.kill();
    assert_eq!(two.did(), "2 3");
    all_is_well(&mut one, &mut two);
}

fn shutting_down(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "capacity=3");
    one.does("batch q 1 3 30");
    two.waits("put q 4");
    victim.dies_at(label, "shutdown q");
    two.failed("Closed");
    if matches!(label, "queue.close.released" | "queue.get.copied") {
        assert_eq!(one.does("get q"), "1");
        assert_eq!(two.does("shutdown q"), "2");
    }
    one.fails("get q", "Closed");
    assert_eq!(one.does("shutdown q"), "0");
    one.does("unlink q");
}

fn reopening(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "capacity=1");
    one.does("put q 1");
    victim.does("close q");
    one.fails("put q 2", "Closed");
    victim.dies_at(label, "reopen q");
    // It was opened; saying so again changes nothing.
    one.waits("put q 2");
    assert_eq!(two.does("get q"), "1");
    one.did();
    two.does("reopen q");
    assert_eq!(two.does("get q"), "2");
    all_is_well(&mut one, &mut two);
}

fn closing(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "capacity=1");
    one.waits("get q");
    two.waits("get q");
    victim.dies_at(label, "close q");
    one.failed("Closed");
    two.failed("Closed");
    one.fails("put q 1", "Closed");
    one.does("close q");
    two.does("unlink q");
    // The same before sleeping producers; what is in the queue is still to be had.
    let (victim, mut one, mut two) = cast(&scratch, "capacity=1");
    one.does("put q 1");
    one.waits("put q 2");
    two.waits("put q 3");
    victim.dies_at(label, "close q");
    one.failed("Closed");
    two.failed("Closed");
    assert_eq!(two.does("get q"), "1");
    one.fails("get q", "Closed");
    two.does("unlink q");
}
