//! The objects that the server knows, by their names.

use super::lock;
use super::session::{Params, Session};
use crate::engine::Object;
use crate::error::{ClusterError, Subject};
use std::sync::Arc;

/// What a size of an object counts, and how large it may be; `None` where it has none.
fn unit(kind: &str) -> Option<(&'static str, u32)> {
    match kind {
        "semaphore" => Some(("permits", 65_536)),
        "barrier" => Some(("parties", 65_536)),
        "latch" => Some(("arrivals", i32::MAX.cast_unsigned())),
        _ => None,
    }
}

/// The object's id, by which its keys and its rows are known; it is made if there is none. `Mismatch` when there is one
/// of another size.
pub(super) fn find(session: &Arc<Session>, object: &Object) -> Result<i32, ClusterError> {
    object.check_name()?;
    let Subject { kind, name, .. } = &object.subject;
    let known = lock(&session.ids).get(&(*kind, name.clone())).copied();
    let (unit, most) = unit(kind).unwrap_or(("", 1));
    let mismatch = |there: String| ClusterError::Mismatch {
        object: object.subject.clone(),
        there,
        asked: format!("{} {unit}", object.size),
    };
    let (id, size) = match known {
        Some(known) => known,
        None if object.size == 0 || object.size > most => {
            return Err(mismatch(format!("a {kind} of a cluster has 1 to {most} {unit}")));
        }
        None => {
            let size = object.size.cast_signed();
            let params: Params =
                vec![Box::new(session.space()), Box::new(*kind), Box::new(name.clone()), Box::new(size)];
            let rows = session.query("SELECT * FROM find_object($1, $2, $3, $4)", params)?;
            let (id, size): (i32, i32) = (session.first(&rows, 0)?, session.first(&rows, 1)?);
            let found = (id, size.cast_unsigned());
            lock(&session.ids).insert((*kind, name.clone()), found);
            found
        }
    };
    if size == object.size { Ok(id) } else { Err(mismatch(format!("{size} {unit}"))) }
}

/// Has the id of an object asked for again.
pub(super) fn forget(session: &Session, object: &Object) {
    lock(&session.ids).remove(&(object.subject.kind, object.subject.name.clone()));
}
