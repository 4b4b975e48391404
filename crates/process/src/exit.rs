//! The end of the children when this process exits normally.

use crate::children::{self, Child, LAST_WAIT};
use crate::servers;
use procession_sys::signals::{SIGKILL, SIGTERM};
use procession_sys::{Deadline, fork, interrupt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a daemon may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// The last process that registered: this one, or one of which it is a copy, and then it has started no children.
static REGISTERED_BY: AtomicU64 = AtomicU64::new(0);

/// Has this process settle its own children at exit; the first call counts. A copy of one that has called it has the
/// handler already, which is then the copy's.
pub(crate) fn register() {
    // Relaxed: nothing is published through the number.
    if REGISTERED_BY.swap(fork::cookie(), Ordering::Relaxed) == 0 {
        // Registered first, it runs last: with children, this process may not be the last one in its namespaces.
        procession_shm::leave_at_exit();
        procession_sys::at_exit(settle);
    }
}

/// What a copy of this program does last that runs none of its parent's exit handlers.
pub(crate) fn settle_copy() {
    settle_children();
    procession_shm::leave();
}

/// Settles the children at a normal exit, as Python does: daemons are terminated, the others joined. Detached
/// children are left alone.
extern "C" fn settle() {
    if REGISTERED_BY.load(Ordering::Relaxed) != fork::cookie() {
        return;
    }
    // A panic must not cross into the C library.
    drop(std::panic::catch_unwind(settle_children));
}

fn settle_children() {
    drop(children::close());
    // What a start has in hand, another thread may not have let go yet.
    children::await_starts(LAST_WAIT);
    let children = children::running().into_iter().filter(|child| !child.detached);
    let (daemons, others): (Vec<_>, Vec<_>) = children.partition(|child| child.daemon);
    terminate(&daemons, GRACE);
    for child in others {
        child.await_end();
    }
    servers::end_all(GRACE);
}

/// Does what happens at a normal exit, for a program that ends by `_exit`, as forked children of Python do.
/// Daemons are terminated and other children joined; and if this process is the last one in a namespace, what
/// nobody will use again is removed: objects without a name and ephemeral ones, also those to which it still
/// has handles.
///
/// Call it last: no children can be started after it. Without it nothing is lost for good. What this process
/// alone had is garbage once it has ended, and is removed by the next process that joins the namespace, or by
/// `procession gc`.
///
/// ```
/// use procession::leave;
///
/// leave();
/// // `_exit` runs no handlers.
/// // unsafe { libc::_exit(0) }
/// ```
pub fn leave() {
    if REGISTERED_BY.load(Ordering::Relaxed) == fork::cookie() {
        settle_children();
    }
    procession_shm::leave();
}

/// Ends all children of this process, daemons or not, and lets none start any more: for a program that was
/// told to end by a signal. They get SIGTERM, and those that still run after `grace` get SIGKILL. Detached
/// children are left alone. When it returns, the others have ended, but for those that this process may not
/// signal (they have become another user's) or that the kernel has not ended ten seconds later: they are
/// given up, and end with this process.
///
/// ```
/// use procession::Process;
/// use std::time::Duration;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let child = Process::spawn(|()| std::thread::sleep(Duration::from_secs(3600)), ())?;
///     procession::end_children(Duration::from_secs(2));
///     assert!(!child.is_alive());
///     assert!(Process::spawn(|()| (), ()).is_err());
///     Ok(())
/// }
/// ```
pub fn end_children(grace: Duration) {
    drop(children::close());
    children::await_starts(LAST_WAIT);
    let children: Vec<_> = children::running().into_iter().filter(|child| !child.detached).collect();
    terminate(&children, grace);
    servers::end_all(grace);
}

/// Asks, insists, and gives up in the end: who wants to end must not wait for what cannot be ended.
pub(crate) fn terminate(children: &[Arc<Child>], grace: Duration) {
    let _deferred = interrupt::defer();
    let asked: Vec<_> = children.iter().filter(|child| child.signal(SIGTERM).is_ok()).collect();
    await_all(&asked, grace);
    let killed: Vec<_> = children.iter().filter(|child| child.signal(SIGKILL).is_ok()).collect();
    await_all(&killed, LAST_WAIT);
}

fn await_all(children: &[&Arc<Child>], time: Duration) {
    let deadline = Deadline::after(time);
    for child in children {
        drop(child.wait(deadline.remaining()));
    }
}
