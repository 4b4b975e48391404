//! `procession pipe`: bytes from scripts to scripts, as through a named pipe of the system.
//!
//! It is two objects: a queue of pieces, under the name itself; and, with `.writers` behind it, an `RwLock` that each
//! writer reads while it writes, so that a reader knows whether there is one. Whole lines of several writers do not mix:
//! a piece ends with a line, unless a line is longer than a piece.
//!
//! | killed | what it leaves |
//! |---|---|
//! | a writer, while it puts a piece | that piece is there whole, or not at all |
//! | a writer, at any time | the reader reads what was put to its end, and is told of the death |
//! | a reader, with a piece in its hands | that piece is lost, as with a pipe of the system; the others are there |
//! | the last reader, before it removes the pipe | an empty pipe, which the next who uses it finds |

use crate::holding::refusal;
use crate::input::read_some;
use clap::Subcommand;
use procession::{Bytes, GetError, Namespace, Queue, RwLock};
use procession_sys::Deadline;
use procession_terminal::exit::{DISAGREE, Failure};
use procession_terminal::output;
use std::collections::BTreeSet;
use std::io::{Write, stdout};
use std::time::Duration;

/// How much is put at once.
const PIECE: usize = 1 << 16;

/// How long a reader waits before it looks whether there still is a writer: nobody tells it of one that was killed.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// How long a reader waits at the end for others who have the pipe open, before it leaves the pipe to them.
const LEAVES_WITHIN: Duration = Duration::from_millis(200);

/// Send bytes from any number of scripts to others, through a pipe with a name.
#[derive(Debug, clap::Args)]
#[command(after_help = PIPE_HELP)]
pub(crate) struct PipeArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Send(SendArgs),
    Recv(RecvArgs),
}

/// Send what stdin brings.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tail -f app.log | procession pipe send logs\n  seq 1000 | procession pipe send numbers\n\nExit codes: 0 all was sent, 65 the name is another kind of object, 125\nprocession failed"
)]
struct SendArgs {
    /// The pipe; it is made if there is none.
    name: String,
}

/// Print what others send, until none of them is left.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession pipe recv logs >> all.log\n  procession pipe recv numbers | sort -n | tail -1\n\nExit codes: 0 all was printed, 65 a writer was killed before it had sent all,\nor the name is another kind of object, 125 procession failed"
)]
struct RecvArgs {
    /// The pipe; it is made if there is none, and waits for the first who sends.
    name: String,
}

const PIPE_HELP: &str = "\
Examples:
  procession pipe recv logs >> all.log &
  ./a | procession pipe send logs & ./b | procession pipe send logs

Whole lines of several writers do not mix. A writer waits while the pipe is
full; what was sent stays there until somebody reads it. With several readers
each piece goes to one of them. Programs open the same Queue<Bytes> by its name.

Exit codes: 0 done; 2 wrong usage; 65 a writer was killed before it had sent
all, or the name is another kind of object; 125 procession failed.";

/// # Errors
/// What the library says; what cannot be read or written; [`Failure::Refused`] when a writer was killed.
pub(crate) fn run(args: PipeArgs) -> Result<(), Failure> {
    match args.verb {
        Verb::Send(args) => send(&args.name),
        Verb::Recv(args) => receive(&args.name),
    }
}

/// The two objects.
struct Ends {
    pieces: Queue<Bytes>,
    writers: RwLock,
}

impl Ends {
    fn open(name: &str) -> Result<Self, Failure> {
        Ok(Self { pieces: Queue::open_or_create(name)?, writers: RwLock::open_or_create(&writers_of(name))? })
    }
}

fn writers_of(name: &str) -> String {
    format!("{name}.writers")
}

fn send(name: &str) -> Result<(), Failure> {
    let mut ends = Ends::open(name)?;
    let mut writes = ends.writers.read()?.into_owned();
    let mut bytes = Vec::with_capacity(2 * PIECE);
    loop {
        let is_over = read_some(&mut bytes, PIECE)? == 0;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let whole = if is_over || whole == 0 && bytes.len() >= PIECE { bytes.len() } else { whole };
        if whole > 0 {
            let piece: Vec<u8> = bytes.drain(..whole).collect();
            while let Err(error) = ends.pieces.bytes().put(&piece) {
                // The last reader has removed the pipe in the moment in which this one came.
                if !is_removed(&error) {
                    return Err(error.into());
                }
                drop(writes);
                ends = Ends::open(name)?;
                writes = ends.writers.read()?.into_owned();
            }
        }
        if is_over {
            break;
        }
    }
    drop(writes);
    // A reader looks now, and not only at its next look. Nothing is lost if it is gone.
    drop(ends.pieces.bytes().try_put(&[]));
    Ok(())
}

fn is_removed(error: &procession::PutError) -> bool {
    matches!(error, procession::PutError::Fault(procession::Fault::Orphaned { .. }))
}

fn receive(name: &str) -> Result<(), Failure> {
    let ends = Ends::open(name)?;
    let (mut has_come, mut killed) = (false, BTreeSet::new());
    let outcome = loop {
        match ends.pieces.bytes().get_timeout(LOOKS_EVERY) {
            Ok(piece) => {
                has_come = true;
                if let Err(failure) = print(&piece) {
                    break Err(failure);
                }
                if !piece.is_empty() {
                    continue;
                }
            }
            Err(GetError::TimedOut { .. }) => {}
            Err(GetError::Closed { .. }) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
        let writers = ends.writers.readers();
        has_come |= !writers.is_empty();
        killed.extend(writers.iter().filter(|writer| writer.is_dead).map(|writer| writer.pid));
        let is_left = writers.iter().any(|writer| !writer.is_dead);
        if has_come && !is_left && ends.pieces.is_empty() {
            break Ok(());
        }
    };
    drop(ends);
    // Who cannot print leaves the rest to another reader.
    outcome?;
    remove(name)?;
    match killed.first() {
        None => Ok(()),
        Some(pid) => {
            let message = format!("a writer of pipe {name:?} (pid {pid}) was killed before it had sent all");
            Err(refusal("owner_died", DISAGREE, message))
        }
    }
}

/// Removes the pipe, unless somebody uses it.
fn remove(name: &str) -> Result<(), Failure> {
    let namespace = Namespace::current()?;
    let until = Deadline::after(LEAVES_WITHIN);
    for object in [name, &writers_of(name)] {
        // A writer that has said that it is done leaves in the next moment.
        while let Ok(false) = namespace.unlink_unused(object)
            && !until.has_passed()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn print(piece: &[u8]) -> Result<(), Failure> {
    let mut stdout = stdout().lock();
    output::written(stdout.write_all(piece).and_then(|()| stdout.flush()))
}
