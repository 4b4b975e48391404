//! Makes the pictures of the README out of what the command prints (`make pictures`), and the definitions by which
//! rustdoc's pages show them.
//!
//! The first argument is the command; without one, only the definitions are made anew, as `make curves` needs it.
#![expect(clippy::unwrap_used, reason = "a program for those who write the documents")]

use nix::sys::signal::Signal;
use procession::{Barrier, JoinableQueue, Lock, Namespace, Process, Semaphore, Value};
use procession_tests::pictures::definitions;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use vt100::{Cell, Color, Parser};

/// Of one letter, in the picture's units.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
const MARGIN: f64 = 14.0;
const GROUND: &str = "#16181d";
const TEXT: &str = "#d8dee9";

/// How large the terminal is on which `top` draws.
const ROWS: u16 = 15;
const COLUMNS: u16 = 110;

/// The sixteen colours that programs name, on a dark ground.
const COLOURS: [&str; 16] = [
    "#3b4252", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", TEXT, "#7f8896", "#ff7b85",
    "#b5e890", "#ffd68a", "#7cc4ff", "#dd92f5", "#6fd3e0", "#ffffff",
];

fn colour(colour: Color, otherwise: &str) -> String {
    match colour {
        Color::Idx(number) if usize::from(number) < COLOURS.len() => COLOURS[usize::from(number)].to_owned(),
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        Color::Default | Color::Idx(_) => otherwise.to_owned(),
    }
}

/// How a letter looks: its colour, its ground, and whether it is bold.
fn look(cell: &Cell) -> (String, String, bool) {
    let (front, back) = (colour(cell.fgcolor(), TEXT), colour(cell.bgcolor(), GROUND));
    let front = if cell.dim() { COLOURS[8].to_owned() } else { front };
    if cell.inverse() { (back, front, cell.bold()) } else { (front, back, cell.bold()) }
}

/// The letters of a row that look alike, one after the other: where they begin, and what they are.
fn runs(terminal: &Parser, row: u16, columns: u16) -> Vec<(u16, String, (String, String, bool))> {
    let mut runs: Vec<(u16, String, (String, String, bool))> = Vec::new();
    for column in 0..columns {
        let Some(cell) = terminal.screen().cell(row, column) else { continue };
        let letters = if cell.has_contents() { cell.contents() } else { " " };
        match runs.last_mut() {
            Some((_, text, same)) if *same == look(cell) => text.push_str(letters),
            _ => runs.push((column, letters.to_owned(), look(cell))),
        }
    }
    runs
}

/// What is on the terminal, as a picture.
fn picture(terminal: &Parser, title: &str, rows: u16, columns: u16) -> String {
    let (width, height) =
        (f64::from(columns) * WIDTH + 2.0 * MARGIN, f64::from(rows) * HEIGHT + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         role=\"img\">\n<title>{title}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{GROUND}\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"14\" xml:space=\"preserve\">\n"
    );
    for row in 0..rows {
        let top = MARGIN + f64::from(row) * HEIGHT;
        for (column, text, (front, back, is_bold)) in runs(terminal, row, columns) {
            let left = MARGIN + f64::from(column) * WIDTH;
            let text = if back == GROUND { text.trim_end() } else { &text };
            let length = f64::from(u16::try_from(text.chars().count()).unwrap()) * WIDTH;
            if back != GROUND {
                writeln!(svg, "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{HEIGHT}\" fill=\"{back}\"/>")
                    .unwrap();
            }
            if !text.trim().is_empty() {
                let weight = if is_bold { " font-weight=\"bold\"" } else { "" };
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                writeln!(
                    svg,
                    "<text x=\"{left:.1}\" y=\"{:.1}\" textLength=\"{length:.1}\" fill=\"{front}\"{weight}>{text}</text>",
                    top + HEIGHT * 0.75
                )
                .unwrap();
            }
        }
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn terminal(rows: u16, columns: u16) -> Parser {
    Parser::new(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap(), 0)
}

/// What a command prints that ends by itself, with the line that a person has typed; how many rows and columns that is.
/// Whom it invites to kill is killed after the fourth line.
fn printed(command: &str, words: &[&str]) -> (Parser, u16, u16) {
    let mut child = Command::new(command).args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = format!("\u{1b}[1m$ procession {}\u{1b}[0m\r\n", words.join(" "));
    let mut victim = None;
    for (number, line) in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).enumerate()
    {
        write!(text, "{line}\r\n").unwrap();
        let invited = line.strip_prefix("kill one yourself: kill -9 ").and_then(|pid| pid.parse().ok());
        victim = victim.or(invited);
        if let Some(pid) = victim.filter(|_| number == 3) {
            procession_tests::send(pid, Signal::SIGKILL);
        }
    }
    assert!(child.wait().unwrap().success(), "{words:?}");
    let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let (rows, columns) = (text.lines().count().try_into().unwrap(), longest.try_into().unwrap());
    let mut terminal = terminal(rows + 1, columns + 1);
    terminal.process(text.as_bytes());
    (terminal, rows, columns)
}

/// What a command draws on a terminal after a while. Then it is asked to end.
fn drawn(mut command: Command, rows: u16, columns: u16, after: Duration) -> Parser {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    tcsetwinsize(&master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let slave = File::options().read(true).write(true).open(slave).unwrap();
    let mut child = command
        .env("TERM", "xterm-256color")
        .stdin(slave.try_clone().unwrap())
        .stdout(slave.try_clone().unwrap())
        .stderr(slave)
        .spawn()
        .unwrap();
    let mut master = File::from(master);
    let mut reads = master.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let (mut terminal, mut bytes, until) = (terminal(rows, columns), [0; 4096], Instant::now() + after);
        while let Ok(len @ 1..) = reads.read(&mut bytes) {
            // Behind that time lies its end, which clears the screen.
            if Instant::now() < until {
                terminal.process(&bytes[..len]);
            }
        }
        terminal
    });
    thread::sleep(after + Duration::from_millis(100));
    master.write_all(b"q").unwrap();
    child.wait().unwrap();
    // The last of the terminal's other side, so that reading ends.
    drop((master, command));
    reader.join().unwrap()
}

