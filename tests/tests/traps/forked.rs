//! What a forked process inherits, and what it must not touch: identities, lifelines, guards, file locks,
//! handles on their way.

use procession::Namespace;
use procession::leave;
use procession::shm::register;
use procession_tests::{Actor, Scratch, raw, until};

/// Both ways to fork: with and without the handlers of `pthread_atfork`.
const WAYS: [&str; 2] = ["fork", "raw_fork"];

#[test]
fn a_forked_child_registers_anew() {
    for way in WAYS {
        let scratch = Scratch::new();
        let mut actor = Actor::start(&scratch);
        actor.does("create lock l");
        let parent = actor.does("register");
        actor.does(way);
        let child = actor.does("register");
        assert_ne!(parent, child);
        actor.does("acquire l");
        assert_eq!(raw::lock_owner(&scratch, "l"), Some(child.clone()));
        actor.does("release");
        assert_eq!(actor.does("participants").split(' ').count(), 2);
        assert_eq!(actor.ask("exit 0"), "ok exit 0");
        // The parent is who it was.
        assert_eq!(actor.does("register"), parent);
        assert_eq!(actor.does("participants").split(' ').count(), 1);
        actor.does("acquire l");
        assert_eq!(raw::lock_owner(&scratch, "l"), Some(parent));
        actor.does("release");
        actor.does("unlink l");
        actor.finish();
    }
}

#[test]
fn a_forked_child_that_dies_holding_is_an_owner_of_its_own() {
    for way in WAYS {
        let scratch = Scratch::new();
        let (mut actor, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
        actor.does("create lock l");
        other.does("open lock l");
        let child = actor.does(way);
        let child: i32 = child.strip_prefix("child ").unwrap().parse().unwrap();
        actor.does("acquire l");
        other.fails("acquire_timeout l 100", "TimedOut");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::SIGKILL).unwrap();
        assert_eq!(actor.did(), "signal 9");
        other.fails("acquire l", &format!("OwnerDied {{ pid: {child} }}"));
        actor.does("recover l");
        actor.does("release");
        actor.does("unlink l");
    }
}

/// A parent that ends while its child goes on with what both have does not take it along.
#[test]
fn a_daemon_keeps_the_anonymous_objects_of_whoever_forked_it() {
    let scratch = Scratch::unswept();
    let mut actor = Actor::start(&scratch);
    actor.does("anonymous queue a");
    actor.does("put a 1");
    actor.does("become_a_daemon");
    assert!(actor.wait().success());
    assert_eq!(scratch.objects().len(), 1);
    let mut other = Actor::start(&scratch);
    other.does("register");
    assert_eq!(other.does("gc"), "0");
    assert_eq!(actor.does("get a"), "1");
    actor.does("put a 2");
    assert_eq!(actor.does("get a"), "2");
    other.finish();
    assert_eq!(scratch.objects().len(), 1);
    // The end of its input is the daemon's end.
    drop(actor);
    until("the daemon has ended, and a newcomer has swept", || {
        let mut next = Actor::start(&scratch);
        next.does("register");
        next.finish();
        scratch.names().is_empty()
    });
}

#[test]
fn no_lifeline_reaches_a_child_forked_while_its_parent_registers() {
    const COUNT: u32 = 60;
    let scratch = Scratch::new();
    let namespace = |n: u32| Namespace::new(&format!("{}-{n}", scratch.name())).unwrap();
    let mut actor = Actor::start(&scratch);
    let children: u32 = actor.does(&format!("fork_while_registering {COUNT}")).parse().unwrap();
    assert!(children > 0, "nothing was forked meanwhile");
    let registrations: Vec<_> = (0..COUNT).map(|n| register(&namespace(n)).unwrap()).collect();
    let theirs = |n: usize| {
        let found = registrations[n].participants().into_iter().find(|one| one.pid == actor.pid());
        found.map(|found| found.owner)
    };
    let owners: Vec<_> = (0..COUNT as usize).map(|n| theirs(n).unwrap()).collect();
    actor.begin_to_die();
    let _: std::process::ExitStatus = actor.wait();
    // Its children live on, until `actor` is dropped, and none of them holds a lifeline of its.
    for (registration, owner) in registrations.iter().zip(owners) {
        until("a killed process is dead", || registration.is_dead(owner) == Ok(true));
    }
    drop(actor);
    // The children end one after the other; then this program is the last in these namespaces.
    until("nothing is left", || {
        leave();
        (0..COUNT).all(|n| namespace(n).list().unwrap().is_empty())
    });
}

