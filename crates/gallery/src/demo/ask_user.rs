//! A process waits until the person at the terminal types `y`.
//!
//! A process that is started by another has no terminal: its stdin is `/dev/null`. So the parent reads, as soon
//! as there is something to read, and an event tells the waiting process.

use crate::shown::{Done, introduce, must_hold};
use procession::{Event, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};

/// A process waits until you type y.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Types for you: first something else, then y.
    #[arg(long)]
    quick: bool,
}

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
fn waiter(is_there: Event, answered: Event, is_yes: Event) -> Done<bool> {
    is_there.set();
    answered.wait()?;
    Ok(is_yes.is_set())
}

/// Reads until somebody says yes or no; `None` at the end of the input. If whoever waits for that is killed
/// meanwhile, this ends as well.
fn ask(waiting: &mut Team<bool>, input: OwnedFd) -> Result<Option<Answer>, Failure> {
    let mut input = File::from(input);
    let mut line = Vec::new();
    loop {
        // Also readable at its end.
        waiting.wait_for(&input.as_fd())?;
        let mut byte = [0];
        let is_end = input.read(&mut byte)? == 0;
        if !is_end && byte != *b"\n" {
            line.extend(byte);
            continue;
        }
        match understood(&line) {
            Answer::SomethingElse if is_end => return Ok(None),
            Answer::SomethingElse => output::line("y or n?")?,
            answer => return Ok(Some(answer)),
        }
        line.clear();
    }
}

/// What somebody would type.
fn typed() -> io::Result<PipeReader> {
    let (reader, mut writer) = pipe()?;
    writer.write_all(b"what?\ny\n")?;
    Ok(reader)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (is_there, answered, is_yes) = (Event::new()?, Event::create("answered")?, Event::create("yes")?);
    let mut waiting = Team::new();
    waiting.spawn_fallible("waiter", waiter, (is_there.clone(), answered.clone(), is_yes.clone()))?;
    introduce(&waiting)?;
    waiting.wait_for(&is_there)?;
    output::line("a process is waiting; go on? (y or n)")?;

    let input = if args.quick { typed()?.into() } else { io::stdin().as_fd().try_clone_to_owned()? };
    let reply = ask(&mut waiting, input)?;
    if reply == Some(Answer::Yes) {
        is_yes.set();
    }
    answered.set();
    let woken_by_yes = waiting.join()?.contains(&true);
    must_hold(woken_by_yes == (reply == Some(Answer::Yes)), "the process was told something else")?;
    output::line(match reply {
        Some(Answer::Yes) => "the waiting process woke: all right",
        Some(_) => "you said no: the process went home",
        None => "nobody is there to answer: the process went home",
    })
}
