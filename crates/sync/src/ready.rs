//! Waiting as a task of an executor does: a future for each thing that can be waited for.
//!
//! There is no runtime beneath: the [bridge](crate::bridge) wakes the task. An operation is tried, and where
//! it would block, the task sleeps until the object is ready and tries again. So nothing is taken before the
//! future is done, and one that is dropped earlier has taken nothing.

use crate::bridge::Watching;
use crate::eventcount::EventCount;
use crate::fault::Fault;
use crate::waitable::{Waitable, Watch};
use procession_shm::Segment;
use procession_sys::Deadline;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A future that is done once an object is ready; made by [`ready`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Ready {
    stage: Stage,
    /// When it is done in any case.
    until: Deadline,
}

enum Stage {
    New(Box<dyn Waitable + Send>),
    Waiting { watching: Watching, waker: Arc<Mutex<Waker>> },
    Done,
}

/// Waits, as a task does, until `object` is ready: what [`wait`](crate::wait()) is for threads.
///
/// What is ready may have been used by somebody else before you come: use the calls that do not wait, in a
/// loop. The objects have futures of their own that do so (`get_async`, `acquire_async`, …). It is cancel-safe:
/// a future that is dropped leaves everything as it was.
///
/// An end of a pipe and a process are not `Clone`: put them into an [`Arc`].
///
/// ```
/// use procession::{Latch, ready};
///
/// async fn open(latch: &Latch) {
///     while !latch.is_open() {
///         ready(latch).await;
///     }
/// }
/// ```
///
/// The task is woken by a thread of this process, which is started with the first future that waits. Where it
/// cannot be started, the task is polled again and again.
pub fn ready<W: Waitable + Clone + Send + 'static>(object: &W) -> Ready {
    Ready { stage: Stage::New(Box::new(object.clone())), until: Deadline::NEVER }
}

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let has_rung = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Done => true,
            // The bridge looks at once. One that is ready is not done at once here: a task that goes on trying
            // while an object is ready for others alone would keep its executor's thread to itself.
            Stage::New(object) => {
                let waker = Arc::new(Mutex::new(context.waker().clone()));
                let rung = Arc::clone(&waker);
                match Watching::new(object, self.until, move || current(&rung).wake()) {
                    Ok(watching) => self.stage = Stage::Waiting { watching, waker },
                    // No thread can wake this task: the executor asks again, and the caller tries again.
                    Err(_) => context.waker().wake_by_ref(),
                }
                return Poll::Pending;
            }
            Stage::Waiting { watching, waker } => {
                // First the waker, then the look: who rings in between wakes the new one.
                waker.lock().unwrap_or_else(PoisonError::into_inner).clone_from(context.waker());
                let has_rung = watching.has_rung();
                if !has_rung {
                    self.stage = Stage::Waiting { watching, waker };
                }
                has_rung
            }
        };
        if has_rung { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The waker of the task that is to be told now; woken with no lock held, because that runs the executor.
fn current(waker: &Mutex<Waker>) -> Waker {
    waker.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("is_done", &matches!(self.stage, Stage::Done)).finish_non_exhaustive()
    }
}

/// How often a task tries again before it sleeps, as a thread spins: the others of its executor come in between.
const TRIES: u32 = 16;
/// How long a task sleeps before it tries again in any case, as a thread does at the end of its slice: for what
/// nobody announces, such as a death. It doubles from the first to the last.
const FIRST_SLICE: Duration = Duration::from_millis(1);
const LAST_SLICE: Duration = Duration::from_millis(100);

/// Tries `attempt` until it has an answer, and sleeps in between until what `listen` returned is ready: that is
/// called before the attempt, so that nothing which changes after it is missed. `segment` is the object's, if
/// its file matters.
///
/// # Errors
/// [`Fault::Orphaned`]; what `attempt` returns.
#[doc(hidden)]
pub async fn when_ready<W, R, E>(
    segment: Option<&Segment>,
    listen: impl Fn() -> W,
    attempt: impl Fn() -> Option<Result<R, E>>,
) -> Result<R, E>
where
    W: Waitable + Send + 'static,
    E: From<Fault>,
{
    for _ in 0..TRIES {
        if let Some(answer) = attempt() {
            return answer;
        }
        Again(false).await;
    }
    let mut slice = FIRST_SLICE;
    loop {
        let object = listen();
        if let Some(answer) = attempt() {
            return answer;
        }
        if let Some(segment) = segment.filter(|segment| segment.is_orphaned()) {
            return Err(Fault::orphaned(segment).into());
        }
        Ready { stage: Stage::New(Box::new(object)), until: Deadline::after(slice) }.await;
        slice = (slice * 2).min(LAST_SLICE);
    }
}

/// Done when it is polled a second time, which is soon: whether it was polled before.
struct Again(bool);

impl Future for Again {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Something of an object that is waited for by the bell that rings when it may have changed.
#[doc(hidden)]
pub struct Rung<T> {
    object: T,
    bell: fn(&T) -> &EventCount,
    listened: u32,
}

impl<T> Rung<T> {
    /// Ready once the `bell` of the `object` has rung after this call.
    pub fn new(object: T, bell: fn(&T) -> &EventCount) -> Self {
        let listened = bell(&object).listen();
        Self { object, bell, listened }
    }

    fn bell(&self) -> &EventCount {
        (self.bell)(&self.object)
    }
}

impl<T> fmt::Debug for Rung<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rung").field("listened", &self.listened).finish_non_exhaustive()
    }
}

impl<T: Sync> Waitable for Rung<T> {
    fn is_ready(&self) -> bool {
        // The bits of waiters come and go.
        self.bell().has_rung_since(self.listened)
    }

    fn watch(&self) -> Watch<'_> {
        Watch::at(self.bell())
    }

    fn unwatch(&self) {
        Watch::leave(self.bell(), || self.is_ready());
    }
}
