//! `procession lock`: exit codes, what is said, what a command finds, and scripts that people write.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, until};
use procession::{Lock, LockError, RLock, RwLock};
use serde_json::Value;
use std::fs;

/// The command of [`hold`] as it is shown.
const HELD: &str = "sh -c echo HELD; exec sleep 1000";

/// Somebody who holds a lock, or permits, until it is told to end.
fn hold(place: &Place, arguments: &[&str]) -> Running {
    let command = ["--", "sh", "-c", "echo HELD; exec sleep 1000"];
    let mut running = Running::start(&mut place.command(&[arguments, &command].concat()));
    running.line("HELD");
    until("the shell to have become what it executes", || {
        let child = *cli::children_of(running.pid()).first()?;
        let command = fs::read_to_string(format!("/proc/{child}/cmdline")).ok()?;
        command.starts_with("sleep").then_some(())
    });
    running
}

/// The code of each script of the table, in which `busy` is held by somebody.
#[test]
fn every_exit_code() {
    let place = Place::new("lock-codes");
    let _holder = hold(&place, &["lock", "busy"]);
    place.shell("$P lock died -- sh -c 'kill -9 $$'");
    fs::write(place.file("nonsense"), "nonsense").unwrap();
    place.shell(&format!("chmod 600 {}", place.file("nonsense").display()));
    let table = [
        ("$P lock free -- true", 0),
        ("$P lock run free -- true", 0),
        ("$P lock free -s -- true", 0),
        ("$P lock test free", 0),
        ("$P lock test nothing", 0),
        ("$P lock test busy", 1),
        ("$P lock release free", 1),
        ("$P lock", 2),
        ("$P lock free", 2),
        ("$P lock free true", 2),
        ("$P lock free --dance -- true", 2),
        ("$P lock a/b -- true", 2),
        ("$P lock free -w ever -- true", 2),
        ("$P lock free --on-owner-died dance -- true", 2),
        ("$P lock break busy", 2),
        ("$P lock free -- sh -c 'exit 7'", 7),
        ("$P lock died --on-owner-died fail -- true", 65),
        ("$P lock died --on-owner-died run=false -- true", 65),
        ("$P lock nested -- $P lock nested -- true", 65),
        ("$P lock release busy", 65),
        ("$P sem busy -c 1 -- true", 65),
        ("$P lock release nothing", 66),
        ("$P lock break nothing --yes", 66),
        ("$P lock busy -n -- true", 75),
        ("$P lock busy -w 0 -- true", 75),
        ("$P lock busy -w 20ms -- true", 75),
        ("$P lock acquire busy -n", 75),
        ("$P lock busy -n -E 3 -- true", 3),
        ("$P lock acquire busy -n -E 0", 0),
        ("PROCESSION_WAIT=0 PROCESSION_CONFLICT_EXIT_CODE=4 $P lock busy -- true", 4),
        ("$P lock free -t 20ms -- sleep 1000", 124),
        (
            "$P lock free -t 20ms --kill-after 10ms -- sh -c 'trap \"\" TERM; while :; do sleep 0.01; done'",
            124,
        ),
        ("$P lock nonsense -- true", 125),
        ("$P lock free -- /etc/passwd", 126),
        ("$P lock free -- procession-no-such-command", 127),
        ("$P lock busy -- procession-no-such-command", 127),
        ("$P lock free --on-owner-died ignore -- sh -c 'kill -9 $$'", 137),
        ("$P lock free --on-owner-died ignore -- sh -c 'kill -TERM $$'", 143),
        ("$P lock free --on-owner-died ignore -- true", 0),
        ("$P help exit-codes", 0),
        ("$P help lock", 0),
    ];
    for (script, code) in table {
        let said = place.shell(script);
        assert_eq!(said.code(), Some(code), "{script}: {said:?}");
        let is_silent = said.stdout.is_empty() || script.contains(" help ");
        assert!(is_silent, "stdout is the command's alone: {script}: {said:?}");
        let says_nothing = (code == 0 || code == 7 || code > 128 || script.contains("lock test"))
            && !script.contains("-E 0");
        assert_eq!(said.stderr.is_empty(), says_nothing, "{script}: {said:?}");
    }
    fs::remove_file(place.file("nonsense")).unwrap();
}

