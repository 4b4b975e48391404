//! The check at the end of a demo.

use procession_terminal::exit::Failure;

pub(crate) fn must_hold(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Wrong(format!("this must not happen: {otherwise}"))) }
}
