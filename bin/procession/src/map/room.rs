//! `--memfree` and `--load`: no job is started while the machine has too little memory, or too much to do.

use procession_sys::clock::now_ns;
use std::fs;
use std::str::FromStr;

/// How often the machine is looked at: after each start of a job it is once more, when so much time has passed.
const EVERY: u64 = 250_000_000;

/// A number of bytes, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const UNITS: [(&str, u32); 5] = [("", 0), ("k", 1), ("m", 2), ("g", 3), ("t", 4)];
        let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let power = UNITS.iter().find(|(name, _)| *name == unit.to_ascii_lowercase());
        let bytes =
            power.and_then(|(_, power)| number.parse::<u64>().ok()?.checked_mul(1024_u64.pow(*power)));
        bytes.map(Self).ok_or_else(|| "write it as 512M or 2G".to_owned())
    }
}

/// How much the machine may have to do: by the number of processes that run or want to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load(f64);

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cpus = std::thread::available_parallelism().map_or(1.0, |cpus| cpus.get() as f64);
        let load = match text.strip_suffix('%') {
            Some(percent) => percent.parse().map(|percent: f64| cpus * percent / 100.0),
            None => text.parse(),
        };
        let load = load.ok().filter(|load: &f64| load.is_finite() && *load > 0.0);
        load.map(Self).ok_or_else(|| "it is a number of processes, or N% of the CPUs".to_owned())
    }
}

/// Whether there is room for one more job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    memory: Option<Bytes>,
    load: Option<Load>,
    is_there: bool,
    next: u64,
}

impl Room {
    pub(super) fn new(memory: Option<Bytes>, load: Option<Load>) -> Self {
        Self { memory, load, is_there: true, next: 0 }
    }

    /// Looks, if it is time.
    pub(super) fn look(&mut self) {
        if self.memory.is_none() && self.load.is_none() || now_ns() < self.next {
            return;
        }
        self.next = now_ns().saturating_add(EVERY);
        // What the machine does not say is no reason to wait for ever.
        let has_memory = self.memory.is_none_or(|Bytes(least)| memory().is_none_or(|free| free >= least));
        let is_idle = self.load.is_none_or(|Load(most)| load().is_none_or(|load| load < most));
        self.is_there = has_memory && is_idle;
    }

    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// When to look again, if there was none.
    pub(super) fn next(&self) -> u64 {
        if self.is_there { u64::MAX } else { self.next }
    }
}

/// The bytes that programs can get without that others lose theirs.
fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// How many processes wanted to run in the last minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Load, Room, load, memory};

    #[test]
    fn bytes_and_loads_are_read() {
        let bytes = |text: &str| text.parse::<Bytes>().map(|Bytes(bytes)| bytes);
        assert_eq!(["7", "2k", "3M", "1g"].map(|text| bytes(text).unwrap()), [7, 2048, 3 << 20, 1 << 30]);
        assert!(["", "M", "1.5G", "-1", "9999999999T", "1kb"].iter().all(|text| bytes(text).is_err()));
        let cpus = std::thread::available_parallelism().unwrap().get() as f64;
        assert_eq!("50%".parse::<Load>(), Ok(Load(cpus / 2.0)));
        assert!(["", "0", "x%", "-1", "inf"].iter().all(|text| text.parse::<Load>().is_err()));
    }

    #[test]
    fn there_is_room_or_not() {
        assert!(memory().is_some_and(|free| free > 0) && load().is_some());
        let looked = |memory: &str, load: &str| {
            let mut room = Room::new(memory.parse().ok(), load.parse().ok());
            room.look();
            room.is_there()
        };
        assert!(looked("1", "1000000") && looked("", ""));
        assert!(!looked("1000T", "") && !looked("", "0.000001"));
    }
}
