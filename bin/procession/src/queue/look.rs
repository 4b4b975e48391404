//! `procession queue peek`, `drain`, `len`, `close`, `reopen`, `dead` and `retry`: what is in a queue, and what becomes of
//! all of it at once.

use super::get::take;
use super::item::{Item, ItemArgs, Printer, Record, shown};
use super::store::{Store, codec_word, is_readable, unreadable};
use super::{QueueName, why_not_got};
use crate::holding::{Wait, refusal};
use crate::list::size;
use clap::builder::FalseyValueParser;
use procession::{Codec, DeadLetter, Encoded, GetError, JoinableQueue};
use procession_terminal::exit::{Failure, INCOMPLETE};
use procession_terminal::output::{self, Align};
use serde::Serialize;

/// Show the first items, which stay where they are.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue peek jobs\n  procession queue peek jobs -c 100 --json | jq .bytes\n\nItems that only programs with the type can read are shown by their size.\n\nExit codes: 0 shown, also if there is none; 66 no such queue"
)]
pub(super) struct PeekArgs {
    #[command(flatten)]
    queue: QueueName,
    /// So many items at the most.
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 10,
        env = "PROCESSION_QUEUE_COUNT",
        hide_env = true
    )]
    count: u32,
    /// Print each item as a line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
}

/// Take all items out that are there now, and print them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue drain jobs > jobs.txt\n  procession queue drain jobs --quiet\n\nItems that are leased are not there: they may come back.\n\nExit codes: 0 they are out, also if there was none; 65 only programs that have\nthe type can read them, and --quiet was not said; 66 no such queue"
)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    queue: QueueName,
    /// Throw them away, and print nothing.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    pub(super) item: ItemArgs,
}

/// Print how many items are there to be got.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue len jobs\n  procession queue len jobs --json | jq .leased\n\nExit codes: 0 printed; 66 no such queue"
)]
pub(super) struct LenArgs {
    #[command(flatten)]
    queue: QueueName,
    /// Print how many are leased and dead, too, and whether it is closed, as one JSON document.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
}

/// Close a queue: nothing is put any more, and those who get are told so once everything is done.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue close jobs\n  procession queue put jobs last && procession queue close jobs\n\nExit codes: 0 it is closed; 66 no such queue"
)]
pub(super) struct CloseArgs {
    #[command(flatten)]
    queue: QueueName,
}

/// Open a closed queue again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue reopen jobs\n  procession -N build queue reopen jobs\n\nExit codes: 0 it is open; 66 no such queue"
)]
pub(super) struct ReopenArgs {
    #[command(flatten)]
    queue: QueueName,
}

/// Show the dead letters: items that were tried as often as they may be, and never done.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue dead enc\n  procession queue dead enc 17 --discard\n\nDead letters stay in their queue, and take room, until they are discarded or\ntried again (`queue retry`).\n\nExit codes: 0 shown or discarded, also if there is none; 1 one of these numbers\nis no dead letter; 65 the queue has no leases; 66 no such queue"
)]
pub(super) struct DeadArgs {
    #[command(flatten)]
    queue: QueueName,
    /// The numbers of the items; without any, all.
    #[arg(value_name = "ID")]
    ids: Vec<u64>,
    /// Throw them away.
    #[arg(long)]
    discard: bool,
    /// Print each as a line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
}

/// Put dead letters back among the items, with no attempt made.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession queue retry enc\n  procession queue retry enc 17 23\n\nExit codes: 0 they are back, also if there was none; 1 one of these numbers is\nno dead letter; 65 the queue has no leases; 66 no such queue"
)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    queue: QueueName,
    /// The numbers of the items; without any, all.
    #[arg(value_name = "ID")]
    ids: Vec<u64>,
    /// Print how many, as one JSON document.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(super) json: bool,
}

/// # Errors
/// Those of the help.
pub(super) fn peek(args: &PeekArgs) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    let store = Store::open(name)?;
    let most = args.count as usize;
    let items: Vec<Item> = match &store {
        Store::Leased(queue) => {
            let peeked = queue.peek(most)?.into_iter();
            peeked
                .map(|one| Item {
                    id: Some(one.id),
                    attempt: Some(one.attempts),
                    bytes: one.bytes,
                    ..Item::default()
                })
                .collect()
        }
        Store::Plain(queue) => {
            let peeked = queue.batch().peek(most).map_err(|failed| failed.error)?.into_iter();
            peeked.map(|one| Item { bytes: one.into(), ..Item::default() }).collect()
        }
    };
    show("item", name, store.codec(), &items, args.json)
}

/// Items as a table, or as lines of JSON.
fn show(kind: &'static str, name: &str, codec: Codec, items: &[Item], json: bool) -> Result<(), Failure> {
    if json {
        return items.iter().try_for_each(|item| output::json(&Record::of(kind, name, codec, item)));
    }
    if items.is_empty() {
        return Ok(());
    }
    let or_none = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let row = |item: &Item| {
        vec![
            or_none(item.id.map(|id| id.to_string())),
            or_none(item.attempt.map(|attempt| attempt.to_string())),
            size(item.bytes.len() as u64),
            shown(codec, &item.bytes),
        ]
    };
    let mut heading =
        vec![("ID", Align::Right), ("TRIED", Align::Right), ("SIZE", Align::Right), ("ITEM", Align::Left)];
    if !is_readable(codec) {
        heading.pop();
    }
    output::table(&heading, &items.iter().map(row).collect::<Vec<_>>())?;
    if !is_readable(codec) {
        output::warn(&format!(
            "{}, which only programs that have the type can read",
            unreadable(name, codec)
        ));
    }
    Ok(())
}

