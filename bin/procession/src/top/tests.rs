//! The screens of `top` as pictures, its warnings, and what keys do: no terminal, no other process.
//!
//! The pictures lie in `snapshots/`; after a change `cargo insta review` shows what differs, and
//! `INSTA_UPDATE=always` writes them anew.

use super::lints::History;
use super::model::{Holding, Model, Object, Over, Pane, Process, Snapshot, Sort, Waiter};
use super::runs::Worker;
use super::update::{Event, Key, Order, update};
use super::view::view;
use crate::room::Room;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn lock(name: &str) -> Object {
    Object {
        name: name.to_owned(),
        kind: "lock",
        state: "free".to_owned(),
        figures: vec![("inconsistent", 0), ("owner_deaths", 0)],
        bytes: 8192,
        attached: true,
        ..Object::default()
    }
}

fn holding(pid: u32, name: &str, held_for: Option<u64>) -> Holding {
    let held_for = held_for.map(Duration::from_secs);
    Holding { pid, name: name.to_owned(), how: "exclusive".to_owned(), dead: false, held_for }
}

fn waiter(pid: u32, name: &str, seconds: u64) -> Waiter {
    Waiter { pid, name: name.to_owned(), tid: pid, since: Duration::from_secs(seconds), timed: false }
}

fn held(name: &str, holder: Holding, waiters: Vec<Waiter>) -> Object {
    Object { state: "held".to_owned(), holders: vec![holder], waiters, ..lock(name) }
}

fn queue(name: &str, depth: u64) -> Object {
    let figures = vec![("depth", depth), ("closed", 0), ("capacity", 1000), ("leased", 0), ("dead", 0)];
    Object {
        kind: "joinable-queue",
        state: format!("{depth} messages"),
        figures,
        bytes: 1 << 20,
        ..lock(name)
    }
}

fn barrier(name: &str, arrived: u64, waiters: Vec<Waiter>) -> Object {
    let figures = vec![("arrived", arrived), ("parties", 8), ("broken", 0)];
    Object { kind: "barrier", state: format!("{arrived} of 8 arrived"), figures, waiters, ..lock(name) }
}

fn process(pid: u32, name: &str, holds: &[&str], waits_for: &[&str]) -> Process {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Process {
        pid,
        registered_ns: u64::from(pid) * 7,
        name: name.to_owned(),
        command: format!("/usr/bin/{name} --all /srv/data"),
        user: "alice".to_owned(),
        since: Duration::from_secs(700),
        doing: "",
        holds: owned(holds),
        waits_for: owned(waits_for),
    }
}

/// A few objects of different kinds, of which one is held for too long.
fn some() -> Snapshot {
    let mut sem = lock("gpu");
    (sem.kind, sem.state) = ("semaphore", "0 of 2 free".to_owned());
    sem.figures = vec![("available", 0), ("held", 2), ("max", 2)];
    sem.holders = vec![holding(4310, "train", None), holding(4377, "train", None)];
    sem.waiters = vec![waiter(4400, "train", 12)];
    let mut jobs = queue("enc", 812);
    jobs.figures = vec![("depth", 812), ("closed", 0), ("leased", 4), ("dead", 2)];
    jobs.state = "812 messages, 4 leased, 2 dead".to_owned();
    jobs.oldest_lease = Some(Duration::from_secs(360));
    let deploy = held(
        "deploy",
        holding(4242, "make", Some(192)),
        vec![waiter(4301, "sh", 100), waiter(4388, "sh", 12)],
    );
    Snapshot {
        namespace: "default".to_owned(),
        at: SECOND,
        room: Some(Room { size: 512 << 20, used: 19 << 20 }),
        bytes: 18 << 20,
        objects: vec![
            lock("cache-index"),
            deploy,
            jobs,
            barrier("epoch", 6, vec![waiter(4500, "rank", 5)]),
            sem,
        ],
        processes: vec![
            process(4242, "make", &["deploy"], &[]),
            process(4301, "sh", &[], &["deploy"]),
            process(4310, "train", &["gpu"], &[]),
            Process { doing: "stopped", ..process(4377, "train", &["gpu"], &[]) },
        ],
        runs: Vec::new(),
        deadlocks: Vec::new(),
    }
}

fn worker(rank: u64, name: Option<&str>, state: char) -> Worker {
    Worker {
        of: "run",
        run: 4200,
        run_name: name.map(|_| "site".to_owned()),
        name: name.map(str::to_owned),
        rank,
        pid: 4210 + u32::try_from(rank).unwrap(),
        state,
        restarts: 2,
        rss_bytes: 81 << 20,
        cpu_percent: Some(37.4),
        seconds: 700.0,
        command: "./serve --port 5000".to_owned(),
    }
}

