//! `procession queue work` and leases of the command: who has an item, and that it comes back at once from whoever is
//! killed, and not before what works on it has ended. That no two commands ever have one item, the commands themselves find out.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, Said, children_of, runs, send, until};
use nix::sys::signal::Signal;
use procession::JoinableQueue;
use procession_tests::{Dice, note};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

procession::test_support!();

fn put(place: &Place, items: &[&str]) {
    let said = place.run(&[&["queue", "put", "q", "--"], items].concat());
    assert_eq!(said.code(), Some(0), "{said:?}");
}

fn state(place: &Place) -> Value {
    let said = place.run(&["queue", "len", "q", "--json"]);
    serde_json::from_str(&said.stdout).unwrap()
}

/// How many items are there, leased, and dead.
fn counts(place: &Place) -> [u64; 3] {
    let state = state(place);
    ["len", "leased", "dead"].map(|name| state[name].as_u64().unwrap())
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A worker whose command says its pid and item, and then waits to be killed.
const WAITS: &str = "echo READY $$ {} $PROCESSION_ATTEMPT; exec sleep 1000";

/// A worker that has an item, its command's pid, and what the command has said.
fn worker(place: &Place, options: &[&str]) -> (Running, u32, String) {
    let arguments = [&["queue", "work", "q"], options, &["--", "sh", "-c", WAITS]].concat();
    let mut running = Running::start(&mut place.command(&arguments));
    let line = running.line("READY ");
    let pid = line.split(' ').nth(1).unwrap().parse().unwrap();
    (running, pid, line.split(' ').skip(2).collect::<Vec<_>>().join(" "))
}

/// Says in the file `twice` if another command that lives has `$1`. One that has ended, and waits to be reaped, lives no
/// more. Who has it stands in a file that comes whole, whenever its writer is killed.
const JUDGE: &str = "echo $$ > \"$1.$$\"; if ! ln \"$1.$$\" \"$1.by\" 2>/dev/null; then read other < \"$1.by\"
    if read -r _ _ state _ < /proc/$other/stat; then case $state in Z|X) ;; *) echo \"$1\" >> twice;; esac; fi 2>/dev/null
    mv -f \"$1.$$\" \"$1.by\"; fi";

/// Recipe 6: a work queue between unrelated scripts.
#[test]
fn a_work_queue_between_unrelated_scripts_loses_nothing() {
    let place = Place::new("recipe-queue");
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for n in 0..30 {
        fs::write(path(&format!("{n} a.wav")), "sound").unwrap();
    }
    fs::write(path("poison.wav"), "noise").unwrap();
    let encode = "[ \"$1\" = ./poison.wav ] && exit 3; sleep 0.0$((PROCESSION_ITEM % 10))
        mv \"$1\" \"${1%.wav}.mp3\"; echo \"$1\" >> done";
    fs::write(path("encode"), format!("#!/bin/sh\n{JUDGE}\n{encode}\n")).unwrap();
    let script = format!(
        "cd '{}'; chmod +x encode; find . -name '*.wav' -print0 | $P queue put enc -0",
        directory.path().display()
    );
    assert_eq!(place.shell(&script).code(), Some(0));
    let work = format!(
        "cd '{}'; exec $P queue work enc -j4 --lease 5m --retries 3 --until-empty -- ./encode {{}}",
        directory.path().display()
    );
    let [one, two] = [(), ()].map(|()| Running::start(&mut place.script(&work)));
    until("some to be done", || (lines(&path("done")).len() > 5).then_some(()));
    one.signal(Signal::SIGKILL);
    let said = two.end();
    drop(one);
    assert!(matches!(said.code(), Some(0 | 123)), "{said:?}");
    let mut done = lines(&path("done"));
    let count = done.len();
    done.sort();
    done.dedup();
    assert_eq!((done.len(), lines(&path("twice"))), (30, vec![]), "{said:?}");
    note(&format!("{} of 30 were worked on again", count - 30));
    let said = place.run(&["queue", "dead", "enc", "--json"]);
    let letter: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&letter["item"], &letter["attempt"]), (&json!("./poison.wav"), &json!(4)));
    assert_eq!(place.run(&["queue", "retry", "enc"]).code(), Some(0));
    assert_eq!(place.run(&["queue", "len", "enc"]).stdout, "1\n");
}

