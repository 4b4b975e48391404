//! `procession run --procfile`: the processes of a Procfile, by name.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, Said, procession, runs, until};
use nix::sys::signal::Signal;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A Procfile in a directory of its own.
fn procfile(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Procfile");
    fs::write(&file, text).unwrap();
    (directory, file)
}

fn run(text: &str, options: &str) -> Said {
    let (directory, file) = procfile(text);
    let mut command = procession(["run", "--procfile"]);
    command.arg(&file).args(options.split_whitespace()).current_dir(directory.path()).env_remove("PORT");
    Running::start(&mut command).end()
}

fn lines(said: &Said) -> Vec<&str> {
    let mut lines: Vec<_> = said.stdout.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn each_line_is_a_worker_whose_name_stands_before_what_it_prints() {
    let text = "# all\nweb: echo $PORT $PS $RANK of ${WORLD_SIZE}\n\nclock:echo \"$PORT: $PS\" | cat\n";
    let said = run(text, "--on-exit wait");
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert_eq!(lines(&said), ["clock | 5100: clock.1", "web   | 5000 web.1 0 of 2"]);
    let said = run(text, "-m web=2 --on-exit wait --prefix {name}/{rank}:");
    assert_eq!(lines(&said), ["web.1/0:5000 web.1 0 of 2", "web.2/1:5001 web.2 1 of 2"], "{said:?}");
    let said = run(text, "--formation all=1,web=0 --prefix none");
    assert_eq!(said.stdout, "5100: clock.1\n", "{said:?}");
}

#[test]
fn when_one_ends_all_end_and_who_failed_first_is_named() {
    let text = "web: exec sleep 1000\nworker: exit 7\n";
    let said = run(text, "");
    assert_eq!(said.code(), Some(7), "{said:?}");
    let told: Vec<&str> = said.stderr.lines().collect();
    assert!(told[0].starts_with("procession: worker: exit code 7 after "), "{said:?}");
    assert!(told[1].starts_with("procession: worker failed first: exit code 7 after "), "{said:?}");
    assert_eq!(run("web: exec sleep 1000\nworker: true\n", "").code(), Some(0));
    // What `run` can do besides.
    let said = run(
        "web: exec sleep 1000\nworker: exit $((4 + PROCESSION_RESTARTS))\n",
        "-m web=1,worker=2 --restart on-failure --max-restarts 1 --within 1h --backoff 1ms..1ms",
    );
    assert_eq!(said.code(), Some(5), "{said:?}");
    assert!(said.stderr.contains("procession: worker.1: exit code 4 after"), "{said:?}");
    assert!(said.stderr.lines().last().unwrap().starts_with("procession: worker."), "{said:?}");
}

#[test]
fn what_is_no_procfile_is_said_with_its_line() {
    for (text, options, code, said) in [
        ("web: true\nworker\n", "", 2, "line 2 is not NAME: COMMAND"),
        ("web: true\nweb: false\n", "", 2, "line 2 names \"web\" a second time"),
        ("# nothing\n", "", 2, "it names no process that is to run"),
        ("web: true\n", "-m web=0", 2, "it names no process that is to run"),
        ("web: true\n", "-m worker=1", 2, "there is no \"worker\": it has web"),
        ("web: true\n", "-m web=200000", 2, "at most 100000"),
        ("web: true\n", "-m web", 2, "write NAME=N"),
        ("web: true\n", "-n 2", 2, "cannot be used with"),
        ("web: true\n", "-- true", 2, "cannot be used with"),
    ] {
        let ended = run(text, options);
        assert!(ended.code() == Some(code) && ended.stderr.contains(said), "{text:?} {options}: {ended:?}");
        assert_eq!(ended.stdout, "");
    }
    let said = cli::run(["run", "--procfile", "/nonexistent/Procfile"]);
    assert!(
        said.code() == Some(125) && said.stderr.contains("/nonexistent/Procfile: No such file"),
        "{said:?}"
    );
    assert_eq!(cli::run(["run", "-m", "web=1", "-n", "1", "--", "true"]).code(), Some(2));
    assert_eq!(cli::run(["run", "--", "true"]).code(), Some(2));
}

#[test]
fn workers_are_named_in_files_in_reports_and_in_orders() {
    let place = Place::new("procfile");
    let (directory, file) =
        procfile("web: echo READY; exec sleep 1000\nclock: echo READY; exec sleep 1000\n");
    let report = directory.path().join("report");
    let tee = directory.path().join("said");
    let mut command = place.command(&["run", "--name", "all", "-m", "web=2,clock=1", "--procfile"]);
    command.arg(&file).arg("--tee").arg(&tee).arg("--report").arg(&report);
    let running = Running::start(&mut command);
    for name in ["web.1", "web.2", "clock"] {
        until("its file", || {
            (fs::read_to_string(tee.join(format!("{name}.out"))).ok()? == "READY\n").then_some(())
        });
    }
    let status = place.run(&["ctl", "all", "status"]);
    assert!(status.stdout.contains("\n  web.2, rank 1, pid "), "{status:?}");
    let restarted = place.run(&["ctl", "all", "restart", "web", "clock"]);
    assert_eq!(restarted.code(), Some(0), "{restarted:?}");
    until("others", || {
        let text = fs::read_to_string(&report).ok()?;
        let starts = |name: &str| {
            let records =
                text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            records.filter(|record| record["event"] == "started" && record["name"] == name).count()
        };
        ["web.1", "web.2", "clock"].into_iter().all(|name| starts(name) == 2).then_some(())
    });
    let wrong = place.run(&["ctl", "all", "signal", "USR1", "worker"]);
    assert!(wrong.code() == Some(2) && wrong.stderr.contains("there is no worker \"worker\""), "{wrong:?}");
    assert_eq!(place.run(&["ctl", "all", "signal", "KILL", "web.2"]).code(), Some(0));
    let said = running.end();
    assert_eq!(said.code(), Some(137), "{said:?}");
    assert!(
        said.stderr.lines().last().unwrap().starts_with("procession: web.2 failed first: killed by SIGKILL"),
        "{said:?}"
    );
}

#[test]
fn all_die_with_the_command_that_is_killed() {
    let (_directory, file) =
        procfile("web: echo READY $$; exec sleep 1000\nclock: echo READY $$; sleep 1000; true\n");
    let mut command = procession(["run", "--prefix", "none", "--procfile"]);
    let mut running = Running::start(command.arg(&file));
    let pid = |line: String| line.trim_start_matches("READY ").parse::<u32>().unwrap();
    let pids = [running.line("READY "), running.line("READY ")].map(pid);
    running.signal(Signal::SIGKILL);
    until("the workers to die", || (!pids.into_iter().any(runs)).then_some(()));
}
