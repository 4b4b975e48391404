//! `procession queue put`: what is typed, or the lines of stdin, as items.
//!
//! Items are put as they come, many by one lock: whoever writes into the pipe slowly is not waited for. Each is
//! committed by itself. Killed in the middle, this process has put the first of them, each whole; of one that it has
//! not read to its end nothing is put.

use super::QueueName;
use super::store::Store;
use crate::input::read_some;
use crate::list::size;
use crate::under::{WaitArgs, told};
use clap::builder::FalseyValueParser;
use procession::{Codec, Encoded, PutError, PutManyError};
use procession_sys::Deadline;
use procession_terminal::exit::{DISAGREE, Failure, INCOMPLETE, NOT_ACQUIRED, Refusal};
use procession_terminal::output;
use serde::Serialize;
use serde::de::IgnoredAny;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// Put items at the end of a queue: those that are typed, or the lines of stdin.
#[derive(Debug, clap::Args)]
#[command(after_help = PUT_HELP)]
pub(super) struct PutArgs {
    #[command(flatten)]
    queue: QueueName,
    /// The items; without any, every line of stdin is one.
    #[arg(value_name = "ITEM")]
    items: Vec<OsString>,
    /// Every line of stdin is an item, as it is when none is typed.
    #[arg(long, conflicts_with = "items", env = "PROCESSION_QUEUE_PUT_STDIN", hide_env = true, value_parser = FalseyValueParser::new())]
    stdin: bool,
    /// Items on stdin end with a zero byte and not with their line, as `find -print0` writes them.
    #[arg(short = '0', long, conflicts_with = "items", env = "PROCESSION_QUEUE_PUT_NULL", hide_env = true, value_parser = FalseyValueParser::new())]
    null: bool,
    /// All of stdin is one item.
    #[arg(long, conflicts_with_all = ["items", "null"], env = "PROCESSION_QUEUE_PUT_WHOLE", hide_env = true, value_parser = FalseyValueParser::new())]
    whole: bool,
    /// Into a queue of JSON: the items are text, and are put as JSON strings.
    #[arg(short, long, env = "PROCESSION_QUEUE_PUT_STRING", hide_env = true, value_parser = FalseyValueParser::new())]
    string: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print how many were put, and say errors, as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

const PUT_HELP: &str = "\
Examples:
  procession queue put jobs wash dry
  procession queue put enc -0 < names

What `find … -print0` writes is for -0; items that begin with - stand behind --.

A queue that is not there is made, with leases, for text, of 8 MiB. It waits
while the queue is full, and says so once. An item is in the queue, whole, or is
not, whoever is killed; those before a mistake are put.

A queue of text has items of any bytes: a program has it as
JoinableQueue<Bytes>, or of String. In a queue of JSON each item is one JSON
text, and empty lines are left out.

Exit codes: 0 all are put; 1 the queue is closed; 65 an item is no JSON or is
too large, or other programs keep values of their own in it; 75 it is full, and
-n was said or the time of -w is over (or -E); 125 procession failed.";

/// How long it waits for room before it says so.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of stdin is read at a time.
const AT_A_TIME: usize = 1 << 17;

/// How many were put, in `--json`.
#[derive(Serialize)]
struct Record<'a> {
    v: u32,
    kind: &'static str,
    name: &'a str,
    put: usize,
}

/// # Errors
/// Those of the help.
pub(super) fn run(args: &PutArgs) -> Result<(), Failure> {
    told(args.json, put(args))
}

fn put(args: &PutArgs) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    let store = Store::find_or_make(name)?;
    store.must_be_readable(name)?;
    let codec = store.codec();
    if args.string && codec != Codec::Json {
        return Err(Failure::Usage(format!("--string is for queues of JSON, and queue {name:?} has text")));
    }
    let deadline = args.wait.deadline();
    let (string, code) = (args.string, args.wait.conflict_exit_code);
    let mut putting =
        Putting { name, store, codec, string, deadline, code, read: 0, put: 0, has_said: false };
    if args.items.is_empty() {
        putting.put_stdin(args)?;
    } else {
        putting.put(args.items.iter().map(|item| item.clone().into_vec()))?;
    }
    if args.json {
        return output::json(&Record { v: 1, kind: "put", name, put: putting.put });
    }
    Ok(())
}

/// How far it has come.
struct Putting<'a> {
    name: &'a str,
    store: Store,
    codec: Codec,
    /// Whether items are made JSON strings.
    string: bool,
    deadline: Deadline,
    /// The exit code when it is full.
    code: Option<u8>,
    /// How many items were read.
    read: usize,
    put: usize,
    /// Whether it was said that the queue is full.
    has_said: bool,
}

