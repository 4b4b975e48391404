//! A copy of a mebibyte to another place in the same process: what any message of that size has to pay once.

use crate::alone::alone;
use crate::case::{Plan, Side};
use crate::error::Result;
use crate::ours::pipe::MEBIBYTE;
use std::hint::black_box;

/// Copies per second.
pub(crate) fn mebibytes<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    let (from, mut to) = (vec![1_u8; MEBIBYTE], vec![0_u8; MEBIBYTE]);
    let mut copies = alone(plan, move || {
        black_box(&mut to).copy_from_slice(black_box(&from));
        Ok(())
    })?;
    Ok(Box::new(move || Ok(copies()?.into_iter().map(|nanos| 1e9 / nanos).collect())))
}