#[test]
fn who_cannot_have_it_is_told_who_holds_it_and_what_place_it_would_have() {
    let place = Place::new("lock-busy");
    let holder = hold(&place, &["lock", "deploy"]);
    let mut waiter = Running::start(&mut place.command(&["lock", "deploy", "--", "true"]));
    let said = until("the waiter to be seen", || {
        let said = place.run(&["lock", "deploy", "-n", "--", "true"]);
        said.stderr.contains("1 waiting").then_some(said)
    });
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let beginning =
        format!("procession: lock \"deploy\" busy: held by {} ({HELD}, {user}) for ", holder.pid());
    assert!(said.stderr.starts_with(&beginning), "{said:?}");
    assert!(said.stderr.ends_with("; 1 waiting, you would be #2\n"), "{said:?}");
    let said = place.run(&["lock", "deploy", "-n", "--json", "--", "true"]);
    let record: Value = serde_json::from_str(&said.stderr).unwrap();
    let error = &record["error"];
    assert_eq!(
        (&record["v"], &error["code"], &error["exit"]),
        (&1.into(), &"not_acquired".into(), &75.into())
    );
    assert_eq!(error["holders"][0]["pid"], holder.pid());
    assert_eq!(error["waiters"][0]["pid"], waiter.pid());
    let said = place.run(&["lock", "test", "deploy", "--json"]);
    let record: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&record["held"], &record["holders"][0]["command"]), (&true.into(), &HELD.into()));
    assert!(waiter.is_running());
}

#[test]
fn a_rust_program_and_a_script_meet_on_one_lock() {
    let place = Place::new("lock-rust");
    let lock = Lock::options().namespace(&place.0).open_or_create("deploy").unwrap();
    {
        let _guard = lock.acquire().unwrap();
        let said = place.run(&["lock", "deploy", "-n", "--", "true"]);
        assert_eq!(said.code(), Some(75), "{said:?}");
        assert!(said.stderr.contains(&format!("held by {} (", std::process::id())), "{said:?}");
    }
    let holder = hold(&place, &["lock", "deploy"]);
    let Err(LockError::WouldBlock(held)) = lock.try_acquire() else { panic!("it is held") };
    assert_eq!(held.holder().unwrap().pid, holder.pid());
    drop(holder);
    // Killed in the middle of its command.
    until("the death to be told", || {
        matches!(lock.acquire(), Err(LockError::OwnerDied { .. })).then_some(())
    });
    drop(lock.recover().unwrap());
    let (recursive, many) = (
        RLock::options().namespace(&place.0).create("recursive").unwrap(),
        RwLock::options().namespace(&place.0).create("many").unwrap(),
    );
    let (one, other) = (recursive.acquire().unwrap(), many.read().unwrap());
    assert_eq!(place.run(&["lock", "recursive", "-n", "--", "true"]).code(), Some(75));
    assert_eq!(place.run(&["lock", "many", "-n", "--", "true"]).code(), Some(75));
    assert_eq!(place.run(&["lock", "many", "-s", "-n", "--", "true"]).code(), Some(0));
    drop((one, other));
    assert_eq!(place.run(&["lock", "recursive", "-n", "--", "true"]).code(), Some(0));
    assert_eq!(place.run(&["lock", "many", "-n", "--", "true"]).code(), Some(0));
}

#[test]
fn a_shared_lock_is_held_by_many_or_by_one_alone() {
    let place = Place::new("lock-shared");
    let one = hold(&place, &["lock", "-s", "cache"]);
    let other = hold(&place, &["lock", "cache", "--shared"]);
    let said = place.run(&["lock", "cache", "-n", "--", "true"]);
    assert_eq!(said.code(), Some(75), "{said:?}");
    for pid in [one.pid(), other.pid()] {
        assert!(said.stderr.contains(&format!("{pid} ({HELD}")), "{said:?}");
    }
    drop((one, other));
    until("readers to be gone", || {
        (place.run(&["lock", "cache", "-n", "--", "true"]).code() == Some(0)).then_some(())
    });
    let _alone = hold(&place, &["lock", "cache"]);
    assert_eq!(place.run(&["lock", "-s", "cache", "-n", "--", "true"]).code(), Some(75));
}

