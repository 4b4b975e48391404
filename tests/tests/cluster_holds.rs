//! What is held in a cluster: the same on a PostgreSQL server and in shared memory, and what becomes of it when a
//! process, the server or the way to it fails.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::Namespace;
use procession::cluster::{Cluster, ClusterError, ClusterOptions, Token};
use procession_tests::postgres::Postgres;
use procession_tests::{Actor, Watchdog, program, until};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

#[path = "cluster_holds/conformance.rs"]
mod conformance;
#[path = "cluster_holds/failures.rs"]
mod failures;
#[path = "cluster_holds/refusals.rs"]
mod refusals;

procession::test_support!();

/// A place for one test: an address, and a schema of its own there.
struct Place {
    url: String,
    schema: String,
    namespace: Namespace,
    _watchdog: Watchdog,
}

impl Place {
    fn on(postgres: &Postgres) -> Self {
        Self::of(postgres.address())
    }

    fn shm() -> Self {
        let mut place = Self::of(String::new());
        place.url = format!("shm:{}", place.namespace.name());
        place
    }

    fn of(url: String) -> Self {
        Self {
            url,
            schema: Postgres::schema(),
            namespace: Namespace::private(),
            _watchdog: Watchdog::for_seconds(60),
        }
    }

    fn options(&self) -> ClusterOptions {
        ClusterOptions::new().schema(&self.schema)
    }

    fn connect(&self) -> Cluster {
        self.options().connect(&self.url).unwrap()
    }

    /// A process that has connected.
    fn actor(&self) -> Actor {
        self.actor_with(&[])
    }

    /// A process that has connected with options.
    fn actor_with(&self, options: &[&str]) -> Actor {
        let mut actor = Actor::start_as(Command::new(program("cluster_actor")), &self.namespace);
        actor.does(&format!("schema {}", self.schema));
        for option in options {
            actor.does(option);
        }
        actor.does(&format!("connect {}", self.url));
        actor
    }
}

/// The server that the tests of this program share; `None` where none is installed.
fn server() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Kept>> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start(false).map(Kept::keep)).as_ref().map(|kept| kept.0)
}

/// A server until the program ends: what is static is never dropped.
struct Kept(&'static Postgres);

impl Kept {
    fn keep(postgres: Postgres) -> Self {
        postgres.ends_with_this_process();
        Self(Box::leak(Box::new(postgres)))
    }
}

fn token(text: &str) -> Token {
    text.parse().unwrap()
}
