//! Who enters a name on the roll, makes the roll anew, or removes an abandoned namespace by it, dies: no file
//! stays that nobody removes.

use crate::crash_points;
use procession_sys::shm_file;
use procession_tests::{Actor, Scratch, program};
use std::process::Command;

crash_points! {
    taken at "roll.taken": creating;
    entered at "roll.entered": creating;
    cleared at "roll.cleared": leaving_something;
    taken_anew at "roll.taken": leaving_something;
    entered_anew at "roll.entered": leaving_something;
    abandoned_held at "gc.abandoned.held": sweeping;
    abandoned_swept at "gc.abandoned.swept": sweeping;
    abandoned_retired at "segment.collect.retired": sweeping;
    abandoned_name_locked at "segment.remove.name_locked": sweeping;
}

fn creating(label: &str) {
    let scratch = Scratch::unswept();
    for kind in ["anonymous queue q", "create lock l", "create queue q ephemeral"] {
        Actor::start(&scratch).dies_at(label, kind);
        assert_eq!(scratch.objects(), [""; 0]);
    }
    let mut next = Actor::start(&scratch);
    next.does("create lock l");
    next.does("anonymous queue q");
    next.does("unlink l");
    next.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

/// The last process out keeps the registry for a named object; what the next one leaves goes all the same.
fn leaving_something(label: &str) {
    let scratch = Scratch::unswept();
    let mut last = Actor::start(&scratch);
    last.does("create lock l");
    last.does("create lock m");
    last.does("anonymous queue q");
    last.dies_at(label, "exit 0");
    assert_eq!(scratch.objects(), ["l", "m"]);
    let mut next = Actor::start(&scratch);
    next.does("open lock l");
    next.does("anonymous queue q");
    next.does("unlink m");
    next.finish();
    assert_eq!(scratch.names(), [".registry", "l"]);
    let mut next = Actor::start(&scratch);
    next.does("unlink l");
    next.does("anonymous queue q");
    next.finish();
    assert_eq!(scratch.names(), [""; 0]);
}

/// A private namespace whose processes are gone is removed by one who dies over it, and then by another.
fn sweeping(label: &str) {
    let (scratch, elsewhere) = (Scratch::new(), [Scratch::new(), Scratch::new()]);
    // Other tests sweep, too, but not where names begin otherwise.
    let prefix = scratch.name().replace("private", "sweeping");
    let start = |namespace: &Scratch| {
        let mut command = Command::new(program("actor"));
        command.env("PROCESSION_PREFIX", &prefix);
        Actor::start_as(command, namespace)
    };
    let files = || shm_file::names(&prefix).unwrap().len();
    let mut killed = start(&scratch);
    killed.does("create lock l");
    killed.does("create queue q bytes=256");
    killed.does("put q 7");
    killed.does("anonymous queue a");
    killed.kill();
    assert_eq!(files(), 4);
    start(&elsewhere[0]).dies_at(label, "register");
    let mut next = start(&elsewhere[1]);
    next.does("register");
    next.finish();
    assert_eq!(files(), 0);
}
