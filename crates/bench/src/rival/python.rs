//! Python's `multiprocessing`, driven through scripts that take orders: `pool.py`, `meeting.py`, `pipe.py`,
//! `put_get.py` and `map.py`.

use crate::actor::Actor;
use crate::case::{Plan, Side};
use crate::error::{Result, check};
use crate::meeting::{self, Meets};
use crate::pool::{self, Order, Pool};
use crate::sample::{calibrated, calibrated_from, nanos_each, per_second};
use std::process::Command;
use std::time::Duration;

pub(crate) struct Python(Actor);

/// How many bytes of messages are tried first, to find out how many there is time for.
const MANY: u64 = 4 << 20;

impl Python {
    fn start(script: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("python3");
        command.arg("-B").arg(script).args(arguments);
        let mut actor = Actor::start("python3", command)?;
        actor.numbers::<0>("ready")?;
        Ok(Python(actor))
    }

    /// A `Pool` that is up.
    pub(crate) fn pool() -> Result<Self> {
        Self::of_kind("pool")
    }

    /// A new `Pool` for each order.
    pub(crate) fn new_pool() -> Result<Self> {
        Self::of_kind("new")
    }

    /// A `ProcessPoolExecutor`.
    pub(crate) fn executor() -> Result<Self> {
        Self::of_kind("executor")
    }

    fn of_kind(kind: &str) -> Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rival/pool.py");
        Python::start(script, &[kind, &pool::workers().to_string()])
    }

    fn ask(&mut self, order: &str) -> Result<(Duration, u64)> {
        self.0.tell(order)?;
        let [took, sum] = self.0.numbers("took")?;
        Ok((Duration::from_nanos(took), sum))
    }
}

impl Pool for Python {
    fn obey(&mut self, order: Order, count: u64) -> Result<(Duration, u64)> {
        self.ask(&order.line(count))
    }
}

impl Meets for Python {
    fn meet(&mut self, count: u64) -> Result<Duration> {
        self.ask(&count.to_string()).map(|(took, _)| took)
    }
}

/// The demo `pipe` in Python: so many integers one way, then the sum back; ms.
pub(crate) fn pipe<'a>(count: u64) -> Result<Side<'a>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rival/pipe.py");
    let mut python = Python::start(script, &[])?;
    Ok(Box::new(move || {
        let (took, sum) = python.ask(&count.to_string())?;
        check("the sum of all integers", sum, count * (count - 1) / 2)?;
        Ok(vec![took.as_secs_f64() * 1e3])
    }))
}

/// A `Queue`: one process puts integers, another gets them; messages per second.
pub(crate) fn queue<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    put_get(plan, "queue", None)
}

/// A `queue` or a `pipe`, and messages of so many bytes, if they are not integers; messages per second.
///
/// Every round has new processes, as in [`crate::lock::contended`].
pub(crate) fn put_get<'a>(plan: &Plan<'_>, what: &'static str, bytes: Option<u64>) -> Result<Side<'a>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rival/put_get.py");
    let start = move || match bytes {
        Some(bytes) => Python::start(script, &[what, &bytes.to_string()]),
        None => Python::start(script, &[what]),
    };
    let carry = move |python: &mut Python, count: u64| {
        let (took, sum) = python.ask(&count.to_string())?;
        check("the sum of all messages", sum, bytes.map_or(count * (count - 1) / 2, |bytes| count * bytes))?;
        Ok(took)
    };
    let least = (MANY / bytes.unwrap_or(1)).clamp(1, 1_000);
    let mut python = start()?;
    let count = calibrated_from(least, plan.round_time, |count| carry(&mut python, count))?;
    drop(python);
    Ok(Box::new(move || {
        let mut python = start()?;
        carry(&mut python, (count / 10).max(1))?;
        Ok(vec![per_second(carry(&mut python, count)?, count)])
    }))
}

/// A `Manager().dict()`: how long each `get` or `insert` takes; ns.
pub(crate) fn map<'a>(plan: &Plan<'_>, what: &'static str) -> Result<Side<'a>> {
    let mut python = Python::start(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rival/map.py"), &[])?;
    let mut run = move |count: u64| {
        let (took, sum) = python.ask(&format!("{what} {count}"))?;
        check("the bytes of all values", sum, 64 * count)?;
        Ok(took)
    };
    let count = calibrated(plan.round_time, &mut run)?;
    Ok(Box::new(move || Ok(vec![nanos_each(run(count)?, count)])))
}

/// Processes by the forkserver, one after the other; the median of a few, us.
pub(crate) fn forkserver<'a>() -> Result<Side<'a>> {
    let mut python = Python::start(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rival/forkserver.py"), &[])?;
    Ok(Box::new(move || Ok(vec![python.ask("20")?.0.as_secs_f64() * 1e6])))
}

/// Two processes that meet by `what`: `event` or `barrier`.
pub(crate) fn round_trip<'a>(plan: &'a Plan<'a>, what: &'static str) -> Result<Side<'a>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rival/meeting.py");
    meeting::each_round(plan, || Python::start(script, &[what]))
}
