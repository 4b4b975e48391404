//! `procession queue`: items between scripts and programs, which get them one by one.
//!
//! A queue is the library's: a `JoinableQueue` whose items are bytes (text) or JSON, made by `create` or `put`; or a
//! `Queue`, which a program has made, or `create --plain`. What programs keep in it in another form is shown by its size
//! alone. A lease belongs to a process: to a worker of `work` (`queue/worker.rs`), whose command is its ward, or to a
//! keeper (`queue/keeper.rs`), which holds it for a process that is not of this library.

mod crew;
pub(crate) mod get;
pub(crate) mod item;
pub(crate) mod keeper;
pub(crate) mod lease;
mod look;
mod put;
mod store;
mod work;
mod worker;

use crate::duration::duration;
use crate::under::told;
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use procession::{Codec, GetError, Namespace};
use procession_terminal::exit::{Failure, INCOMPLETE, NOT_ACQUIRED, Refusal};
use std::time::Duration;
use store::{Store, Wanted};

/// Items between scripts and programs: `queue put NAME ITEM…`, `queue work NAME -- CMD {}`.
#[derive(Debug, clap::Args)]
#[command(after_help = QUEUE_HELP)]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(CreateArgs),
    Put(put::PutArgs),
    Get(get::GetArgs),
    Work(work::WorkArgs),
    Ack(lease::AckArgs),
    Nack(lease::NackArgs),
    Extend(lease::ExtendArgs),
    Peek(look::PeekArgs),
    Drain(look::DrainArgs),
    Len(look::LenArgs),
    Close(look::CloseArgs),
    Reopen(look::ReopenArgs),
    Dead(look::DeadArgs),
    Retry(look::RetryArgs),
    #[command(name = crate::keeper::KEEPER, hide = true)]
    Keeper(keeper::LeaseKeeperArgs),
    #[command(name = work::WORKER, hide = true)]
    Worker(work::WorkerArgs),
}

/// Which queue.
#[derive(Debug, clap::Args)]
pub(crate) struct QueueName {
    /// The queue.
    pub(crate) name: String,
}

/// Make a queue. One that is there must agree with what is said.
#[derive(Debug, clap::Args)]
#[command(after_help = CREATE_HELP)]
struct CreateArgs {
    #[command(flatten)]
    queue: QueueName,
    /// What its items are: text, which may be any bytes, or JSON.
    #[arg(long, value_enum, value_name = "CODEC", env = "PROCESSION_QUEUE_CODEC", hide_env = true)]
    codec: Option<Form>,
    /// At most so many items are there to be got; more wait to be put. 0 is no limit.
    #[arg(long, value_name = "N", env = "PROCESSION_QUEUE_CAP", hide_env = true)]
    cap: Option<usize>,
    /// At most so many bytes of items, rounded up to a power of two; each item of a queue with leases takes a multiple of
    /// 128. 64K, 16M, 1G; 8M unless said.
    #[arg(long, value_name = "SIZE", value_parser = bytes, env = "PROCESSION_QUEUE_MAX_BYTES", hide_env = true)]
    max_bytes: Option<u64>,
    /// A lease lasts for so long unless it is extended: 30s, 5m. As long as its holder lives unless said.
    #[arg(long, value_name = "TIME", value_parser = duration, env = "PROCESSION_QUEUE_LEASE", hide_env = true)]
    lease: Option<Duration>,
    /// An item that was tried so often, and is not done, is a dead letter. 5 unless said; 0 is no limit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=4095), env = "PROCESSION_QUEUE_MAX_ATTEMPTS", hide_env = true)]
    max_attempts: Option<u32>,
    /// Without leases: a Queue, where what is got is gone.
    #[arg(long, conflicts_with_all = ["lease", "max_attempts"], env = "PROCESSION_QUEUE_PLAIN", hide_env = true, value_parser = FalseyValueParser::new())]
    plain: bool,
    /// Dead letters stay in their queue.
    #[arg(long, hide = true, value_name = "NAME")]
    dlq: Option<String>,
    /// Say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// What items are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    #[value(alias = "bytes")]
    Text,
    Json,
}

const QUEUE_HELP: &str = "\
Examples:
  procession queue put enc -- *.wav
  procession queue work enc -j 4 --retries 3 -- ./encode {}

A queue belongs to nobody, and is there until it is removed (`procession rm`).
Programs of the library have the same queue: JoinableQueue<Bytes> for text, any
type with .codec(Codec::Json) for JSON.

