//! Commands about locks for readers and writers. `read` and `write` hold a guard until `release`.

use crate::locks::millis;
use crate::{Next, World, done, report, say, session};
use procession::{LockError, OnOwnerDeath, ReadGuard, RwLock, WriteGuard};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

thread_local! {
    static RWLOCKS: RefCell<HashMap<String, Rc<RwLock>>> = RefCell::default();
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    if let [way, "rwlock", name, ref options @ ..] = *words {
        let policy = if options == ["ignore"] { OnOwnerDeath::Ignore } else { OnOwnerDeath::Report };
        let opened = match way {
            "create" => RwLock::options().on_owner_death(policy).create(name),
            "open" => RwLock::open(name),
            _ => return None,
        };
        let kept =
            opened.map(|lock| RWLOCKS.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(lock))));
        return Some(report(&kept.map(|_| "")));
    }
    let lock = RWLOCKS.with_borrow(|all| all.get(*words.get(1)?).map(Rc::clone))?;
    match *words {
        ["read", _] => Some(reads(world, lock.read())),
        ["try_read", _] => Some(reads(world, lock.try_read())),
        ["read_timeout", _, ms] => Some(reads(world, lock.read_timeout(millis(ms)))),
        ["write", _] => Some(writes(world, lock.write())),
        ["try_write", _] => Some(writes(world, lock.try_write())),
        ["write_timeout", _, ms] => Some(writes(world, lock.write_timeout(millis(ms)))),
        ["recover", _] => Some(writes(world, lock.recover())),
        ["downgrade", _] => Some(reads(world, lock.write().and_then(WriteGuard::downgrade))),
        ["readers", _] => done(lock.readers().len()),
        _ => None,
    }
}

fn reads(world: &World, outcome: Result<ReadGuard<'_>, LockError>) -> Next {
    hold(world, outcome, |_| false)
}

fn writes(world: &World, outcome: Result<WriteGuard<'_>, LockError>) -> Next {
    hold(world, outcome, WriteGuard::recovers)
}

/// Holds the guard, if there is one, while it follows further commands.
fn hold<G>(world: &World, outcome: Result<G, LockError>, recovers: impl Fn(&G) -> bool) -> Next {
    let guard = match outcome {
        Ok(guard) => guard,
        Err(error) => return report::<&str, _>(&Err(error)),
    };
    say(if recovers(&guard) { "ok recovers" } else { "ok" });
    let next = session(world);
    drop(guard);
    if next == Next::Release {
        say("ok");
        return Next::Command;
    }
    next
}
