//! `procession queue`: what is put, got, shown and refused, and the exit codes. Leases and workers are
//! `cli_queue_work.rs`.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, Said, until};
use nix::sys::signal::Signal;
use procession::{Bytes, Codec, JoinableQueue, Queue};
use procession_tests::note;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Stdio;

procession::test_support!();

fn records(said: &Said) -> Vec<Value> {
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs it with this on stdin.
fn fed(place: &Place, arguments: &[&str], input: &[u8]) -> Said {
    let (running, mut stdin) = Running::start_with_stdin(&mut place.command(arguments));
    stdin.write_all(input).unwrap();
    drop(stdin);
    running.end()
}

fn is(said: &Said, code: i32, stdout: &str) {
    assert_eq!((said.code(), said.stdout.as_str()), (Some(code), stdout), "{said:?}");
}

#[test]
fn what_is_put_is_got_in_its_order() {
    let place = Place::new("queue");
    is(&place.run(&["queue", "put", "q", "wash", "", "dry it"]), 0, "");
    is(&fed(&place, &["queue", "put", "q"], b"one\n\nthree"), 0, "");
    is(&fed(&place, &["queue", "put", "q", "-0"], b"four\nfive\0six\0"), 0, "");
    is(&fed(&place, &["queue", "put", "q", "--whole"], b"all\nof it\n"), 0, "");
    is(&place.run(&["queue", "len", "q"]), 0, "9\n");
    is(&place.run(&["queue", "get", "q"]), 0, "wash\n");
    is(&place.run(&["queue", "get", "q", "-c", "5"]), 0, "\ndry it\none\n\nthree\n");
    let zeros = place.shell("$P queue get q -c 2 -0 | tr '\\0' '|'");
    assert_eq!(zeros.stdout, "four\nfive|six|\n", "{zeros:?}");
    is(&place.run(&["queue", "get", "q", "--bare"]), 0, "all\nof it\n");
    is(&place.run(&["queue", "len", "q"]), 0, "0\n");
    // A loop over it ends when it is closed.
    let script = "seq 3 | $P queue put q; $P queue close q
        while item=$($P queue get q); do echo \"<$item>\"; done; $P queue get q; echo $?";
    is(&place.shell(script), 0, "<1>\n<2>\n<3>\n1\n");
    let said = place.run(&["queue", "get", "q"]);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(1), ""));
}

#[test]
fn what_is_written_slowly_is_got_at_once() {
    let place = Place::new("queue-slow");
    let (running, mut stdin) = Running::start_with_stdin(&mut place.command(&["queue", "put", "q"]));
    for item in ["a", "b"] {
        stdin.write_all(format!("{item}\nhal").as_bytes()).unwrap();
        let expected = if item == "a" { "a\n" } else { "halb\n" };
        let got = until("the item", || {
            let said = place.run(&["queue", "get", "q", "-n"]);
            (said.code() == Some(0)).then_some(said.stdout)
        });
        assert_eq!(got, expected);
    }
    drop(stdin);
    assert_eq!(running.end().code(), Some(0));
    is(&place.run(&["queue", "get", "q"]), 0, "hal\n");
}

