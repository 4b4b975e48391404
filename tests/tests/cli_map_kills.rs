//! `procession map` and what ends it or its jobs: kills, signals, the terminal; and the job log, by which another one
//! goes on.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Running, Said, procession, runs, until};
use nix::sys::signal::Signal;
use procession_sys::file_lock::{self, Share};
use procession_tests::{can_unshare, is_stopped, note, skip};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn script_in(directory: &Path, script: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).env("P", env!("CARGO_BIN_EXE_procession-tested"));
    command.env_remove("PROCESSION_NAMESPACE").current_dir(directory).stdin(Stdio::null());
    command
}

fn shell_in(directory: &Path, script: &str) -> Said {
    Running::start(&mut script_in(directory, script)).end()
}

fn map_in(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = procession([&["map"], arguments].concat());
    command.current_dir(directory);
    command
}

/// The lines of a file, if it is there.
fn lines(directory: &Path, file: &str) -> Vec<String> {
    fs::read_to_string(directory.join(file)).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// How often each line is in the file.
fn counts(directory: &Path, file: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    lines(directory, file).into_iter().for_each(|line| *counts.entry(line).or_default() += 1);
    counts
}

/// The inputs of the jobs that are in the log.
fn logged(directory: &Path) -> Vec<String> {
    let commands = lines(directory, "log").into_iter().skip(1);
    let input = |line: String| {
        let command = line.split('\t').nth(8)?.to_owned();
        Some(command.rsplit_once(' ')?.1.to_owned())
    };
    commands.filter_map(input).collect()
}

/// The pid that a line tells.
fn pid_of(line: &str) -> u32 {
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn killed_again_and_again_and_resumed_every_input_is_done_once() {
    const INPUTS: usize = 200;
    const SLOTS: usize = 4;
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let numbers: Vec<String> = (0..INPUTS).map(|number| format!("i{number}")).collect();
    let script = "echo $1 >> begun; sleep 0.00$((RANDOM % 8)); echo $1 >> ended";
    let mut arguments =
        vec!["-j4", "--joblog", "log", "--resume", "-a", "inputs", "--", "bash", "-c", script, "bash"];
    arguments.push("{}");
    let mut kills = 0;
    let mut done_before: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        // In another order each time.
        let mut inputs = numbers.clone();
        inputs.rotate_left(kills * 37 % INPUTS);
        fs::write(directory.join("inputs"), inputs.join("\n")).unwrap();
        let already = logged(directory).len();
        let mut map = Running::start(&mut map_in(directory, &arguments));
        // Long enough for some, and not for all.
        let enough = already + 3 + kills % 17;
        until("some jobs to end, or the map", || {
            (logged(directory).len() >= enough || !map.is_running()).then_some(())
        });
        map.signal(Signal::SIGKILL);
        let said = map.end();
        // What it had in the log, nobody has begun since.
        let begun = counts(directory, "begun");
        for (input, times) in &done_before {
            assert_eq!(begun.get(input), Some(times), "{input} was done, and ran again");
        }
        let all = logged(directory);
        done_before = all.into_iter().map(|input| (input.clone(), begun[&input])).collect();
        if said.status.signal().is_none() {
            assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
            break;
        }
        kills += 1;
        assert!(kills < 1000);
    }
    let once: BTreeMap<String, usize> = numbers.into_iter().map(|input| (input, 1)).collect();
    let mut in_log = BTreeMap::new();
    logged(directory).into_iter().for_each(|input| *in_log.entry(input).or_default() += 1);
    assert_eq!(in_log, once, "each has one line");
    // Only jobs that ran when their map was killed may have run again.
    let ended = counts(directory, "ended");
    assert_eq!(ended.len(), INPUTS);
    let again: usize = ended.values().map(|times| times - 1).sum();
    assert!(kills > 5 && again <= kills * SLOTS, "{again} of {kills}");
    note(&format!("{kills} kills, {again} jobs ran again to their end"));
}

#[test]
fn jobs_die_with_the_map() {
    let directory = tempfile::tempdir().unwrap();
    let script = "echo JOB $$; exec sleep 1000";
    let mut map = Running::start(&mut map_in(
        directory.path(),
        &["-j2", "--line-buffer", "--", "sh", "-c", script, ":::", "a", "b"],
    ));
    let jobs = [map.line("JOB "), map.line("JOB ")].map(|line| pid_of(&line));
    map.signal(Signal::SIGKILL);
    for job in jobs {
        until("the job to die", || (!runs(job)).then_some(()));
    }
}

#[test]
fn jobs_under_permits_die_with_the_map_and_give_them_back() {
    let place = cli::Place::new("map-sem-kill");
    place.shell("$P sem two -c 2 -- true");
    let script = "echo JOB $$; exec sleep 1000";
    let arguments =
        ["map", "-j2", "--sem", "two", "--line-buffer", "--", "sh", "-c", script, ":::", "a", "b"];
    let mut map = Running::start(&mut place.command(&arguments));
    let jobs = [map.line("JOB "), map.line("JOB ")].map(|line| pid_of(&line));
    assert_eq!(place.run(&["sem", "two", "-n", "--", "true"]).code(), Some(75));
    map.signal(Signal::SIGKILL);
    for job in jobs {
        until("the job to die", || (!runs(job)).then_some(()));
    }
    assert_eq!(place.run(&["sem", "two", "-k", "2", "-w", "30s", "--", "true"]).code(), Some(0));
    // What its time ends leaves nothing, and its permits are free at once.
    let said = place.shell("$P map --sem two=2 -t 50ms --json -- sh -c 'sleep 1000 & echo $!; wait' ::: a");
    let record: serde_json::Value = serde_json::from_str(said.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&record["timed_out"], &record["exit"]), (&true.into(), &124.into()), "{said:?}");
    let helper: u32 = record["stdout"].as_str().unwrap().trim().parse().unwrap();
    until("what it started to end", || (!runs(helper)).then_some(()));
}

