//! Python's `multiprocessing.Pool`, driven through `pool.py`.

use crate::actor::Actor;
use crate::error::Result;
use crate::pool::{self, Pool};
use std::process::Command;
use std::time::Duration;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rival/pool.py");

pub(crate) struct Python(Actor);

impl Python {
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new("python3");
        command.arg(SCRIPT).arg(pool::workers().to_string());
        let mut actor = Actor::start("python3", command)?;
        actor.numbers::<0>("ready")?;
        Ok(Python(actor))
    }

    fn ask(&mut self, order: &str) -> Result<(Duration, u64)> {
        self.0.tell(order)?;
        let [took, sum] = self.0.numbers("took")?;
        Ok((Duration::from_nanos(took), sum))
    }
}

impl Pool for Python {
    fn map(&mut self, items: u64) -> Result<(Duration, u64)> {
        self.ask(&format!("map {items}"))
    }

    fn apply(&mut self, calls: u64) -> Result<(Duration, u64)> {
        self.ask(&format!("apply {calls}"))
    }
}