/// A namespace in which something goes on.
fn scene(here: &Namespace) -> Vec<Process<()>> {
    let deploy = Lock::options().namespace(here).create("deploy").unwrap();
    let cache = Lock::options().namespace(here).create("cache").unwrap();
    let encode = JoinableQueue::<u32>::options().namespace(here).create("encode").unwrap();
    let gpu = Semaphore::options().namespace(here).permits(2).create("gpu").unwrap();
    let phase = Barrier::options().namespace(here).parties(3).create("phase").unwrap();
    let requests = Value::<u64>::options().namespace(here).create("requests").unwrap();
    let named = |name: &str| Process::options().name(name).daemon(true);

    let mut processes = vec![
        named("release").spawn(hold, deploy.clone()).unwrap(),
        named("producer").spawn(produce, (encode.clone(), requests.clone())).unwrap(),
        named("trainer").spawn(train, (gpu.clone(), phase.clone())).unwrap(),
    ];
    processes.extend((0..2).map(|_| named("encoder").spawn(consume, encode.clone()).unwrap()));
    while deploy.holder().is_none() {
        thread::yield_now();
    }
    processes.push(named("hotfix").spawn(hold, deploy).unwrap());
    let killed = named("writer").spawn(hold, cache.clone()).unwrap();
    while cache.holder().is_none() {
        thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    processes
}

fn hold(lock: Lock) {
    let _guard = lock.acquire().unwrap();
    loop {
        thread::park();
    }
}

fn produce(encode: JoinableQueue<u32>, requests: Value<u64>) {
    for number in 0.. {
        encode.put(&number).unwrap();
        requests.fetch_add(1).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
}

fn consume(encode: JoinableQueue<u32>) {
    for item in &encode {
        thread::sleep(Duration::from_millis(5));
        item.unwrap().task_done().unwrap();
    }
}

fn train(gpu: Semaphore, phase: Barrier) {
    let _place = gpu.acquire().unwrap();
    drop(phase.wait());
}

fn main() {
    procession::init();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let pictures = root.join("docs/pictures");
    if let Some(command) = std::env::args().nth(1) {
        let (terminal, rows, columns) = printed(&command, &["demo", "unkillable"]);
        let title = "procession demo unkillable";
        fs::write(pictures.join("unkillable.svg"), picture(&terminal, title, rows, columns)).unwrap();

        let here = Namespace::new("shop").unwrap();
        let processes = scene(&here);
        let mut top = Command::new(&command);
        top.args(["-N", "shop", "top", "-i", "200ms"]);
        let terminal = drawn(top, ROWS, COLUMNS, Duration::from_secs(4));
        for process in processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let top = picture(&terminal, "procession top", ROWS, COLUMNS);
        fs::write(pictures.join("top.svg"), top).unwrap();
        Command::new(&command).args(["-N", "shop", "gc", "--unused"]).status().unwrap();
    }
    fs::write(root.join("crates/procession/docs/pictures.txt"), definitions(root)).unwrap();
}
