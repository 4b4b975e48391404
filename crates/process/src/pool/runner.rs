//! A job's function in a worker: found by its reference, and called with one item after the other.

use super::wire::Answer;
use crate::entry::{rebuild, type_hash};
use crate::error::in_full;
use crate::function::Function;
use procession_channel::{Parcel, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// A job's function with its state, ready to run items.
pub(crate) trait Runner {
    /// Runs one encoded item; appends the encoded result to `out`.
    ///
    /// # Errors
    /// Why the item could not be decoded ([`Answer::Undecodable`]) or the result not be encoded
    /// ([`Answer::Unencodable`]).
    fn run(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), (Answer, String)>;
}

/// The entry by which a worker makes a runner of a job: from the hash of its types, and its encoded state.
pub(crate) type JobEntry = fn(u64, &[u8]) -> Result<Box<dyn Runner>, String>;

/// The runner of a function to which an item is all of its arguments.
struct Plain<F, A, M>(F, PhantomData<fn(A) -> M>);

/// The runner of a function that also takes a state.
struct WithState<F, S, A, R>(F, S, PhantomData<fn(A) -> R>);

impl<F: Function<A, M, Output: Serialize + 'static>, A: DeserializeOwned + 'static, M> Runner
    for Plain<F, A, M>
{
    fn run(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), (Answer, String)> {
        run_item(item, out, |arguments| self.0.call(arguments))
    }
}

impl<F: Fn(&S, A) -> R, S, A: DeserializeOwned + 'static, R: Serialize + 'static> Runner
    for WithState<F, S, A, R>
{
    fn run(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), (Answer, String)> {
        run_item(item, out, |argument| (self.0)(&self.1, argument))
    }
}

fn run_item<A: DeserializeOwned + 'static, R: Serialize + 'static>(
    item: &[u8],
    out: &mut Vec<u8>,
    function: impl Fn(A) -> R,
) -> Result<(), (Answer, String)> {
    let argument = codec::decode(item).map_err(|error| (Answer::Undecodable, in_full(&error)))?;
    let result = function(argument);
    Parcel::encode_listed(out, |out| codec::encode(&result, out))
        .map_err(|error| (Answer::Unencodable, in_full(&error)))
}

/// The [`JobEntry`] of a function to which an item is all of its arguments.
pub(crate) fn plain_job<F, A, M>(hash: u64, _state: &[u8]) -> Result<Box<dyn Runner>, String>
where
    F: Function<A, M, Output: Serialize + 'static>,
    A: DeserializeOwned + 'static,
    M: 'static,
{
    must_be::<F, A, F::Output>(hash)?;
    Ok(Box::new(Plain::<F, A, M>(rebuild::<F>(), PhantomData)))
}

/// The [`JobEntry`] of a function that also takes a state.
pub(crate) fn job_with_state<F, S, A, R>(hash: u64, state: &[u8]) -> Result<Box<dyn Runner>, String>
where
    F: Fn(&S, A) -> R + Copy + 'static,
    S: DeserializeOwned + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    must_be::<F, (S, A), R>(hash)?;
    let state = codec::decode(state)
        .map_err(|error| format!("the worker cannot decode the state: {}", in_full(&error)))?;
    Ok(Box::new(WithState(rebuild::<F>(), state, PhantomData)))
}

fn must_be<F: 'static, A, R>(hash: u64) -> Result<(), String> {
    if hash == type_hash::<F, A, R>() { Ok(()) } else { Err("the function there has other types".to_owned()) }
}
