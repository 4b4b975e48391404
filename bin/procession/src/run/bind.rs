//! Which CPUs each worker of `procession run` runs on.

use procession_sys::settings::{bind_thread, cpus_of_thread};
use procession_terminal::exit::Failure;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What a worker is bound to; there may be more workers than that: they take turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Bind {
    /// To nothing: the kernel chooses among the CPUs of this process.
    #[default]
    None,
    /// To one core, with all of its hardware threads.
    Core,
    /// To the CPUs that are next to one part of the memory (a NUMA node).
    Numa,
}

/// The places to which workers are bound, one after the other.
pub(super) struct Places {
    /// Those of this process.
    all: Vec<usize>,
    places: Vec<Vec<usize>>,
}

impl Places {
    /// Those of this machine that this process may use; `None` if workers are bound to nothing.
    ///
    /// # Errors
    /// The kernel's, if it does not say which CPUs this process has.
    pub(super) fn of(bind: Bind) -> Result<Option<Self>, Failure> {
        let all = cpus_of_thread()?;
        let places = match bind {
            Bind::None => return Ok(None),
            Bind::Core => grouped(&all, |cpu| {
                let list = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
                // A kernel that does not tell of cores has none that share something.
                fs::read_to_string(list).map_or_else(|_| vec![cpu], |list| cpus_in(&list))
            }),
            Bind::Numa => {
                let nodes = nodes(Path::new("/sys/devices/system/node"));
                // Without nodes all memory is next to everybody.
                grouped(&all, |cpu| nodes.iter().find(|node| node.contains(&cpu)).unwrap_or(&all).clone())
            }
        };
        Ok(Some(Self { all, places }))
    }

    /// Calls `start`, whose processes are bound to the place of this rank.
    ///
    /// # Errors
    /// The kernel's, if this thread cannot be bound to it, which the processes have from it.
    pub(super) fn bound<R>(&self, rank: usize, start: impl FnOnce() -> R) -> Result<R, Failure> {
        let place = &self.places[rank % self.places.len()];
        bind_thread(place)?;
        let started = start();
        // If it stays bound, so it is until the next start: what was started counts.
        drop(bind_thread(&self.all));
        Ok(started)
    }
}

/// The CPUs in groups, each as often as it is different; only those that are in `all`.
fn grouped(all: &[usize], group_of: impl Fn(usize) -> Vec<usize>) -> Vec<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let mut groups = Vec::new();
    for &cpu in all.iter() {
        let mut group: Vec<usize> = group_of(cpu).into_iter().filter(|cpu| all.contains(cpu)).collect();
        if group.is_empty() {
            group.push(cpu);
        }
        if seen.insert(group.clone()) {
            groups.push(group);
        }
    }
    groups
}

/// The CPUs of each node.
fn nodes(directory: &Path) -> Vec<Vec<usize>> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let lists = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cpulist")).ok());
    lists.map(|list| cpus_in(&list)).collect()
}

/// Reads `0-3,8,10-11`, as the kernel writes it.
fn cpus_in(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::{cpus_in, grouped};

    #[test]
    fn the_kernels_lists_are_read() {
        assert_eq!(cpus_in("0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(cpus_in("\n"), [0; 0]);
    }

    #[test]
    fn each_group_comes_once_with_what_may_be_used_of_it() {
        let pairs = |cpu: usize| vec![cpu - cpu % 2, cpu - cpu % 2 + 1];
        assert_eq!(grouped(&[0, 1, 3], pairs), [vec![0, 1], vec![3]]);
        // A kernel that says nothing of a CPU.
        assert_eq!(grouped(&[4], |_| Vec::new()), [[4]]);
    }
}
