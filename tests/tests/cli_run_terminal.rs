//! `procession run --pty`: workers that print on terminals of their own.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Running, children_of, procession, run, runs, until};
use nix::sys::signal::Signal;
use procession_tests::is_stopped;
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

fn pty(options: &str, script: &str) -> cli::Said {
    run(["run", "--pty"].into_iter().chain(options.split_whitespace()).chain(["--", "sh", "-c", script]))
}

#[test]
fn workers_see_a_terminal_and_what_they_print_comes_as_it_is() {
    let said = pty(
        "-n 2",
        "[ -t 1 ] && [ -t 2 ] && ! [ -t 0 ] && printf '\\033[31m%s\\n' $RANK >&2; tty < /dev/tty",
    );
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    for rank in 0..2 {
        assert!(said.stdout.contains(&format!("\x1b[31m{rank}\n")), "{said:?}");
    }
    assert!(said.stdout.contains("/dev/") && !said.stdout.contains('\r'), "{said:?}");
    let directory = tempfile::tempdir().unwrap();
    let options = format!("-n 1 --prefix rank --tee {}", directory.path().display());
    let said = pty(&options, "echo one; echo two >&2; printf three");
    assert_eq!(said.stdout, "[0] one\n[0] two\n[0] three\n", "{said:?}");
    assert_eq!(fs::read_to_string(directory.path().join("0.out")).unwrap(), "one\ntwo\nthree");
    assert!(!directory.path().join("0.err").exists());
}

#[test]
fn large_outputs_come_whole_and_exit_codes_are_the_workers() {
    let said = pty("-n 1", "seq 100000; exit 7");
    let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(said.stdout == expected, "{} bytes of {}", said.stdout.len(), expected.len());
    assert_eq!(said.code(), Some(7));
    assert!(said.stderr.starts_with("procession: rank 0 failed: exit code 7 after "), "{said:?}");
    // stdin is shared as ever where it is no terminal.
    let (running, stdin) =
        Running::start_with_stdin(&mut procession(["run", "-n", "1", "--pty", "--", "cat"]));
    std::io::Write::write_all(&mut &stdin, b"typed\n").unwrap();
    drop(stdin);
    assert_eq!(running.end().stdout, "typed\n");
}

#[test]
fn who_closes_its_streams_goes_on() {
    let said = pty("-n 1", "exec > /dev/null 2>&1; sleep 0.1; exec > /dev/tty; echo still here; exit 3");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(3), "still here\n"), "{said:?}");
}

/// A terminal of the test's own: its end, and that of a program.
fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
    (ours.into(), theirs.into())
}

#[test]
fn terminals_are_as_wide_as_the_one_on_which_they_are_shown() {
    let (ours, theirs) = terminal();
    let size = |ws_row, ws_col| Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size(30, 100)).unwrap();
    let script = "trap 'stty size < /dev/tty' WINCH; stty size < /dev/tty; while :; do sleep 0.01; done";
    let mut command = procession(["run", "-n", "1", "--pty", "--prefix", "rank", "--", "sh", "-c", script]);
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut lines = BufReader::new(ours.try_clone().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap().trim_end().to_owned();
    // The prefix takes four columns away.
    assert_eq!(line(), "[0] 30 96");
    tcsetwinsize(&theirs, size(40, 60)).unwrap();
    assert_eq!(tcgetwinsize(&ours).unwrap().ws_col, 60);
    cli::send(child.id(), Signal::SIGWINCH);
    assert_eq!(line(), "[0] 40 56");
    cli::send(child.id(), Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn workers_stop_and_go_on_at_their_terminals() {
    // Without another process: a shell that waits for one to be executed, which is stopped, is not itself stopped.
    let script = "echo READY; read line < /dev/tty";
    let mut command = procession(["run", "-n", "1", "--pty", "--", "sh", "-c", script]);
    // A group of its own with a parent in another: in a group without such a parent SIGTSTP stops nobody.
    let mut running = Running::start(command.process_group(0));
    running.line("READY");
    let worker = children_of(running.pid()).into_iter().next().unwrap();
    let both = [running.pid(), worker];
    running.signal(Signal::SIGTSTP);
    until("both to stop", || both.into_iter().all(is_stopped).then_some(()));
    running.signal(Signal::SIGCONT);
    until("both to go on", || (!both.into_iter().any(is_stopped)).then_some(()));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code(), Some(143));
}

#[test]
fn what_a_worker_has_started_ends_with_the_command_that_is_killed() {
    for who in ["run", "worker"] {
        let script = "sleep 1000 & echo READY $$ $!; wait";
        let mut running =
            Running::start(&mut procession(["run", "-n", "1", "--pty", "--", "sh", "-c", script]));
        let line = running.line("READY ");
        let pids: Vec<u32> = line.split(' ').skip(1).map(|pid| pid.parse().unwrap()).collect();
        let killed = if who == "run" { running.pid() } else { pids[0] };
        cli::send(killed, Signal::SIGKILL);
        until("all to end", || (!pids.iter().copied().any(runs)).then_some(()));
        let said = running.end();
        assert_eq!(said.code(), (who == "worker").then_some(137), "{said:?}");
    }
}

#[test]
fn nobody_who_reads_is_known_to_the_workers() {
    let mut command = procession(["run", "-n", "2", "--pty", "--", "yes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = until("the end of all", || child.try_wait().unwrap());
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(141), ""));
}
