//! The function that each worker of a pool runs once, before its first item.

use super::batch::Cargo;
use super::error::PoolError;
use crate::crossing::Crossing;
use crate::entry::{EntryRef, SameBuild, must_carry_nothing, rebuild, type_hash};
use crate::error::in_full;
use crate::function::Function;
use crate::remote::{Failure, RemoteError};
use procession_channel::codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::type_name;
use std::sync::Arc;

/// What an initializer may return: nothing, or a `Result<(), E>` with any error that
/// [`Process::spawn_fallible`](crate::Process::spawn_fallible) takes, too.
///
/// `M` is found out by the compiler and says nothing.
#[diagnostic::on_unimplemented(
    message = "an initializer returns nothing, or a `Result<(), E>`, and no `{Self}`",
    note = "`E` is an error (`std::error::Error`), a `String`, a `Box<dyn Error>` or an `anyhow::Error`"
)]
pub trait Initialized<M> {
    /// The error as texts.
    #[doc(hidden)]
    fn into_outcome(self) -> Result<(), RemoteError>;
}

impl Initialized<()> for () {
    fn into_outcome(self) -> Result<(), RemoteError> {
        Ok(())
    }
}

impl<E: Failure<M>, M> Initialized<fn(M)> for Result<(), E> {
    fn into_outcome(self) -> Result<(), RemoteError> {
        self.map_err(Failure::into_remote)
    }
}

/// The function by which a worker calls the initializer: with the hash of its types, and the encoded
/// arguments.
type InitialEntry = fn(u64, &[u8]) -> Result<(), RemoteError>;

/// The call of the initializer, as it crosses to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InitialCall {
    entry: EntryRef<InitialEntry>,
    arguments: Vec<u8>,
}

impl InitialCall {
    /// Calls the initializer, in a worker.
    ///
    /// # Errors
    /// Its own, and why it cannot be called.
    pub(crate) fn run(&self) -> Result<(), RemoteError> {
        let build = SameBuild::as_compared();
        let found = build.ok_or_else(|| "this is no worker of a pool".to_owned());
        let entry = found.and_then(|build| self.entry.find(build)).map_err(refusal)?;
        entry(self.entry.hash, &self.arguments)
    }
}

/// An initializer with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Initializer {
    /// The path of the function.
    pub(crate) path: &'static str,
    /// What crosses, or why it cannot.
    call: Result<InitialCall, String>,
    /// The handles in the arguments, which every worker opens anew.
    _cargo: Arc<Cargo>,
}

impl Initializer {
    pub(crate) fn new<F, A, M, N>(f: F, arguments: &A) -> Self
    where
        F: Function<A, M, Output: Initialized<N>>,
        A: Crossing + 'static,
        M: 'static,
        N: 'static,
    {
        const { must_carry_nothing::<F>() };
        // `f` has no bytes: its type says everything about it.
        let _ = f;
        let mut bytes = Vec::new();
        let (encoded, cargo) = Cargo::of(|| codec::encode(arguments, &mut bytes));
        let entry = EntryRef::new::<F, A, F::Output>(call::<F, A, M, N> as InitialEntry);
        let encoded =
            encoded.map_err(|error| format!("its arguments cannot be encoded: {}", in_full(&error)));
        let call = encoded.and_then(|()| {
            let entry = entry.map_err(|error| in_full(&error))?;
            Ok(InitialCall { entry, arguments: bytes })
        });
        Self { path: type_name::<F>(), call, _cargo: Arc::new(cargo) }
    }

    /// What crosses to a worker.
    ///
    /// # Errors
    /// [`PoolError::Initializer`].
    pub(crate) fn call(&self) -> Result<InitialCall, PoolError> {
        let refused = |reason| PoolError::Initializer { function: self.path, reason };
        self.call.clone().map_err(refused)
    }
}

fn call<F, A, M, N>(hash: u64, arguments: &[u8]) -> Result<(), RemoteError>
where
    F: Function<A, M, Output: Initialized<N>>,
    A: DeserializeOwned,
{
    if hash != type_hash::<F, A, F::Output>() {
        return Err(refusal("the function there has other types".to_owned()));
    }
    let arguments = codec::decode::<A>(arguments)
        .map_err(|error| refusal(format!("its arguments cannot be decoded: {}", in_full(&error))))?;
    rebuild::<F>().call(arguments).into_outcome()
}

fn refusal(reason: String) -> RemoteError {
    RemoteError::from(vec![reason])
}
