//! Recovery: how long a waiter waits for a holder that was killed.
//!
//! One waiter an object, which is the worst case: of several, the first to look finds out for all. As many
//! objects as there are [`LANES`] go through it together, each with a holder and a waiter of its own. All of
//! these processes sleep; the holders are killed one after the other, at intervals, so that no waiter's way
//! back is in another's way.

use crate::actor::{Actor, Control};
use crate::case::{Plan, Side};
use crate::clock::now_ns;
use crate::error::{BenchError, Result, check};
use crate::ours::Session;
use crate::ours::recovery as ours;
use crate::rival::pthread::RobustMutex;
use crate::roles;
use std::time::Duration;

/// Objects with a holder and a waiter each, all at once: they sleep nearly all the time.
const LANES: usize = 20;
/// How long the waiters have been asleep when the first holder dies: past every short first slice.
const ASLEEP: Duration = Duration::from_millis(250);
/// Between two kills. No divisor of a sleeping slice, so that the kills fall anywhere in it.
const BETWEEN: Duration = Duration::from_micros(7_300);

/// A holder that is killed, a waiter that goes on, and what is between them.
pub(crate) trait Scene {
    /// What the roles of holders and waiters call it.
    const NAME: &'static str;
    type Object;
    fn create(session: &Session, name: &str) -> Result<Self::Object>;
    fn open(name: &str) -> Result<Self::Object>;
    /// By what its processes open it.
    fn address(_object: &Self::Object, name: &str) -> String {
        name.to_owned()
    }
    /// Takes what its death is to leave behind, says so, and keeps it.
    fn hold(object: &Self::Object, victim: &mut Victim<'_>) -> Result<()>;
    /// Waits behind the holder, until it is dead; the pid of the dead, where waiters are told. Anything but
    /// the answer that its death should give is an error.
    fn wait(object: &Self::Object) -> Result<Option<u64>>;
    /// Makes the object usable again after a wait.
    fn mend(_object: &Self::Object) -> Result<()> {
        Ok(())
    }
    /// Calls `kill`, when the holder is where it is to die.
    fn kill<R>(_object: &Self::Object, kill: impl FnOnce() -> Result<R>) -> Result<R> {
        kill()
    }
}

/// Each sample is the time in ms from `kill` to the waiter's return.
pub(crate) fn recovery<'a, S: Scene + 'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    let mut lanes = (0..LANES).map(|lane| Lane::<S>::start(plan, lane)).collect::<Result<Vec<_>>>()?;
    let mut left = plan.kills;
    Ok(Box::new(move || {
        let mut samples = Vec::new();
        // The rival is a number, so all kills can be in the first round.
        while left > 0 {
            let victims = left.min(LANES);
            samples.extend(batch(plan, &mut lanes[..victims])?);
            left -= victims;
        }
        Ok(samples)
    }))
}

struct Lane<S: Scene> {
    object: S::Object,
    address: String,
    waiter: Actor,
}

impl<S: Scene> Lane<S> {
    fn start(plan: &Plan<'_>, lane: usize) -> Result<Self> {
        let name = plan.session.fresh_name(&format!("recovery-{lane}"));
        let object = S::create(plan.session, &name)?;
        let address = S::address(&object, &name);
        let waiter = Actor::role(plan.session, "recovery/wait", &[S::NAME, &address])?;
        Ok(Lane { object, address, waiter })
    }

