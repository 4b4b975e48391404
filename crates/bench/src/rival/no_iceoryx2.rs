//! What there is of iceoryx2 in a bench that was built without it.

use crate::actor::Control;
use crate::error::{BenchError, Result};
use crate::queue::Kind;

pub(crate) const ICEORYX2: Kind = Kind {
    make: |_, _, _| Err(missing()),
    bytes: None,
    produce: "no such role",
    consume: "no such role",
    ping: "no such role",
    pong: "no such role",
};

pub(crate) const LOANS: Kind = ICEORYX2;

fn missing() -> BenchError {
    BenchError::Unavailable("not built in: cargo's --features iceoryx2".to_owned())
}

pub(crate) fn produce(_: &mut Control, _: &[String]) -> Result<()> {
    Err(missing())
}

pub(crate) fn consume(_: &mut Control, _: &[String]) -> Result<()> {
    Err(missing())
}

pub(crate) fn produce_loans(_: &mut Control, _: &[String]) -> Result<()> {
    Err(missing())
}

pub(crate) fn consume_loans(_: &mut Control, _: &[String]) -> Result<()> {
    Err(missing())
}
