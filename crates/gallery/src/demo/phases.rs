//! A computation in four phases, with a barrier after each, in two ways.
//!
//! First there is a barrier for each phase, then there are two that take turns. Their names are all that the
//! workers agree on: whoever comes first creates the barrier, the others open it. At the end of each phase
//! one worker, the last to arrive, runs the barrier's action while the others wait. A barrier tells each worker
//! in which order it came: the one with index 0 aggregates, alone.

use crate::random::work;
use crate::shown::{Done, must_hold, say};
use procession::{Array, Barrier, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Loading, processing, aggregation, cleanup: a named barrier and an action after each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Work of some milliseconds instead of up to half a second.
    #[arg(long)]
    quick: bool,
}

const WORKERS: usize = 3;
/// 0 + 100 + 200: a hundred times the number of each worker.
const TOTAL: u32 = 300;
const PHASES: [&str; 4] = ["loading", "processing", "aggregation", "cleanup"];

/// At which barrier each phase ends.
const WAYS: [(&str, [&str; 4]); 2] = [
    ("a barrier for each phase", ["loaded", "processed", "aggregated", "cleaned-up"]),
    ("two barriers in turn", ["odd", "even", "odd", "even"]),
];

/// What the workers share, beside barriers.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Shared {
    /// What each worker works on.
    data: Array<u32>,
    total: Value<u32>,
    /// How many workers have aggregated.
    aggregators: Value<u32>,
    /// How often the action of each phase has run.
    actions: Array<u32>,
    longest: Duration,
}

/// What a worker does in a phase; `index` is what the barrier before it said.
fn do_phase(phase: &str, me: usize, index: u32, shared: &Shared) -> Done<()> {
    work(shared.longest);
    match phase {
        "loading" => shared.data.set(me, me as u32)?,
        "processing" => shared.data.set(me, shared.data.get(me)? * 100)?,
        "aggregation" if index == 0 => {
            say(format_args!("worker {me} has index 0, and aggregates"));
            shared.aggregators.fetch_add(1)?;
            shared.total.set(shared.data.read(0..WORKERS)?.iter().sum())?;
        }
        "aggregation" => {}
        _ => shared.data.set(me, 0)?,
    }
    Ok(())
}

/// Runs in a process of its own.
fn worker(me: usize, way: usize, shared: Shared) -> Done<()> {
    let mut index = 0;
    for (number, (phase, name)) in PHASES.into_iter().zip(WAYS[way].1).enumerate() {
        do_phase(phase, me, index, &shared)?;
        let (actions, total) = (shared.actions.clone(), shared.total.clone());
        let action = move || {
            actions.fetch_add(number, 1)?;
            let total = total.get()?;
            say(format_args!(
                "{phase} has ended, says worker {me} at barrier {name:?}; the total is {total}"
            ));
            Ok(())
        };
        let barrier = Barrier::options().parties(WORKERS).open_or_create(name)?;
        index = barrier.with_action(action).wait()?;
    }
    Ok(())
}

/// Goes through all phases.
fn all_phases(way: usize, longest: Duration) -> Result<(), Failure> {
    output::line(format_args!("{}:", WAYS[way].0))?;
    let data = Array::options().len(WORKERS).anonymous()?;
    let actions = Array::options().len(PHASES.len()).anonymous()?;
    let shared = Shared { data, total: Value::new(0)?, aggregators: Value::new(0)?, actions, longest };
    let mut team = Team::new();
    for me in 0..WORKERS {
        team.spawn_fallible(format!("worker-{me}"), worker, (me, way, shared.clone()))?;
    }
    team.join()?;
    let actions = shared.actions.read(0..PHASES.len())?;
    must_hold(actions == [1; PHASES.len()], "an action did not run exactly once")?;
    must_hold(shared.aggregators.get()? == 1, "not exactly one worker has aggregated")?;
    must_hold(shared.total.get()? == TOTAL, "the total is wrong")?;
    must_hold(shared.data.read(0..WORKERS)? == [0; WORKERS], "somebody has not cleaned up")
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let longest = Duration::from_millis(if args.quick { 2 } else { 500 });
    (0..WAYS.len()).try_for_each(|way| all_phases(way, longest))?;
    output::line("each action ran once, one worker aggregated, the total is 0 + 100 + 200: all right")
}
