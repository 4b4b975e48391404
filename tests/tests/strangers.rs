//! Two programs in which a type has another name, and its fields too until serde renames them, exchange
//! messages by the name of a queue, if they have agreed how the type is called; else the one that comes
//! second is told so, and by which names.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{JoinableQueue, Queue};
use procession_tests::{Scratch, program};
use std::process::{Child, Command, Output, Stdio};

const ALL: &str = "1 soup 1 [0], 2 soup 2 [0-], 3 soup 3 [0-2], 4 soup 4 [0-2-], 5 soup 5 [0-2-4]";

fn start(scratch: &Scratch, name: &str, kind: &str, tag: &str) -> Child {
    let mut command = Command::new(program(name));
    command.env("PROCESSION_NAMESPACE", scratch.name()).args([kind, tag]).stdin(Stdio::null());
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

/// The tag is all that counts: a program that lies gets what is not its type, and it does it no harm.
#[test]
fn under_a_false_tag_other_messages_are_refused_one_by_one() {
    let scratch = Scratch::new();
    let queue: Queue<(u64, String)> =
        Queue::options().namespace(&scratch).type_tag("jobs.v1").create("jobs").unwrap();
    let receipts: Queue<u8> =
        Queue::options().namespace(&scratch).type_tag("receipts.v1").create("receipts").unwrap();
    queue.put(&(1, "no parts".to_owned())).unwrap();
    let said = says(&start(&scratch, "tasks", "queue", "jobs.v1").wait_with_output().unwrap(), 3);
    assert!(said.contains("is not of its type"), "{said}");
    assert!(queue.is_empty());
    queue.unlink().unwrap();
    receipts.unlink().unwrap();
    let jobs: JoinableQueue<(u64, String)> =
        JoinableQueue::options().namespace(&scratch).type_tag("jobs.v1").create("jobs").unwrap();
    jobs.put(&(1, "no parts".to_owned())).unwrap();
    let said = says(&start(&scratch, "tasks", "joinable", "jobs.v1").wait_with_output().unwrap(), 3);
    assert!(said.contains("is not of its type"), "{said}");
    // It is there for whoever understands it.
    let lease = jobs.get().unwrap();
    assert_eq!((&*lease, lease.attempt()), (&(1, "no parts".to_owned()), 2));
    lease.task_done().unwrap();
    jobs.unlink().unwrap();
}
