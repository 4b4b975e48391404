//! A namespace with many objects: what it costs to open one, to list all, and to look for garbage among them.

use crate::case::Side;
use crate::error::{Context, Result, check};
use crate::start::timed;
use procession::{Lock, Namespace, shm::gc};
use std::cell::Cell;

/// Locks that nobody has open, in a namespace of their own.
pub(crate) struct Field {
    pub(crate) namespace: Namespace,
    count: u64,
}

impl Field {
    pub(crate) fn sown(count: u64) -> Result<Self> {
        let field = Field { namespace: Namespace::private(), count };
        let options = Lock::options().namespace(&field.namespace);
        (0..count).try_for_each(|at| options.create(&name(at)).context("create a lock").map(drop))?;
        Ok(field)
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        // What cannot be removed now is garbage once this process has ended.
        drop(gc::collect(Some(&self.namespace), gc::Options::default().unused(true)));
    }
}

fn name(at: u64) -> String {
    format!("lock.{at}")
}

/// Opens one of `count` objects, another each time; us.
pub(crate) fn open<'a>(count: u64) -> Result<Side<'a>> {
    const OPENED: u64 = 100;
    let (field, next) = (Field::sown(count)?, Cell::new(0));
    Ok(Box::new(move || {
        let options = Lock::options().namespace(&field.namespace);
        let open = |_| {
            // A step that has no divisor in common with any power of ten.
            next.set((next.get() + 7919) % field.count);
            let name = name(next.get());
            timed(|| options.open(&name).context("open a lock").map(drop))
        };
        let times = (0..OPENED).map(open).collect::<Result<Vec<_>>>()?;
        Ok(times.into_iter().map(|time| time.as_secs_f64() * 1e6).collect())
    }))
}

/// Lists `count` objects; us.
pub(crate) fn list<'a>(count: u64) -> Result<Side<'a>> {
    let field = Field::sown(count)?;
    Ok(Box::new(move || {
        let took = timed(|| {
            let entries = field.namespace.list().context("list")?;
            check("objects", entries.iter().filter(|entry| !entry.is_registry()).count() as u64, field.count)
        })?;
        Ok(vec![took.as_secs_f64() * 1e6])
    }))
}

/// Looks for garbage among `count` objects, and finds none; us.
pub(crate) fn collect<'a>(count: u64) -> Result<Side<'a>> {
    let field = Field::sown(count)?;
    Ok(Box::new(move || {
        let took = timed(|| {
            let removed = gc::collect(Some(&field.namespace), gc::Options::default()).context("gc")?;
            check("garbage", removed.len() as u64, 0)
        })?;
        Ok(vec![took.as_secs_f64() * 1e6])
    }))
}
