//! How long objects live, whose name is removed, and what becomes of registries.

use procession_tests::{Actor, Scratch, program, raw, run, until};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

#[test]
fn a_named_object_waits_for_its_next_user() {
    let scratch = Scratch::new();
    let mut one = Actor::start(&scratch);
    let mut keeper = Actor::start(&scratch);
    keeper.does("register");
    one.does("create queue q");
    one.does("put q 5");
    one.finish();
    assert_eq!(keeper.does("gc"), "0");
    // Whoever registers looks for garbage, too.
    let mut two = Actor::start(&scratch);
    two.does("register");
    two.does("open queue q");
    assert_eq!(two.does("get q"), "5");
    two.kill();
    assert_eq!(keeper.does("gc_unused"), "1");
    assert_eq!(scratch.objects(), [""; 0]);
}

#[test]
fn a_private_namespace_goes_with_its_last_process() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create queue q");
    two.does("open queue q");
    two.does("create lock l");
    one.finish();
    assert_eq!(scratch.names(), [".registry", "l", "q"]);
    two.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn whoever_ends_with_handles_in_hand_leaves_nothing_that_only_it_had() {
    let scratch = Scratch::unswept();
    let mut one = Actor::start(&scratch);
    one.does("anonymous queue a");
    one.does("put a 1");
    one.does("create lock e ephemeral");
    one.does("create queue q");
    one.does("put q 5");
    // It drops nothing: `exit` is in the middle of everything.
    one.exits();
    assert_eq!(scratch.names(), [".registry", "q"]);
    let mut two = Actor::start(&scratch);
    two.does("open queue q");
    assert_eq!(two.does("get q"), "5");
    two.does("unlink q");
    two.exits();
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn a_program_that_ends_with_a_handle_in_a_static_leaves_nothing() {
    for what in ["queue", "pool", "forgotten", "exit", "left"] {
        let scratch = Scratch::unswept();
        run(Command::new(program("statics")).arg(what).env("PROCESSION_NAMESPACE", scratch.name()));
        assert_eq!(scratch.names(), [""; 0], "{what}");
    }
}

#[test]
fn what_others_have_too_stays_when_somebody_ends_with_a_handle_in_hand() {
    let scratch = Scratch::unswept();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create lock e ephemeral");
    two.does("open lock e");
    one.exits();
    assert_eq!(scratch.objects(), ["e"]);
    two.does("cycle e 3");
    let mut three = Actor::start(&scratch);
    three.does("open lock e");
    two.exits();
    three.exits();
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn the_registry_stays_while_there_are_named_objects() {
    let scratch = Scratch::unswept();
    let mut one = Actor::start(&scratch);
    one.does("create lock l");
    let registry = fs::metadata(raw::registry(&scratch)).unwrap();
    one.finish();
    assert_eq!(scratch.names(), [".registry", "l"]);
    let after = fs::metadata(raw::registry(&scratch)).unwrap();
    assert_eq!(registry.ino(), after.ino());
    assert!(!raw::is_retired(&scratch, ".registry"));
    let mut two = Actor::start(&scratch);
    two.does("open lock l");
    two.does("unlink l");
    two.does("drop l");
    two.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

/// Version and layout: where they are in a header.
#[test]
fn a_registry_of_another_build_goes_when_nobody_of_that_build_is_alive() {
    for (offset, case) in [(8, "Version"), (12, "Layout")] {
        let scratch = Scratch::unswept();
        let mut old = Actor::start(&scratch);
        old.does("create queue q");
        old.does("put q 5");
        raw::poke(&scratch, ".registry", offset, &77_u32.to_le_bytes());
        let mut new = Actor::start(&scratch);
        new.fails("register", case);
        old.kill();
        new.does("register");
        // The new registry is of this build, and so is the object; it knows nothing of the dead one's.
        new.does("open queue q");
        assert_eq!(new.does("get q"), "5");
        raw::poke(&scratch, "q", offset, &77_u32.to_le_bytes());
        let mut next = Actor::start(&scratch);
        next.fails("open queue q", case);
        new.does("unlink q");
        new.does("drop q");
        new.finish();
        next.finish();
        assert_eq!(scratch.names(), [""; 0]);
    }
}

#[test]
fn a_private_namespace_whose_last_process_was_killed_goes_with_the_next_process_anywhere() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let mut one = Actor::start(&scratch);
    one.does("create queue q");
    assert_eq!(scratch.names(), [".registry", "q"]);
    one.kill();
    // The leftovers of others are looked at a few at a time, by every process that registers.
    until("a newcomer has swept", || {
        let mut next = Actor::start(&other);
        next.does("register");
        next.finish();
        scratch.names().is_empty()
    });
}

/// Each process that joins reads a part of a large directory, and the next one of its namespace goes on
/// there.
#[test]
fn what_the_dead_left_is_found_among_thousands_of_files_too() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let mut keeper = Actor::start(&other);
    keeper.does("register");
    let mut one = Actor::start(&scratch);
    one.does("create queue q");
    one.kill();
    // Longer names than most, so that fewer of them are as many bytes.
    let path = |number: u32| PathBuf::from(format!("/dev/shm/{}-{number:0200}", scratch.name()));
    (0..1000).for_each(|number| drop(fs::File::create_new(path(number)).unwrap()));
    until("newcomers have swept", || {
        let mut next = Actor::start(&other);
        next.does("register");
        next.finish();
        scratch.names().is_empty()
    });
    (0..1000).for_each(|number| fs::remove_file(path(number)).unwrap());
}

#[test]
fn whoever_finds_a_retired_object_finishes_its_removal() {
    for command in ["open_or_create lock l", "open_or_create queue l", "create lock l"] {
        let scratch = Scratch::new();
        let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
        one.does("create lock l");
        two.does("register");
        // As if whoever removed it had been killed half-way.
        raw::poke(&scratch, "l", raw::STATE, &1_u32.to_le_bytes());
        two.does(command);
        assert!(!raw::is_retired(&scratch, "l"));
        // The one that has it goes on with it.
        one.does("cycle l 3");
        two.does("unlink l");
        two.fails("open lock l", "NotFound");
    }
}

#[test]
fn a_retired_object_is_not_found() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create queue q");
    raw::poke(&scratch, "q", raw::STATE, &1_u32.to_le_bytes());
    two.fails("open queue q", "NotFound");
    assert_eq!(scratch.objects(), [""; 0]);
    one.does("put q 1");
}

