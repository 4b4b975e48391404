//! Draws the model. Nothing is asked here: the same model gives the same screen.
//!
//! Colour says nothing that is not said without it: rows with a warning begin with `!`, the selected one with `>`.

use super::model::{Model, Object, Over, Pane, Process, SIGNALS};
use super::runs::Worker;
use crate::duration::age;
use crate::list::{short, size};
use crate::rates::rate;
use procession_terminal::output::{grouped, number_of, printable};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table, TableState, Wrap};
use std::collections::BTreeMap;

/// From how many rows on there is one that says more of what is selected.
const ROOMY: u16 = 16;
/// How the line of keys begins.
pub(crate) const FOOT: &str = "q quit";
const KEYS: &str = "q quit  ? help  / filter  s sort  r reverse  Tab panes  Enter details  space freeze";
/// The heights of the bars that show how a queue grew.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// How many of them are shown.
const TREND: usize = 20;

const HELP: &str = " 1-5 Tab    the panes Objects, Runs, Queues, Processes, Warnings
 up down    select a row; also PgUp, PgDn, Home, End
 Enter      all of what is selected; Esc goes back
 /          show only what contains a text; Esc shows all again
 s r        sort by another column; reverse the order
 space      freeze what is shown; again: go on
 k          send a signal to the selected process, or to who
            holds the selected object; asks before
 g          show what `procession gc` would remove
 J          write all that is known into a file, as JSON
 Ctrl-Z     stop, until `fg`
 q          quit

 ! marks what there is a warning about. HELD is known of locks
 for which somebody waits or has waited; WAIT counts threads
 that have waited for longer than a few milliseconds. ACQ/s is
 known of locks where tokens are asked for, as `lock` does.";

