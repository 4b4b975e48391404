//! Messages that are larger than their queue, each in a file of its own: whoever dies, the message is there
//! or not, and no file stays that is in no queue.

use crate::crash_points;
use crate::queue::{all_is_well, cast};
use procession_tests::{Actor, Scratch};

crash_points! {
    put_unnamed at "segment.create.unnamed": putting;
    put_published at "segment.create.published": putting;
    put_made at "queue.spill.made": putting;
    put_placed at "spill.placed": putting;
    put_written at "queue.put.written": putting;
    put_committed at "queue.put.committed": putting;
    put_released at "queue.put.released": putting;
    slot_published at "segment.create.published": putting_by_slot;
    slot_placed at "spill.placed": putting_by_slot;
    slot_committed at "queue.put.committed": putting_by_slot;
    slot_released at "queue.put.released": putting_by_slot;
    get_attached at "segment.open.attached": getting;
    get_opened at "queue.spill.opened": getting;
    get_copied at "queue.get.copied": getting;
    get_committed at "queue.get.committed": getting;
    get_released at "queue.get.released": getting;
    get_name_locked at "segment.remove.name_locked": getting;
    get_removed at "segment.remove.unlinked": getting;
    discard_opened at "queue.spill.opened": shutting_down;
    discard_committed at "queue.get.committed": shutting_down;
    discarded at "queue.shutdown.discarded": shutting_down;
    unlink_retired at "segment.unlink.retired": unlinking;
    unlink_name_locked at "segment.remove.name_locked": unlinking;
    unlink_removed at "segment.remove.unlinked": unlinking;
    unlink_unused_retired at "segment.unlink.retired": unlinking_what_nobody_uses;
    unlink_unasked_retired at "segment.unlink.retired": unlinking_what_nobody_asks_for;
    unlink_unused_renamed at "segment.remove.unlinked": unlinking_what_nobody_uses;
    unlink_unasked_renamed at "segment.remove.unlinked": unlinking_what_nobody_asks_for;
    unlink_unused_collected at "segment.collect.unlinked": unlinking_what_nobody_uses;
}

const SMALL: &str = "bytes=256";

/// How many files of messages there are when everybody has looked.
fn spills(scratch: &Scratch, one: &mut Actor) -> usize {
    one.does("gc");
    scratch.objects().iter().filter(|name| name.starts_with(".spill-")).count()
}

fn putting(label: &str) {
    putting_by(label, "put");
}

fn putting_by_slot(label: &str) {
    putting_by(label, "slot");
}

fn putting_by(label: &str, how: &str) {
    // The first release follows the question whether there is room.
    let is_put = label == "queue.put.committed";
    // All leave it.
    let scratch = Scratch::unswept();
    let (mut victim, mut one, two) = cast(&scratch, SMALL);
    victim.does("put q 1 1000");
    victim.dies_at(label, &format!("{how} q 2 5000"));
    let expected: &[&str] = if is_put { &["1", "2"] } else { &["1"] };
    assert_eq!(one.does("len q"), expected.len().to_string());
    assert_eq!(spills(&scratch, &mut one), expected.len());
    // What was put needs nobody alive.
    one.finish();
    two.finish();
    assert!(
        procession::shm::gc::collect(Some(&scratch), procession::shm::gc::Options::default())
            .unwrap()
            .is_empty()
    );
    let [mut one, mut two] = [Actor::start(&scratch), Actor::start(&scratch)];
    one.does("open queue q");
    two.does("open queue q");
    for message in expected {
        assert_eq!(two.does("peek q"), *message);
        assert_eq!(one.does("get q"), *message);
    }
    assert_eq!(spills(&scratch, &mut two), 0);
    all_is_well(&mut one, &mut two);
}

fn getting(label: &str) {
    for how in ["get q", "read q", "get_batch q 1"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch, SMALL);
        one.does("batch q 1 2 1000");
        victim.dies_at(label, how);
        let is_got = !matches!(label, "segment.open.attached" | "queue.spill.opened" | "queue.get.copied");
        let expected: &[&str] = if is_got { &["2"] } else { &["1", "2"] };
        assert_eq!(spills(&scratch, &mut one), expected.len());
        for message in expected {
            assert_eq!(two.does("get q"), *message);
        }
        assert_eq!(spills(&scratch, &mut one), 0);
        all_is_well(&mut one, &mut two);
    }
}

fn shutting_down(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, SMALL);
    one.does("batch q 1 2 1000");
    victim.dies_at(label, "shutdown q");
    if label == "queue.spill.opened" {
        assert_eq!(one.does("get q"), "1");
        assert_eq!(two.does("shutdown q"), "1");
    }
    one.fails("get q", "Closed");
    assert_eq!(spills(&scratch, &mut one), 0);
    one.does("unlink q");
}

/// Those who have the queue go on with it, and what they have put is got, whatever is collected meanwhile.
fn unlinking(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, SMALL);
    one.does("put q 1 1000");
    victim.dies_at(label, "unlink q");
    // Others find no such queue; one of them removes what is left of its name.
    let mut other = Actor::start(&scratch);
    other.fails("open queue q", "NotFound");
    other.does("create queue q");
    one.does("put q 2 1000");
    assert_eq!(spills(&scratch, &mut other), 2);
    assert_eq!((two.does("get q"), two.does("get q")), ("1".to_owned(), "2".to_owned()));
    one.does("put q 3 1000");
    one.finish();
    assert_eq!(spills(&scratch, &mut other), 1);
    // The last one goes without a word.
    two.kill();
    other.does("gc");
    assert_eq!(scratch.names(), [".registry", "q"]);
    other.does("put q 4");
    other.does("unlink q");
    other.does("drop q");
    assert_eq!(scratch.names(), [".registry"]);
}

fn unlinking_what_nobody_uses(label: &str) {
    let scratch = Scratch::new();
    let mut user = Actor::start(&scratch);
    user.does("create queue q bytes=256");
    user.does("put q 1 1000");
    let [mut victim, mut other] = [Actor::start(&scratch), Actor::start(&scratch)];
    victim.does("register");
    other.does("register");
    user.finish();
    victim.dies_at(label, "unlink q");
    other.fails("open queue q", "NotFound");
    other.does("gc");
    assert_eq!(scratch.names(), [".registry"]);
}

/// The collector finishes it, also if nobody ever asks for that name again.
fn unlinking_what_nobody_asks_for(label: &str) {
    let scratch = Scratch::new();
    let mut user = Actor::start(&scratch);
    user.does("create queue q bytes=256");
    user.does("put q 1 1000");
    let [mut victim, mut other] = [Actor::start(&scratch), Actor::start(&scratch)];
    victim.does("register");
    other.does("register");
    user.finish();
    victim.dies_at(label, "unlink q");
    other.does("gc");
    assert_eq!(scratch.names(), [".registry"]);
}
