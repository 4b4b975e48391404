//! `procession run` and what surrounds it: signals it gets and those that are ignored, children that are not
//! its workers, being the first process of a container.
//!
//! What other programs that start a command do is the measure: `nice`, `xargs`, `flock`, `timeout`.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, Said, children_of, procession, run, runs, send, until};
use nix::sys::signal::Signal;
use procession_tests::{can_unshare, is_stopped, note};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Runs a script of `sh` in which `$P` is the command.
fn shell(script: &str) -> Said {
    Running::start(&mut in_shell(script)).end()
}

fn in_shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).env("P", env!("CARGO_BIN_EXE_procession-tested"));
    command.env_remove("PROCESSION_NAMESPACE").stdin(Stdio::null());
    command
}

/// The process ids that lines `READY <pid>` of workers tell.
fn ready(running: &mut Running, number: u32) -> Vec<u32> {
    (0..number).map(|_| running.line("READY ").trim_start_matches("READY ").parse().unwrap()).collect()
}

#[test]
fn children_that_are_no_workers_are_not_waited_for() {
    // The helper ends only when the test has seen that the command did not wait for it.
    let script = "sh -c 'echo HELPER $$; exec sleep 1000' & exec \"$P\" run -n 2 -- sh -c 'exit 3'";
    let mut child = in_shell(script).stdout(Stdio::piped()).spawn().unwrap();
    let status = until("the command to end without the helper", || child.try_wait().unwrap());
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let helper: u32 = line.trim_start_matches("HELPER ").trim().parse().unwrap();
    let still_there = runs(helper);
    send(helper, Signal::SIGKILL);
    assert_eq!(status.code(), Some(3));
    assert!(still_there);
}

#[test]
fn children_that_are_no_workers_and_end_have_no_say() {
    let said = shell("sh -c 'kill -9 $$' & exec \"$P\" run -n 2 -- sleep 0.1");
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_first_process_of_a_container_takes_orphans_and_ends_with_its_workers() {
    if !can_unshare(&["--fork", "--pid", "--mount-proc"]) {
        return;
    }
    // One orphan ends at once, and is a zombie until somebody takes its exit status; the other one never
    // ends.
    let script = "unshare --fork --pid --mount-proc \"$P\" run -n 1 -- sh -c '
        (sh -c \"echo \\$\\$ > $0/orphan; exit 9\" &)
        (sleep 1000 &)
        until [ -s $0/orphan ]; do sleep 0.01; done
        while [ -e /proc/$(cat $0/orphan) ]; do sleep 0.01; done
        exit 3'";
    let directory = tempfile::tempdir().unwrap();
    let script = script.replace("$0", directory.path().to_str().unwrap());
    assert_eq!(shell(&script).code(), Some(3));
}

#[test]
fn the_first_process_of_a_container_passes_signals_on() {
    if !can_unshare(&["--fork", "--pid", "--mount-proc"]) {
        return;
    }
    let script = "exec unshare --fork --pid --mount-proc --kill-child \"$P\" run -n 1 -- \
         sh -c 'trap \"exit 5\" TERM; echo READY $$; while :; do sleep 0.01; done'";
    let mut running = Running::start(&mut in_shell(script));
    running.line("READY");
    let first = children_of(running.pid()).into_iter().next().unwrap();
    send(first, Signal::SIGTERM);
    assert_eq!(running.end().code(), Some(5));
}

#[test]
fn a_real_time_signal_kills_a_worker_as_any_other() {
    // The other worker goes on to its end.
    let said = shell(
        "exec \"$P\" run -n 2 -- bash -c 'if [ $RANK = 1 ]; then kill -s RTMIN+3 $$; fi; sleep 0.1; echo over'",
    );
    assert_eq!((said.code(), said.stdout.as_str()), (Some(128 + 37), "over\n"));
    assert!(said.stderr.contains("rank 1 failed first: killed by signal 37"), "{said:?}");
    assert_eq!(shell("exec \"$P\" run -n 1 -- bash -c 'kill -s 64 $$'").code(), Some(192));
}

/// A shell that can ignore any signal, even those that `sh` resets.
fn ignoring(signals: &str, script: &str) -> Said {
    shell(&format!("trap '' {signals}; {script}"))
}

#[test]
fn exit_statuses_are_known_though_their_signal_was_ignored() {
    let program = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])";
    let run = |script: &str| {
        let mut python = procession_tests::python();
        python.args([
            "-c",
            program,
            env!("CARGO_BIN_EXE_procession-tested"),
            "run",
            "-n",
            "2",
            "--",
            "sh",
            "-c",
            script,
        ]);
        Running::start(&mut python).end()
    };
    assert_eq!(run("exit 4").code(), Some(4));
    assert_eq!(run("true").code(), Some(0));
    let said = run("grep SigIgn /proc/self/status");
    assert!(said.stdout.lines().all(|line| ignored_in(line) & 1 << 16 == 0), "{said:?}");
}

