//! A system of three components, whose states are named events.
//!
//! Whoever knows a name, `database.Ready`, can ask for that state or wait for it: no handle is passed on, and
//! nobody has to be there already. An event stays set while its component is in that state. The parent is the
//! orchestrator: it starts the components, waits until all are ready, lets them process, sees one fail, and
//! shuts the system down.

use crate::check::must_hold;
use crate::workers::{Done, introduce, join_all, say, until};
use procession::{Event, EventError, OpenError, Process, Queue};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Three components go through states that are named events: all ready, processing, an error, shutdown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Steps of some milliseconds instead of half a second.
    #[arg(long)]
    quick: bool,
}

const COMPONENTS: [&str; 3] = ["database", "cache", "web"];
/// The one that will fail.
const FAILING: &str = "cache";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Initializing,
    Ready,
    Processing,
    Error,
    Shutdown,
}

use State::{Initializing, Processing, Ready, Shutdown};

/// The event that is set while `who` is in this state. Whoever asks first creates it.
fn event(who: &str, state: State) -> Result<Event, OpenError> {
    Event::open_or_create(&format!("{who}.{state:?}"))
}

/// Whether `who` comes into this state before the timeout.
fn wait_for_state(who: &str, state: State, timeout: Duration) -> Done<bool> {
    match event(who, state)?.wait_timeout(timeout) {
        Ok(()) => Ok(true),
        Err(EventError::TimedOut { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A component, or the system as a whole, and where it is.
struct Part {
    name: String,
    state: State,
    /// The transitions of all, in the order in which they happened.
    log: Queue<(String, State)>,
}

impl Part {
    fn new(name: &str) -> Done<Self> {
        let log = Queue::open_or_create("transitions")?;
        let mut part = Self { name: name.to_owned(), state: Initializing, log };
        part.enter(Initializing)?;
        Ok(part)
    }

    fn enter(&mut self, state: State) -> Done<()> {
        say(format_args!("{}: {state:?}", self.name));
        self.log.put(&(self.name.clone(), state))?;
        event(&self.name, self.state)?.clear();
        self.state = state;
        event(&self.name, state)?.set();
        Ok(())
    }
}

/// Runs in a process of its own.
fn component((name, step): (String, Duration)) -> Done<()> {
    let mut me = Part::new(&name)?;
    std::thread::sleep(step);
    me.enter(Ready)?;
    event("system", Processing)?.wait()?;
    me.enter(Processing)?;
    if name == FAILING {
        std::thread::sleep(step);
        me.enter(State::Error)?;
    }
    event("system", Shutdown)?.wait()?;
    me.enter(Shutdown)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let step = Duration::from_millis(if args.quick { 10 } else { 500 });
    let mut system = Part::new("system")?;
    must_hold(!wait_for_state("database", Ready, step)?, "a component is ready that was never started")?;
    output::line(format_args!("database is not ready after {} ms: it was not started", step.as_millis()))?;

    let start = |name: &str| Process::options().name(name).spawn(component, (name.to_owned(), step));
    let components: Result<Vec<_>, _> = COMPONENTS.into_iter().map(start).collect();
    let components = components?;
    introduce(&components)?;
    let all_in = |state: State| {
        COMPONENTS.into_iter().try_for_each(|name| {
            let reached = event(name, state)?;
            until(&components, &format!("{name} to be {state:?}"), |slice| {
                reached.wait_timeout(slice).is_ok()
            })
        })
    };
    all_in(Ready)?;
    system.enter(Ready)?;
    system.enter(Processing)?;
    let failed = event(FAILING, State::Error)?;
    until(&components, "the error", |slice| failed.wait_timeout(slice).is_ok())?;
    system.enter(State::Error)?;
    system.enter(Shutdown)?;
    all_in(Shutdown)?;
    join_all(components)?;
    check(&system.log)?;
    output::line("transitions in order, clean shutdown: all right")
}

fn check(log: &Queue<(String, State)>) -> Result<(), Failure> {
    let mut transitions = Vec::new();
    while !log.is_empty() {
        transitions.push(log.get()?);
    }
    let of = |name: &str| -> Vec<State> {
        transitions.iter().filter(|(who, _)| who == name).map(|(_, state)| *state).collect()
    };
    let when = |name: &str, state: State| transitions.iter().position(|it| *it == (name.to_owned(), state));
    must_hold(
        of("system") == [Initializing, Ready, Processing, State::Error, Shutdown],
        "the system is in another order",
    )?;
    for name in COMPONENTS {
        let expected: &[State] = if name == FAILING {
            &[Initializing, Ready, Processing, State::Error, Shutdown]
        } else {
            &[Initializing, Ready, Processing, Shutdown]
        };
        must_hold(of(name) == expected, "a component's states are in another order")?;
        must_hold(when(name, Ready) < when("system", Ready), "the system was ready before a component")?;
        must_hold(when("system", Processing) < when(name, Processing), "a component began too early")?;
        must_hold(when("system", Shutdown) < when(name, Shutdown), "a component left too early")?;
    }
    must_hold(when(FAILING, State::Error) < when("system", State::Error), "the error came from nowhere")
}