#[test]
fn a_job_that_is_killed_is_one_that_failed() {
    let directory = tempfile::tempdir().unwrap();
    let script = "[ $1 = b ] && kill -9 $$; echo $1";
    let said =
        shell_in(directory.path(), &format!("$P map -k --joblog log -- sh -c '{script}' sh ::: a b c"));
    assert_eq!((said.code(), said.stdout.as_str()), (Some(123), "a\nc\n"));
    assert!(said.stderr.contains("1 of 3 jobs failed") && said.stderr.contains("SIGKILL"), "{said:?}");
    let log = lines(directory.path(), "log");
    let exits: BTreeSet<Vec<&str>> =
        log[1..].iter().map(|line| line.split('\t').skip(6).take(2).collect()).collect();
    assert_eq!(exits, BTreeSet::from([vec!["0", "0"], vec!["0", "9"]]));
    assert_eq!(log[0], "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand");
    let said = shell_in(
        directory.path(),
        &format!("$P map --joblog log --resume-failed -- sh -c '{script}' sh ::: a b c"),
    );
    assert!(said.stderr.contains("1 of 1 jobs failed"), "{said:?}");
}

#[test]
fn parallel_resumes_by_our_log() {
    if Command::new("parallel").arg("--version").output().is_err() {
        skip("GNU parallel is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = "$P map -j1 --joblog log -- echo ::: a b; HOME=$PWD parallel --joblog log --resume echo ::: a b c 2>/dev/null";
    assert_eq!(shell_in(directory.path(), script).stdout, "a\nb\nc\n");
}

#[test]
fn resuming_goes_by_what_is_done_and_not_by_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let ran = |options: &str, inputs: &str| {
        let script = format!(
            "$P map -k -j1 --joblog log {options} -- sh -c 'echo $1; [ $1 != bad ]' sh ::: {inputs} 2>/dev/null"
        );
        shell_in(directory.path(), &script).stdout.lines().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ran("", "a bad c"), "a bad c");
    assert_eq!(ran("--resume", "c new bad a"), "new");
    assert_eq!(ran("--resume-failed", "new c bad a"), "bad");
    // One that is there twice is two jobs.
    assert_eq!(ran("--resume", "a a"), "a");
    assert_eq!(ran("--resume --dry-run", "a a newer").matches("sh -c").count(), 1);
    assert_eq!(ran("", "a"), "a");
    assert_eq!(lines(directory.path(), "log").len(), 2);
    // Another command is another job.
    let said = shell_in(directory.path(), "$P map --joblog log --resume -- echo ::: a");
    assert_eq!(said.stdout, "a\n");
    let said = shell_in(directory.path(), "$P map --dry-run --joblog +new --resume -- echo ::: a; ls new");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(2), "echo a\n"), "{said:?}");
    let said = shell_in(directory.path(), "$P map --joblog +log -- echo ::: a; wc -l < log");
    assert_eq!(said.stdout, "a\n4\n");
}

#[test]
fn two_maps_do_not_write_one_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut map = Running::start(&mut map_in(
        directory.path(),
        &["--joblog", "log", "--line-buffer", "--", "sh", "-c", "echo RUNS; exec sleep 1000", ":::", "a"],
    ));
    map.line("RUNS");
    let said = shell_in(directory.path(), "$P map --joblog log -- echo ::: a");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(125), ""));
    let writer = format!("another `procession map`, process {}: wait", map.pid());
    assert!(said.stderr.contains(&writer), "{said:?}");
}