#[test]
fn the_item_stands_where_it_is_to_and_the_command_knows_which_it_is() {
    let place = Place::new("work-words");
    let work = |options: &[&str], command: &[&str], items: &[&str]| {
        put(&place, items);
        let arguments = [&["queue", "work", "q", "--until-empty"], options, &["--"], command].concat();
        let said = place.run(&arguments);
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
        said.stdout
    };
    assert_eq!(work(&[], &["echo", "<{}>", "{}{}"], &["a b", "$(id)"]), "<a b> a ba b\n<$(id)> $(id)$(id)\n");
    assert_eq!(work(&[], &["printf", "[%s]"], &["a b", "-n"]), "[a b][-n]\n");
    assert_eq!(work(&["--stdin"], &["sh", "-c", "cat; echo \"| {} $#\"", "sh"], &["a\nb"]), "a\nb| {} 0\n");
    // Nobody reads what is this process's.
    assert_eq!(work(&[], &["sh", "-c", "cat; echo ."], &["x"]), ".\n");
    let shown = work(
        &[],
        &[
            "sh",
            "-c",
            "echo $PROCESSION_QUEUE $PROCESSION_ITEM $PROCESSION_ATTEMPT $PROCESSION_SLOT ${#PROCESSION_TOKEN} $PROCESSION_NAMESPACE",
        ],
        &["x"],
    );
    assert_eq!(shown, format!("q 7 1 1 16 {}\n", place.0.name()));
    // Its own command decides by the token.
    let own = "procession_tested=$1; $1 queue ack q $PROCESSION_ITEM $PROCESSION_TOKEN";
    work(&[], &["sh", "-c", own, "sh", env!("CARGO_BIN_EXE_procession-tested")], &["x"]);
    assert_eq!(counts(&place), [0, 0, 0]);
    // JSON strings as their text.
    assert_eq!(place.run(&["queue", "create", "j", "--codec", "json"]).code(), Some(0));
    let script = "$P queue put j -s 'a \"b\"'; $P queue put j '{\"x\":1}'
        $P queue work j -r --until-empty -- echo";
    assert_eq!(place.shell(script).stdout, "a \"b\"\n{\"x\":1}\n");
}

#[test]
fn what_fails_is_tried_again_and_then_a_dead_letter() {
    let place = Place::new("work-fails");
    let report = tempfile::NamedTempFile::new().unwrap();
    let report = report.path().to_str().unwrap();
    for jobs in ["1", "3"] {
        put(&place, &["ok", "second", "never"]);
        let command = "case {} in ok) ;; second) [ $PROCESSION_ATTEMPT = 2 ];; *) kill -9 $$;; esac";
        let arguments =
            ["queue", "work", "q", "-j", jobs, "--retries", "2", "--until-empty", "--report", report, "--"];
        let said = place.run(&[&arguments[..], &["sh", "-c", command]].concat());
        assert_eq!(said.code(), Some(123), "{said:?}");
        assert_eq!(said.stderr.matches("it is tried again").count(), 3, "{said:?}");
        assert!(said.stderr.contains("was ended by SIGKILL: it is a dead letter"), "{said:?}");
        assert!(said.stderr.ends_with("`procession queue retry q` tries them again\n"), "{said:?}");
        let record: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
        let [done, retried, failed, exit] =
            ["done", "retried", "failed", "exit"].map(|name| record[name].as_u64());
        assert_eq!([done, retried, failed, exit], [2, 3, 1, 123].map(Some), "{record}");
        assert_eq!(counts(&place), [0, 0, 1]);
        assert_eq!(place.run(&["queue", "dead", "q", "--discard"]).code(), Some(0));
    }
    // What no argument can be is one at once.
    let script = "printf 'a\\0b\\n' | $P queue put q; head -c 200000 /dev/zero | tr '\\0' x | $P queue put q
        $P queue work q --until-empty -- echo; $P queue len q --json";
    let said = place.shell(script);
    assert!(
        said.stderr.contains("has a zero byte in it") && said.stderr.contains("longer than an argument"),
        "{said:?}"
    );
    assert!(said.stdout.contains("\"dead\":2"), "{said:?}");
}

