//! Producers and consumers, and a queue that knows when all work is done.
//!
//! Each item that is got from a [`JoinableQueue`] is leased; only `task_done` makes it done. The parent joins
//! the queue, not the consumers: it says "Finished" when every item is done, whoever did it. The consumers
//! are daemons, which never end by themselves.
//!
//! Kill a consumer (`kill -9`): the item that it had is got again, by another, in attempt 2. Another consumer
//! takes its place. A killed producer has nobody who knows how far it had come, so the demo says which it
//! was, and ends.

use crate::check::must_hold;
use crate::workers::{Done, introduce, join_all, nobody_was_killed, say, who};
use procession::{Array, JoinError, JoinableQueue, Process};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Producers and consumers share a JoinableQueue of five; Finished when every item is done, whoever is killed
/// over it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pauses of 1 ms instead of 100.
    #[arg(long)]
    quick: bool,
}

const ROOM: usize = 5;
const PRODUCERS: u32 = 3;
const CONSUMERS: u32 = 2;
/// How many items each producer puts.
const EACH: u32 = 20;
const ITEMS: u32 = PRODUCERS * EACH;
/// What cannot be refused, and happens to consumers here.
/// How long the parent waits before it looks after the consumers.
const SLICE: Duration = Duration::from_millis(5);

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Shared {
    items: JoinableQueue<u32>,
    /// How often the work on each item came to its end.
    done: Array<u32>,
    pause: Duration,
}

/// Runs in a process of its own.
fn produce((number, shared): (u32, Shared)) -> Done<()> {
    for item in number * EACH..(number + 1) * EACH {
        shared.items.put(&item)?;
        say(format_args!("producer {}: puts {item}", number + 1));
    }
    Ok(())
}

/// Runs in a process of its own, until that is ended.
fn consume((number, shared): (u32, Shared)) -> Done<()> {
    for item in &shared.items {
        let item = item?;
        let (index, attempt) = (*item as usize, item.attempt());
        say(format_args!("consumer {number}: takes {index}, attempt {attempt}"));
        std::thread::sleep(shared.pause);
        shared.done.update(index..index + 1, |done| done[0] += 1)?;
        item.task_done()?;
    }
    Ok(())
}

fn start_consumer(number: u32, shared: &Shared) -> Result<Process<Done<()>>, Failure> {
    let options = Process::options().name(format!("consumer-{number}")).daemon(true);
    Ok(options.spawn(consume, (number, shared.clone()))?)
}

/// Puts another consumer in the place of each that was killed; how many those were.
fn replace_killed(consumers: &mut [Process<Done<()>>], shared: &Shared) -> Result<u32, Failure> {
    let mut killed = 0;
    for (number, consumer) in (1..).zip(consumers) {
        let Some(status) = consumer.exit_status() else { continue };
        let who = who(consumer);
        if status.signal_name() != Some("SIGKILL") {
            // An end that was asked for, of the whole demo perhaps: nobody is started any more.
            return Err(Failure::Wrong(format!("{who} ended before the work did")));
        }
        killed += 1;
        *consumer = start_consumer(number, shared)?;
        let pid = consumer.pid();
        output::line(format_args!("{who} was {status}; pid {pid} takes its place"))?;
    }
    Ok(killed)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let pause = Duration::from_millis(if args.quick { 1 } else { 100 });
    let items = JoinableQueue::options().capacity(ROOM).max_attempts(0).anonymous()?;
    let shared = Shared { items, done: Array::options().len(ITEMS as usize).anonymous()?, pause };

    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        let named = Process::options().name(format!("producer-{}", number + 1));
        producers.push(named.spawn(produce, (number, shared.clone()))?);
    }
    introduce(&producers)?;
    let mut consumers =
        (1..=CONSUMERS).map(|number| start_consumer(number, &shared)).collect::<Result<Vec<_>, _>>()?;
    introduce(&consumers)?;

    let mut killed = 0;
    while producers.iter().any(Process::is_alive) {
        nobody_was_killed(&producers)?;
        killed += replace_killed(&mut consumers, &shared)?;
        std::thread::sleep(SLICE);
    }
    join_all(producers)?;
    // Everything was put; now until everything is done.
    loop {
        match shared.items.join_timeout(SLICE) {
            Err(JoinError::TimedOut { .. }) => killed += replace_killed(&mut consumers, &shared)?,
            joined => break joined?,
        }
    }
    output::line("Finished")?;

    let done = shared.done.read(0..ITEMS as usize)?;
    must_hold(done.iter().all(|&times| times > 0), "Finished, and an item is not done")?;
    let again: u32 = done.iter().map(|times| times - 1).sum();
    // Who is killed between the end of the work and its acknowledgement leaves the item to another.
    must_hold(again <= killed, "an item was done again, although nobody was killed over it")?;
    output::line(format_args!("{ITEMS} items done, {again} of them again after a death: all right"))
}
