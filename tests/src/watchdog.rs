//! The end of tests that hang.
//!
//! Nothing here is a promise of speed: a healthy test takes a small part of its patience. A test that hangs
//! sleeps, and so the machine is idle and it is found out soon; where the machine has more to do than it can,
//! patience lasts longer.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test may take, on a machine that is not crowded, unless it says otherwise.
const PATIENCE_SECONDS: u64 = 30;
/// How much longer it may take, at most, on one that is.
const MOST_CROWDED: f64 = 8.0;
/// How often somebody looks how crowded it is.
const LOOK: Duration = Duration::from_millis(200);

/// Ends the whole test program, with a message, unless it is dropped in time. Its actors end with it.
#[derive(Debug)]
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// Watches the calling test for half a minute.
    #[must_use]
    pub fn start() -> Self {
        Self::for_seconds(PATIENCE_SECONDS)
    }

    /// Watches the calling test for `seconds`.
    #[must_use]
    pub fn for_seconds(seconds: u64) -> Self {
        let test = thread::current().name().unwrap_or("?").to_owned();
        let (alive, hears) = mpsc::channel::<()>();
        thread::spawn(move || {
            let mut patience = Patience::of_seconds(seconds);
            while hears.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if patience.is_over() {
                    let actors = crate::actor::describe_all();
                    // Nobody is left to tell if stderr is closed.
                    drop(writeln!(
                        std::io::stderr(),
                        "WATCHDOG: test {test} did not end within {seconds} s. Actors:\n{actors}"
                    ));
                    std::process::abort();
                }
            }
        });
        Self { _alive: alive }
    }
}

/// Asks again and again until `condition` holds.
///
/// # Panics
/// When it has not held for half a minute.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut patience = Patience::of_seconds(PATIENCE_SECONDS);
    while !condition() {
        assert!(
            !patience.is_over(),
            "waited in vain until {what}. Actors:\n{}",
            crate::actor::describe_all()
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// Some time, of which less passes while more wants to run than there are processors.
#[derive(Debug)]
pub struct Patience {
    left: Duration,
    looked: Instant,
}

impl Patience {
    /// So many seconds, on a machine that is not crowded.
    #[must_use]
    pub fn of_seconds(seconds: u64) -> Self {
        Self { left: Duration::from_secs(seconds), looked: Instant::now() }
    }

    /// Whether it is at its end; to be asked now and then.
    pub fn is_over(&mut self) -> bool {
        let passed = self.looked.elapsed();
        if passed >= LOOK {
            self.looked += passed;
            self.left = self.left.saturating_sub(passed.div_f64(crowding()));
        }
        self.left.is_zero()
    }
}

/// How many threads want to run now, for each processor; 1 where that is not to be known.
fn crowding() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running = load.split(' ').nth(3).and_then(|counts| counts.split('/').next()?.parse::<f64>().ok());
    let processors = thread::available_parallelism().map_or(1, usize::from) as f64;
    (running.unwrap_or(1.0) / processors).clamp(1.0, MOST_CROWDED)
}
