//! What is held in a cluster: the same on a PostgreSQL server and in shared memory, and what becomes of it when a
//! process, the server or the way to it fails.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::cluster::{ClusterError, ClusterOptions, Token};
use procession_tests::cluster::{Place, everywhere, server};
use procession_tests::postgres::Postgres;
use procession_tests::until;
use std::time::Duration;

#[path = "cluster_holds/clocks.rs"]
mod clocks;
#[path = "cluster_holds/conformance.rs"]
mod conformance;
#[path = "cluster_holds/failures.rs"]
mod failures;
#[path = "cluster_holds/refusals.rs"]
mod refusals;
#[path = "cluster_holds/sessions.rs"]
mod sessions;
#[path = "cluster_holds/ways.rs"]
mod ways;

procession::test_support!();

fn token(text: &str) -> Token {
    text.parse().unwrap()
}
