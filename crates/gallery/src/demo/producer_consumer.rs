//! Producers and consumers, and a queue that knows when all work is done.
//!
//! Each item that is got from a [`JoinableQueue`] is leased; only `task_done` makes it done. The parent joins
//! the queue, not the consumers: it says "Finished" when every item is done, whoever did it. The consumers
//! are daemons, which never end by themselves, under a supervisor.
//!
//! Kill a consumer (`kill -9`): the item that it had is got again, by another, in attempt 2. Another consumer
//! takes its place. A killed producer has nobody who knows how far it had come, so the demo says which it
//! was, and ends.

use crate::shown::{Done, introduce, must_hold, say};
use procession::{Array, JoinableQueue, Process, Supervisor, SupervisorEvent, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Producers and consumers share a JoinableQueue of five; Finished when every item is done, whichever consumer
/// is killed over it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pauses of 1 ms instead of 100.
    #[arg(long)]
    quick: bool,
}

const ROOM: usize = 5;
const PRODUCERS: u32 = 3;
const CONSUMERS: usize = 2;
/// How many items each producer puts.
const EACH: u32 = 20;
const ITEMS: u32 = PRODUCERS * EACH;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Shared {
    items: JoinableQueue<u32>,
    /// How often the work on each item came to its end.
    done: Array<u32>,
    pause: Duration,
}

/// Runs in a process of its own.
fn produce(number: u32, shared: Shared) -> Done<()> {
    for item in (number - 1) * EACH..number * EACH {
        shared.items.put(&item)?;
        say(format_args!("producer {number}: puts {item}"));
    }
    Ok(())
}

/// Runs in a process of its own, until that is ended.
fn consume(number: usize, shared: Shared) -> Done<()> {
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

/// Waits until all that was put is done.
fn finish(mut producers: Team<()>, items: &JoinableQueue<u32>) -> Result<(), Failure> {
    producers.join()?;
    items.join()?;
    output::line("Finished")
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let pause = Duration::from_millis(if args.quick { 1 } else { 100 });
    let items = JoinableQueue::options().capacity(ROOM).max_attempts(0).anonymous()?;
    let shared = Shared { items, done: Array::options().len(ITEMS as usize).anonymous()?, pause };
    let mut producers = Team::new();
    for number in 1..=PRODUCERS {
        producers.spawn_fallible(format!("producer-{number}"), produce, (number, shared.clone()))?;
    }
    introduce(&producers)?;

    let mut killed = 0;
    let consumers = Supervisor::new(CONSUMERS)
        .back_off(Duration::ZERO, Duration::ZERO)
        .max_restarts(1000, Duration::from_secs(1))
        .on_event(|event| match event {
            SupervisorEvent::Started { process, .. } => {
                say(format_args!("here is {} (pid {})", process.name(), process.pid()));
            }
            SupervisorEvent::Ended { process, status, .. } if status.signal_name() == Some("SIGKILL") => {
                killed += 1;
                say(format_args!("{process} was {status}"));
            }
            _ => {}
        });
    let handle = consumers.handle();
    std::thread::scope(|scope| {
        let finish = || {
            let finished = finish(producers, &shared.items);
            handle.stop();
            finished
        };
        let finish = std::thread::Builder::new().name("finish".to_owned()).spawn_scoped(scope, finish)?;
        consumers.run(|attempt| {
            let number = attempt.rank() + 1;
            let options = Process::options().name(format!("consumer-{number}")).daemon(true);
            options.spawn_fallible(consume, (number, shared.clone()))
        })?;
        finish.join().unwrap_or_else(|_| Err(Failure::Wrong("nobody has waited for the end".to_owned())))
    })?;

    let done = shared.done.read(0..ITEMS as usize)?;
    must_hold(done.iter().all(|&times| times > 0), "Finished, and an item is not done")?;
    let again: u32 = done.iter().map(|times| times - 1).sum();
    // Who is killed between the end of the work and its acknowledgement leaves the item to another.
    must_hold(again <= killed, "an item was done again, although nobody was killed over it")?;
    output::line(format_args!("{ITEMS} items done, {again} of them again after a death: all right"))
}
