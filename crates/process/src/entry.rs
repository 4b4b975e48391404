//! Functions by their place in the executable.
//!
//! A function crosses to another process of the same build as the distance of its code from the image's base.
//! What is shipped is never the user's function itself but a function of ours, monomorphised for it, which
//! rebuilds the user's zero-sized function value from nothing.
//!
//! # What keeps a wrong number from being called
//! The receiver compares the build's identity before it looks at an offset, the offset must lie in the
//! executable's code, and the function called compares a hash of the types it was made for with the hash in
//! the message before it does anything (identical code may be merged, so one address can belong to several
//! functions).
#![expect(unsafe_code, reason = "a function is rebuilt from its place in the executable")]

use crate::error::SpawnError;
use procession_sys::image::Image;
use serde::{Deserialize, Serialize};
use std::any::{TypeId, type_name};
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

/// A function of this executable, as another process of the same build can find it: a `fn` pointer of type
/// `Fp`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct EntryRef<Fp> {
    /// Distance from the image's base.
    offset: u64,
    /// The [`type_hash`] of the types the function was made for.
    pub(crate) hash: u64,
    function: PhantomData<Fp>,
}

impl<Fp> Clone for EntryRef<Fp> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Fp> Copy for EntryRef<Fp> {}

impl<Fp: Copy> EntryRef<Fp> {
    /// The reference to `function`, which was made for `F`, its argument and its result.
    ///
    /// # Errors
    /// [`SpawnError::NotInExecutable`] for a function in a shared library.
    pub(crate) fn new<F: 'static, A, R>(function: Fp) -> Result<Self, SpawnError> {
        const { assert!(size_of::<Fp>() == size_of::<*const ()>(), "only fn pointers are referred to") };
        // SAFETY: both are one pointer wide, and any bytes of a `fn` pointer are a pointer.
        let address = unsafe { std::mem::transmute_copy::<Fp, *const ()>(&function) };
        let offset = offset_of(address).ok_or(SpawnError::NotInExecutable { function: type_name::<F>() })?;
        Ok(Self { offset, hash: type_hash::<F, A, R>(), function: PhantomData })
    }

    /// The function.
    ///
    /// # Errors
    /// A sentence for the other process: no code at that place.
    pub(crate) fn find(self, _: SameBuild) -> Result<Fp, String> {
        // SAFETY: a reference is made by `new` alone, from a function of type `Fp`, and comes to another
        // process only in a task and in a pool's orders, which are read as references of that type;
        // `SameBuild` says that the process that made it runs this build.
        unsafe { function_at::<Fp>(self.offset) }
            .ok_or_else(|| format!("there is no code at offset {:#x} of the executable", self.offset))
    }
}

/// Proof that the process which gives this one its work runs the same build of the program: it has the same
/// functions at the same places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SameBuild(());

static IS_SAME_BUILD: AtomicBool = AtomicBool::new(false);

impl SameBuild {
    /// Compares the [`identity`](Image::identity) of the parent's executable with that of this one.
    ///
    /// # Errors
    /// A sentence for the parent.
    pub(crate) fn compare(parent: &[u8]) -> Result<Self, String> {
        let same = Self::of_stranger(parent).map_err(|reason| format!("{reason} than its parent"))?;
        // Relaxed: nothing is published through the flag.
        IS_SAME_BUILD.store(true, Ordering::Relaxed);
        Ok(same)
    }

    /// Compares as [`compare`](Self::compare) does, with the executable of a process that is no parent.
    ///
    /// # Errors
    /// A sentence without an end: it is another build.
    pub(crate) fn of_stranger(other: &[u8]) -> Result<Self, String> {
        let identity = Image::current().identity();
        let identity = identity.map_err(|error| format!("its own executable is unreadable: {error}"))?;
        if identity == other { Ok(Self(())) } else { Err("it is another build of the program".to_owned()) }
    }

    /// The proof once more, in a child whose parent was compared before.
    pub(crate) fn as_compared() -> Option<Self> {
        IS_SAME_BUILD.load(Ordering::Relaxed).then_some(Self(()))
    }
}

/// Where `function` lies in the executable; `None` for a function in a shared library.
fn offset_of(function: *const ()) -> Option<u64> {
    Image::current().offset_of(function.expose_provenance())
}

/// The function at `offset` in the executable; `None` where the executable has no code.
///
/// # Safety
/// `Fp` is a `fn` pointer type, and `offset` was made by [`offset_of`] from a function of exactly that type,
/// in a process that runs the same build as this one.
unsafe fn function_at<Fp: Copy>(offset: u64) -> Option<Fp> {
    const { assert!(size_of::<Fp>() == size_of::<*const ()>(), "function_at makes fn pointers only") };
    let address = Image::current().address_at(offset)?;
    let pointer = std::ptr::with_exposed_provenance::<()>(address);
    // SAFETY: both are one pointer wide, and the caller says that a function of this type is there.
    Some(unsafe { std::mem::transmute_copy::<*const (), Fp>(&pointer) })
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
    // SAFETY: `F` has no bytes, so a dangling, aligned pointer is valid for reading it. `F` is inhabited and
    // `Copy`: our callers only come here after a value of this type was handed in, in the process that made
    // the reference.
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
        assert!(offset_of((&raw const NOT_CODE).cast()).is_none());
        assert!(offset_of(std::ptr::null()).is_none());
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
