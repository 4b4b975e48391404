//! Our `Queue`.

use super::{Session, not_built};
use crate::actor::Control;
use crate::error::Result;
use crate::queue::{Kind, Made};

pub(crate) const OURS: Kind =
    Kind { make, produce: "ours/produce", consume: "ours/consume", ping: "ours/ping", pong: "ours/pong" };

fn make(_session: &Session, _name: &str) -> Result<Made> {
    not_built()
}

pub(crate) fn produce(_control: &mut Control, _rest: &[String]) -> Result<()> {
    not_built()
}

pub(crate) fn consume(_control: &mut Control, _rest: &[String]) -> Result<()> {
    not_built()
}

pub(crate) fn ping(_control: &mut Control, _rest: &[String]) -> Result<()> {
    not_built()
}

pub(crate) fn pong(_control: &mut Control, _rest: &[String]) -> Result<()> {
    not_built()
}