fn model_of(snapshot: Snapshot) -> Model {
    let mut model = Model { colour: true, ..Model::default() };
    see(&mut model, snapshot);
    model
}

fn see(model: &mut Model, snapshot: Snapshot) {
    assert_eq!(update(model, Event::Seen(Box::new(snapshot))), Order::Nothing);
}

fn screen(model: &Model, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view(model, frame)).unwrap();
    terminal
}

/// Types these letters; `\n` is Enter, `\t` is Tab, `^` up, `v` down, and `!` Escape.
fn type_in(model: &mut Model, keys: &str) -> Order {
    let mut order = Order::Nothing;
    for c in keys.chars() {
        let key = match c {
            '\n' => Key::Enter,
            '\t' => Key::Tab,
            '^' => Key::Up,
            'v' => Key::Down,
            '!' => Key::Escape,
            c => Key::Char(c),
        };
        order = update(model, Event::Key(key));
    }
    order
}

macro_rules! picture {
    ($name:literal, $model:expr, $width:literal, $height:literal) => {
        insta::assert_snapshot!($name, screen($model, $width, $height).backend())
    };
}

#[test]
fn screens_of_three_sizes() {
    let model = model_of(some());
    picture!("80x24", &model, 80, 24);
    picture!("120x40", &model, 120, 40);
    picture!("40x10", &model, 40, 10);
}

#[test]
fn a_screen_without_objects() {
    picture!("empty", &model_of(Snapshot { namespace: "default".to_owned(), ..Snapshot::default() }), 80, 24);
}

#[test]
fn a_screen_of_a_thousand_objects() {
    let objects = (0..1000).map(|number| lock(&format!("lock-{number:03}"))).collect();
    let mut model = model_of(Snapshot { objects, ..some() });
    picture!("thousand", &model, 80, 24);
    update(&mut model, Event::Key(Key::End));
    picture!("thousand_end", &model, 80, 24);
    assert_eq!(model.selected, "lock-999");
}

#[test]
fn screens_of_the_other_panes() {
    let mut model = model_of(some());
    for depth in [0, 10, 50, 400, 812] {
        let mut snapshot = some();
        snapshot.objects[2].figures[0].1 = depth;
        see(&mut model, snapshot);
    }
    type_in(&mut model, "3");
    picture!("queues", &model, 80, 24);
    type_in(&mut model, "4");
    picture!("processes", &model, 80, 24);
    type_in(&mut model, "5");
    picture!("warnings", &model, 80, 24);
}

#[test]
fn screens_of_runs() {
    let job = Worker {
        of: "map",
        run: 4300,
        rank: 17,
        pid: 4301,
        restarts: 0,
        cpu_percent: None,
        ..worker(0, None, 'S')
    };
    let runs = vec![worker(0, Some("web.1"), 'R'), worker(1, Some("clock"), 'T'), worker(0, None, 'S'), job];
    let mut model = model_of(Snapshot { runs, ..some() });
    type_in(&mut model, "2");
    picture!("runs_80x24", &model, 80, 24);
    picture!("runs_120x40", &model, 120, 40);
    picture!("runs_40x10", &model, 40, 10);
    type_in(&mut model, "\n");
    picture!("runs_detail", &model, 80, 24);
    type_in(&mut model, "!/clock\n");
    assert_eq!(model.selected, "4211");
    type_in(&mut model, "k");
    assert_eq!(model.over, Over::Nothing);
}

#[test]
fn screens_with_rates() {
    let counting = |seconds: u32, tokens: u64, put: u64| {
        let (mut index, mut jobs) = (lock("cache-index"), queue("enc", 812));
        index.figures.push(("tokens", tokens));
        jobs.kind = "queue";
        jobs.figures.extend([("put", put), ("got", put - 812)]);
        Snapshot { at: SECOND * seconds, ..with(vec![index, jobs]) }
    };
    let mut model = model_of(counting(10, 100, 1000));
    see(&mut model, counting(12, 82_500, 1062));
    picture!("rates_80x24", &model, 80, 24);
    picture!("rates_120x40", &model, 120, 40);
    type_in(&mut model, "3");
    picture!("rates_queues", &model, 80, 24);
    // Another object of that name begins anew.
    let mut other = counting(13, 1, 900);
    other.objects.iter_mut().for_each(|object| object.created_ns = 1);
    see(&mut model, other);
    assert_eq!((model.total_rate("acquired"), model.total_rate("put")), (None, None));
}