/// # Errors
/// Those of the help.
pub(super) fn drain(args: &DrainArgs) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    let store = Store::open(name)?;
    if !args.quiet {
        store.must_be_readable(name)?;
    }
    let mut printer = Printer::new(name, store.codec(), args.item);
    match store {
        Store::Leased(queue) => {
            // Not those that are put meanwhile, or it might never end.
            let most = queue.unfinished();
            let drained = if args.quiet {
                discard(&queue, most)
            } else {
                take(&queue, Wait::Not, most.max(1), &mut printer)?.map(drop)
            };
            match drained {
                Ok(()) | Err(GetError::WouldBlock(_) | GetError::Closed(_)) => Ok(()),
                Err(error) => Err(why_not_got(name, error, None)),
            }
        }
        Store::Plain(queue) => {
            let (items, error) = match queue.batch().drain() {
                Ok(items) => (items, None),
                Err(failed) => (failed.got, Some(failed.error)),
            };
            for item in items.into_iter().filter(|_| !args.quiet) {
                printer.add(&Item { bytes: item.into(), ..Item::default() })?;
            }
            printer.flush()?;
            error.map_or(Ok(()), |error| Err(why_not_got(name, error, None)))
        }
    }
}

fn discard(queue: &JoinableQueue<Encoded>, most: usize) -> Result<(), GetError> {
    // One that cannot be acknowledged is there again, and still to be thrown away.
    (0..most).try_for_each(|_| queue.try_get().map(|lease| drop(lease.task_done())))
}

/// What is in a queue, in `--json`.
#[derive(Serialize)]
struct LenRecord<'a> {
    v: u32,
    kind: &'static str,
    name: &'a str,
    len: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    leased: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<usize>,
    closed: bool,
    codec: String,
}

/// # Errors
/// Those of the help.
pub(super) fn len(args: &LenArgs) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    let store = Store::open(name)?;
    if !args.json {
        return output::line(store.len());
    }
    let (len, leased, dead) = match &store {
        Store::Plain(queue) => (queue.len(), None, None),
        Store::Leased(queue) => {
            let (unfinished, len) = (queue.unfinished(), queue.len());
            (len, Some(unfinished.saturating_sub(len)), Some(queue.n_dead()))
        }
    };
    let (closed, codec) = (store.is_closed(), codec_word(store.codec().id()));
    output::json(&LenRecord { v: 1, kind: "queue", name, len, leased, dead, closed, codec })
}

/// # Errors
/// Those of the help.
pub(super) fn close(args: &CloseArgs) -> Result<(), Failure> {
    match Store::open(&args.queue.name)? {
        Store::Plain(queue) => Ok(queue.close()?),
        Store::Leased(queue) => Ok(queue.close()?),
    }
}

/// # Errors
/// Those of the help.
pub(super) fn reopen(args: &ReopenArgs) -> Result<(), Failure> {
    match Store::open(&args.queue.name)? {
        Store::Plain(queue) => Ok(queue.reopen()?),
        Store::Leased(queue) => Ok(queue.reopen()?),
    }
}

/// # Errors
/// Those of the help.
pub(super) fn dead(args: &DeadArgs) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    let queue = Store::open_leased(name, "a dead letter")?;
    let letters = letters(&queue, name, &args.ids)?;
    if args.discard {
        return letters.iter().try_for_each(|letter| queue.discard(letter).map(drop)).map_err(Into::into);
    }
    let item = |letter: DeadLetter<Encoded>| Item {
        id: Some(letter.id),
        attempt: Some(letter.attempts),
        bytes: letter.bytes,
        ..Item::default()
    };
    let items: Vec<Item> = letters.into_iter().map(item).collect();
    show("dead_letter", name, queue.codec(), &items, args.json)
}

/// The dead letters of these numbers, or all.
fn letters(
    queue: &JoinableQueue<Encoded>,
    name: &str,
    ids: &[u64],
) -> Result<Vec<DeadLetter<Encoded>>, Failure> {
    let mut letters = queue.dead_letters()?;
    if let Some(id) = ids.iter().find(|&&id| !letters.iter().any(|letter| letter.id == id)) {
        let message = format!("item {id} of queue {name:?} is no dead letter; nothing was changed");
        return Err(refusal("no_dead_letter", INCOMPLETE, message));
    }
    letters.retain(|letter| ids.is_empty() || ids.contains(&letter.id));
    Ok(letters)
}

/// How many are tried again, in `--json`.
#[derive(Serialize)]
struct RetryRecord<'a> {
    v: u32,
    kind: &'static str,
    name: &'a str,
    retried: usize,
}

/// # Errors
/// Those of the help.
pub(super) fn retry(args: &RetryArgs) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    let queue = Store::open_leased(name, "a dead letter")?;
    let mut retried = 0;
    for letter in letters(&queue, name, &args.ids)? {
        // Another may have decided about it meanwhile.
        retried += usize::from(queue.retry(&letter)?);
    }
    if args.json {
        return output::json(&RetryRecord { v: 1, kind: "retry", name, retried });
    }
    Ok(())
}