#[test]
fn a_command_that_cannot_be_run_is_not_the_items_fault() {
    let place = Place::new("work-not-found");
    put(&place, &["x"]);
    for jobs in ["1", "2"] {
        let said = place.run(&["queue", "work", "q", "-j", jobs, "--", "procession-no-such-command"]);
        assert_eq!(said.code(), Some(127), "{said:?}");
        // Only the item says which command it is.
        let said =
            place.run(&["queue", "work", "q", "-j", jobs, "--until-empty", "--", "procession-no-such-{}"]);
        assert_eq!(said.code(), Some(127), "{said:?}");
        assert_eq!(said.stderr.matches("not found").count(), if jobs == "1" { 1 } else { 2 }, "{said:?}");
    }
    let said = place.run(&["queue", "get", "q", "--json"]);
    let item: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(item["attempt"], 1, "nobody has tried it");
}

#[test]
fn the_item_of_a_killed_command_is_tried_again_at_once() {
    let place = Place::new("work-kill-command");
    put(&place, &["x"]);
    let (mut running, command, said) = worker(&place, &[]);
    assert_eq!((said.as_str(), counts(&place)), ("x 1", [0, 1, 0]));
    send(command, Signal::SIGKILL);
    assert!(running.line("READY ").ends_with(" x 2"));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().status.signal(), Some(15));
    // The one that was told to end has not been tried.
    let (_running, _, said) = worker(&place, &[]);
    assert_eq!(said, "x 2");
}

#[test]
fn the_item_of_a_killed_worker_is_somebody_elses_at_once_and_its_command_ends() {
    let place = Place::new("work-kill-worker");
    for jobs in ["1", "2"] {
        put(&place, &["x"]);
        let (running, command, _) = worker(&place, &["-j", jobs]);
        let mut waits = Running::start(&mut place.command(&["queue", "work", "q", "--", "sh", "-c", WAITS]));
        running.signal(Signal::SIGKILL);
        let line = waits.line("READY ");
        assert!(line.ends_with(" x 2"), "{line}");
        assert!(!runs(command), "two commands had one item");
        waits.signal(Signal::SIGKILL);
        drop((running, waits));
        until("the item to be back", || {
            let said = place.run(&["queue", "get", "q", "-n"]);
            (said.stdout == "x\n").then_some(())
        });
    }
}

#[test]
fn a_command_that_survives_its_worker_keeps_the_item_until_it_ends() {
    let place = Place::new("work-survivor");
    put(&place, &["x"]);
    let arguments = ["queue", "work", "q", "--", "setpriv", "--pdeathsig", "clear", "sh", "-c", WAITS];
    let mut running = Running::start(&mut place.command(&arguments));
    let line = running.line("READY ");
    let survivor: u32 = line.split(' ').nth(1).unwrap().parse().unwrap();
    running.signal(Signal::SIGKILL);
    until("the worker to end", || (!runs(running.pid())).then_some(()));
    for _ in 0..5 {
        assert_eq!(place.run(&["queue", "get", "q", "-w", "0.1"]).code(), Some(75));
    }
    assert!(runs(survivor));
    let waits = Running::start(&mut place.command(&["queue", "get", "q"]));
    send(survivor, Signal::SIGKILL);
    assert_eq!(waits.end().stdout, "x\n");
}

#[test]
fn one_of_several_workers_that_is_killed_is_replaced() {
    let place = Place::new("work-kill-one");
    put(&place, &["x"]);
    let (mut running, command, _) = worker(&place, &["-j", "2"]);
    let is_of = |worker: &u32| children_of(*worker).contains(&command);
    let victim = children_of(running.pid()).into_iter().find(is_of).unwrap();
    send(victim, Signal::SIGKILL);
    assert!(running.line("READY ").ends_with(" x 2"));
    assert!(!runs(command));
    until("another worker", || (children_of(running.pid()).len() == 2).then_some(()));
    running.signal(Signal::SIGTERM);
    let said = running.end();
    assert!(said.stderr.contains("was ended by SIGKILL: another takes its place"), "{said:?}");
    assert_eq!((said.status.signal(), counts(&place)), (Some(15), [1, 0, 0]));
}

