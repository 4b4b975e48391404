//! A copy to another place in the same process: what any message of that size has to pay once.

use crate::alone::alone_from;
use crate::case::{Plan, Side};
use crate::error::Result;
use crate::ours::pipe::MEBIBYTE;
use std::hint::black_box;

/// Copies of a mebibyte per second.
pub(crate) fn mebibytes<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    copies(plan, MEBIBYTE)
}

/// Copies of so many bytes per second.
pub(crate) fn copies<'a>(plan: &Plan<'_>, bytes: usize) -> Result<Side<'a>> {
    let (from, mut to) = (vec![1_u8; bytes], vec![0_u8; bytes]);
    // Few of the large ones are enough; a round still copies some megabytes.
    let each = (MEBIBYTE / bytes.max(1)).clamp(1, 1_000) as u64;
    let mut copies = alone_from(plan, each, move || {
        black_box(&mut to).copy_from_slice(black_box(&from));
        Ok(())
    })?;
    Ok(Box::new(move || Ok(copies()?.into_iter().map(|nanos| 1e9 / nanos).collect())))
}
