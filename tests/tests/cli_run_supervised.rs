//! `procession run`: workers that are started again, what becomes of the others, and what they print.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Running, Said, children_of, procession, run, runs, send, until};
use nix::sys::signal::Signal;
use procession_tests::python;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

fn run_sh(options: &str, script: &str) -> Said {
    run(["run"].into_iter().chain(options.split_whitespace()).chain(["--", "sh", "-c", script]))
}

#[test]
fn who_fails_is_started_again_with_the_same_rank_and_told_how_often() {
    let script = "echo $RANK $PROCESSION_ATTEMPT $PROCESSION_RESTARTS; [ $RANK$PROCESSION_ATTEMPT = 11 ] && kill -9 $$; true";
    let said = run_sh("-n 2 --restart on-failure --backoff 1ms..1ms", script);
    let mut lines: Vec<&str> = said.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!((said.code(), lines), (Some(0), vec!["0 1 0", "1 1 0", "1 2 1"]), "{said:?}");
    let told = said.stderr.lines().collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{said:?}");
    assert!(told[0].starts_with("procession: rank 1: killed by SIGKILL after "), "{said:?}");
    assert!(told[0].ends_with("; it is started again in 0.0 s"), "{said:?}");
}

#[test]
fn who_fails_too_often_ends_all_and_is_named_last() {
    let script = "[ $RANK = 1 ] && exit 9; exec sleep 1000";
    let said = run_sh("-n 2 --restart always --max-restarts 2 --within 1h --backoff 1ms..2ms", script);
    assert_eq!(said.code(), Some(9), "{said:?}");
    let last = said.stderr.lines().last().unwrap();
    assert!(last.starts_with("procession: rank 1 failed first: exit code 9 after "), "{said:?}");
    assert!(
        last.ends_with("; start 3 of this rank, and at most 2 restarts within 3600s are allowed"),
        "{said:?}"
    );
}

#[test]
fn all_are_started_again_together_if_one_cannot_go_on_without_the_others() {
    // Rank 0 only ends when it is told to, the first time; rank 1 fails when the other has said something.
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {}; echo $RANK $PROCESSION_ATTEMPT; [ $PROCESSION_ATTEMPT = 2 ] && exit; \
         [ $RANK = 1 ] && {{ until [ -e said ]; do :; done; exit 5; }}; > said; exec sleep 1000",
        directory.path().display()
    );
    let said = run_sh("-n 2 --restart on-failure --restart-scope all --backoff 1ms..1ms", &script);
    let mut lines: Vec<&str> = said.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!((said.code(), lines), (Some(0), vec!["0 1", "0 2", "1 1", "1 2"]), "{said:?}");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
}

#[test]
fn after_a_signal_nobody_is_started_again() {
    let script = "trap 'exit 3' TERM; echo READY $$; while :; do sleep 0.01; done";
    let mut command = procession(["run", "-n", "2", "--restart", "always", "--", "sh", "-c", script]);
    let mut running = Running::start(&mut command);
    (0..2).for_each(|_| drop(running.line("READY ")));
    running.signal(Signal::SIGTERM);
    let said = running.end();
    assert_eq!((said.code(), said.stdout.lines().count()), (Some(3), 2));
    // The shell may tell that its `sleep` was ended.
    assert!(!said.stderr.contains("procession:"), "{said:?}");
}

#[test]
fn what_becomes_of_the_others_and_of_the_exit_code() {
    for (options, script, code) in [
        ("--on-exit stop-always", "[ $RANK = 1 ] && exit 0; exec sleep 1000", 0),
        ("--on-exit stop-always", "[ $RANK = 1 ] && exit 4; exec sleep 1000", 4),
        ("--on-exit ignore", "exit 7", 0),
        ("--on-exit wait --exit max", "exit $((5 + RANK))", 6),
        ("--exit max", "[ $RANK = 1 ] && kill -9 $$; exit 200", 200),
        // One that is started again has not ended for good.
        (
            "--on-exit stop --restart on-failure --backoff 1ms..1ms",
            "[ $RANK$PROCESSION_ATTEMPT = 11 ] && exit 4; sleep 0.2",
            0,
        ),
    ] {
        let said = run_sh(&format!("-n 2 {options}"), script);
        assert_eq!(said.code(), Some(code), "{options}: {said:?}");
    }
}

