//! Who is who: names, lineage, and which children are active.

use crate::{end, for_ever, hear, say, status, until};
use procession::{Process, active_children, current_process, parent_process};
use std::fs;
use std::path::{Path, PathBuf};

under_other_methods! {
    names_follow_the_lineage
    a_child_knows_who_it_is_and_who_started_it
    active_children_are_those_that_run
    a_dropped_handle_leaves_the_child_alone_and_no_zombie;
    only by forkserver:
}

#[test]
fn names_follow_the_lineage() {
    let child = Process::spawn(|()| (current_process().name().to_owned(), grandchild_name()), ()).unwrap();
    let name = child.name().to_owned();
    let is_number = |number: &str| number.parse::<u32>().is_ok();
    assert!(name.strip_prefix("Process-").is_some_and(|all| all.split(':').all(is_number)), "{name}");
    assert_eq!(end(child).unwrap(), (name.clone(), format!("{name}:1")));
}

fn grandchild_name() -> String {
    let child = Process::spawn(|()| current_process().name().to_owned(), ()).unwrap();
    child.join().unwrap()
}

#[test]
fn the_original_process_has_no_parent() {
    assert!(parent_process().is_none());
}

#[test]
fn a_child_knows_who_it_is_and_who_started_it() {
    let who = |()| {
        let (me, parent) = (current_process(), parent_process().unwrap());
        assert!(parent.is_alive());
        let title = fs::read_to_string("/proc/self/comm").unwrap();
        (me.name().to_owned(), me.is_daemon(), me.parent_pid(), parent.pid(), parent.name().to_owned(), title)
    };
    let child = Process::options().name("a rather long name").daemon(true).spawn(who, ()).unwrap();
    let this = std::process::id();
    let name = "a rather long name".to_owned();
    assert_eq!(
        end(child).unwrap(),
        (name, true, this, this, current_process().name().into(), "a rather long n\n".into())
    );
}

#[test]
fn active_children_are_those_that_run() {
    let child = Process::options().name("the active one").spawn(for_ever::<()>, ()).unwrap();
    let pid = child.pid();
    let listed =
        || active_children().iter().any(|child| child.pid() == pid && child.name() == "the active one");
    assert!(listed());
    child.kill().unwrap();
    until("it is no longer listed", || !listed());
    // Listing took the status; the handle still has it.
    assert_eq!(status(&child).signal(), Some(9));
}

#[test]
fn a_dropped_handle_leaves_the_child_alone_and_no_zombie() {
    let place = tempfile::tempdir().unwrap();
    let [release, done] = ["release", "done"].map(|name| place.path().join(name));
    let work = |(release, done): (PathBuf, PathBuf)| {
        hear(&release);
        say(&done, std::process::id());
    };
    drop(Process::spawn(work, (release.clone(), done.clone())).unwrap());
    say(&release, "");
    let pid: u32 = hear(&done).parse().unwrap();
    until("it is reaped on the way", || {
        drop(active_children());
        !Path::new(&format!("/proc/{pid}")).exists()
    });
}
