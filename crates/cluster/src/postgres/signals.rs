//! Events, latches, counters and barriers on PostgreSQL: rows, of which those who wait are told.

use super::Postgres;
use super::names::find;
use super::reports::participant;
use super::session::{Params, Session};
use crate::engine::{Change, Goal, Object, Patience, Signals};
use crate::error::ClusterError;
use crate::report::ClusterParticipant;
use std::sync::Arc;
use tokio_postgres::Row;

/// A step that somebody makes at a barrier: its generation and place.
#[derive(Clone, Copy)]
struct Arrival {
    generation: i64,
    place: i32,
}

impl Postgres {
    /// The session, the id of the object, and what a function gives for both, after which those who wait look again.
    fn step(
        &self,
        object: &Object,
        statement: &'static str,
        rest: Params,
    ) -> Result<(Arc<Session>, Vec<Row>), ClusterError> {
        let session = self.session()?;
        let id = find(&session, object)?;
        let mut params: Params = vec![Box::new(session.backend), Box::new(session.space()), Box::new(id)];
        params.extend(rest);
        let rows = session.query(statement, params)?;
        self.changed(&session, id)?;
        Ok((session, rows))
    }

    /// The number and the count of pulses of an object.
    fn read(session: &Arc<Session>, id: i32) -> Result<(i64, i64), ClusterError> {
        let rows = session.query("SELECT * FROM read_signal($1, $2, $3, $4)", Self::looks(session, id))?;
        Ok((session.first(&rows, 0)?, session.first(&rows, 1)?))
    }

    /// Who looks at an object of this id.
    fn looks(session: &Arc<Session>, id: i32) -> Params {
        vec![Box::new(session.backend), Box::new(session.class), Box::new(session.number), Box::new(id)]
    }

    /// What became of a wait at a barrier; `None` while it lasts.
    fn look_at(
        session: &Arc<Session>,
        (object, id): (&Object, i32),
        arrival: Arrival,
    ) -> Result<Option<()>, ClusterError> {
        let params: Params = vec![
            Box::new(session.backend),
            Box::new(session.class),
            Box::new(session.number),
            Box::new(id),
            Box::new(arrival.generation),
            Box::new(arrival.place),
        ];
        let rows = session.query("SELECT * FROM look_at_barrier($1, $2, $3, $4, $5, $6)", params)?;
        match session.first::<&str>(&rows, 0)? {
            "waits" => Ok(None),
            "passed" => Ok(Some(())),
            _ => Err(broken(object, session.first(&rows, 1)?, session.first(&rows, 2)?)),
        }
    }

    /// Ends a wait whose time is over: the barrier is broken. Whether the wait had not ended before.
    fn end_late(
        &self,
        session: &Arc<Session>,
        (object, id): (&Object, i32),
        arrival: Arrival,
    ) -> Result<bool, ClusterError> {
        let (why, nobody): (&str, Option<&str>) = ("a wait timed out", None);
        let params: Params = vec![Box::new(arrival.generation), Box::new(why), Box::new(nobody)];
        self.step(object, "SELECT break_barrier($1, $2, $3, $4, $5, $6)", params)?;
        // Whoever came last may have been faster.
        Ok(!matches!(Self::look_at(session, (object, id), arrival), Ok(Some(()))))
    }

    /// Takes a wait back that was interrupted; whether it had not ended before.
    fn withdraw(session: &Arc<Session>, id: i32, arrival: Arrival) -> Result<bool, ClusterError> {
        let params: Params = vec![
            Box::new(session.backend),
            Box::new(id),
            Box::new(session.number),
            Box::new(arrival.generation),
            Box::new(arrival.place),
        ];
        let rows = session.query("SELECT withdraw($1, $2, $3, $4, $5)", params)?;
        session.first(&rows, 0)
    }
}

fn broken(object: &Object, reason: Option<String>, who: Option<String>) -> ClusterError {
    let object = object.subject.clone();
    match who {
        Some(who) => ClusterError::PeerDied { object, who },
        None => ClusterError::Broken { object, reason: reason.unwrap_or_default() },
    }
}

impl Signals for Postgres {
    fn change(&self, object: &Object, change: Change) -> Result<Option<i64>, ClusterError> {
        let (what, number): (&str, i64) = match change {
            Change::Set => ("set", 0),
            Change::Clear => ("clear", 0),
            Change::Pulse => ("pulse", 0),
            Change::Add(number) => ("add", number),
            Change::Put(number) => ("put", number),
        };
        let params: Params = vec![Box::new(what), Box::new(number)];
        let (session, rows) = self.step(object, "SELECT change_signal($1, $2, $3, $4, $5)", params)?;
        if matches!(change, Change::Set | Change::Clear) {
            super::owners::forget(self, object);
        }
        session.first(&rows, 0)
    }

