//! Who may release: a lock only whoever holds it, a semaphore anybody.
//!
//! A lock is released by dropping its guard, and a guard can neither be copied nor sent to another process: a
//! program that tries is not compiled. All that another process can do is to acquire the lock itself, and
//! that is refused; `recover`, which takes a lock over from the dead, takes nothing from the living. A
//! semaphore's permit can be forgotten instead of dropped. Then it belongs to nobody, and any process may
//! release one: that is a signal, not a mutex.

use crate::shown::{Done, must_hold};
use procession::{Lock, LockError, Process, Semaphore};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Another process releases: impossible for a Lock, allowed for a semaphore of 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Waits in vain for 50 ms instead of a second.
    #[arg(long)]
    quick: bool,
}

/// Runs in a process of its own: what it is told when it wants a lock that another process holds.
fn take_away(lock: Lock, patience: Duration) -> Done<(String, String)> {
    let outcome = |claimed: Result<_, LockError>| match claimed {
        Ok(_) => "allowed".to_owned(),
        Err(error) => format!("refused, {error}"),
    };
    Ok((outcome(lock.try_acquire()), outcome(lock.recover_timeout(patience))))
}

/// Runs in a process of its own, which has acquired nothing.
fn release(semaphore: Semaphore) -> Done<()> {
    Ok(semaphore.release(1)?)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let patience = Duration::from_millis(if args.quick { 50 } else { 1000 });
    let lock = Lock::create("mutex")?;
    let guard = lock.acquire()?;
    let (acquire, recover) = Process::spawn_fallible(take_away, (lock.clone(), patience))?.join()?;
    output::line(format_args!("lock, acquire by another process: {acquire}"))?;
    output::line(format_args!("lock, recover by another process: {recover}"))?;
    let refused = acquire.starts_with("refused") && recover.starts_with("refused");
    must_hold(refused, "another process got the lock")?;
    let holder = lock.holder().map(|holder| holder.pid);
    must_hold(holder == Some(std::process::id()), "the lock is not held by this process any more")?;
    drop(guard);
    must_hold(lock.try_acquire().is_ok(), "the lock was not released by its holder")?;
    output::line("lock, release by its holder: allowed")?;

    let semaphore = Semaphore::new(1)?;
    semaphore.acquire()?.forget();
    must_hold(semaphore.try_acquire().is_err(), "there was a second permit")?;
    Process::spawn_fallible(release, semaphore.clone())?.join()?;
    let again = semaphore.try_acquire();
    must_hold(again.is_ok(), "the other process's release was lost")?;
    output::line("semaphore, release by another process: allowed, and acquired again")?;
    output::line("a lock has a holder, a semaphore has not: all right")
}
