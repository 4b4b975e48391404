//! Start methods: in which of three ways a process comes to be.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

/// The way in which a new process comes to be. What a process finds, and how it ends, does not depend on it;
/// what differs is what it costs, and what is in its memory when its function begins.
///
/// | | how | in memory |
/// |---|---|---|
/// | [`Spawn`](Self::Spawn) | the program is executed anew | what `main` does before [`init`](crate::init) |
/// | [`Forkserver`](Self::Forkserver) | the program is executed once as a server, which has one thread and is copied for each process | that, and what a function did that the server ran first: [`Context::preload`](crate::Context::preload) |
/// | [`Fork`](Self::Fork) | this process is copied | all that this process has |
///
/// A process that has other threads cannot be copied safely: they may be in the middle of something that the
/// copy would never see finished. So `Fork` is refused to it
/// ([`SpawnError::ForkWithThreads`](crate::SpawnError::ForkWithThreads)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StartMethod {
    /// The program is executed anew for each process. It is the default: each process begins alike, whatever
    /// this one has done.
    #[default]
    Spawn,
    /// A copy of this program that has done nothing yet, or only what
    /// [`Context::preload`](crate::Context::preload) says, waits to be copied. That is several times faster.
    /// The server is started with the first such process, and again when it was killed; it ends with this
    /// process. While it has nothing to do, it keeps two copies ready for the next processes (`forkspare` in
    /// `ps`), which are children of this process from then on.
    Forkserver,
    /// This process itself is copied: the new one has all that is in its memory, and a copy of each open file
    /// descriptor. It is for programs of one thread.
    Fork,
}

impl StartMethod {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::Spawn, Self::Forkserver, Self::Fork];

    /// The name that Python has for it, too: `spawn`, `forkserver`, `fork`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Forkserver => "forkserver",
            Self::Fork => "fork",
        }
    }
}

/// Its name.
impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

static DEFAULT: AtomicU8 = AtomicU8::new(StartMethod::Spawn as u8);

/// Has every process started by `method` from now on whose options say nothing else: those of this process,
/// of its pools, and of the processes that are started from now on.
///
/// It is for `main`. A library leaves it alone, and says what it wants by a [`Context`](crate::Context).
///
/// ```
/// use procession::{Process, StartMethod, set_start_method, start_method};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     set_start_method(StartMethod::Forkserver);
///     assert_eq!(Process::spawn(|a: u32, b: u32| a + b, (2, 3))?.join()?, 5);
///     // It is theirs, too.
///     assert_eq!(Process::spawn(start_method, ())?.join()?, StartMethod::Forkserver);
///     Ok(())
/// }
/// ```
pub fn set_start_method(method: StartMethod) {
    // Relaxed: nothing is published through the number.
    DEFAULT.store(method as u8, Ordering::Relaxed);
}

/// The way in which processes are started whose options say nothing else: [`StartMethod::Spawn`], unless
/// [`set_start_method`] said another.
#[must_use]
pub fn start_method() -> StartMethod {
    let number = usize::from(DEFAULT.load(Ordering::Relaxed));
    StartMethod::ALL.get(number).copied().unwrap_or_default()
}
