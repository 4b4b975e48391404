//! `procession lock acquire`, `sem acquire`, `release` and `with` over a cluster: on a PostgreSQL server and on this host.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;
#[path = "cli/cluster.rs"]
mod cluster;
#[path = "cli/schema.rs"]
mod schema;

use cli::{Running, children_of, runs, send, until};
use cluster::{code, command, keeper_for, run, shell, someone};
use nix::sys::signal::Signal;
use procession_tests::cluster::{Place, everywhere, server};
use schema::{Schema, parsed};
use serde_json::json;

/// Whether the lock of this name is free.
fn is_free(place: &Place, name: &str) -> bool {
    code(place, &["lock", name, "-n", "--", "true"]) == 0
}

/// A shell that acquires this, says so, and waits.
fn holder(place: &Place, what: &str) -> Running {
    let mut shell = Running::start(&mut shell(place, &format!("$P {what} && echo held && exec sleep 1000")));
    shell.line("held");
    shell
}

#[test]
fn what_is_acquired_is_held_until_its_owner_ends_or_it_is_released() {
    everywhere(|place| {
        for end in ["owner", "keeper", "told", "released"] {
            let shell = holder(place, "lock acquire nightly");
            let keeper = keeper_for(shell.pid());
            assert!(!is_free(place, "nightly"), "it outlives `lock acquire`");
            // It is said who holds it, and for whom nobody else may take it.
            let said = run(place, &["lock", "acquire", "nightly", "-n", "-E", "9"]);
            assert_eq!(said.code(), Some(9), "{said:?}");
            assert!(said.stderr.contains(&format!("pid {keeper}")), "{said:?}");
            let mut next = Running::start(&mut command(place, &["lock", "nightly", "--", "echo", "mine"]));
            match end {
                "owner" => shell.signal(Signal::SIGKILL),
                "keeper" => send(keeper, Signal::SIGKILL),
                "told" => send(keeper, Signal::SIGTERM),
                _ => assert_eq!(code(place, &["lock", "release", "nightly"]), 0),
            }
            next.line("mine");
            assert_eq!(next.end().code(), Some(0), "{end}");
            until("the keeper to end", || (!runs(keeper)).then_some(()));
        }
        assert_eq!(code(place, &["lock", "release", "nightly"]), 1);
        assert_eq!(code(place, &["lock", "release", "none"]), 66);
    });
}

#[test]
fn what_others_hold_is_not_released() {
    everywhere(|place| {
        let mut running = Running::start(&mut command(
            place,
            &["lock", "deploy", "--", "sh", "-c", "echo held; exec sleep 1000"],
        ));
        running.line("held");
        let said = run(place, &["lock", "release", "deploy"]);
        assert_eq!(said.code(), Some(65), "{said:?}");
        assert!(said.stderr.contains(&format!("pid {}", running.pid())), "{said:?}");
        // Of several, one's own are let go of first.
        let script = "$P lock acquire index -s && $P lock release index && echo mine && exec sleep 1000";
        let other = holder(place, "lock acquire index -s");
        let mut shell = Running::start(&mut shell(place, script));
        shell.line("mine");
        assert!(runs(keeper_for(other.pid())));
        assert_eq!(code(place, &["lock", "index", "-x", "-n", "--", "true"]), 75);
        assert_eq!(code(place, &["lock", "release", "index"]), 0);
        assert_eq!(code(place, &["lock", "index", "-x", "-n", "--", "true"]), 0);
    });
}

#[test]
fn permits_are_acquired_and_released() {
    everywhere(|place| {
        let owner = someone();
        let pid = owner.pid().to_string();
        assert_eq!(code(place, &["sem", "acquire", "gpu", "--owner", &pid]), 66);
        assert_eq!(code(place, &["sem", "acquire", "gpu", "-c", "3", "-k", "2", "--owner", &pid]), 0);
        assert_eq!(code(place, &["sem", "gpu", "-n", "--", "true"]), 0);
        assert_eq!(code(place, &["sem", "gpu", "-k", "2", "-n", "--", "true"]), 75);
        assert_eq!(code(place, &["sem", "gpu", "-c", "4", "-n", "--", "true"]), 65);
        assert_eq!(code(place, &["sem", "gpu", "-k", "4", "-n", "--", "true"]), 65);
        assert_eq!(code(place, &["sem", "release", "gpu"]), 0);
        assert_eq!(code(place, &["sem", "gpu", "-k", "3", "-n", "--", "true"]), 0);
        assert_eq!(code(place, &["sem", "release", "gpu"]), 1);
        assert_eq!(code(place, &["sem", "acquire", "gpu", "--owner", "4194304"]), 2);
    });
}

#[test]
fn an_acquire_that_is_killed_while_it_waits_leaves_no_keeper() {
    everywhere(|place| {
        let first = holder(place, "lock acquire nightly");
        let waiter = Running::start(&mut command(place, &["lock", "acquire", "nightly"]));
        let keeper = until("the keeper", || children_of(waiter.pid()).into_iter().next());
        waiter.signal(Signal::SIGKILL);
        until("the keeper to end", || (!runs(keeper)).then_some(()));
        first.signal(Signal::SIGKILL);
        until("the lock to be free", || is_free(place, "nightly").then_some(()));
    });
}