pub(crate) fn view(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let about = u16::from(area.height >= ROOMY);
    let [summary, tabs, body, selected, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(about),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Line::from(summary_of(model)).style(bold()), summary);
    frame.render_widget(tabs_of(model), tabs);
    draw_body(model, frame, body);
    frame.render_widget(Line::from(selected_of(model)).style(dim()), selected);
    frame.render_widget(Line::from(foot_of(model)), foot);
    draw_over(model, frame, body);
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// The style of a row: what is said by colour is said by its first letter, too.
fn row_style(model: &Model, warns: bool) -> Style {
    match (warns, model.colour) {
        (true, true) => Style::new().fg(Color::Yellow),
        (true, false) => bold(),
        _ => Style::new(),
    }
}

fn summary_of(model: &Model) -> String {
    let snapshot = &model.snapshot;
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for object in &snapshot.objects {
        *kinds.entry(short(object.kind)).or_default() += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|&(kind, count)| (std::cmp::Reverse(count), kind));
    let kinds =
        kinds.iter().take(4).map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(" ");
    let kinds = if kinds.is_empty() { String::new() } else { format!("  {kinds}") };
    let room = snapshot.room.map_or_else(String::new, |room| {
        let part = room.used.saturating_mul(100).checked_div(room.size).unwrap_or(0);
        format!("  shm {} of {} ({part}% full)", size(snapshot.bytes), size(room.size))
    });
    let warnings = match model.warnings.len() {
        0 => String::new(),
        count => format!("  ! {}", number_of(count as u64, "warning")),
    };
    let per_second =
        |growth, unit| or_empty(model.total_rate(growth), |total| format!("  {} {unit}/s", rate(total)));
    let rates = per_second("acquired", "acq") + &per_second("put", "msg");
    format!(
        "ns {}{warnings}  procs {}  objs {}{rates}{room}{kinds}",
        snapshot.namespace,
        grouped(snapshot.processes.len() as u64),
        grouped(snapshot.objects.len() as u64),
    )
}

fn tabs_of(model: &Model) -> Line<'static> {
    let mut line = Line::default();
    for (place, pane) in Pane::ALL.into_iter().enumerate() {
        let is_here = pane == model.pane;
        let title = format!("{} {}", place + 1, pane.title());
        // Brackets say so where nothing can be drawn in reverse.
        let title = if is_here { format!("[{title}]") } else { format!(" {title} ") };
        let style = if is_here { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        line.push_span(ratatui::text::Span::styled(title, style));
    }
    let sort = match (model.pane, model.reversed) {
        (Pane::Objects | Pane::Queues, false) => format!("  sort: {}", model.sort.title()),
        (Pane::Objects | Pane::Queues, true) => format!("  sort: {}, reversed", model.sort.title()),
        (_, true) => "  reversed".to_owned(),
        (_, false) => String::new(),
    };
    let filter = if model.filter.is_empty() {
        String::new()
    } else {
        format!("  filter: {}", printable(&model.filter))
    };
    let frozen = if model.frozen { "  FROZEN" } else { "" };
    line.push_span(format!("{frozen}{sort}{filter}"));
    line
}

fn foot_of(model: &Model) -> String {
    match &model.over {
        Over::Filter => format!("/{}_   Enter keeps it, Esc shows all", printable(&model.filter)),
        _ if !model.message.is_empty() => printable(&model.message),
        _ => KEYS.to_owned(),
    }
}

/// One line about what is selected.
fn selected_of(model: &Model) -> String {
    if let Some(process) = model.selected_process() {
        return format!("> {} {}", process.pid, printable(&process.command));
    }
    if let Some(worker) = model.selected_worker() {
        return format!("> {} {}", worker.pid, printable(&worker.command));
    }
    let Some(object) = model.selected_object() else { return String::new() };
    let holders: Vec<String> = object
        .holders
        .iter()
        .take(3)
        .map(|holder| format!("{} {} ({})", holder.pid, holder.name, holder.how))
        .collect();
    let waiters: Vec<String> = object
        .waiters
        .iter()
        .take(3)
        .map(|waiter| format!("{} ({})", waiter.pid, age(waiter.since)))
        .collect();
    let part = |title: &str, parts: Vec<String>| {
        if parts.is_empty() { String::new() } else { format!(" | {title}: {}", parts.join(", ")) }
    };
    let text = format!("> {}{}{}", object.name, part("held by", holders), part("waiting", waiters));
    printable(&text)
}

fn draw_body(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    match model.pane {
        Pane::Objects => draw_rows(model, frame, area, &OBJECTS, &model.objects(), "there are no objects"),
        Pane::Runs => draw_rows(model, frame, area, &RUNS, &model.runs(), "there are no runs"),
        Pane::Queues => draw_rows(model, frame, area, &QUEUES, &model.objects(), "there are no queues"),
        Pane::Processes => {
            draw_rows(model, frame, area, &PROCESSES, &model.processes(), "there are no processes")
        }
        Pane::Warnings => draw_warnings(model, frame, area),
    }
}

/// A column of a table: how wide it is, from which width of the screen on it is shown, and what it shows.
struct Column<T> {
    title: &'static str,
    width: Constraint,
    from: u16,
    /// From which width on it is not shown any more.
    until: u16,
    is_number: bool,
    text: fn(&Model, &T) -> String,
}

const fn words<T>(title: &'static str, width: u16, from: u16, text: fn(&Model, &T) -> String) -> Column<T> {
    Column { title, width: Constraint::Length(width), from, until: u16::MAX, is_number: false, text }
}

const fn number<T>(title: &'static str, width: u16, from: u16, text: fn(&Model, &T) -> String) -> Column<T> {
    Column { title, width: Constraint::Length(width), from, until: u16::MAX, is_number: true, text }
}

impl<T> Column<T> {
    const fn until(self, until: u16) -> Self {
        Self { until, ..self }
    }
}

/// A column that takes what the others leave.
const fn rest<T>(title: &'static str, least: u16, text: fn(&Model, &T) -> String) -> Column<T> {
    Column { title, width: Constraint::Min(least), from: 0, until: u16::MAX, is_number: false, text }
}

fn mark(model: &Model, object: &Object) -> String {
    if model.has_warning(&object.name) { "!".to_owned() } else { String::new() }
}

fn or_empty<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(String::new, text)
}

