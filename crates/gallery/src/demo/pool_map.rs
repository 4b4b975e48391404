//! One function over many numbers, by a pool of processes and by this process alone.
//!
//! A worker that is killed costs the pool only the number it was working on, and that number is tried again.

use crate::check::must_hold;
use crate::progress::progress;
use procession::Pool;
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The sums of the first squares, by Pool.map and serially, timed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many sums: those below 0, 1, 2, … N-1 [default: 10000, with --quick 1000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    numbers: Option<u64>,
    /// How many processes [default: one per available CPU].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: Option<u16>,
    /// Fewer numbers, as the tests run it.
    #[arg(long)]
    quick: bool,
}

/// How often a number is tried again when its worker is killed.
const RETRIES: u32 = 100;

/// After how many numbers the progress bar moves. Between two steps workers wait for each other, so not too
/// often.
const STEP: usize = 20_000;

/// The sum of i * i for all i below `n`; runs in the workers.
fn sum_square(n: u64) -> u128 {
    // Without black_box the compiler finds the formula, and there is nothing to do.
    (0..n).map(|i| u128::from(black_box(i))).map(|i| i * i).sum()
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let count = args.numbers.unwrap_or(if args.quick { 1000 } else { 10_000 });
    let numbers: Vec<u64> = (0..count).collect();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let sums = output::number_of(count, "sum");
    output::line(format_args!("{sums} of squares, {}", output::number_of(cpus as u64, "CPU")))?;

    let (pool, start) = timed(|| start_pool(args.workers));
    let pool = pool?;
    let workers = output::number_of(pool.workers().len() as u64, "worker");
    output::line(format_args!("pool start   {} for {workers}", seconds(start)))?;

    let (parallel, by_pool) = timed(|| {
        in_steps("Pool.map", &numbers, |numbers| Ok(pool.map(sum_square, numbers.iter().copied())?))
    });
    let parallel = parallel?;
    output::line(format_args!("Pool.map     {}", seconds(by_pool)))?;

    let (serial, alone) = timed(|| {
        in_steps("serially", &numbers, |numbers| Ok(numbers.iter().map(|&n| sum_square(n)).collect()))
    });
    output::line(format_args!("serially     {}", seconds(alone)))?;

    must_hold(parallel == serial?, "the pool's results differ from the serial ones")?;
    let times = alone.as_secs_f64() / by_pool.as_secs_f64().max(1e-9);
    output::line(format_args!("speed-up     {times:.2} times; results identical"))
}

/// A pool whose workers are up, or nearly so.
fn start_pool(workers: Option<u16>) -> Result<Pool, Failure> {
    let options = Pool::options().retries(RETRIES);
    let options = match workers {
        Some(workers) => options.processes(workers.into()),
        None => options,
    };
    let pool = options.start()?;
    // Something to do for each, so that what is timed afterwards is work.
    let idle = vec![0; pool.workers().len()];
    pool.map(sum_square, idle)?;
    Ok(pool)
}

/// Calls `f` on one slice after the other and shows how far it is.
fn in_steps(
    what: &str,
    numbers: &[u64],
    f: impl Fn(&[u64]) -> Result<Vec<u128>, Failure>,
) -> Result<Vec<u128>, Failure> {
    let bar = progress(what, numbers.len());
    let mut results = Vec::with_capacity(numbers.len());
    for slice in numbers.chunks(STEP) {
        results.extend(f(slice)?);
        bar.inc(slice.len() as u64);
    }
    bar.finish_and_clear();
    Ok(results)
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (f(), begin.elapsed())
}

fn seconds(time: Duration) -> String {
    format!("{:>8.3} s", time.as_secs_f64())
}
