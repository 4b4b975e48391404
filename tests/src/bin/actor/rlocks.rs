//! Commands about recursive locks. `enter` holds one more guard until `release`, as `acquire` does.

use crate::locks::millis;
use crate::{Next, World, describe, done, report, say, session};
use procession::{LockError, OnOwnerDeath, RLock, RLockGuard};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

thread_local! {
    static RLOCKS: RefCell<HashMap<String, Rc<RLock>>> = RefCell::default();
}

/// The recursive lock that is open under a name.
pub(crate) fn rlock(name: &str) -> Option<Rc<RLock>> {
    RLOCKS.with_borrow(|all| all.get(name).map(Rc::clone))
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    if let [way, "rlock", name, ref options @ ..] = *words {
        let policy = if options == ["ignore"] { OnOwnerDeath::Ignore } else { OnOwnerDeath::Report };
        let opened = match way {
            "create" => RLock::options().on_owner_death(policy).create(name),
            "open" => RLock::open(name),
            _ => return None,
        };
        let kept =
            opened.map(|lock| RLOCKS.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(lock))));
        return Some(report(&kept.map(|_| "")));
    }
    let lock = RLOCKS.with_borrow(|all| all.get(*words.get(1)?).map(Rc::clone))?;
    match *words {
        ["enter", _] => Some(hold(world, lock.acquire())),
        ["try_enter", _] => Some(hold(world, lock.try_acquire())),
        ["enter_timeout", _, ms] => Some(hold(world, lock.acquire_timeout(millis(ms)))),
        ["recover", _] => Some(hold(world, lock.recover())),
        ["holder", _] => done(lock.holder()),
        ["in_a_thread", _, ms] => {
            let lock: &RLock = &lock;
            let attempt = || describe(&lock.acquire_timeout(millis(ms)).map(|_| ""));
            let outcome = std::thread::scope(|scope| scope.spawn(attempt).join());
            say(&outcome.unwrap_or_else(|_| "error Panic".to_owned()));
            Some(Next::Command)
        }
        _ => None,
    }
}

/// Holds the guard, if there is one, while it follows further commands; says how deep it is.
fn hold(world: &World, outcome: Result<RLockGuard<'_>, LockError>) -> Next {
    let guard = match outcome {
        Ok(guard) => guard,
        Err(error) => return report::<&str, _>(&Err(error)),
    };
    say(&format!("ok {}{}", guard.depth(), if guard.recovers() { " recovers" } else { "" }));
    let next = session(world);
    drop(guard);
    if next == Next::Release {
        say("ok");
        return Next::Command;
    }
    next
}
