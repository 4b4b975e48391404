//! One process writes topics onto a board, another reads each as soon as it is there.
//!
//! The board is shared memory; the condition says that something was added to it. The reader looks at the
//! board, not at how often it was notified: it does not matter whether it waited already when a topic came.

use crate::shown::{Done, must_hold, say};
use procession::{Condition, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// A generator fills topics and notifies a consumer, by Condition.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Without pauses between the topics.
    #[arg(long)]
    quick: bool,
}

const TOPICS: [&str; 6] = ["processes", "pools", "pipes", "locks", "conditions", "barriers"];

/// A topic in shared memory, where everything is plain bytes: the rest is 0.
type Line = [u8; 16];

/// Runs in a process of its own; what it wrote.
fn generate(board: Value<[Line; 6]>, added: Condition, pause: Duration) -> Done<Vec<String>> {
    for (number, topic) in TOPICS.into_iter().enumerate() {
        std::thread::sleep(pause);
        let mut board = board.acquire()?;
        board[number][..topic.len()].copy_from_slice(topic.as_bytes());
        say(format_args!("generator: {topic}"));
        added.notify(1);
    }
    Ok(TOPICS.map(str::to_owned).to_vec())
}

/// Runs in a process of its own; what it read.
fn consume(board: Value<[Line; 6]>, added: Condition) -> Done<Vec<String>> {
    let mut seen = Vec::new();
    while seen.len() < TOPICS.len() {
        let board = added.wait_for(board.acquire()?, |board| board[seen.len()] != [0; 16])?;
        let topic = String::from_utf8_lossy(&board[seen.len()]).trim_end_matches('\0').to_owned();
        drop(board);
        say(format_args!("consumer: {topic}"));
        seen.push(topic);
    }
    Ok(seen)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let pause = Duration::from_millis(if args.quick { 0 } else { 300 });
    let (board, added) = (Value::new([[0; 16]; 6])?, Condition::new()?);
    let mut team = Team::new();
    team.spawn_fallible("consumer", consume, (board.clone(), added.clone()))?;
    team.spawn_fallible("generator", generate, (board, added, pause))?;
    let topics = team.join()?;
    must_hold(topics[0] == TOPICS, "the consumer has not seen all topics")?;
    output::line(format_args!("the consumer has seen all {} topics: all right", topics[0].len()))
}
