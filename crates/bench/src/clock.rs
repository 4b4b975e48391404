//! Clocks that other processes share.

use crate::error::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::time::Duration;

/// The monotonic clock, which all processes share. [`std::time::Instant`] cannot cross to another process.
pub(crate) fn now_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("clock_gettime")?;
    nanos(Duration::from(now))
}

/// How long all threads of a process have run together, in the kernel and out of it.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).context("pid")?);
    let clock = clock_getcpuclockid(pid).context("clock_getcpuclockid")?;
    Ok(Duration::from(clock_gettime(clock).context("the CPU time of a process")?))
}

/// How long this thread has run.
pub(crate) fn own_cpu_time() -> Result<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).context("the CPU time of a thread")
}

pub(crate) fn nanos(time: Duration) -> Result<u64> {
    u64::try_from(time.as_nanos()).context("a time")
}
