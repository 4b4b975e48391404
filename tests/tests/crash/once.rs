//! Who does what is to be done once dies over it: another does it, and only if it was not done.

use crate::crash_points;
use procession_tests::{Actor, Scratch};
use std::fs::File;
use std::path::{Path, PathBuf};

crash_points! {
    running at "once.running": running_it;
    done at "once.done": running_it;
    owner_found_dead at "lock.owner_found_dead": running_it_again;
    buried at "lock.buried": running_it_again;
    acquired_contended at "lock.acquired_contended": running_it_again;
    running_again at "once.running": running_it_again;
    done_again at "once.done": running_it_again;
}

fn running_it(label: &str) {
    for sleepers in [false, true] {
        let scratch = Scratch::new();
        let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(&scratch));
        let file = tempfile::NamedTempFile::new().unwrap();
        let run = format!("once o {}", file.path().display());
        one.does("create once o");
        let was_done = label == "once.done";
        if sleepers && !was_done {
            // Others wait for it when it dies.
            victim.stops_at(label, &run);
            one.waits(&run);
            two.waits(&run);
            victim.kill();
            let mut outcomes = [one.did(), two.did()];
            outcomes.sort();
            assert_eq!(outcomes, ["false false", "true true"]);
        } else {
            victim.dies_at(label, &run);
            assert_eq!(one.does("is_done o"), was_done.to_string());
            let mut second = Actor::start(&scratch);
            if !was_done {
                second.does(&format!("arm {label} 1 kill"));
                second.tell(&run);
                second.dies();
            }
            assert_eq!(one.does(&run), if was_done { "false false" } else { "true true" });
            assert_eq!(two.does(&run), "false false");
        }
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "done\n");
        one.does("unlink o");
    }
}

/// One is killed while it does it, and the next while it finds that out or does it again.
fn running_it_again(label: &str) {
    let scratch = Scratch::new();
    let [first, second, mut one, mut two] = std::array::from_fn(|_| Actor::start(&scratch));
    let file = tempfile::NamedTempFile::new().unwrap();
    let run = format!("once o {}", file.path().display());
    one.does("create once o");
    first.dies_at("once.running", &run);
    second.dies_at(label, &run);
    let was_done = label == "once.done";
    assert_eq!(one.does(&run), if was_done { "false false" } else { "true true" });
    assert_eq!(two.does(&run), "false false");
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "done\n");
    one.does("unlink o");
}

/// A file at which who opens it to write waits for somebody who reads.
fn fifo(directory: &Path) -> PathBuf {
    let path = directory.join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    path
}

#[test]
fn who_is_stopped_after_it_is_done_keeps_nobody_waiting() {
    let scratch = Scratch::new();
    let [mut stopped, mut one, mut two, mut three] = std::array::from_fn(|_| Actor::start(&scratch));
    let directory = tempfile::tempdir().unwrap();
    let fifo = fifo(directory.path());
    let run = format!("once o {}", fifo.display());
    one.does("create once o");
    stopped.does("arm once.running 1 stop once.done 1 stop");
    stopped.tell(&run);
    stopped.is_stopped();
    stopped.go_on();
    // It is at it now, until its line is read.
    one.waits(&run);
    three.fails(&format!("once_timeout o {} 20", fifo.display()), "TimedOut");
    two.waits(&format!("once_timeout o {} 60000", fifo.display()));
    let reader = File::open(&fifo).unwrap();
    stopped.is_stopped();
    assert_eq!([one.did(), two.did(), three.does(&run)], ["false false"; 3]);
    drop(reader);
    stopped.go_on();
    assert_eq!(stopped.did(), "true false");
    one.does("unlink o");
}