#[test]
fn the_last_user_of_an_ephemeral_object_removes_no_other_of_its_name() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create lock x ephemeral");
    two.does("unlink x");
    // A named object, to which nobody is attached now, and which is nobody's garbage.
    two.does("create queue x");
    two.does("put x 1");
    two.does("drop x");
    one.does("drop x");
    two.does("open queue x");
    assert_eq!(two.does("get x"), "1");
    two.does("unlink x");
}

#[test]
fn unlinking_by_many_removes_each_object_once() {
    let scratch = Scratch::new();
    let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start(&scratch)).collect();
    for round in 0..50 {
        actors[round % 4].does("open_or_create lock l");
        for actor in &mut actors {
            actor.tell("unlink l");
        }
        let answers: Vec<String> = actors.iter_mut().map(Actor::answer).collect();
        assert_eq!(answers.iter().filter(|answer| answer.starts_with("ok")).count(), 1, "{answers:?}");
        assert!(
            answers.iter().all(|answer| answer.starts_with("ok") || answer.starts_with("error NotFound"))
        );
    }
}

#[test]
fn collecting_disturbs_nobody_who_opens() {
    let scratch = Scratch::new();
    let (mut keeper, mut opener, mut collector) =
        (Actor::start(&scratch), Actor::start(&scratch), Actor::start(&scratch));
    keeper.does("create lock l ephemeral");
    for _ in 0..300 {
        collector.tell("gc");
        opener.does("open lock l");
        opener.does("drop l");
        assert_eq!(collector.did(), "0");
    }
    keeper.does("drop l");
    assert_eq!(scratch.objects(), [""; 0]);
}

#[test]
fn openers_and_a_collector_race_for_an_ephemeral_object() {
    let scratch = Scratch::new();
    let (mut one, mut two, mut collector) =
        (Actor::start(&scratch), Actor::start(&scratch), Actor::start(&scratch));
    for _ in 0..300 {
        collector.tell("gc");
        one.tell("open_or_create lock l ephemeral");
        two.tell("open_or_create lock l ephemeral");
        one.did();
        two.did();
        collector.did();
        // Both have the same one, or one of them made its own after the other's had gone: never a dead one.
        one.does("cycle l 1");
        two.does("cycle l 1");
        one.tell("drop l");
        two.tell("drop l");
        one.did();
        two.did();
    }
    assert_eq!(scratch.objects(), [""; 0]);
}

#[test]
fn an_anonymous_object_goes_with_its_last_user_and_its_handle_with_it() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("anonymous lock a");
    let handle = one.does("handle lock a");
    two.does(&format!("from_handle lock b {handle}"));
    one.does("acquire a");
    two.fails("try b", "WouldBlock");
    one.does("release");
    one.does("drop a");
    // The second has it still.
    assert_eq!(scratch.objects().len(), 1);
    one.does(&format!("from_handle lock a {handle}"));
    one.does("drop a");
    two.does("cycle b 1");
    two.does("drop b");
    assert_eq!(scratch.objects(), [""; 0]);
    let said = one.ask(&format!("from_handle lock a {handle}"));
    assert!(said.contains("is gone"), "{said}");
}

