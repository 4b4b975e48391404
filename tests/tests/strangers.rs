//! Two programs in which a type has another name, and its fields too until serde renames them, exchange
//! messages by the name of a queue, if they have agreed how the type is called; else, or if it is made
//! otherwise in one of them, the one that comes second is told so, and by which names.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{JoinableQueue, Queue};
use procession_tests::{Scratch, program};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

const ALL: &str = "1 soup 1 [0], 2 soup 2 [0-], 3 soup 3 [0-2], 4 soup 4 [0-2-], 5 soup 5 [0-2-4]";

fn start(scratch: &Scratch, name: &str, kind: &str, tag: &str) -> Child {
    let what: &[&str] = if name == "tasks" { &["same"] } else { &[] };
    start_with(scratch, name, &[&[kind, tag], what].concat())
}

fn start_with(scratch: &Scratch, name: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program(name));
    command.env("PROCESSION_NAMESPACE", scratch.name()).args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// What it says, and that it ended with `code`.
fn says(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn two_programs_exchange_messages_of_types_that_they_call_the_same() {
    for (kind, receipts) in [("queue", "1:7 2:8 3:9 4:10 5:11"), ("joinable", "0 left")] {
        let scratch = Scratch::new();
        let tasks = start(&scratch, "tasks", kind, "jobs.v1");
        let orders = start(&scratch, "orders", kind, "jobs.v1");
        assert_eq!(says(&orders.wait_with_output().unwrap(), 0), receipts);
        assert_eq!(says(&tasks.wait_with_output().unwrap(), 0), ALL);
    }
}

#[test]
fn who_calls_them_otherwise_is_told_what_both_call_them() {
    let path = ["orders::Order", "tasks::kitchen::Task"];
    let cases = [
        // What `orders` calls them, what `tasks` does, and what the refused one is told of.
        ("jobs.v1", "-", ["jobs.v1", path[1]]),
        ("-", "jobs.v1", [path[0], "jobs.v1"]),
        ("jobs.v1", "jobs.v2", ["jobs.v1", "jobs.v2"]),
        ("-", "-", path),
    ];
    for kind in ["queue", "joinable"] {
        for (theirs, ours, told) in cases {
            let scratch = Scratch::unswept();
            // It stays until it is killed: nobody does what it has put. Then nobody is in the namespace.
            let mut orders = start(&scratch, "orders", kind, theirs);
            let said = says(&start(&scratch, "tasks", kind, ours).wait_with_output().unwrap(), 3);
            let is_named = told.iter().all(|name| said.contains(name));
            assert!(is_named && said.contains("\"jobs\" in namespace"), "{theirs} {ours}: {said}");
            orders.kill().unwrap();
            orders.wait().unwrap();
            for name in scratch.objects() {
                scratch.unlink(&name).unwrap();
            }
        }
    }
}

/// In other builds of `tasks`, under the tag that both programs have agreed on.
#[test]
fn who_makes_them_otherwise_is_told_what_is_different_when_it_opens_them() {
    let cases = [
        ("swapped", 3, "field 1 of element is number: u64 there, and dish: string here"),
        ("renamed", 3, "field 2 of element is dish: string there, and course: string here"),
        ("widened", 3, "element.extras[] is u8 there, and u16 here"),
        ("grown", 0, "opened"),
    ];
    for kind in ["queue", "joinable"] {
        let scratch = Scratch::unswept();
        let mut orders = start(&scratch, "orders", kind, "jobs.v1");
        for (what, code, told) in cases {
            let tasks = start_with(&scratch, "tasks", &[kind, "jobs.v1", what]);
            let said = says(&tasks.wait_with_output().unwrap(), code);
            assert!(said.contains(told), "{said}");
            let names_both = ["\"jobs\" in namespace", "of type jobs.v1", "tasks::other_kitchens"];
            assert!(code == 0 || names_both.iter().all(|name| said.contains(name)), "{said}");
        }
        orders.kill().unwrap();
        orders.wait().unwrap();
        for name in scratch.objects() {
            scratch.unlink(&name).unwrap();
        }
    }
}

/// A message of a program that does not show what it is made of.
#[derive(Debug, PartialEq, Serialize)]
struct Hidden(u64, String);

/// Whether it is read.
static MAY_BE_READ: AtomicBool = AtomicBool::new(false);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !MAY_BE_READ.load(Relaxed) {
            return Err(D::Error::custom("nothing is shown"));
        }
        <(u64, String)>::deserialize(deserializer).map(|(number, text)| Self(number, text))
    }
}

/// The tag and the structure are all that counts: a program that hides what it writes gets, or gives, what is
/// not the type, and that does no harm.
#[test]
fn under_a_false_tag_other_messages_are_refused_one_by_one() {
    let scratch = Scratch::new();
    let queue: Queue<Hidden> =
        Queue::options().namespace(&scratch).type_tag("jobs.v1").create("jobs").unwrap();
    let receipts: Queue<Hidden> =
        Queue::options().namespace(&scratch).type_tag("receipts.v1").create("receipts").unwrap();
    MAY_BE_READ.store(true, Relaxed);
    queue.put(&Hidden(1, "no parts".to_owned())).unwrap();
    let said = says(&start(&scratch, "tasks", "queue", "jobs.v1").wait_with_output().unwrap(), 3);
    assert!(said.contains("is not of its type"), "{said}");
    assert!(queue.is_empty());
    queue.unlink().unwrap();
    receipts.unlink().unwrap();
    MAY_BE_READ.store(false, Relaxed);
    let jobs: JoinableQueue<Hidden> =
        JoinableQueue::options().namespace(&scratch).type_tag("jobs.v1").create("jobs").unwrap();
    MAY_BE_READ.store(true, Relaxed);
    jobs.put(&Hidden(1, "no parts".to_owned())).unwrap();
    let said = says(&start(&scratch, "tasks", "joinable", "jobs.v1").wait_with_output().unwrap(), 3);
    assert!(said.contains("is not of its type"), "{said}");
    // It is there for whoever understands it.
    let lease = jobs.get().unwrap();
    assert_eq!((&*lease, lease.attempt()), (&Hidden(1, "no parts".to_owned()), 2));
    lease.task_done().unwrap();
    jobs.unlink().unwrap();
}
