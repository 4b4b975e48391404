//! Recovery: how long a waiter waits for a holder that was killed.

use crate::actor::{Actor, Control};
use crate::case::{Plan, Side};
use crate::error::{BenchError, Context, Result, check};
use crate::lock::ProcessLock;
use crate::roles;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Kills in one run of the case.
const KILLS: usize = 200;
/// Locks with a holder and a waiter each, all at once: they sleep nearly all the time.
const LANES: usize = 20;
/// How long the waiters have been asleep when the first holder dies: past every short first slice.
const ASLEEP: Duration = Duration::from_millis(250);
/// Between two kills. No divisor of a sleeping slice, so that the kills fall anywhere in it.
const BETWEEN: Duration = Duration::from_micros(7_300);

/// A lock that tells the next one that its owner died.
pub(crate) trait RobustLock: ProcessLock {
    /// The roles that hold this lock and wait for it.
    const HOLD: &'static str;
    const WAIT: &'static str;
    /// Acquires, and returns the pid of the owner that died; anything else is an error.
    fn await_death(&self) -> Result<u32>;
    /// Makes the lock usable again and releases it.
    fn recover(&self) -> Result<()>;
}

/// Each sample is the time in ms from `kill` to the waiter's return.
pub(crate) fn recovery<'a, L: RobustLock + 'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    let mut lanes = (0..LANES).map(|lane| Lane::<L>::start(plan, lane)).collect::<Result<Vec<_>>>()?;
    let batches = KILLS.div_ceil(plan.rounds * LANES);
    Ok(Box::new(move || {
        let mut samples = Vec::new();
        for _ in 0..batches {
            samples.extend(batch(plan, &mut lanes)?);
        }
        Ok(samples)
    }))
}

struct Lane<L> {
    lock: L,
    waiter: Actor,
}

impl<L: RobustLock> Lane<L> {
    fn start(plan: &Plan<'_>, lane: usize) -> Result<Self> {
        let lock = L::create(plan.session, &format!("recovery-{lane}"))?;
        let waiter = Actor::role(plan.session, L::WAIT, &[&lock.address()])?;
        Ok(Lane { lock, waiter })
    }

    /// A holder that holds, and the waiter on its way into `acquire`.
    fn engage(&mut self, plan: &Plan<'_>) -> Result<Holder> {
        let mut actor = Actor::role(plan.session, L::HOLD, &[&self.lock.address()])?;
        let [pid] = actor.numbers("held")?;
        self.waiter.tell("wait")?;
        self.waiter.numbers::<0>("waiting")?;
        Ok(Holder { actor, pid })
    }
}

struct Holder {
    actor: Actor,
    pid: u64,
}

fn batch<L: RobustLock>(plan: &Plan<'_>, lanes: &mut [Lane<L>]) -> Result<Vec<f64>> {
    let mut holders = lanes.iter_mut().map(|lane| lane.engage(plan)).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(ASLEEP);
    let mut killed = Vec::new();
    for holder in &mut holders {
        killed.push(now_ns()?);
        holder.actor.kill()?;
        std::thread::sleep(BETWEEN);
    }
    let mut samples = Vec::new();
    for ((lane, holder), killed) in lanes.iter_mut().zip(holders).zip(killed) {
        let [returned, pid] = lane.waiter.numbers("died")?;
        check("the pid of the owner that died", pid, holder.pid)?;
        let waited = Duration::from_nanos(after(killed, returned)?);
        samples.push(waited.as_secs_f64() * 1e3);
    }
    Ok(samples)
}

fn after(killed: u64, returned: u64) -> Result<u64> {
    let early = || BenchError::Failed("the waiter returned before the holder was killed".to_owned());
    returned.checked_sub(killed).ok_or_else(early)
}

/// The role that holds the lock until it is killed.
pub(crate) fn hold<L: RobustLock>(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    L::open(address)?.locked(|| {
        control.answer(&format!("held {}", std::process::id()))?;
        // No such order comes: this is where the holder is killed.
        control.order::<0>("release").map(drop)
    })?
}

/// The role that waits for the lock, again and again.
pub(crate) fn wait<L: RobustLock>(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let lock = L::open(address)?;
    while let Some([]) = control.order("wait")? {
        control.answer("waiting")?;
        let pid = lock.await_death()?;
        let returned = now_ns()?;
        lock.recover()?;
        control.answer(&format!("died {returned} {pid}"))?;
    }
    Ok(())
}

/// The monotonic clock, which all processes share. [`std::time::Instant`] cannot cross to another process.
fn now_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("clock_gettime")?;
    u64::try_from(Duration::from(now).as_nanos()).context("the monotonic clock")
}