#[test]
fn an_anonymous_object_of_the_killed_goes_with_the_next_process_that_looks() {
    let scratch = Scratch::new();
    let mut keeper = Actor::start(&scratch);
    keeper.does("register");
    let mut one = Actor::start(&scratch);
    one.does("anonymous lock a");
    let handle = one.does("handle lock a");
    one.kill();
    // Each newcomer looks at a few leftovers, of which there may be many while other tests run.
    until("a newcomer has looked at it", || {
        Actor::start(&scratch).does("register");
        scratch.objects().is_empty()
    });
    let mut next = Actor::start(&scratch);
    let said = next.ask(&format!("from_handle lock a {handle}"));
    assert!(said.contains("is gone"), "{said}");
}

#[test]
fn an_ephemeral_object_of_the_killed_goes_with_the_next_that_opens_it() {
    let scratch = Scratch::new();
    let mut keeper = Actor::start(&scratch);
    keeper.does("register");
    for command in ["open lock l", "open_or_create lock l", "create lock l"] {
        let mut one = Actor::start(&scratch);
        one.does("create lock l ephemeral");
        one.does("acquire l");
        one.kill();
        assert_eq!(scratch.objects(), ["l"]);
        if command.starts_with("open lock") {
            keeper.fails(command, "NotFound");
        } else {
            keeper.does(command);
            // A new one, which nobody died holding.
            keeper.does("cycle l 1");
            keeper.does("unlink l");
        }
        assert_eq!(scratch.objects(), [""; 0]);
    }
}

#[test]
fn a_handle_of_another_object_of_the_same_name_is_gone() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create lock l");
    let handle = one.does("handle lock l");
    two.does("unlink l");
    two.does("create lock l");
    let said = two.ask(&format!("from_handle lock l {handle}"));
    assert!(said.contains("is gone") && said.contains("\"l\""), "{said}");
    two.does("unlink l");
}

#[test]
fn newcomers_are_kept_apart_from_the_users_of_a_removed_registry() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = (Actor::start(&scratch), Actor::start(&scratch));
    holder.does("create lock l");
    waiter.does("open lock l");
    holder.does("acquire l");
    fs::remove_file(raw::registry(&scratch)).unwrap();
    // Those who were there can still ask, and never take the live holder for dead.
    waiter.fails("acquire_timeout l 300", "TimedOut");
    let mut newcomer = Actor::start(&scratch);
    let said = newcomer.fails("open lock l", "RegistryChanged");
    assert!(said.contains("\"l\"") && said.contains(scratch.name()), "{said}");
    waiter.waits("acquire l");
    holder.kill();
    waiter.failed("OwnerDied");
    newcomer.fails("open lock l", "RegistryChanged");
    waiter.kill();
    // Nobody of the old registry is attached: cold recovery.
    newcomer.does("open lock l");
    newcomer.fails("acquire l", "OwnerDied");
    newcomer.does("recover l");
    newcomer.does("release");
    newcomer.does("unlink l");
}

#[test]
fn owners_of_an_old_registry_are_forgotten_when_nobody_is_attached() {
    let scratch = Scratch::unswept();
    let mut one = Actor::start(&scratch);
    one.does("create lock held");
    one.does("create lock free");
    one.does("create queue q");
    one.does("put q 1");
    one.does("acquire held");
    one.kill();
    fs::remove_file(raw::registry(&scratch)).unwrap();
    // Slot and generation of the next process are those of the dead one.
    let mut two = Actor::start(&scratch);
    two.does("register");
    let owner = raw::lock_owner(&scratch, "held").unwrap();
    assert_eq!(two.does("register"), owner);
    two.does("open lock held");
    two.fails("acquire held", "OwnerDied");
    two.does("recover held");
    two.does("release");
    two.does("open lock free");
    two.does("cycle free 2");
    two.does("open queue q");
    assert_eq!(two.does("get q"), "1");
    for name in ["held", "free", "q"] {
        two.does(&format!("unlink {name}"));
    }
}

#[test]
fn many_newcomers_recover_an_old_object_once() {
    let scratch = Scratch::unswept();
    let mut one = Actor::start(&scratch);
    one.does("create lock l ignore");
    one.does("acquire l");
    one.kill();
    fs::remove_file(raw::registry(&scratch)).unwrap();
    let mut actors: Vec<Actor> = (0..6).map(|_| Actor::start(&scratch)).collect();
    for actor in &mut actors {
        actor.tell("open lock l");
    }
    // Two that are attached at once keep each other from being alone; each lets go and tries again.
    let answers: Vec<String> = actors.iter_mut().map(Actor::answer).collect();
    for (actor, answer) in actors.iter_mut().zip(answers) {
        if answer.starts_with("error RegistryChanged") {
            actor.does("open lock l");
        } else {
            assert!(answer.starts_with("ok"), "{answer}");
        }
        actor.does("cycle l 5");
    }
    actors[0].does("unlink l");
}