#[test]
fn an_interrupt_is_passed_on_the_second_ends_and_the_third_kills() {
    let script = "trap 'echo GOT' INT; trap 'echo TOLD' TERM; echo READY $$; while :; do sleep 0.01; done";
    let mut command = procession(["run", "-n", "1", "--", "sh", "-c", script]);
    let mut running = Running::start(&mut command);
    running.line("READY ");
    for said in ["GOT", "TOLD"] {
        running.signal(Signal::SIGINT);
        running.line(said);
    }
    running.signal(Signal::SIGINT);
    assert_eq!(running.end().code(), Some(137));
}

#[test]
fn what_a_worker_has_started_is_told_as_well() {
    let script = "sh -c 'echo CHILD $$; exec sleep 1000' & echo READY $$; wait";
    let mut running = Running::start(&mut procession(["run", "-n", "1", "--", "sh", "-c", script]));
    let pid = |running: &mut Running, what: &str| -> u32 {
        running.line(what).trim_start_matches(what).trim().parse().unwrap()
    };
    let worker = pid(&mut running, "READY");
    let child = children_of(worker).into_iter().next().unwrap();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code(), Some(143));
    until("the worker's child to end", || (!runs(child)).then_some(()));
}

#[test]
fn lines_have_a_prefix_and_come_whole() {
    let script = "for i in 1 2 3 4 5 6 7 8; do printf '%s-' $RANK; printf '%s\\n' $RANK; done; printf end; printf oops >&2";
    let said = run_sh("-n 4 --prefix {rank}/{size}/{attempt}:", script);
    assert_eq!(said.code(), Some(0), "{said:?}");
    for rank in 0..4 {
        let whole = format!("{rank}/4/1:{rank}-{rank}");
        assert_eq!(said.stdout.lines().filter(|&line| line == whole).count(), 8, "{said:?}");
        let unfinished = format!("{rank}/4/1:end");
        assert_eq!(said.stdout.lines().filter(|&line| line == unfinished).count(), 1, "{said:?}");
        assert!(said.stderr.lines().any(|line| line == format!("{rank}/4/1:oops")), "{said:?}");
    }
    assert_eq!(said.stdout.lines().count(), 36);
    // What a worker has left running holds its output open, and is not waited for.
    let said = run_sh("-n 1 --prefix rank", "sleep 1000 & echo $!");
    let left = said.stdout.trim().trim_start_matches("[0] ").parse().unwrap();
    let still_there = runs(left);
    send(left, Signal::SIGKILL);
    assert!(still_there && said.code() == Some(0), "{said:?}");
}

#[test]
fn what_workers_print_goes_into_files_as_it_is_and_only_some_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("new/files");
    let options =
        format!("-n 3 --tee {} --only-ranks 0,2 --restart on-failure --backoff 1ms..1ms", files.display());
    let script = "printf 'a\\0\\377'; echo out $RANK; echo err $RANK >&2; [ $RANK$PROCESSION_ATTEMPT = 11 ] && exit 1; true";
    let mut command =
        procession(["run"].into_iter().chain(options.split(' ')).chain(["--", "sh", "-c", script]));
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = |rank: u8| {
        output.stdout.windows(5).filter(|&text| text == [b"out ", &[b'0' + rank][..]].concat()).count()
    };
    assert_eq!([0, 1, 2].map(shown), [1, 0, 1], "{output:?}");
    let line = |rank: usize| [&b"a\0\xffout "[..], rank.to_string().as_bytes(), b"\n"].concat();
    for (rank, starts) in [(0, 1), (1, 2), (2, 1)] {
        assert_eq!(fs::read(files.join(format!("{rank}.out"))).unwrap(), line(rank).repeat(starts));
        let errors = fs::read_to_string(files.join(format!("{rank}.err"))).unwrap();
        assert_eq!(errors, format!("err {rank}\n").repeat(starts));
    }
    // The next run begins its files anew; what cannot be written is an error.
    let said = run_sh(&format!("-n 1 --tee {}", files.display()), "true");
    assert_eq!((said.code(), fs::read(files.join("0.out")).unwrap().len()), (Some(0), 0));
    let said = run_sh("-n 1 --tee /proc/nowhere", "true");
    assert!(said.code() == Some(125) && said.stderr.contains("/proc/nowhere"), "{said:?}");
    let said = run_sh("-n 2 --only-ranks 2", "true");
    assert!(said.code() == Some(2) && said.stderr.contains("only 0 to 1"), "{said:?}");
}

