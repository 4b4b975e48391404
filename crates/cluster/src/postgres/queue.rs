//! Queues on PostgreSQL: an item is a row, and whoever takes it writes its session into the row.

use super::Postgres;
use super::lock;
use super::session::{Params, Session, this_process};
use crate::engine::{Batch, Fate, Fill, Form, Items, Leases, Object, Patience, Rows, Taken, Verdict};
use crate::error::ClusterError;
use procession_channel::LeaseToken;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

impl Rows for Postgres {
    fn queue(self: Arc<Self>, object: &Object, form: Form) -> Result<Arc<dyn Items>, ClusterError> {
        loop {
            let session = self.session()?;
            let id = super::names::find(&session, object)?;
            if let Some(queue) = self.clone().known_queue(&session, object, form, id)? {
                return Ok(queue);
            }
            // It was removed since this session asked for its id.
            super::names::forget(&session, object);
        }
    }

    fn existing_queue(
        self: Arc<Self>,
        object: &Object,
        form: Form,
    ) -> Result<Option<Arc<dyn Items>>, ClusterError> {
        object.check_name()?;
        let session = self.session()?;
        let statement = "SELECT codec, max_attempts, id FROM queues WHERE name = $1";
        let rows = session.query(statement, vec![Box::new(object.subject.name.clone())])?;
        let Some(row) = rows.first() else { return Ok(None) };
        self.queue_of(&session, object, form, row, session.column(row, 2)?).map(Some)
    }
}

impl Postgres {
    /// The queue of this id, unless that was removed; it is made if it is not there yet.
    fn known_queue(
        self: Arc<Self>,
        session: &Arc<Session>,
        object: &Object,
        form: Form,
        id: i32,
    ) -> Result<Option<Arc<dyn Items>>, ClusterError> {
        let (name, codec) = (object.subject.name.clone(), form.codec.to_string());
        let process = form.ephemeral.then(this_process);
        let params: Params =
            vec![Box::new(id), Box::new(name), Box::new(codec), Box::new(attempts(form)), Box::new(process)];
        let rows = session.query("SELECT * FROM find_queue($1, $2, $3, $4, $5)", params)?;
        let row = session.only(&rows)?;
        if session.column::<Option<&str>>(row, 0)?.is_none() {
            return Ok(None);
        }
        self.queue_of(session, object, form, row, id).map(Some)
    }

    /// The queue of this id, whose codec and attempts the row begins with; `Mismatch` when it has others.
    fn queue_of(
        self: Arc<Self>,
        session: &Session,
        object: &Object,
        form: Form,
        row: &Row,
        id: i32,
    ) -> Result<Arc<dyn Items>, ClusterError> {
        let (codec, there): (String, i32) = (session.column(row, 0)?, session.column(row, 1)?);
        let most = attempts(form);
        if codec != form.codec.to_string() || there != most {
            return Err(ClusterError::Mismatch {
                object: object.subject.clone(),
                there: format!("codec {codec} and {there} attempts"),
                asked: format!("codec {} and {most} attempts", form.codec),
            });
        }
        Ok(Arc::new(Queue { id, object: object.clone(), postgres: self, buried: Mutex::default() }))
    }
}

fn attempts(form: Form) -> i32 {
    i32::try_from(form.max_attempts).unwrap_or(i32::MAX)
}

fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A queue that was found.
#[derive(Debug)]
struct Queue {
    id: i32,
    object: Object,
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

    /// Does something after which those who wait look again.
    fn change<T: for<'a> FromSql<'a>>(
        &self,
        statement: &'static str,
        rest: Params,
    ) -> Result<T, ClusterError> {
        let session = self.postgres.session()?;
        let outcome = self.change_on(&session, statement, rest)?;
        self.postgres.changed(&session, self.id)?;
        Ok(outcome)
    }

    /// Does that on this session, and those who wait in this process are not told.
    fn change_on<T: for<'a> FromSql<'a>>(
        &self,
        session: &Arc<Session>,
        statement: &'static str,
        rest: Params,
    ) -> Result<T, ClusterError> {
        let mut params: Params = vec![Box::new(session.space())];
        params.extend(rest);
        let rows = self.call(session, statement, params)?;
        session.first(&rows, 0)
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

    /// Whether it is closed, and whether anything is left to be done.
    fn rest(&self, session: &Arc<Session>) -> Result<(bool, bool), ClusterError> {
        let rows = self.call(session, "SELECT * FROM queue_rest($1, $2)", Vec::new())?;
        Ok((session.first(&rows, 0)?, session.first(&rows, 1)?))
    }

    fn take_ready(&self, session: &Arc<Session>, most: usize) -> Result<Vec<Taken>, ClusterError> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let rest: Params = vec![Box::new(session.number), Box::new(most)];
        let rows = self.call(session, "SELECT * FROM take_items($1, $3, $2, $4)", rest)?;
        items(session, &rows)
    }

