//! What there is on the server, for people: from its own table of locks, and ours of sessions.

use super::session::{Params, Session};
use crate::error::{ClusterError, Subject};
use crate::report::{ClusterDeadlock, ClusterObject, ClusterParticipant};
use std::sync::Arc;
use tokio_postgres::Row;

/// The four columns of a participant, from this one on.
pub(super) fn participant(row: &Row, from: usize) -> Result<ClusterParticipant, tokio_postgres::Error> {
    let text = |column| row.try_get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    Ok(ClusterParticipant {
        host: text(from)?,
        pid: row.try_get::<_, Option<i32>>(from + 1)?.map_or(0, i32::cast_unsigned),
        command: text(from + 2)?,
        since: row
            .try_get::<_, Option<i64>>(from + 3)?
            .and_then(|since| u64::try_from(since).ok())
            .unwrap_or(0),
    })
}

/// One row for each object and claim, in the order of objects.
const OBJECTS: &str = "
    SELECT o.kind, o.name, o.size, c.granted, c.mode, c.key_id = o.id,
           l.host, l.pid, l.command, extract(epoch FROM l.since)::bigint, s.state, s.number
    FROM objects o CROSS JOIN LATERAL state_of(o) s
    LEFT JOIN LATERAL (
        SELECT c.granted, c.mode, c.key_id, c.backend FROM claims c WHERE c.id = o.id
        UNION ALL
        -- Who has set it for as long as it lives: as if it held it.
        SELECT true, 'Owner', o.id, l.backend FROM signals e JOIN living l ON l.number = e.owner WHERE e.id = o.id
    ) c ON true
    LEFT JOIN living l ON l.backend = c.backend
    WHERE $1::text IS NULL OR (o.kind, o.name) = ($1, $2)
    ORDER BY o.kind, o.name, l.since";

pub(super) fn objects(session: &Arc<Session>) -> Result<Vec<ClusterObject>, ClusterError> {
    select(session, None)
}

/// That one, if there is one.
pub(super) fn object(session: &Arc<Session>, one: &Subject) -> Result<Option<ClusterObject>, ClusterError> {
    select(session, Some(one)).map(|mut found| found.pop())
}

/// All objects, or one.
fn select(session: &Arc<Session>, one: Option<&Subject>) -> Result<Vec<ClusterObject>, ClusterError> {
    let params: Params = vec![Box::new(one.map(|one| one.kind)), Box::new(one.map(|one| one.name.clone()))];
    let mut objects: Vec<(ClusterObject, i32, bool)> = Vec::new();
    for row in session.query(OBJECTS, params)? {
        session.read(add(&mut objects, &row))?;
    }
    Ok(objects.into_iter().map(|(object, size, writes)| in_words(object, size, writes)).collect())
}

fn add(objects: &mut Vec<(ClusterObject, i32, bool)>, row: &Row) -> Result<(), tokio_postgres::Error> {
    let (kind, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    if objects.last().is_none_or(|(last, ..)| last.kind != kind || last.name != name) {
        let state = row.try_get::<_, Option<String>>(10)?.unwrap_or_default();
        let number = row.try_get(11)?;
        let object =
            ClusterObject { kind: kind.clone(), name, state, number, holders: Vec::new(), waiters: 0 };
        objects.push((object, row.try_get(2)?, false));
    }
    let Some((object, _, writes)) = objects.last_mut() else {
        return Ok(());
    };
    let granted: Option<bool> = row.try_get(3)?;
    // Who is first in a semaphore's queue has the key of the queue, and waits for one of the permits.
    let queues = kind == "semaphore" && row.try_get::<_, Option<bool>>(5)? == Some(true);
    // Of what is not held, the key is one that waits, in the name of its process; but for who has set an event for itself.
    let mode: Option<&str> = row.try_get(4)?;
    let is_held = matches!(kind.as_str(), "lock" | "rwlock" | "semaphore") || mode == Some("Owner");
    match granted {
        Some(_) if !is_held => object.waiters += 1,
        Some(true) if !queues => {
            *writes |= mode == Some("ExclusiveLock");
            object.holders.push(participant(row, 6)?);
        }
        Some(_) if queues || kind != "semaphore" => object.waiters += 1,
        _ => {}
    }
    Ok(())
}

fn in_words(mut object: ClusterObject, size: i32, writes: bool) -> ClusterObject {
    if !object.state.is_empty() {
        return object;
    }
    let holders = object.holders.len();
    object.state = match object.kind.as_str() {
        "semaphore" => {
            format!("{} of {size} permits free", usize::try_from(size).unwrap_or(0).saturating_sub(holders))
        }
        _ if holders == 0 => "free".to_owned(),
        "rwlock" if writes => "written".to_owned(),
        "rwlock" => "read".to_owned(),
        _ => "held".to_owned(),
    };
    object
}

pub(super) fn participants(session: &Arc<Session>) -> Result<Vec<ClusterParticipant>, ClusterError> {
    // A process has a session for each wait, too.
    let found = session.query(
        "SELECT host, pid, command, extract(epoch FROM min(since))::bigint FROM living
         GROUP BY host, pid, process, command ORDER BY min(since)",
        Params::new(),
    )?;
    let read = |row: &Row| participant(row, 0);
    session.read(found.iter().map(read).collect())
}

/// A wait that was said: its session and the one that it waits for.
struct Wait {
    session: i32,
    blocked_by: Vec<i32>,
    who: ClusterParticipant,
    what: String,
}

pub(super) fn deadlocks(session: &Arc<Session>) -> Result<Vec<ClusterDeadlock>, ClusterError> {
    let found = session.query(
        "SELECT w.session, ARRAY(SELECT b.session FROM waits b WHERE w.wanted = ANY (b.held)),
                l.host, l.pid, l.command, extract(epoch FROM l.since)::bigint, o.kind || ' ' || o.name
         FROM waits w JOIN living l ON l.number = w.session
         JOIN objects o ON o.id = (w.wanted & 4294967295)::int ORDER BY w.session",
        Params::new(),
    )?;
    let read = |row: &Row| -> Result<Wait, tokio_postgres::Error> {
        let who = participant(row, 2)?;
        Ok(Wait { session: row.try_get(0)?, blocked_by: row.try_get(1)?, who, what: row.try_get(6)? })
    };
    let waits: Vec<Wait> = session.read(found.iter().map(read).collect())?;
    Ok(circles(&waits))
}

/// The circles, each once: from its lowest session on.
fn circles(waits: &[Wait]) -> Vec<ClusterDeadlock> {
    let mut found = Vec::new();
    for start in waits {
        let mut path = vec![start];
        while let Some(last) = path.last() {
            let next = waits.iter().find(|wait| last.blocked_by.contains(&wait.session));
            match next {
                Some(next) if next.session == start.session => {
                    if path.iter().all(|wait| wait.session >= start.session) {
                        let waits = path.iter().map(|wait| (wait.who.clone(), wait.what.clone())).collect();
                        found.push(ClusterDeadlock { waits });
                    }
                    break;
                }
                Some(next) if path.iter().all(|wait| wait.session != next.session) => path.push(next),
                _ => break,
            }
        }
    }
    found
}
