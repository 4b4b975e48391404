//! `procession top` on terminals: what it draws, and that it gives the terminal back, however it ends.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{procession, run};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use procession_tests::{Actor, Scratch, until};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value as Json;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;

procession::test_support!();

const CTRL_C: &str = "\u{3}";
const CTRL_Z: &str = "\u{1a}";

/// The title of a terminal, with which the output of a program that has ended is closed.
const MARK: &[u8] = b"\x1b]0;all is read\x07";

/// A terminal with a program on it that is the leader of its session.
struct Pty {
    master: File,
    /// The program's side: its settings can be asked for when the program has ended, too.
    slave: File,
    seen: Arc<Mutex<Seen>>,
    child: Child,
}

struct Seen {
    terminal: vt100::Parser,
    bytes: Vec<u8>,
}

impl Pty {
    fn start(command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let mut options = File::options();
        // Not the test's own terminal, which it becomes for who leads a session and opens one.
        let options =
            std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true).write(true), libc::O_NOCTTY);
        let slave = options.open(name).unwrap();
        let mut on_it = Command::new("setsid");
        on_it.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_it.env(name, value),
                None => on_it.env_remove(name),
            };
        }
        on_it.env("TERM", "xterm").env_remove("COLUMNS").env_remove("LINES");
        on_it
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave.try_clone().unwrap());
        let seen = Seen {
            terminal: vt100::Parser::new(NonZero::new(24).unwrap(), NonZero::new(80).unwrap(), 0),
            bytes: Vec::new(),
        };
        let mut pty = Self {
            master: File::from(master),
            slave,
            seen: Arc::new(Mutex::new(seen)),
            child: on_it.spawn().unwrap(),
        };
        pty.resize(24, 80);
        let (mut master, seen) = (pty.master.try_clone().unwrap(), Arc::clone(&pty.seen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = master.read(&mut bytes) {
                let mut seen = seen.lock().unwrap();
                seen.terminal.process(&bytes[..len]);
                seen.bytes.extend(&bytes[..len]);
            }
        });
        pty
    }

    fn resize(&mut self, rows: u16, columns: u16) {
        self.seen
            .lock()
            .unwrap()
            .terminal
            .screen_mut()
            .set_size(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap());
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn screen(&self) -> String {
        self.seen.lock().unwrap().terminal.screen().contents()
    }

    fn shows(&self, text: &str) {
        until(text, || self.screen().contains(text));
    }

    fn is_taken(&self) -> bool {
        let is_raw =
            !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO);
        let seen = self.seen.lock().unwrap();
        let screen = seen.terminal.screen();
        // All of it, or nothing.
        match (is_raw, screen.alternate_screen(), screen.hide_cursor()) {
            (true, true, true) => true,
            (false, false, false) => false,
            other => panic!("raw, other screen, no cursor: {other:?}\n{}", screen.contents()),
        }
    }

    /// Waits for its end, after which the terminal must be as it was.
    fn ends(mut self) -> (ExitStatus, String) {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // What was written before the end can still be on its way to the thread that reads: a mark behind it,
        // which no screen shows, comes last.
        self.slave.write_all(MARK).unwrap();
        until("all is read", || self.seen.lock().unwrap().bytes.ends_with(MARK));
        assert!(!self.is_taken());
        (status.unwrap(), self.screen())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn top(scratch: &Scratch, arguments: &[&str]) -> Command {
    procession([&["-N", scratch.name(), "top", "-i", "100ms"], arguments].concat())
}

fn holder_of_a_lock(scratch: &Scratch) -> Actor {
    let mut holder = Actor::start(scratch);
    holder.does("create lock l");
    holder.does("acquire l");
    holder
}

fn ends_all(scratch: &Scratch, holder: Actor) {
    holder.kill();
    scratch.unlink("l").unwrap();
}

#[test]
fn it_draws_and_follows_the_size_of_the_terminal() {
    let scratch = Scratch::unswept();
    let holder = holder_of_a_lock(&scratch);
    let mut pty = Pty::start(&top(&scratch, &[]));
    pty.shows("[1 Objects]");
    pty.shows(&format!("{} actor", holder.pid()));
    assert!(pty.is_taken());
    pty.resize(10, 40);
    until("it fits", || {
        let screen = pty.screen();
        !screen.contains("HOLDER") && screen.contains("held") && screen.contains("q quit")
    });
    pty.resize(30, 120);
    pty.shows("SIZE");
    // A holder that stands still keeps nobody from looking.
    holder.stop();
    pty.types("4");
    pty.shows("stopped");
    pty.types("?");
    pty.shows("Ctrl-Z");
    pty.types("q");
    pty.shows("PID");
    pty.types("q");
    assert_eq!(pty.ends().0.code(), Some(0));
    ends_all(&scratch, holder);
}

#[test]
fn it_stops_and_goes_on() {
    let scratch = Scratch::unswept();
    let holder = holder_of_a_lock(&scratch);
    let mut shell = Command::new("bash");
    let program = top(&scratch, &[]);
    let script = "set -m; \"$@\"; echo stopped:$?; read -r line; fg; echo ended:$?";
    shell.args(["-c", script, "bash"]).arg(program.get_program()).args(program.get_args());
    let mut pty = Pty::start(&shell);
    pty.shows("[1 Objects]");
    pty.types(CTRL_Z);
    pty.shows("stopped:148");
    assert!(!pty.is_taken());
    pty.types("\n");
    pty.shows("[1 Objects]");
    until("it is drawn anew", || pty.screen().contains("actor"));
    assert!(pty.is_taken());
    pty.types("q");
    let (status, screen) = pty.ends();
    assert!(status.success() && screen.contains("ended:0"), "{status:?} {screen}");
    ends_all(&scratch, holder);
}

#[test]
fn signals_end_it_and_give_the_terminal_back() {
    let scratch = Scratch::unswept();
    let holder = holder_of_a_lock(&scratch);
    for (signal, number) in [(Signal::SIGTERM, 15), (Signal::SIGHUP, 1)] {
        let pty = Pty::start(&top(&scratch, &[]));
        pty.shows("actor");
        cli::send(pty.child.id(), signal);
        assert_eq!(pty.ends().0.signal(), Some(number));
    }
    let mut pty = Pty::start(&top(&scratch, &[]));
    pty.shows("actor");
    pty.types(CTRL_C);
    assert_eq!(pty.ends().0.signal(), Some(2));
    ends_all(&scratch, holder);
}

#[test]
fn a_panic_gives_the_terminal_back_and_can_be_read() {
    let scratch = Scratch::unswept();
    let holder = holder_of_a_lock(&scratch);
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("panic");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let mut command = top(&scratch, &[]);
    command.env("PROCESSION_TESTED_PANICS_AFTER", &fifo);
    let pty = Pty::start(&command);
    pty.shows("actor");
    fs::write(&fifo, "now").unwrap();
    let (status, screen) = pty.ends();
    assert_eq!(status.code(), Some(125), "{screen}");
    assert!(screen.contains("as it was told to"), "{screen}");
    ends_all(&scratch, holder);
}

#[test]
fn what_is_piped_is_text() {
    let scratch = Scratch::unswept();
    let holder = holder_of_a_lock(&scratch);
    for arguments in [&["top", "--once"][..], &["top"]] {
        let said = run([&["-N", scratch.name()], arguments].concat());
        assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
        assert!(
            !said.stdout.contains('\u{1b}') && said.stdout.lines().all(|line| line.chars().count() <= 80)
        );
        let words: Vec<_> =
            said.stdout.lines().find(|line| line.contains(" l ")).unwrap().split_whitespace().collect();
        assert_eq!(words, ["lock", "l", "held", &holder.pid().to_string(), "actor"], "{}", said.stdout);
    }
    ends_all(&scratch, holder);
}

#[test]
fn the_death_of_a_holder_is_warned_of() {
    // Who dies here is the last that uses it.
    let scratch = Scratch::unswept();
    let holder = holder_of_a_lock(&scratch);
    let pid = holder.pid();
    holder.kill();
    let said = run(["-N", scratch.name(), "top", "--json"]);
    let document: Json = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&document["v"], &document["kind"]), (&1.into(), &"top".into()));
    assert_eq!(document["warnings"][0]["code"], "owner_died");
    assert_eq!(document["objects"][0]["holders"][0]["pid"], pid);
    // In yellow, or without a colour: the words are the same.
    for (no_color, is_coloured) in [("", true), ("1", false)] {
        let mut command = top(&scratch, &[]);
        command.env("NO_COLOR", no_color);
        let mut pty = Pty::start(&command);
        pty.shows("! 1 warning");
        pty.shows("its holder died");
        pty.types("q");
        let seen = Arc::clone(&pty.seen);
        assert!(pty.ends().0.success());
        let bytes = String::from_utf8_lossy(&seen.lock().unwrap().bytes).into_owned();
        let colours = ["\u{1b}[33", "\u{1b}[38;5;"];
        assert_eq!(colours.iter().any(|colour| bytes.contains(colour)), is_coloured, "{bytes:?}");
    }
    scratch.unlink("l").unwrap();
}

