//! Commands about conditions, with a count or a recursive lock as the monitor.

use crate::locks::millis;
use crate::rlocks::rlock;
use crate::values::count;
use crate::{Next, done, number, report};
use procession::{Condition, LockError, RLock, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

thread_local! {
    static CONDITIONS: RefCell<HashMap<String, Rc<Condition>>> = RefCell::default();
}

pub(crate) fn follow(words: &[&str]) -> Option<Next> {
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
        ["take_timeout", _, name, ms] => {
            let value = count(name)?;
            let waited = value.acquire().and_then(|guard| condition.wait_timeout(guard, millis(ms)));
            Some(report(&waited.map(|(_, notified)| notified)))
        }
        ["give", _, name, n] => {
            let added = count(name)?.fetch_add(number(n));
            condition.notify(number(n));
            Some(report(&added.map(|_| "")))
        }
        ["notify", _, n] => {
            condition.notify(number(n));
            done(())
        }
        ["wait_deep", _, name] => Some(report(&wait_deep(&condition, &*rlock(name)?))),
        ["waiters", _] => done(condition.waiters()),
        _ => None,
    }
}

/// Waits until there is something, and takes one.
fn take(condition: &Condition, value: &Value<u64>) -> Result<u64, LockError> {
    let mut left = condition.wait_for(value.acquire()?, |left| **left > 0)?;
    *left -= 1;
    Ok(*left)
}

/// Waits once with a recursive lock held twice; how deep it is held afterwards.
fn wait_deep(condition: &Condition, lock: &RLock) -> Result<u32, LockError> {
    let _outer = lock.acquire()?;
    let inner = condition.wait(lock.acquire()?)?;
    Ok(inner.depth())
}
