//! `procession lock` and what surrounds it: kills of every participant, signals, the terminal. That two commands never
//! run at a time under one lock is judged by `flock`.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, children_of, runs, send, until};
use nix::sys::signal::Signal;
use procession_tests::{is_stopped, note};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

const WAITS: &str = "echo READY $$; exec sleep 1000";

/// A lock's holder, and the process that its command is.
fn holder(place: &Place, options: &[&str]) -> (Running, u32) {
    let mut running =
        Running::start(&mut place.command(&[&["lock", "a"], options, &["--", "sh", "-c", WAITS]].concat()));
    let pid = running.line("READY ").trim_start_matches("READY ").parse().unwrap();
    (running, pid)
}

fn wait_until_somebody_waits(place: &Place) {
    until("somebody to wait", || {
        place.run(&["lock", "a", "-n", "--", "true"]).stderr.contains("1 waiting").then_some(())
    });
}

#[test]
fn the_command_dies_with_its_wrapper_and_the_next_one_is_told() {
    let place = Place::new("kill-wrapper");
    let (running, command) = holder(&place, &[]);
    let next =
        Running::start(&mut place.command(&["lock", "a", "--", "sh", "-c", "echo $PROCESSION_OWNER_DIED"]));
    wait_until_somebody_waits(&place);
    running.signal(Signal::SIGKILL);
    let said = next.end();
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "1\n"));
    assert!(said.stderr.contains(&format!("(pid {}) died", running.pid())), "{said:?}");
    assert!(!runs(command));
}

#[test]
fn a_command_that_is_killed_leaves_its_lock_as_a_dead_holder_does() {
    let place = Place::new("kill-command");
    let (running, command) = holder(&place, &[]);
    send(command, Signal::SIGKILL);
    assert_eq!(running.end().code(), Some(137));
    let said = place.run(&["lock", "a", "--", "sh", "-c", "echo $PROCESSION_OWNER_DIED"]);
    assert_eq!(said.stdout, "1\n", "{said:?}");
    // Both at once.
    let (running, command) = holder(&place, &[]);
    send(command, Signal::SIGKILL);
    running.signal(Signal::SIGKILL);
    assert_eq!(place.run(&["lock", "a", "-w", "10", "--", "true"]).code(), Some(0));
}

#[test]
fn a_command_that_survives_its_wrapper_keeps_the_lock_until_it_ends() {
    let place = Place::new("kill-survivor");
    let mut command =
        place.command(&["lock", "a", "--", "setpriv", "--pdeathsig", "clear", "sh", "-c", WAITS]);
    let mut running = Running::start(&mut command);
    let survivor: u32 = running.line("READY ").trim_start_matches("READY ").parse().unwrap();
    running.signal(Signal::SIGKILL);
    until("the wrapper to end", || (!runs(running.pid())).then_some(()));
    assert!(runs(survivor));
    assert_eq!(place.run(&["lock", "a", "-n", "--", "true"]).code(), Some(75));
    let waiter = Running::start(&mut place.command(&["lock", "a", "--", "true"]));
    wait_until_somebody_waits(&place);
    send(survivor, Signal::SIGKILL);
    assert_eq!(waiter.end().code(), Some(0));
}

#[test]
fn a_keeper_that_is_killed_is_a_dead_holder() {
    let place = Place::new("kill-keeper");
    assert_eq!(place.shell("$P lock acquire a --owner $PPID").code(), Some(0));
    let said = place.run(&["lock", "test", "a", "--json"]);
    let record: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(record["holders"][0]["kept_for"], std::process::id());
    let waiter =
        Running::start(&mut place.command(&["lock", "a", "--", "sh", "-c", "echo $PROCESSION_OWNER_DIED"]));
    // It is an ancestor of the waiter for whom it is kept.
    assert_eq!(waiter.end().code(), Some(65));
    let keeper = u32::try_from(record["holders"][0]["pid"].as_u64().unwrap()).unwrap();
    send(keeper, Signal::SIGKILL);
    let said = until("the lock to be free", || {
        let said = place.run(&["lock", "a", "-n", "--", "sh", "-c", "echo $PROCESSION_OWNER_DIED"]);
        (said.code() == Some(0)).then_some(said)
    });
    assert_eq!(said.stdout, "1\n");
}

#[test]
fn an_acquire_that_is_killed_while_it_waits_leaves_no_keeper() {
    let place = Place::new("kill-acquire");
    let (_running, _) = holder(&place, &[]);
    let acquire = Running::start(&mut place.command(&["lock", "acquire", "a"]));
    let keeper = until("the keeper", || children_of(acquire.pid()).into_iter().next());
    wait_until_somebody_waits(&place);
    acquire.signal(Signal::SIGKILL);
    until("the keeper to end", || (!runs(keeper)).then_some(()));
}

#[test]
fn breaking_kills_the_holder_and_hands_the_lock_over() {
    let place = Place::new("break");
    let (running, command) = holder(&place, &[]);
    assert_eq!(place.run(&["lock", "break", "a"]).code(), Some(2));
    let waiter = Running::start(&mut place.command(&["lock", "a", "--", "true"]));
    wait_until_somebody_waits(&place);
    assert_eq!(place.run(&["lock", "break", "a", "--yes"]).code(), Some(0));
    assert_eq!(waiter.end().code(), Some(0));
    assert_eq!(running.end().status.signal(), Some(9));
    assert!(!runs(command));
    assert_eq!(place.run(&["lock", "break", "a", "--yes"]).code(), Some(0));
}

