//! The end of tests that hang.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test may take unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the whole test program, with a message, unless it is dropped in time. Its actors end with it.
#[derive(Debug)]
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// Watches the calling test for a minute.
    #[must_use]
    pub fn start() -> Self {
        Self::for_seconds(PATIENCE.as_secs())
    }

    /// Watches the calling test for `seconds`.
    #[must_use]
    pub fn for_seconds(seconds: u64) -> Self {
        let test = thread::current().name().unwrap_or("?").to_owned();
        let (alive, hears) = mpsc::channel::<()>();
        thread::spawn(move || {
            if hears.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
                let actors = crate::actor::describe_all();
                // Nobody is left to tell if stderr is closed.
                drop(writeln!(
                    std::io::stderr(),
                    "WATCHDOG: test {test} did not end within {seconds} s. Actors:\n{actors}"
                ));
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}

/// Asks again and again until `condition` holds.
///
/// # Panics
/// When it has not held for a minute.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "waited in vain until {what}. Actors:\n{}",
            crate::actor::describe_all()
        );
        thread::sleep(Duration::from_millis(1));
    }
}