#[test]
fn several_are_held_all_or_none() {
    everywhere(|place| {
        let with = |options: &[&str], command: &[&str]| {
            run(place, &[&["with", "lock:a,lock:b:shared,sem:gpu=2"], options, &["--"], command].concat())
        };
        assert_eq!(with(&["-n"], &["true"]).code(), Some(66), "there is no semaphore");
        assert_eq!(code(place, &["sem", "gpu", "-c", "3", "--", "true"]), 0);
        let said = with(&[], &["sh", "-c", "echo $PROCESSION_HELD ${PROCESSION_TOKEN-none}"]);
        let all = "lock:a@cluster,lock:b:shared@cluster,sem:gpu=2@cluster none\n";
        assert_eq!((said.code(), said.stdout.as_str()), (Some(0), all), "{said:?}");
        assert_eq!(with(&[], &["sh", "-c", "exit 3"]).code(), Some(3));
        // Who finds one of them busy has none of the others.
        let held = holder(place, "sem acquire gpu -k 2");
        assert_eq!(with(&["-n"], &["true"]).code(), Some(75));
        assert_eq!(with(&["-w", "20ms", "-E", "9"], &["true"]).code(), Some(9));
        let script = "$P with lock:a,lock:b:shared,sem:gpu=2 --explain -- echo all 2>&1";
        let mut waits = Running::start(&mut shell(place, script));
        let busy = waits.line("procession: ");
        assert!(busy.contains("\"gpu\""), "{busy}");
        assert!(is_free(place, "a") && waits.is_running());
        held.signal(Signal::SIGKILL);
        waits.line("all");
        assert_eq!(waits.end().code(), Some(0));
        assert_eq!(code(place, &["with", "lock:a,lock:a:shared", "--", "true"]), 2);
        assert_eq!(code(place, &["with", "lock:b:exclusive", "-n", "--", "true"]), 0);
    });
}

#[test]
fn no_order_in_which_others_want_them_is_a_deadlock() {
    everywhere(|place| {
        let script = |first: &str, second: &str| {
            format!("for n in 1 2 3 4 5 6; do $P with {first},{second} -- true || exit 1; done")
        };
        let nested =
            "for n in 1 2 3 4 5 6; do $P lock b -- true || exit 1; $P lock a -- true || exit 1; done";
        let scripts = [script("lock:a", "lock:b"), script("lock:b", "lock:a"), nested.to_owned()];
        let all = scripts.map(|script| Running::start(&mut shell(place, &script)));
        for one in all {
            let said = one.end();
            assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
        }
    });
}

#[test]
fn what_became_of_a_command_is_reported() {
    everywhere(|place| {
        let mut schema = Schema::read();
        let script = "$P lock a --report fd:3 -- sh -c 'echo $PROCESSION_TOKEN; exit 3' 3>&1";
        let said = Running::start(&mut shell(place, script)).end();
        let (token, record) = said.stdout.split_once('\n').unwrap();
        let record = parsed(record);
        schema.takes("report", &record);
        assert_eq!((said.code(), &record["token"], &record["code"]), (Some(3), &json!(token), &json!(3)));
        let held = holder(place, "lock acquire a");
        let script = "$P with lock:a,lock:b -n --report /dev/stdout -- true";
        let said = Running::start(&mut shell(place, script)).end();
        let record = parsed(&said.stdout);
        schema.takes("report", &record);
        assert_eq!((&record["acquired"], &record["exit"]), (&json!(false), &json!(75)));
        assert_eq!(
            (&record["targets"], &record["error"]),
            (&json!(["lock:a", "lock:b"]), &json!("not_acquired"))
        );
        drop(held);
    });
}

#[test]
fn nobody_waits_for_what_an_ancestor_holds() {
    everywhere(|place| {
        let inner = [env!("CARGO_BIN_EXE_procession-tested"), "with", "lock:b,lock:a", "--", "true"];
        let said = run(place, &[&["lock", "a", "--"], &inner[..]].concat());
        assert_eq!(said.code(), Some(65), "{said:?}");
        assert!(said.stderr.contains("waiting would never end"), "{said:?}");
        let script = "$P lock acquire a && $P lock a -- true";
        let said = Running::start(&mut shell(place, &format!("{script}; echo $?"))).end();
        assert_eq!(said.stdout, "65\n", "{said:?}");
        // A namespace of this host has nothing to do with it.
        let here = procession_tests::Scratch::new();
        let inner = [inner[0], "-N", here.name(), "lock", "c", "--", "true"];
        let said =
            run(place, &[&["lock", "c", "--", "env", "-u", "PROCESSION_CLUSTER"], &inner[..]].concat());
        assert_eq!(said.code(), Some(0), "{said:?}");
    });
}

#[test]
fn a_command_ends_with_76_when_one_of_several_is_lost() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let mut running = Running::start(&mut command(
        &place,
        &["with", "lock:a,lock:b:shared", "--", "sh", "-c", "echo held; exec sleep 1000"],
    ));
    running.line("held");
    let kept = holder(&place, "lock acquire c");
    let keeper = keeper_for(kept.pid());
    postgres.sql(&format!("SELECT pg_terminate_backend(backend) FROM {}.sessions", place.schema));
    let said = running.end();
    assert_eq!(said.code(), Some(76), "{said:?}");
    assert!(said.stderr.contains("lock:a,lock:b:shared was lost"), "{said:?}");
    until("the keeper to end, which holds nothing", || (!runs(keeper)).then_some(()));
    assert!(is_free(&place, "c"));
}