#[test]
fn a_full_disk_is_an_error_and_costs_no_worker() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("0.out")).unwrap();
    let options = format!("-n 1 --tee {}", directory.path().display());
    let said = run_sh(&options, "echo one; sleep 0.1; echo two");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(125), "one\ntwo\n"), "{said:?}");
    assert!(said.stderr.contains("cannot write what a worker prints"), "{said:?}");
}

#[test]
fn no_worker_is_started_whose_file_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let tee = directory.path().display();
    fs::create_dir(directory.path().join("0.out")).unwrap();
    let options = format!("-n 1 --tee {tee} --restart always --max-restarts 2 --backoff 1ms..1ms");
    let said = run_sh(&options, &format!("touch {tee}/started"));
    assert!(said.code() != Some(0) && said.stderr.contains("0.out: Is a directory"), "{said:?}");
    assert!(!directory.path().join("started").exists());
}

#[test]
fn nobody_who_reads_is_known_to_the_workers() {
    let mut command = procession(["run", "-n", "2", "--prefix", "rank", "--", "yes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = until("the end of all", || child.try_wait().unwrap());
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(141), ""));
}

#[test]
fn lines_for_a_stdout_that_is_not_open_are_an_error() {
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", "$P run -n 1 --prefix rank -- echo hi >&-"]);
    let said = Running::start(bash.env("P", env!("CARGO_BIN_EXE_procession-tested"))).end();
    assert!(said.code() == Some(125) && said.stderr.contains("stdout is not open"), "{said:?}");
}

#[test]
fn variables_of_other_launchers() {
    let said = run_sh("-n 2 --env torch,ompi,slurm", "env; true");
    let has = |line: &str| said.stdout.lines().any(|one| one == line);
    for rank in 0..2 {
        for name in
            ["RANK", "ROLE_RANK", "LOCAL_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "PROCESSION_RANK"]
        {
            assert!(has(&format!("{name}={rank}")), "{name} {said:?}");
        }
    }
    for line in [
        "WORLD_SIZE=2",
        "OMPI_COMM_WORLD_SIZE=2",
        "SLURM_NTASKS=2",
        "MASTER_ADDR=127.0.0.1",
        "TORCHELASTIC_RESTART_COUNT=0",
    ] {
        assert!(has(line), "{line} {said:?}");
    }
    let ports: Vec<&str> = said.stdout.lines().filter(|line| line.starts_with("MASTER_PORT=")).collect();
    assert!(ports.len() == 2 && ports[0] == ports[1] && ports[0].len() > "MASTER_PORT=".len(), "{ports:?}");
    let mut command = procession(["run", "-n", "1", "--env", "torch", "--", "sh", "-c", "echo $MASTER_PORT"]);
    let said = Running::start(command.env("MASTER_PORT", "7")).end();
    assert_eq!(said.stdout, "7\n");
}

#[test]
fn a_report_has_a_line_for_each_event() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report");
    let options =
        format!("-n 1 --restart on-failure --max-restarts 1 --backoff 1ms..1ms --report {}", file.display());
    assert_eq!(run_sh(&options, "exit 6").code(), Some(6));
    let text = fs::read_to_string(&file).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = records.iter().map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "ended", "restarting", "started", "ended", "stopping", "done"]);
    assert!(records.iter().all(|record| record["v"] == 1 && record["kind"] == "run"));
    assert_eq!((&records[1]["code"], &records[3]["attempt"]), (&Value::from(6), &Value::from(2)));
    assert_eq!(
        (&records[6]["exit"], &records[6]["first_failure"]["rank"]),
        (&Value::from(6), &Value::from(0))
    );
}

#[test]
fn what_looks_like_an_option_is_one() {
    for words in [&["--frob", "--", "true"][..], &["--frob", "true"], &["--", "-x"], &["-x"]] {
        let said = run(["run", "-n", "1"].iter().chain(words));
        assert_eq!((said.code(), said.stdout.as_str()), (Some(2), ""), "{words:?}: {said:?}");
    }
    let said = run(["run", "-n", "1", "echo", "--frob", "--", "-n"]);
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "--frob -- -n\n"), "{said:?}");
    for options in ["--backoff 2s..1s", "--prefix worker", "--report fd:x", "--restart-scope some"] {
        assert_eq!(run_sh(&format!("-n 1 {options}"), "true").code(), Some(2), "{options}");
    }
}

