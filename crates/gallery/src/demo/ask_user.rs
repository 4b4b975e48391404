//! A process waits until the person at the terminal types `y`.
//!
//! A process that is started by another has no terminal: its stdin is `/dev/null`. So the parent reads, and
//! an event tells the waiting process.

use crate::check::must_hold;
use crate::workers::{Done, introduce, join_all, nobody_was_killed, until};
use procession::{Event, Process};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// A process waits until you type y.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Types for you: first something else, then y.
    #[arg(long)]
    quick: bool,
}

/// How often it is looked whether the waiting process still waits.
const SLICE: Duration = Duration::from_millis(50);

/// What can be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    SomethingElse,
}

fn understood(line: &[u8]) -> Answer {
    match line.trim_ascii() {
        b"y" | b"Y" | b"yes" => Answer::Yes,
        b"n" | b"N" | b"no" => Answer::No,
        _ => Answer::SomethingElse,
    }
}

/// Runs in a process of its own: waits for an answer, and returns whether it was yes.
fn waiter((is_there, answered, is_yes): (Event, Event, Event)) -> Done<bool> {
    is_there.set();
    answered.wait()?;
    Ok(is_yes.is_set())
}

/// Reads until somebody says yes or no; `None` at the end of the input. Meanwhile it looks after those who
/// wait.
fn ask(
    waiting: &[Process<Done<bool>>],
    input: impl Read + Send + 'static,
) -> Result<Option<Answer>, Failure> {
    let (sender, lines) = channel();
    // A thread that reads can do nothing else; this one ends with the process.
    std::thread::spawn(move || BufReader::new(input).split(b'\n').try_for_each(|line| sender.send(line)));
    loop {
        match lines.recv_timeout(SLICE) {
            Ok(line) => match understood(&line?) {
                Answer::SomethingElse => output::line("y or n?")?,
                answer => return Ok(Some(answer)),
            },
            Err(RecvTimeoutError::Timeout) => nobody_was_killed(waiting)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (is_there, answered, is_yes) = (Event::new()?, Event::create("answered")?, Event::create("yes")?);
    let arguments = (is_there.clone(), answered.clone(), is_yes.clone());
    let waiting = [Process::options().name("waiter").spawn(waiter, arguments)?];
    introduce(&waiting)?;
    until(&waiting, "the process", |slice| is_there.wait_timeout(slice).is_ok())?;
    output::line("a process is waiting; go on? (y or n)")?;

    let reply = if args.quick { ask(&waiting, &b"what?\ny\n"[..]) } else { ask(&waiting, io::stdin()) }?;
    if reply == Some(Answer::Yes) {
        is_yes.set();
    }
    answered.set();
    let woken_by_yes = join_all(waiting.into())?.contains(&true);
    must_hold(woken_by_yes == (reply == Some(Answer::Yes)), "the process was told something else")?;
    output::line(match reply {
        Some(Answer::Yes) => "the waiting process woke: all right",
        Some(_) => "you said no: the process went home",
        None => "nobody is there to answer: the process went home",
    })
}
