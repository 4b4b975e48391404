//! Ends of pipes that this process has sent off in messages, until somebody has them.
//!
//! A handle in a message pins nothing, and both handles of a pipe may be gone before the message is received. So the process
//! that sent an end stays attached to the pipe as long as the end's cell says that this process carries it. If it dies, the
//! end dies with its carrier.

use crate::pipe::End;
use procession_sys::fork::{self, ForkLock};
use std::sync::Mutex;

/// Who forks copies the list, and the cookie tells the copies apart.
static UNDERWAY: Mutex<Vec<(u64, End)>> = Mutex::new(Vec::new());

/// Keeps the pipe of `end`, another handle of which was sent off.
pub(crate) fn keep(end: End) {
    update(Some((fork::cookie(), end)));
}

/// Lets those pipes go whose ends have arrived, or were closed.
pub(crate) fn let_go_of_arrived() {
    update(None);
}

fn update(sent: Option<(u64, End)>) {
    // A forked child that copied the list while it was changed leaves it alone: none of it is the child's.
    let gone = ForkLock::registration().hold(|| {
        let mut list = UNDERWAY.try_lock().ok()?;
        // An attempt to send that failed may be repeated.
        let fresh = sent.filter(|(_, end)| !list.iter().any(|(_, known)| known.is_twin_of(end)));
        list.extend(fresh);
        let cookie = fork::cookie();
        Some(list.extract_if(.., |(of, end)| *of != cookie || !end.is_underway()).collect::<Vec<_>>())
    });
    // The last to let go of a pipe removes its file, which is nothing to be done under a lock.
    drop(gone);
}
