//! Every record that the command prints as JSON, held against `schema/procession.schema.json`: none lacks a field that
//! the schema requires, and none has one that it does not know.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;
#[path = "cli/schema.rs"]
mod schema;

use cli::{Place, Running, until};
use schema::{Schema, parsed};
use std::collections::BTreeSet;

#[test]
fn every_record_is_what_the_schema_says() {
    let mut schema = Schema::read();
    let place = Place::new("json");
    holders_and_waiters(&mut schema, &place);
    small_things(&mut schema, &place);
    queues(&mut schema, &place);
    reports(&mut schema, &place);
    errors(&mut schema, &place);
    // What is part of others.
    let parts = ["holder", "waiter"];
    let all = schema.document["$defs"].as_object().unwrap().keys();
    // A deadlock takes programs that hold several locks: `cli_objects` has one.
    let missing: Vec<&String> = all
        .filter(|name| !schema.used.contains(*name) && !parts.contains(&name.as_str()) && *name != "deadlock")
        // Those have a test program of their own: `cli_cluster`.
        .filter(|name| !name.starts_with("cluster_"))
        .collect();
    assert!(missing.is_empty(), "no record was held against {missing:?}");
}

fn holders_and_waiters(schema: &mut Schema, place: &Place) {
    let mut holder =
        Running::start(&mut place.command(&["lock", "a", "--", "sh", "-c", "echo held; exec sleep 60"]));
    holder.line("held");
    let mut keeper = Running::start(&mut place.command(&[
        "sem",
        "s",
        "-c",
        "2",
        "--",
        "sh",
        "-c",
        "echo held; exec sleep 60",
    ]));
    keeper.line("held");
    let waiter = Running::start(&mut place.command(&["lock", "a", "-w", "60", "--", "true"]));
    until("the second to wait", || {
        (!parsed(&place.run(&["waits", "--json"]).stdout).as_array()?.is_empty()).then_some(())
    });
    schema.takes_array("wait", &place.run(&["waits", "--json"]).stdout);
    schema.takes_array("object", &place.run(&["ls", "--json"]).stdout);
    schema.takes_array("process", &place.run(&["ps", "--json"]).stdout);
    schema.takes_lines("top", &place.run(&["top", "--json"]).stdout);
    schema.takes_lines("watch", &place.shell("\"$P\" watch | head -n 2").stdout);
    let shown = place.run(&["inspect", "a", "--json"]).stdout;
    schema.takes_lines("object", &shown);
    let tested = place.run(&["lock", "test", "a", "--json"]);
    assert_eq!((tested.code(), &*tested.stderr), (Some(1), ""), "that it is held is no error");
    let tested = tested.stdout;
    schema.takes_lines("held", &tested);
    // Who holds it and who waits are said in one way.
    for part in ["holders", "waiters"] {
        let keys = |text: &str| -> BTreeSet<String> {
            parsed(text)[part][0].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(keys(&shown), keys(&tested), "{part}");
    }
    schema.takes_lines("held", &place.run(&["sem", "test", "s", "-k", "2", "--json"]).stdout);
    schema.takes_lines("held", &place.run(&["lock", "test", "nothing", "--json"]).stdout);
    let refused = place.run(&["lock", "a", "-n", "--json", "--", "true"]);
    assert_eq!(refused.code(), Some(75));
    schema.takes_lines("error", &refused.stderr);
    drop((holder, keeper, waiter));
}

fn small_things(schema: &mut Schema, place: &Place) {
    assert_eq!(place.run(&["deadlocks", "--json"]).stdout, "[]\n");
    schema.takes_array("finding", &place.run(&["doctor", "--json"]).stdout);
    schema.takes_lines("event", &place.run(&["event", "test", "up", "--json"]).stdout);
    assert_eq!(place.run(&["event", "set", "up"]).code(), Some(0));
    schema.takes_lines("event", &place.run(&["event", "test", "up", "--json"]).stdout);
    schema.takes_lines("come", &place.run(&["wait", "event:up", "--json"]).stdout);
    schema.takes_lines("barrier", &place.run(&["barrier", "wait", "phase", "-p", "1", "--json"]).stdout);
    for words in [&["add", "n", "--json"][..], &["get", "n", "--json"], &["set", "n", "5", "--json"]] {
        schema.takes_lines("counter", &place.run(&[&["counter"], words].concat()).stdout);
    }
    schema.takes_lines("stats", &place.run(&["stats", "n", "-i", "10ms", "-c", "2", "--json"]).stdout);
    // Every kind of object that scripts make.
    schema.takes_array("object", &place.run(&["ls", "--all", "--json"]).stdout);
}

fn queues(schema: &mut Schema, place: &Place) {
    let queue = |words: &[&str]| place.run(&[&["queue"], words, &["--json"]].concat()).stdout;
    schema.takes_lines("put", &queue(&["put", "q", "one", "two", "three", "four"]));
    schema.takes_lines("len", &queue(&["len", "q"]));
    schema.takes_lines("item", &queue(&["peek", "q"]));
    let leased = queue(&["get", "q", "--lease", "60"]);
    schema.takes_lines("item", &leased);
    let (id, token) = (parsed(&leased)["id"].to_string(), parsed(&leased)["token"].clone());
    let said = place.run(&["queue", "nack", "q", &id, token.as_str().unwrap(), "--dead"]);
    assert_eq!(said.code(), Some(0), "{said:?}");
    schema.takes_lines("item", &queue(&["dead", "q"]));
    schema.takes_lines("retry", &queue(&["retry", "q"]));
    schema.takes_lines("item", &queue(&["get", "q"]));
    assert_eq!(place.run(&["queue", "create", "j", "--codec", "json", "--plain"]).code(), Some(0));
    schema.takes_lines("put", &queue(&["put", "j", "{\"a\": [1]}", "2"]));
    schema.takes_lines("len", &queue(&["len", "j"]));
    schema.takes_lines("item", &queue(&["drain", "j"]));
    let bytes = place.shell(r#"printf '\377' | "$P" queue put q --whole && "$P" queue drain q --json"#);
    schema.takes_lines("item", &bytes.stdout);
    let report = r#"printf '1\n0\n' | "$P" queue put w && "$P" queue work w --retries 0 --until-empty --report fd:3 -- test {} = 0 3>&1 >&2"#;
    schema.takes_lines("work", &place.shell(report).stdout);
}

fn reports(schema: &mut Schema, place: &Place) {
    let shell = |script: &str| place.shell(script);
    schema.takes_lines("report", &shell(r#""$P" lock r --report fd:3 -- true 3>&1 >&2"#).stdout);
    schema.takes_lines(
        "report",
        &shell(r#""$P" sem t -c 2 --report fd:3 -- sh -c 'kill -9 $$' 3>&1 >&2"#).stdout,
    );
    schema.takes_lines(
        "report",
        &shell(r#""$P" with lock:r,sem:t -t 0.01 --report fd:3 -- sleep 60 3>&1 >&2"#).stdout,
    );
    let run = r#""$P" run -n 2 --restart on-failure --max-restarts 1 --backoff 1ms..1ms --report fd:3 -- sh -c 'exit $RANK' 3>&1 >&2"#;
    schema.takes_lines("run", &shell(run).stdout);
    let run = r#"printf 'web: "$P" ctl all status --json >&3\n' > "$DIR/Procfile"; "$P" run --name all --procfile "$DIR/Procfile" --report "$DIR/report" 3>&1 >&2"#;
    let directory = tempfile::TempDir::new().unwrap();
    let mut command = place.script(run);
    command.env("DIR", directory.path());
    schema.takes_lines("ctl", &Running::start(&mut command).end().stdout);
    schema.takes_lines("run", &std::fs::read_to_string(directory.path().join("report")).unwrap());
    let jobs = shell(r#"printf '1\n0\n' | "$P" map --json --progress json -- test {} = 0"#);
    let (last, before) = {
        let lines: Vec<&str> = jobs.stdout.lines().collect();
        let (last, before) = lines.split_last().unwrap();
        ((*last).to_owned(), before.join("\n"))
    };
    schema.takes_lines("job", &before);
    schema.takes_lines("summary", &last);
    for line in jobs.stderr.lines() {
        let definition = if parsed(line).get("error").is_some() { "error" } else { "progress" };
        schema.takes(definition, &parsed(line));
    }
    let map = r#""$P" map --name enc -- sh -c 'until [ -e "$0" ]; do sleep 0.01; done' {} ::: "$GATE" & "$P" ctl enc status -w 60 --json; touch "$GATE"; wait"#;
    let gate = tempfile::TempDir::new().unwrap();
    let mut command = place.script(map);
    command.env("GATE", gate.path().join("open"));
    schema.takes_lines("ctl", &Running::start(&mut command).end().stdout);
    let run = r#""$P" run -n 1 --name web -- sh -c '"$P" ctl web status --json'"#;
    schema.takes_lines("ctl", &shell(run).stdout);
    let planned = shell(r#"echo 1 | "$P" map --json --dry-run -- echo {} | head -n 1"#);
    schema.takes_lines("planned", &planned.stdout);
}

fn errors(schema: &mut Schema, place: &Place) {
    assert_eq!(place.run(&["counter", "set", "number", "1"]).code(), Some(0));
    let lines: [&[&str]; 12] = [
        &["lock", "test", "number", "--json"],
        &["sem", "test", "number", "--json"],
        &["event", "test", "number", "--json"],
        &["counter", "get", "none", "--json"],
        &["inspect", "none", "--json"],
        &["stats", "none", "--json"],
        &["lock", "x", "--json", "--", "/nonexistent/program"],
        &["sem", "none", "--json", "--", "true"],
        &["queue", "get", "none", "-n", "--json"],
        &["event", "wait", "never", "-n", "--json"],
        &["barrier", "wait", "none", "--json"],
        &["wait", "event:never", "-n", "--json"],
    ];
    for words in lines {
        let said = place.run(words);
        assert!(said.code() != Some(0) && said.stdout.is_empty(), "{words:?}: {said:?}");
        schema.takes_lines("error", &said.stderr);
    }
}