#[test]
fn signals_end_the_work_and_the_items_are_back_untried() {
    let place = Place::new("work-signals");
    for (jobs, signal) in [("1", Signal::SIGTERM), ("3", Signal::SIGINT), ("3", Signal::SIGHUP)] {
        put(&place, &["x", "y"]);
        let (running, command, _) = worker(&place, &["-j", jobs]);
        running.signal(signal);
        let said = running.end();
        assert_eq!((said.status.signal(), said.stderr.as_str()), (Some(signal as i32), ""), "{said:?}");
        assert!(!runs(command));
        let items = place.run(&["queue", "drain", "q", "--json"]);
        let attempts: Vec<u64> = items
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["attempt"].as_u64().unwrap())
            .collect();
        assert_eq!(attempts, [1, 1]);
    }
    // While it waits for an item.
    for jobs in ["1", "2"] {
        let mut command = place.command(&["queue", "work", "q", "-j", jobs, "--", "true"]);
        let running = Running::start(&mut command);
        let workers: usize = jobs.parse().unwrap();
        until("it to wait", || {
            let waits =
                place.json().iter().any(|object| object["waiters"].as_array().unwrap().len() == workers);
            waits.then_some(())
        });
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end().status.signal(), Some(15));
    }
    // Another signal is the command's.
    put(&place, &["x"]);
    let script = "trap 'echo GOT; exit 0' USR1; echo READY $$; while :; do sleep 0.01; done";
    let mut running = Running::start(&mut place.command(&[
        "queue",
        "work",
        "q",
        "--until-empty",
        "--",
        "sh",
        "-c",
        script,
    ]));
    running.line("READY ");
    running.signal(Signal::SIGUSR1);
    let said = running.end();
    assert_eq!((said.code(), said.stdout.ends_with("GOT\n")), (Some(0), true), "{said:?}");
}

#[test]
fn a_command_that_takes_too_long_is_ended() {
    let place = Place::new("work-lease");
    put(&place, &["x"]);
    let work = ["queue", "work", "q", "--until-empty", "--retries", "0"];
    let said = place.run(&[&work[..], &["--lease", "0.05", "--", "sh", "-c", "exec sleep 1000"]].concat());
    assert!(said.code() == Some(123) && said.stderr.contains("ran for longer than it may"), "{said:?}");
    // The queue's own time, which does not take it away before the command has ended.
    assert_eq!(
        place.run(&["queue", "create", "r", "--lease", "0.05", "--max-attempts", "1"]).code(),
        Some(0)
    );
    assert_eq!(place.run(&["queue", "put", "r", "x"]).code(), Some(0));
    let stubborn =
        "trap '' TERM; echo READY; i=0; while [ $i -lt 50 ]; do sleep 0.01; i=$((i+1)); done; exit 1";
    let arguments =
        ["queue", "work", "r", "--until-empty", "--kill-after", "1000", "--", "sh", "-c", stubborn];
    let mut running = Running::start(&mut place.command(&arguments));
    running.line("READY");
    assert_eq!(place.run(&["queue", "get", "r", "-w", "0.2"]).code(), Some(75));
    let said = running.end();
    assert!(said.code() == Some(123) && said.stderr.contains("ran for longer than it may"), "{said:?}");
}

#[test]
fn who_ends_when_it_is_empty_waits_for_what_others_have() {
    let place = Place::new("work-until-empty");
    put(&place, &["x"]);
    let (running, _, _) = worker(&place, &[]);
    let mut second = place.command(&["queue", "work", "q", "--until-empty", "--", "echo", "DID"]);
    let mut second = Running::start(&mut second);
    let mut third =
        Running::start(&mut place.command(&["queue", "work", "q", "--until-empty", "-j2", "--", "true"]));
    // The first, the second, the third and its two workers.
    let are_there = || place.run(&["ps"]).stdout.lines().count() >= 6;
    until("all to be there", || are_there().then_some(()));
    assert!(second.is_running() && third.is_running());
    running.signal(Signal::SIGKILL);
    assert_eq!((second.end().code(), third.end().code()), (Some(0), Some(0)));
    assert_eq!(counts(&place), [0, 0, 0]);
    // Those that wait for more end when it is closed.
    let running = Running::start(&mut place.command(&["queue", "work", "q", "-j2", "--", "echo"]));
    put(&place, &["y"]);
    assert_eq!(place.run(&["queue", "close", "q"]).code(), Some(0));
    let said = running.end();
    assert_eq!((said.code(), said.stdout.as_str(), said.stderr.as_str()), (Some(0), "y\n", ""));
}

