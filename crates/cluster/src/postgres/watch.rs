//! Waits for what rows say.
//!
//! Whoever changes an object tells those who wait for it (NOTIFY). That costs every commit of the server a lock, so it is
//! done only where somebody waits: a process that waits tries to hold the key of the object alone, and whoever changes the
//! object looks whether it could share that key (`tell` in the schema). What is told can be lost, with a connection or
//! because two processes wait and one of them has the key: so whoever waits looks now and then by itself.

use super::session::{Params, Session};
use super::{Postgres, lock};
use crate::engine::{Object, Patience};
use crate::error::ClusterError;
use procession_sys::interrupt;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long whoever waits sleeps before it looks again: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(100)];

/// An object for which threads of this process wait.
#[derive(Default)]
struct Watched {
    threads: usize,
    /// How often it was changed since the first of them came.
    changes: u64,
}

/// What has been told of the objects for which threads of this process wait.
#[derive(Default)]
pub(crate) struct News {
    watched: Mutex<HashMap<i32, Watched>>,
    told: Condvar,
    /// By which session the key of an object was taken, for those who change it.
    marks: Mutex<HashMap<i32, i32>>,
}

impl News {
    /// Wakes those who wait for the object; whether there are any.
    pub(super) fn tell(&self, id: i32) -> bool {
        let mut watched = lock(&self.watched);
        let Some(object) = watched.get_mut(&id) else { return false };
        object.changes += 1;
        self.told.notify_all();
        true
    }
}

/// A thread that waits for an object.
struct Watch<'a> {
    postgres: &'a Postgres,
    id: i32,
}

impl<'a> Watch<'a> {
    fn begin(postgres: &'a Postgres, id: i32) -> Self {
        lock(&postgres.news.watched).entry(id).or_default().threads += 1;
        Self { postgres, id }
    }

    fn changes(&self) -> u64 {
        lock(&self.postgres.news.watched).get(&self.id).map_or(0, |object| object.changes)
    }

    /// Has those who change the object tell of it, unless another process has them do so.
    fn mark(&self, session: &Arc<Session>) -> Result<(), ClusterError> {
        // Keys stack: of two threads, only one may take it.
        let mut marks = lock(&self.postgres.news.marks);
        if marks.get(&self.id) != Some(&session.number) {
            let rows = session.query("SELECT mark($1, $2)", self.params(session))?;
            if session.first(&rows, 0)? {
                marks.insert(self.id, session.number);
            }
        }
        Ok(())
    }

    fn params(&self, session: &Arc<Session>) -> Params {
        vec![Box::new(session.backend), Box::new(session.space() | i64::from(self.id))]
    }

    /// Sleeps until something is told of it, for `pause` at most.
    fn rest(&self, seen: u64, pause: Duration) {
        let (news, until) = (&self.postgres.news, Instant::now() + pause);
        let mut watched = lock(&news.watched);
        while watched.get(&self.id).is_some_and(|object| object.changes == seen) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            watched = news.told.wait_timeout(watched, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let news = &self.postgres.news;
        // Held until the key is given back: whoever comes next takes it anew.
        let mut marks = lock(&news.marks);
        let is_last = {
            let mut watched = lock(&news.watched);
            let left = watched.get_mut(&self.id).map_or(0, |object| {
                object.threads -= 1;
                object.threads
            });
            if left == 0 {
                watched.remove(&self.id);
            }
            left == 0
        };
        let marked = if is_last { marks.remove(&self.id) } else { None };
        if let Some(session) = self.postgres.living_session().filter(|session| marked == Some(session.number))
        {
            // A session that has ended has no keys either.
            drop(session.query("SELECT unmark($1, $2)", self.params(&session)));
        }
    }
}

impl Postgres {
    /// Looks until there is something; `None` when there is nothing in time.
    pub(super) fn wait_for<R>(
        &self,
        (object, id): (&Object, i32),
        patience: Patience,
        mut look: impl FnMut(&Arc<Session>) -> Result<Option<R>, ClusterError>,
    ) -> Result<Option<R>, ClusterError> {
        if let Some(found) = look(&self.session()?)? {
            return Ok(Some(found));
        }
        if patience.is_over() {
            return Ok(None);
        }
        let watch = Watch::begin(self, id);
        let [mut pause, longest] = PAUSES;
        loop {
            let seen = watch.changes();
            let session = self.session()?;
            watch.mark(&session)?;
            // Only what is changed from now on is told.
            if let Some(found) = look(&session)? {
                return Ok(Some(found));
            }
            if patience.is_over() {
                return Ok(None);
            }
            watch.rest(seen, patience.slice(pause));
            if interrupt::is_wanted() {
                return Err(ClusterError::Interrupted { object: object.subject.clone() });
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// Wakes those who wait for an object that was changed here. Others were told by the change itself, unless it is this
    /// session that has the key for them.
    pub(super) fn changed(&self, session: &Arc<Session>, id: i32) -> Result<(), ClusterError> {
        if self.news.tell(id) {
            session.query("SELECT announce($1)", vec![Box::new(session.space() | i64::from(id))])?;
        }
        Ok(())
    }
}
