//! Our `Event`.

use super::Session;
use crate::alone::alone;
use crate::case::{Plan, Side};
use crate::error::{Context, Result, check};
use crate::meeting::{Meeting, Who};
use procession::Event;
use std::hint::black_box;

/// A look at an event that is set; ns.
pub(crate) fn is_set<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    let event = create!(Event, plan.session, &plan.session.fresh_name("event"))?;
    event.set();
    alone(plan, move || check("whether the event is set", black_box(&event).is_set().into(), 1))
}

/// An event for each direction; whoever was released clears it.
pub(crate) struct Events {
    signals: [Event; 2],
    name: String,
}

impl Meeting for Events {
    const ROLE: &'static str = "ours/event";

    fn create(session: &Session) -> Result<Self> {
        let name = session.fresh_name("event");
        let there = create!(Event, session, &name)?;
        let back = create!(Event, session, &back(&name))?;
        Ok(Events { signals: [there, back], name })
    }

    fn address(&self) -> String {
        self.name.clone()
    }

    fn open(address: &str) -> Result<Self> {
        let open = |name: &str| Event::open(name).context("open an event");
        Ok(Events { signals: [open(address)?, open(&back(address))?], name: address.to_owned() })
    }

    fn signal(&self, me: Who) -> Result<()> {
        self.signals[me.index()].set();
        Ok(())
    }

    fn wait(&self, me: Who) -> Result<()> {
        let event = &self.signals[me.other().index()];
        event.wait().context("wait")?;
        event.clear();
        Ok(())
    }
}

fn back(name: &str) -> String {
    format!("{name}.back")
}
