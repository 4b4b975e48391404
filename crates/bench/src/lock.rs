//! Locks: alone in one thread, and hammered by several processes.

use crate::actor::{Actor, Control};
use crate::case::{Plan, Side};
use crate::error::{Result, check};
use crate::ours::Session;
use crate::page::Page;
use crate::roles;
use crate::sample::{calibrated, nanos_each};
use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Something to acquire and release.
pub(crate) trait Acquire {
    /// Acquires, runs `work`, releases.
    fn locked<R>(&self, work: impl FnOnce() -> R) -> Result<R>;
}

/// A lock that other processes open by its address.
pub(crate) trait ProcessLock: Acquire + Sized {
    /// The role that hammers this lock.
    const HAMMER: &'static str;
    /// Whether several can have it at once; then nothing that it guards is changed.
    const SHARED: bool = false;
    fn create(session: &Session, name: &str) -> Result<Self>;
    fn address(&self) -> String;
    fn open(address: &str) -> Result<Self>;
}

/// One thread acquires and releases; ns per pair.
pub(crate) fn uncontended<'a>(plan: &Plan<'_>, lock: impl Acquire + 'a) -> Result<Side<'a>> {
    let mut run = move |count| {
        let (mut passed, started) = (0, Instant::now());
        for _ in 0..count {
            black_box(&lock).locked(|| passed += 1)?;
        }
        let took = started.elapsed();
        check("passes through the lock", passed, count)?;
        Ok(took)
    };
    let count = calibrated(plan.round_time, &mut run)?;
    Ok(Box::new(move || Ok(vec![nanos_each(run(count)?, count)])))
}

/// As many processes acquire, count and release, all at once; ns per pass of anybody.
///
/// Every round has new processes: where the kernel lays out one crew moves its figure by a tenth.
pub(crate) fn contended<'a, L: ProcessLock + 'a>(plan: &'a Plan<'a>, processes: usize) -> Result<Side<'a>> {
    let round = move || {
        let mut crew = Crew::<L>::start(plan, processes)?;
        crew.hammer_for(plan.warm_up())?;
        crew.hammer_for(plan.round_time)
    };
    round()?;
    Ok(Box::new(move || Ok(vec![round()?])))
}

struct Crew<L> {
    actors: Vec<Actor>,
    page: Page,
    /// The actors have only its name, so it lives as long as they do.
    _lock: L,
}

impl<L: ProcessLock> Crew<L> {
    fn start(plan: &Plan<'_>, processes: usize) -> Result<Self> {
        let lock = L::create(plan.session, &format!("contended-{processes}"))?;
        let page = Page::create()?;
        let (lock_address, page_address) = (lock.address(), page.address());
        let actors = (0..processes)
            .map(|_| Actor::role(plan.session, L::HAMMER, &[&lock_address, &page_address]))
            .collect::<Result<_>>()?;
        Ok(Crew { actors, page, _lock: lock })
    }

    fn hammer_for(&mut self, time: Duration) -> Result<f64> {
        let before = self.page.witness().load(Relaxed);
        self.page.gate().store(SHUT, Relaxed);
        for actor in &mut self.actors {
            actor.tell("hammer")?;
        }
        for actor in &mut self.actors {
            actor.numbers::<0>("set")?;
        }
        self.page.gate().store(OPEN, Relaxed);
        let started = Instant::now();
        std::thread::sleep(time);
        self.page.gate().store(DONE, Relaxed);
        let took = started.elapsed();
        let mut passes = 0;
        for actor in &mut self.actors {
            let [passed] = actor.numbers("passed")?;
            passes += passed;
        }
        let counted = if L::SHARED { 0 } else { passes };
        check("the counter behind the lock", self.page.witness().load(Relaxed) - before, counted)?;
        Ok(nanos_each(took, passes))
    }
}

/// What the [`Page::gate`] says, that starts and stops a whole crew at once.
pub(crate) const SHUT: u64 = 0;
pub(crate) const OPEN: u64 = 1;
pub(crate) const DONE: u64 = 2;

/// The role behind [`contended`].
pub(crate) fn hammer<L: ProcessLock>(control: &mut Control, rest: &[String]) -> Result<()> {
    let [lock, page] = roles::rest(rest)?;
    let (lock, page) = (L::open(lock)?, Page::open(page)?);
    while let Some([]) = control.order("hammer")? {
        control.answer("set")?;
        while page.gate().load(Relaxed) == SHUT {
            // Sleep, do not spin: there are more processes than CPUs, and all are to start.
            std::thread::sleep(Duration::from_micros(50));
        }
        let mut passed = 0_u64;
        while page.gate().load(Relaxed) == OPEN {
            lock.locked(|| {
                if !L::SHARED {
                    count(page.witness())
                }
            })?;
            passed += 1;
        }
        control.answer(&format!("passed {passed}"))?;
    }
    Ok(())
}

/// Adds one in two steps, on purpose: if the lock lets two in, counts are lost and [`check`] sees it.
fn count(witness: &AtomicU64) {
    witness.store(witness.load(Relaxed) + 1, Relaxed);
}
