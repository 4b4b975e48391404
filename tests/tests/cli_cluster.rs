//! `procession … --cluster URL` and `procession worker`: on a PostgreSQL server and on this host.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;
#[path = "cli/cluster.rs"]
mod cluster;
#[path = "cli/schema.rs"]
mod schema;

use cli::{Running, procession, until};
use cluster::{code, command, ends, run};
use nix::sys::signal::Signal;
use procession_tests::cluster::{Place, everywhere, server};
use schema::{Schema, parsed};
use serde_json::json;
use std::io::Write;

#[test]
fn one_at_a_time_has_the_lock_and_the_next_one_when_it_is_killed() {
    everywhere(|place| {
        let hold = ["lock", "deploy", "--", "sh", "-c", "echo $PROCESSION_TOKEN; exec sleep 60"];
        let mut holder = Running::start(&mut command(place, &hold));
        let token = holder.line("").parse::<procession::cluster::Token>().unwrap();
        let busy = run(place, &["lock", "deploy", "-n", "--", "true"]);
        assert_eq!(busy.code(), Some(75), "{busy:?}");
        assert!(busy.stderr.contains(&format!("pid {}", holder.pid())), "{}", busy.stderr);
        assert_eq!(code(place, &["lock", "run", "deploy", "-w", "50ms", "-E", "9", "--", "true"]), 9);
        let mut waiter = Running::start(&mut command(place, &hold));
        holder.signal(Signal::SIGKILL);
        let next = waiter.line("").parse::<procession::cluster::Token>().unwrap();
        assert!(next > token);
        waiter.signal(Signal::SIGTERM);
        assert_eq!(waiter.end().code(), Some(143));
        assert_eq!(ends(place, &["lock", "deploy", "--", "echo", "mine"]), (0, "mine\n".to_owned()));
        assert_eq!(code(place, &["lock", "deploy", "--", "sh", "-c", "exit 3"]), 3);
        assert_eq!(code(place, &["lock", "deploy", "-t", "50ms", "--", "sleep", "60"]), 124);
        assert_eq!(code(place, &["lock", "deploy", "--", "/there/is/none"]), 127);
        // While it waits, signals end it.
        let _holder = holder.end();
        let mut holder = Running::start(&mut command(place, &hold));
        holder.line("");
        let mut waiter = Running::start(&mut command(place, &hold));
        assert!(waiter.is_running());
        waiter.signal(Signal::SIGINT);
        let end = waiter.end();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&end.status), Some(2), "{end:?}");
    });
}

#[test]
fn a_lock_is_shared_and_a_semaphore_has_so_many_permits() {
    everywhere(|place| {
        let mut reader = Running::start(&mut command(
            place,
            &["lock", "index", "-s", "--", "sh", "-c", "echo; exec sleep 60"],
        ));
        reader.line("");
        assert_eq!(code(place, &["lock", "index", "-s", "-n", "--", "true"]), 0);
        assert_eq!(code(place, &["lock", "index", "-x", "-n", "--", "true"]), 75);
        let mut user = Running::start(&mut command(
            place,
            &["sem", "api", "-c", "2", "--", "sh", "-c", "echo; exec sleep 60"],
        ));
        user.line("");
        assert_eq!(code(place, &["sem", "run", "api", "-c", "2", "-n", "--", "true"]), 0);
        assert_eq!(code(place, &["sem", "api", "-c", "3", "-n", "--", "true"]), 65);
        let inner = [env!("CARGO_BIN_EXE_procession-tested"), "sem", "api", "-c", "2", "-n", "--", "true"];
        assert_eq!(code(place, &[&["sem", "api", "-c", "2", "--"], &inner[..]].concat()), 75);
    });
}

#[test]
fn a_command_whose_lock_is_lost_is_ended() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let mut holder = Running::start(&mut command(
        &place,
        &["lock", "deploy", "--", "sh", "-c", "echo held; exec sleep 60"],
    ));
    holder.line("held");
    postgres.sql(&format!("SELECT pg_terminate_backend(backend) FROM {}.sessions", place.schema));
    let said = holder.end();
    assert_eq!(said.code(), Some(76), "{said:?}");
    assert!(said.stderr.contains("lost"), "{said:?}");
}

