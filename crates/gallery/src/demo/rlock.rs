//! A recursive lock, and what a plain lock says to a second acquire.
//!
//! The recursion goes three levels down under one lock and comes back. A plain lock taken twice would wait
//! for itself for ever; it says so instead.

use crate::shown::must_hold;
use procession::{Lock, LockError, Process, RLock};
use procession_terminal::exit::Failure;
use procession_terminal::output;

/// Recursion under one RLock; a plain Lock taken twice is refused instead of hanging.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

const DEPTH: u32 = 3;

/// Goes down to `DEPTH`, and says how deep the lock is held, down and up; all of that.
fn descend(lock: &RLock, depths: &mut Vec<u32>) -> Result<(), Failure> {
    let guard = lock.acquire()?;
    output::line(format_args!("{}down to {}", "  ".repeat(guard.depth() as usize), guard.depth()))?;
    depths.push(guard.depth());
    if guard.depth() < DEPTH {
        descend(lock, depths)?;
    }
    output::line(format_args!("{}up from {}", "  ".repeat(guard.depth() as usize), guard.depth()))?;
    depths.push(guard.depth());
    Ok(())
}

/// Runs in a process of its own: whether the lock is free.
fn is_free(lock: RLock) -> bool {
    lock.try_acquire().is_ok()
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let recursive = RLock::create("recursive")?;
    let mut depths = Vec::new();
    let outer = recursive.acquire()?;
    must_hold(!Process::spawn(is_free, recursive.clone())?.join()?, "another process got the lock")?;
    drop(outer);
    descend(&recursive, &mut depths)?;
    must_hold(depths == [1, 2, 3, 3, 2, 1], "the depth is wrong")?;
    must_hold(Process::spawn(is_free, recursive)?.join()?, "the lock is still held")?;

    let plain = Lock::create("plain")?;
    let _guard = plain.acquire()?;
    let second = plain.acquire().map(drop);
    must_hold(matches!(second, Err(LockError::Deadlock { .. })), "a plain lock was acquired twice")?;
    output::line("the plain lock, acquired twice: refused, this thread would wait for itself")?;
    output::line("three levels down and up: all right")
}
