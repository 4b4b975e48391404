//! What a key, a look at the namespace, or an answer changes in the model: no terminal, no clock.

use super::lints;
use super::model::{Model, Over, Pane, SIGNALS, Snapshot};

/// What has happened.
#[derive(Debug)]
pub(crate) enum Event {
    Key(Key),
    /// The namespace was looked at.
    Seen(Box<Snapshot>),
    /// What became of an order.
    Said(String),
    /// What `gc` would remove.
    Garbage(Vec<String>),
}

/// A key, as far as it means anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Enter,
    Escape,
    Tab,
    BackTab,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

/// What is to be done outside of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Nothing,
    Quit,
    /// Look at the namespace now.
    Look,
    /// Forget what is kept of objects: they are not looked at for a while.
    Rest,
    Signal {
        pid: u32,
        registered_ns: u64,
        signal: i32,
    },
    PreviewGarbage,
    /// Write all that is known into a file.
    Dump,
}

/// How many rows a page key moves.
const PAGE: isize = 10;

pub(crate) fn update(model: &mut Model, event: Event) -> Order {
    match event {
        Event::Seen(snapshot) => {
            model.history.remember(&snapshot);
            model.warnings = lints::warnings(&snapshot, &model.history);
            model.snapshot = *snapshot;
            keep_selection(model);
            Order::Nothing
        }
        Event::Said(text) => {
            model.message = text;
            Order::Nothing
        }
        Event::Garbage(names) => {
            model.over = Over::Garbage(names);
            Order::Nothing
        }
        Event::Key(key) => {
            model.message.clear();
            let order = on_key(model, key);
            keep_selection(model);
            order
        }
    }
}

/// If the selected row is there no more, the first is.
fn keep_selection(model: &mut Model) {
    let keys = model.keys();
    if !keys.contains(&model.selected) {
        model.selected = keys.into_iter().next().unwrap_or_default();
    }
}

fn on_key(model: &mut Model, key: Key) -> Order {
    match &model.over {
        Over::Filter => on_filter(model, key),
        Over::Signal { .. } => on_signal(model, key),
        Over::Nothing => on_body(model, key),
        Over::Help | Over::Detail | Over::Garbage(_) => match key {
            Key::Char('q' | '?') | Key::Escape | Key::Enter => close(model),
            key if model.over == Over::Detail => on_body(model, key),
            _ => Order::Nothing,
        },
    }
}

fn close(model: &mut Model) -> Order {
    model.over = Over::Nothing;
    Order::Nothing
}

fn on_filter(model: &mut Model, key: Key) -> Order {
    match key {
        Key::Enter => return close(model),
        Key::Escape => {
            model.filter.clear();
            return close(model);
        }
        Key::Backspace => drop(model.filter.pop()),
        Key::Char(c) => model.filter.push(c),
        _ => {}
    }
    Order::Nothing
}

fn on_signal(model: &mut Model, key: Key) -> Order {
    let Over::Signal { pid, registered_ns, signal, .. } = &mut model.over else { return Order::Nothing };
    match key {
        Key::Tab | Key::Down => *signal = (*signal + 1) % SIGNALS.len(),
        Key::BackTab | Key::Up => *signal = (*signal + SIGNALS.len() - 1) % SIGNALS.len(),
        Key::Char('y') => {
            let number = SIGNALS.get(*signal).map_or(0, |&(_, number)| number);
            let order = Order::Signal { pid: *pid, registered_ns: *registered_ns, signal: number };
            model.over = Over::Nothing;
            return order;
        }
        Key::Char('n' | 'q') | Key::Escape => return close(model),
        _ => {}
    }
    Order::Nothing
}

fn on_body(model: &mut Model, key: Key) -> Order {
    match key {
        Key::Char('q') => return Order::Quit,
        Key::Char('?' | 'h') => model.over = Over::Help,
        Key::Char('/') => model.over = Over::Filter,
        Key::Char('s') => model.sort = model.sort.next(),
        Key::Char('r') => model.reversed = !model.reversed,
        Key::Char(c @ '1'..='5') => show(model, Pane::ALL[c as usize - '1' as usize]),
        Key::Tab => show(model, model.pane.next()),
        Key::BackTab => (1..Pane::ALL.len()).for_each(|_| show(model, model.pane.next())),
        Key::Enter if !model.selected.is_empty() => model.over = Over::Detail,
        Key::Char(' ') => {
            model.frozen = !model.frozen;
            return if model.frozen { Order::Rest } else { Order::Look };
        }
        Key::Char('J') => return Order::Dump,
        Key::Char('k') => ask_for_signal(model),
        Key::Char('g') => return Order::PreviewGarbage,
        Key::Escape => model.filter.clear(),
        Key::Up => step(model, -1),
        Key::Down => step(model, 1),
        Key::PageUp => step(model, -PAGE),
        Key::PageDown => step(model, PAGE),
        Key::Home => step(model, isize::MIN),
        Key::End => step(model, isize::MAX),
        _ => {}
    }
    Order::Nothing
}

fn show(model: &mut Model, pane: Pane) {
    model.pane = pane;
    model.over = Over::Nothing;
}

fn step(model: &mut Model, rows: isize) {
    let keys = model.keys();
    let here = keys.iter().position(|key| *key == model.selected).unwrap_or(0);
    let there = here.saturating_add_signed(rows).min(keys.len().saturating_sub(1));
    model.selected = keys.into_iter().nth(there).unwrap_or_default();
}

/// Asks whether to send a signal to the selected process, or to who holds the selected object.
fn ask_for_signal(model: &mut Model) {
    let holder =
        || model.selected_object()?.holders.iter().find(|holder| !holder.dead).map(|holder| holder.pid);
    let pid = model.selected_process().map(|process| process.pid).or_else(holder);
    let found = model.snapshot.processes.iter().find(|process| Some(process.pid) == pid);
    match found {
        Some(process) => {
            let who = if process.command.is_empty() { &process.name } else { &process.command };
            let (pid, registered_ns, who) = (process.pid, process.registered_ns, who.clone());
            model.over = Over::Signal { pid, registered_ns, who, signal: 0 };
        }
        None => "nobody to send a signal to: select a process, or an object that is held"
            .clone_into(&mut model.message),
    }
}
