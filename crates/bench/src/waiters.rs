//! A crowd asleep on one lock whose holder lives: what it costs that they look whether it still does.
//!
//! Ten waiters and more are ten threads each in as many processes: to the lock a waiter is a thread, and so
//! they are there in a moment. (With a thousand processes each question about the holder would cost the
//! kernel more: it walks the list of all lifelines.) The figure is the CPU time that all of their threads
//! used, in the kernel and out of it, from the clocks of their processes, over the time that passed.

use crate::actor::{Actor, Control};
use crate::case::{Plan, Side};
use crate::error::{Context, Result, check};
use crate::lock::ProcessLock;
use crate::ours::lock::Lock;
use crate::recovery::Scene;
use crate::{clock, ours, roles};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many waiters a process has at most.
const THREADS: u64 = 10;
/// How long they have slept before they are looked at: past every short first slice.
const SETTLED: Duration = Duration::from_secs(6);
/// How long they are watched in a round: nobody looks more seldom than once a second.
const WATCHED: Duration = Duration::from_secs(1);

/// Per cent of one core, for all waiters together: so many, which is less than ten or a multiple of it.
pub(crate) fn crowd<'a>(plan: &'a Plan<'a>, waiters: u64) -> Result<Side<'a>> {
    let lock = Lock::create(plan.session, "crowd")?;
    let name = lock.address();
    let mut holder = Actor::role(plan.session, "recovery/hold", &[ours::recovery::Locked::NAME, &name])?;
    let [_pid] = holder.numbers("held")?;
    let threads = waiters.min(THREADS);
    let actor = |_| Actor::role(plan.session, "ours/crowd", &[&name, &threads.to_string()]);
    let actors = (0..waiters / threads).map(actor).collect::<Result<Vec<_>>>()?;
    let mut crowd = Crowd { actors, _holder: holder, _lock: lock };
    std::thread::sleep(SETTLED);
    Ok(Box::new(move || {
        let (before, started) = (crowd.used()?, Instant::now());
        std::thread::sleep(WATCHED);
        let (took, used) = (started.elapsed(), crowd.used()?.saturating_sub(before));
        check("threads that wait", crowd.waiting()?, waiters)?;
        Ok(vec![100.0 * used.as_secs_f64() / took.as_secs_f64()])
    }))
}

/// Dropped in this order: the crowd ends in the middle of its wait, and the last handle of the lock is the
/// bench's.
struct Crowd {
    actors: Vec<Actor>,
    _holder: Actor,
    _lock: Lock,
}

impl Crowd {
    fn used(&self) -> Result<Duration> {
        self.actors.iter().map(|actor| clock::cpu_time(actor.pid())).sum()
    }

    fn waiting(&mut self) -> Result<u64> {
        let mut sum = 0;
        for actor in &mut self.actors {
            actor.tell("count")?;
            let [waiting] = actor.numbers("waiting")?;
            sum += waiting;
        }
        Ok(sum)
    }
}

/// The role of one process: its threads wait for ever, and it says how many of them do.
pub(crate) fn wait(control: &mut Control, rest: &[String]) -> Result<()> {
    let [name, threads] = roles::rest(rest)?;
    let threads: u64 = threads.parse().context("how many threads")?;
    let waiting = Arc::new(AtomicU64::new(0));
    for _ in 0..threads {
        let (lock, waiting) = (Lock::open(name)?, Arc::clone(&waiting));
        std::thread::spawn(move || {
            waiting.fetch_add(1, Ordering::Relaxed);
            drop(crate::lock::Acquire::locked(&lock, || ()));
            waiting.fetch_sub(1, Ordering::Relaxed);
        });
    }
    while let Some([]) = control.order("count")? {
        control.answer(&format!("waiting {}", waiting.load(Ordering::Relaxed)))?;
    }
    Ok(())
}
