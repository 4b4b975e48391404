//! The watcher, a thread that tells those who wait of deaths: when it is there, and what happens where it cannot
//! be. That it tells is shown without slices in `crash/deaths.rs`; here slices help where it does not.

use procession::{Lock, LockError, Process, StartMethod};
use procession_tests::{Actor, Scratch, Watchdog, can_unshare, in_fork, until};
use std::time::Duration;

procession::test_support!();

/// Long enough that a wait is a long one.
const LONG: Duration = Duration::from_millis(20);

/// One that holds the lock `l`, and one that has it open.
fn cast(scratch: &Scratch) -> (Actor, Actor) {
    let (mut holder, mut waiter) = (Actor::start(scratch), Actor::start(scratch));
    holder.does("create lock l");
    waiter.does("open lock l");
    holder.does("acquire l");
    (holder, waiter)
}

/// The holder is killed, and who waits is told, repairs the lock and removes it.
fn is_told(holder: Actor, mut waiter: Actor) {
    holder.kill();
    waiter.failed("OwnerDied");
    waiter.does("recover l");
    waiter.does("unlink l");
}

#[test]
fn it_is_there_while_somebody_waits_and_ends_soon_after() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = cast(&scratch);
    assert!(!holder.has_watcher() && !waiter.has_watcher());
    waiter.waits("acquire l");
    until("the watcher is there", || waiter.has_watcher());
    holder.does("release");
    waiter.did();
    until("the watcher is gone", || !waiter.has_watcher());
    assert!(!holder.has_watcher());
    waiter.does("unlink l");
}

#[test]
fn without_it_the_ends_of_slices_tell_of_a_death() {
    let calls = [libc::SYS_pidfd_open, libc::SYS_ppoll, libc::SYS_clone3, libc::SYS_pipe2];
    for call in calls {
        let scratch = Scratch::new();
        let (holder, mut waiter) = cast(&scratch);
        waiter.does(&format!("forbid {call}"));
        waiter.waits("acquire l");
        is_told(holder, waiter);
    }
}

#[test]
fn without_descriptors_the_ends_of_slices_tell_of_a_death() {
    let scratch = Scratch::new();
    let (holder, mut waiter) = cast(&scratch);
    let pid = waiter.pid().to_string();
    procession_tests::run(std::process::Command::new("prlimit").args(["--pid", &pid, "--nofile=3:3"]));
    waiter.waits("acquire l");
    holder.kill();
    waiter.failed("OwnerDied");
    waiter.does("recover l");
    scratch.unlink("l").unwrap();
}

#[test]
fn a_program_that_closes_its_descriptors_is_told_all_the_same() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = cast(&scratch);
    waiter.fails("acquire_timeout l 20", "TimedOut");
    assert!(waiter.has_watcher());
    waiter.does("closefrom");
    // Those who come meanwhile, too, whose numbers are used for other files.
    waiter.fails("acquire_timeout l 20", "TimedOut");
    waiter.waits("acquire l");
    holder.does("pid");
    is_told(holder, waiter);
}

#[test]
fn who_is_stopped_is_not_dead_and_who_waits_for_it_waits() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = cast(&scratch);
    waiter.waits("acquire l");
    until("the watcher is there", || waiter.has_watcher());
    holder.stop();
    let mut other = Actor::start(&scratch);
    other.does("open lock l");
    other.fails("acquire_timeout l 120", "TimedOut");
    assert!(!waiter.has_answered());
    holder.go_on();
    holder.does("release");
    waiter.did();
    waiter.does("unlink l");
}

#[test]
fn a_death_in_another_pid_namespace_is_noticed() {
    if !can_unshare(&["--pid", "--fork", "--mount-proc"]) {
        return;
    }
    let scratch = Scratch::new();
    for is_holder_elsewhere in [true, false] {
        let (here, elsewhere) = (Actor::start(&scratch), Actor::start_in_pid_namespace(&scratch));
        let (mut holder, mut waiter) =
            if is_holder_elsewhere { (elsewhere, here) } else { (here, elsewhere) };
        holder.does("create lock l");
        waiter.does("open lock l");
        holder.does("acquire l");
        waiter.waits("acquire l");
        is_told(holder, waiter);
    }
}

#[test]
fn a_forked_child_has_a_watcher_of_its_own() {
    let _watchdog = Watchdog::start();
    let scratch = Scratch::new();
    let mut holder = Actor::start(&scratch);
    holder.does("create lock l");
    holder.does("acquire l");
    let lock = Lock::options().namespace(&scratch).open("l").unwrap();
    assert!(matches!(lock.acquire_timeout(LONG), Err(LockError::TimedOut(_))));
    let pid = nix::unistd::Pid::from_raw(holder.pid().cast_signed());
    let told = in_fork("a lock whose holder is killed", || {
        let timed_out = matches!(lock.acquire_timeout(LONG), Err(LockError::TimedOut(_)));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        let pid = pid.as_raw().cast_unsigned();
        timed_out && matches!(lock.acquire(), Err(LockError::OwnerDied { pid: found, .. }) if found == pid)
    });
    assert!(told);
    drop(lock.recover().unwrap());
    lock.unlink().unwrap();
}

#[test]
fn a_process_that_has_waited_long_can_be_copied_at_once() {
    let _watchdog = Watchdog::start();
    let scratch = Scratch::new();
    let mut holder = Actor::start(&scratch);
    holder.does("create lock l");
    holder.does("acquire l");
    let lock = Lock::options().namespace(&scratch).open("l").unwrap();
    let waits = |lock: Lock| matches!(lock.acquire_timeout(LONG), Err(LockError::TimedOut(_)));
    let copies_itself = move |lock: Lock| {
        let has_child_waited = |_| {
            let has_waited = waits(lock.clone());
            let options = Process::options().start_method(StartMethod::Fork);
            let child = options.spawn(waits, lock.clone()).unwrap();
            has_waited && child.join().unwrap()
        };
        (0..3).all(has_child_waited)
    };
    // In a process of its own, because a test has other threads.
    assert!(Process::spawn(copies_itself, lock.clone()).unwrap().join().unwrap());
    drop(lock);
    scratch.unlink("l").unwrap();
}
