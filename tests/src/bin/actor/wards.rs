//! Commands about a program that an actor runs under what it holds.

use crate::{Next, World, report};
use procession::shm::register;
use procession_sys::pidfd::{Ended, Who, open, reap, wait};
use procession_sys::signals::{SignalSet, words};
use procession_sys::ward::{Program, Signals, Start};
use std::cell::Cell;

thread_local! {
    static WARD: Cell<Option<u32>> = const { Cell::new(None) };
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    match *words {
        ["guard", program, ref arguments @ ..] => Some(report(&guard(world, program, arguments))),
        ["lose_ward"] => Some(report(&lose())),
        _ => None,
    }
}

/// Starts the program; its pid.
fn guard(world: &World, program: &str, arguments: &[&str]) -> std::io::Result<u32> {
    let registration = register(&world.namespace).map_err(std::io::Error::other)?;
    let signals = Signals { blocked: SignalSet::default(), ignores_sigpipe: false };
    let words: Vec<&str> = [program].into_iter().chain(arguments.iter().copied()).collect();
    let program = Program::new(&words, &[])?;
    let pid = registration.start_ward(&program, Start::with(signals))?.pid;
    WARD.set(Some(pid));
    Ok(pid)
}

/// Waits for its end; how it ended.
fn lose() -> std::io::Result<String> {
    let Some(ward) = WARD.take() else { return Ok(String::new()) };
    wait(open(ward)?, None)?;
    Ok(match reap(Who::Pid(ward))? {
        Some(Ended::Exited(code)) => format!("exit status: {code}"),
        Some(Ended::Signaled(signal)) => format!("signal: {signal} ({})", words(signal)),
        None => String::new(),
    })
}
