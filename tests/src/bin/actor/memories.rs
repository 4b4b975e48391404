//! Commands about bytes: shared memory that is an object, and `plain` files.

use crate::{Next, done, number, report};
use procession::{PlainMemory, SharedMemory};
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    static MEMORIES: RefCell<HashMap<String, SharedMemory>> = RefCell::default();
    static PLAIN: RefCell<HashMap<String, PlainMemory>> = RefCell::default();
}

pub(crate) fn follow(words: &[&str]) -> Option<Next> {
    let keep = |name: &str, opened: Result<SharedMemory, procession::OpenError>| {
        let kept = opened.map(|memory| MEMORIES.with_borrow_mut(|all| all.insert(name.to_owned(), memory)));
        Some(report(&kept.map(|_| "")))
    };
    let keep_plain = |name: &str, opened: Result<PlainMemory, procession::OpenError>| {
        let kept = opened.map(|memory| PLAIN.with_borrow_mut(|all| all.insert(name.to_owned(), memory)));
        Some(report(&kept.map(|_| "")))
    };
    match *words {
        ["create", "memory", name, size] => {
            keep(name, SharedMemory::options().size(number(size)).create(name))
        }
        ["create", "memory", name, size, "ephemeral"] => {
            keep(name, SharedMemory::options().size(number(size)).ephemeral().create(name))
        }
        ["open", "memory", name] => keep(name, SharedMemory::open(name)),
        ["create", "plain", name, size] => keep_plain(name, PlainMemory::create(name, number(size))),
        ["open", "plain", name] => keep_plain(name, PlainMemory::open(name)),
        ["write_at", name, offset, text] => {
            let (offset, bytes) = (number(offset), text.as_bytes());
            if let Some(memory) = MEMORIES.with_borrow(|all| all.get(name).cloned()) {
                return Some(report(&memory.write_at(offset, bytes).map(|()| "")));
            }
            let memory = PLAIN.with_borrow(|all| all.get(name).cloned())?;
            Some(report(&memory.write_at(offset, bytes).map(|()| "")))
        }
        ["read_at", name, from, to] => {
            let range = number(from)..number(to);
            let memory = MEMORIES.with_borrow(|all| all.get(name).cloned());
            let read = match memory {
                Some(memory) => memory.read(range),
                None => PLAIN.with_borrow(|all| all.get(name).cloned())?.read(range),
            };
            Some(report(&read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())))
        }
        ["orphaned", name] => done(MEMORIES.with_borrow(|all| all.get(name).cloned())?.is_orphaned()),
        _ => None,
    }
}
