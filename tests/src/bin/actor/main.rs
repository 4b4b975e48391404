//! A process that does what it is told, line by line, and answers each line with one line: `ok …` or
//! `error Variant … | text for people`.
//!
//! Whoever acquires a lock holds it until `release`, and meanwhile follows further commands: guards nest like
//! blocks. At the end of its input it lets everything go and returns from `main`.
#![expect(clippy::expect_used, reason = "this is part of the tests: what fails here fails a test")]

mod barriers;
mod collections;
mod conditions;
mod gates;
mod joinables;
mod lanes;
mod locks;
mod memories;
mod objects;
mod other_locks;
mod pipes;
mod processes;
mod queues;
mod semaphores;
mod values;
mod wards;

use procession::{Barrier, Bytes, Event, Lock, Member, Namespace, Queue};
use procession_tests::case_of;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::io::{BufRead, Write};
use std::rc::Rc;

/// What the queues carry: a number, and padding.
type Message = (u64, Vec<u8>);

/// Everything the actor has.
struct World {
    namespace: Namespace,
    locks: RefCell<HashMap<String, Rc<Lock>>>,
    events: RefCell<HashMap<String, Rc<Event>>>,
    semaphores: RefCell<HashMap<String, Rc<semaphores::AnySemaphore>>>,
    barriers: RefCell<HashMap<String, Rc<Barrier>>>,
    members: RefCell<HashMap<String, Member>>,
    queues: RefCell<HashMap<String, Rc<Queue<Bytes>>>>,
    ends: pipes::Ends,
}

/// What follows after a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Command,
    /// The innermost guard is to be dropped.
    Release,
    End,
}

fn main() {
    procession::init();
    processes::die_with_the_test();
    let namespace = Namespace::current().expect("PROCESSION_NAMESPACE is a namespace");
    let world = World {
        namespace,
        locks: RefCell::default(),
        events: RefCell::default(),
        semaphores: RefCell::default(),
        barriers: RefCell::default(),
        members: RefCell::default(),
        queues: RefCell::default(),
        ends: RefCell::default(),
    };
    say("ready");
    while session(&world) == Next::Release {
        say("error NothingHeld");
    }
}

/// Follows commands until a guard is to be dropped, or to the end.
fn session(world: &World) -> Next {
    let mut line = String::new();
    loop {
        line.clear();
        let read = std::io::stdin().lock().read_line(&mut line).expect("stdin can be read");
        if read == 0 {
            return Next::End;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let next = pipes::follow(world, &words)
            .or_else(|| objects::follow(world, &words))
            .or_else(|| other_locks::follow(world, &words))
            .or_else(|| values::follow(world, &words))
            .or_else(|| collections::follow(world, &words))
            .or_else(|| memories::follow(&words))
            .or_else(|| conditions::follow(world, &words))
            .or_else(|| locks::follow(world, &words))
            .or_else(|| queues::follow(world, &words))
            .or_else(|| gates::follow(world, &words))
            .or_else(|| semaphores::follow(world, &words))
            .or_else(|| barriers::follow(world, &words))
            .or_else(|| joinables::follow(&words))
            .or_else(|| lanes::follow(world, &words))
            .or_else(|| wards::follow(world, &words))
            .or_else(|| processes::follow(world, &words));
        match next {
            Some(Next::Command) => {}
            Some(next) => return next,
            None => say(&format!("error NoSuchCommand {line}")),
        }
    }
}

/// Answers.
fn say(answer: &str) {
    let mut out = std::io::stdout().lock();
    let said = writeln!(out, "{answer}").and_then(|()| out.flush());
    if said.is_err() {
        // The test is gone.
        std::process::exit(2);
    }
}

/// Answers with the outcome of something.
fn report<T: ToString, E: std::error::Error + 'static>(outcome: &Result<T, E>) -> Next {
    say(&describe(outcome));
    Next::Command
}

/// An outcome in one line.
fn describe<T: ToString, E: std::error::Error + 'static>(outcome: &Result<T, E>) -> String {
    match outcome {
        Ok(value) => format!("ok {}", value.to_string()),
        Err(error) => format!("error {} | {error}", case_of(error)),
    }
}

/// Answers `ok` and a value.
fn done(value: impl Debug) -> Option<Next> {
    say(&format!("ok {value:?}"));
    Some(Next::Command)
}

/// A number in a command.
fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().ok().expect("a number")
}
