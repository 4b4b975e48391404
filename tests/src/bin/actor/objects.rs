//! Commands about objects as such: creating, opening, handles, removal.

use crate::{Next, World, done, number, report, say};
use procession::shm::gc;
use procession::{Bytes, Lock, LockOptions, OnOwnerDeath, OpenError, Queue, QueueOptions};
use std::rc::Rc;

/// How `create`, `open`, … are to be done.
#[derive(Clone, Copy)]
enum Way {
    Create,
    Open,
    OpenOrCreate,
    Anonymous,
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    let way = match *words.first()? {
        "create" => Way::Create,
        "open" => Way::Open,
        "open_or_create" => Way::OpenOrCreate,
        "anonymous" => Way::Anonymous,
        _ => return other(world, words),
    };
    let (kind, name, options) = (*words.get(1)?, *words.get(2)?, words.get(3..)?);
    match kind {
        "lock" => Some(keep_lock(world, name, lock(way, name, options))),
        "queue" => Some(keep_queue(world, name, queue(way, name, options))),
        _ => None,
    }
}

fn other(world: &World, words: &[&str]) -> Option<Next> {
    match *words {
        ["handle", "lock", name] => {
            let lock = world.locks.borrow().get(name).cloned();
            Some(report(&serde_json::to_string(&*lock.expect("that lock is open"))))
        }
        ["from_handle", "lock", name, json] => {
            let opened = serde_json::from_str::<Lock>(json);
            let outcome = opened.map(|lock| world.locks.borrow_mut().insert(name.to_owned(), Rc::new(lock)));
            Some(report(&outcome.map(|_| "")))
        }
        ["drop", name] => {
            let lock = world.locks.borrow_mut().remove(name);
            let queue = world.queues.borrow_mut().remove(name);
            let had = lock.is_some() || queue.is_some();
            drop((lock, queue));
            done(had)
        }
        ["unlink", name] => Some(report(&world.namespace.unlink(name).map(|()| ""))),
        ["gc"] => {
            let removed = gc::collect(Some(&world.namespace), gc::Options::default());
            Some(report(&removed.map(|entries| entries.len())))
        }
        ["gc_unused"] => {
            let options = gc::Options::default().unused(true);
            Some(report(&gc::collect(Some(&world.namespace), options).map(|entries| entries.len())))
        }
        _ => None,
    }
}

fn lock(way: Way, name: &str, words: &[&str]) -> Result<Lock, OpenError> {
    let mut options: LockOptions = Lock::options();
    for word in words {
        options = match word.split_once('=').unwrap_or((word, "")) {
            ("ephemeral", _) => options.ephemeral(),
            ("ignore", _) => options.on_owner_death(OnOwnerDeath::Ignore),
            ("report", _) => options.on_owner_death(OnOwnerDeath::Report),
            ("detecting", _) => options.detect_deadlock(true),
            _ => options,
        };
    }
    match way {
        Way::Create => options.create(name),
        Way::Open => options.open(name),
        Way::OpenOrCreate => options.open_or_create(name),
        Way::Anonymous => options.anonymous(),
    }
}

fn queue(way: Way, name: &str, words: &[&str]) -> Result<Queue<Bytes>, OpenError> {
    let mut options: QueueOptions<Bytes> = Queue::options();
    for word in words {
        options = match word.split_once('=').unwrap_or((word, "")) {
            ("ephemeral", _) => options.ephemeral(),
            ("capacity", items) => options.capacity(number(items)),
            ("bytes", bytes) => options.bytes(number(bytes)),
            _ => options,
        };
    }
    match way {
        Way::Create => options.create(name),
        Way::Open => options.open(name),
        Way::OpenOrCreate => options.open_or_create(name),
        Way::Anonymous => options.anonymous(),
    }
}

fn keep_lock(world: &World, name: &str, opened: Result<Lock, OpenError>) -> Next {
    match opened {
        Ok(lock) => {
            say(&format!("ok {}", lock.name()));
            world.locks.borrow_mut().insert(name.to_owned(), Rc::new(lock));
            Next::Command
        }
        Err(error) => report::<&str, _>(&Err(error)),
    }
}

fn keep_queue(world: &World, name: &str, opened: Result<Queue<Bytes>, OpenError>) -> Next {
    match opened {
        Ok(queue) => {
            say(&format!("ok {}", queue.name()));
            world.queues.borrow_mut().insert(name.to_owned(), Rc::new(queue));
            Next::Command
        }
        Err(error) => report::<&str, _>(&Err(error)),
    }
}
