//! A program that was started as a worker of a pool.

use crate::cluster::ClusterOptions;
use crate::error::ClusterError;
use procession_sys::image::is_secure;
use procession_sys::start;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;

/// What a process finds in its environment that was started as a worker.
const VARIABLE: &str = "PROCESSION_WORKER";

/// How long a worker rests when the server cannot be reached.
const REST: std::time::Duration = std::time::Duration::from_secs(1);

/// Which pool a worker is of: what `procession worker` puts into the environment of the program that it starts.
///
/// ```
/// use procession::cluster::WorkerOf;
///
/// let of = WorkerOf::new("postgres://user@host/database", "count");
/// let mut command = std::process::Command::new("./my_program");
/// command.env(WorkerOf::VARIABLE, of.to_string());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerOf {
    /// Where the cluster is.
    pub url: String,
    /// The name of the pool.
    pub pool: String,
    /// The schema of the database; that of [`ClusterOptions::schema`] if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The attempts of the pool, if they are not those that a pool has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
}

impl WorkerOf {
    /// The name of the variable.
    pub const VARIABLE: &'static str = VARIABLE;

    /// A worker of that pool.
    #[must_use]
    pub fn new(url: &str, pool: &str) -> Self {
        Self { url: url.to_owned(), pool: pool.to_owned(), schema: None, max_attempts: None }
    }

    fn work(&self) -> Result<(), ClusterError> {
        let mut options = ClusterOptions::new();
        if let Some(schema) = &self.schema {
            options = options.schema(schema);
        }
        let cluster = loop {
            match options.connect(&self.url) {
                // A worker may be there before the server.
                Err(ClusterError::Unavailable { .. }) => std::thread::sleep(REST),
                connected => break connected?,
            }
        };
        let mut pool = cluster.pool(&self.pool);
        if let Some(attempts) = self.max_attempts {
            pool = pool.max_attempts(attempts);
        }
        pool.work()
    }
}

impl std::fmt::Display for WorkerOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// Makes this process a worker if it was started as one: then this does not return. For `procession::init`.
#[doc(hidden)]
pub fn become_worker_if_started_as_one() {
    if is_secure() {
        return;
    }
    let Some(value) = start::take_variable(OsStr::new(VARIABLE)) else { return };
    let said = value.to_string_lossy();
    let Ok(of) = serde_json::from_str::<WorkerOf>(&said) else {
        panic!("{VARIABLE} is set, and does not say of which pool this is a worker: unset it");
    };
    match of.work() {
        Ok(()) => std::process::exit(0),
        Err(error) => panic!("this worker of the pool {:?} cannot go on: {error}", of.pool),
    }
}
