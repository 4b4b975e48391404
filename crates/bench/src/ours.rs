//! Our side: everything that calls `procession`.

/// Makes an ephemeral object of a session, with settings if there are any.
macro_rules! create {
    ($object:ty, $session:expr, $name:expr $(, $setting:ident($value:expr))*) => {
        <$object>::options()
            .namespace($session.namespace())
            .ephemeral()
            $(.$setting($value))*
            .create($name)
            .context("create")
    };
}

pub(crate) mod barrier;
pub(crate) mod bytes;
pub(crate) mod codec;
pub(crate) mod condition;
pub(crate) mod crowded;
pub(crate) mod event;
pub(crate) mod lock;
pub(crate) mod map;
pub(crate) mod objects;
pub(crate) mod pipe;
pub(crate) mod pool;
pub(crate) mod process;
pub(crate) mod queue;
pub(crate) mod recovery;
pub(crate) mod rwlock;
pub(crate) mod semaphore;
pub(crate) mod sizes;
pub(crate) mod value;

use crate::error::{BenchError, Context, Result};
use procession::Namespace;
use std::sync::atomic::{AtomicU64, Ordering};

/// The first line of `main`.
pub(crate) fn init() {
    procession::init();
}

/// Our namespace, private to one run.
pub(crate) struct Session {
    namespace: Namespace,
    names: AtomicU64,
}

impl Session {
    pub(crate) fn start() -> Result<Self> {
        Ok(Session { namespace: Namespace::private(), names: AtomicU64::new(0) })
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// A name that no object of this run has had.
    pub(crate) fn fresh_name(&self, stem: &str) -> String {
        format!("{stem}.{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// What the children need to find the namespace.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("PROCESSION_NAMESPACE", self.namespace.name().to_owned())]
    }

    /// Checks that nothing is left of the namespace but its registry, which goes with this process.
    pub(crate) fn end(self) -> Result<()> {
        let left = self.namespace.list().context("list what is left")?;
        let left: Vec<&str> =
            left.iter().filter(|entry| !entry.is_registry()).map(|entry| entry.name.as_str()).collect();
        if left.is_empty() { Ok(()) } else { Err(BenchError::Failed(format!("left behind: {left:?}"))) }
    }
}