#[test]
fn items_go_to_those_who_work_and_come_again_when_these_are_killed() {
    everywhere(|place| {
        let (mut producer, mut stdin) =
            Running::start_with_stdin(&mut command(place, &["queue", "put", "enc"]));
        assert!(producer.is_running());
        stdin.write_all(b"one\ntwo\nthree\n").unwrap();
        drop(stdin);
        assert_eq!(producer.end().code(), Some(0));
        assert_eq!(code(place, &["queue", "put", "enc", "--parse", "{\"n\":4}"]), 0);
        assert_eq!(ends(place, &["queue", "len", "enc"]), (0, "4\n".to_owned()));
        assert_eq!(ends(place, &["queue", "get", "enc"]), (0, "one\n".to_owned()));
        // A program meets them there.
        let jobs = place.connect().joinable_queue::<String>("enc");
        let lease = jobs.get().unwrap();
        assert_eq!(*lease, "two");
        lease.task_done().unwrap();
        let mut killed = Running::start(&mut command(
            place,
            &[
                "queue",
                "work",
                "enc",
                "--",
                "sh",
                "-c",
                "echo $1 $PROCESSION_ATTEMPT; exec sleep 60",
                "-",
                "{}",
            ],
        ));
        killed.line("three 1");
        killed.signal(Signal::SIGKILL);
        drop(killed.end());
        assert_eq!(code(place, &["queue", "close", "enc"]), 0);
        let said = run(
            place,
            &["queue", "work", "enc", "--", "sh", "-c", "echo $PROCESSION_ITEM $PROCESSION_ATTEMPT"],
        );
        assert_eq!(
            (said.code(), said.stdout.as_str()),
            (Some(0), "three 2\n{\"n\":4} 1\n"),
            "{}",
            said.stderr
        );
        assert_eq!(code(place, &["queue", "get", "enc"]), 1);
        assert_eq!(code(place, &["queue", "join", "enc", "-n"]), 0);
        assert_eq!(code(place, &["queue", "reopen", "enc"]), 0);
        assert_eq!(code(place, &["queue", "get", "enc", "-n"]), 75);
        // What fails again and again is a dead letter.
        assert_eq!(code(place, &["queue", "put", "enc", "bad"]), 0);
        let said = run(place, &["queue", "work", "enc", "--until-empty", "--", "false"]);
        assert_eq!(said.code(), Some(123));
        assert_eq!(ends(place, &["queue", "dead", "enc"]), (0, "bad\n".to_owned()));
        assert_eq!(code(place, &["queue", "retry", "enc"]), 0);
        assert_eq!(ends(place, &["queue", "get", "enc"]), (0, "bad\n".to_owned()));
    });
}

#[test]
fn events_barriers_and_counters_are_those_of_programs() {
    everywhere(|place| {
        assert_eq!(code(place, &["event", "test", "up"]), 1);
        assert_eq!(code(place, &["event", "wait", "up", "-w", "20ms"]), 75);
        let waiter = Running::start(&mut command(place, &["event", "wait", "up"]));
        place.connect().event("up").set().unwrap();
        assert_eq!(waiter.end().code(), Some(0));
        assert_eq!(
            (code(place, &["event", "clear", "up"]), code(place, &["event", "wait", "up", "--cleared"])),
            (0, 0)
        );
        assert_eq!(ends(place, &["counter", "add", "n", "3"]), (0, "3\n".to_owned()));
        assert_eq!(place.connect().counter("n").add(-1).unwrap(), 2);
        assert_eq!(code(place, &["counter", "add", "n", "9223372036854775807"]), 65);
        let wait = ["barrier", "wait", "phase", "-p", "2"];
        let other = Running::start(&mut command(place, &wait));
        let places = [ends(place, &wait), (0, other.end().stdout)];
        assert!(
            places.contains(&(0, "0\n".to_owned())) && places.contains(&(0, "1\n".to_owned())),
            "{places:?}"
        );
        let mut killed = Running::start(&mut command(place, &wait));
        let barrier = place.connect().barrier("phase", 2);
        until("it waits", || (barrier.n_waiting().unwrap() == 1).then_some(()));
        assert!(killed.is_running());
        let other = Running::start(&mut command(place, &["barrier", "wait", "phase", "-p", "2", "-w", "60"]));
        killed.signal(Signal::SIGKILL);
        // Either the other came in time, or it is told that one has died.
        let met = other.end().code().unwrap();
        assert!([0, 65].contains(&met), "{met}");
    });
}

