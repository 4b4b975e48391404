//! Commands about conditions, with a count, a lock or a recursive lock as the monitor.

use crate::locks::{self, millis};
use crate::other_locks::rlock;
use crate::values::{self, count};
use crate::{Next, World, done, number, report};
use procession::{Condition, LockError, RLock, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

thread_local! {
    static CONDITIONS: RefCell<HashMap<String, Rc<Condition>>> = RefCell::default();
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    if let [way, "condition", name] = *words {
        let opened = match way {
            "create" => Condition::create(name),
            "open" => Condition::open(name),
            _ => return None,
        };
        return Some(report(&opened.map(|condition| {
            CONDITIONS.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(condition)));
            ""
        })));
    }
    let condition = CONDITIONS.with_borrow(|all| all.get(*words.get(1)?).map(Rc::clone))?;
    match *words {
        ["take", _, name] => Some(report(&take(&condition, &*count(name)?))),
        ["take_and_keep", _, name] => {
            let value = count(name)?;
            let waited = value.acquire().and_then(|guard| condition.wait_for(guard, |left| *left > 0));
            Some(values::hold(world, waited, |left| **left -= 1))
        }
        ["take_timeout", _, name, ms] => {
            let value = count(name)?;
            let waited = value.acquire().and_then(|guard| condition.wait_timeout(guard, millis(ms)));
            Some(report(&waited.map(|(_, waited)| !waited.timed_out())))
        }
        ["take_in_threads", _, name, n] => {
            Some(report(&take_in_threads(&condition, &*count(name)?, number(n))))
        }
        ["give", _, name, n] => {
            let added = count(name)?.fetch_add(number(n));
            condition.notify(number(n));
            Some(report(&added.map(|_| "")))
        }
        ["give_held", _, name, n] => Some(report(&count(name)?.acquire().map(|mut guard| {
            *guard += number::<u64>(n);
            condition.notify(number(n));
            ""
        }))),
        ["notify", _, n] => {
            condition.notify(number(n));
            done(())
        }
        ["wait", _, name] => {
            let lock = world.locks.borrow().get(name).map(Rc::clone)?;
            let waited = lock.acquire().and_then(|guard| condition.wait(guard));
            Some(report(&waited.map(|_| "")))
        }
        ["wait_and_keep", _, name] => {
            let lock = world.locks.borrow().get(name).map(Rc::clone)?;
            let waited = lock.acquire().and_then(|guard| condition.wait(guard));
            Some(locks::hold(world, waited))
        }
        ["wait_deep", _, name] => Some(report(&wait_deep(&condition, &*rlock(name)?))),
        ["waiters", _] => done(condition.waiters()),
        _ => None,
    }
}

/// Waits until there is something, and takes one.
fn take(condition: &Condition, value: &Value<u64>) -> Result<u64, LockError> {
    let mut left = condition.wait_for(value.acquire()?, |left| *left > 0)?;
    *left -= 1;
    Ok(*left)
}

/// So many threads take one each.
fn take_in_threads(condition: &Condition, value: &Value<u64>, n: usize) -> Result<&'static str, LockError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n).map(|_| scope.spawn(|| take(condition, value))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic").map(drop))
    })?;
    Ok("")
}

/// Waits once with a recursive lock held twice; how deep it is held afterwards. A lock that could not be got
/// back is recovered, and the guards from before must not count any more.
fn wait_deep(condition: &Condition, lock: &RLock) -> Result<u32, LockError> {
    let outer = lock.acquire()?;
    match condition.wait(lock.acquire()?) {
        Ok(inner) => Ok(inner.depth()),
        Err(LockError::OwnerDied { .. }) => {
            let recovered = lock.recover()?;
            drop(outer);
            Ok(10 * recovered.depth())
        }
        Err(error) => Err(error),
    }
}