#[test]
fn a_lock_that_nobody_uses_becomes_one_that_can_be_shared() {
    let place = Place::new("lock-kind");
    let kind = || place.json().iter().find(|entry| entry["name"] == "db").unwrap()["kind"].clone();
    assert_eq!(place.run(&["lock", "db", "--", "true"]).code(), Some(0));
    assert_eq!(kind(), "lock");
    // One that is in use is held alone.
    let user = Lock::options().namespace(&place.0).open("db").unwrap();
    let said = place.run(&["lock", "-s", "db", "--", "true"]);
    assert_eq!((said.code(), kind()), (Some(0), "lock".into()), "{said:?}");
    assert!(said.stderr.contains("is held alone this time"), "{said:?}");
    drop(user);
    // What a dead holder has left is not forgotten.
    place.shell("$P lock db -- sh -c 'kill -9 $$'");
    assert_eq!(place.run(&["lock", "-s", "db", "--on-owner-died", "fail", "--", "true"]).code(), Some(65));
    assert_eq!(place.run(&["lock", "-s", "db", "--on-owner-died", "ignore", "--", "true"]).code(), Some(0));
    let said = place.run(&["lock", "-s", "db", "--", "true"]);
    assert_eq!((said.code(), said.stderr.as_str(), kind()), (Some(0), "", "rwlock".into()));
    assert_eq!(place.run(&["lock", "db", "--", "true"]).code(), Some(0));
    // A writer's death, too, is told to those who share.
    place.shell("$P lock db -- sh -c 'kill -9 $$'");
    assert_eq!(place.run(&["lock", "-s", "db", "--on-owner-died", "fail", "--", "true"]).code(), Some(65));
    let repair = ["lock", "-s", "db", "--on-owner-died", "run=exit 0", "--", "true"];
    assert_eq!(place.run(&repair).code(), Some(0));
    assert_eq!(place.run(&["lock", "-s", "db", "--on-owner-died", "fail", "--", "true"]).code(), Some(0));
}

#[test]
fn the_command_has_what_the_caller_gave_it_and_nothing_of_the_lock() {
    let place = Place::new("lock-files");
    let directory = tempfile::tempdir().unwrap();
    let list = "for n in $(seq 0 40); do [ -e /proc/$$/fd/$n ] && echo $n; done > $0; trap > $0.traps; true";
    let seen = |prefix: &str, redirections: &str| {
        let file = directory.path().join("list");
        let said = place.shell(&format!("{prefix} bash -c '{list}' {} {redirections}", file.display()));
        assert_eq!(said.code(), Some(0), "{said:?}");
        [
            fs::read_to_string(&file).unwrap(),
            fs::read_to_string(file.with_extension("traps")).unwrap_or_default(),
        ]
    };
    for redirections in ["", "5</dev/null 7>/dev/null", "<&-", ">&-", "<&- 2>&-"] {
        for prefix in ["$P lock a --", "$P lock -s b --", "$P sem c -c 1 --"] {
            let theirs = seen("nice", redirections);
            assert_eq!(seen(prefix, redirections), theirs, "{prefix} {redirections}");
        }
    }
    let said = place.shell("$P lock a -- sh -c 'echo $PROCESSION_HELD,$PROCESSION_OWNER_DIED'");
    assert_eq!(said.stdout, format!("lock:a@{},\n", place.0.name()));
    // What a dead holder left is said to the command that comes after it, and not to those within.
    place.shell("$P lock a -- sh -c 'kill -9 $$'");
    let said = place.shell(
        "$P lock a --on-owner-died ignore -- sh -c 'echo $PROCESSION_OWNER_DIED; $P lock b -- sh -c \"echo -\\$PROCESSION_OWNER_DIED\"'",
    );
    assert_eq!(said.stdout, "1\n-\n", "{said:?}");
}

#[test]
fn each_holder_has_a_higher_token_than_those_before() {
    let place = Place::new("lock-token");
    let token = |script: &str| place.shell(script).stdout.trim().to_owned();
    let show = "-- sh -c 'echo $PROCESSION_TOKEN'";
    let next = |_| {
        place.shell("$P lock a -- sh -c 'kill -9 $$'");
        token(&format!("$P lock a --on-owner-died ignore {show}")).parse().unwrap()
    };
    let tokens: [u64; 3] = std::array::from_fn(next);
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    let lock: Lock = Lock::options().namespace(&place.0).open("a").unwrap();
    let mine = lock.acquire().unwrap().fencing_token();
    assert!(mine > tokens[2]);
    assert_eq!(token(&format!("$P lock a {show}")), (mine + 1).to_string());
    assert_eq!(token(&format!("$P lock -s b {show}")), "1");
    // Not of several, and not that of whoever holds something around it.
    let script = "$P lock c -- $P with lock:d,lock:e -- sh -c 'echo ${PROCESSION_TOKEN-none}'";
    assert_eq!(token(script), "none");
    let script = "$P lock a --report /dev/stdout -- true";
    let report: Value = serde_json::from_str(&token(script)).unwrap();
    assert_eq!(report["token"], mine + 2);
}

