//! A computation in four phases, with a barrier after each, in two ways.
//!
//! First there is a barrier for each phase, then there are two that take turns. Their names are all that the
//! workers agree on: whoever comes first creates the barrier, the others open it. At the end of each phase
//! one worker, the last to arrive, runs the barrier's action while the others wait.

use crate::check::must_hold;
use crate::random::work;
use crate::workers::{Done, join_all, say};
use procession::{Array, Barrier, Process, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::collections::BTreeMap;
use std::time::Duration;

/// Loading, processing, aggregation, cleanup: a named barrier and an action after each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Work of some milliseconds instead of up to half a second.
    #[arg(long)]
    quick: bool,
}

const WORKERS: u32 = 3;
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
    /// How often the action of each phase has run.
    actions: Array<u32>,
    longest: Duration,
}

/// What a worker does in a phase.
fn do_phase(phase: &str, me: u32, shared: &Shared) -> Done<()> {
    let mine = me as usize;
    work(shared.longest);
    match phase {
        "loading" => shared.data.set(mine, me)?,
        "processing" => shared.data.set(mine, shared.data.get(mine)? * 100)?,
        "aggregation" => drop(shared.total.fetch_add(shared.data.get(mine)?)),
        _ => shared.data.set(mine, 0)?,
    }
    Ok(())
}

/// Runs in a process of its own.
fn worker((me, way, shared): (u32, usize, Shared)) -> Done<()> {
    let (_, barriers) = WAYS[way];
    let mut opened: BTreeMap<&str, Barrier> = BTreeMap::new();
    for (number, (phase, name)) in PHASES.into_iter().zip(barriers).enumerate() {
        do_phase(phase, me, &shared)?;
        if !opened.contains_key(name) {
            opened.insert(name, Barrier::options().parties(WORKERS as usize).open_or_create(name)?);
        }
        let (actions, total) = (shared.actions.clone(), shared.total.clone());
        let action = move || {
            actions.fetch_add(number, 1)?;
            let total = total.get()?;
            say(format_args!(
                "{phase} has ended, says worker {me} at barrier {name:?}; the total is {total}"
            ));
            Ok(())
        };
        opened[name].clone().with_action(action).wait()?;
    }
    Ok(())
}

/// Goes through all phases.
fn all_phases(way: usize, longest: Duration) -> Result<(), Failure> {
    output::line(format_args!("{}:", WAYS[way].0))?;
    let data = Array::options().len(WORKERS as usize).anonymous()?;
    let actions = Array::options().len(PHASES.len()).anonymous()?;
    let shared = Shared { data, total: Value::new(0)?, actions, longest };
    let mut workers = Vec::new();
    for me in 0..WORKERS {
        let named = Process::options().name(format!("worker-{me}"));
        workers.push(named.spawn(worker, (me, way, shared.clone()))?);
    }
    join_all(workers)?;
    let actions = shared.actions.read(0..PHASES.len())?;
    must_hold(actions == [1; PHASES.len()], "an action did not run exactly once")?;
    must_hold(shared.total.get()? == TOTAL, "the total is wrong")?;
    must_hold(shared.data.read(0..WORKERS as usize)? == [0; 3], "somebody has not cleaned up")
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let longest = Duration::from_millis(if args.quick { 2 } else { 500 });
    (0..WAYS.len()).try_for_each(|way| all_phases(way, longest))?;
    output::line("each action ran once, the total is 0 + 100 + 200: all right")
}
