//! Commands about locks.

use crate::{Next, World, describe, done, number, report, say, session};
use procession::{Lock, LockError, LockGuard};
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    if words == ["release"] {
        return Some(Next::Release);
    }
    let lock = world.locks.borrow().get(*words.get(1)?).map(Rc::clone)?;
    match *words {
        ["acquire", _] => Some(hold(world, lock.acquire())),
        ["try", _] => Some(hold(world, lock.try_acquire())),
        ["acquire_timeout", _, ms] => Some(hold(world, lock.acquire_timeout(millis(ms)))),
        ["recover", _] => Some(hold(world, lock.recover())),
        ["recover_timeout", _, ms] => Some(hold(world, lock.recover_timeout(millis(ms)))),
        ["recover_in_panic", _] => Some(recover_in_panic(&lock)),
        ["inconsistent", _] => done(lock.is_inconsistent()),
        ["holder", _] => done(lock.holder()),
        ["cycle", _, count] => Some(report(&cycle(&lock, number(count)).map(|()| ""))),
        ["mend", _, count] => Some(report(&mend(&lock, number(count)))),
        ["task", _] => Some(report(&smol::block_on(lock.acquire_async()).map(|_| ""))),
        ["hog", _] => hog(&lock),
        ["take_turns", _, other, count] => {
            let other = world.locks.borrow().get(other).map(Rc::clone)?;
            Some(report(&take_turns(&lock, &other, number(count)).map(|()| "")))
        }
        ["in_a_thread", _, ms] => Some(in_a_thread(&lock, millis(ms))),
        ["forget_in_a_thread", _] => Some(forget_in_a_thread(&lock)),
        ["in_threads", _, count] => Some(in_threads(&lock, number(count))),
        _ => None,
    }
}

pub(crate) fn millis(word: &str) -> Duration {
    Duration::from_millis(number(word))
}

/// Holds the guard, if there is one, while it follows further commands.
pub(crate) fn hold(world: &World, outcome: Result<LockGuard<'_>, LockError>) -> Next {
    let guard = match outcome {
        Ok(guard) => guard,
        Err(error) => return report::<&str, _>(&Err(error)),
    };
    say(if guard.recovers() { "ok recovers" } else { "ok" });
    let next = session(world);
    drop(guard);
    if next == Next::Release {
        say("ok");
        return Next::Command;
    }
    next
}

/// Acquires and releases.
fn cycle(lock: &Lock, count: u32) -> Result<(), LockError> {
    for _ in 0..count {
        drop(lock.acquire()?);
    }
    Ok(())
}

/// Acquires and releases, and recovers the lock whenever its holder died; says how often, and who it was.
fn mend(lock: &Lock, count: u32) -> Result<String, LockError> {
    let mut died = Vec::new();
    let mut left = count;
    while left > 0 {
        match lock.acquire() {
            Ok(_) => left -= 1,
            Err(LockError::OwnerDied { pid, .. }) => {
                let guard = lock.recover()?;
                if guard.recovers() {
                    died.push(pid.to_string());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(died.join(" "))
}

/// Drops the guard of a recovery in a panic: the lock is not put right.
fn recover_in_panic(lock: &Lock) -> Next {
    std::panic::set_hook(Box::new(|_| ()));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = lock.recover();
        panic!("while recovering");
    }));
    drop(std::panic::take_hook());
    say(if caught.is_err() { "ok" } else { "error NoPanic" });
    Next::Command
}

/// Holds one lock, then the other, never both; so long that others wait for more than a slice.
fn take_turns(one: &Lock, other: &Lock, count: u32) -> Result<(), LockError> {
    for _ in 0..count {
        for lock in [one, other] {
            let _guard = lock.acquire()?;
            std::thread::sleep(Duration::from_millis(7));
        }
    }
    Ok(())
}

/// Takes the lock again and again, a millisecond each time, until it is killed; a byte on stderr at the end.
fn hog(lock: &Lock) -> ! {
    say("ok");
    loop {
        let guard = lock.acquire();
        std::thread::sleep(Duration::from_millis(1));
        if let Err(error) = guard {
            drop(writeln!(std::io::stderr(), "hog: {error}"));
            std::process::exit(3);
        }
    }
}

/// Another thread of this process tries.
fn in_a_thread(lock: &Lock, timeout: Duration) -> Next {
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| describe(&lock.acquire_timeout(timeout).map(|_| ""))).join()
    });
    say(&outcome.unwrap_or_else(|_| "error Panic".to_owned()));
    Next::Command
}

/// A thread of this process acquires, and ends without releasing.
fn forget_in_a_thread(lock: &Lock) -> Next {
    let forget = || describe(&lock.acquire().map(std::mem::forget).map(|()| ""));
    // An explicit join: only that waits until the thread is gone.
    let outcome = std::thread::scope(|scope| scope.spawn(forget).join());
    say(&outcome.unwrap_or_else(|_| "error Panic".to_owned()));
    Next::Command
}

/// So many threads of this process acquire, all at once; how many met what.
fn in_threads(lock: &Lock, count: usize) -> Next {
    let attempt = || describe(&lock.acquire().map(|_| ""));
    let outcomes: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(attempt)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| "panic".into())).collect()
    });
    let mut tally: BTreeMap<String, u32> = BTreeMap::new();
    for outcome in outcomes {
        let kind = outcome.split(" {").next().unwrap_or_default().replace(' ', "");
        *tally.entry(kind).or_default() += 1;
    }
    let told: Vec<String> = tally.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    say(&format!("ok {}", told.join(" ")));
    Next::Command
}
