//! As `procession_sys::PerProcess`: a process of a model has one thread, so nobody else has what is made for it.

/// A value that each process of a model makes whenever it uses it.
#[derive(Debug)]
pub struct PerProcess<T: 'static> {
    make: fn() -> T,
}

impl<T> PerProcess<T> {
    /// Makes no value yet.
    pub const fn new(make: fn() -> T) -> Self {
        Self { make }
    }

    /// A fresh value.
    pub fn get(&self) -> &'static T {
        Box::leak(Box::new((self.make)()))
    }
}