#[test]
fn what_there_is_can_be_looked_at() {
    everywhere(|place| {
        let mut schema = Schema::read();
        let mut holder = Running::start(&mut command(
            place,
            &["lock", "deploy", "--", "sh", "-c", "echo held; exec sleep 60"],
        ));
        holder.line("held");
        assert_eq!(code(place, &["queue", "put", "jobs", "a", "b"]), 0);
        assert_eq!(code(place, &["counter", "add", "n", "5"]), 0);
        let list = ends(place, &["ls"]).1;
        assert!(
            list.contains("deploy") && list.contains(&holder.pid().to_string()) && list.contains("2 items"),
            "{list}"
        );
        schema.takes_array("cluster_object", &ends(place, &["ls", "--json"]).1);
        schema.takes_array("cluster_process", &ends(place, &["ps", "--json"]).1);
        schema.takes("counter", &parsed(&ends(place, &["counter", "get", "n", "--json"]).1));
        assert!(ends(place, &["ps"]).1.contains(&holder.pid().to_string()));
        assert_eq!(ends(place, &["deadlocks", "--json"]), (0, "[]\n".to_owned()));
        let metrics = ends(place, &["metrics"]).1;
        for line in [
            "procession_cluster_holders{kind=\"lock\",name=\"deploy\"} 1",
            "procession_cluster_number{kind=\"queue\",name=\"jobs\"} 2",
            "procession_cluster_number{kind=\"counter\",name=\"n\"} 5",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
        }
    });
}

#[test]
fn what_cannot_be_reached_or_makes_no_sense_is_refused_in_words() {
    let run = |arguments: &[&str]| Running::start(&mut procession(arguments)).end();
    let said = run(&["--cluster", "postgres://nobody@127.0.0.1:1/x", "event", "set", "up"]);
    assert_eq!(said.code(), Some(69), "{said:?}");
    for told in [&["ls"][..], &["ps"], &["deadlocks"], &["counter", "get", "n"]] {
        let said = run(&[&["--cluster", "postgres://nobody@127.0.0.1:1/x"], told, &["--json"]].concat());
        let error = parsed(&said.stderr);
        assert_eq!(
            (said.code(), &error["error"]["code"]),
            (Some(69), &json!("unavailable")),
            "{told:?}: {said:?}"
        );
    }
    let said = run(&["lock", "--cluster=http://x", "deploy", "--", "true"]);
    assert_eq!(said.code(), Some(2), "{said:?}");
    assert!(said.stderr.contains("postgres://"), "{said:?}");
    assert_eq!(run(&["--cluster", "shm:", "lock", "a b", "--", "true"]).code(), Some(2));
    assert_eq!(run(&["--cluster", "shm:", "map", "--", "true"]).code(), Some(2));
    assert_eq!(run(&["event", "set", "up", "--cluster"]).code(), Some(2));
    // An option of the command is the command's.
    let own = format!("shm:{}", procession::Namespace::private().name());
    let said = run(&["lock", "--cluster", &own, "a", "--", "echo", "--cluster", "x"]);
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "--cluster x\n"));
    // However the namespace is said, and whatever else stands before the subcommand.
    let run =
        |arguments: &[&str]| Running::start(procession(arguments).env("PROCESSION_CLUSTER", &own)).end();
    for namespace in [&["-N", "x"][..], &["-Nx"], &["--namespace", "x"], &["--namespace=x"]] {
        let said = run(&[namespace, &["lock", "a", "--", "true"]].concat());
        assert!(said.code() == Some(2) && said.stderr.contains("has no namespaces"), "{said:?}");
    }
    assert_eq!(run(&["--deadline", "5s", "lock", "a", "--", "true"]).code(), Some(0));
}

#[test]
fn workers_of_a_pool_are_started_by_the_command() {
    everywhere(|place| {
        let actor = procession_tests::program("cluster_actor");
        let actor = actor.to_str().unwrap();
        let (url, schema) = (place.url.as_str(), place.schema.as_str());
        let options = ["--connect", url, "--schema", schema, "--pool", "count", "-n", "2"];
        let mut workers =
            Running::start(&mut procession([&["worker"], &options[..], &["--", actor]].concat()));
        let mut caller = place.actor();
        assert_eq!(caller.does("words a b c"), "3");
        assert!(workers.is_running());
        // Workers that are killed are started again.
        caller.tell("kill-workers 3");
        assert_eq!(caller.did(), "3");
        caller.does("close");
        assert_eq!(workers.end().code(), Some(0));
    });
}

#[test]
fn what_a_cluster_needs_is_created_once() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let init = ["worker", "--init", "--connect", place.url.as_str(), "--schema", place.schema.as_str()];
    for _ in 0..2 {
        let said = Running::start(&mut procession(init)).end();
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    }
    assert_eq!(postgres.sql(&format!("SELECT number > 0 FROM {}.version", place.schema)), "t");
}