    /// A holder that holds, and the waiter on its way to wait behind it.
    fn engage(&mut self, plan: &Plan<'_>) -> Result<Holder> {
        let mut actor = Actor::role(plan.session, "recovery/hold", &[S::NAME, &self.address])?;
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

fn batch<S: Scene>(plan: &Plan<'_>, lanes: &mut [Lane<S>]) -> Result<Vec<f64>> {
    let mut holders = lanes.iter_mut().map(|lane| lane.engage(plan)).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(ASLEEP);
    let mut killed = Vec::new();
    for (lane, holder) in lanes.iter().zip(&mut holders) {
        killed.push(S::kill(&lane.object, || {
            let killed = now_ns()?;
            holder.actor.kill().map(|()| killed)
        })?);
        std::thread::sleep(BETWEEN);
    }
    let mut samples = Vec::new();
    for ((lane, holder), killed) in lanes.iter_mut().zip(holders).zip(killed) {
        let [returned, pid] = lane.waiter.numbers("died")?;
        check("the pid of the owner that died", pid, if pid == NOBODY { NOBODY } else { holder.pid })?;
        let waited = Duration::from_nanos(after(killed, returned)?);
        samples.push(waited.as_secs_f64() * 1e3);
    }
    Ok(samples)
}

fn after(killed: u64, returned: u64) -> Result<u64> {
    let early = || BenchError::Failed("the waiter returned before the holder was killed".to_owned());
    returned.checked_sub(killed).ok_or_else(early)
}

/// The pid that a waiter answers when it is not told one.
const NOBODY: u64 = 0;

/// What a process of a scene is.
enum Part {
    Holder,
    Waiter,
}

/// The role that holds something until it is killed.
pub(crate) fn hold(control: &mut Control, rest: &[String]) -> Result<()> {
    role(control, rest, Part::Holder)
}

/// The role that waits for it, again and again.
pub(crate) fn wait(control: &mut Control, rest: &[String]) -> Result<()> {
    role(control, rest, Part::Waiter)
}

fn role(control: &mut Control, rest: &[String], part: Part) -> Result<()> {
    let [scene, address] = roles::rest(rest)?;
    match scene {
        ours::Locked::NAME => play::<ours::Locked>(control, address, part),
        ours::LockedTwice::NAME => play::<ours::LockedTwice>(control, address, part),
        ours::Written::NAME => play::<ours::Written>(control, address, part),
        ours::Read::NAME => play::<ours::Read>(control, address, part),
        ours::Permitted::NAME => play::<ours::Permitted>(control, address, part),
        ours::Signaled::NAME => play::<ours::Signaled>(control, address, part),
        ours::Joined::NAME => play::<ours::Joined>(control, address, part),
        ours::Building::NAME => play::<ours::Building>(control, address, part),
        ours::Logging::NAME => play::<ours::Logging>(control, address, part),
        ours::Running::NAME => play::<ours::Running>(control, address, part),
        ours::Leased::NAME => play::<ours::Leased>(control, address, part),
        ours::Piped::NAME => play::<ours::Piped>(control, address, part),
        RobustMutex::NAME => play::<RobustMutex>(control, address, part),
        _ => Err(BenchError::Failed(format!("no such scene: {scene}"))),
    }
}

fn play<S: Scene>(control: &mut Control, name: &str, part: Part) -> Result<()> {
    let object = S::open(name)?;
    match part {
        Part::Holder => S::hold(&object, &mut Victim(control)),
        Part::Waiter => wait_behind::<S>(control, &object),
    }
}

fn wait_behind<S: Scene>(control: &mut Control, object: &S::Object) -> Result<()> {
    while let Some([]) = control.order("wait")? {
        control.answer("waiting")?;
        let pid = S::wait(object)?;
        let returned = now_ns()?;
        S::mend(object)?;
        control.answer(&format!("died {returned} {}", pid.unwrap_or(NOBODY)))?;
    }
    Ok(())
}

/// The holder's own end.
pub(crate) struct Victim<'a>(&'a mut Control);

impl Victim<'_> {
    /// Tells the bench that the waiter can come.
    pub(crate) fn holds(&mut self) -> Result<()> {
        self.0.answer(&format!("held {}", std::process::id()))
    }

    /// The same, and then nothing any more.
    pub(crate) fn holds_until_killed(&mut self) -> Result<()> {
        self.holds()?;
        // No such order comes: this is where the holder is killed.
        self.0.order::<0>("release").map(drop)
    }
}