/// Leases an item for the shell that waits at a FIFO; the shell, and the record.
fn leased(place: &Place, directory: &Path, options: &str) -> (Running, Value) {
    let fifo = directory.join("fifo");
    drop(fs::remove_file(&fifo));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("$P queue get q --json {options}; echo $$ > '{}'; exec sleep 1000", fifo.display());
    let mut shell = Running::start(&mut place.script(&script));
    let line = shell.line("{");
    // Once it has said so, `queue get` has ended.
    fs::read_to_string(&fifo).unwrap();
    (shell, serde_json::from_str(&line).unwrap())
}

fn keeper(place: &Place) -> Option<u32> {
    let queue = place.json().into_iter().find(|object| object["name"] == "q")?;
    u32::try_from(queue["holders"].as_array()?.first()?["pid"].as_u64()?).ok()
}

/// The arguments of `ack` and the like.
fn told(place: &Place, verb: &str, record: &Value, more: &[&str]) -> Said {
    let (id, token) = (record["id"].to_string(), record["token"].as_str().unwrap());
    place.run(&[&["queue", verb, "q", &id, token], more].concat())
}

#[test]
fn what_is_leased_for_a_process_is_back_when_that_ends() {
    let place = Place::new("lease-owner");
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(place.run(&["queue", "create", "q", "--max-attempts", "0"]).code(), Some(0));
    put(&place, &["x"]);
    let rounds =
        [("owner", "--owner $$"), ("owner", "--lease 0"), ("keeper", "--lease 1h"), ("told", "--owner $$")];
    for (round, (victim, options)) in rounds.into_iter().enumerate() {
        let (shell, record) = leased(&place, directory.path(), options);
        assert_eq!((&record["item"], &record["attempt"]), (&json!("x"), &json!(2 * round + 1)));
        assert_eq!(counts(&place), [0, 1, 0]);
        let keeper = keeper(&place).unwrap();
        let kept = format!("held by    {keeper} (kept for {}: sleep 1000", shell.pid());
        until("the shell to be shown", || place.run(&["inspect", "q"]).stdout.contains(&kept).then_some(()));
        let waits = Running::start(&mut place.command(&["queue", "get", "q", "--json", "--owner", "1"]));
        match victim {
            "owner" => shell.signal(Signal::SIGKILL),
            "keeper" => send(keeper, Signal::SIGKILL),
            _ => send(keeper, Signal::SIGTERM),
        }
        let said = waits.end();
        let record: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(record["attempt"], 2 * round + 2, "{victim}");
        until("the keeper to end", || (!runs(keeper)).then_some(()));
        assert_eq!(told(&place, "nack", &record, &[]).code(), Some(0));
        assert_eq!(counts(&place), [1, 0, 0]);
    }
}

#[test]
fn an_acknowledgement_needs_the_token_and_is_heard_once() {
    let place = Place::new("lease-ack");
    let directory = tempfile::tempdir().unwrap();
    put(&place, &["x", "y", "z"]);
    let (_shell, record) = leased(&place, directory.path(), "--owner $$");
    let keeper = keeper(&place).unwrap();
    let mut wrong = record.clone();
    wrong["token"] = json!("0123456789abcdef");
    assert_eq!(told(&place, "ack", &wrong, &[]).code(), Some(76));
    assert_eq!(told(&place, "extend", &record, &["--lease", "1h"]).code(), Some(0));
    assert_eq!(told(&place, "ack", &record, &[]).code(), Some(0));
    until("the keeper to end, which has nothing to keep", || (!runs(keeper)).then_some(()));
    for verb in ["ack", "nack", "extend"] {
        let said = told(&place, verb, &record, &["--json"]);
        let error: Value = serde_json::from_str(&said.stderr).unwrap();
        assert_eq!((said.code(), &error["error"]["code"]), (Some(76), &json!("lease_lost")), "{verb}");
    }
    // Several by one keeper, which stays for the last.
    let said = place.shell("$P queue get q -c 9 --json --owner $PPID");
    let all: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keeper = self::keeper(&place).unwrap();
    assert_eq!((all.len(), counts(&place)), (2, [0, 2, 0]));
    assert_eq!(told(&place, "nack", &all[0], &["--dead"]).code(), Some(0));
    assert!(runs(keeper) && counts(&place) == [0, 1, 1]);
    assert_eq!(told(&place, "ack", &all[1], &[]).code(), Some(0));
    until("the keeper to end", || (!runs(keeper)).then_some(()));
    assert_eq!(counts(&place), [0, 0, 1]);
}

