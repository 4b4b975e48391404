//! A pipeline in three stages: two processes load, three transform, two save. Made to be copied.
//!
//! Between the stages are queues whose items are leased: an item is gone when it is done, not when it is got. So
//! a worker can be killed (`kill -9`) at any moment: a supervisor starts another, and the item is worked on again.
//! One that is killed after it has handed an item on, before it could say so, has it handed on twice. Therefore
//! the last stage saves by the item's number, in one step: a second time changes nothing. When a stage is done,
//! its workers meet at a barrier, and the first of them closes the next queue, once. A monitor shows how far they are, adds a
//! worker, kills one half-way, and shuts down when an item fails: all others are saved, or still in the queues.

use crate::shown::{Done, failed, must_hold, say};
use nix::{sys::signal, unistd::Pid};
use procession::{
    Array, Barrier, Event, GetError, JoinableQueue, MemberDeath, Once, Process, PutError, Supervisor,
    SupervisorHandle, WaitAnyError, active_children, current_process, wait, wait_timeout,
};
use procession_terminal::{exit::Failure, output};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Load, transform, save: seven workers, queues between them; every item saved once, whoever is killed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The number of an item that cannot be transformed: all shut down, and the demo exits with 1.
    #[arg(long, value_name = "ITEM", value_parser = clap::value_parser!(u64).range(1..=ITEMS as u64))]
    fail: Option<u64>,
    /// Nobody is killed half-way (but you may kill whom you like).
    #[arg(long)]
    spare: bool,
    /// Work of a millisecond instead of 100.
    #[arg(long)]
    quick: bool,
}

const ITEMS: usize = 60;
/// The stages, and for how many times the usual time they work on an item.
const STAGES: [(&str, u32); 3] = [("load", 1), ("transform", 2), ("save", 1)];
/// The stage of each worker. Those that are added transform.
const WORKERS: [usize; 7] = [0, 0, 1, 1, 1, 2, 2];