#[test]
fn every_flag_can_be_said_by_the_environment() {
    let place = Place::new("lock-env");
    let _holder = hold(&place, &["lock", "busy"]);
    for (variables, code) in [
        ("PROCESSION_NONBLOCK=1", 75),
        ("PROCESSION_NONBLOCK=1 PROCESSION_CONFLICT_EXIT_CODE=7", 7),
        ("PROCESSION_WAIT=10ms", 75),
        ("PROCESSION_NONBLOCK=1 PROCESSION_SHARED=1", 75),
    ] {
        let said = place.shell(&format!("{variables} $P lock busy -- true"));
        assert_eq!(said.code(), Some(code), "{variables}: {said:?}");
    }
    let said = place.shell("PROCESSION_TIMEOUT=10ms $P lock free -- sleep 1000");
    assert_eq!(said.code(), Some(124), "{said:?}");
    // A report is of the outermost.
    let said = place.shell("PROCESSION_REPORT=/dev/stdout $P lock free -- $P lock other -- true");
    assert_eq!(said.stdout.lines().count(), 1, "{said:?}");
}

#[test]
fn what_the_command_leaves_running_does_not_hold_the_lock() {
    let place = Place::new("lock-daemon");
    let said = place
        .shell("$P lock a -- sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'; $P lock a -n -- true; echo $?");
    let (daemon, code) = said.stdout.trim().split_once('\n').unwrap();
    assert!(cli::runs(daemon.parse().unwrap()));
    cli::send(daemon.parse().unwrap(), nix::sys::signal::Signal::SIGKILL);
    assert_eq!(code, "0", "{said:?}");
}

#[test]
fn a_report_says_what_exit_codes_cannot() {
    let place = Place::new("lock-report");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report");
    let report = |script: &str| -> Value {
        place.shell(&script.replace("FILE", file.to_str().unwrap()));
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap()
    };
    let ended = report("$P lock a --report FILE -- sh -c 'exit 75'");
    assert_eq!((&ended["v"], &ended["acquired"], &ended["code"]), (&1.into(), &true.into(), &75.into()));
    let killed = report("$P lock a --report fd:3 -- sh -c 'kill -9 $$' 3>FILE");
    assert_eq!((&killed["signal"], &killed["exit"]), (&9.into(), &137.into()));
    let _holder = hold(&place, &["lock", "busy"]);
    let busy = report("$P lock busy -n --report FILE -- true");
    assert_eq!((&busy["acquired"], &busy["error"]), (&false.into(), &"not_acquired".into()));
    // Where there cannot be one, nothing is done.
    for place_of_it in ["/nonexistent/report", "/"] {
        let said = place.run(&["lock", "a", "--report", place_of_it, "--", "echo", "RAN"]);
        assert_eq!((said.code(), said.stdout.as_str()), (Some(2), ""), "{said:?}");
    }
    let late = report("$P lock b --report FILE -t 10ms -- sleep 1000");
    assert_eq!((&late["timed_out"], &late["exit"]), (&true.into(), &124.into()));
}

#[test]
fn a_report_goes_behind_what_is_in_an_open_file_and_into_none_of_this_programs_own() {
    let place = Place::new("lock-report-fd");
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let script = "exec 3>FILE; echo before >&3; $P lock a --report fd:3 -- true; echo after >&3; cat FILE";
    let said = place.shell(&script.replace("FILE", log.to_str().unwrap()));
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(matches!(lines[..], ["before", report, "after"] if report.starts_with('{')), "{said:?}");
    // Numbers under which the program itself has opened something by the time of the report.
    let said = place.shell(
        "for n in 3 4 5 6 7 8 9; do $P lock a --report fd:$n -- true; echo $?; done; $P lock a -- true",
    );
    assert_eq!((said.code(), &*said.stdout), (Some(0), &*"2\n".repeat(7)), "{said:?}");
}

#[test]
fn a_lock_is_free_once_it_was_broken() {
    let place = Place::new("lock-broken");
    for _ in 0..20 {
        let command = ["lock", "b", "--", "sh", "-c", "echo HELD; exec sleep 1000"];
        let mut holder = Running::start(&mut place.command(&command));
        holder.line("HELD");
        assert_eq!(place.run(&["lock", "break", "b", "--yes"]).code(), Some(0));
        let said = place.run(&["lock", "b", "-n", "--on-owner-died", "ignore", "--", "true"]);
        assert_eq!(said.code(), Some(0), "{said:?}");
    }
}

#[test]
fn what_a_stopped_keeper_holds_can_be_released() {
    let place = Place::new("lock-stopped-keeper");
    let script =
        "$P lock acquire a && kill -STOP $($P lock test a --json | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')
        $P lock release a && $P lock test a";
    assert_eq!(place.shell(script).code(), Some(0));
}

