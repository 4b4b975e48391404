//! How the command `procession` and its demos speak to people: what they print, and the exit codes they end
//! with.
//!
//! **Invariant: stdout carries results and nothing else**, and a result that could not be written is a
//! failure.
#![forbid(unsafe_code)]

pub mod exit;
pub mod output;
