//! Our `Value`, of 64 bytes.

use super::Session;
use crate::alone::alone;
use crate::case::{Plan, Side};
use crate::error::{Context, Result};
use procession::Value;
use std::hint::black_box;

type Bytes64 = [u64; 8];

/// A copy of the value; ns.
pub(crate) fn get<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    let value = create(plan.session)?;
    alone(plan, move || {
        black_box(black_box(&value).get().context("get")?);
        Ok(())
    })
}

/// One number of eight changed; ns.
pub(crate) fn update<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    let value = create(plan.session)?;
    alone(plan, move || black_box(&value).update(|numbers| numbers[0] += 1).context("update"))
}

fn create(session: &Session) -> Result<Value<Bytes64>> {
    create!(Value::<Bytes64>, session, &session.fresh_name("value"))
}
