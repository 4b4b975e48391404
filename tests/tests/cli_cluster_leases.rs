//! `procession queue get --lease`, `ack`, `nack` and `extend` over a cluster: on a PostgreSQL server and on this host.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;
#[path = "cli/cluster.rs"]
mod cluster;
#[path = "cli/schema.rs"]
mod schema;

use cli::{Running, Said, children_of, runs, send, until};
use cluster::{code, command, ends, find_keeper, keeper_for, run, shell, someone};
use nix::sys::signal::Signal;
use procession_tests::cluster::{Place, everywhere, server};
use schema::{Schema, parsed};
use serde_json::{Value, json};

fn put(place: &Place, items: &[&str]) {
    assert_eq!(code(place, &[&["queue", "put", "q"], items].concat()), 0);
}

/// The arguments of `ack` and the like.
fn told(place: &Place, verb: &str, record: &Value, more: &[&str]) -> Said {
    let (id, token) = (record["id"].to_string(), record["token"].as_str().unwrap());
    run(place, &[&["queue", verb, "q", &id, token], more].concat())
}

/// How many items are there to be got, and how many are not done.
fn counts(place: &Place) -> [u64; 2] {
    let queue = place.connect().joinable_queue::<Value>("q");
    [queue.len().unwrap(), queue.unfinished().unwrap()]
}

/// Leases an item for the shell that runs this, and then waits; the shell, and the record.
fn leased(place: &Place, options: &str) -> (Running, Value) {
    let mut shell = Running::start(&mut shell(
        place,
        &format!("$P queue get q --json {options}; echo got; exec sleep 1000"),
    ));
    let line = shell.line("{");
    // Once it has said so, `queue get` has ended.
    shell.line("got");
    (shell, serde_json::from_str(&line).unwrap())
}

#[test]
fn what_is_leased_for_a_process_is_back_when_that_ends() {
    everywhere(|place| {
        put(place, &["x"]);
        let rounds = [
            ("owner", "--owner $$"),
            ("owner", "--lease 0"),
            ("keeper", "--lease 1h"),
            ("told", "--owner $$"),
        ];
        for (victim, options) in rounds {
            let (shell, record) = leased(place, options);
            assert_eq!((&record["item"], &record["attempt"]), (&json!("x"), &json!(1)), "{options}");
            assert_eq!(counts(place), [0, 1], "it outlives `queue get`");
            let keeper = keeper_for(shell.pid());
            let waits = Running::start(&mut command(place, &["queue", "get", "q", "--json", "--owner", "1"]));
            match victim {
                "owner" => shell.signal(Signal::SIGKILL),
                "keeper" => send(keeper, Signal::SIGKILL),
                _ => send(keeper, Signal::SIGTERM),
            }
            let said = waits.end();
            let next: Value = serde_json::from_str(&said.stdout).unwrap();
            assert_eq!(next["attempt"], 2, "{victim}");
            until("the keeper to end", || (!runs(keeper)).then_some(()));
            // The first one's token is good for nothing.
            assert_eq!(told(place, "ack", &record, &[]).code(), Some(76));
            assert_eq!(told(place, "ack", &next, &[]).code(), Some(0));
            assert_eq!(counts(place), [0, 0]);
            put(place, &["x"]);
        }
    });
}

#[test]
fn an_acknowledgement_needs_the_token_and_is_heard_once() {
    everywhere(|place| {
        let mut schema = Schema::read();
        put(place, &["x", "y", "z"]);
        let (shell, record) = leased(place, "--owner $$");
        schema.takes("item", &record);
        let keeper = keeper_for(shell.pid());
        let mut wrong = record.clone();
        wrong["token"] = json!("0123456789abcdef");
        assert_eq!(told(place, "ack", &wrong, &[]).code(), Some(76));
        assert_eq!(told(place, "extend", &record, &["--lease", "1h"]).code(), Some(0));
        assert_eq!(told(place, "ack", &record, &[]).code(), Some(0));
        until("the keeper to end, which has nothing to keep", || (!runs(keeper)).then_some(()));
        for verb in ["ack", "nack", "extend"] {
            let said = told(place, verb, &record, &["--json"]);
            let error = parsed(&said.stderr);
            assert_eq!((said.code(), &error["error"]["code"]), (Some(76), &json!("lease_lost")), "{verb}");
        }
        let said = told(place, "ack", &record, &[]);
        assert!(said.stderr.contains("its time was over, or its holder has ended"), "{said:?}");
        // Several by one keeper, which stays for the last.
        let owner = someone();
        let said =
            run(place, &["queue", "get", "q", "-c", "9", "--json", "--owner", &owner.pid().to_string()]);
        let all: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let keeper = keeper_for(owner.pid());
        assert_eq!((all.len(), counts(place)), (2, [0, 2]));
        assert_eq!(told(place, "nack", &all[0], &["--dead"]).code(), Some(0));
        assert_eq!((runs(keeper), counts(place)), (true, [0, 1]));
        assert_eq!(told(place, "nack", &all[1], &[]).code(), Some(0));
        until("the keeper to end", || (!runs(keeper)).then_some(()));
        assert_eq!((counts(place), ends(place, &["queue", "dead", "q"])), ([1, 1], (0, "y\n".to_owned())));
        assert_eq!(code(place, &["queue", "ack", "none", "1", "0123456789abcdef"]), 66);
        assert_eq!(code(place, &["queue", "ack", "q", "1", "12"]), 2);
    });
}