#[derive(Clone, Serialize, Deserialize)]
struct Stage {
    /// The number of each item, and its value.
    input: JoinableQueue<(u64, u64)>,
    meeting: Barrier,
    passed: Once,
    /// How many items; how many of them another worker had begun, and not finished; the time in microseconds.
    metrics: Array<u64>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Pipeline {
    stages: Vec<Stage>,
    /// By number, the value that was saved; at 0 stands how often one was.
    saved: Array<u64>,
    finished: Event,
    error: Event,
    shutdown: Event,
    fail: Option<u64>,
    time: Duration,
}

/// Runs in a process of its own: one worker of a stage.
fn work(nth: usize, pipeline: Pipeline) -> Done<()> {
    let stage = &pipeline.stages[nth];
    let (me, mut member) = (current_process(), stage.meeting.join()?);
    say(format_args!("here is {} (pid {})", me.name(), me.pid()));
    while wait(&[&pipeline.shutdown, &stage.input])?.first() != Some(&0) {
        let item = match stage.input.try_get() {
            Err(GetError::WouldBlock(_)) => continue, // Another one was faster.
            Err(GetError::Closed(_)) => {
                // All items of this stage are done when all have met. Whoever comes later, because it was added or
                // another was killed, meets nobody, and finds this done.
                member.wait()?;
                stage.passed.run_fallible(|_| {
                    say(format_args!("all items have passed {}", STAGES[nth].0));
                    pipeline.stages.get(nth + 1).map_or(Ok(()), |next| next.input.close())
                })??;
                return Ok(());
            }
            item => item?,
        };
        let (begin, (number, value)) = (Instant::now(), *item);
        std::thread::sleep(pipeline.time * STAGES[nth].1);
        let fails = nth == 1 && pipeline.fail == Some(number);
        if fails {
            say(format_args!("item {number} cannot be transformed"));
            pipeline.error.set();
        }
        if fails || !hand_on(&pipeline, nth, (number, if nth == 1 { value * value } else { value }))? {
            return Ok(item.put_back()?);
        }
        stage.metrics.update(0..3, |metrics| {
            metrics[0] += 1;
            metrics[1] += u64::from(item.attempt() > 1);
            metrics[2] += begin.elapsed().as_micros() as u64;
        })?;
        item.task_done()?;
    }
    Ok(())
}

/// Gives an item to the next stage, or saves it; `false` if all shut down before the next stage has room.
fn hand_on(pipeline: &Pipeline, nth: usize, (number, value): (u64, u64)) -> Done<bool> {
    let Some(next) = pipeline.stages.get(nth + 1) else {
        let save = |saved: &mut [u64]| {
            saved[0] += u64::from(std::mem::replace(&mut saved[number as usize], value) == 0);
        };
        return Ok(pipeline.saved.update(0..ITEMS + 1, save).map(|()| true)?);
    };
    while !pipeline.shutdown.is_set() {
        match next.input.put_timeout(&(number, value), Duration::from_millis(20)) {
            Err(PutError::TimedOut(_)) => {}
            put => return Ok(put.map(|()| true)?),
        }
    }
    Ok(false)
}

/// Watches until all is done, or an item has failed.
fn monitor(pipeline: &Pipeline, spare: bool, workers: &SupervisorHandle) -> Done<()> {
    let (mut adds, mut kills) = (true, !spare);
    loop {
        match wait_timeout(&[&pipeline.error, &pipeline.finished], pipeline.time) {
            Err(WaitAnyError::TimedOut) => {}
            ready => return Ok(ready.map(drop)?),
        }
        let saved = pipeline.saved.get(0)? as usize;
        let ahead: Vec<_> = pipeline.stages.iter().map(|it| it.input.unfinished().to_string()).collect();
        say(format_args!("to load, transform, save: {}; saved: {saved} of {ITEMS}", ahead.join(", ")));
        if saved >= ITEMS / 4 && std::mem::take(&mut adds) {
            workers.add_workers(1);
        }
        let victim = active_children().into_iter().find(|child| child.name() == "transform-4");
        if let Some(victim) = victim.filter(|_| saved >= ITEMS / 2 && std::mem::take(&mut kills)) {
            signal::kill(Pid::from_raw(victim.pid().cast_signed()), signal::SIGKILL)?;
        }
    }
}

fn supervise(pipeline: &Pipeline, spare: bool) -> Result<(), Failure> {
    let supervisor =
        Supervisor::new(WORKERS.len()).back_off(Duration::ZERO, Duration::ZERO).on_event(|event| {
            if event.is_trouble() {
                say(event);
            }
        });
    let handle = supervisor.handle();
    std::thread::scope(|scope| {
        let monitor = scope.spawn(|| {
            let watched = monitor(pipeline, spare, &handle).map_err(failed);
            pipeline.shutdown.set(); // Nothing is left to be done, or nothing is to be done any more.
            watched
        });
        let supervised = supervisor.run(|attempt| {
            let nth = WORKERS.get(attempt.rank()).copied().unwrap_or(1);
            let named = Process::options().name(format!("{}-{}", STAGES[nth].0, attempt.rank() + 1));
            named.spawn_fallible(work, (nth, pipeline.clone()))
        });
        pipeline.finished.set(); // Nobody works any more, whatever happened: there is nothing to watch.
        monitor.join().unwrap_or_else(|_| Err(Failure::Wrong("the monitor panicked".to_owned())))?;
        Ok(supervised.map(drop)?)
    })
}

fn summary(pipeline: &Pipeline) -> Result<(), Failure> {
    for ((name, _), stage) in STAGES.into_iter().zip(&pipeline.stages) {
        let [items, again, busy_us] = [0, 1, 2].map(|nth| stage.metrics.get(nth));
        let busy = Duration::from_micros(busy_us?).as_secs_f64();
        output::line(format_args!(
            "{name:<10} {} items, {} begun again, busy for {busy:.2} s",
            items?, again?
        ))?;
    }
    let saved = pipeline.saved.read(0..ITEMS + 1)?;
    let once = (1..).zip(&saved[1..]).filter(|&(number, &value)| value == number * number).count();
    let left: usize = pipeline.stages.iter().map(|stage| stage.input.unfinished()).sum();
    must_hold(saved[0] == once as u64, "an item was saved twice, or with another value")?;
    must_hold(once + left >= ITEMS, "an item is lost")?;
    if pipeline.error.is_set() {
        let what = format!("an item failed, all have shut down: {once} are saved, {left} in the queues");
        return Err(Failure::Wrong(what));
    }
    must_hold(once == ITEMS && left == 0, "an item was not saved")?;
    output::line(format_args!("{once} items, each saved exactly once: all right"))
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let stage = |room| -> Result<Stage, Failure> {
        let input = JoinableQueue::options().capacity(room).max_attempts(0).anonymous()?;
        let meeting = Barrier::options().elastic().on_member_death(MemberDeath::Remove).anonymous()?;
        let metrics = Array::options().len(3).anonymous()?;
        Ok(Stage { input, meeting, passed: Once::new()?, metrics })
    };
    let time = Duration::from_millis(if args.quick { 1 } else { 100 });
    let saved = Array::options().len(ITEMS + 1).anonymous()?;
    let (stages, fail) = (vec![stage(ITEMS)?, stage(5)?, stage(5)?], args.fail);
    let (finished, error, shutdown) = (Event::new()?, Event::new()?, Event::new()?);
    let pipeline = Pipeline { stages, saved, finished, error, shutdown, fail, time };
    (1..=ITEMS as u64).try_for_each(|number| pipeline.stages[0].input.put(&(number, number)))?;
    pipeline.stages[0].input.close()?;
    supervise(&pipeline, args.spare)?;
    summary(&pipeline)
}
