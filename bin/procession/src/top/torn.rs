//! Snapshots that no namespace has: `top` looks while others write, so that what it has read may not fit together, and
//! names are whatever their makers chose. Nothing of that may end it, whatever is typed on screens of any size.

use super::lints::warnings;
use super::model::{Holding, Model, Object, Process, Snapshot, Waiter};
use super::runs::Worker;
use super::update::{Event, Key, update};
use super::view::view;
use crate::room::Room;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::Duration;

const KINDS: [&str; 8] = ["lock", "semaphore", "event", "barrier", "queue", "joinable-queue", "value", ""];
const FIGURES: [&str; 13] = [
    "tokens",
    "put",
    "got",
    "times_set",
    "depth",
    "capacity",
    "leased",
    "dead",
    "arrived",
    "parties",
    "broken",
    "inconsistent",
    "owner_deaths",
];

/// Letters of any kind: wide ones, ones that stand over others, ones that move the cursor.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,24}", "[\u{0}-\u{1f}]{0,4}", "(e\u{301}|字|🧵|\t){0,9}", Just("x".repeat(300))]
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        any::<u32>().prop_map(|ms| Duration::from_millis(ms.into()))
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_u64, Just(u64::MAX), any::<u64>()]
}

fn holding() -> impl Strategy<Value = Holding> {
    (any::<u32>(), text(), text(), any::<bool>(), option::of(time()))
        .prop_map(|(pid, name, how, dead, held_for)| Holding { pid, name, how, dead, held_for })
}

fn waiter() -> impl Strategy<Value = Waiter> {
    (any::<u32>(), text(), any::<u32>(), time(), any::<bool>())
        .prop_map(|(pid, name, tid, since, timed)| Waiter { pid, name, tid, since, timed })
}

fn object() -> impl Strategy<Value = Object> {
    let held = (vec(holding(), 0..4), vec(waiter(), 0..4), option::of(time()));
    let figures = vec((select(&FIGURES[..]), number()), 0..6);
    (text(), select(&KINDS[..]), text(), held, figures, number(), any::<bool>(), text()).prop_map(
        |(name, kind, state, (holders, waiters, oldest_lease), figures, bytes, attached, note)| Object {
            name,
            kind,
            state,
            holders,
            waiters,
            figures,
            oldest_lease,
            bytes,
            attached,
            note,
            ..Object::default()
        },
    )
}

fn worker() -> impl Strategy<Value = Worker> {
    let names = (option::of(text()), option::of(text()), text());
    let numbers = (any::<u32>(), number(), any::<u32>(), number());
    (names, numbers, option::of(any::<f64>()), any::<f64>(), any::<char>()).prop_map(
        |((run_name, name, command), (run, rank, pid, rss_bytes), cpu_percent, seconds, state)| Worker {
            of: "run",
            run,
            run_name,
            name,
            rank,
            pid,
            state,
            restarts: pid,
            rss_bytes,
            cpu_percent,
            seconds,
            command,
        },
    )
}

fn process() -> impl Strategy<Value = Process> {
    let names = || vec(text(), 0..3);
    (any::<u32>(), number(), (text(), text(), text()), time(), names(), names()).prop_map(
        |(pid, registered_ns, (name, command, user), since, holds, waits_for)| Process {
            pid,
            registered_ns,
            name,
            command,
            user,
            since,
            doing: "stopped",
            holds,
            waits_for,
        },
    )
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let room = option::of((number(), number()).prop_map(|(size, used)| Room { size, used }));
    let deadlocks = vec(vec(text(), 0..3), 0..3);
    let processes = (vec(process(), 0..4), vec(worker(), 0..4));
    (text(), time(), room, number(), vec(object(), 0..8), processes, deadlocks).prop_map(
        |(namespace, at, room, bytes, objects, (processes, runs), deadlocks)| Snapshot {
            namespace,
            at,
            room,
            bytes,
            objects,
            processes,
            runs,
            deadlocks,
        },
    )
}

fn key() -> impl Strategy<Value = Key> {
    let others =
        [Key::Enter, Key::Escape, Key::Tab, Key::BackTab, Key::Backspace, Key::Up, Key::Down, Key::PageUp]
            .into_iter()
            .chain([Key::PageDown, Key::Home, Key::End]);
    prop_oneof![
        select(others.collect::<Vec<_>>()),
        // Those that mean something, more often than others.
        select("/srgk?123456jJpq ".chars().map(Key::Char).collect::<Vec<_>>()),
        any::<char>().prop_map(Key::Char),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        snapshot().prop_map(|seen| Event::Seen(Box::new(seen))),
        key().prop_map(Event::Key),
        text().prop_map(Event::Said),
        vec(text(), 0..3).prop_map(Event::Garbage),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn nothing_that_was_seen_or_typed_ends_it(
        events in vec((event(), 1..200_u16, 1..60_u16), 1..12),
        colour in any::<bool>(),
    ) {
        let mut model = Model { colour, ..Model::default() };
        for (event, width, height) in events {
            update(&mut model, event);
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| view(&model, frame)).unwrap();
            let said = warnings(&model.snapshot, &model.history);
            assert!(said.iter().all(|warning| !warning.text.is_empty()));
        }
    }
}