/// What is typed behind `queue`, one after the other, and the exit codes.
const CODES: &[(&str, i32)] = &[
    ("create q --cap 2 --lease 1000 --max-attempts 3", 0),
    ("create q", 0),
    ("create q --cap 2 --lease 1000s", 0),
    ("create q --cap 3", 65),
    ("create q --codec json", 65),
    ("create q --max-attempts 4", 65),
    ("create q --lease 1001", 65),
    ("create q --max-bytes 64M", 65),
    ("create q --plain", 65),
    ("create q --plain --lease 1", 2),
    ("create r --dlq dead", 2),
    ("create r --max-attempts 5000", 2),
    ("create a/b", 2),
    ("create r --max-bytes 1T", 2),
    ("create p --plain --cap 2", 0),
    ("create j --codec json --max-bytes 1K", 0),
    ("get missing", 66),
    ("get missing -n", 66),
    ("len missing", 66),
    ("peek missing", 66),
    ("drain missing", 66),
    ("close missing", 66),
    ("reopen missing", 66),
    ("dead missing", 66),
    ("retry missing", 66),
    ("ack missing 1 0123456789abcdef", 66),
    ("work missing -- true", 66),
    ("get q -n", 75),
    ("get q -w 0.02", 75),
    ("get q -n -E 9", 9),
    ("get p -n", 75),
    ("get q -n --lease 5", 75),
    ("put q 1 2", 0),
    ("put q 3 -n", 75),
    ("put q 3 -w 0.02", 75),
    ("put q 3 -n -E 7", 7),
    ("put p 1 2", 0),
    ("put p 3 -n", 75),
    ("put j 1 [2]", 0),
    ("put j nonsense", 65),
    ("put q --string text", 2),
    ("ack q 1 0123456789abcdef", 76),
    ("nack q 1 0123456789abcdef", 76),
    ("extend q 1 0123456789abcdef --lease 5", 76),
    ("ack q 1 token", 2),
    ("ack p 1 0123456789abcdef", 65),
    ("get p --lease 5", 65),
    ("work p -- true", 65),
    ("work q --retries 3 -- true", 65),
    ("work q --until-empty -- procession-no-such-command", 127),
    ("work q --until-empty -- /etc/passwd", 126),
    ("work q --until-empty -- true", 0),
    ("dead p", 65),
    ("dead q 77", 1),
    ("retry q 77", 1),
    ("drain q", 0),
    ("close q", 0),
    ("close q", 0),
    ("put q 1", 1),
    ("get q", 1),
    ("get q --lease 5", 1),
    ("work q -- true", 0),
    ("reopen q", 0),
    ("put q 1", 0),
    ("", 2),
    ("get", 2),
    ("put q -x", 2),
    ("put q -- -x", 0),
    ("get -N nowhere q", 66),
    ("get q --owner 0", 2),
    ("work q", 2),
    ("work q -j 0 -- true", 2),
];

#[test]
fn what_cannot_be_read_is_no_empty_item() {
    let place = Place::new("queue-closed-stdin");
    let said =
        place.shell("$P queue put q --whole <&-; echo $?; $P queue put q <&-; echo $?; $P queue len q");
    is(&said, 0, "125\n125\n0\n");
    let said = place.shell("$P pipe send p <&-");
    assert!(
        said.code() == Some(125) && said.stderr.contains("cannot read stdin: it is not open"),
        "{said:?}"
    );
}

#[test]
fn every_exit_code_is_the_one_of_the_table() {
    let place = Place::new("queue-codes");
    for &(line, code) in CODES {
        let words: Vec<&str> = ["queue"].into_iter().chain(line.split_whitespace()).collect();
        let said = place.run(&words);
        assert_eq!(said.code(), Some(code), "{line}: {said:?}");
        let is_silent = code == 0 || code == 1 && line.starts_with("get");
        assert_eq!(said.stderr.is_empty(), is_silent, "{line}: {said:?}");
    }
    let large = "x".repeat(2000);
    let said = place.run(&["queue", "put", "j", &format!("\"{large}\"")]);
    assert!(said.code() == Some(65) && said.stderr.contains("1024 at the most"), "{said:?}");
    assert_eq!(place.run(&["lock", "l", "--", "true"]).code(), Some(0));
    let said = place.run(&["queue", "put", "l", "x"]);
    assert!(said.code() == Some(65) && said.stderr.contains("is a lock"), "{said:?}");
}

