//! Integers through a pipe, to a reader in another process.
//!
//! The writer sends so many numbers and then that it is done; the reader sends back how many it received, and
//! their sum. If one of the two is killed the other is told, by the pipe, who that was.

use crate::shown::{Done, must_hold};
use procession::{Connection, RecvError, Team, duplex};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// A writer sends 10^4, 10^5 and 10^6 integers to a reader process, timed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// 10^2, 10^3 and 10^4 integers, as the tests run it.
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Message {
    Number(u64),
    Done,
}

/// What the reader received: how many numbers, and their sum.
type Received = (u64, u64);

/// Runs in a process of its own: adds up what comes, until the writer closes its end.
fn read(writer: Connection<Received, Message>) -> Done<()> {
    let (mut count, mut sum) = (0, 0);
    loop {
        match writer.recv() {
            Ok(Message::Number(n)) => (count, sum) = (count + 1, sum + n),
            Ok(Message::Done) => {
                writer.send(&(count, sum))?;
                (count, sum) = (0, 0);
            }
            Err(RecvError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (reader, writer) = duplex()?;
    let mut team = Team::new();
    team.spawn_fallible("reader", read, writer)?;
    let written = write(&reader, args.quick);
    // With its other end closed, the reader has nothing to wait for. If it was killed, that is told first.
    drop(reader);
    team.join()?;
    written
}

fn write(reader: &Connection<Message, Received>, quick: bool) -> Result<(), Failure> {
    // Until the reader is there, sending would measure its start.
    reader.send(&Message::Done)?;
    must_hold(reader.recv()? == (0, 0), "the reader received what nobody sent")?;

    let counts: [u64; 3] = if quick { [100, 1_000, 10_000] } else { [10_000, 100_000, 1_000_000] };
    for count in counts {
        let start = Instant::now();
        for n in 0..count {
            reader.send(&Message::Number(n))?;
        }
        reader.send(&Message::Done)?;
        let (received, sum) = reader.recv()?;
        let took = start.elapsed();
        must_hold(received == count, "the reader received another number of integers")?;
        must_hold(sum == count * (count - 1) / 2, "the reader has another sum")?;
        let each_second = count as f64 / took.as_secs_f64().max(1e-9);
        output::line(format_args!(
            "{count} integers in {:.1} ms: {:.1} million/s; sum {sum}",
            took.as_secs_f64() * 1e3,
            each_second / 1e6
        ))?;
    }
    output::line("count and sum of the reader agree: all right")
}
