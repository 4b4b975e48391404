//! Who joins or leaves a namespace dies: its slot is used again, and whoever was in the slot before is dead.

use crate::crash_points;
use procession_tests::{Actor, Scratch, raw};

crash_points! {
    slot_locked at "registry.slot_locked": joining;
    lifeline_mapped at "registry.lifeline_mapped": joining;
    descriptor_closed at "registry.descriptor_closed": joining;
    generation_bumped at "registry.generation_bumped": joining;
    filled at "registry.filled": joining;
    verified at "registry.verified": joining;
    thread_ended at "registry.thread_ended": a_thread_ends;
    attached_forked at "registry.attached_forked": joining_forked;
    leaving_alone at "registry.leaving": leaving;
    retired at "registry.retired": leaving;
    removing_name_locked at "segment.remove.name_locked": leaving;
    removed at "segment.remove.unlinked": leaving;
    what_only_it_had at "segment.leave.retired": leaving_with_handles;
}

fn joining(label: &str) {
    let scratch = Scratch::new();
    let mut keeper = Actor::start(&scratch);
    keeper.does("register 2");
    keeper.does("create lock l");
    let mut holder = Actor::start(&scratch);
    holder.does("open lock l");
    let owner = holder.does("register");
    holder.does("acquire l");
    holder.kill();
    // There is one free slot: the dead holder's.
    Actor::start(&scratch).dies_at(label, "register");
    Actor::start(&scratch).dies_at(label, "open lock l");
    assert_eq!(raw::lock_owner(&scratch, "l"), Some(owner.clone()));
    let mut next = Actor::start(&scratch);
    let id = next.does("register");
    let slot = |id: &str| id.split('.').next().map(str::to_owned);
    assert_eq!(slot(&id), slot(&owner));
    assert_ne!(id, owner);
    Actor::start(&scratch).fails("register", "RegistryFull");
    keeper.fails("acquire l", "OwnerDied");
    next.does("open lock l");
    next.does("recover l");
    keeper.fails("acquire_timeout l 100", "TimedOut");
    next.does("release");
    keeper.does("cycle l 3");
    keeper.does("unlink l");
    assert_eq!(keeper.does("participants").split(' ').count(), 2);
}

/// A thread ends while it holds something, and its process dies over it, or lives on: it is dead all the
/// same.
fn a_thread_ends(label: &str) {
    let scratch = Scratch::new();
    let [mut first, mut second, mut survivor] = std::array::from_fn(|_| Actor::start(&scratch));
    survivor.does("create lock l");
    for actor in [&mut first, &mut second] {
        actor.does("open lock l");
    }
    second.does("forget_in_a_thread l");
    survivor.fails("acquire l", "OwnerDied");
    survivor.does("recover l");
    survivor.does("release");
    first.dies_at(label, "forget_in_a_thread l");
    second.fails("acquire l", "OwnerDied");
    second.does("recover l");
    second.does("release");
    survivor.does("cycle l 3");
    survivor.does("unlink l");
}

/// A forked child dies as it joins: its parent is the last one out all the same.
fn joining_forked(label: &str) {
    let scratch = Scratch::new();
    let (mut actor, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
    actor.does("create lock l");
    other.does("open lock l");
    actor.does("fork");
    actor.does(&format!("arm {label} 1 kill"));
    actor.tell("register");
    assert_eq!(actor.did(), "signal 9");
    actor.does("acquire l");
    other.fails("acquire_timeout l 50", "TimedOut");
    actor.does("release");
    other.does("cycle l 3");
    actor.does("unlink l");
    other.finish();
    actor.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

/// What it had in a static, so to say, goes with whoever comes next.
fn leaving_with_handles(label: &str) {
    let scratch = Scratch::unswept();
    let mut last = Actor::start(&scratch);
    last.does("anonymous queue q");
    last.does("put q 7");
    last.dies_at(label, "exit 0");
    assert_eq!(scratch.objects().len(), 1);
    let mut next = Actor::start(&scratch);
    next.does("register");
    assert_eq!(scratch.objects(), [""; 0]);
    next.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

fn leaving(label: &str) {
    let scratch = Scratch::unswept();
    for _ in 0..2 {
        // At exit, so that the label is passed there and nowhere before.
        let mut last = Actor::start(&scratch);
        last.does("create lock l");
        last.does("unlink l");
        last.does("drop l");
        last.does("register");
        last.dies_at(label, "exit 0");
    }
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create lock l");
    two.does("open lock l");
    one.does("acquire l");
    two.fails("acquire_timeout l 50", "TimedOut");
    one.does("release");
    one.does("unlink l");
    one.finish();
    two.finish();
    assert_eq!(scratch.names(), [""; 0]);
}
