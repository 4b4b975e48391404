//! A scene played once for each death that its victim is to die, and what came of it.

use crate::stage::{Death, Stage, Trace};
use crate::watchdog;
use procession_sync::Lock;
use std::collections::BTreeSet;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// For how many deaths a scene is played, unless it is for all; a long one for a quarter of them.
const SLICE: usize = 40;
/// Set to play a scene for all deaths.
const ALL: &str = "PROCESSION_EVERY_INSTRUCTION";
/// Longer operations, which make files and remove them, would take hours in all their deaths, for each is
/// played from the beginning: they are played for so many of them.
const LONG: usize = 12_000;
const MOST: usize = 2_000;
/// In how many of its sleeps a victim dies: the later ones are slices of one wait.
const SLEEPS: usize = 3;

/// One operation of one object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What `play` returns when the operation has ended.
    pub(crate) whole: u32,
    /// Plays it once; how far the operation had come as the survivors see it: from 0, never less with more
    /// instructions.
    pub(crate) play: fn(&mut Stage<'_>) -> u32,
}

/// Plays the scene for each death of the slice, or for all, and says what came of it.
pub(crate) fn run(scene: Scene) -> Result<(), String> {
    let warm = Lock::new().map_err(|error| error.to_string())?;
    // Read once in a process, by ten thousand instructions of the standard library.
    let _: u32 = procession_sys::cpu::available();
    let to_the_end = Death::After(usize::MAX);
    // What this process does for the first time may take another path.
    play(scene, &warm, to_the_end)?;
    let whole = play(scene, &warm, to_the_end)?;
    if !whole.trace.finished || whole.progress != scene.whole {
        return Err(format!("the operation ended, and had come as far as {}", whole.progress));
    }
    let mut report = Report::default();
    report.add(to_the_end, &whole, &whole.trace)?;
    for death in deaths(&whole.trace) {
        report.add(death, &play(scene, &warm, death)?, &whole.trace)?;
    }
    report.say(scene.name, &whole.trace);
    Ok(())
}

/// All deaths in the course of an operation, or some.
fn deaths(whole: &Trace) -> Vec<Death> {
    let len = whole.path.len();
    let count = match std::env::var_os(ALL) {
        None if len > LONG => SLICE / 4,
        None => SLICE,
        Some(_) if len > LONG => MOST,
        Some(_) => len,
    };
    let every = len.div_ceil(count.max(1)).max(1);
    // Other ones each time: the report says which step fails, so it need not be the same again.
    let first = procession_sys::random::nonzero_u64() as usize % every;
    let steps = (first..len).step_by(every).map(Death::After);
    let sleeps = (0..whole.blocked.min(SLEEPS)).map(Death::Asleep);
    let beginning = (first > 0).then_some(Death::After(0));
    beginning.into_iter().chain(steps).chain(sleeps).collect()
}

/// What came of one death.
struct Played {
    trace: Trace,
    progress: u32,
    /// How long after the kill all survivors had finished.
    recovery: Duration,
}

fn play(scene: Scene, warm: &Lock, death: Death) -> Result<Played, String> {
    watchdog::watch(format!("{}: killed {death:?}", scene.name));
    let mut stage = Stage::new(warm, death);
    let played = catch_unwind(AssertUnwindSafe(|| (scene.play)(&mut stage)));
    let trace = std::mem::take(&mut stage.trace);
    let (Ok(progress), Some(killed)) = (played, trace.killed) else {
        return Err(format!("killed {death:?} at {}: see above", watchdog::address()));
    };
    Ok(Played { trace, progress, recovery: killed.elapsed() })
}

/// What came of all deaths.
#[derive(Default)]
struct Report {
    kills: usize,
    asleep: usize,
    /// How many died on the very path of the whole operation.
    alike: usize,
    seen: BTreeSet<u64>,
    killed: BTreeSet<u64>,
    slowest: Duration,
    /// The last death on that path: after how many instructions, and how far the operation had come.
    last: (usize, u32),
    /// Between how many instructions the operation came further.
    effects: Vec<String>,
}

impl Report {
    fn add(&mut self, death: Death, played: &Played, whole: &Trace) -> Result<(), String> {
        let path = &played.trace.path;
        self.kills += 1;
        self.slowest = self.slowest.max(played.recovery);
        self.seen.extend(path);
        if played.trace.finished {
            return Ok(());
        }
        self.killed.extend(path.last());
        match death {
            Death::Asleep(_) => self.asleep += 1,
            Death::After(instructions) if whole.path.starts_with(path) => {
                self.alike += 1;
                let (before, progress) = self.last;
                if played.progress < progress {
                    return Err(format!(
                        "after {before} instructions the operation had come as far as {progress}, \
                         after {instructions} as far as {}",
                        played.progress
                    ));
                }
                if played.progress > progress {
                    self.effects.push(format!("{before}..{instructions}"));
                }
                self.last = (instructions, played.progress);
            }
            Death::After(_) => {}
        }
        Ok(())
    }

    fn say(&self, name: &str, whole: &Trace) {
        let Self { kills, asleep, alike, slowest, .. } = self;
        let said = format!(
            "{name}: {} instructions; {kills} kills, {asleep} of them asleep, {alike} on the same path, at {} of {} \
             addresses; takes effect within {:?}; all survivors finished, the last {slowest:.1?} after the kill",
            whole.path.len(),
            self.killed.len(),
            self.seen.len(),
            self.effects,
        );
        // A test without stderr has nobody to tell.
        drop(writeln!(std::io::stderr(), "\n{said}"));
    }
}