#[test]
fn whoever_makes_a_lock_a_shared_one_is_in_nobodys_way() {
    let place = Place::new("lock-becomes-shared");
    let script = "
        for round in 1 2 3 4 5 6 7 8 9 10; do
            $P rm x 2>/dev/null; $P lock x -- true
            for one in 1 2 3 4; do
                { $P lock x -s -- true || echo shared $?; } & { $P lock x -- true || echo alone $?; } &
            done
            wait
        done";
    assert_eq!(place.shell(script).stdout, "");
}

// The recipes of the documentation.

#[test]
fn recipe_wait_with_an_answer() {
    let place = Place::new("recipe-1");
    let holder = hold(&place, &["lock", "deploy"]);
    let mut command =
        place.command(&["lock", "run", "deploy", "-w", "5m", "--explain", "--", "echo", "deployed"]);
    let waiter = Running::start(&mut command);
    until("somebody to wait", || {
        place.run(&["lock", "deploy", "-n", "--", "true"]).stderr.contains("1 waiting").then_some(())
    });
    let pid = holder.pid();
    holder.signal(nix::sys::signal::Signal::SIGTERM);
    let said = waiter.end();
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "deployed\n"));
    assert!(said.stderr.contains(&format!("held by {pid} ({HELD}, ")), "{said:?}");
    assert!(said.stderr.contains("this is #1\n"), "{said:?}");
}

#[test]
fn recipe_repair_after_a_killed_writer() {
    let place = Place::new("recipe-3");
    let update = "$P lock run state --on-owner-died run='echo fsck $PROCESSION_OWNER_DIED' -- echo update";
    assert_eq!(place.shell(update).stdout, "update\n");
    place.shell("$P lock run state -- sh -c 'kill -9 $$'");
    // A repair that fails leaves the rest to the next.
    let fails = place.shell("$P lock run state --on-owner-died run='exit 3' -- echo update");
    assert_eq!((fails.code(), fails.stdout.as_str()), (Some(65), ""));
    assert!(fails.stderr.contains("failed with exit code 3"), "{fails:?}");
    assert_eq!(place.shell(update).stdout, "fsck 1\nupdate\n");
    assert_eq!(place.shell(update).stdout, "update\n");
}

#[test]
fn recipe_a_script_lock_without_wrapping() {
    let place = Place::new("recipe-9");
    let script = "$P lock acquire nightly -n || exit 9; sleep 1000 >/dev/null 2>&1 & echo HELD $!; read line";
    let mut command = place.script(script);
    let (mut running, stdin) = Running::start_with_stdin(&mut command);
    let daemon: u32 = running.line("HELD ").trim_start_matches("HELD ").parse().unwrap();
    assert_eq!(place.shell(script).code(), Some(9));
    let said = place.run(&["lock", "nightly", "-n", "--", "true"]);
    assert!(said.stderr.contains(&format!("(kept for {}: bash -c ", running.pid())), "{said:?}");
    drop(stdin);
    assert_eq!(running.end().code(), Some(1));
    until("the lock to go with its shell", || {
        (place.run(&["lock", "nightly", "-n", "--", "true"]).code() == Some(0)).then_some(())
    });
    assert!(cli::runs(daemon));
    cli::send(daemon, nix::sys::signal::Signal::SIGKILL);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nightly");
    let program = env!("CARGO_BIN_EXE_procession-tested");
    let one_line = format!("#!/usr/bin/env -S {program} lock run -n nightly -- bash\necho in $1\n");
    fs::write(&file, one_line).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(place.shell(&format!("{} x", file.display())).stdout, "in x\n");
}

#[test]
fn what_is_acquired_is_held_until_it_is_released_and_leaves_nothing() {
    let place = Place::new("lock-keeper");
    let said = place.shell(
        "$P lock acquire a || exit 1
         $P lock test a && exit 2
         $P lock a -n -- true; [ $? = 65 ] || exit 3
         $P lock acquire a -n 2>/dev/null; [ $? = 65 ] || exit 4
         $P lock release a || exit 5
         $P lock a -n -- true || exit 6
         $P lock acquire -s b && $P lock acquire -s b && $P lock -s b -n -- true || exit 7
         $P lock release b && $P lock b -n -- true || exit 8
         sh -c 'read pid rest < /proc/self/stat; $P lock acquire c --owner $PPID'
         $P lock test c && exit 9
         $P lock release c",
    );
    assert_eq!(said.code(), Some(0), "{said:?}");
    let said = place.run(&["lock", "acquire", "a", "--owner", "4194304"]);
    assert_eq!(said.code(), Some(2), "{said:?}");
}
