//! The one error of clusters.

use std::fmt;

/// An object of a cluster, for people: its kind, its name and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What it is, such as `lock`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Where it is: the server's address without a password, or the namespace of shared memory.
    pub place: String,
}

impl Subject {
    /// What has not come when a wait for it timed out.
    fn waited_for(&self) -> &'static str {
        match self.kind {
            "queue" => "has no item that is ready",
            "event" => "was not changed by anybody",
            "latch" => "is not open: not all have arrived",
            "barrier" => "is broken now: not all have arrived",
            "pool" => "has no result yet",
            _ => "is not free",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} {:?} of {}", self.kind, self.name, self.place)
    }
}

/// Why something that was wanted of a cluster was not done.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Somebody holds it, or there is nothing in it (the `try_` forms).
    #[error("{object} {}{}", if object.kind == "queue" { "has no item that is ready" } else { "is held" }, by(holder))]
    WouldBlock {
        /// Which one.
        object: Subject,
        /// Who holds it; empty when that was not found out.
        holder: String,
    },
    /// What was waited for did not come in time (the `_timeout` forms).
    #[error("timed out: {object} {}{}", object.waited_for(), by(holder))]
    TimedOut {
        /// Which one.
        object: Subject,
        /// Who holds it; empty when that was not found out.
        holder: String,
    },
    /// Waiting would never end.
    #[error("waiting for {object} would never end: {}", if *is_own {
        "this thread holds it already"
    } else {
        "its holder waits for what this thread holds: release that, then try again"
    })]
    Deadlock {
        /// Which one.
        object: Subject,
        /// Whether this thread itself holds it.
        is_own: bool,
    },
    /// The server did not answer in time, or cannot be reached. Whether the operation took effect is not known, but
    /// for a hold: it is not held.
    #[error(
        "{place} is not available: {reason}. Try again; if it lasts, look whether the server runs and can be reached"
    )]
    Unavailable {
        /// The server, without its password.
        place: String,
        /// What happened.
        reason: String,
    },
    /// The session that had this hold has ended: somebody else may hold the object by now. Of a lease of a queue's item also
    /// that its time is over, or that somebody has decided about the item by its token.
    #[error("{}", why_lost(object))]
    Lost {
        /// Which one.
        object: Subject,
    },
    /// Items were not done in time (`join_timeout`).
    #[error("timed out: items of {object} are not done")]
    NotDone {
        /// Which one.
        object: Subject,
    },
    /// The number would be too large for a counter, and was not changed.
    #[error("{object} cannot be changed by {by}: the number would not fit into 64 bits")]
    OutOfRange {
        /// Which one.
        object: Subject,
        /// By how much it was to be changed.
        by: i64,
    },
    /// A function that was given to a pool did not return.
    #[error("item {item} of the call of {function} by {pool} failed: {reason}")]
    TaskFailed {
        /// Which pool.
        pool: Subject,
        /// The number of the item, from 0.
        item: usize,
        /// The function, by its path in the program.
        function: String,
        /// What happened.
        reason: String,
    },
    /// A function cannot be given to other hosts.
    #[error("{pool} cannot call this function on other hosts: {reason}")]
    NotRunnable {
        /// Which pool.
        pool: Subject,
        /// Why not.
        reason: String,
    },
    /// A process that others counted on has died.
    #[error("{object} is broken: {who} died")]
    PeerDied {
        /// Which one.
        object: Subject,
        /// Who died: its host and pid.
        who: String,
    },
    /// Another process has set the event for as long as it lives (`set_owned`).
    #[error("{object} is set by {holder} for as long as that lives: end it, or clear the event")]
    Owned {
        /// Which one.
        object: Subject,
        /// Which process: its host and pid.
        holder: String,
    },
    /// The barrier was broken.
    #[error("{object} is broken: {reason}")]
    Broken {
        /// Which one.
        object: Subject,
        /// By what.
        reason: String,
    },
    /// The queue was closed.
    #[error("{object} is closed")]
    Closed {
        /// Which one.
        object: Subject,
    },
    /// The object exists, and is another one than was asked for.
    #[error(
        "{object} exists with {there}, and was asked for with {asked}: use one of both everywhere, or another name"
    )]
    Mismatch {
        /// Which one.
        object: Subject,
        /// What it has.
        there: String,
        /// What was asked for.
        asked: String,
    },
    /// The server refuses, and would again.
    #[error("{place} cannot be used: {reason}")]
    Refused {
        /// The server, without its password.
        place: String,
        /// Why, and what to do.
        reason: String,
    },
    /// This process holds too much at once.
    #[error(
        "{object} was not acquired: this process holds {held} objects of the cluster already, and may hold {most} (ClusterOptions::max_holds)"
    )]
    TooMany {
        /// Which one.
        object: Subject,
        /// How many it holds.
        held: usize,
        /// How many it may hold.
        most: usize,
    },
    /// A name that no object can have.
    #[error("{name:?} cannot be the name of an object of a cluster: {reason}")]
    InvalidName {
        /// The name that was given.
        name: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// What was given to connect to is no address.
    #[error(
        "this is no address of a cluster: {reason}. Give postgres://USER@HOST/DATABASE, or shm: for this host alone"
    )]
    InvalidUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// A value could not be turned into bytes.
    #[error("an item for {object} cannot be encoded: {reason}")]
    Encode {
        /// For which object.
        object: Subject,
        /// Why not.
        reason: String,
    },
    /// Bytes could not be turned into a value.
    #[error("an item of {object} cannot be decoded as the type that was asked for: {reason}")]
    Decode {
        /// Of which object.
        object: Subject,
        /// Why not.
        reason: String,
    },
    /// A hook of this thread wanted the wait to end (`procession::interrupt`).
    #[error("the wait for {object} was interrupted")]
    Interrupted {
        /// Which one.
        object: Subject,
    },
    /// The shared memory beneath an object of `shm:` is unusable.
    #[error("{object} is unusable")]
    Memory {
        /// Which one.
        object: Subject,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn why_lost(object: &Subject) -> String {
    if object.kind == "queue" {
        return format!(
            "the lease of an item of {object} is lost: its time is over, or its holder or its holder's session with the server \
             has ended, or the item was acknowledged or given back before. What is not done comes again"
        );
    }
    format!(
        "{object} was lost: this process did not reach the server for too long, or its session was ended there, and somebody \
         else may hold it by now. Stop what it guards, then acquire it again"
    )
}

fn by(holder: &str) -> String {
    if holder.is_empty() { String::new() } else { format!(": {holder}") }
}

procession_shm::debug_as_text!(ClusterError);