#[test]
fn refusals_say_why_and_in_json() {
    let place = Place::new("queue-refusals");
    assert_eq!(place.run(&["queue", "create", "q", "--cap", "2"]).code(), Some(0));
    let said = place.run(&["queue", "put", "q", "1", "2", "3", "-n", "--json"]);
    let error: Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&json!("full"), &json!(75)), "{said:?}");
    assert_eq!((&error["v"], &error["error"]["put"]), (&json!(1), &json!(2)));
    let said = place.run(&["queue", "drain", "q", "--json"]);
    let items: Vec<Value> = records(&said).iter().map(|record| record["item"].clone()).collect();
    assert_eq!(items, ["1", "2"]);
    let said = place.run(&["queue", "get", "q", "-n", "--json"]);
    let error: Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["name"]), (&json!("empty"), &json!("q")));
    for (value, is_json) in [("1", true), ("yes", true), ("0", false), ("false", false), ("", false)] {
        let mut command = place.command(&["queue", "len", "missing"]);
        let said = Running::start(command.env("PROCESSION_JSON", value)).end();
        assert_eq!((said.code(), said.stderr.starts_with('{')), (Some(66), is_json), "{value:?}: {said:?}");
    }
    let said = place.run(&["queue", "create", "q", "--lease", "5m"]);
    assert!(said.stderr.contains("--lease no limit, not 300s"), "{said:?}");
    let said = place.run(&["queue", "work", "q", "--retries", "9", "--", "true"]);
    assert!(said.stderr.contains("allows 5 attempts, and --retries 9 wants 10"), "{said:?}");
    let said = place.run(&["queue", "create", "q", "--dlq", "dead"]);
    assert!(said.stderr.contains("procession queue dead q"), "{said:?}");
}

#[test]
fn who_waits_for_room_says_so_once_and_goes_on_when_there_is_some() {
    let place = Place::new("queue-full");
    assert_eq!(place.run(&["queue", "create", "q", "--cap", "2"]).code(), Some(0));
    let said = tempfile::NamedTempFile::new().unwrap();
    let script = format!("$P queue put q 1 2 3 4 5 2>{}", said.path().display());
    let putting = Running::start(&mut place.script(&script));
    let has_said = || Some(fs::read_to_string(said.path()).unwrap()).filter(|text| text.ends_with('\n'));
    let text = until("it to say that it waits", has_said);
    assert_eq!(text, "procession: queue \"q\" is full, with 2 items: waiting until somebody gets from it\n");
    let got: String = (0..5).map(|_| place.run(&["queue", "get", "q"]).stdout).collect();
    assert_eq!(got, "1\n2\n3\n4\n5\n");
    assert_eq!(putting.end().code(), Some(0));
    assert_eq!(has_said(), Some(text), "once");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: u64,
    name: String,
}

#[test]
fn a_program_and_a_script_share_queues_of_json_and_of_text() {
    let place = Place::new("queue-shared");
    // Made by the script, used by the program.
    assert_eq!(place.run(&["queue", "create", "points", "--codec", "json"]).code(), Some(0));
    let points: JoinableQueue<Point> =
        JoinableQueue::options().namespace(&place.0).codec(Codec::Json).open("points").unwrap();
    is(
        &fed(&place, &["queue", "put", "points"], b"{\"x\": 1, \"name\": \"a b\"}\n\n  \n{\"x\":2,\n"),
        65,
        "",
    );
    let lease = points.get().unwrap();
    assert_eq!(*lease, Point { x: 1, name: "a b".to_owned() });
    lease.task_done().unwrap();
    points.put(&Point { x: u64::MAX, name: "\"ö\n".to_owned() }).unwrap();
    let said = place.run(&["queue", "get", "points", "--json"]);
    assert_eq!(records(&said)[0]["item"], json!({"x": u64::MAX, "name": "\"ö\n"}));
    points.put(&Point { x: 3, name: "c".to_owned() }).unwrap();
    is(&place.run(&["queue", "get", "points"]), 0, "{\"x\":3,\"name\":\"c\"}\n");
    // What a lease of the program's holds, the script acknowledges, and the other way round.
    points.put(&Point { x: 4, name: "d".to_owned() }).unwrap();
    let lease = points.get().unwrap();
    let (id, token) = (lease.id().to_string(), format!("{:016x}", lease.token().key()));
    assert_eq!(place.run(&["queue", "ack", "points", &id, &token]).code(), Some(0));
    assert!(!lease.is_valid() && points.unfinished() == 0);

    // Made by the program, used by the script: with leases or without, JSON strings or text.
    let words: Queue<String> =
        Queue::options().namespace(&place.0).codec(Codec::Json).create("words").unwrap();
    words.put("tick \"tock\"").unwrap();
    is(
        &place.run(&["queue", "peek", "words"]),
        0,
        "ID  TRIED  SIZE  ITEM\n -      -    15  \"tick \\\"tock\\\"\"\n",
    );
    is(&place.run(&["queue", "get", "words", "-r"]), 0, "tick \"tock\"\n");
    is(&fed(&place, &["queue", "put", "words", "--string"], b"a \"b\"\n\n"), 0, "");
    assert_eq!(words.batch().drain().unwrap(), ["a \"b\"", ""]);
    let frames: JoinableQueue<Bytes> = JoinableQueue::options().namespace(&place.0).create("frames").unwrap();
    frames.put(&Bytes::from(&b"\xff\0raw"[..])).unwrap();
    let said = place.run(&["queue", "get", "frames", "--json"]);
    assert_eq!((&records(&said)[0]["base64"], &records(&said)[0]["bytes"]), (&json!("/wByYXc="), &json!(5)));
    is(&place.run(&["queue", "put", "frames", "text"]), 0, "");
    assert_eq!(*frames.get().unwrap(), *b"text");
    let texts: JoinableQueue<String> =
        JoinableQueue::options().namespace(&place.0).bytes_only().open("frames").unwrap();
    assert_eq!(*texts.get().unwrap(), "text");
}