    /// What a function says about the lease that has this token.
    fn of_lease(
        &self,
        statement: &'static str,
        session: &Arc<Session>,
        token: LeaseToken,
        rest: Params,
    ) -> Result<Vec<Row>, ClusterError> {
        let mut params: Params = vec![Box::new(session.class), Box::new(session.number)];
        params.extend(vec![
            Box::new(token.id().cast_signed()) as Box<_>,
            Box::new(token.key().cast_signed()) as Box<_>,
        ]);
        params.extend(rest);
        self.call(session, statement, params)
    }
}

/// A number of milliseconds that is no shorter than the time.
fn milliseconds(time: Duration) -> Option<i64> {
    let ms = i64::try_from(time.as_nanos().div_ceil(1_000_000)).ok();
    // What ends in a hundred thousand years lasts for ever.
    ms.filter(|ms| *ms < 1 << 52)
}

/// Rows of a number, bytes, attempts and a key, in the order of their numbers.
fn items(session: &Session, rows: &[Row]) -> Result<Vec<Taken>, ClusterError> {
    let of = |row: &Row| {
        Ok(Taken {
            id: number(session.column(row, 0)?),
            bytes: session.column(row, 1)?,
            attempt: session.column::<i32>(row, 2)?.unsigned_abs(),
            key: session.column::<Option<i64>>(row, 3)?.map_or(0, i64::cast_unsigned),
        })
    };
    let mut items = rows.iter().map(of).collect::<Result<Vec<_>, ClusterError>>()?;
    items.sort_unstable_by_key(|item| item.id);
    Ok(items)
}

/// How many bytes a step may have: the server takes less than 1 GiB, in which each item has a few more.
const MOST: usize = (1 << 30) - (1 << 10);

/// From how many bytes on a step goes over a session of its own. While the server reads it, no heartbeat of that session is
/// answered, and what is held on it counts as lost after two seconds: that is what ten megabits a second take for this.
const LONG: usize = 1 << 21;

/// How many bytes items of these lengths are for the server, if those are too many.
fn too_many(lengths: impl Iterator<Item = usize>) -> Option<usize> {
    Some(lengths.map(|len| len.saturating_add(8)).fold(0, usize::saturating_add))
        .filter(|&bytes| bytes > MOST)
}

impl Items for Queue {
    fn put(&self, items: &[Vec<u8>], _: Patience) -> Result<usize, ClusterError> {
        // The server would end the session.
        if let Some(bytes) = too_many(items.iter().map(Vec::len)) {
            let object = self.object.subject.clone();
            let reason = format!("it would be {bytes} bytes at once, and PostgreSQL takes less than 1 GiB");
            return Err(ClusterError::Encode { object, reason });
        }
        let (statement, all) = ("SELECT put_items($1, $3, $2, $4)", vec![Box::new(items.to_vec()) as _]);
        let is_open: bool = if items.iter().map(Vec::len).sum::<usize>() < LONG {
            self.change(statement, all)?
        } else {
            let session = self.postgres.spare_session()?;
            let put = self.change_on(&session, statement, all);
            self.postgres.spare.keep(session);
            // Other processes have been told by the step, for the key of those who wait is another session's.
            self.postgres.news.tell(self.id);
            put?
        };
        if is_open {
            Ok(items.len())
        } else {
            Err(ClusterError::Closed { object: self.object.subject.clone() })
        }
    }

    fn take(&self, most: usize, patience: Patience) -> Result<Batch, ClusterError> {
        let batch = self.postgres.wait_for((&self.object, self.id), patience, |session| {
            // What the dead had has waited longer than what is ready.
            self.bury_if_due(session)?;
            let items = self.take_ready(session, most)?;
            if items.is_empty() {
                let rest = self.rest(session)?;
                let closed = ClusterError::Closed { object: self.object.subject.clone() };
                return if rest == (true, false) { Err(closed) } else { Ok(None) };
            }
            let hold = Held { session: session.clone(), queue: self.id, postgres: self.postgres.clone() };
            Ok(Some(Batch { items, hold: Arc::new(hold) }))
        });
        batch?.ok_or_else(|| self.object.not_in_time(patience, String::new()))
    }

    fn join(&self, patience: Patience) -> Result<(), ClusterError> {
        let joined = self.postgres.wait_for((&self.object, self.id), patience, |session| {
            self.bury_if_due(session)?;
            let (_, has_more) = self.rest(session)?;
            Ok((!has_more).then_some(()))
        });
        joined?.ok_or_else(|| ClusterError::NotDone { object: self.object.subject.clone() })
    }

