//! What a cluster has in it, for people to read.

use serde::Serialize;
use std::fmt;

/// An object of a cluster, as [`Cluster::list`](crate::Cluster::list) found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClusterObject {
    /// What it is, such as `lock`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its state in words, such as `held` or `2 of 4 permits free`.
    pub state: String,
    /// The number that it is, where it is one: how many items of a queue are not done, how many have arrived at a barrier or
    /// a latch, what a counter is, 1 for an event that is set.
    pub number: Option<i64>,
    /// Who holds it.
    pub holders: Vec<ClusterParticipant>,
    /// How many wait for it.
    pub waiters: u32,
}

/// A process that takes part in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClusterParticipant {
    /// The host on which it runs; empty if nobody remembers.
    pub host: String,
    /// Its pid there, in its own pid namespace; 0 if nobody remembers.
    pub pid: u32,
    /// The name of its program.
    pub command: String,
    /// When it began to take part, in seconds since 1970; 0 if nobody remembers.
    pub since: u64,
}

impl fmt::Display for ClusterParticipant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.host.is_empty()) {
            (0, _) => f.write_str("a process that nobody remembers"),
            (pid, true) => write!(f, "{} (pid {pid})", self.command),
            (pid, false) => write!(f, "{} (pid {pid} on {})", self.command, self.host),
        }
    }
}

/// Threads that wait for one another in a circle, each as the process it is of and the object it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClusterDeadlock {
    /// Who waits, and for what: each waits for what the next one holds, and the last for the first.
    pub waits: Vec<(ClusterParticipant, String)>,
}

impl fmt::Display for ClusterDeadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (who, what)) in self.waits.iter().enumerate() {
            write!(f, "{}{who} waits for {what}", if nth == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