#[test]
fn a_guard_inherited_by_fork_is_inert() {
    for way in WAYS {
        let scratch = Scratch::new();
        let (mut actor, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
        actor.does("create lock l");
        other.does("open lock l");
        let parent = actor.does("register");
        actor.does("acquire l");
        actor.does(way);
        // The child drops its copy, first as nobody, ...
        actor.does("release");
        assert_eq!(raw::lock_owner(&scratch, "l"), Some(parent.clone()));
        // ... and must itself wait for its parent, which is no deadlock.
        actor.fails("acquire_timeout l 100", "TimedOut");
        other.fails("acquire_timeout l 100", "TimedOut");
        assert_eq!(actor.ask("exit 0"), "ok exit 0");
        assert_eq!(raw::lock_owner(&scratch, "l"), Some(parent));
        actor.does("release");
        other.does("acquire l");
        other.does("release");
        actor.does("unlink l");
    }
}

#[test]
fn a_guard_inherited_by_a_fork_that_has_registered_is_inert() {
    for way in WAYS {
        let scratch = Scratch::new();
        let mut actor = Actor::start(&scratch);
        actor.does("create lock l");
        actor.does("create lock other");
        actor.does("acquire l");
        actor.does(way);
        let child = actor.does("register");
        actor.does("acquire other");
        assert_eq!(raw::lock_owner(&scratch, "other"), Some(child.clone()));
        // Its own guard is its own, the one it inherited is not.
        actor.does("release");
        assert_eq!(raw::lock_owner(&scratch, "other"), None);
        actor.does("release");
        assert_ne!(raw::lock_owner(&scratch, "l"), Some(child));
        assert_eq!(actor.ask("exit 0"), "ok exit 0");
        actor.does("release");
        actor.does("cycle l 3");
        actor.does("unlink l");
        actor.does("unlink other");
    }
}

#[test]
fn an_object_stays_while_a_forked_child_has_it_mapped() {
    let scratch = Scratch::new();
    let (mut actor, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
    other.does("register");
    actor.does("create lock l ephemeral");
    actor.does("fork_and_leave_it");
    actor.begin_to_die();
    let _: std::process::ExitStatus = actor.wait();
    assert_eq!(other.does("gc"), "0");
    other.does("open lock l");
    other.does("drop l");
    assert_eq!(scratch.objects(), ["l"]);
    drop(actor);
    until("the last user is gone", || other.ask("gc") == "ok 1");
    other.fails("open lock l", "NotFound");
}

#[test]
fn a_forked_child_that_exits_removes_nothing_of_its_parents() {
    for way in WAYS {
        let scratch = Scratch::new();
        let mut actor = Actor::start(&scratch);
        actor.does("create lock l ephemeral");
        let parent = actor.does("register");
        actor.does(way);
        actor.does("drop l");
        actor.does("register");
        assert_eq!(actor.ask("exit 0"), "ok exit 0");
        assert_eq!(scratch.names(), [".registry", "l"], "{way}");
        // Nobody else may take the parent for dead, nor make another registry beside it.
        let mut other = Actor::start(&scratch);
        other.does("open lock l");
        actor.does("acquire l");
        assert_eq!(raw::lock_owner(&scratch, "l"), Some(parent));
        other.fails("acquire_timeout l 100", "TimedOut");
        actor.does("release");
    }
}

#[test]
fn a_registry_stays_while_a_forked_child_is_registered_in_it() {
    for way in WAYS {
        let scratch = Scratch::new();
        let mut outer = Actor::start(&scratch);
        outer.does("register");
        // The child registers, and forks again: its own end is what the grandchild then looks at.
        outer.does(way);
        outer.does("register");
        outer.does("create lock l");
        outer.does(way);
        outer.does("register");
        outer.does("acquire l");
        let mut other = Actor::start(&scratch);
        other.does("open lock l");
        other.fails("acquire_timeout l 100", "TimedOut");
        other.finish();
        assert!(scratch.names().contains(&".registry".to_owned()));
        outer.does("release");
        assert_eq!(outer.ask("exit 0"), "ok exit 0");
        outer.does("unlink l");
        assert_eq!(outer.ask("exit 0"), "ok exit 0");
        assert_eq!(scratch.names(), [".registry"]);
        let mut last = Actor::start(&scratch);
        last.does("participants");
        outer.finish();
        assert_eq!(last.does("participants"), last.pid().to_string());
    }
}

#[test]
fn guards_of_recursive_locks_and_values_inherited_by_fork_are_inert() {
    for way in WAYS {
        let scratch = Scratch::new();
        let (mut actor, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
        actor.does("create rlock r");
        actor.does("create wide v");
        other.does("open rlock r");
        other.does("open wide v");
        actor.does("enter r");
        actor.does("enter r");
        actor.does("keep v 7");
        actor.does(way);
        // The child drops its copies of all three guards, and is another owner.
        for _ in 0..3 {
            actor.does("release");
        }
        actor.fails("try_enter r", "WouldBlock");
        actor.fails("try_set v 1", "WouldBlock");
        assert_eq!(other.does("get v"), "0");
        other.fails("try_enter r", "WouldBlock");
        assert_eq!(actor.ask("exit 0"), "ok exit 0");
        // The parent holds all of it still.
        other.fails("try_set v 1", "WouldBlock");
        actor.does("release");
        assert_eq!(other.does("get v"), "7");
        actor.does("release");
        other.fails("try_enter r", "WouldBlock");
        actor.does("release");
        assert_eq!(other.does("enter r"), "1");
        other.does("release");
        actor.does("unlink r");
        actor.does("unlink v");
    }
}

#[test]
fn a_value_of_one_word_and_an_update_under_way_inherited_by_fork_are_inert() {
    for way in WAYS {
        let scratch = Scratch::new();
        let (mut actor, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
        actor.does("create count c");
        actor.does("create array a 4");
        other.does("open count c");
        other.does("open array a");
        actor.does("keep c 7");
        actor.does("keep a 0 2 7");
        actor.does(way);
        // The child leaves the update and drops the guard, and is another owner.
        actor.does("release");
        actor.does("release");
        actor.fails("set_timeout c 1 50", "TimedOut");
        actor.fails("fill_timeout a 0 1 1 50", "Lock(TimedOut)");
        assert_eq!((other.does("get c"), other.does("get_each a")), ("0".into(), "[0, 0, 0, 0]".into()));
        assert_eq!(actor.ask("exit 0"), "ok exit 0");
        // The parent holds both still.
        other.fails("set_timeout c 1 50", "TimedOut");
        other.fails("fill_timeout a 0 1 1 50", "Lock(TimedOut)");
        actor.does("release");
        assert_eq!(other.does("get_each a"), "[7, 7, 0, 0]");
        actor.does("release");
        assert_eq!((other.does("fetch_add c 1"), other.does("get c")), ("7".into(), "8".into()));
        actor.does("unlink c");
        actor.does("unlink a");
    }
}

#[test]
fn guards_of_readers_and_writers_inherited_by_fork_are_inert() {
    for way in WAYS {
        let scratch = Scratch::new();
        let (mut actor, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
        for name in ["read", "written"] {
            actor.does(&format!("create rwlock {name}"));
            other.does(&format!("open rwlock {name}"));
        }
        actor.does("read read");
        actor.does("write written");
        actor.does(way);
        actor.does("release");
        actor.does("release");
        // The child is another owner, and no reader.
        actor.fails("try_write read", "WouldBlock");
        actor.fails("read_timeout written 10", "TimedOut");
        actor.does("read read");
        assert_eq!(actor.does("readers read"), "2");
        actor.does("release");
        assert_eq!(actor.ask("exit 0"), "ok exit 0");
        // The parent holds both still.
        other.fails("try_write read", "WouldBlock");
        other.fails("try_read written", "WouldBlock");
        actor.does("release");
        actor.does("release");
        other.does("try_write read");
        other.does("try_write written");
        other.does("release");
        other.does("release");
        actor.does("unlink read");
        actor.does("unlink written");
    }
}

#[test]
fn slots_of_queues_inherited_by_fork_are_inert() {
    for way in WAYS {
        for len in ["20", "5000"] {
            let scratch = Scratch::new();
            let (mut actor, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
            actor.does("create queue q bytes=256");
            other.does("open queue q");
            actor.does(&format!("put q 1 {len}"));
            actor.does("hold q");
            actor.does(&format!("reserve q {len}"));
            actor.does(way);
            // The child has them as anything else that its parent holds: it waits.
            actor.fails("put_timeout q 2 50", "TimedOut");
            actor.fails("get_timeout q 50", "TimedOut");
            // It can neither use its copies, nor let go by them what its parent holds.
            for _ in 0..2 {
                assert!(actor.ask("release").contains("it was forked from"));
            }
            actor.fails("get_timeout q 50", "TimedOut");
            other.fails("put_timeout q 3 50", "TimedOut");
            other.fails("get_timeout q 50", "TimedOut");
            assert_eq!(actor.ask("exit 0"), "ok exit 0");
            actor.does("release");
            other.does("put q 4");
            other.fails("get_timeout q 50", "TimedOut");
            actor.does("release");
            assert_eq!((other.does("get q"), other.does("get q")), ("1".into(), "4".into()));
            actor.does("unlink q");
        }
    }
}

#[test]
fn a_forked_child_waits_on_a_condition_as_itself() {
    for way in WAYS {
        let scratch = Scratch::new();
        let (mut actor, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
        for object in ["condition c", "lock l", "count v"] {
            actor.does(&format!("create {object}"));
            other.does(&format!("open {object}"));
        }
        actor.does("acquire l");
        let child = actor.does(way);
        let child: i32 = child.strip_prefix("child ").unwrap().parse().unwrap();
        // With a guard of its own it waits, is notified, and goes on.
        actor.tell("take c v");
        until("the child waits", || other.does("waiters c") == "1");
        other.does("give c v 1");
        assert_eq!(actor.did(), "0");
        // It dies waiting, and its parent lives: the next signal is not for it.
        actor.tell("take c v");
        until("the child waits", || other.does("waiters c") == "1");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::SIGKILL).unwrap();
        assert_eq!(actor.did(), "signal 9");
        other.waits("take c v");
        actor.does("give c v 1");
        assert_eq!(other.did(), "0");
        actor.does("release");
        for name in ["c", "l", "v"] {
            actor.does(&format!("unlink {name}"));
        }
    }
}

#[test]
fn a_parent_that_leaves_takes_no_registry_from_a_forked_child_without_descriptors() {
    for way in WAYS {
        let scratch = Scratch::new();
        let mut actor = Actor::start(&scratch);
        actor.does("register");
        // The child goes on with the commands, and its parent leaves as soon as it has closed its
        // descriptors.
        actor.does(&format!("{way}_and_outlive"));
        actor.does("register");
        actor.does("closefrom");
        assert!(actor.wait().success());
        assert_eq!(scratch.names(), [".registry"], "{way}");
        actor.does("create lock l");
        let mut other = Actor::start(&scratch);
        other.does("open lock l");
        actor.does("acquire l");
        other.fails("acquire_timeout l 100", "TimedOut");
        actor.does("release");
        other.does("unlink l");
        assert_eq!(actor.does("participants").split(' ').count(), 2, "{way}");
    }
}

#[test]
fn a_child_that_dies_is_missed_although_an_unrelated_fork_lives() {
    for way in WAYS {
        let scratch = Scratch::new();
        let (mut parent, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
        other.does("create barrier b 2");
        parent.does("open barrier b");
        let pid = parent.does(&format!("spawn_member_amid {way} b dies"));
        other.fails("wait b", &format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
        other.does("unlink b");
    }
}