    fn fill(&self) -> Result<Fill, ClusterError> {
        let session = self.postgres.session()?;
        self.bury(&session)?;
        let rows = self.call(&session, "SELECT * FROM queue_state($1, $2)", Vec::new())?;
        let row = session.only(&rows)?;
        let count = |index| session.column(row, index).map(number);
        Ok(Fill { ready: count(0)?, leased: count(1)?, dead: count(2)? })
    }

    fn is_closed(&self) -> Result<bool, ClusterError> {
        Ok(self.rest(&self.postgres.session()?)?.0)
    }

    fn set_closed(&self, closed: bool) -> Result<(), ClusterError> {
        self.change("SELECT close_queue($1, $3, $2, $4)", vec![Box::new(closed)]).map(|_: bool| ())
    }

    fn dead(&self) -> Result<Vec<Taken>, ClusterError> {
        let session = self.postgres.session()?;
        let rows = self.call(&session, "SELECT * FROM dead_items($1, $2)", Vec::new())?;
        items(&session, &rows)
    }

    fn remove(&self) -> Result<(), ClusterError> {
        let session = self.postgres.session()?;
        super::names::forget(&session, &self.object);
        self.change("SELECT remove_queue($1, $3, $2)", Vec::new()).map(|_: bool| ())
    }

    fn redeem(&self, token: LeaseToken, verdict: Verdict) -> Result<bool, ClusterError> {
        let session = self.postgres.session()?;
        let (fate, ms) = match verdict {
            Verdict::Ends(fate) => (word(fate), None),
            Verdict::Lasts(time) => ("lasts", milliseconds(time)),
        };
        let statement = "SELECT redeem($1, $3, $4, $2, $5, $6, $7, $8)";
        let rows = self.of_lease(statement, &session, token, vec![Box::new(fate), Box::new(ms)])?;
        let was_held = session.first(&rows, 0)?;
        self.postgres.changed(&session, self.id)?;
        Ok(was_held)
    }

    fn time_left(&self, token: LeaseToken) -> Result<Option<Duration>, ClusterError> {
        let session = self.postgres.session()?;
        let statement = "SELECT * FROM time_left($1, $3, $4, $2, $5, $6)";
        let rows = self.of_lease(statement, &session, token, Vec::new())?;
        let (is_held, ms): (bool, Option<i64>) = (session.first(&rows, 0)?, session.first(&rows, 1)?);
        Ok(is_held.then(|| ms.map_or(Duration::MAX, |ms| Duration::from_millis(number(ms)))))
    }

    fn settle(&self, id: u64, again: bool) -> Result<bool, ClusterError> {
        let rest: Params = vec![Box::new(id.cast_signed()), Box::new(again)];
        self.change("SELECT settle_dead($1, $3, $2, $4, $5)", rest)
    }
}

/// As the schema calls it.
fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Done => "done",
        Fate::Failed => "failed",
        Fate::Untried => "untried",
        Fate::Dead => "dead",
    }
}

/// The session that has taken items of a queue.
#[derive(Debug)]
struct Held {
    session: Arc<Session>,
    queue: i32,
    postgres: Arc<Postgres>,
}

impl Leases for Held {
    fn end(&self, items: &[(u64, u32)], fate: Fate) -> Result<Vec<u64>, ClusterError> {
        // Items of a session that has ended are somebody else's by now.
        if self.session.is_known_lost() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = items.iter().map(|(id, _)| id.cast_signed()).collect();
        let tried: Vec<i32> = items.iter().map(|(_, attempt)| attempt.cast_signed()).collect();
        let params: Params = vec![
            Box::new(self.session.backend),
            Box::new(self.session.space()),
            Box::new(self.session.number),
            Box::new(self.queue),
            Box::new(ids),
            Box::new(tried),
            Box::new(word(fate)),
        ];
        let rows = self.session.query("SELECT end_leases($1, $2, $3, $4, $5, $6, $7)", params)?;
        self.postgres.changed(&self.session, self.queue)?;
        rows.iter().map(|row| self.session.column(row, 0).map(number)).collect()
    }

    fn session(&self) -> i32 {
        self.session.number
    }

    fn is_lost(&self) -> bool {
        self.session.is_lost()
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, too_many};

    #[test]
    fn what_the_server_does_not_take_at_once_is_counted_with_what_each_item_adds() {
        assert_eq!(too_many([MOST - 8].into_iter()), None);
        assert_eq!(too_many([MOST - 7].into_iter()), Some(MOST + 1));
        assert_eq!(too_many([1 << 20; 1024].into_iter()), Some((1 << 30) + (8 << 10)));
        assert_eq!(too_many([usize::MAX, 1].into_iter()), Some(usize::MAX));
    }
}
