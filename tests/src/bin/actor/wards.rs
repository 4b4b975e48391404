//! Commands about a program that an actor runs under what it holds.

use crate::{Next, World, report};
use procession::shm::{Guardian, register};
use procession_sys::signals::SignalSet;
use procession_sys::ward::Signals;
use std::cell::RefCell;
use std::process::{Child, Command};

thread_local! {
    static WARD: RefCell<Option<(Guardian, Child)>> = const { RefCell::new(None) };
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
    let guardian = registration.guard().map_err(std::io::Error::other)?;
    let signals = Signals { blocked: SignalSet::default(), ignores_sigpipe: false };
    let ward = guardian.spawn(Command::new(program).args(arguments), signals)?;
    let pid = ward.id();
    WARD.set(Some((guardian, ward)));
    Ok(pid)
}

/// Waits for its end; how it ended.
fn lose() -> std::io::Result<String> {
    let Some((guardian, mut ward)) = WARD.take() else { return Ok(String::new()) };
    let status = ward.wait()?;
    drop(guardian);
    Ok(status.to_string())
}