Exit codes: 0 done; 1 the queue is closed, and everything is done; 65 the queue
is not what was asked for; 66 no such queue; 75 it is empty or full (or -E); 76
the lease is lost; 123 some items of `work` failed; 125 procession failed.";

const CREATE_HELP: &str = "\
Examples:
  procession queue create enc --lease 5m --max-attempts 3
  procession queue create points --codec json --max-bytes 64M

`put` makes a queue, too, if there is none. Dead letters stay in their queue:
`queue dead` shows them, `queue retry` tries them again.

Exit codes: 0 it is there; 65 there is another one of that name, or another kind
of object; 125 procession failed.";

/// # Errors
/// Those of the subcommands.
pub(crate) fn run(args: QueueArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    match args.verb {
        Verb::Create(args) => told(args.json, create(&args)),
        Verb::Put(args) => put::run(&args),
        Verb::Get(args) => get::run(&args),
        Verb::Work(args) => work::run(&args, namespace),
        Verb::Ack(args) => lease::ack(&args),
        Verb::Nack(args) => lease::nack(&args),
        Verb::Extend(args) => lease::extend(&args),
        Verb::Peek(args) => told(args.json, look::peek(&args)),
        Verb::Drain(args) => told(args.item.json, look::drain(&args)),
        Verb::Len(args) => told(args.json, look::len(&args)),
        Verb::Close(args) => look::close(&args),
        Verb::Reopen(args) => look::reopen(&args),
        Verb::Dead(args) => told(args.json, look::dead(&args)),
        Verb::Retry(args) => told(args.json, look::retry(&args)),
        Verb::Keeper(args) => keeper::run(&args),
        Verb::Worker(args) => work::become_worker(&args, namespace),
    }
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    if args.dlq.is_some() {
        return Err(Failure::Usage(format!(
            "there is no --dlq: dead letters stay in their queue, where `procession queue dead {name}` shows them, and \
             `procession queue retry {name}` tries them again"
        )));
    }
    let codec = args.codec.map(|form| match form {
        Form::Text => Codec::Bytes,
        Form::Json => Codec::Json,
    });
    let wanted = Wanted {
        codec,
        capacity: args.cap,
        bytes: args.max_bytes,
        lease: args.lease,
        max_attempts: args.max_attempts,
    };
    Store::open_or_create(name, &wanted, args.plain).map(drop)
}

/// `512`, `64K`, `16M`, `1G`.
fn bytes(text: &str) -> Result<u64, String> {
    let number_end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let shift = match unit.to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(format!("{unit:?} is no unit of bytes: use K, M or G")),
    };
    let number: u64 = number.parse().map_err(|_| "write it as 4096, 64K, 16M or 1G".to_owned())?;
    number
        .checked_shl(shift)
        .filter(|bytes| bytes >> shift == number)
        .ok_or_else(|| "that is too much".to_owned())
}

/// Why nothing was got, as people and scripts are told.
fn why_not_got(name: &str, error: GetError, code: Option<u8>) -> Failure {
    match error {
        GetError::WouldBlock(_) | GetError::TimedOut(_) => empty(name, code),
        GetError::Closed(_) => at_its_end(name),
        error => error.into(),
    }
}

/// That a queue is empty; with this exit code, if it was said.
pub(crate) fn empty(name: &str, code: Option<u8>) -> Failure {
    nothing(name, code.unwrap_or(NOT_ACQUIRED), "empty", format!("queue {name:?} is empty"))
}

/// That a queue is closed, and everything in it done: the end of every loop over it, and nothing to be told about.
pub(crate) fn at_its_end(name: &str) -> Failure {
    nothing(name, INCOMPLETE, "closed", String::new())
}

fn nothing(name: &str, code: u8, reason: &'static str, message: String) -> Failure {
    let details = [("name".to_owned(), name.into())].into_iter().collect();
    Failure::Refused(Box::new(Refusal { code, reason, message, details }))
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read() {
        let read = ["0", "4096", "64K", "16M", "1g", "2GiB", "3kB"].map(|text| bytes(text).unwrap());
        assert_eq!(read, [0, 4096, 65_536, 16 << 20, 1 << 30, 2 << 30, 3072]);
        for wrong in ["", "K", "-1", "1.5M", "1T", "99999999999999999999", "99999999999G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