#[test]
fn a_signal_is_sent_to_who_holds() {
    // Who dies here is the last that uses it.
    let scratch = Scratch::unswept();
    let mut holder = holder_of_a_lock(&scratch);
    let mut pty = Pty::start(&top(&scratch, &[]));
    pty.shows("actor");
    pty.types("k");
    pty.shows(&format!("Send SIGTERM to process {}?", holder.pid()));
    pty.types("y");
    pty.shows(&format!("SIGTERM sent to {}", holder.pid()));
    assert_eq!(holder.wait().signal(), Some(15));
    pty.shows("its holder died");
    pty.types("q");
    assert!(pty.ends().0.success());
    scratch.unlink("l").unwrap();
}

#[test]
fn workers_and_jobs_are_shown_also_when_what_started_them_is_stopped() {
    let scratch = Scratch::new();
    let name = scratch.name();
    let script = "echo READY; exec sleep 1000";
    let words = ["-N", name, "run", "-n", "2", "--name", "web", "--", "sh", "-c", script];
    let mut running = cli::Running::start(&mut procession(words));
    (0..2).for_each(|_| drop(running.line("READY")));
    running.signal(Signal::SIGSTOP);
    let said = run(["-N", name, "top", "--json"]);
    let seen: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let runs = seen["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2, "{seen}");
    for (rank, worker) in runs.iter().enumerate() {
        assert_eq!((&worker["rank"], &worker["run"]), (&rank.into(), &running.pid().into()), "{worker}");
        assert_eq!((&worker["run_name"], &worker["of"]), (&"web".into(), &"run".into()), "{worker}");
        assert!(worker["rss_bytes"].as_u64().unwrap() > 0 && worker["command"] == "sleep 1000", "{worker}");
    }
    let said = run(["-N", name, "top", "--once"]);
    let rank = said.stdout.lines().filter(|line| line.contains("rank ") && line.contains("sleep 1000"));
    assert_eq!(rank.count(), 2, "{said:?}");
    running.signal(Signal::SIGCONT);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code(), Some(143));
}
