//! `procession stats`: one object, a line of numbers every second.

use crate::duration::{age, duration};
use crate::list::{Looker, Seen};
use crate::rates::{figure, per_second, rate};
use crate::under::told;
use crate::watch::rest;
use clap::builder::FalseyValueParser;
use procession::Namespace;
use procession_sys::clock;
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The shortest time between two lines.
const SHORTEST: Duration = Duration::from_millis(10);
/// After how many lines the heading comes again.
const SCREEN: u64 = 20;

/// Print numbers about one object again and again: how deep a queue is and what goes through it, who holds a lock, who
/// waits, and for how long.
///
/// It looks without attaching, and takes no lock.
#[derive(Debug, clap::Args)]
#[command(after_help = STATS_HELP)]
pub(crate) struct StatsArgs {
    /// The object's name.
    name: String,
    /// How long to wait between two lines: 500ms, 2s.
    #[arg(short = 'i', long, value_name = "TIME", default_value = "1s", value_parser = duration, env = "PROCESSION_STATS_INTERVAL", hide_env = true)]
    interval: Duration,
    /// How many lines to print; without end unless said.
    #[arg(short = 'c', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), env = "PROCESSION_STATS_COUNT", hide_env = true)]
    count: Option<u64>,
    /// Print each line as a JSON object, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

const STATS_HELP: &str = "\
Examples:
  procession stats jobs
  procession stats jobs -i 5s -c 12 --json | jq .per_second.put

Rates are of counters that objects have anyway: PUT/s and GOT/s of messages (of
items with leases PUT/s alone), SET/s of events. ACQ/s of locks is known where
tokens are asked for: by `procession lock`, and by programs that ask; otherwise
it is `-`. WAIT are threads that have waited for longer than a few milliseconds,
LONGEST is for how long the first of them has.

Exit codes: 0 so many lines were printed; 66 no such object, or it was removed;
130 after Ctrl-C; 141 nobody reads it";

/// # Errors
/// [`Failure::Objects`] if there is no object of that name, also later; what [`rest`] says.
pub(crate) fn run(args: &StatsArgs) -> Result<(), Failure> {
    told(args.json, print(args))
}

fn print(args: &StatsArgs) -> Result<(), Failure> {
    let namespace = Namespace::current()?;
    let look = || {
        let entry = namespace.entry(&args.name).map_err(|error| Failure::Objects(vec![error]))?;
        Ok::<_, Failure>((Instant::now(), Looker::default().look(entry)))
    };
    let began = Instant::now();
    let mut before = look()?;
    for line in 0..args.count.unwrap_or(u64::MAX) {
        rest(args.interval.max(SHORTEST))?;
        let now = look()?;
        let numbers = Numbers::of(&before, &now);
        if args.json {
            output::json(&numbers.record(&now.1))?;
        } else {
            let columns = numbers.columns(&now.1, began.elapsed());
            if line % SCREEN == 0 {
                output::line(aligned(columns.iter().map(|column| column.title)))?;
            }
            output::line(aligned(columns.iter().map(|column| &*column.text)))?;
        }
        before = now;
    }
    Ok(())
}

/// What happened between two looks.
struct Numbers {
    /// By what is counted.
    rates: Vec<(&'static str, f64)>,
}

struct Column {
    title: &'static str,
    text: String,
}

/// What --json prints.
#[derive(Serialize)]
struct Record<'a> {
    v: u32,
    ts: f64,
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    of: Option<&'static str>,
    state: &'a str,
    holders: usize,
    waiters: usize,
    longest_wait_seconds: Option<f64>,
    per_second: BTreeMap<&'static str, f64>,
    figures: BTreeMap<&'static str, u64>,
}

impl Numbers {
    fn of((looked_at, before): &(Instant, Seen), (at, now): &(Instant, Seen)) -> Self {
        let time = at.duration_since(*looked_at);
        let rates = match (&before.entry.header, &now.entry.header) {
            (Ok(one), Ok(other)) if one.instance == other.instance => {
                per_second(other.kind.name(), &before.state.figures, &now.state.figures, time)
            }
            // Another object has the name now.
            _ => Vec::new(),
        };
        Self { rates }
    }

    fn record<'a>(&self, seen: &'a Seen) -> Record<'a> {
        let Seen { entry, state, waits } = seen;
        Record {
            v: 1,
            ts: clock::wall_ns() as f64 / 1e9,
            kind: "stats",
            namespace: entry.namespace.name(),
            name: &entry.name,
            of: entry.header.as_ref().ok().map(|header| header.kind.name()),
            state: &state.text,
            holders: state.holders.len(),
            waiters: waits.len(),
            longest_wait_seconds: waits.first().map(|wait| wait.since.as_secs_f64()),
            per_second: self.rates.iter().copied().collect(),
            figures: state.figures.iter().copied().collect(),
        }
    }

    fn columns(&self, Seen { state, waits, .. }: &Seen, since: Duration) -> Vec<Column> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let shown = |title, name| {
            let number = figure(&state.figures, name)?;
            Some(Column { title, text: output::grouped(number) })
        };
        let per_second = |title, counter, growth| {
            figure(&state.figures, counter)?;
            let found = self.rates.iter().find(|(name, _)| *name == growth);
            Some(Column { title, text: or_none(found.map(|&(_, per_second)| rate(per_second))) })
        };
        let holder = state.holders.first().map(|held| held.holder.pid.to_string());
        let longest = waits.first().map(|wait| age(wait.since));
        let is_queue = figure(&state.figures, "depth").is_some();
        let columns = [
            Some(Column { title: "SECONDS", text: format!("{:.1}", since.as_secs_f64()) }),
            shown("DEPTH", "depth"),
            shown("LEASED", "leased"),
            shown("DEAD", "dead"),
            per_second("PUT/s", "put", "put"),
            per_second("GOT/s", "got", "got"),
            per_second("SET/s", "times_set", "set"),
            per_second("ACQ/s", "tokens", "acquired"),
            shown("DIED", "owner_deaths"),
            (!is_queue).then(|| Column { title: "HOLDERS", text: state.holders.len().to_string() }),
            (!is_queue).then(|| Column { title: "FIRST", text: or_none(holder) }),
            Some(Column { title: "WAIT", text: waits.len().to_string() }),
            Some(Column { title: "LONGEST", text: or_none(longest) }),
            (!is_queue).then(|| Column { title: " STATE", text: format!(" {}", state.text) }),
        ];
        columns.into_iter().flatten().collect()
    }
}

/// In columns that are as wide whatever comes.
fn aligned<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let cells = cells.map(|cell| if cell.starts_with(' ') { cell.to_owned() } else { format!("{cell:>8}") });
    cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}