const OBJECTS: [Column<Object>; 12] = [
    words("", 1, 0, mark),
    words("KIND", 7, 60, |_, object| short(object.kind).to_owned()),
    rest("NAME", 12, |_, object| object.name.clone()),
    words("STATE", 16, 0, |_, object: &Object| object.state.clone()).until(110),
    words("STATE", 32, 110, |_, object| object.state.clone()),
    words("HOLDER", 14, 70, |_, object| object.holder()),
    number("HELD", 6, 60, |_, object| or_empty(object.held_for(), age)),
    number("WAIT", 4, 0, |_, object| {
        or_empty(Some(object.waiters.len()).filter(|&n| n > 0), |n| n.to_string())
    }),
    number("MAXWAIT", 7, 76, |_, object| or_empty(object.longest_wait(), age)),
    number("ACQ/s", 6, 100, |model, object| or_empty(model.rate(object, "acquired"), rate)),
    number("DIED", 5, 100, |_, object| {
        or_empty(object.figure("owner_deaths").filter(|&n| n > 0), |n| n.to_string())
    }),
    number("SIZE", 7, 100, |_, object| size(object.bytes)),
];

const QUEUES: [Column<Object>; 12] = [
    words("", 1, 0, mark),
    rest("NAME", 12, |_, object| object.name.clone()),
    words("STATE", 7, 60, |_, object| {
        (if object.figure("closed") == Some(1) { "closed" } else { "open" }).to_owned()
    }),
    number("DEPTH", 9, 0, |_, object| or_empty(object.figure("depth"), grouped)),
    number("MOST", 7, 90, |_, object| or_empty(object.figure("capacity"), grouped)),
    number("LEASED", 6, 40, |_, object| or_empty(object.figure("leased"), grouped)),
    number("OLDEST", 6, 70, |_, object| or_empty(object.oldest_lease, age)),
    number("DEAD", 5, 50, |_, object| or_empty(object.figure("dead"), grouped)),
    number("WAIT", 4, 76, |_, object| {
        or_empty(Some(object.waiters.len()).filter(|&n| n > 0), |n| n.to_string())
    }),
    number("PUT/s", 6, 60, |model, object| or_empty(model.rate(object, "put"), rate)),
    number("GOT/s", 6, 70, |model, object| or_empty(model.rate(object, "got"), rate)),
    words("TREND", 20, 96, |model, object| trend(&model.history.depths(&object.name))),
];

const RUNS: [Column<Worker>; 9] = [
    words("RUN", 10, 50, |_, worker| worker.run_name.clone().unwrap_or_else(|| worker.run.to_string())),
    words("WORKER", 9, 0, |_, worker| match (&worker.name, worker.of) {
        (Some(name), _) => name.clone(),
        (None, "map") => format!("job {}", worker.rank),
        (None, _) => format!("rank {}", worker.rank),
    }),
    number("PID", 8, 0, |_, worker| worker.pid.to_string()),
    words("STATE", 8, 0, |_, worker| doing(worker.state).to_owned()),
    number("RESTARTS", 8, 60, |_, worker| grouped(worker.restarts.into())),
    number("RSS", 7, 50, |_, worker| size(worker.rss_bytes)),
    number("CPU%", 5, 70, |_, worker| or_empty(worker.cpu_percent, |percent| format!("{percent:.0}"))),
    number("SINCE", 6, 76, |_, worker| age(worker.since())),
    rest("COMMAND", 0, |_, worker| worker.command.clone()),
];

/// What a process does, by the letter of `/proc`.
fn doing(state: char) -> &'static str {
    match state {
        'R' => "running",
        'S' | 'I' => "sleeping",
        'D' => "disk",
        'T' | 't' => "stopped",
        'Z' | 'X' => "ended",
        _ => "?",
    }
}

