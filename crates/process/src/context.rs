//! Contexts: a start method, and what is done before processes are started by it.

use crate::entry::{EntryRef, must_carry_nothing, rebuild, type_hash};
use crate::error::SpawnError;
use crate::function::Function;
use crate::method::StartMethod;
use crate::remote::{Failure, RemoteError};
use std::any::type_name;

/// How processes are started: a [`StartMethod`], and what the forkserver runs first. Libraries take one where
/// their users are to choose; it is `Copy`, and can be kept in a static.
///
/// Of equal contexts there is one forkserver.
///
/// ```
/// use procession::{Context, StartMethod};
/// use std::sync::OnceLock;
///
/// static MODEL: OnceLock<Vec<u64>> = OnceLock::new();
///
/// /// What takes long, and what every process needs.
/// fn load() {
///     MODEL.get_or_init(|| (0..1000).map(|n| n * n).collect());
/// }
///
/// fn look_up(n: usize) -> Option<u64> {
///     MODEL.get()?.get(n).copied()
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let context = Context::new(StartMethod::Forkserver).preload(load);
///     for n in 0..3 {
///         let child = context.process().name("reader").spawn(look_up, n)?;
///         assert_eq!(child.join()?, Some((n * n) as u64));
///     }
///     // It is loaded in the server, and not here.
///     assert!(MODEL.get().is_none());
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    method: StartMethod,
    preload: Option<Preload>,
}

impl Context {
    /// Processes started by `method`.
    #[must_use]
    pub const fn new(method: StartMethod) -> Self {
        Self { method, preload: None }
    }

    /// Has the forkserver run `f` once, before the first process is copied from it: what it leaves in memory,
    /// in a static for example, every process finds there. It has no effect on processes that are started
    /// otherwise.
    ///
    /// A panic in `f`, or its death, is an error of each start, [`SpawnError::Forkserver`]; each start tries
    /// anew. `f` may leave no thread behind, and start no processes.
    #[must_use]
    pub fn preload<F: Function<(), fn(), Output = ()>>(self, f: F) -> Self {
        const { must_carry_nothing::<F>() };
        let _ = f;
        Self { preload: Some(Preload::of::<F>(run::<F>)), ..self }
    }

    /// As [`preload`](Self::preload), for a function that may return an error of any kind. The error is an
    /// error of each start, with its causes.
    #[must_use]
    pub fn preload_fallible<F, E, N>(self, f: F) -> Self
    where
        F: Function<(), fn() -> Result<(), E>, Output = Result<(), E>>,
        E: Failure<N>,
    {
        const { must_carry_nothing::<F>() };
        let _ = f;
        Self { preload: Some(Preload::of::<F>(run_fallible::<F, E, N>)), ..self }
    }

    /// The start method.
    #[must_use]
    pub fn start_method(&self) -> StartMethod {
        self.method
    }

    pub(crate) fn preloads(&self) -> Option<Preload> {
        self.preload
    }
}

impl From<StartMethod> for Context {
    fn from(method: StartMethod) -> Self {
        Self::new(method)
    }
}

/// The function that a forkserver runs first, given the hash of its own type.
pub(crate) type PreloadEntry = fn(u64) -> Result<(), PreloadFailure>;

/// Why a forkserver has not run the function.
pub(crate) enum PreloadFailure {
    /// It returned an error.
    Failed(RemoteError),
    /// The function at that place is another one.
    OtherTypes,
}

/// Which function it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preload {
    pub(crate) function: &'static str,
    hash: u64,
    entry: PreloadEntry,
    make: fn(PreloadEntry) -> Result<EntryRef<PreloadEntry>, SpawnError>,
}

impl PartialEq for Preload {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Preload {}

impl Preload {
    fn of<F: 'static>(entry: PreloadEntry) -> Self {
        let (function, hash) = (type_name::<F>(), type_hash::<F, (), ()>());
        Self { function, hash, entry, make: EntryRef::new::<F, (), ()> }
    }

    /// Its place in the executable.
    pub(crate) fn entry(&self) -> Result<EntryRef<PreloadEntry>, SpawnError> {
        (self.make)(self.entry)
    }
}

fn run<F: Function<(), fn(), Output = ()>>(hash: u64) -> Result<(), PreloadFailure> {
    function_of::<F>(hash)?.call(());
    Ok(())
}

fn run_fallible<F, E, N>(hash: u64) -> Result<(), PreloadFailure>
where
    F: Function<(), fn() -> Result<(), E>, Output = Result<(), E>>,
    E: Failure<N>,
{
    function_of::<F>(hash)?.call(()).map_err(|error| PreloadFailure::Failed(error.into_remote()))
}

fn function_of<F: Copy + 'static>(hash: u64) -> Result<F, PreloadFailure> {
    // Functions of identical code may lie at one place.
    if hash == type_hash::<F, (), ()>() { Ok(rebuild::<F>()) } else { Err(PreloadFailure::OtherTypes) }
}

#[cfg(test)]
mod tests {
    use super::Context;
    use crate::method::StartMethod;

    #[test]
    fn contexts_are_equal_whose_functions_are() {
        fn one() {}
        fn other() {}
        let context = |method| Context::new(method);
        assert_eq!(Context::default(), StartMethod::Spawn.into());
        assert_ne!(context(StartMethod::Fork), context(StartMethod::Spawn));
        let server = context(StartMethod::Forkserver);
        assert_eq!(server.preload(one), server.preload(one));
        assert_ne!(server.preload(one), server.preload(other));
        assert_ne!(server.preload(one), server);
        assert_eq!(StartMethod::ALL.map(|one| one.to_string()), ["spawn", "forkserver", "fork"]);
    }
}
