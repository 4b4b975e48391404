//! Fairness: one process has a lock nearly all the time, and another one wants it now and then.

use crate::actor::{Actor, Control};
use crate::case::{Plan, Side};
use crate::error::Result;
use crate::lock::{DONE, OPEN, ProcessLock};
use crate::page::Page;
use crate::roles;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long the hog works each time; then it lets the lock go, and takes it back at once.
const HELD: Duration = Duration::from_millis(1);
/// How long the other one stays away: the hog has the lock again by then.
const AWAY: Duration = Duration::from_millis(1);
/// How many rounds of other cases one of these is as long as: a waiter that is passed over is so for long.
const ROUNDS: u32 = 3;

/// Each sample is the time in ms that one acquire took, while the role `hog` has the lock nearly all the
/// time.
pub(crate) fn beside_a_hog<'a, L: ProcessLock + 'a>(
    plan: &'a Plan<'a>,
    hog: &'static str,
) -> Result<Side<'a>> {
    let (lock, page) = (L::create(plan.session, "hogged")?, Page::create()?);
    let mut hog = Actor::role(plan.session, hog, &[&lock.address(), &page.address()])?;
    Ok(Box::new(move || {
        page.gate().store(OPEN, Relaxed);
        hog.tell("hog")?;
        hog.numbers::<0>("hogging")?;
        let (mut samples, round) = (Vec::new(), Instant::now());
        while round.elapsed() < plan.round_time * ROUNDS {
            std::thread::sleep(AWAY);
            let started = Instant::now();
            let waited = lock.locked(|| started.elapsed())?;
            samples.push(waited.as_secs_f64() * 1e3);
        }
        page.gate().store(DONE, Relaxed);
        hog.numbers::<0>("done")?;
        Ok(samples)
    }))
}

/// The role that hogs.
pub(crate) fn hog<L: ProcessLock>(control: &mut Control, rest: &[String]) -> Result<()> {
    let [lock, page] = roles::rest(rest)?;
    let (lock, page) = (L::open(lock)?, Page::open(page)?);
    while let Some([]) = control.order("hog")? {
        control.answer("hogging")?;
        while page.gate().load(Relaxed) == OPEN {
            lock.locked(work)?;
        }
        control.answer("done")?;
    }
    Ok(())
}

fn work() {
    let started = Instant::now();
    while started.elapsed() < HELD {
        std::hint::spin_loop();
    }
}