/// The signals of a line `SigIgn: …`.
fn ignored_in(line: &str) -> u64 {
    u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
}

#[test]
fn what_is_ignored_stays_ignored() {
    for signal in ["HUP", "INT", "QUIT", "TERM", "PIPE", "USR1", "ALRM", "TSTP"] {
        let said =
            ignoring(signal, &format!("exec \"$P\" run -n 1 -- sh -c 'kill -{signal} $$; echo survived'"));
        assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "survived\n"), "{signal}: {said:?}");
        // The worker asks that the command gets the signal, and goes on when that has had every chance to end
        // it.
        let script = format!("exec \"$P\" run -n 1 -- sh -c 'kill -{signal} $PPID; echo survived'");
        let said = ignoring(signal, &script);
        assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "survived\n"), "{signal}: {said:?}");
    }
}

#[test]
fn signals_have_in_workers_the_state_that_the_command_was_started_with() {
    let states = |prefix: &str, ignored: &str| {
        let lines = "grep -E \"^Sig(Blk|Ign)\" /proc/self/status";
        let said = ignoring(ignored, &format!("exec {prefix} sh -c '{lines}'"));
        assert_eq!(said.code(), Some(0), "{said:?}");
        said.stdout
    };
    // The shell cannot be told to ignore all of them: numbers 32 and 33 are the C library's.
    for ignored in ["HUP", "HUP INT QUIT PIPE TERM USR1 USR2 ALRM TSTP TTIN TTOU CONT WINCH URG"] {
        assert_eq!(states("\"$P\" run -n 1 --", ignored), states("nice", ignored));
    }
    let blocked = "python3 -c 'import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1]); os.execvp(sys.argv[1], sys.argv[1:])'";
    let with = |prefix: &str| states(&format!("{blocked} {prefix}"), "HUP");
    assert_eq!(with("\"$P\" run -n 1 --"), with("nice"));
}

#[test]
fn a_command_in_the_background_of_a_script_is_not_interrupted() {
    let said = shell("\"$P\" run -n 1 -- sh -c 'kill -INT $PPID $$; kill -QUIT $$; echo survived' & wait $!");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "survived\n"), "{said:?}");
}

#[test]
fn a_demo_keeps_what_is_ignored() {
    let mut command = in_shell("trap '' INT TERM HUP; exec \"$P\" demo ask-user");
    let (mut running, mut user) = Running::start_with_stdin(&mut command);
    running.line("a process is waiting");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        running.signal(signal);
    }
    user.write_all(b"y\n").unwrap();
    let said = running.end();
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
}

#[test]
fn signals_that_ask_something_reach_the_workers_and_end_nothing_else() {
    for signal in ["USR1", "USR2", "ALRM", "WINCH", "CONT", "QUIT", "HUP", "RTMIN+5", "IO", "PWR", "URG"] {
        let script = format!(
            "exec \"$P\" run -n 2 -- bash -c 'trap \"echo GOT; exit 0\" {signal}; echo READY $$; while :; do sleep 0.01; done'"
        );
        let mut running = Running::start(&mut in_shell(&script));
        ready(&mut running, 2);
        let kill = Command::new("bash").args(["-c", &format!("kill -s {signal} {}", running.pid())]).status();
        assert!(kill.unwrap().success());
        let said = running.end();
        assert_eq!((said.code(), said.stdout.matches("GOT").count()), (Some(0), 2), "{signal}: {said:?}");
    }
}

#[test]
fn what_is_closed_needs_no_more_than_its_own_descriptor() {
    for (closed, code) in [("<&-", 0), (">&-", 125), ("2>&-", 0), ("<&- 2>&-", 0)] {
        let said = shell(&format!("exec {closed}; ulimit -n 3; exec \"$P\" --version"));
        assert_eq!(said.code(), Some(code), "{closed}: {said:?}");
    }
}

#[test]
fn a_reader_that_never_reads_does_not_keep_it_from_its_end() {
    let directory = tempfile::tempdir().unwrap();
    // The shell has both ends of the pipe, and reads nothing. What is printed is more than one pipe holds, and less than
    // two do.
    let script = format!(
        "mkfifo {0}; exec 9<>{0} 8>&2; exec \"$P\" run -n 1 --grace 100ms --only-ranks 0 -- \
            sh -c 'head -c 100000 /dev/zero; echo READY >&8; exec sleep 1000' >&9",
        directory.path().join("fifo").display()
    );
    let mut command = in_shell(&script);
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(running.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, "READY\n");
    send(running.id(), Signal::SIGTERM);
    let status = until("the end", || running.try_wait().unwrap());
    line.clear();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(status.code(), Some(125), "{line}");
    assert!(line.starts_with("procession: nobody has read all"), "{line}");
}

