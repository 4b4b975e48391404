//! A mebibyte through the codec, in one process and without a queue: what a message of that size pays besides
//! being copied into shared memory and out of it.

use super::pipe::MEBIBYTE;
use crate::alone::alone;
use crate::case::{Plan, Side};
use crate::error::{Context, Result};
use procession::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::hint::black_box;

/// A message of the user's with a vector in it.
#[derive(Serialize, Deserialize)]
struct Frame<B> {
    number: u64,
    name: String,
    bytes: B,
}

fn frame<B: From<Vec<u8>>>() -> Frame<B> {
    Frame { number: 7, name: "seven".to_owned(), bytes: B::from(vec![1; MEBIBYTE]) }
}

fn encoding<'a, T: Serialize + 'a>(plan: &Plan<'_>, value: T) -> Result<Side<'a>> {
    let mut bytes = Vec::new();
    per_second(plan, move || {
        bytes.clear();
        codec::encode(black_box(&value), &mut bytes).context("encode")?;
        black_box(&bytes);
        Ok(())
    })
}

fn decoding<'a, T: Serialize + DeserializeOwned>(plan: &Plan<'_>, value: T) -> Result<Side<'a>> {
    let mut bytes = Vec::new();
    codec::encode(&value, &mut bytes).context("encode")?;
    per_second(plan, move || {
        let value: T = codec::decode(black_box(&bytes)).context("decode")?;
        black_box(value);
        Ok(())
    })
}

fn per_second<'a>(plan: &Plan<'_>, operation: impl FnMut() -> Result<()> + 'a) -> Result<Side<'a>> {
    let mut each = alone(plan, operation)?;
    Ok(Box::new(move || Ok(each()?.into_iter().map(|nanos| 1e9 / nanos).collect())))
}

pub(crate) fn encode_vec<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    encoding(plan, vec![1_u8; MEBIBYTE])
}

pub(crate) fn decode_vec<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    decoding(plan, vec![1_u8; MEBIBYTE])
}

pub(crate) fn encode_struct<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    encoding(plan, frame::<Vec<u8>>())
}

pub(crate) fn decode_struct<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    decoding(plan, frame::<Vec<u8>>())
}

/// The bytes are behind a type that serde shows one by one.
pub(crate) fn encode_one_by_one<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    encoding(plan, frame::<VecDeque<u8>>())
}

/// What is in an `Option` serde does not show.
pub(crate) fn decode_one_by_one<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    decoding(plan, frame::<Option<Vec<u8>>>())
}

/// A mebibyte of pairs, as they are written.
fn pairs() -> Vec<(u32, u8)> {
    vec![(1, 2); MEBIBYTE / 5]
}

pub(crate) fn encode_pairs<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    encoding(plan, pairs())
}

pub(crate) fn decode_pairs<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    decoding(plan, pairs())
}
