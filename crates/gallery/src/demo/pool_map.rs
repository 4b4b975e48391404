//! One function over many numbers, by a pool of processes and by this process alone.
//!
//! A first measurement finds out how many numbers are work for some seconds. A worker that is killed costs the
//! pool only the number it was working on, and that number is tried again.

use crate::progress::progress;
use crate::shown::must_hold;
use nix::time::{ClockId, clock_gettime};
use procession::{Pool, TaskError};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::hint::black_box;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The sums of the first squares, by Pool.map and serially, timed; one more by apply_async.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many sums: those below 0, 1, 2, … N-1 [default: as many as one CPU sums up in 3 s; 1000 with --quick].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    numbers: Option<u64>,
    /// How many processes [default: one per available CPU].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: Option<u16>,
    /// Fewer numbers, as the tests run it; too few for a speed-up.
    #[arg(long)]
    quick: bool,
}

/// How often a number is tried again when its worker is killed.
const RETRIES: u32 = 100;
/// For how long one CPU is to be busy, and for how long with one number.
const BUSY: Duration = Duration::from_secs(3);
const BUSY_WITH_ONE: Duration = Duration::from_millis(200);

/// The sum of i * i for all i below `n`; runs in the workers.
fn sum_square(n: u64) -> u128 {
    // Without black_box the compiler finds the formula, and there is nothing to do.
    (0..n).map(|i| u128::from(black_box(i))).map(|i| i * i).sum()
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let count = match args.numbers {
        Some(count) => count,
        None if args.quick => 1000,
        None => numbers_for(BUSY)?,
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let sums = output::number_of(count, "sum");
    output::line(format_args!("{sums} of squares, {}", output::number_of(cpus as u64, "CPU")))?;

    let bar = progress("Pool.map", count as usize);
    let (pool, start) = timed(|| start_pool(args.workers, bar.clone()));
    let pool = pool?;
    let workers = output::number_of(pool.workers().len() as u64, "worker");
    output::line(format_args!("pool start   {} for {workers}", seconds(start)))?;

    let (parallel, by_pool) = timed(|| pool.map(sum_square, 0..count));
    let parallel = parallel?;
    bar.finish_and_clear();
    output::line(format_args!("Pool.map     {}", seconds(by_pool)))?;

    let bar = progress("serially", count as usize);
    let sum = |n| {
        bar.inc(1);
        sum_square(n)
    };
    let (serial, alone): (Vec<u128>, _) = timed(|| (0..count).map(sum).collect());
    bar.finish_and_clear();
    output::line(format_args!("serially     {}", seconds(alone)))?;
    must_hold(parallel == serial, "the pool's results differ from the serial ones")?;
    one_later(&pool, if args.quick { 1000 } else { numbers_in(BUSY_WITH_ONE)? })?;

    let times = alone.as_secs_f64() / by_pool.as_secs_f64().max(1e-9);
    let speed_up = if args.quick { String::new() } else { format!("speed-up     {times:.2} times; ") };
    output::line(format_args!("{speed_up}results identical: all right"))
}

/// One sum while this process does something else: a wait that is over too early, and a callback.
fn one_later(pool: &Pool, n: u64) -> Result<(), Failure> {
    let mut sum = pool.apply_async(sum_square, n);
    let (told, hears) = channel();
    // The receiver is there until it has heard.
    sum.on_success(move |sum| told.send(sum).unwrap_or_default());
    let early = match sum.get_timeout(Duration::from_millis(1)) {
        Err(TaskError::TimedOut { .. }) => "not there after 1 ms, then ",
        other => other.map(|_| "")?,
    };
    let result = sum.get()?;
    output::line(format_args!("apply_async  {early}{result}"))?;
    let heard = hears.recv()?;
    output::line(format_args!("its callback {heard}"))?;
    must_hold(result == heard && result == sum_square(n), "apply_async has another result")
}

/// A pool whose workers are up, or nearly so; the bar shows how far it is.
fn start_pool(workers: Option<u16>, bar: indicatif::ProgressBar) -> Result<Pool, Failure> {
    let options = Pool::options().retries(RETRIES);
    let options = match workers {
        Some(workers) => options.processes(workers.into()),
        None => options,
    };
    let pool = options.observer(move |progress| bar.set_position(progress.done as u64)).start()?;
    // Something to do for each, so that what is timed afterwards is work.
    let idle = vec![0; pool.workers().len()];
    pool.map(sum_square, idle)?;
    Ok(pool)
}

/// Below which number one sum takes this long.
fn numbers_in(time: Duration) -> Result<u64, Failure> {
    let (trial, begin) = (10_000_000, cpu_time()?);
    black_box(sum_square(trial));
    let took = cpu_time()? - begin;
    Ok((trial as f64 * time.as_secs_f64() / took.as_secs_f64().max(1e-9)) as u64)
}

/// Below which number the sums below all numbers take this long: those below n take n * n / 2 steps.
fn numbers_for(time: Duration) -> Result<u64, Failure> {
    Ok((2.0 * numbers_in(time)? as f64).sqrt() as u64)
}

/// How long a CPU has worked for this thread: whatever else runs here does not count.
fn cpu_time() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (f(), begin.elapsed())
}

fn seconds(time: Duration) -> String {
    format!("{:>8.3} s", time.as_secs_f64())
}