#[test]
fn a_stop_stops_the_workers_and_this_and_goes_on_with_both() {
    let script = "echo READY $$; exec sleep 1000";
    let mut command = procession(["run", "-n", "2", "--", "sh", "-c", script]);
    // A group of its own with a parent in another: in a group without such a parent SIGTSTP stops nobody.
    let mut running = Running::start(command.process_group(0));
    let pids = ready(&mut running, 2);
    let all = || pids.iter().copied().chain([running.pid()]);
    running.signal(Signal::SIGTSTP);
    until("all to be stopped", || all().all(is_stopped).then_some(()));
    running.signal(Signal::SIGCONT);
    until("all to go on", || (!all().any(is_stopped)).then_some(()));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code(), Some(143));
}

#[test]
fn a_signal_during_the_start_reaches_all_that_were_started_and_no_more_are() {
    // The signal comes from the first worker, before the command can have started all.
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let script = format!("[ $RANK = 0 ] && kill -{signal} $PPID; exec sleep 1000");
        let said = run(["run", "-n", "2000", "--", "sh", "-c", &script]);
        let number = ["HUP", "INT", "QUIT", "TERM"].iter().position(|&name| name == signal).unwrap();
        assert_eq!(said.code(), Some([129, 130, 131, 143][number]), "{said:?}");
    }
}

#[test]
fn that_some_were_not_started_is_no_success() {
    let script = "trap 'exit 0' TERM; kill -TERM $PPID; while :; do sleep 0.01; done";
    assert_eq!(run(["run", "-n", "2000", "--", "sh", "-c", script]).code(), Some(143));
}

#[test]
fn signals_at_any_moment_of_the_start_end_it() {
    for round in 0..40 {
        let mut command = procession(["run", "-n", "20", "--", "sleep", "1000"]);
        let running = Running::start(&mut command);
        // Later and later, from before main to after the last start.
        std::thread::sleep(std::time::Duration::from_micros(700 * round));
        running.signal(Signal::SIGTERM);
        let said = running.end();
        let before_it_was_heard = std::os::unix::process::ExitStatusExt::signal(&said.status) == Some(15);
        assert!(before_it_was_heard || said.code() == Some(143), "round {round}: {said:?}");
    }
}

#[test]
fn when_one_fails_the_others_go_on_or_are_ended() {
    let fails = "[ $RANK = 1 ] && exit 7; echo READY $$; exec sleep 0.2";
    let said = run(["run", "-n", "3", "--", "sh", "-c", fails]);
    assert_eq!((said.code(), said.stdout.lines().count(), said.stderr.lines().count()), (Some(7), 2, 1));

    let fails = "[ $RANK = 1 ] && exit 7; [ $RANK = 2 ] && kill -STOP $$; exec sleep 1000";
    let said = run(["run", "-n", "3", "--on-exit", "stop", "--", "sh", "-c", fails]);
    assert_eq!(said.code(), Some(7));
    let told: Vec<&str> = said.stderr.lines().collect();
    assert!(
        told[0].starts_with("procession: rank 1: exit code 7") && told[0].ends_with("; the others are ended")
    );
    assert!(told[1].starts_with("procession: rank 1 failed first: exit code 7"), "{said:?}");

    // Whoever does not end is killed.
    let fails = "if [ $RANK = 1 ]; then kill -9 $$; fi; trap '' TERM; while :; do sleep 0.01; done";
    let said = run(["run", "-n", "2", "--on-exit", "stop", "--grace", "10ms", "--", "sh", "-c", fails]);
    assert_eq!(said.code(), Some(137));
    assert_eq!(said.stderr.lines().count(), 2, "{said:?}");
    // A worker that is done stops nobody.
    let done = "[ $RANK = 1 ] && exit 0; exec sleep 0.1";
    let said = run(["run", "-n", "2", "--on-exit", "stop", "--", "sh", "-c", done]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
}

#[test]
fn whoever_was_asked_to_end_may_take_the_time_it_needs() {
    let script = "trap 'trap \"\" TERM; sleep 0.3; exit 0' TERM; [ $RANK = 1 ] && trap - TERM; \
                  echo READY $$; while :; do sleep 0.01; done";
    let mut command =
        procession(["run", "-n", "2", "--on-exit", "stop", "--grace", "1ms", "--", "sh", "-c", script]);
    let mut running = Running::start(&mut command);
    ready(&mut running, 2);
    running.signal(Signal::SIGTERM);
    let said = running.end();
    // The shell may tell that its `sleep` was ended.
    assert!(said.code() == Some(143) && !said.stderr.contains("procession:"), "{said:?}");
}

#[test]
fn at_the_limit_of_processes_there_is_one_error_and_nobody_is_left() {
    let directory = tempfile::tempdir().unwrap();
    if !nix::unistd::geteuid().is_root() {
        return note("SKIPPED: only root can become a user who has no other processes");
    }
    // That user may be unable to see the directory of the build.
    let copy = directory.path().join("procession");
    fs::copy(env!("CARGO_BIN_EXE_procession-tested"), &copy).unwrap();
    std::os::unix::fs::chown(directory.path(), Some(54321), None).unwrap();
    let script = format!(
        "exec prlimit --nproc=6 setpriv --reuid 54321 --regid 54321 --clear-groups {} run -n 100 -- sleep 1000",
        copy.display()
    );
    let said = shell(&script);
    assert_eq!((said.code(), said.stderr.lines().count()), (Some(125), 1), "{said:?}");
    assert!(said.stderr.contains("cannot start worker") && said.stderr.contains("ulimit -u"), "{said:?}");
    let is_theirs =
        |entry: &fs::DirEntry| std::os::unix::fs::MetadataExt::uid(&entry.metadata().unwrap()) == 54321;
    let left = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    assert_eq!(left.filter(|entry| entry.path().join("comm").exists() && is_theirs(entry)).count(), 0);
}

#[test]
fn without_proc_and_without_a_fork_in_another_pid_namespace_it_runs() {
    if can_unshare(&["--mount"]) {
        let said =
            shell("unshare --mount sh -c 'mount -t tmpfs none /proc && exec \"$P\" run -n 2 -- echo here'");
        assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "here\nhere\n"), "{said:?}");
    }
    if can_unshare(&["--pid"]) {
        // One alone: it is the first process there, and none can be started once it has ended.
        let place = Place::new("run-pid");
        for command in ["run -n 1", "lock l"] {
            let said = place.shell(&format!("unshare --pid $P {command} -- echo here"));
            assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "here\n"), "{command}: {said:?}");
        }
    }
}

