//! Places for the tests of clusters: a schema on a server that the tests of a program share, or shared memory.

use crate::network::Way;
use crate::postgres::Postgres;
use crate::{Actor, Watchdog, program, until};
use procession::Namespace;
use procession::cluster::{Cluster, ClusterOptions};
use std::process::Command;
use std::sync::OnceLock;

/// A place for one test: an address, and a schema of its own there.
#[derive(Debug)]
pub struct Place {
    /// What is connected to.
    pub url: String,
    /// The schema.
    pub schema: String,
    namespace: Namespace,
    /// Who takes part as long as the test lasts: a private namespace goes with the last one.
    _here: Option<Cluster>,
    _watchdog: Watchdog,
}

impl Place {
    /// On that server.
    #[must_use]
    pub fn on(postgres: &Postgres) -> Self {
        Self::of(Namespace::private(), postgres.address(), None)
    }

    /// In shared memory.
    #[must_use]
    pub fn shm() -> Self {
        let namespace = Namespace::private();
        let url = format!("shm:{}", namespace.name());
        let here = ClusterOptions::new().connect(&url).unwrap();
        Self::of(namespace, url, Some(here))
    }

    /// The same place, from where that way begins.
    #[must_use]
    pub fn beyond(&self, way: &Way) -> Self {
        let mut far = Self::of(Namespace::private(), way.address(), None);
        far.schema.clone_from(&self.schema);
        far
    }

    fn of(namespace: Namespace, url: String, here: Option<Cluster>) -> Self {
        Self { url, schema: Postgres::schema(), namespace, _here: here, _watchdog: Watchdog::for_seconds(60) }
    }

    /// The namespace, where it is shared memory.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The options with its schema.
    #[must_use]
    pub fn options(&self) -> ClusterOptions {
        ClusterOptions::new().schema(&self.schema)
    }

    /// Connects there.
    #[must_use]
    pub fn connect(&self) -> Cluster {
        self.options().connect(&self.url).unwrap()
    }

    /// A process that has connected.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.actor_with(&[])
    }

    /// A process that has connected with options.
    #[must_use]
    pub fn actor_with(&self, options: &[&str]) -> Actor {
        let mut actor = Actor::start_as(Command::new(program("cluster_actor")), &self.namespace);
        actor.does(&format!("schema {}", self.schema));
        for option in options {
            actor.does(option);
        }
        // A machine with much to do may not answer within a deadline that is short for the test's sake.
        again(&mut actor, &format!("connect {}", self.url), Ok(()));
        actor
    }
}

/// Asks until the server is reached; its answer must be what is expected then.
///
/// # Panics
/// When the answer is another.
pub fn again(actor: &mut Actor, command: &str, expected: Result<(), &str>) {
    until("the server is reached again", || {
        let answer = actor.ask(command);
        let (is_ok, failure) = (answer.starts_with("ok"), answer.strip_prefix("error ").unwrap_or_default());
        assert!(
            match expected {
                Ok(()) => is_ok,
                Err(case) => failure.starts_with(case),
            } || failure.starts_with("Unavailable"),
            "{command}: {answer}"
        );
        !failure.starts_with("Unavailable")
    });
}

/// The server that the tests of this program share, and which none of them may kill; `None` where none is installed.
pub fn server() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    // What is static is never dropped.
    let start = || Postgres::start(false).inspect(Postgres::ends_with_this_process);
    SERVER.get_or_init(start).as_ref()
}

/// Runs a test in both places, and in one where there is no server.
pub fn everywhere(test: impl Fn(&Place)) {
    test(&Place::shm());
    if let Some(postgres) = server() {
        test(&Place::on(postgres));
    }
}
