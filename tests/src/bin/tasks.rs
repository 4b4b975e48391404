//! One of two programs that know nothing of each other's types: it opens the queues that `orders` has made,
//! gets what is in them as its own type, and does it.
//!
//! Arguments: `queue` or `joinable`, the tag of the tasks, or `-` for none, and what a task is here: `same`,
//! or another word of `other_kitchens`. Exits with 3 and the error on stdout when it cannot open what there is.

use procession::{GetError, JoinableQueue, OpenError, Queue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::process::ExitCode;

/// The types of this program, at a path and under names of its own; serde calls the fields as the other does.
mod kitchen {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Task {
        #[serde(rename = "number")]
        pub(super) id: u64,
        #[serde(rename = "dish")]
        pub(super) text: String,
        #[serde(rename = "extras")]
        pub(super) parts: Vec<Option<u8>>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Done {
        pub(super) id: u64,
        pub(super) len: usize,
    }
}

use kitchen::{Done, Task};

/// What a task is in other builds of this program.
mod other_kitchens {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Swapped {
        #[serde(rename = "dish")]
        pub(super) text: String,
        pub(super) number: u64,
        pub(super) extras: Vec<Option<u8>>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Renamed {
        pub(super) number: u64,
        pub(super) course: String,
        pub(super) extras: Vec<Option<u8>>,
    }

    /// The numbers are as long as bincode makes them: a few of them would pass unnoticed.
    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Widened {
        pub(super) number: u64,
        pub(super) dish: String,
        pub(super) extras: Vec<Option<u16>>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Grown {
        pub(super) number: u64,
        pub(super) dish: String,
        pub(super) extras: Vec<Option<u8>>,
        #[serde(default)]
        pub(super) retries: u8,
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, tag, what] = arguments.as_slice() else { return ExitCode::FAILURE };
    let outcome = match (what.as_str(), kind.as_str()) {
        ("same", "queue") => tasks(tag),
        ("same", _) => tasks_to_be_done(tag),
        ("swapped", kind) => opens::<other_kitchens::Swapped>(kind, tag),
        ("renamed", kind) => opens::<other_kitchens::Renamed>(kind, tag),
        ("widened", kind) => opens::<other_kitchens::Widened>(kind, tag),
        (_, kind) => opens::<other_kitchens::Grown>(kind, tag),
    };
    let (text, code) = match outcome {
        Ok(text) => (text, 0),
        Err(error) => (error.to_string(), 3),
    };
    let said = writeln!(std::io::stdout(), "{text}");
    said.map_or(ExitCode::FAILURE, |()| code.into())
}

fn describe(task: &Task) -> String {
    let parts: Vec<String> =
        task.parts.iter().map(|part| part.map_or("-".to_owned(), |part| part.to_string())).collect();
    format!("{} {} [{}]", task.id, task.text, parts.join(""))
}

/// Opens what the other makes, once it is there.
fn open<O>(open: impl Fn() -> Result<O, OpenError>) -> Result<O, OpenError> {
    loop {
        match open() {
            Err(OpenError::NotFound { .. }) => std::thread::yield_now(),
            other => return other,
        }
    }
}

/// Opens the queue, and takes nothing.
fn opens<T: Serialize + DeserializeOwned>(
    kind: &str,
    tag: &str,
) -> Result<String, Box<dyn std::error::Error>> {
    match kind {
        "queue" => drop(open(|| Queue::<T>::options().type_tag(tag).open("jobs"))?),
        _ => drop(open(|| JoinableQueue::<T>::options().type_tag(tag).open("jobs"))?),
    }
    Ok("opened".to_owned())
}

fn tasks(tag: &str) -> Result<String, Box<dyn std::error::Error>> {
    let tasks: Queue<Task> = open(|| match tag {
        "-" => Queue::open("jobs"),
        tag => Queue::options().type_tag(tag).open("jobs"),
    })?;
    let done: Queue<Done> = open(|| Queue::options().type_tag("receipts.v1").open("receipts"))?;
    let mut all = Vec::new();
    loop {
        match tasks.get() {
            Ok(task) => {
                all.push(describe(&task));
                done.put(&Done { id: task.id, len: task.text.len() + task.parts.len() })?;
            }
            Err(GetError::Closed(_)) => return Ok(all.join(", ")),
            Err(error) => return Err(error.into()),
        }
    }
}

fn tasks_to_be_done(tag: &str) -> Result<String, Box<dyn std::error::Error>> {
    let tasks: JoinableQueue<Task> = open(|| match tag {
        "-" => JoinableQueue::open("jobs"),
        tag => JoinableQueue::options().type_tag(tag).open("jobs"),
    })?;
    let mut all = Vec::new();
    for task in &tasks {
        let task = task?;
        all.push(describe(&task));
        task.task_done()?;
    }
    Ok(all.join(", "))
}
