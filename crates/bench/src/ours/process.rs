//! Our `Process`.

use crate::error::{Context, Result};
use crate::start::timed;
use procession::{Process, StartMethod};
use std::hint::black_box;
use std::time::Duration;

fn nothing() {}

fn start_and_join(method: StartMethod) -> Result<Duration> {
    timed(|| {
        let child = Process::options().start_method(method).spawn(nothing, ()).context("start a process")?;
        child.join().context("join a process")
    })
}

pub(crate) fn forkserver() -> Result<Duration> {
    start_and_join(StartMethod::Forkserver)
}

pub(crate) fn spawn() -> Result<Duration> {
    start_and_join(StartMethod::Spawn)
}

/// This process has threads, so it is a process of its own that forks, with so many bytes of memory in use.
pub(crate) fn fork_many(ballast: usize) -> Result<Vec<f64>> {
    let many = move |ballast: usize| -> Vec<f64> {
        let _ballast = black_box(vec![1_u8; ballast]);
        let times = (0..50).map_while(|_| start_and_join(StartMethod::Fork).ok());
        times.map(|time| time.as_secs_f64() * 1e6).collect()
    };
    Process::spawn(many, ballast).context("start a process")?.join().context("fork processes")
}
