//! Functions by their place in the executable.
//!
//! A function crosses to another process of the same build as the distance of its code from the image's base. What
//! is shipped is never the user's function itself but a function of ours, monomorphised for it, which rebuilds the
//! user's zero-sized function value from nothing.
//!
//! # What keeps a wrong number from being called
//! The receiver compares the build's identity before it looks at an offset, the offset must lie in the executable's
//! code, and the function called compares a hash of the types it was made for with the hash in the message before
//! it does anything (identical code may be merged, so one address can belong to several functions).
#![expect(unsafe_code, reason = "a function is rebuilt from its place in the executable")]

use crate::error::SpawnError;
use crate::pool::Runner;
use crate::report::Outcome;
use crate::task::{Header, Task};
use procession_sys::image::Image;
use serde::{Deserialize, Serialize};
use std::any::{TypeId, type_name};
use std::hash::{Hash, Hasher};
use std::ptr::NonNull;

/// A function of this executable, as another process of the same build can find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryRef {
    /// Distance from the image's base.
    pub(crate) offset: u64,
    /// What [`type_hash`] said of the types the function was made for.
    pub(crate) hash: u64,
}

impl EntryRef {
    /// The reference to `function`, which was made for the types that `hash` stands for.
    ///
    /// # Errors
    /// [`SpawnError::NotInExecutable`] for a function in a shared library.
    pub(crate) fn new(function: *const (), hash: u64) -> Result<Self, SpawnError> {
        Ok(Self { offset: offset_of(function)?, hash })
    }
}

/// Where `function` lies in the executable.
///
/// # Errors
/// [`SpawnError::NotInExecutable`] for a function in a shared library.
pub(crate) fn offset_of(function: *const ()) -> Result<u64, SpawnError> {
    Image::current().offset_of(function.expose_provenance()).ok_or(SpawnError::NotInExecutable)
}

/// The function at `offset` in the executable; `None` where the executable has no code.
///
/// # Safety
/// `Fp` is a `fn` pointer type, and `offset` was made by [`offset_of`] from a function of exactly that type, in a
/// process that runs the same build as this one.
pub(crate) unsafe fn function_at<Fp: Copy>(offset: u64) -> Option<Fp> {
    const { assert!(size_of::<Fp>() == size_of::<*const ()>(), "function_at makes fn pointers only") };
    let address = Image::current().address_at(offset)?;
    let pointer = std::ptr::with_exposed_provenance::<()>(address);
    // SAFETY: both are one pointer wide, and the caller says that a function of this type is there.
    Some(unsafe { std::mem::transmute_copy::<*const (), Fp>(&pointer) })
}

/// What a child runs: decodes the arguments, calls the user's function, encodes the result.
pub(crate) type ProcessEntry = fn(Task) -> Outcome;

/// The function that a task names, if the task was made by this very build.
///
/// # Errors
/// A sentence for the parent: another build, or no code at that place.
pub(crate) fn of_task(header: &Header) -> Result<ProcessEntry, String> {
    let identity =
        Image::current().identity().map_err(|error| format!("its own executable is unreadable: {error}"))?;
    if identity != header.image {
        return Err("it is another build of the program than its parent".to_owned());
    }
    // SAFETY: a task's offset is made by `ProcessBuilder::spawn` alone, from a `ProcessEntry`; the sealed file it came in
    // was inherited from a process of this build, as was just compared.
    unsafe { function_at::<ProcessEntry>(header.entry.offset) }
        .ok_or_else(|| format!("there is no code at offset {:#x} of the executable", header.entry.offset))
}

/// What a worker of a pool turns a job into: the types it was made for, and the encoded state, into a runner.
pub(crate) type JobEntry = fn(u64, &[u8]) -> Result<Box<dyn Runner>, String>;

/// The function that a job names; the job came from the pool that started this worker, so from this very build.
///
/// # Errors
/// A sentence for the pool: no code at that place.
pub(crate) fn of_job(entry: EntryRef) -> Result<JobEntry, String> {
    // SAFETY: a job's offset is made by the pool alone, from a `JobEntry`, and the pool's process started this one after
    // comparing builds.
    unsafe { function_at::<JobEntry>(entry.offset) }
        .ok_or_else(|| format!("there is no code at offset {:#x} of the executable", entry.offset))
}

/// Fails the build for a function that has data.
pub(crate) const fn must_carry_nothing<F>() {
    assert!(
        size_of::<F>() == 0,
        "this function carries data, which cannot cross to another process. A closure that captures \
         something: pass what it captures as an argument (or use map_with(state, f, items)). \
         A `fn` pointer: wrap the function it points to in a closure, as in |x| f(x)"
    );
}

/// The value of a function type that has only one: every `fn` item and every closure that captures nothing.
pub(crate) fn rebuild<F: Copy + 'static>() -> F {
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: `F` has no bytes, so a dangling, aligned pointer is valid for reading it. `F` is inhabited and `Copy`:
    // our callers only come here after a value of this type was handed in, in the process that made the reference.
    unsafe { NonNull::<F>::dangling().read() }
}

/// A number for the function type `F` with its argument and result, the same in every process of one build.
pub(crate) fn type_hash<F: 'static, A, R>() -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    type_name::<(F, A, R)>().hash(&mut hasher);
    // Two closures of one function have the same name.
    TypeId::of::<F>().hash(&mut hasher);
    hasher.finish()
}

/// FNV-1a: std's hashers promise nothing between processes.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{function_at, offset_of, rebuild, type_hash};

    static NOT_CODE: u64 = 7;

    fn double(n: u32) -> u32 {
        n * 2
    }

    fn hash_of<F: Fn(u32) -> u32 + 'static>(_: F) -> u64 {
        type_hash::<F, u32, u32>()
    }

    fn call_rebuilt<F: Fn(u32) -> u32 + Copy + 'static>(_: F, n: u32) -> u32 {
        rebuild::<F>()(n)
    }

    #[test]
    fn a_function_is_found_again() {
        let offset = offset_of(double as fn(u32) -> u32 as *const ()).unwrap();
        // SAFETY: the offset is that of `double`, in this very process.
        let found = unsafe { function_at::<fn(u32) -> u32>(offset) }.unwrap();
        assert_eq!(found(21), 42);
    }

    #[test]
    fn what_is_no_code_of_ours_is_refused() {
        assert!(offset_of((&raw const NOT_CODE).cast()).is_err());
        assert!(offset_of(std::ptr::null()).is_err());
        // SAFETY: nothing is called.
        assert!(unsafe { function_at::<fn(u32) -> u32>(u64::MAX) }.is_none());
    }

    #[test]
    fn function_values_are_rebuilt() {
        assert_eq!(call_rebuilt(double, 4), 8);
        assert_eq!(call_rebuilt(|n| n + 1, 4), 5);
    }

    #[test]
    fn closures_with_the_same_name_have_different_hashes() {
        assert_ne!(hash_of(|n| n + 1), hash_of(|n| n + 1));
        assert_eq!(hash_of(double), hash_of(double));
    }
}