impl Putting<'_> {
    fn put_stdin(&mut self, args: &PutArgs) -> Result<(), Failure> {
        let end = (!args.whole).then_some(if args.null { 0 } else { b'\n' });
        let mut text = Vec::new();
        loop {
            let before = text.len();
            if read_some(&mut text, AT_A_TIME)? == 0 {
                break;
            }
            // Only what is new may have an end in it.
            let last_end = text[before..].iter().rposition(|&byte| Some(byte) == end);
            if let Some((last, end)) = last_end.zip(end) {
                let whole = before + last;
                self.put(text[..whole].split(|&byte| byte == end).map(<[u8]>::to_vec))?;
                text.drain(..=whole);
            }
        }
        // The last one need not be ended.
        if text.is_empty() && end.is_some() { Ok(()) } else { self.put(std::iter::once(text)) }
    }

    /// Puts these items; if one of them is none, those before it.
    fn put(&mut self, items: impl Iterator<Item = Vec<u8>>) -> Result<(), Failure> {
        let mut all = Vec::new();
        let mut wrong = None;
        for item in items {
            self.read += 1;
            match self.encoded(item) {
                Ok(item) => all.extend(item),
                Err(failure) => {
                    wrong = Some(failure);
                    break;
                }
            }
        }
        self.put_all(&all)?;
        wrong.map_or(Ok(()), Err)
    }

    /// The item as it lies in the queue; `None` for an empty line in a list of JSON texts.
    fn encoded(&self, item: Vec<u8>) -> Result<Option<Encoded>, Failure> {
        let wrong = |what: &str, error: &dyn std::fmt::Display| {
            let (read, name) = (self.read, self.name);
            let message = format!(
                "item {read} is no {what} ({error}), and queue {name:?} has JSON: {} before it were put{}",
                self.read - 1,
                if self.string { "" } else { "; --string puts text as JSON strings" }
            );
            self.refused("not_json", DISAGREE, message)
        };
        match self.codec {
            Codec::Json if self.string => {
                let text = String::from_utf8(item).map_err(|error| wrong("text", &error))?;
                Ok(Some(serde_json::to_vec(&text)?.into()))
            }
            Codec::Json if item.trim_ascii().is_empty() => Ok(None),
            Codec::Json => match serde_json::from_slice::<IgnoredAny>(&item) {
                Ok(_) => Ok(Some(item.into())),
                Err(error) => Err(wrong("JSON", &error)),
            },
            _ => Ok(Some(item.into())),
        }
    }

    fn put_all(&mut self, mut items: &[Encoded]) -> Result<(), Failure> {
        while !items.is_empty() {
            // It waits for a while, says that it waits, and waits on.
            let is_soon = self.deadline.remaining().is_some_and(|left| left <= PATIENCE);
            let until = if self.has_said || is_soon { self.deadline } else { Deadline::after(PATIENCE) };
            let Err(PutManyError { put, error, .. }) = put_until(&self.store, items, until) else {
                self.put += items.len();
                return Ok(());
            };
            self.put += put;
            items = &items[put..];
            match error {
                PutError::TimedOut(full) if !self.deadline.has_passed() => {
                    if put == 0 && !self.has_said {
                        self.has_said = true;
                        let (name, number) = (self.name, output::number_of(full.messages as u64, "item"));
                        output::warn(&format!(
                            "queue {name:?} is full, with {number}: waiting until somebody gets from it"
                        ));
                    }
                }
                error => return Err(self.why_not(error)),
            }
        }
        Ok(())
    }

    fn why_not(&self, error: PutError) -> Failure {
        let Self { name, put, .. } = *self;
        let put = output::number_of(put as u64, "item");
        match error {
            PutError::WouldBlock(full) | PutError::TimedOut(full) => {
                let message = format!(
                    "queue {name:?} is full: {} in {}; {put} of this were put",
                    output::number_of(full.messages as u64, "item"),
                    size(full.bytes)
                );
                self.refused("full", self.code.unwrap_or(NOT_ACQUIRED), message)
            }
            PutError::Closed(_) => {
                let message = format!(
                    "queue {name:?} is closed: {put} were put; `procession queue reopen {name}` opens it"
                );
                self.refused("closed", INCOMPLETE, message)
            }
            PutError::TooLarge { len, most, .. } => {
                let message = format!(
                    "item {} has {len} bytes, and queue {name:?} takes {most} at the most: make it with a larger --max-bytes; \
                     {put} were put",
                    self.put + 1
                );
                self.refused("too_large", DISAGREE, message)
            }
            error => error.into(),
        }
    }

    fn refused(&self, reason: &'static str, code: u8, message: String) -> Failure {
        let details = [("name".to_owned(), self.name.into()), ("put".to_owned(), self.put.into())];
        Failure::Refused(Box::new(Refusal { code, reason, message, details: details.into_iter().collect() }))
    }
}

fn put_until(store: &Store, items: &[Encoded], deadline: Deadline) -> Result<(), PutManyError> {
    match (store, deadline.remaining()) {
        (Store::Leased(queue), None) => queue.batch().put(items),
        (Store::Leased(queue), Some(Duration::ZERO)) => queue.batch().try_put(items),
        (Store::Leased(queue), Some(left)) => queue.batch().put_timeout(items, left),
        (Store::Plain(queue), None) => queue.batch().put(items),
        (Store::Plain(queue), Some(Duration::ZERO)) => queue.batch().try_put(items),
        (Store::Plain(queue), Some(left)) => queue.batch().put_timeout(items, left),
    }
}
