//! Who creates, opens, collects or unlinks an object dies: it is there whole, or the next to look finishes
//! the removal.

use crate::crash_points;
use procession_tests::{Actor, Scratch, raw};
use std::fs;

crash_points! {
    create_unnamed at "segment.create.unnamed": creating;
    create_reserved at "segment.create.reserved": creating;
    create_attached at "segment.create.attached": creating;
    create_initialised at "segment.create.initialised": creating;
    create_published at "segment.create.published": creating;
    create_unnamed_registry at "segment.create.unnamed": creating_the_registry;
    create_reserved_registry at "segment.create.reserved": creating_the_registry;
    create_attached_registry at "segment.create.attached": creating_the_registry;
    create_initialised_registry at "segment.create.initialised": creating_the_registry;
    create_published_registry at "segment.create.published": creating_the_registry;
    open_attached at "segment.open.attached": opening;
    collect_locked at "segment.collect.locked": collecting;
    collect_retired at "segment.collect.retired": collecting;
    collect_name_locked at "segment.remove.name_locked": collecting;
    collect_removed at "segment.remove.unlinked": collecting;
    collect_unlinked at "segment.collect.unlinked": collecting;
    unlink_retired at "segment.unlink.retired": unlinking;
    unlink_name_locked at "segment.remove.name_locked": unlinking;
    unlink_removed at "segment.remove.unlinked": unlinking;
    adopt_locked at "object.adopt.locked": adopting;
    adopt_forgotten at "object.adopt.forgotten": adopting;
}

const KINDS: [&str; 3] = ["lock x", "queue x", "queue x ephemeral"];

fn two(scratch: &Scratch) -> (Actor, Actor) {
    let (mut victim, mut other) = (Actor::start(scratch), Actor::start(scratch));
    victim.does("register");
    other.does("register");
    (victim, other)
}

fn creating(label: &str) {
    for kind in KINDS {
        let scratch = Scratch::new();
        let (victim, mut other) = two(&scratch);
        victim.dies_at(label, &format!("create {kind}"));
        let is_there = label == "segment.create.published";
        assert_eq!(scratch.objects().len(), usize::from(is_there));
        if is_there && !kind.ends_with("ephemeral") {
            other.does(&format!("open {kind}"));
            other.fails(&format!("create {kind}"), "AlreadyExists");
        } else {
            // Nothing, or what went with its only user.
            other.fails(&format!("open {kind}"), "NotFound");
            assert_eq!(scratch.objects(), [""; 0]);
            other.does(&format!("create {kind}"));
        }
        let used = if kind.starts_with("lock") { "cycle x 3" } else { "put x 3" };
        other.does(used);
        other.does("unlink x");
    }
}

fn creating_the_registry(label: &str) {
    let scratch = Scratch::unswept();
    Actor::start(&scratch).dies_at(label, "register");
    assert_eq!(scratch.names().len(), usize::from(label == "segment.create.published"));
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create lock l");
    two.does("open lock l");
    assert_eq!(one.does("participants").split(' ').count(), 2);
    one.does("unlink l");
    one.finish();
    two.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

fn opening(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut other) = two(&scratch);
    other.does("create lock x ephemeral");
    victim.dies_at(label, "open lock x");
    other.does("cycle x 3");
    // The dead one pins nothing.
    other.does("drop x");
    assert_eq!(scratch.objects(), [""; 0]);
}

fn collecting(label: &str) {
    let afterwards =
        ["open lock x", "open_or_create lock x", "open_or_create queue x", "create lock x", "gc", "unlink x"];
    for after in afterwards {
        let scratch = Scratch::new();
        let (victim, mut other) = two(&scratch);
        let mut last = Actor::start(&scratch);
        last.does("create lock x ephemeral");
        last.does("acquire x");
        last.kill();
        assert_eq!(scratch.objects(), ["x"]);
        victim.dies_at(label, "gc");
        match after {
            "open lock x" => {
                other.fails(after, "NotFound");
            }
            "gc" | "unlink x" => {
                // Somebody must finish, and whether it was this one depends on where the victim died.
                let _answer: String = other.ask(after);
            }
            _ => {
                other.does(after);
                assert!(!raw::is_retired(&scratch, "x"));
                other.does("unlink x");
            }
        }
        assert_eq!(scratch.objects(), [""; 0], "{after}");
    }
}

fn unlinking(label: &str) {
    for after in
        ["open lock x", "open_or_create lock x", "open_or_create queue x", "create lock x", "unlink x"]
    {
        let scratch = Scratch::new();
        let (victim, mut other) = two(&scratch);
        let mut user = Actor::start(&scratch);
        user.does("create lock x");
        user.does("acquire x");
        victim.dies_at(label, "unlink x");
        match after {
            "open lock x" => {
                other.fails(after, "NotFound");
            }
            "unlink x" => {
                let _answer: String = other.ask(after);
            }
            _ => {
                other.does(after);
                assert!(!raw::is_retired(&scratch, "x"));
                other.does("unlink x");
            }
        }
        assert_eq!(scratch.objects(), [""; 0], "{after}");
        // Who had it goes on with it.
        user.does("release");
        user.does("cycle x 3");
    }
}

fn adopting(label: &str) {
    let scratch = Scratch::unswept();
    let mut old = Actor::start(&scratch);
    old.does("create lock x");
    old.does("acquire x");
    old.kill();
    fs::remove_file(raw::registry(&scratch)).unwrap();
    let (victim, mut other) = two(&scratch);
    victim.dies_at(label, "open lock x");
    let mut second = Actor::start(&scratch);
    second.does("register");
    second.dies_at(label, "open_or_create lock x");
    other.does("open lock x");
    other.fails("acquire x", "OwnerDied");
    assert_eq!(other.does("recover x"), "recovers");
    other.does("release");
    other.does("cycle x 3");
    other.does("unlink x");
}
