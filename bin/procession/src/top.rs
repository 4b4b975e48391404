//! `procession top`: the namespace as it changes, on the whole screen; or once, as text or as JSON.
//!
//! `top/collect.rs` looks at the namespace, as `ls`, `ps` and `deadlocks` do; `update.rs` changes the model by what was
//! seen and typed, `view.rs` draws it, and `lints.rs` finds what deserves a warning: these know no terminal, no clock
//! and no shared memory. `live.rs` is the loop around them.

mod collect;
mod lints;
mod live;
mod model;
mod runs;
mod terminal;
mod update;
mod view;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn;

use crate::duration::duration;
use clap::builder::FalseyValueParser;
use collect::Collector;
use model::{Model, Pane, Snapshot};
use procession::Namespace;
use procession_terminal::exit::Failure;
use procession_terminal::output;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::io::{IsTerminal, stdout};
use std::time::Duration;
use update::{Event, update};

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);
/// How wide a frame is where nothing says how wide it may be.
const WIDTH: u16 = 80;
/// How many rows of a frame are no objects: summary, panes, heading, line of keys.
const AROUND: usize = 5;
/// The longest frame: rows of a screen are counted in 16 bits.
const LONGEST: usize = 60_000;

/// Watch the objects of the namespace: who holds them, who waits, and what is wrong.
///
/// It looks without attaching, and takes no lock: it works when holders are dead, or are stopped. Rates are of counters
/// that objects have anyway: of messages, and of locks where tokens are asked for. There are no distributions of times.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  procession top\n  procession top --once | head -20\n\n\
        ? shows the keys. Where stdout is no terminal, one frame is printed. NO_COLOR is\n\
        honoured. Warnings about what lasts (a queue that grows for a minute, an object\n\
        that nobody has used for ten) need a top that runs for as long.\n\n\
        Exit codes: 0 done; 125 the terminal is none that can be used; 130 after Ctrl-C")]
pub(crate) struct TopArgs {
    /// How long to wait between two looks: 500ms, 2s.
    #[arg(
        short = 'i',
        long,
        value_name = "DURATION",
        default_value = "1s",
        value_parser = duration,
        env = "PROCESSION_TOP_INTERVAL",
        hide_env = true
    )]
    interval: Duration,
    /// Print one frame, with all objects, and end.
    #[arg(long, env = "PROCESSION_TOP_ONCE", hide_env = true, value_parser = FalseyValueParser::new())]
    once: bool,
    /// Print one JSON object, with the records of `ls --json` and `ps --json` and the warnings, and end.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// # Errors
/// When `/dev/shm` cannot be read, or the terminal cannot be used.
pub(crate) fn run(args: &TopArgs) -> Result<(), Failure> {
    let mut collector = Collector::new(Namespace::current()?);
    let mut model = Model {
        colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        ..Model::default()
    };
    if args.json || args.once || !stdout().is_terminal() {
        let snapshot = collector.look()?;
        update(&mut model, Event::Seen(Box::new(snapshot)));
        if args.json {
            return output::json(&collector.json(model.snapshot.room, &model.warnings));
        }
        return output::line(frame(&mut model)?);
    }
    live::run(collector, model, args.interval.max(SHORTEST))
}

/// One frame as text, with all objects and below them all warnings.
fn frame(model: &mut Model) -> Result<String, Failure> {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let is_wide = |&columns: &u16| (20..=1000).contains(&columns);
    let width = columns.filter(is_wide).or_else(live::width).unwrap_or(WIDTH);
    let mut text = Vec::new();
    let Snapshot { objects, processes, runs, .. } = &model.snapshot;
    let panes =
        [(Pane::Objects, objects.len()), (Pane::Runs, runs.len()), (Pane::Processes, processes.len())];
    // Most namespaces have none.
    let shown = panes.into_iter().filter(|&(pane, rows)| pane != Pane::Runs || rows > 0);
    for (pane, rows) in shown.collect::<Vec<_>>() {
        model.pane = pane;
        let height = u16::try_from((rows.max(1) + AROUND).min(LONGEST)).unwrap_or(u16::MAX);
        // Nothing is selected, where nothing can be done with it.
        model.selected.clear();
        let drawn = drawn(model, width, height)?;
        // The panes' names and the keys are for those who can press them.
        let body = drawn.lines().enumerate().filter(|&(place, line)| {
            let is_heading = place == 0 && pane == Pane::Objects;
            is_heading || (place > 1 && !line.is_empty() && !line.starts_with(view::FOOT))
        });
        text.extend(body.map(|(_, line)| line.to_owned()));
        text.push(String::new());
    }
    text.extend(model.warnings.iter().map(|warning| output::printable(&format!("! {}", warning.text))));
    Ok(text.join("\n").trim_end().to_owned())
}

/// The screen as text.
fn drawn(model: &Model, width: u16, height: u16) -> Result<String, Failure> {
    let mut terminal = Terminal::new(TestBackend::new(width, height))?;
    terminal.draw(|frame| view::view(model, frame))?;
    let buffer = terminal.backend().buffer();
    let line = |row: u16| {
        let cells = (0..width).filter_map(|column| buffer.cell((column, row)));
        cells.map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
    };
    Ok((0..height).map(line).collect::<Vec<_>>().join("\n"))
}
