//! Two processes that wait for each other in turns: there and back, and from sleep.
//!
//! **There and back** ([`round_trip`]): both as fast as they can. Whoever waits may spin, if that is its way.
//!
//! **Asleep** ([`asleep`]): every wait ends in the kernel, on both sides. Whoever is about to signal first
//! runs on for [`PAUSE`], longer than anybody spins, and then until `/proc` says that the other one sleeps.
//! Only from then on is time counted: from just before the signal until the other's wait has returned. The
//! figure is the median of the ways there plus the median of the ways back; so it is two wakes, each of a
//! process that really slept.

use crate::actor::{Actor, Control};
use crate::case::{Plan, Side};
use crate::error::{BenchError, Context, Result};
use crate::ours::Session;
use crate::page::Page;
use crate::sample::{Summary, as_figure, calibrated, nanos_each};
use crate::{clock, roles};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

/// How long a process that is about to signal runs on first. Ours spin for 20 us.
const PAUSE: Duration = Duration::from_micros(100);
/// What a way there and back takes about, when both sleep.
const ASLEEP_ESTIMATE: Duration = Duration::from_micros(300);

/// Which of the two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    First,
    Second,
}

impl Who {
    pub(crate) fn index(self) -> usize {
        match self {
            Who::First => 0,
            Who::Second => 1,
        }
    }

    pub(crate) fn other(self) -> Who {
        match self {
            Who::First => Who::Second,
            Who::Second => Who::First,
        }
    }
}

/// Something by which two processes wait for each other.
pub(crate) trait Meeting: Sized {
    /// The role of either.
    const ROLE: &'static str;
    fn create(session: &Session) -> Result<Self>;
    fn address(&self) -> String;
    fn open(address: &str) -> Result<Self>;
    /// Lets the other one go on, who waits or will.
    fn signal(&self, me: Who) -> Result<()>;
    /// Waits until the other one signals.
    fn wait(&self, me: Who) -> Result<()>;
    /// Both wait for each other once.
    fn meet(&self, me: Who) -> Result<()> {
        match me {
            Who::First => self.signal(me).and_then(|()| self.wait(me)),
            Who::Second => self.wait(me).and_then(|()| self.signal(me)),
        }
    }
}

/// Both meet again and again; ns per meeting.
///
/// Every round has new processes, as in [`crate::lock::contended`].
pub(crate) fn round_trip<'a, M: Meeting + 'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    each_round(plan, || Pair::<M>::start(plan))
}

/// Somebody who meets somebody so many times, and says how long that took.
pub(crate) trait Meets {
    fn meet(&mut self, count: u64) -> Result<Duration>;
}

/// As [`round_trip`], for anybody who [`Meets`].
pub(crate) fn each_round<'a, P: Meets + 'a>(
    plan: &'a Plan<'a>,
    start: impl Fn() -> Result<P> + 'a,
) -> Result<Side<'a>> {
    let mut pair = start()?;
    let count = calibrated(plan.round_time, |count| pair.meet(count))?;
    drop(pair);
    Ok(Box::new(move || {
        let mut pair = start()?;
        pair.meet(count / 10)?;
        Ok(vec![nanos_each(pair.meet(count)?, count)])
    }))
}

/// Both wake each other from sleep; ns for the way there and back.
pub(crate) fn asleep<'a, M: Meeting + 'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    let count = (plan.round_time.as_nanos() / ASLEEP_ESTIMATE.as_nanos()) as u64;
    Ok(Box::new(move || {
        let mut pair = Pair::<M>::start(plan)?;
        let mut rouse = |count: u64| -> Result<[u64; 2]> {
            pair.tell(&format!("rouse {count}"))?;
            pair.took()
        };
        rouse(count / 10)?;
        let [there, back] = rouse(count)?;
        Ok(vec![as_figure(there + back)])
    }))
}

struct Pair<M> {
    actors: [Actor; 2],
    _meeting: M,
    _page: Page,
}

