//! Functions that processes of other hosts call, of the same build: for the crate `procession-cluster`, and not for people.
//!
//! A function crosses as everywhere, by its place in the executable; who made the reference is not a parent here, so the
//! build is in the message. Only a build id says that two executables on different hosts are the same.

use crate::crossing::Crossing;
use crate::entry::{EntryRef, SameBuild, must_carry_nothing, rebuild, type_hash};
use crate::error::in_full;
use crate::function::Function;
use crate::panic;
use procession_channel::{Parcel, codec};
use procession_shm::carrying;
use procession_sys::image::Image;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What calls the function: from the hash of its types and its encoded arguments, to its encoded result.
type FarEntry = fn(u64, &[u8]) -> Result<Vec<u8>, String>;

/// A function of this program, for a process of another host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FarFunction {
    build: Vec<u8>,
    entry: EntryRef<FarEntry>,
    path: String,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FarOutcome {
    /// It has returned this.
    Returned(Vec<u8>),
    /// It has not returned: a sentence.
    Failed(String),
}

/// What is the same on all hosts that run this build.
///
/// # Errors
/// A sentence for people: the executable has no build id.
pub fn build() -> Result<Vec<u8>, String> {
    let identity = Image::current().identity().map_err(|error| error.to_string())?;
    if identity.starts_with(b"build-id:") {
        return Ok(identity);
    }
    Err("this program has no build id, by which other hosts would know that theirs is the same: have the linker add one \
         (RUSTFLAGS=\"-C link-arg=-Wl,--build-id\")"
        .to_owned())
}

/// Encodes what crosses to another host: nothing that is in the memory of this one.
///
/// # Errors
/// A sentence for people.
pub fn encode<T: Serialize + 'static>(value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let ((encoded, ends), handles) = carrying(|| Parcel::of_encoding(|| codec::encode(value, &mut bytes)));
    encoded.map_err(|error| in_full(&error))?;
    if !handles.is_empty() || !ends.is_empty() {
        return Err("there is an object in it that lies in the memory of this host, or an end of a pipe, which does not \
                    cross to another host"
            .to_owned());
    }
    Ok(bytes)
}

/// Decodes what has crossed.
///
/// # Errors
/// A sentence for people.
pub fn decode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    codec::decode(bytes).map_err(|error| in_full(&error))
}

/// Has panics of functions told with their place.
pub fn watch_panics() {
    panic::watch();
}

impl FarFunction {
    /// That function.
    ///
    /// # Errors
    /// A sentence for people: there is no build id, or the function is in a shared library.
    pub fn new<F, A, M>(f: F) -> Result<Self, String>
    where
        F: Function<A, M, Output: Crossing + 'static>,
        A: Crossing + 'static,
        M: 'static,
    {
        const { must_carry_nothing::<F>() };
        // `f` has no bytes: its type says everything about it.
        let _ = f;
        let entry = EntryRef::new::<F, A, F::Output>(call::<F, A, M> as FarEntry);
        let entry = entry.map_err(|error| in_full(&error))?;
        Ok(Self { build: build()?, entry, path: type_name::<F>().to_owned() })
    }

    /// Its path in the program's source.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Calls it with encoded arguments. A panic is an outcome.
    #[must_use]
    pub fn call(&self, arguments: &[u8]) -> FarOutcome {
        let called = catch_unwind(AssertUnwindSafe(|| {
            let build = SameBuild::of_stranger(&self.build)?;
            self.entry.find(build)?(self.entry.hash, arguments)
        }));
        match called {
            Ok(Ok(result)) => FarOutcome::Returned(result),
            Ok(Err(reason)) => FarOutcome::Failed(reason),
            Err(payload) => {
                let panic = panic::describe(payload);
                let place = panic.location.map_or_else(String::new, |place| format!(" at {place}"));
                FarOutcome::Failed(format!("it panicked{place}: {}", panic.message))
            }
        }
    }
}

fn call<F, A, M>(hash: u64, arguments: &[u8]) -> Result<Vec<u8>, String>
where
    F: Function<A, M, Output: Crossing + 'static>,
    A: Crossing + 'static,
    M: 'static,
{
    if hash != type_hash::<F, A, F::Output>() {
        return Err("the function there has other types".to_owned());
    }
    let arguments =
        decode(arguments).map_err(|reason| format!("the arguments cannot be decoded: {reason}"))?;
    let result = rebuild::<F>().call(arguments);
    encode(&result).map_err(|reason| format!("the result cannot be encoded: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::{FarFunction, FarOutcome, decode, encode};

    fn divide(a: u32, b: u32) -> u32 {
        a / b
    }

    #[test]
    fn a_function_crosses_as_bytes_and_a_panic_is_an_outcome() {
        let sent = encode(&FarFunction::new::<_, (u32, u32), _>(divide).unwrap()).unwrap();
        let far: FarFunction = decode(&sent).unwrap();
        assert!(far.path().ends_with("divide"));
        let call = |a: u32, b: u32| far.call(&encode(&(a, b)).unwrap());
        let FarOutcome::Returned(result) = call(42, 6) else { panic!("it was to return") };
        assert_eq!(decode::<u32>(&result), Ok(7));
        assert!(matches!(call(1, 0), FarOutcome::Failed(reason) if reason.contains("divide by zero")));
        assert!(matches!(far.call(b""), FarOutcome::Failed(reason) if reason.contains("decoded")));
    }

    #[test]
    fn another_build_and_what_lies_in_this_hosts_memory_are_refused() {
        let mut far = FarFunction::new::<_, (u32, u32), _>(divide).unwrap();
        far.build.push(0);
        assert!(matches!(far.call(b""), FarOutcome::Failed(reason) if reason.contains("another build")));
        let queue: procession_channel::Queue<u32> = procession_channel::Queue::new().unwrap();
        assert!(encode(&queue).unwrap_err().contains("memory of this host"));
    }
}
