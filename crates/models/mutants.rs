//! The mistakes that the models must find out.

mod collections;
mod locks;
mod messages;
mod values;
mod waits;

/// One mistake: what stands in a protocol, once, and what is put in its place.
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    pub(crate) protocol: &'static str,
    /// Those through which the models use it: copied beside it.
    pub(crate) used_by: &'static [&'static str],
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

/// All of them, by what they are about.
pub(crate) const MUTANTS: &[&[Mutant]] =
    &[locks::MUTANTS, waits::MUTANTS, values::MUTANTS, messages::MUTANTS, collections::MUTANTS];