#[test]
fn screens_of_what_lies_over() {
    let mut model = model_of(some());
    type_in(&mut model, "\n");
    picture!("detail", &model, 80, 24);
    type_in(&mut model, "!?");
    picture!("help", &model, 80, 24);
    type_in(&mut model, "!k");
    picture!("signal", &model, 80, 24);
    type_in(&mut model, "!");
    update(&mut model, Event::Garbage(vec![".anonymous-1".to_owned(), ".anonymous-2".to_owned()]));
    picture!("garbage", &model, 80, 24);
    type_in(&mut model, "! /ep");
    picture!("filter_frozen", &model, 80, 24);
}

#[test]
fn without_colours_the_same_is_said() {
    let coloured = model_of(some());
    let plain = Model { colour: false, ..coloured.clone() };
    let (coloured, plain) = (screen(&coloured, 80, 24), screen(&plain, 80, 24));
    assert_eq!(coloured.backend().to_string(), plain.backend().to_string());
    let has_colour = |terminal: &Terminal<TestBackend>| {
        let cells = &terminal.backend().buffer().content;
        cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(has_colour(&coloured) && !has_colour(&plain));
}

fn said(snapshot: Snapshot) -> Vec<String> {
    model_of(snapshot).warnings.into_iter().map(|warning| warning.text).collect()
}

fn with(objects: Vec<Object>) -> Snapshot {
    Snapshot { objects, ..some() }
}

#[test]
fn each_lint_has_a_screen() {
    let mut dead = held("state", holding(4242, "make", None), Vec::new());
    dead.holders[0].dead = true;
    let mut inconsistent = lock("index");
    (inconsistent.state, inconsistent.figures) = ("inconsistent".to_owned(), vec![("inconsistent", 1)]);
    let mut last = queue("enc", 1);
    last.figures.push(("last_attempt", 1));
    let mut broken = barrier("dawn", 0, Vec::new());
    (broken.state, broken.figures[2].1) = ("broken: somebody called abort()".to_owned(), 1);
    let stuck = barrier("epoch", 6, vec![waiter(1, "rank", 45), waiter(2, "rank", 20)]);
    let long = held("deploy", holding(4242, "make", Some(192)), vec![waiter(4301, "sh", 31)]);
    let circle = vec!["4301 sh waits for a".to_owned(), "4302 sh waits for b".to_owned()];
    let mut model = model_of(Snapshot {
        objects: vec![dead, inconsistent, last, broken, stuck, long, lock("old")],
        deadlocks: vec![circle],
        room: Some(Room { size: 100 << 20, used: 93 << 20 }),
        ..some()
    });
    // What lasts.
    for seconds in 0..700 {
        let mut snapshot = model.snapshot.clone();
        snapshot.at = SECOND * (seconds + 2);
        snapshot.objects[2].figures[0].1 = u64::from(seconds / 10);
        snapshot.objects[6].attached = false;
        see(&mut model, snapshot);
    }
    let codes: Vec<_> = model.warnings.iter().map(|warning| warning.code).collect();
    let all = [
        "deadlock",
        "owner_died",
        "owner_died",
        "held_long",
        "barrier_broken",
        "barrier_stuck",
        "last_attempt",
        "queue_grows",
        "shm_nearly_full",
        "unused",
    ];
    assert_eq!(codes, all);
    type_in(&mut model, "5");
    picture!("lints", &model, 100, 24);
    type_in(&mut model, "1");
    picture!("lints_objects", &model, 80, 24);
}

#[test]
fn what_is_right_is_not_warned_of() {
    let short_hold = held("a", holding(1, "a", Some(29)), vec![waiter(2, "b", 29)]);
    let nobody_waits = held("b", holding(1, "a", Some(4000)), Vec::new());
    let full = barrier("c", 8, vec![waiter(2, "b", 60)]);
    let mut reader = lock("d");
    reader.kind = "rwlock";
    reader.holders = vec![Holding { dead: true, how: "shared".to_owned(), ..holding(1, "a", None) }];
    assert_eq!(said(with(vec![short_hold, nobody_waits, full, reader])), Vec::<String>::new());
}

#[test]
fn a_queue_that_becomes_shorter_does_not_grow() {
    let mut model = Model::default();
    for second in 0..200 {
        let depth = if second == 150 { 1 } else { u64::from(second) };
        see(&mut model, Snapshot { at: SECOND * second, ..with(vec![queue("q", depth)]) });
        let grows = model.warnings.iter().any(|warning| warning.code == "queue_grows");
        assert_eq!(grows, (60..150).contains(&second), "{second}");
    }
}

#[test]
fn an_object_that_somebody_uses_again_is_not_unused() {
    let (mut history, mut unused) = (History::default(), lock("l"));
    unused.attached = false;
    let at = |second, object: &Object| Snapshot { at: SECOND * second, ..with(vec![object.clone()]) };
    let warns =
        |history: &History, snapshot: &Snapshot| !super::lints::warnings(snapshot, history).is_empty();
    for (second, object, expected) in [
        (0, &unused, false),
        (599, &unused, false),
        (600, &unused, true),
        (601, &lock("l"), false),
        (602, &unused, false),
    ] {
        let snapshot = at(second, object);
        history.remember(&snapshot);
        assert_eq!(warns(&history, &snapshot), expected, "{second}");
    }
}

#[test]
fn keys_move_sort_and_filter() {
    let mut model = model_of(some());
    let names =
        |model: &Model| model.objects().into_iter().map(|object| object.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&model), ["deploy", "gpu", "epoch", "cache-index", "enc"]);
    assert_eq!(model.selected, "deploy");
    type_in(&mut model, "vv");
    assert_eq!(model.selected, "epoch");
    type_in(&mut model, "r");
    assert_eq!((names(&model)[0].as_str(), model.selected.as_str()), ("enc", "epoch"));
    type_in(&mut model, "rss");
    assert_eq!((model.sort, names(&model)[0].as_str()), (Sort::Name, "cache-index"));
    type_in(&mut model, "/gpq");
    assert_eq!((&model.over, names(&model).len()), (&Over::Filter, 0));
    update(&mut model, Event::Key(Key::Backspace));
    assert_eq!((model.filter.as_str(), names(&model).len()), ("gp", 1));
    type_in(&mut model, "!");
    assert_eq!((model.filter.as_str(), &model.over), ("", &Over::Nothing));
    type_in(&mut model, "/gp\n");
    assert_eq!((names(&model), model.selected.as_str()), (vec!["gpu".to_owned()], "gpu"));
    type_in(&mut model, "!");
    assert_eq!(names(&model).len(), 5);
    type_in(&mut model, "^^^^^^^");
    assert_eq!(model.selected, "cache-index");
}