#[test]
fn a_lease_ends_with_its_time_and_can_be_extended() {
    let place = Place::new("lease-time");
    assert_eq!(place.run(&["queue", "create", "q", "--max-attempts", "0"]).code(), Some(0));
    put(&place, &["x"]);
    let get = |time: &str| {
        let said = place.run(&["queue", "get", "q", "--json", "--owner", "1", "--lease", time]);
        assert_eq!(said.code(), Some(0), "{said:?}");
        serde_json::from_str::<Value>(&said.stdout).unwrap()
    };
    let record = get("0.05");
    let old = keeper(&place);
    // Nobody asks for it, and it is there all the same.
    until("the item to be back", || (counts(&place) == [1, 0, 0]).then_some(()));
    assert_eq!(told(&place, "ack", &record, &[]).code(), Some(76));
    until("its keeper to end", || (!old.is_some_and(runs)).then_some(()));
    let record = get("1h");
    assert_eq!(told(&place, "extend", &record, &["--lease", "0.05"]).code(), Some(0));
    until("the item to be back", || (counts(&place) == [1, 0, 0]).then_some(()));
    let record = get("0");
    let seen: JoinableQueue<String> =
        JoinableQueue::options().namespace(&place.0).bytes_only().open("q").unwrap();
    assert_eq!(seen.leased()[0].time_left, None);
    assert_eq!(told(&place, "ack", &record, &[]).code(), Some(0));
}

#[test]
fn a_get_that_is_killed_while_it_waits_leaves_no_keeper() {
    let place = Place::new("lease-waits");
    assert_eq!(place.run(&["queue", "create", "q"]).code(), Some(0));
    let get = Running::start(&mut place.command(&["queue", "get", "q", "--lease", "1h"]));
    let keeper = until("the keeper", || children_of(get.pid()).into_iter().next());
    until("it to wait", || (!place.json()[0]["waiters"].as_array().unwrap().is_empty()).then_some(()));
    get.signal(Signal::SIGKILL);
    until("the keeper to end", || (!runs(keeper)).then_some(()));
    put(&place, &["x"]);
    assert_eq!(counts(&place), [1, 0, 0]);
}

/// Workers, commands and keepers are killed at random, while items are put; each is done, and never by two at a time.
#[test]
fn whoever_is_killed_every_item_is_done_and_never_by_two_at_a_time() {
    const ITEMS: usize = 60;
    let place = Place::new("work-chaos");
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(place.run(&["queue", "create", "q", "--max-attempts", "0"]).code(), Some(0));
    let (done, twice) = (directory.path().join("done"), directory.path().join("twice"));
    let script = format!("cd '{}'; {JUDGE}\nsleep 0.01; echo \"$1\" >> done", directory.path().display());
    let start = || {
        Running::start(
            &mut place.command(&["queue", "work", "q", "-j", "2", "--", "sh", "-c", &script, "sh"]),
        )
    };
    let mut workers = [start(), start()];
    let mut dice = Dice::new(u64::from(std::process::id()));
    let mut kills = 0;
    for n in 0..ITEMS {
        put(&place, &[&n.to_string()]);
        let which = dice.below(2) as usize;
        match dice.below(6) {
            0 => {
                workers[which].signal(Signal::SIGKILL);
                workers[which] = start();
                kills += 1;
            }
            1 => {
                let children = children_of(workers[which].pid());
                let commands = children.iter().flat_map(|&child| children_of(child));
                if let Some(command) = commands.chain(children.iter().copied()).next() {
                    send(command, Signal::SIGKILL);
                    kills += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!(place.run(&["queue", "close", "q"]).code(), Some(0));
    for worker in workers {
        let said = worker.end();
        assert_eq!(said.code(), Some(0), "{said:?}");
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    lines(&done).into_iter().for_each(|item| *times.entry(item).or_default() += 1);
    note(&format!(
        "{kills} kills, {} of {ITEMS} items were done twice",
        times.values().filter(|&&n| n > 1).count()
    ));
    assert_eq!((times.len(), lines(&twice), counts(&place)), (ITEMS, vec![], [0, 0, 0]));
}
