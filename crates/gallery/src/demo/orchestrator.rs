//! A system of three components, whose states are named events.
//!
//! Whoever knows a name, `database.Ready`, can wait for that state: no handle is passed on, and nobody has to be
//! there already. An event stays set once its component has come into that state, so that no state can be missed,
//! however short it was.
//!
//! The web component asks the cache for pages, which asks the database for those that it does not know. The parent is
//! the orchestrator: it starts the components, waits until all are ready, lets them process, sees the cache fail,
//! because it is full, and shuts the system down.

use crate::shown::{Done, failed, introduce, must_hold, say};
use procession::{Event, EventError, OpenError, Queue, Team, wait};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Three components go through states that are named events: all ready, processing, an error, shutdown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Steps of some milliseconds instead of half a second.
    #[arg(long)]
    quick: bool,
}

const COMPONENTS: [&str; 3] = ["database", "cache", "web"];
/// The pages that visitors ask for; the last one finds no room in the cache.
const VISITS: [u32; 6] = [1, 2, 1, 3, 2, 4];
const ROOM: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Initializing,
    Ready,
    Processing,
    Error,
    Shutdown,
}

use State::{Initializing, Processing, Ready, Shutdown};

/// The event that is set once `who` has come into this state. Whoever asks first creates it.
fn event(who: &str, state: State) -> Result<Event, OpenError> {
    Event::open_or_create(&format!("{who}.{state:?}"))
}

/// Whether `who` has come into this state before the timeout.
fn wait_for_state(who: &str, state: State, timeout: Duration) -> Result<bool, Failure> {
    match event(who, state)?.wait_timeout(timeout) {
        Err(EventError::TimedOut { .. }) => Ok(false),
        waited => Ok(waited.map(|()| true)?),
    }
}

/// A component, or the system as a whole.
struct Part {
    name: String,
    /// The transitions of all, in the order in which they happened.
    log: Queue<(String, State)>,
}

impl Part {
    fn new(name: &str) -> Result<Self, OpenError> {
        Ok(Self { name: name.to_owned(), log: queue("transitions")? })
    }

    fn enter(&self, state: State) -> Done<()> {
        say(format_args!("{}: {state:?}", self.name));
        self.log.put(&(self.name.clone(), state))?;
        event(&self.name, state)?.set();
        Ok(())
    }
}

/// The queue of this name. Whoever asks first creates it.
fn queue<T: Serialize + DeserializeOwned>(name: &str) -> Result<Queue<T>, OpenError> {
    Queue::open_or_create(name)
}

/// What comes next through a queue; `None` once the system shuts down.
fn next<T: Serialize + DeserializeOwned>(queue: &Queue<T>) -> Done<Option<T>> {
    let shutdown = event("system", Shutdown)?;
    wait(&[&shutdown, queue])?;
    Ok(if shutdown.is_set() { None } else { Some(queue.get()?) })
}

/// Runs in a process of its own: goes through the states, and does its work in between; how much that was.
fn component(name: String, step: Duration) -> Done<usize> {
    let me = Part::new(&name)?;
    me.enter(Initializing)?;
    std::thread::sleep(step);
    me.enter(Ready)?;
    event("system", Processing)?.wait()?;
    me.enter(Processing)?;
    let done = match me.name.as_str() {
        "database" => database()?,
        "cache" => cache(&me)?,
        _ => web(step)?,
    };
    event("system", Shutdown)?.wait()?;
    me.enter(Shutdown)?;
    Ok(done)
}

fn database() -> Done<usize> {
    let (asked, found) = (queue::<u32>("asked")?, queue::<String>("found")?);
    let mut answers = 0;
    while let Some(page) = next(&asked)? {
        say(format_args!("database: reads page {page}"));
        found.put(&format!("the text of page {page}"))?;
        answers += 1;
    }
    Ok(answers)
}

fn cache(me: &Part) -> Done<usize> {
    let (wanted, served) = (queue::<u32>("wanted")?, queue::<String>("served")?);
    let (asked, found) = (queue::<u32>("asked")?, queue::<String>("found")?);
    let (mut known, mut answers) = (BTreeMap::new(), 0);
    while let Some(page) = next(&wanted)? {
        if !known.contains_key(&page) {
            if known.len() == ROOM {
                me.enter(State::Error)?;
                break;
            }
            asked.put(&page)?;
            let Some(text) = next(&found)? else { break };
            known.insert(page, text);
        }
        served.put(&known[&page])?;
        answers += 1;
    }
    Ok(answers)
}

fn web(step: Duration) -> Done<usize> {
    let (wanted, served) = (queue::<u32>("wanted")?, queue::<String>("served")?);
    let mut shown = 0;
    for page in VISITS {
        wanted.put(&page)?;
        let Some(text) = next(&served)? else { break };
        say(format_args!("web: a visitor reads {text}"));
        shown += 1;
        std::thread::sleep(step / 4);
    }
    Ok(shown)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let step = Duration::from_millis(if args.quick { 10 } else { 500 });
    let system = Part::new("system")?;
    let enter = |state| system.enter(state).map_err(failed);
    enter(Initializing)?;
    must_hold(!wait_for_state("database", Ready, step)?, "a component is ready that was never started")?;
    output::line(format_args!("database is not ready after {} ms: it was not started", step.as_millis()))?;

    let mut team = Team::new();
    for name in COMPONENTS {
        team.spawn_fallible(name, component, (name.to_owned(), step))?;
    }
    introduce(&team)?;
    for name in COMPONENTS {
        team.wait_for(&event(name, Ready)?)?;
    }
    enter(Ready)?;
    enter(Processing)?;
    team.wait_for(&event("cache", State::Error)?)?;
    enter(State::Error)?;
    enter(Shutdown)?;
    must_hold(team.join()? == [3, 5, 5], "a page was not read, kept or shown as often as it must be")?;
    check(&system.log)?;
    output::line("transitions in order, clean shutdown: all right")
}

fn check(log: &Queue<(String, State)>) -> Result<(), Failure> {
    let transitions = (0..log.len()).map(|_| log.get()).collect::<Result<Vec<_>, _>>()?;
    let of = |name: &str| -> Vec<State> {
        transitions.iter().filter(|(who, _)| who == name).map(|(_, state)| *state).collect()
    };
    let when = |name: &str, state: State| transitions.iter().position(|it| *it == (name.to_owned(), state));
    let with_error = [Initializing, Ready, Processing, State::Error, Shutdown];
    let without = [Initializing, Ready, Processing, Shutdown];
    must_hold(of("system") == with_error, "the system is in another order")?;
    for name in COMPONENTS {
        let expected: &[State] = if name == "cache" { &with_error } else { &without };
        must_hold(of(name) == expected, "a component's states are in another order")?;
        must_hold(when(name, Ready) < when("system", Ready), "the system was ready before a component")?;
        must_hold(when("system", Processing) < when(name, Processing), "a component began too early")?;
        must_hold(when("system", Shutdown) < when(name, Shutdown), "a component left too early")?;
    }
    must_hold(when("cache", State::Error) < when("system", State::Error), "the error came from nowhere")
}
