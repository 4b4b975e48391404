//! Commands about recursive locks, and about locks for readers and writers. `enter`, `read` and `write` hold
//! a guard until `release`, as `acquire` does.

use crate::locks::millis;
use crate::{Next, World, describe, done, number, report, say, session};
use procession::{Lock, LockError, OnOwnerDeath, OpenError, RLock, RLockGuard, RwLock, WriteGuard};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::thread::{self, LocalKey};
use std::time::Duration;

/// As many holds as a lock has places for.
const READERS: usize = 128;

type Open<L> = RefCell<HashMap<String, Rc<L>>>;

thread_local! {
    static RLOCKS: Open<RLock> = RefCell::default();
    static RWLOCKS: Open<RwLock> = RefCell::default();
}

/// The recursive lock that is open under a name.
pub(crate) fn rlock(name: &str) -> Option<Rc<RLock>> {
    RLOCKS.with_borrow(|all| all.get(name).map(Rc::clone))
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    if let [way, kind, name, ref options @ ..] = *words {
        let detects = options == ["detecting"];
        let policy = if options == ["ignore"] { OnOwnerDeath::Ignore } else { OnOwnerDeath::Report };
        match (way, kind) {
            ("create", "rlock") => {
                return keep(&RLOCKS, name, RLock::options().on_owner_death(policy).create(name));
            }
            ("open", "rlock") => return keep(&RLOCKS, name, RLock::open(name)),
            ("create", "rwlock") => {
                let options = RwLock::options().on_owner_death(policy).detect_deadlock(detects);
                return keep(&RWLOCKS, name, options.create(name));
            }
            ("open", "rwlock") => return keep(&RWLOCKS, name, RwLock::open(name)),
            _ => {}
        }
    }
    let name = *words.get(1)?;
    if let Some(lock) = rlock(name) {
        return recursive(world, &lock, words);
    }
    shared(world, &*RWLOCKS.with_borrow(|all| all.get(name).map(Rc::clone))?, words)
}

fn keep<L>(open: &'static LocalKey<Open<L>>, name: &str, lock: Result<L, OpenError>) -> Option<Next> {
    Some(report(&lock.map(|lock| {
        open.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(lock)));
        ""
    })))
}

fn recursive(world: &World, lock: &RLock, words: &[&str]) -> Option<Next> {
    let outcome = match *words {
        ["enter", _] => lock.acquire(),
        ["try_enter", _] => lock.try_acquire(),
        ["enter_timeout", _, ms] => lock.acquire_timeout(millis(ms)),
        ["recover", _] => lock.recover(),
        ["in_a_thread", _, ms] => {
            let attempt = || describe(&lock.acquire_timeout(millis(ms)).map(|_| ""));
            say(&thread::scope(|scope| scope.spawn(attempt).join()).unwrap_or_default());
            return Some(Next::Command);
        }
        _ => return None,
    };
    let depth = |guard: &RLockGuard<'_>| format!("{}{}", guard.depth(), mark(guard.recovers()));
    Some(hold(world, outcome, depth))
}

fn shared(world: &World, lock: &RwLock, words: &[&str]) -> Option<Next> {
    let nothing = |_: &_| String::new();
    let outcome = match *words {
        ["read", _] => return Some(hold(world, lock.read(), nothing)),
        ["try_read", _] => return Some(hold(world, lock.try_read(), nothing)),
        ["read_timeout", _, ms] => return Some(hold(world, lock.read_timeout(millis(ms)), nothing)),
        ["downgrade", _] => {
            return Some(hold(world, lock.write().and_then(WriteGuard::downgrade), nothing));
        }
        ["read_all", _] => {
            let all: Result<Vec<_>, _> = (0..READERS).map(|_| lock.try_read()).collect();
            return Some(hold(world, all, |_| String::new()));
        }
        ["hog", _, how] => hog(lock, how == "reading"),
        ["mix", _, other, count] => {
            let other = world.locks.borrow().get(other).map(Rc::clone)?;
            return Some(report(&mix(lock, &other, number(count)).map(|()| "")));
        }
        ["readers", _] => return done(lock.readers().len()),
        ["inconsistent", _] => return done(lock.is_inconsistent()),
        ["write", _] => lock.write(),
        ["try_write", _] => lock.try_write(),
        ["write_timeout", _, ms] => lock.write_timeout(millis(ms)),
        ["recover", _] => lock.recover(),
        _ => return None,
    };
    Some(hold(world, outcome, |guard: &WriteGuard<'_>| mark(guard.recovers()).to_owned()))
}

fn mark(recovers: bool) -> &'static str {
    if recovers { " recovers" } else { "" }
}

/// Reads or writes again and again, a millisecond each time, until it is killed.
fn hog(lock: &RwLock, reading: bool) -> ! {
    say("ok");
    let nap = || thread::sleep(Duration::from_millis(1));
    loop {
        let outcome =
            if reading { lock.read().map(|_guard| nap()) } else { lock.write().map(|_guard| nap()) };
        outcome.expect("nobody dies writing");
    }
}

/// Reads and writes, alone or inside of another lock, so long that others wait for more than a slice.
fn mix(lock: &RwLock, outer: &Lock, count: u32) -> Result<(), LockError> {
    let nap = || thread::sleep(Duration::from_millis(7));
    for round in std::process::id()..std::process::id() + count {
        let _outer = if round % 4 < 2 { Some(outer.acquire()?) } else { None };
        if round.is_multiple_of(2) {
            lock.read().map(|_guard| nap())?
        } else {
            lock.write().map(|_guard| nap())?
        }
    }
    Ok(())
}

/// Holds the guard, if there is one, while it follows further commands; says `what` about it.
fn hold<G>(world: &World, outcome: Result<G, LockError>, what: impl FnOnce(&G) -> String) -> Next {
    let guard = match outcome {
        Ok(guard) => guard,
        Err(error) => return report::<&str, _>(&Err(error)),
    };
    say(&format!("ok {}", what(&guard)));
    let next = session(world);
    drop(guard);
    if next == Next::Release {
        say("ok");
        return Next::Command;
    }
    next
}
