//! Two workers, ten tasks, and an orderly end.
//!
//! A condition says that there is work, a latch opens when all of it is done, and an event says that no more
//! will come. Workers wait for either, with the list of tasks in their hands; they leave when there is no work and
//! none will come.

use crate::shown::{Done, introduce, must_hold, say};
use procession::{Condition, Event, Latch, Team, Value};
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
    all_done: Latch,
    shutdown: Event,
    time: Duration,
}

/// Runs in a process of its own; the tasks it has done.
fn worker(me: u32, office: Office) -> Done<Vec<usize>> {
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

        office.tasks.update(|tasks| tasks[task] = DONE)?;
        say(format_args!("worker {me} has done task {}", task + 1));
        mine.push(task);
        office.all_done.arrive();
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let office = Office {
        tasks: Value::new([0; TASKS])?,
        has_work: Condition::new()?,
        all_done: Latch::new(TASKS)?,
        shutdown: Event::new()?,
        time: Duration::from_millis(if args.quick { 2 } else { 400 }),
    };
    let mut team = Team::new();
    for me in 1..=2 {
        team.spawn_fallible(format!("worker-{me}"), worker, (me, office.clone()))?;
    }
    introduce(&team)?;

    for task in 0..TASKS {
        let mut tasks = office.tasks.acquire()?;
        tasks[task] = TO_DO;
        office.has_work.notify(1);
    }
    team.wait_for(&office.all_done)?;
    must_hold(office.tasks.get()? == [DONE; TASKS], "a task is not done")?;

    // Under the guard, so that it cannot happen between a worker's look at the event and the beginning of its
    // wait.
    let tasks = office.tasks.acquire()?;
    office.shutdown.set();
    office.has_work.notify_all();
    drop(tasks);

    let mut done: Vec<usize> = team.join()?.concat();
    done.sort_unstable();
    must_hold(done.iter().copied().eq(0..TASKS), "a task was not done exactly once")?;
    output::line(format_args!("{} tasks done, both workers have left: all right", done.len()))
}
