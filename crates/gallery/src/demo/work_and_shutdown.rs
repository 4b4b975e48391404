//! Two workers, ten tasks, and an orderly end.
//!
//! A condition says that there is work, another that some of it is done, and an event says that no more will
//! come. Workers wait for either, with the list of tasks in their hands; they leave when there is no work and
//! none will come.

use crate::check::must_hold;
use crate::workers::{Done, introduce, join_all, say, until};
use procession::{Condition, Event, Process, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Two workers do ten tasks, by Condition, and leave at an Event.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tasks of 2 ms instead of 400.
    #[arg(long)]
    quick: bool,
}

const TASKS: usize = 10;

// What a task can be; it begins as 0.
const TO_DO: u32 = 1;
const TAKEN: u32 = 2;
const DONE: u32 = 3;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Office {
    tasks: Value<[u32; TASKS]>,
    has_work: Condition,
    has_done: Condition,
    shutdown: Event,
    time: Duration,
}

/// Runs in a process of its own; the tasks it has done.
fn worker((me, office): (u32, Office)) -> Done<Vec<usize>> {
    let mut mine = Vec::new();
    loop {
        let mut tasks = office
            .has_work
            .wait_for(office.tasks.acquire()?, |tasks| tasks.contains(&TO_DO) || office.shutdown.is_set())?;
        let Some(task) = tasks.iter().position(|&task| task == TO_DO) else {
            say(format_args!("worker {me} leaves"));
            return Ok(mine);
        };
        tasks[task] = TAKEN;
        drop(tasks); // While this one works, the other can take something.
        say(format_args!("worker {me} takes task {}", task + 1));
        std::thread::sleep(office.time);

        let mut tasks = office.tasks.acquire()?;
        tasks[task] = DONE;
        office.has_done.notify(1);
        drop(tasks);
        say(format_args!("worker {me} has done task {}", task + 1));
        mine.push(task);
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let office = Office {
        tasks: Value::new([0; TASKS])?,
        has_work: Condition::new()?,
        has_done: Condition::new()?,
        shutdown: Event::new()?,
        time: Duration::from_millis(if args.quick { 2 } else { 400 }),
    };
    let start = |me| Process::options().name(format!("worker-{me}")).spawn(worker, (me, office.clone()));
    let workers = vec![start(1)?, start(2)?];
    introduce(&workers)?;

    for task in 0..TASKS {
        let mut tasks = office.tasks.acquire()?;
        tasks[task] = TO_DO;
        office.has_work.notify(1);
    }
    until(&workers, "all tasks to be done", |timeout| {
        let all_done = |tasks: &[u32; TASKS]| *tasks == [DONE; TASKS];
        let tasks = office.tasks.acquire();
        let waited = tasks.and_then(|tasks| office.has_done.wait_for_timeout(tasks, timeout, all_done));
        waited.is_ok_and(|(_, waited)| !waited.timed_out())
    })?;

    // Under the guard, so that it cannot happen between a worker's look at the event and the beginning of its
    // wait.
    let tasks = office.tasks.acquire()?;
    office.shutdown.set();
    office.has_work.notify_all();
    drop(tasks);

    let mut done: Vec<usize> = join_all(workers)?.concat();
    done.sort_unstable();
    must_hold(done.iter().copied().eq(0..TASKS), "a task was not done exactly once")?;
    output::line(format_args!("{} tasks done, both workers have left: all right", done.len()))
}