#[test]
fn a_map_that_is_killed_lets_go_of_its_log_though_a_job_is_about_to_be_executed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let numbers: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let mut arguments = vec!["-j4", "--joblog", "log", "--", "true", "{}", ":::"];
    arguments.extend(numbers.iter().map(String::as_str));
    // One in four was killed at such a moment.
    for round in 0..40 {
        let mut map = map_in(directory, &arguments).spawn().unwrap();
        until("some jobs to end", || (logged(directory).len() > round % 7).then_some(()));
        map.kill().unwrap();
        map.wait().unwrap();
        let log = fs::OpenOptions::new().read(true).write(true).open(directory.join("log")).unwrap();
        assert!(file_lock::try_lock(&log, 0, Share::Exclusive).unwrap(), "in round {round}");
        drop(log);
        fs::remove_file(directory.join("log")).unwrap();
    }
}

/// A map whose jobs say which signals they get, and end by the third.
fn stubborn(directory: &Path) -> (Running, u32) {
    let script = "trap 'echo INT' INT; trap 'echo TERM' TERM; echo JOB $$; while :; do sleep 0.01; done";
    let mut map = Running::start(&mut map_in(
        directory,
        &["-j1", "--joblog", "log", "--line-buffer", "--", "bash", "-c", script, ":::", "a", "b"],
    ));
    let job = pid_of(&map.line("JOB "));
    (map, job)
}

#[test]
fn interrupts_become_more_urgent_and_what_they_end_is_not_done() {
    let directory = tempfile::tempdir().unwrap();
    let (mut map, job) = stubborn(directory.path());
    map.signal(Signal::SIGINT);
    map.line("INT");
    map.signal(Signal::SIGINT);
    map.line("TERM");
    assert!(runs(job) && map.is_running());
    map.signal(Signal::SIGINT);
    let said = map.end();
    assert!(!runs(job));
    assert_eq!(said.status.signal(), Some(Signal::SIGINT as i32));
    assert!(
        said.stderr.contains("job 1 in slot 1") && said.stderr.contains("a third time SIGKILL"),
        "{said:?}"
    );
    assert_eq!(said.stdout.matches("JOB").count(), 1, "no more is started: {said:?}");
    assert_eq!(lines(directory.path(), "log").len(), 1, "nothing was done");
}

#[test]
fn jobs_that_end_well_after_an_interrupt_are_done() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap 'echo saved; exit 0' INT; echo RUNS; while :; do sleep 0.01; done";
    let mut map = Running::start(&mut map_in(
        directory.path(),
        &["-j1", "--joblog", "log", "--line-buffer", "--", "bash", "-c", script, ":::", "a", "b"],
    ));
    map.line("RUNS");
    map.signal(Signal::SIGINT);
    let said = map.end();
    assert_eq!((said.status.signal(), said.stdout.contains("saved")), (Some(2), true), "{said:?}");
    assert_eq!(lines(directory.path(), "log").len(), 2);
}

#[test]
fn a_termination_ends_the_jobs_and_what_they_started() {
    let directory = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let script = "sleep 1000 & echo HELPER $!; echo JOB $$; wait";
        let mut map = Running::start(&mut map_in(
            directory.path(),
            &["--line-buffer", "--", "sh", "-c", script, ":::", "a"],
        ));
        let pids = [map.line("HELPER "), map.line("JOB ")].map(|line| pid_of(&line));
        map.signal(signal);
        assert_eq!(map.end().status.signal(), Some(signal as i32));
        for pid in pids {
            until("all to end", || (!runs(pid)).then_some(()));
        }
    }
    let (map, job) = stubborn(directory.path());
    map.signal(Signal::SIGTERM);
    map.signal(Signal::SIGTERM);
    assert_eq!(map.end().status.signal(), Some(Signal::SIGTERM as i32));
    assert!(!runs(job));
    // Who wishes no SIGHUP hears none.
    let said =
        shell_in(directory.path(), "trap '' HUP; $P map -- sh -c 'kill -HUP $PPID $$; echo survived' ::: a");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "survived\n"));
}

#[test]
fn who_asks_is_told_what_runs() {
    let directory = tempfile::tempdir().unwrap();
    let script = "echo RUNS; until [ -e go ]; do sleep 0.01; done";
    let mut map = Running::start(&mut map_in(
        directory.path(),
        &["--line-buffer", "--", "sh", "-c", script, ":::", "it's"],
    ));
    map.line("RUNS");
    map.signal(Signal::SIGUSR1);
    map.signal(Signal::SIGUSR2);
    fs::write(directory.path().join("go"), "").unwrap();
    let said = map.end();
    assert!(
        said.stderr.contains("0 of 1 done, 1 running") && said.stderr.contains("job 1 in slot 1, pid "),
        "{said:?}"
    );
}