const PROCESSES: [Column<Process>; 7] = [
    number("PID", 8, 0, |_, process| process.pid.to_string()),
    words("NAME", 12, 0, |_, process| process.name.clone()),
    number("SINCE", 6, 50, |_, process| age(process.since)),
    words("DOES", 7, 60, |_, process| process.doing.to_owned()),
    words("HOLDS", 14, 0, |_, process| process.holds.join(",")),
    words("WAITS FOR", 12, 70, |_, process| process.waits_for.join(",")),
    rest("COMMAND", 0, |_, process| process.command.clone()),
];

fn draw_rows<T: Rowed>(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[Column<T>],
    rows: &[&T],
    none: &str,
) {
    if rows.is_empty() {
        let none = if model.filter.is_empty() { none } else { "nothing passes the filter" };
        return frame.render_widget(Paragraph::new(format!("  {none}")), area);
    }
    let columns: Vec<&Column<T>> =
        columns.iter().filter(|column| (column.from..column.until).contains(&area.width)).collect();
    // What is far out of sight is not drawn.
    let selected = rows.iter().position(|row| row.key() == model.selected);
    let height = usize::from(area.height.saturating_sub(1).max(1));
    let first = (selected.unwrap_or(0) + 1).saturating_sub(height);
    let seen = &rows[first..rows.len().min(first + height)];
    let cell = |column: &&Column<T>, row: &T| {
        let line = Line::from(printable(&(column.text)(model, row)));
        Cell::from(if column.is_number { line.right_aligned() } else { line })
    };
    let lines = seen.iter().map(|row| {
        Row::new(columns.iter().map(|column| cell(column, row))).style(row_style(model, row.warns(model)))
    });
    let heading = columns.iter().map(|column| {
        let title = Line::from(column.title);
        Cell::from(if column.is_number { title.right_aligned() } else { title })
    });
    let table = Table::new(lines, columns.iter().map(|column| column.width))
        .header(Row::new(heading).style(Style::new().add_modifier(Modifier::REVERSED)))
        .row_highlight_style(bold())
        .highlight_symbol(">");
    let mut state = TableState::new().with_selected(selected.map(|selected| selected - first));
    frame.render_stateful_widget(table, area, &mut state);
}

/// What the tables show.
trait Rowed {
    fn key(&self) -> String;
    fn warns(&self, model: &Model) -> bool;
}

impl Rowed for Object {
    fn key(&self) -> String {
        self.name.clone()
    }

    fn warns(&self, model: &Model) -> bool {
        model.has_warning(&self.name)
    }
}

impl Rowed for Worker {
    fn key(&self) -> String {
        self.pid.to_string()
    }

    fn warns(&self, _: &Model) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

impl Rowed for Process {
    fn key(&self) -> String {
        self.pid.to_string()
    }