impl<M: Meeting> Pair<M> {
    fn start(plan: &Plan<'_>) -> Result<Self> {
        let (meeting, page) = (M::create(plan.session)?, Page::create()?);
        let actor =
            |who: &str| Actor::role(plan.session, M::ROLE, &[&meeting.address(), &page.address(), who]);
        let mut actors = [actor("first")?, actor("second")?];
        for actor in &mut actors {
            actor.numbers::<0>("ready")?;
        }
        Ok(Pair { actors, _meeting: meeting, _page: page })
    }

    fn tell(&mut self, order: &str) -> Result<()> {
        self.actors.iter_mut().try_for_each(|actor| actor.tell(order))
    }

    fn took(&mut self) -> Result<[u64; 2]> {
        let [first, second] = &mut self.actors;
        let ([first], [second]) = (first.numbers("took")?, second.numbers("took")?);
        Ok([first, second])
    }
}

impl<M: Meeting> Meets for Pair<M> {
    fn meet(&mut self, count: u64) -> Result<Duration> {
        self.tell(&format!("meet {count}"))?;
        let [first, _] = self.took()?;
        Ok(Duration::from_nanos(first))
    }
}

/// The role of either process.
pub(crate) fn meet<M: Meeting>(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address, page, who] = roles::rest(rest)?;
    let me = if who == "first" { Who::First } else { Who::Second };
    let (meeting, page) = (M::open(address)?, Page::open(page)?);
    page.word(pid_at(me)).store(u64::from(std::process::id()), Release);
    control.answer("ready")?;
    while let Some((order, [count])) = control.any_order(&["meet", "rouse"])? {
        let took = match order {
            "meet" => {
                let started = Instant::now();
                (0..count).try_for_each(|_| meeting.meet(me))?;
                clock::nanos(started.elapsed())?
            }
            _ => rouse(&meeting, &page, me, count)?,
        };
        control.answer(&format!("took {took}"))?;
    }
    Ok(())
}

/// In turns: waits until the other one sleeps and wakes it, sleeps and is woken; the median ns of being
/// woken.
fn rouse<M: Meeting>(meeting: &M, page: &Page, me: Who, count: u64) -> Result<u64> {
    let other = Sleeper::of(page.word(pid_at(me.other())).load(Acquire))?;
    let signal = || {
        other.await_sleep()?;
        page.word(SIGNALLED_AT).store(clock::now_ns()?, Release);
        meeting.signal(me)
    };
    let mut woken = Vec::new();
    for _ in 0..count {
        if me == Who::First {
            signal()?;
        }
        meeting.wait(me)?;
        woken.push(as_figure(clock::now_ns()?.saturating_sub(page.word(SIGNALLED_AT).load(Acquire))));
        if me == Who::Second {
            signal()?;
        }
    }
    clock::nanos(Duration::from_secs_f64(Summary::Median.of(&mut woken)? / 1e9))
}

/// Words of the page: who the two are, and when the last signal was.
fn pid_at(who: Who) -> usize {
    2 + who.index()
}
const SIGNALLED_AT: usize = 4;

/// Another process, seen through `/proc`.
struct Sleeper(File);

impl Sleeper {
    fn of(pid: u64) -> Result<Self> {
        Ok(Sleeper(File::open(format!("/proc/{pid}/stat")).context("/proc")?))
    }

    /// Runs on for a while, and until the process sleeps.
    fn await_sleep(&self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < PAUSE || !self.is_asleep()? {
            if started.elapsed() > Duration::from_secs(10) {
                return Err(BenchError::Failed("the other process does not sleep".to_owned()));
            }
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn is_asleep(&self) -> Result<bool> {
        let mut stat = [0; 256];
        let length = self.0.read_at(&mut stat, 0).context("/proc")?;
        // The state is behind the name, which is in parentheses.
        let stat = &stat[..length];
        let name_end = stat.iter().rposition(|&byte| byte == b')').unwrap_or(0);
        Ok(stat.get(name_end + 2) == Some(&b'S'))
    }
}
