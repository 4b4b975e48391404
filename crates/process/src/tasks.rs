//! Processes, for tasks of an executor.

use crate::children::Child;
use crate::error::{ProcessError, WaitError};
use crate::process::Process;
use crate::status::ExitStatus;
use procession_sync::{Fault, Waitable, Watch, ready, when_ready};
use procession_sys::Deadline;
use procession_sys::pidfd::EndWait;
use serde::de::DeserializeOwned;
use std::fmt;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll};
use std::time::Duration;

/// How often a task looks at what the kernel does not announce.
const LOOK: Duration = Duration::from_millis(20);

/// The end of a child, which outlives the handle of the process.
#[derive(Clone)]
struct End(Arc<Child>);

impl Waitable for End {
    fn is_ready(&self) -> bool {
        self.0.look().is_some()
    }

    fn watch(&self) -> Watch<'_> {
        Watch::File(self.0.end.as_fd())
    }

    fn unwatch(&self) {}
}

impl<R> Process<R> {
    /// Waits as [`wait`](Self::wait) does, as a task, until the process has ended. It is cancel-safe: the
    /// process goes on when the future is dropped.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_async(&self) -> Result<ExitStatus, WaitError> {
        drop(self.take_stdin());
        let end = End(Arc::clone(self.child()));
        loop {
            let is_silent =
                self.child().end.wait(Some(Duration::ZERO)).is_ok_and(|end| end != EndWait::TimedOut);
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if is_silent {
                // Dead, but a debugger is first in line for its status; or its descriptor was closed.
                nap().await;
            } else {
                ready(&end).await;
            }
        }
    }
}

/// What nobody announces.
struct Nothing;

impl Waitable for Nothing {
    fn is_ready(&self) -> bool {
        false
    }

    fn watch(&self) -> Watch<'_> {
        static WORD: AtomicU32 = AtomicU32::new(0);
        Watch::Futex(&WORD, 0)
    }

    fn unwatch(&self) {}
}

/// Sleeps for a [`LOOK`], as a task.
async fn nap() {
    let end = Deadline::after(LOOK);
    drop(when_ready::<_, (), Fault>(None, || Nothing, || end.has_passed().then_some(Ok(()))).await);
}

/// What [`Process::join`] returns, as a future; made by `.await` of a process. A future that is dropped is a
/// [`Process`] that is dropped: it goes on.
pub struct Joining<R>(Pin<Box<dyn Future<Output = Result<R, ProcessError>> + Send>>);

impl<R> Future for Joining<R> {
    type Output = Result<R, ProcessError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<R> fmt::Debug for Joining<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining").finish_non_exhaustive()
    }
}

/// Joins the process, as a task. To keep it, await [`Process::wait_async`].
///
/// ```
/// use procession::{Process, ProcessError};
///
/// async fn answer() -> Result<u32, Box<dyn std::error::Error>> {
///     let child = Process::spawn(|n: u32| 2 * n, 21)?;
///     Ok(child.await?)
/// }
/// ```
impl<R: DeserializeOwned + 'static> IntoFuture for Process<R> {
    type Output = Result<R, ProcessError>;
    type IntoFuture = Joining<R>;

    fn into_future(self) -> Joining<R> {
        Joining(Box::pin(async move {
            match self.wait_async().await {
                Ok(_) => self.join(),
                Err(WaitError::Kernel(error)) => Err(error.into()),
                // Nothing interrupts a task.
                Err(WaitError::Interrupted { process } | WaitError::TimedOut { process }) => {
                    Err(ProcessError::Interrupted { process })
                }
            }
        }))
    }
}
