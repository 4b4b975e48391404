//! Queues on PostgreSQL: an item is a row, and whoever takes it writes its session into the row.

use super::Postgres;
use super::lock;
use super::session::{Params, Session};
use crate::engine::{Batch, Fate, Fill, Form, Items, Leases, Object, Rest, Rows, Taken};
use crate::error::ClusterError;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::Row;

impl Rows for Postgres {
    fn queue(self: Arc<Self>, object: &Object, form: Form) -> Result<Arc<dyn Items>, ClusterError> {
        object.check_name()?;
        let session = self.session()?;
        let most = i32::try_from(form.max_attempts).unwrap_or(i32::MAX);
        let params: Params =
            vec![Box::new(object.subject.name.clone()), Box::new(form.codec.to_string()), Box::new(most)];
        let rows = session.query("SELECT * FROM find_queue($1, $2, $3)", params)?;
        let row = session.only(&rows)?;
        let (codec, there): (String, i32) = (session.column(row, 1)?, session.column(row, 2)?);
        if codec != form.codec.to_string() || there != most {
            return Err(ClusterError::Mismatch {
                object: object.subject.clone(),
                there: format!("codec {codec} and {there} attempts"),
                asked: format!("codec {} and {most} attempts", form.codec),
            });
        }
        let id = session.column(row, 0)?;
        Ok(Arc::new(Queue { id, postgres: self, buried: Mutex::default() }))
    }
}

fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A queue that was found.
#[derive(Debug)]
struct Queue {
    id: i32,
    postgres: Arc<Postgres>,
    /// When it was last asked whether those who have items are dead.
    buried: Mutex<Option<Instant>>,
}

/// How long an item of a dead process waits at most before those who take learn of it.
const BURIAL: Duration = Duration::from_millis(100);

impl Queue {
    /// What a function of the queue gives; `rest` are its parameters after the backend and the queue.
    fn call(
        &self,
        session: &Arc<Session>,
        statement: &'static str,
        rest: Params,
    ) -> Result<Vec<Row>, ClusterError> {
        let mut params: Params = vec![Box::new(session.backend), Box::new(self.id)];
        params.extend(rest);
        session.query(statement, params)
    }

    /// Has what the dead have taken given back.
    fn bury(&self, session: &Arc<Session>) -> Result<(), ClusterError> {
        *lock(&self.buried) = Some(Instant::now());
        let rest: Params = vec![Box::new(session.class), Box::new(session.number)];
        self.call(session, "SELECT bury($1, $3, $4, $2)", rest).map(drop)
    }

    /// Does that unless it was done a moment ago, for those who ask again and again.
    fn bury_if_due(&self, session: &Arc<Session>) -> Result<(), ClusterError> {
        if lock(&self.buried).is_none_or(|last| last.elapsed() >= BURIAL) {
            self.bury(session)?;
        }
        Ok(())
    }

    fn take_ready(&self, session: &Arc<Session>, most: usize) -> Result<Vec<Taken>, ClusterError> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let rest: Params = vec![Box::new(session.number), Box::new(most)];
        let rows = self.call(session, "SELECT * FROM take_items($1, $3, $2, $4)", rest)?;
        items(session, &rows)
    }
}

/// Rows of a number, bytes and attempts, in the order of their numbers.
fn items(session: &Session, rows: &[Row]) -> Result<Vec<Taken>, ClusterError> {
    let of = |row: &Row| {
        Ok(Taken {
            id: number(session.column(row, 0)?),
            bytes: session.column(row, 1)?,
            attempt: session.column::<i32>(row, 2)?.unsigned_abs(),
        })
    };
    let mut items = rows.iter().map(of).collect::<Result<Vec<_>, ClusterError>>()?;
    items.sort_unstable_by_key(|item| item.id);
    Ok(items)
}

impl Items for Queue {
    fn put(&self, items: Vec<Vec<u8>>) -> Result<bool, ClusterError> {
        let session = self.postgres.session()?;
        let rows = self.call(&session, "SELECT put_items($1, $2, $3)", vec![Box::new(items)])?;
        session.first(&rows, 0)
    }

    fn take(&self, most: usize) -> Result<Batch, ClusterError> {
        let session = self.postgres.session()?;
        // What the dead had has waited longer than what is ready.
        self.bury_if_due(&session)?;
        let items = self.take_ready(&session, most)?;
        let hold = Arc::new(Held { session, queue: self.id });
        Ok(Batch { items, hold })
    }

    fn fill(&self) -> Result<Fill, ClusterError> {
        let session = self.postgres.session()?;
        self.bury(&session)?;
        let rows = self.call(&session, "SELECT * FROM queue_state($1, $2)", Vec::new())?;
        let row = session.only(&rows)?;
        let count = |index| session.column(row, index).map(number);
        Ok(Fill { ready: count(0)?, leased: count(1)?, dead: count(2)? })
    }

    fn rest(&self) -> Result<Rest, ClusterError> {
        let session = self.postgres.session()?;
        self.bury_if_due(&session)?;
        let rows = self.call(&session, "SELECT * FROM queue_rest($1, $2)", Vec::new())?;
        let row = session.only(&rows)?;
        Ok(Rest { is_closed: session.column(row, 0)?, has_more: session.column(row, 1)? })
    }

    fn set_closed(&self, closed: bool) -> Result<(), ClusterError> {
        let session = self.postgres.session()?;
        self.call(&session, "SELECT close_queue($1, $2, $3)", vec![Box::new(closed)]).map(drop)
    }

    fn dead(&self) -> Result<Vec<Taken>, ClusterError> {
        let session = self.postgres.session()?;
        let rows = self.call(&session, "SELECT * FROM dead_items($1, $2)", Vec::new())?;
        items(&session, &rows)
    }

    fn settle(&self, id: u64, again: bool) -> Result<bool, ClusterError> {
        let session = self.postgres.session()?;
        let rest: Params = vec![Box::new(id.cast_signed()), Box::new(again)];
        let rows = self.call(&session, "SELECT settle_dead($1, $2, $3, $4)", rest)?;
        session.first(&rows, 0)
    }
}

/// The session that has taken items of a queue.
#[derive(Debug)]
struct Held {
    session: Arc<Session>,
    queue: i32,
}

impl Leases for Held {
    fn end(&self, items: &[(u64, u32)], fate: Fate) -> Result<Vec<u64>, ClusterError> {
        // Items of a session that has ended are somebody else's by now.
        if self.session.is_known_lost() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = items.iter().map(|(id, _)| id.cast_signed()).collect();
        let tried: Vec<i32> = items.iter().map(|(_, attempt)| attempt.cast_signed()).collect();
        let fate = match fate {
            Fate::Done => "done",
            Fate::Failed => "failed",
            Fate::Untried => "untried",
            Fate::Dead => "dead",
        };
        let params: Params = vec![
            Box::new(self.session.backend),
            Box::new(self.session.number),
            Box::new(self.queue),
            Box::new(ids),
            Box::new(tried),
            Box::new(fate),
        ];
        let rows = self.session.query("SELECT end_leases($1, $2, $3, $4, $5, $6)", params)?;
        rows.iter().map(|row| self.session.column(row, 0).map(number)).collect()
    }

    fn session(&self) -> i32 {
        self.session.number
    }

    fn is_lost(&self) -> bool {
        self.session.is_lost()
    }
}
