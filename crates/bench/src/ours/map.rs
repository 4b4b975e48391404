//! Our `Map`, from numbers to values of 64 bytes.

use crate::alone::alone;
use crate::case::{Plan, Side};
use crate::error::{BenchError, Context, Result};
use procession::{Bytes, Map};
use std::hint::black_box;

/// As many as in `map.py`.
const KEYS: u64 = 10_000;

/// One key after the other is looked up; ns.
pub(crate) fn get<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    let map = create(plan)?;
    let mut key = 0;
    alone(plan, move || {
        key = (key + 7) % KEYS;
        let value = black_box(&map).get(&key).context("get")?;
        if value.is_some_and(|value| black_box(value).len() == 64) {
            Ok(())
        } else {
            Err(BenchError::Failed(format!("no value of {key}")))
        }
    })
}

/// One key after the other gets a new value; ns.
pub(crate) fn insert<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    let map = create(plan)?;
    let (mut key, mut value) = (0, Bytes::from(vec![0; 64]));
    alone(plan, move || {
        key = (key + 7) % KEYS;
        value[0] = key as u8;
        black_box(black_box(&map).insert(&key, &value).context("insert")?);
        Ok(())
    })
}

fn create(plan: &Plan<'_>) -> Result<Map<u64, Bytes>> {
    let map = create!(Map::<u64, Bytes>, plan.session, &plan.session.fresh_name("map"))?;
    for key in 0..KEYS {
        map.insert(&key, &Bytes::from(vec![0; 64])).context("insert")?;
    }
    Ok(map)
}
