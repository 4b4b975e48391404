//! What the pool's thread does for those who do not wait: it wakes tasks, and has callbacks and the observer
//! called.

use super::callbacks::{Call, Callbacks, call_here};
use super::foreman::Foreman;
use super::job::JobResult;
use super::progress::{self, Progress};
use super::watchers::{Callback, Duty};
use procession_sys::Deadline;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl Foreman {
    /// Has the callback called once the job is over; in a forked child that is now.
    pub(crate) fn call_when_over(self: &Arc<Self>, id: u64, callback: Callback) {
        let mut crew = match self.look() {
            Ok(crew) => crew,
            Err(error) => return call_here(callback, &JobResult::One(Err(error))),
        };
        crew.jobs.call(id, callback);
        self.alert(&mut crew);
        if crew.is_over {
            // The pool's thread, which does that otherwise, has ended.
            drop(crew);
            self.do_duties();
        }
    }

    /// The thread in which callbacks run.
    pub(crate) fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Tells those who wait that a callback has run.
    pub(crate) fn announce_call(&self) {
        drop(self.lock());
        self.announce();
    }

    /// Wakes the tasks and has the callbacks called whose jobs are over. The caller does not hold the lock.
    pub(super) fn do_duties(self: &Arc<Self>) {
        let duties = self.lock().jobs.due().take();
        for duty in duties {
            match duty {
                // Code of the runtime's; a panic there is not the pool's.
                Duty::Wake(waker) => drop(catch_unwind(AssertUnwindSafe(|| waker.wake()))),
                Duty::Call(callback, outcome) => self.callbacks.call(self, Call::Callback(callback, outcome)),
            }
        }
    }

    /// Tells the observer, if something has changed since it was told the `last` time, and it is time for it.
    pub(super) fn report(self: &Arc<Self>, last: &mut (Progress, Deadline), is_end: bool) {
        let Some(observer) = &self.plan.observer else { return };
        let is_time = is_end || last.1.has_passed() && self.callbacks.open() == 0;
        let now = self.lock().progress();
        if is_time && now != last.0 {
            *last = (now, Deadline::after(progress::PERIOD));
            self.callbacks.call(self, Call::Observer(observer.clone(), now));
        }
    }
}