#[test]
fn keys_show_panes_and_order_what_is_to_be_done() {
    let mut model = model_of(some());
    type_in(&mut model, "\t\t\t");
    assert_eq!((model.pane, model.selected.as_str()), (Pane::Processes, "4242"));
    update(&mut model, Event::Key(Key::BackTab));
    assert_eq!(model.pane, Pane::Queues);
    assert_eq!(type_in(&mut model, "1 "), Order::Rest);
    assert_eq!(type_in(&mut model, " "), Order::Look);
    assert_eq!(type_in(&mut model, "J"), Order::Dump);
    assert_eq!(type_in(&mut model, "g"), Order::PreviewGarbage);
    // In a text there are no orders.
    assert_eq!(type_in(&mut model, "?q"), Order::Nothing);
    assert_eq!(type_in(&mut model, "/q\n"), Order::Nothing);
    assert_eq!(type_in(&mut model, "!q"), Order::Quit);
}

#[test]
fn a_signal_is_sent_only_when_that_was_confirmed() {
    let mut model = model_of(some());
    assert_eq!(type_in(&mut model, "k"), Order::Nothing);
    assert!(matches!(model.over, Over::Signal { pid: 4242, .. }));
    assert_eq!(type_in(&mut model, "n"), Order::Nothing);
    assert_eq!(model.over, Over::Nothing);
    assert_eq!(type_in(&mut model, "k\n"), Order::Nothing);
    let order = type_in(&mut model, "\t\t\ty");
    assert_eq!(order, Order::Signal { pid: 4242, registered_ns: 4242 * 7, signal: 9 });
    // What nobody holds, or a holder that is no process of the namespace any more, gets none.
    model.selected = "cache-index".to_owned();
    type_in(&mut model, "k");
    assert!(model.over == Over::Nothing && model.message.starts_with("nobody"), "{}", model.message);
}

#[test]
fn what_names_contain_does_nothing_to_the_terminal() {
    let mut evil = held("e", holding(1, "\u{1b}[2J\u{1b}]0;x\u{7}", Some(99)), vec![waiter(2, "\r\n", 99)]);
    evil.name = "a\u{1b}[31m".to_owned();
    let mut model = model_of(with(vec![evil]));
    for keys in ["", "\n", "!5", "\n", "!4"] {
        type_in(&mut model, keys);
        let text = screen(&model, 120, 40).backend().to_string();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}

#[test]
fn every_size_of_screen_can_be_drawn() {
    let mut model = model_of(some());
    for keys in ["", "\n", "!2", "3", "4", "5", "?", "!k"] {
        type_in(&mut model, keys);
        for (width, height) in [(1, 1), (1, 50), (2, 2), (10, 3), (39, 5), (300, 100)] {
            screen(&model, width, height);
        }
    }
}
