//! The engine on PostgreSQL.

mod address;
mod connection;
mod failure;
mod holds;
mod migrate;
mod names;
mod owners;
mod queue;
mod reports;
mod session;
mod signals;
mod tls;
mod watch;

use crate::cluster::ClusterOptions;
use crate::engine::Engine;
use crate::error::ClusterError;
use crate::report::{ClusterDeadlock, ClusterObject, ClusterParticipant};
use address::Address;
use procession_sys::fork;
use session::Session;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use watch::News;

/// How many sessions are kept for waits to come, when those that needed them are over.
const SPARE: usize = 4;

/// A cluster on a PostgreSQL server.
pub(crate) struct Postgres {
    address: Address,
    options: ClusterOptions,
    /// The session on which nothing ever blocks; a new one when the last has ended.
    main: Mutex<Option<Arc<Session>>>,
    /// Held by the thread that begins one, in the process of this cookie.
    begins: Mutex<()>,
    cookie: u64,
    /// Sessions that held something after a wait, and hold nothing now.
    spare: Arc<Spare>,
    news: Arc<News>,
}

/// Sessions that were begun for a wait, and hold nothing now.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Vec<Arc<Session>>>);

impl Spare {
    /// One of them, in a statement of its own: to ask whether it lives, nobody else has to wait.
    fn pop(&self) -> Option<Arc<Session>> {
        lock(&self.0).pop()
    }

    /// Keeps a session that holds nothing any more, or ends it.
    pub(crate) fn keep(&self, session: Arc<Session>) {
        let mut spare = lock(&self.0);
        if session.is_usable() && spare.len() < SPARE {
            spare.push(session);
        } else {
            session.give_up();
        }
    }
}

impl Postgres {
    pub(crate) fn connect(url: &str, options: ClusterOptions) -> Result<Self, ClusterError> {
        let address = Address::parse(url)?;
        migrate::check_schema(&options.schema)?;
        let postgres = Self {
            address,
            options,
            main: Mutex::default(),
            begins: Mutex::default(),
            cookie: fork::cookie(),
            spare: Arc::default(),
            news: Arc::default(),
        };
        migrate::migrate(&postgres.address, &postgres.options)?;
        postgres.session()?;
        Ok(postgres)
    }

    /// The main session; a new one when there is none that lives.
    pub(crate) fn session(&self) -> Result<Arc<Session>, ClusterError> {
        if let Some(session) = self.living_session() {
            return Ok(session);
        }
        // Of many threads, one connects. In a forked child it may be held for ever, by a thread of the parent: there, of those
        // that connect at once, the first counts.
        let _turn = (self.cookie == fork::cookie()).then(|| lock(&self.begins));
        if let Some(session) = self.living_session() {
            return Ok(session);
        }
        let session = Session::begin(&self.address, &self.options, Some(self.news.clone()))?;
        let mut main = lock(&self.main);
        if let Some(others) = main.as_ref().filter(|others| others.is_usable()) {
            session.give_up();
            return Ok(others.clone());
        }
        if let Some(old) = main.replace(session.clone()) {
            old.give_up();
        }
        Ok(session)
    }

    /// A session of its own, for one wait and what is held after it.
    pub(crate) fn spare_session(&self) -> Result<Arc<Session>, ClusterError> {
        while let Some(session) = self.spare.pop() {
            if session.is_usable() {
                return Ok(session);
            }
        }
        Session::begin(&self.address, &self.options, None)
    }

    /// The main session, if it lives.
    fn living_session(&self) -> Option<Arc<Session>> {
        lock(&self.main).clone().filter(|session| session.is_usable())
    }
}

/// A mutex whose holders do nothing that could leave half of it changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let spare = std::mem::take(&mut *lock(&self.spare.0));
        for session in spare.into_iter().chain(lock(&self.main).take()) {
            session.give_up();
        }
    }
}

impl Engine for Postgres {
    fn place(&self) -> &str {
        self.address.place()
    }

    fn objects(&self) -> Result<Vec<ClusterObject>, ClusterError> {
        reports::objects(&self.session()?)
    }

    fn participants(&self) -> Result<Vec<ClusterParticipant>, ClusterError> {
        reports::participants(&self.session()?)
    }

    fn deadlocks(&self) -> Result<Vec<ClusterDeadlock>, ClusterError> {
        reports::deadlocks(&self.session()?)
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.address.place()).finish()
    }
}