    fn own(self: Arc<Self>, object: &Object) -> Result<(), ClusterError> {
        let session = self.session()?;
        let id = find(&session, object)?;
        let rows = session.query("SELECT * FROM own_event($1, $2, $3, $4)", Self::looks(&session, id))?;
        if session.first::<Option<i32>>(&rows, 1)?.is_some() {
            let other = session.read(participant(session.only(&rows)?, 0))?;
            let object = object.subject.clone();
            return Err(ClusterError::Owned { object, holder: other.to_string() });
        }
        super::owners::keep(&self, object);
        self.changed(&session, id)
    }

    fn owner(&self, object: &Object) -> Result<Option<ClusterParticipant>, ClusterError> {
        let session = self.session()?;
        let statement = "SELECT l.host, l.pid, l.command, extract(epoch FROM l.since)::bigint
                         FROM signals s JOIN living l ON l.number = s.owner WHERE s.id = $1";
        let rows = session.query(statement, vec![Box::new(find(&session, object)?)])?;
        rows.first().map(|row| session.read(participant(row, 0))).transpose()
    }

    fn value(&self, object: &Object) -> Result<i64, ClusterError> {
        let session = self.session()?;
        Ok(Self::read(&session, find(&session, object)?)?.0)
    }

    fn wait_until(&self, object: &Object, goal: Goal, patience: Patience) -> Result<(), ClusterError> {
        let session = self.session()?;
        let id = find(&session, object)?;
        let mut began = None;
        let reached = self.wait_for((object, id), patience, |session| {
            let (value, pulses) = Self::read(session, id)?;
            let is_reached = match goal {
                Goal::Set => value != 0 || *began.get_or_insert(pulses) != pulses,
                Goal::Cleared => value == 0,
                Goal::Reached(count) => value >= count,
            };
            Ok(is_reached.then_some(()))
        });
        reached?.ok_or_else(|| object.not_in_time(patience, String::new()))
    }

    fn meet(&self, object: &Object, patience: Patience) -> Result<u32, ClusterError> {
        let session = self.session()?;
        let id = find(&session, object)?;
        let params: Params = vec![
            Box::new(session.backend),
            Box::new(session.space()),
            Box::new(session.number),
            Box::new(id),
            Box::new(object.size.cast_signed()),
        ];
        let rows = session.query("SELECT * FROM arrive($1, $2, $3, $4, $5)", params)?;
        let Some(place) = session.first::<Option<i32>>(&rows, 1)? else {
            return Err(broken(object, session.first(&rows, 3)?, session.first(&rows, 4)?));
        };
        if session.first(&rows, 2)? {
            self.changed(&session, id)?;
            return Ok(place.cast_unsigned());
        }
        let arrival = Arrival { generation: session.first(&rows, 0)?, place };
        let outcome = self.wait_for((object, id), patience, |now| {
            // The arrival is one of the session that made it: the others see that it has ended.
            if now.number != session.number {
                return Err(ClusterError::Lost { object: object.subject.clone() });
            }
            Self::look_at(&session, (object, id), arrival)
        });
        let place = place.cast_unsigned();
        match outcome {
            Ok(Some(())) => Ok(place),
            Ok(None) if self.end_late(&session, (object, id), arrival)? => {
                Err(object.not_in_time(patience, String::new()))
            }
            Err(interrupted @ ClusterError::Interrupted { .. }) => {
                if Self::withdraw(&session, id, arrival)? {
                    return Err(interrupted);
                }
                // It had ended: all had come, or somebody made the barrier whole.
                Self::look_at(&session, (object, id), arrival)?.map_or(Err(interrupted), |()| Ok(place))
            }
            Ok(None) => Ok(place),
            Err(error) => Err(error),
        }
    }

    fn waiting(&self, object: &Object) -> Result<Option<u32>, ClusterError> {
        let session = self.session()?;
        let looks = Self::looks(&session, find(&session, object)?);
        let rows = session.query("SELECT barrier_state($1, $2, $3, $4)", looks)?;
        Ok(session.first::<Option<i32>>(&rows, 0)?.map(i32::cast_unsigned))
    }

    fn abort(&self, object: &Object) -> Result<(), ClusterError> {
        let (any, why, nobody): (Option<i64>, &str, Option<&str>) = (None, "it was aborted", None);
        let params: Params = vec![Box::new(any), Box::new(why), Box::new(nobody)];
        self.step(object, "SELECT break_barrier($1, $2, $3, $4, $5, $6)", params).map(drop)
    }

    fn reset(&self, object: &Object) -> Result<(), ClusterError> {
        self.step(object, "SELECT reset_barrier($1, $2, $3)", Params::new()).map(drop)
    }
}