#[test]
fn workers_do_not_read_from_a_terminal() {
    // They would be stopped, in their own process groups, and everybody would wait for ever.
    let program = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut command = python();
    command.args(["-c", program, env!("CARGO_BIN_EXE_procession-tested"), "run", "-n", "2", "--", "cat"]);
    let said = Running::start(command.stdin(Stdio::piped()).process_group(0)).end();
    assert_eq!(said.code(), Some(0), "{said:?}");
}

/// What `procession event test` says of the event.
fn is_set(event: &str) -> bool {
    run(["event", "test", event]).code() == Some(0)
}

#[test]
fn an_event_says_when_all_workers_are_ready() {
    let event = format!("up-{}", std::process::id());
    let ready = format!("event:{event}");
    // A line of stdin, which they share, for each that is to be ready.
    let script = "echo STARTED $$; read line; procession event set $PROCESSION_READY; exec sleep 1000";
    let script = script.replace("procession", procession([""; 0]).get_program().to_str().unwrap());
    let arguments = [
        "run",
        "-n",
        "2",
        "--restart",
        "on-failure",
        "--backoff",
        "1ms..1ms",
        "--ready",
        &ready,
        "--",
        "bash",
        "-c",
    ];
    let mut command = procession(arguments);
    let (mut running, mut stdin) = Running::start_with_stdin(command.arg(&script));
    let mut started = || running.line("STARTED ").trim_start_matches("STARTED ").parse::<u32>().unwrap();
    let (first, _second) = (started(), started());
    writeln!(stdin, "one").unwrap();
    assert!(!is_set(&event));
    writeln!(stdin, "two").unwrap();
    assert_eq!(run(["event", "wait", &event, "-w", "30s"]).code(), Some(0));
    // One is missing, until the next of its rank says so.
    send(first, Signal::SIGKILL);
    assert_eq!(run(["event", "wait", &event, "--cleared", "-w", "30s"]).code(), Some(0));
    started();
    writeln!(stdin, "three").unwrap();
    assert_eq!(run(["event", "wait", &event, "-w", "30s"]).code(), Some(0));
    // Whoever promised it is gone, and with it the workers.
    running.signal(Signal::SIGKILL);
    assert_eq!(run(["event", "wait", &event, "--cleared", "-w", "30s"]).code(), Some(0));
    drop(running.end());
    assert_eq!(run(["rm", &event]).code(), Some(0));
    assert_eq!(run(["run", "-n", "1", "--ready", "up", "true"]).code(), Some(2));
}

#[test]
fn who_was_well_for_a_while_is_started_again_after_the_first_wait() {
    let waits = |options: &str| {
        let said = run_sh(
            &format!(
                "-n 1 --restart always --max-restarts 3 --within 1h --backoff 8ms..10s --report fd:1 {options}"
            ),
            "sleep 0.05; exit 1",
        );
        assert_eq!(said.code(), Some(1), "{said:?}");
        let records = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter_map(|record| record["after_seconds"].as_f64()).collect::<Vec<_>>()
    };
    let (grown, first) = (waits(""), waits("--healthy-after 20ms"));
    assert_eq!((grown.len(), first.len()), (3, 3));
    // A quarter more or less, by chance.
    assert!(grown[2] >= 0.024, "{grown:?}");
    assert!(first.iter().all(|&wait| wait <= 0.01), "{first:?}");
}

#[test]
fn workers_are_bound_to_cores_by_turns() {
    let cpus = |options: &str| {
        let said = run_sh(options, "echo $RANK $(grep Cpus_allowed_list /proc/self/status)");
        assert_eq!(said.code(), Some(0), "{said:?}");
        let mut lines: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
        lines.sort_by_key(|line| line.split_once(' ').unwrap().0.parse::<u32>().unwrap());
        lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.trim().to_owned()).collect::<Vec<_>>()
    };
    let all = cpus("-n 1").remove(0);
    assert_eq!(cpus("-n 2 --bind none"), [all.as_str(), &all]);
    let bound = cpus("-n 64 --bind core");
    // Where there is one core alone, it has all CPUs.
    let turns = (1..64).find(|&turn| bound[turn] == bound[0]).unwrap();
    assert!(bound.iter().zip(&bound[turns..]).all(|(one, next)| one == next), "{bound:?}");
    assert!(turns > 1 || bound[0] == all, "{bound:?}");
    assert_eq!(cpus("-n 3 --bind numa").len(), 3);
}