#[test]
fn a_queue_of_other_values_says_so_and_shows_sizes() {
    let place = Place::new("queue-bincode");
    let points: JoinableQueue<Point> = JoinableQueue::options().namespace(&place.0).create("points").unwrap();
    points.put(&Point { x: 1, name: "a".to_owned() }).unwrap();
    let plain: Queue<Vec<u64>> = Queue::options().namespace(&place.0).create("plain").unwrap();
    plain.put(&vec![7; 1000]).unwrap();
    for name in ["points", "plain"] {
        for verb in ["get", "put", "drain"] {
            let said = place.run(&["queue", verb, name]);
            assert_eq!((said.code(), said.stdout.as_str()), (Some(65), ""), "{said:?}");
            assert!(said.stderr.contains("has items in Bincode of type "), "{said:?}");
        }
        is(&place.run(&["queue", "len", name]), 0, "1\n");
    }
    assert_eq!(place.run(&["queue", "work", "points", "--", "true"]).code(), Some(65));
    let said = place.run(&["queue", "peek", "points"]);
    is(&said, 0, "ID  TRIED  SIZE\n 1      0    13\n");
    assert!(said.stderr.contains("Point"), "{said:?}");
    is(&place.run(&["queue", "peek", "plain"]), 0, "ID  TRIED  SIZE\n -      -  7.8K\n");
    let said = place.run(&["queue", "peek", "points", "--json"]);
    assert_eq!((&records(&said)[0]["codec"], &records(&said)[0]["item"]), (&json!("bincode"), &Value::Null));
    is(&place.run(&["queue", "drain", "points", "--quiet"]), 0, "");
    is(&place.run(&["queue", "drain", "plain", "-q"]), 0, "");
    assert_eq!((points.unfinished(), plain.len()), (0, 0));
}

