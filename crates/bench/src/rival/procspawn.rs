//! `procspawn`: functions in processes of their own, over `ipc-channel`.

use crate::error::{Context, Result};
use crate::start::timed;
use std::time::Duration;

/// In `main`, before anything else: its children are this executable once more.
pub(crate) fn init() {
    procspawn::init();
}

/// A process that does nothing, and its join.
pub(crate) fn spawn() -> Result<Duration> {
    timed(|| procspawn::spawn((), |()| ()).join().context("procspawn"))
}
