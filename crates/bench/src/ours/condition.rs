//! Our `Condition`, with the `Value` whose change it announces.

use super::Session;
use crate::error::{Context, Result};
use crate::meeting::{Meeting, Who};
use procession::{Condition, Value};

/// Whose turn it is, and the condition that tells of it.
pub(crate) struct Turns {
    turn: Value<u64>,
    changed: Condition,
    name: String,
}

impl Meeting for Turns {
    const ROLE: &'static str = "ours/condition";

    fn create(session: &Session) -> Result<Self> {
        let name = session.fresh_name("condition");
        let turn = create!(Value::<u64>, session, &turn_of(&name))?;
        let changed = create!(Condition, session, &name)?;
        Ok(Turns { turn, changed, name })
    }

    fn address(&self) -> String {
        self.name.clone()
    }

    fn open(address: &str) -> Result<Self> {
        let turn = Value::open(&turn_of(address)).context("open a value")?;
        let changed = Condition::open(address).context("open a condition")?;
        Ok(Turns { turn, changed, name: address.to_owned() })
    }

    fn signal(&self, me: Who) -> Result<()> {
        let mut turn = self.turn.acquire().context("acquire")?;
        *turn = me.other().index() as u64;
        self.changed.notify(1);
        Ok(())
    }

    fn wait(&self, me: Who) -> Result<()> {
        let turn = self.turn.acquire().context("acquire")?;
        self.changed.wait_for(turn, |&turn| turn == me.index() as u64).context("wait").map(drop)
    }
}

fn turn_of(name: &str) -> String {
    format!("{name}.turn")
}