#[test]
fn without_path_commands_are_found_where_the_system_has_them() {
    let bare = |arguments: &[&str]| {
        let arguments = arguments.iter().map(OsStr::new);
        Running::start(procession(arguments).env_clear()).end()
    };
    let said = bare(&["run", "-n", "1", "--", "echo", "found"]);
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "found\n"), "{said:?}");
    assert_eq!(bare(&["run", "-n", "1", "--", "procession-no-such-command"]).code(), Some(127));
}

#[test]
fn what_cannot_be_run_has_the_code_that_nice_gives_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let make = |name: &str, text: &str, mode: u32| {
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    make("text", "echo from a text without an interpreter line", 0o755);
    make("forbidden", "#!/bin/sh\n", 0o644);
    make("no-interpreter", "#!/no/such/interpreter\n", 0o755);
    fs::create_dir(at("folder")).unwrap();
    std::os::unix::fs::symlink("loop", at("loop")).unwrap();
    let long = "x".repeat(300);
    let commands = ["", "text", "forbidden", "no-interpreter", "folder", "loop", "missing", &long];
    let paths: Vec<String> = commands[1..].iter().map(|name| at(name)).collect();
    let odd = [at("text/below"), "/".to_owned(), "./missing".to_owned()];
    for command in commands.iter().map(|&name| name.to_owned()).chain(paths).chain(odd) {
        let path = format!("/no/such/directory:{}::{}", at("text"), directory.path().display());
        let nice = Running::start(Command::new("/usr/bin/nice").arg(&command).env("PATH", &path)).end();
        let ours = Running::start(procession(["run", "-n", "2", "--", &command]).env("PATH", &path)).end();
        assert_eq!(ours.code(), nice.code(), "{command:?}: {ours:?} {nice:?}");
        assert_eq!(ours.stdout, nice.stdout.repeat(2));
        assert!(command.contains("no-interpreter") || ours.stderr.lines().count() <= 1, "{ours:?}");
    }
}

#[test]
fn workers_have_the_descriptors_that_were_given_and_no_others() {
    let list = "for n in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && echo $n; done > $0; true";
    let directory = tempfile::tempdir().unwrap();
    let seen = |prefix: &str, redirections: &str| {
        let file = directory.path().join("list");
        let file = file.display();
        let said = shell(&format!("{prefix} sh -c '{list}' {file} {redirections}"));
        assert_eq!(said.code(), Some(0), "{said:?}");
        fs::read_to_string(directory.path().join("list")).unwrap()
    };
    for redirections in ["", "5</dev/null 7>/dev/null", "<&-", ">&-", "<&- 2>&-"] {
        assert_eq!(seen("\"$P\" run -n 1 --", redirections), seen("nice", redirections), "{redirections}");
    }
}