#[test]
fn what_cannot_be_printed_is_not_gone() {
    let place = Place::new("queue-unprinted");
    assert_eq!(place.run(&["queue", "put", "q", "one", "two"]).code(), Some(0));
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    for options in [&["-c", "2"][..], &["--lease", "100"], &["--owner", "1"]] {
        let arguments = [&["queue", "get", "q"], options].concat();
        let mut child = place.command(&arguments).stdout(full()).stderr(Stdio::null()).spawn().unwrap();
        let status = until("the command to end", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(125), "{options:?}");
        // A keeper sees a moment later that nobody has them.
        let is_back = || {
            let record = records(&place.run(&["queue", "len", "q", "--json"])).remove(0);
            (record["len"] == 2 && record["leased"] == 0).then_some(())
        };
        until("the items to be back", is_back);
    }
    let said = place.run(&["queue", "get", "q", "-c", "2", "--json"]);
    let attempts: Vec<_> = records(&said).iter().map(|record| record["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 1], "nobody has tried them");
}

#[test]
fn a_put_that_is_killed_has_put_the_first_items_each_whole() {
    let place = Place::new("queue-killed-put");
    let item = |n: u64| format!("{n}:{}", "x".repeat((n % 300) as usize));
    assert_eq!(place.run(&["queue", "create", "q", "--max-bytes", "64M"]).code(), Some(0));
    for round in 0..5 {
        let (mut running, mut stdin) = Running::start_with_stdin(&mut place.command(&["queue", "put", "q"]));
        let text: String = (0..40_000).map(|n| item(n) + "\n").collect();
        let writer = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
        until("some to be put", || {
            let len: u64 = place.run(&["queue", "len", "q"]).stdout.trim().parse().unwrap();
            (len > 100 * round).then_some(())
        });
        let was_running = running.is_running();
        running.signal(Signal::SIGKILL);
        drop(running.end());
        writer.join().unwrap();
        let said = place.run(&["queue", "drain", "q"]);
        let got: Vec<&str> = said.stdout.lines().collect();
        note(&format!("round {round}: {} put, killed in the middle: {was_running}", got.len()));
        assert!(got.iter().enumerate().all(|(n, line)| *line == item(n as u64)), "not the first ones, whole");
    }
}

#[test]
fn a_queue_is_shown_closed_and_opened_and_dead_letters_are_tried_again() {
    let place = Place::new("queue-shown");
    assert_eq!(place.run(&["queue", "create", "q", "--max-attempts", "1"]).code(), Some(0));
    assert_eq!(place.run(&["queue", "put", "q", "good", "bad", "\u{1b}[2J"]).code(), Some(0));
    is(
        &place.run(&["queue", "peek", "q"]),
        0,
        "ID  TRIED  SIZE  ITEM\n 1      0     4  good\n 2      0     3  bad\n 3      0     4  \\u{1b}[2J\n",
    );
    is(&place.run(&["queue", "peek", "q", "-c", "1"]), 0, "ID  TRIED  SIZE  ITEM\n 1      0     4  good\n");
    let said = place.run(&["queue", "work", "q", "--until-empty", "--", "test", "good", "="]);
    is(&said, 123, "");
    assert!(said.stderr.contains("2 of 3 items failed"), "{said:?}");
    is(
        &place.run(&["queue", "dead", "q"]),
        0,
        "ID  TRIED  SIZE  ITEM\n 2      1     3  bad\n 3      1     4  \\u{1b}[2J\n",
    );
    let record = records(&place.run(&["queue", "len", "q", "--json"])).remove(0);
    assert_eq!(
        record,
        json!({"v": 1, "kind": "queue", "name": "q", "len": 0, "leased": 0, "dead": 2, "closed": false, "codec": "text"})
    );
    is(
        &place.run(&["queue", "dead", "q", "3", "--json"]),
        0,
        "{\"v\":1,\"kind\":\"dead_letter\",\"name\":\"q\",\"id\":3,\"attempt\":1,\"bytes\":4,\"item\":\"\\u001b[2J\"}\n",
    );
    is(&place.run(&["queue", "dead", "q", "3", "--discard"]), 0, "");
    is(
        &place.run(&["queue", "retry", "q", "--json"]),
        0,
        "{\"v\":1,\"kind\":\"retry\",\"name\":\"q\",\"retried\":1}\n",
    );
    is(&place.run(&["queue", "dead", "q"]), 0, "");
    is(&place.run(&["queue", "close", "q"]), 0, "");
    is(&place.run(&["queue", "get", "q"]), 0, "bad\n");
    is(&place.run(&["queue", "get", "q"]), 1, "");
    is(&place.run(&["queue", "reopen", "q"]), 0, "");
    is(&place.run(&["queue", "get", "q", "-n"]), 75, "");
}
