//! How much shared memory our objects take.

use super::Session;
use crate::error::{BenchError, Context, Result};
use procession::{
    Array, Barrier, Condition, Event, Latch, Lock, Once, Queue, RLock, RwLock, Semaphore, Value,
};
use std::any::Any;

/// The bytes of an object of each kind, and of a process in the registry, for people.
pub(crate) fn sizes(session: &Session) -> Result<String> {
    let stem = session.fresh_name("size.");
    let name = |what: &str| format!("{stem}.{what}");
    let _objects: [Box<dyn Any>; 12] = [
        Box::new(create!(Lock, session, &name("lock"))?),
        Box::new(create!(RLock, session, &name("rlock"))?),
        Box::new(create!(RwLock, session, &name("rwlock"))?),
        Box::new(create!(Semaphore, session, &name("semaphore-of-at-most-1024"))?),
        Box::new(create!(Condition, session, &name("condition"))?),
        Box::new(create!(Event, session, &name("event"))?),
        Box::new(create!(Barrier, session, &name("barrier-of-2"), parties(2))?),
        Box::new(create!(Value::<[u64; 8]>, session, &name("value-of-64-bytes"))?),
        Box::new(create!(Array::<u64>, session, &name("array-of-1000"), len(1000))?),
        Box::new(create!(Latch, session, &name("latch"))?),
        Box::new(create!(Once, session, &name("once"))?),
        Box::new(create!(Queue::<u64>, session, &name("queue"))?),
    ];
    let entries = session.namespace().list().context("list the objects")?;
    let size = |name: &str, bytes: u64| format!("{name} {bytes}");
    let objects = entries.iter().filter_map(|entry| {
        let what = entry.name.strip_prefix(&stem)?.trim_start_matches('.');
        Some(size(what, entry.bytes))
    });
    let registry = entries.iter().find(|entry| entry.is_registry());
    let registry = registry.ok_or_else(|| BenchError::Failed("no registry".to_owned()))?;
    let slots = registry.header.as_ref().map_or(0, |header| header.parameters[0]);
    let process = size("process", registry.bytes / slots.max(1));
    let sizes = objects.chain([process]).collect::<Vec<_>>();
    Ok(format!("bytes, header page of 4096 included: {}, in a registry of {slots}", sizes.join(", ")))
}
