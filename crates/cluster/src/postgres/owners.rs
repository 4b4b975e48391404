//! Connections that last as long as the process: those by which events are set for it.

use super::{Postgres, lock};
use crate::engine::Object;
use std::sync::{Arc, Mutex};

/// The connection and the event. Who has dropped all that it had of a cluster is an owner all the same: an event is set for
/// the process, and on the server that is the session.
static KEPT: Mutex<Vec<(Arc<Postgres>, Object)>> = Mutex::new(Vec::new());

fn is(kept: &(Arc<Postgres>, Object), postgres: &Postgres, object: &Object) -> bool {
    std::ptr::eq(Arc::as_ptr(&kept.0), postgres) && kept.1.subject == object.subject
}

/// Keeps the connection for as long as the event is set by it.
pub(super) fn keep(postgres: &Arc<Postgres>, object: &Object) {
    let mut kept = lock(&KEPT);
    if !kept.iter().any(|one| is(one, postgres, object)) {
        kept.push((postgres.clone(), object.clone()));
    }
}

/// Keeps it for that event no more.
pub(super) fn forget(postgres: &Postgres, object: &Object) {
    // The caller has it, so that it does not end while this is locked.
    lock(&KEPT).retain(|one| !is(one, postgres, object));
}