#[test]
fn a_lease_ends_with_its_time_and_can_be_extended() {
    everywhere(|place| {
        put(place, &["x"]);
        let owner = someone();
        let get = |time: &str| {
            let owner = owner.pid().to_string();
            let said = run(place, &["queue", "get", "q", "--json", "--owner", &owner, "--lease", time]);
            assert_eq!(said.code(), Some(0), "{said:?}");
            parsed(&said.stdout)
        };
        let record = get("0.05");
        // Nobody asks for it, and it is there all the same.
        until("its keeper to end", || find_keeper(owner.pid()).is_none().then_some(()));
        until("the item to be back", || (counts(place) == [1, 1]).then_some(()));
        assert_eq!(told(place, "ack", &record, &[]).code(), Some(76));
        let record = get("1h");
        assert_eq!(told(place, "extend", &record, &["--lease", "0.05"]).code(), Some(0));
        until("the item to be back", || (counts(place) == [1, 1]).then_some(()));
        let record = get("0");
        assert_eq!(counts(place), [0, 1]);
        assert_eq!(told(place, "ack", &record, &[]).code(), Some(0));
        assert_eq!(counts(place), [0, 0]);
    });
}

#[test]
fn items_are_printed_as_without_a_cluster() {
    everywhere(|place| {
        put(place, &["a b", "two\nlines", "c", "d", "e"]);
        assert_eq!(code(place, &["queue", "put", "q", "--parse", "{\"n\": 4}"]), 0);
        let script = "$P queue get q --bare; echo '|'; $P queue get q -0 | tr '\\0' '|'";
        assert_eq!(Running::start(&mut shell(place, script)).end().stdout, "a b|\ntwo\nlines|\n");
        let record = parsed(&ends(place, &["queue", "get", "q", "--json"]).1);
        let (bytes, item) = (&record["bytes"], &record["item"]);
        assert_eq!((bytes, item, record.get("token")), (&json!(1), &json!("c"), None));
        assert_eq!(ends(place, &["queue", "get", "q", "-c", "9"]), (0, "d\ne\n{\"n\":4}\n".to_owned()));
        let said = run(place, &["queue", "get", "q", "-n", "--json"]);
        assert_eq!((said.code(), &parsed(&said.stderr)["error"]["code"]), (Some(75), &json!("empty")));
        assert_eq!(code(place, &["queue", "get", "q", "-n", "-E", "9"]), 9);
        assert_eq!(code(place, &["queue", "get", "q", "-n", "--lease", "5"]), 75);
        assert_eq!(code(place, &["queue", "get", "q", "-w", "20ms", "--owner", "1", "-E", "9"]), 9);
        assert_eq!(code(place, &["queue", "get", "q", "--owner", "4194304"]), 2);
        assert_eq!(code(place, &["queue", "close", "q"]), 0);
        let said = run(place, &["queue", "get", "q", "--lease", "5"]);
        assert_eq!((said.code(), said.stderr.as_str()), (Some(1), ""));
    });
}

#[test]
fn a_get_that_is_killed_while_it_waits_leaves_no_keeper() {
    everywhere(|place| {
        let get = Running::start(&mut command(place, &["queue", "get", "q", "--lease", "1h"]));
        let keeper = until("the keeper", || children_of(get.pid()).into_iter().next());
        until("it to wait", || place.connect().joinable_queue::<Value>("q").if_there().unwrap());
        get.signal(Signal::SIGKILL);
        until("the keeper to end", || (!runs(keeper)).then_some(()));
        put(place, &["x"]);
        assert_eq!(counts(place), [1, 1]);
    });
}

#[test]
fn a_keeper_whose_session_is_ended_has_nothing_to_keep() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    put(&place, &["x"]);
    let (shell, record) = leased(&place, "--lease 1h");
    let keeper = keeper_for(shell.pid());
    postgres.sql(&format!("SELECT pg_terminate_backend(backend) FROM {}.sessions", place.schema));
    until("the keeper to end", || (!runs(keeper)).then_some(()));
    assert_eq!((counts(&place), told(&place, "ack", &record, &[]).code()), ([1, 1], Some(76)));
}
