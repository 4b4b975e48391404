//! One of two programs that know nothing of each other's types: it makes the queues, puts orders, and gets
//! receipts. The other is `tasks`.
//!
//! Arguments: `queue` or `joinable`, the tag of the orders, or `-` for none. Exits with 3 and the error on
//! stdout when it cannot open what there is.

use procession::{JoinableQueue, JoinableQueueOptions, OpenError, Queue, QueueOptions};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::process::ExitCode;

/// What is ordered.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    number: u64,
    dish: String,
    extras: Vec<Option<u8>>,
}

/// What is told of one that was done: its number, and how many bytes it had.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    id: u64,
    len: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, tag] = arguments.as_slice() else { return ExitCode::FAILURE };
    let outcome = match kind.as_str() {
        "queue" => orders(tag),
        _ => orders_to_be_done(tag),
    };
    let (text, code) = match outcome {
        Ok(text) => (text, 0),
        Err(error) => (error.to_string(), 3),
    };
    let said = writeln!(std::io::stdout(), "{text}");
    said.map_or(ExitCode::FAILURE, |()| code.into())
}

fn order(number: u64) -> Order {
    let extras = (0..number).map(|extra| (extra % 2 == 0).then_some(extra as u8)).collect();
    Order { number, dish: format!("soup {number}"), extras }
}

fn orders(tag: &str) -> Result<String, Box<dyn std::error::Error>> {
    let options = match tag {
        "-" => QueueOptions::default(),
        tag => QueueOptions::default().type_tag(tag),
    };
    let orders: Queue<Order> = options.open_or_create("jobs")?;
    let receipts: Queue<Receipt> = Queue::options().type_tag("receipts.v1").open_or_create("receipts")?;
    (1..=5).try_for_each(|number| orders.put(&order(number)))?;
    orders.close()?;
    let all: Result<Vec<Receipt>, _> = (1..=5).map(|_| receipts.get()).collect();
    receipts.unlink()?;
    orders.unlink()?;
    Ok(all?.iter().map(|Receipt { id, len }| format!("{id}:{len}")).collect::<Vec<_>>().join(" "))
}

fn open_to_be_done(tag: &str) -> Result<JoinableQueue<Order>, OpenError> {
    let options = JoinableQueueOptions::default();
    let options = if tag == "-" { options } else { options.type_tag(tag) };
    options.open_or_create("jobs")
}

fn orders_to_be_done(tag: &str) -> Result<String, Box<dyn std::error::Error>> {
    let orders = open_to_be_done(tag)?;
    (1..=5).try_for_each(|number| orders.put(&order(number)))?;
    orders.join()?;
    orders.close()?;
    orders.unlink()?;
    Ok(format!("{} left", orders.unfinished()))
}
