//! A process that is killed while a program runs under what it holds: nobody gets that before the program has
//! ended.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use nix::sys::signal::Signal;
use procession_tests::{Actor, Scratch, Watchdog, run, runs, send, until};
use std::fs;
use std::process::Command;

procession::test_support!();

/// One that holds the lock `l`, and one that has it open.
fn cast(scratch: &Scratch) -> [Actor; 2] {
    let [mut guardian, mut other] = std::array::from_fn(|_| Actor::start(scratch));
    guardian.does("create lock l");
    other.does("open lock l");
    guardian.does("acquire l");
    [guardian, other]
}

/// A command that lives for long, also when its guardian is killed.
const LIVES_ON: &str = "setpriv --pdeathsig clear sleep 100";

/// Waits until the command is executed: only then the kernel does not kill it any more.
fn starts(guardian: &mut Actor, command: &str, name: &str) -> u32 {
    let ward: u32 = guardian.does(&format!("guard {command}")).parse().unwrap();
    let is_called =
        || fs::read_to_string(format!("/proc/{ward}/comm")).is_ok_and(|comm| comm.trim_end() == name);
    until("the command runs", is_called);
    ward
}

#[test]
fn a_lock_is_free_when_the_command_has_ended_and_not_before() {
    let scratch = Scratch::new();
    let [mut guardian, mut other] = cast(&scratch);
    let ward = starts(&mut guardian, LIVES_ON, "sleep");
    other.waits("acquire l");
    guardian.kill();
    other.falls_asleep();
    // A later one neither gets the lock nor the slot of the dead guardian, and is not misled.
    let mut third = Actor::start(&scratch);
    third.does("open lock l");
    third.fails("acquire_timeout l 200", "TimedOut");
    assert!(!other.has_answered() && runs(ward));
    send(ward, Signal::SIGKILL);
    other.failed("OwnerDied");
    assert!(!runs(ward));
    other.does("recover l");
    other.does("release");
    other.does("unlink l");
}

#[test]
fn the_slot_of_a_dead_guardian_is_nobody_s_while_its_ward_lives() {
    let scratch = Scratch::new();
    let mut keeper = Actor::start(&scratch);
    keeper.does("register 2");
    let mut guardian = Actor::start(&scratch);
    guardian.does("register");
    let ward = starts(&mut guardian, LIVES_ON, "sleep");
    guardian.kill();
    Actor::start(&scratch).fails("register", "RegistryFull");
    assert_eq!(keeper.does("participants").split(' ').count(), 2);
    send(ward, Signal::SIGKILL);
    until("the ward is gone", || !runs(ward));
    Actor::start(&scratch).does("register");
}

#[test]
fn a_command_ends_with_its_guardian_and_knows_nothing_of_the_lock() {
    let scratch = Scratch::new();
    let [mut guardian, mut other] = cast(&scratch);
    let ward = starts(&mut guardian, "sleep 600", "sleep");
    let files = fs::read_dir(format!("/proc/{ward}/fd")).unwrap().flatten();
    let inherited = files.filter_map(|file| fs::read_link(file.path()).ok());
    let ours: Vec<_> = inherited.filter(|file| file.to_string_lossy().contains("procession")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    other.waits("acquire l");
    guardian.kill();
    other.failed("OwnerDied");
    assert!(!runs(ward));
    other.does("recover l");
    other.does("unlink l");
}

#[test]
fn a_guardian_whose_ward_has_ended_is_as_any_other() {
    let scratch = Scratch::new();
    let [mut guardian, mut other] = cast(&scratch);
    for _ in 0..3 {
        guardian.does("guard true");
        assert_eq!(guardian.does("lose_ward"), "exit status: 0");
    }
    guardian.fails("guard /there/is/none", "Os");
    other.fails("acquire_timeout l 20", "TimedOut");
    guardian.kill();
    other.fails("acquire l", "OwnerDied");
    other.does("recover l");
    other.does("unlink l");
}

#[test]
fn no_two_commands_run_at_once_whoever_is_killed_when() {
    let _dog = Watchdog::for_seconds(120);
    let scratch = Scratch::for_seconds(120);
    let mut next = Actor::start(&scratch);
    next.does("create lock l");
    let folder = tempfile::tempdir().unwrap();
    let (file, overlap) = (folder.path().join("file"), folder.path().join("overlap"));
    let script = folder.path().join("command");
    // The kernel lets go of this lock when the command has ended.
    let text = format!(
        "#!/bin/sh\nexec 9>{0}\nflock -n 9 || : > {1}\nexec sleep 600\n",
        file.display(),
        overlap.display()
    );
    fs::write(&script, text).unwrap();
    run(Command::new("chmod").arg("+x").arg(&script));
    next.does("acquire l");
    for round in 0..60 {
        let mut guardian = next;
        next = Actor::start(&scratch);
        next.does("open lock l");
        next.waits("acquire l");
        let command = script.display().to_string();
        let ward = if round % 2 == 0 {
            Some(starts(&mut guardian, &command, "sleep"))
        } else {
            // It is killed in the middle of the start.
            guardian.tell(&format!("guard {command}"));
            None
        };
        guardian.kill();
        next.failed("OwnerDied");
        assert!(!ward.is_some_and(runs), "in round {round}, a command still ran");
        next.does("recover l");
        assert!(!overlap.exists(), "in round {round}, two commands ran at once");
    }
    next.does("unlink l");
}