/// Three wrappers at a time, of which one, or its command, or both are killed at some moment. Each command asks `flock`
/// whether it is alone.
#[test]
fn nothing_runs_beside_another_whoever_is_killed_when() {
    let place = Place::new("kill-any");
    let judge = tempfile::NamedTempFile::new().unwrap();
    let judge = judge.path().to_str().unwrap();
    let alone = ["flock", "--nonblock", "--conflict-exit-code", "99", "--no-fork", judge, "sleep", "0.01"];
    let start = || Running::start(&mut place.command(&[&["lock", "a", "--"], &alone[..]].concat()));
    let mut killed = 0;
    for round in 0..60_u64 {
        let wrappers = [start(), start(), start()];
        std::thread::sleep(std::time::Duration::from_micros(500 * (round * 7 % 61)));
        for (index, wrapper) in wrappers.iter().enumerate() {
            if (round >> index) & 1 == 0 {
                continue;
            }
            killed += 1;
            if round % 3 != 0 {
                children_of(wrapper.pid()).into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
            }
            if round % 3 != 1 {
                wrapper.signal(Signal::SIGKILL);
            }
        }
        for wrapper in wrappers {
            let said = wrapper.end();
            let is_expected = matches!(said.code(), Some(0 | 137)) || said.status.signal() == Some(9);
            assert!(is_expected, "round {round}: {said:?}");
        }
    }
    assert!(killed > 60);
    assert_eq!(place.run(&["lock", "a", "-n", "--", "true"]).code(), Some(0));
}

#[test]
fn signals_are_passed_on_and_the_commands_answer_is_the_exit_code() {
    let place = Place::new("lock-signals");
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ALRM", "WINCH", "CONT", "RTMIN+5"] {
        let script = format!(
            "exec $P lock a -- bash -c 'trap \"echo GOT; exit 5\" {signal}; echo READY; while :; do sleep 0.01; done'"
        );
        let mut running = Running::start(&mut place.script(&script));
        running.line("READY");
        let kill = Command::new("bash").args(["-c", &format!("kill -s {signal} {}", running.pid())]).status();
        assert!(kill.unwrap().success());
        let said = running.end();
        assert_eq!((said.code(), said.stdout.matches("GOT").count()), (Some(5), 1), "{signal}: {said:?}");
    }
}

#[test]
fn a_signal_ends_the_wait_and_whoever_waits_looks_killed_by_it() {
    let place = Place::new("lock-wait-signals");
    let (_running, _) = holder(&place, &[]);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGKILL] {
        let waiter = Running::start(&mut place.command(&["lock", "a", "--", "true"]));
        wait_until_somebody_waits(&place);
        waiter.signal(signal);
        let said = waiter.end();
        assert_eq!((said.status.signal(), said.stderr.as_str()), (Some(signal as i32), ""), "{said:?}");
    }
    // One that is ignored does not.
    let mut waiter = Running::start(&mut place.script("trap '' TERM; exec $P lock a -w 300ms -- true"));
    wait_until_somebody_waits(&place);
    waiter.signal(Signal::SIGTERM);
    assert!(waiter.is_running());
    assert_eq!(waiter.end().code(), Some(75));
}

#[test]
fn signals_that_are_ignored_or_blocked_are_so_in_the_command() {
    let place = Place::new("lock-ignored");
    let states = |prefix: &str, ignored: &str| {
        let lines = "grep -E \"^Sig(Blk|Ign)\" /proc/self/status";
        let said = place.shell(&format!("trap '' {ignored}; exec {prefix} sh -c '{lines}'"));
        assert_eq!(said.code(), Some(0), "{said:?}");
        said.stdout
    };
    for ignored in ["HUP", "HUP INT QUIT PIPE TERM USR1 USR2 ALRM TSTP TTIN TTOU CONT WINCH URG"] {
        assert_eq!(states("$P lock a --", ignored), states("nice", ignored));
    }
    let blocked = "python3 -c 'import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1]); os.execvp(sys.argv[1], sys.argv[1:])'";
    let with = |prefix: &str| states(&format!("{blocked} {prefix}"), "HUP");
    assert_eq!(with("$P lock a --"), with("nice"));
}

#[test]
fn a_stop_stops_both_and_the_commands_time_does_not_pass() {
    let place = Place::new("lock-stop");
    let mut command = place.command(&["lock", "a", "-t", "400ms", "--", "sh", "-c", WAITS]);
    // A group of its own with a parent in another: in a group without such a parent SIGTSTP stops nobody.
    let mut running = Running::start(command.process_group(0));
    let pid: u32 = running.line("READY ").trim_start_matches("READY ").parse().unwrap();
    running.signal(Signal::SIGTSTP);
    until("both to be stopped", || (is_stopped(running.pid()) && is_stopped(pid)).then_some(()));
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.signal(Signal::SIGCONT);
    until("both to go on", || (!is_stopped(running.pid()) && !is_stopped(pid)).then_some(()));
    assert_eq!(running.end().code(), Some(124));
    assert!(!runs(pid));
}

#[test]
fn the_terminals_interrupt_reaches_the_command_once() {
    let place = Place::new("lock-terminal");
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        return note("SKIPPED: there is no `script` to make a terminal");
    }
    let inner = "$P lock a -- bash -c 'trap \"echo GOT\" INT; echo READY; for n in 1 2 3 4 5 6 7 8 9; do sleep 0.04; done; exit 5'";
    let mut command = place.script(&format!("script --quiet --flush --return --command {inner:?} /dev/null"));
    let (mut running, mut keyboard) = Running::start_with_stdin(command.env("SHELL", "/bin/bash"));
    running.line("READY");
    keyboard.write_all(b"\x03").unwrap();
    let said = running.end();
    drop(keyboard);
    assert_eq!((said.code(), said.stdout.matches("GOT").count()), (Some(5), 1), "{said:?}");
}