#[test]
fn time_does_not_pass_for_jobs_that_are_stopped() {
    let directory = tempfile::tempdir().unwrap();
    // Without another process: a shell that waits for one to be executed, which is stopped, is not itself stopped.
    let script = "echo JOB $$; until [ -e go ]; do :; done; echo over";
    // A group of its own with a parent in another: in a group without such a parent SIGTSTP stops nobody.
    let arguments = ["-t", "3s", "--line-buffer", "--", "sh", "-c", script, ":::", "a"];
    let mut map = Running::start(map_in(directory.path(), &arguments).process_group(0));
    let job = pid_of(&map.line("JOB "));
    map.signal(Signal::SIGTSTP);
    until("both to stop", || (is_stopped(map.pid()) && is_stopped(job)).then_some(()));
    // Longer than the job may run: that it is stopped for so long is what is tested.
    let since = std::time::Instant::now();
    until("time to pass", || (since.elapsed() > std::time::Duration::from_millis(3500)).then_some(()));
    fs::write(directory.path().join("go"), "").unwrap();
    map.signal(Signal::SIGCONT);
    let said = map.end();
    assert_eq!((said.code(), said.stdout.contains("over")), (Some(0), true), "{said:?}");
}

#[test]
fn the_terminals_interrupt_reaches_jobs_once() {
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("there is no `script` to make a terminal");
    }
    let directory = tempfile::tempdir().unwrap();
    // What is listed is not what is said.
    let job = "trap \"echo GOT\" INT; echo READY; for n in 1 2 3 4 5 6 7 8 9; do sleep 0.04; done";
    let inner = format!("$P map --progress bar --line-buffer -- bash -c '{job}' ::: a");
    let mut command = script_in(
        directory.path(),
        &format!("script --quiet --flush --return --command {inner:?} /dev/null"),
    );
    let (mut running, mut keyboard) = Running::start_with_stdin(command.env("SHELL", "/bin/bash"));
    until("the job to be ready", || running.line("").contains("READY").then_some(()));
    keyboard.write_all(b"\x03").unwrap();
    let said = running.end();
    drop(keyboard);
    let got = |text: &str| said.stdout.matches(text).count();
    assert_eq!(got("GOT") - got("echo GOT"), 1, "{said:?}");
}

#[test]
fn a_halt_leaves_those_that_it_ended_to_the_next_time() {
    let directory = tempfile::tempdir().unwrap();
    let map = "$P map -j2 --joblog log";
    let script = "[ $1 = bad ] && exit 1; [ -e go ] || exec sleep 1000; echo $1";
    let said = shell_in(
        directory.path(),
        &format!("{map} --halt now,fail=1 -- sh -c '{script}' sh ::: slow bad next"),
    );
    assert_eq!((said.code(), said.stdout.as_str()), (Some(123), ""), "{said:?}");
    assert_eq!(lines(directory.path(), "log").len(), 2);
    let said = shell_in(
        directory.path(),
        &format!(": > go; {map} -k --resume -- sh -c '{script}' sh ::: slow bad next"),
    );
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "slow\nnext\n"));
}

#[test]
fn where_there_can_be_few_processes_or_files_jobs_wait_for_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let said =
        shell_in(directory.path(), "ulimit -n 20; seq 40 | $P map -k -j0 -- sh -c 'sleep 0.05; echo $1' sh");
    let numbers: String = (1..=40).map(|number| format!("{number}\n")).collect();
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), numbers.as_str()), "{said:?}");
    let said = shell_in(directory.path(), "ulimit -n 5; $P map -- echo ::: a");
    assert_eq!(said.code(), Some(125), "{said:?}");
    assert!(said.stderr.contains("ulimit -n"), "{said:?}");
}

#[test]
fn the_first_process_of_a_container_takes_orphans() {
    if !can_unshare(&["--fork", "--pid", "--mount-proc"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let job = "(sh -c \"sleep 0.05; exit 9\" &) ; (sleep 1000 &); echo $1";
    let script = format!("unshare --fork --pid --mount-proc $P map -k -- sh -c '{job}' sh ::: a b c");
    let said = shell_in(directory.path(), &script);
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "a\nb\nc\n"), "{said:?}");
    // Children that are no jobs.
    let said = shell_in(directory.path(), "sh -c 'kill -9 $$' & exec $P map -- sleep ::: 0.05");
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
}
