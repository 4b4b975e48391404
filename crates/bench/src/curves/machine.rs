//! The machine, as its kernel describes it.

use crate::error::{Context, Result};
use crate::pool::workers;
use std::process::Command;

pub(super) struct Machine {
    /// What there is, in one line.
    pub(super) name: String,
    pub(super) date: String,
    /// How many processes wanted a CPU in the last minute, before anything was measured.
    pub(super) load: f64,
}

impl Machine {
    pub(super) fn look() -> Result<Self> {
        let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        let name = format!(
            "{cpu}, {} CPUs, {} GB of memory, Linux {}",
            workers(),
            kilobytes * 1024 / 1_000_000_000,
            kernel.split('-').next().unwrap_or_default().trim()
        );
        let load = read("/proc/loadavg");
        let load = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
        let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().context("date")?;
        Ok(Machine { name, date: String::from_utf8_lossy(&date.stdout).trim().to_owned(), load })
    }

    /// Whether others used the CPUs that the measurement needs.
    pub(super) fn was_busy(&self) -> bool {
        self.load > 0.3
    }
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Empty where it cannot be read.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
