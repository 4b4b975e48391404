//! Ends of pipes that this process has sent off in messages, until somebody has them.
//!
//! A handle in a message pins nothing, and both handles of a pipe may be gone before the message is received. So the process
//! that sent an end stays attached to the pipe as long as the end's cell says that this process carries it. If it dies, the
//! end dies with its carrier.
//!
//! A message that is not sent after all takes no end with it: each end counts the messages that it was sent off in, and what
//! was counted while a message was encoded is taken back when sending it fails.

use crate::pipe::End;
use procession_sys::fork::{self, ForkLock};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Who forks copies the list, and the cookie tells the copies apart.
static UNDERWAY: Mutex<Vec<(u64, End)>> = Mutex::new(Vec::new());

/// How many ends all threads have noted: messages without ends cost a look at this.
static NOTED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The counts of the ends that this thread has sent off in a message of which it is not known yet whether it was sent.
    static DEPARTED: RefCell<Departed> = const { RefCell::new(Departed(Vec::new())) };
}

struct Departed(Vec<Arc<AtomicU32>>);

impl Drop for Departed {
    fn drop(&mut self) {
        NOTED.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// Encodes and sends a message; if it is not sent, the ends in it are where they were.
#[inline]
pub(crate) fn attempt<R, E>(send: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
    // What was encoded otherwise is nobody's business here.
    settle(true);
    let mut attempt = Attempt { sent: false };
    let outcome = send();
    attempt.sent = outcome.is_ok();
    outcome
}

/// Ends with a panic of the user's code, too.
struct Attempt {
    sent: bool,
}

impl Drop for Attempt {
    #[inline]
    fn drop(&mut self) {
        settle(self.sent);
    }
}

/// Counts one more message that an end is sent off in.
pub(crate) fn depart(count: &Arc<AtomicU32>) {
    count.fetch_add(1, Ordering::Relaxed);
    // While the thread ends there is nowhere to note it.
    let _: Result<(), _> = DEPARTED.try_with(|departed| {
        departed.borrow_mut().0.push(Arc::clone(count));
        NOTED.fetch_add(1, Ordering::Relaxed);
    });
}

#[inline]
fn settle(sent: bool) {
    // Relaxed: what this thread noted, it sees.
    if NOTED.load(Ordering::Relaxed) != 0 {
        settle_noted(sent);
    }
}

#[cold]
fn settle_noted(sent: bool) {
    let departed = DEPARTED.try_with(|departed| departed.replace(Departed(Vec::new())));
    for count in departed.iter().filter(|_| !sent).flat_map(|departed| &departed.0) {
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

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