    fn warns(&self, _: &Model) -> bool {
        !self.doing.is_empty()
    }
}

fn draw_warnings(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let warnings = model.shown_warnings();
    if warnings.is_empty() {
        return frame.render_widget(Paragraph::new("  nothing to warn of"), area);
    }
    let selected = warnings.iter().position(|warning| warning.text == model.selected).unwrap_or(0);
    let mut lines = Vec::new();
    for (place, warning) in
        warnings.iter().enumerate().skip(selected.saturating_sub(usize::from(area.height) / 2))
    {
        let mark = if place == selected { "> " } else { "! " };
        lines.push(Line::from(format!("{mark}{}", printable(&warning.text))).style(row_style(model, true)));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn draw_over(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let (title, text) = match &model.over {
        Over::Nothing | Over::Filter => return,
        Over::Help => (" keys ", HELP.to_owned()),
        Over::Detail => match (model.selected_object(), model.selected_process(), model.selected_worker()) {
            (Some(object), ..) => (" object ", detail_of(model, object)),
            (None, Some(process), _) => (" process ", detail_of_process(process)),
            (None, None, Some(worker)) => (" worker ", detail_of_worker(worker)),
            (None, None, None) => (" warning ", model.selected.clone()),
        },
        Over::Signal { pid, who, signal, .. } => {
            let name = SIGNALS.get(*signal).map_or("", |&(name, _)| name);
            let who = printable(who);
            (
                " signal ",
                format!(
                    "Send SIG{name} to process {pid}?\n  {who}\n\ny: send   Tab: another signal   Esc: do not"
                ),
            )
        }
        Over::Garbage(names) if names.is_empty() => {
            (" gc ", "`procession gc` would remove nothing.".to_owned())
        }
        Over::Garbage(names) => (" gc ", format!("`procession gc` would remove:\n  {}", names.join("\n  "))),
    };
    let text = text.lines().map(printable).collect::<Vec<_>>().join("\n");
    frame.render_widget(Clear, body);
    let block = Block::bordered().title(title);
    frame.render_widget(Paragraph::new(Text::from(text)).block(block).wrap(Wrap { trim: false }), body);
}

fn detail_of(model: &Model, object: &Object) -> String {
    let mut lines = vec![format!("{} {}", object.kind, object.name)];
    let mut line = |title: &str, text: String| lines.push(format!("{title:<12} {text}"));
    line("state", object.state.clone());
    for &(figure, number) in &object.figures {
        line(figure, grouped(number));
    }
    for &(growth, per_second) in model.history.rates(&object.name) {
        line(&format!("{growth}/s"), rate(per_second));
    }
    for holder in &object.holders {
        let dead = if holder.dead { ", and is dead" } else { "" };
        let since = or_empty(holder.held_for, |time| format!(", for at least {}", age(time)));
        let command = model.snapshot.processes.iter().find(|process| process.pid == holder.pid);
        let command = or_empty(command, |process| format!(" ({}, {})", process.command, process.user));
        line("held by", format!("{} {}{command}: {}{since}{dead}", holder.pid, holder.name, holder.how));
    }
    for (place, waiter) in object.waiters.iter().enumerate() {
        let thread =
            if waiter.tid == waiter.pid { String::new() } else { format!(", thread {}", waiter.tid) };
        let timed = if waiter.timed { ", with a timeout" } else { "" };
        line(
            "waits",
            format!(
                "#{} {} {}{thread}, for {}{timed}",
                place + 1,
                waiter.pid,
                waiter.name,
                age(waiter.since)
            ),
        );
    }
    if object.is_queue() {
        line("trend", trend(&model.history.depths(&object.name)));
    }
    line("size", size(object.bytes));
    if !object.note.is_empty() {
        line("note", object.note.clone());
    }
    for warning in model.warnings.iter().filter(|warning| warning.object.as_ref() == Some(&object.name)) {
        line("!", warning.text.clone());
    }
    lines.join("\n")
}

fn detail_of_process(process: &Process) -> String {
    let doing = if process.doing.is_empty() { "" } else { &format!(", {}", process.doing) };
    [
        format!("process {} {}{doing}", process.pid, process.name),
        format!("command      {}", process.command),
        format!("user         {}", process.user),
        format!("registered   {} ago", age(process.since)),
        format!("holds        {}", process.holds.join(", ")),
        format!("waits for    {}", process.waits_for.join(", ")),
    ]
    .join("\n")
}

fn detail_of_worker(worker: &Worker) -> String {
    let run = worker.run_name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    [
        format!("process {}, {}", worker.pid, doing(worker.state)),
        format!("command      {}", worker.command),
        format!("of           {} {}{run}", worker.of, worker.run),
        format!("began        {} ago", age(worker.since())),
        format!("restarts     {}", worker.restarts),
        format!("memory       {}", size(worker.rss_bytes)),
    ]
    .join("\n")
}

/// A bar for each of the last lengths, as high as it is long.
fn trend(depths: &[u64]) -> String {
    let shown = &depths[depths.len().saturating_sub(TREND)..];
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    let bar = |&depth: &u64| {
        let height = usize::try_from(depth.saturating_mul(BARS.len() as u64 - 1) / most).unwrap_or(0);
        BARS[height.min(BARS.len() - 1)]
    };
    shown.iter().map(bar).collect()
}
