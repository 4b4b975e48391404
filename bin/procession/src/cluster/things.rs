//! What can be held of a cluster: as it is typed, as its object, and all of several or none.
//!
//! Nobody waits while it holds something: who finds one of several things busy lets go of the others, waits for that one
//! alone, and tries the others again when it has it. So there is no circle of those who wait, whatever order the others have.
//! The things are first tried in one order, so that two who want the same do not meet in the middle.

use super::{Place, failure, failure_with};
use crate::acquire::{HELD, held_by_ancestor, make_way, try_all};
use crate::holding::{Target, Wait, no_such_object, patiently};
use crate::keeper::kept_for;
use crate::people;
use procession::cluster::{
    AnyGuard, Cluster, ClusterError, ClusterObject, ClusterParticipant, Lock, RwLock, Semaphore,
};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::fmt;
use std::str::FromStr;

/// What is to be held, in the order in which several are acquired.
///
/// A lock that is shared is another kind of object than one that never is, so that whoever wants it alone says so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub(super) target: Target,
    /// Of a lock that others share: alone.
    exclusive: bool,
}

/// What is behind the name of such a lock.
const EXCLUSIVE: &str = ":exclusive";

impl Wanted {
    pub(super) fn lock(name: String, shared: bool, exclusive: bool) -> Self {
        Self { target: Target::Lock { name, shared }, exclusive }
    }

    /// The same, of a semaphore of so many permits.
    pub(super) fn of_all(self, count: Option<usize>) -> Self {
        Self { target: self.target.of_all(count), ..self }
    }

    /// Its kind in a cluster.
    fn kind(&self) -> &'static str {
        match self.target {
            Target::Permits { .. } => "semaphore",
            Target::Lock { shared, .. } if shared || self.exclusive => "rwlock",
            Target::Lock { .. } => "lock",
        }
    }

    fn is(&self, object: &ClusterObject) -> bool {
        object.kind == self.kind() && object.name == self.target.name()
    }

    /// The entry for it in the list of what is held: of a cluster, and so of no namespace.
    fn entry(&self) -> String {
        format!("{self}@cluster")
    }

    /// How many permits of how many it wants, if it is a semaphore whose number is known.
    fn leaves_room_beside(&self, held: usize, all: Option<usize>) -> bool {
        match self.target {
            Target::Permits { permits, .. } => all.is_none_or(|all| held + permits <= all),
            Target::Lock { .. } => held == 0,
        }
    }
}

impl From<Target> for Wanted {
    fn from(target: Target) -> Self {
        Self { target, exclusive: false }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.target, if self.exclusive { EXCLUSIVE } else { "" })
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix(EXCLUSIVE).and_then(|lock| lock.strip_prefix("lock:")) {
            Some(name) => Ok(Self::lock(name.to_owned(), false, true)),
            None => Ok(Self::from(text.parse::<Target>()?)),
        }
    }
}

/// What several are to be held as: `,` is between them.
pub(super) fn list(wanted: &[Wanted]) -> String {
    wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The list of what is held, for a command that runs under all of these.
pub(super) fn held(wanted: &[Wanted]) -> String {
    let before = std::env::var(HELD).ok().filter(|list| !list.is_empty());
    before.into_iter().chain(wanted.iter().map(Wanted::entry)).collect::<Vec<_>>().join(",")
}

/// The object that is to be held.
enum Object {
    Lock(Lock),
    RwLock { lock: RwLock, shared: bool },
    Permits { semaphore: Semaphore, permits: u32 },
}

/// What is to be held, and the object that it is.
struct Thing<'a> {
    wanted: &'a Wanted,
    object: Object,
}

impl<'a> Thing<'a> {
    fn open(wanted: &'a Wanted, cluster: &Cluster) -> Result<Self, Failure> {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let object = match &wanted.target {
            Target::Lock { name, .. } if wanted.kind() == "lock" => Object::Lock(cluster.lock(name)),
            Target::Lock { name, shared } => Object::RwLock { lock: cluster.rwlock(name), shared: *shared },
            Target::Permits { name, permits, count } => {
                let found = match count {
                    Some(count) => Some(cluster.semaphore(name, number(*count))),
                    None => cluster.find_semaphore(name).map_err(failure)?,
                };
                let none = || {
                    format!(
                        "there is no semaphore {name:?} in the cluster: say how many permits it has, by sem -c"
                    )
                };
                let semaphore = found.ok_or_else(|| no_such_object(none()))?;
                Object::Permits { semaphore, permits: number(*permits) }
            }
        };
        Ok(Self { wanted, object })
    }

    fn take(&self, wait: Wait) -> Result<AnyGuard, ClusterError> {
        Ok(match &self.object {
            Object::Lock(lock) => patiently!(lock, wait, acquire, try_acquire, acquire_timeout)?.into(),
            Object::RwLock { lock, shared: true } => {
                patiently!(lock, wait, read, try_read, read_timeout)?.into()
            }
            Object::RwLock { lock, shared: false } => {
                patiently!(lock, wait, write, try_write, write_timeout)?.into()
            }
            Object::Permits { semaphore, permits } => patiently!(
                semaphore, wait, acquire_many, try_acquire_many, acquire_many_timeout; *permits
            )?
            .into(),
        })
    }

    /// Makes sure that the wait for it is not one for this process's own end: nobody may wait for what it, or who waits for
    /// it, holds.
    fn must_not_be_an_ancestors(&self, cluster: &Cluster) -> Result<(), Failure> {
        let found = cluster.list().map_err(failure)?.into_iter().find(|object| self.wanted.is(object));
        let list = std::env::var(HELD).unwrap_or_default();
        let is_it = |entry: &str| {
            let text = entry.strip_suffix("@cluster");
            let other = text.and_then(|text| text.parse::<Wanted>().ok());
            other.is_some_and(|other| {
                other.kind() == self.wanted.kind() && other.target.is_of_same_object(&self.wanted.target)
            })
        };
        let (is_said, ancestors) = (list.split(',').any(is_it), people::ancestors());
        let is_theirs = |holder: &&ClusterParticipant| match keeper_for(holder) {
            // What is kept for an ancestor is not in the environment.
            Some(owner) => ancestors.contains(&owner),
            None => is_said && is_here(holder) && ancestors.contains(&holder.pid),
        };
        let held = found.map_or(0, |object| object.holders.iter().filter(is_theirs).count());
        let all = match &self.object {
            Object::Permits { semaphore, .. } => Some(semaphore.permits() as usize),
            _ => None,
        };
        if self.wanted.leaves_room_beside(held, all) {
            return Ok(());
        }
        Err(held_by_ancestor(self.wanted))
    }
}

/// On which terms something is acquired.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) wait: Wait,
    /// The exit code when it is not acquired.
    pub(super) code: Option<u8>,
    /// Whether to say who is in the way before waiting.
    pub(super) explain: bool,
}

/// Acquires all of these, or none.
pub(super) fn acquire(wanted: &[Wanted], terms: Terms, place: &Place<'_>) -> Result<Vec<AnyGuard>, Failure> {
    let cluster = place.connect()?;
    let things = wanted.iter().map(|wanted| Thing::open(wanted, &cluster));
    let mut things = things.collect::<Result<Vec<_>, Failure>>()?;
    let tries = |thing: &mut Thing<'_>| match thing.take(Wait::Not) {
        Ok(held) => Ok(Ok(held)),
        Err(error @ ClusterError::WouldBlock { .. }) => Ok(Err(error)),
        Err(error) => Err(failure_with(error, terms.code)),
    };
    let deadline = terms.wait.deadline();
    let mut first = None;
    for attempt in 0.. {
        let (busy, error) = match try_all(&mut things, first.take(), tries)? {
            Ok(held) => return Ok(held),
            Err(busy) => busy,
        };
        things[busy].must_not_be_an_ancestors(&cluster)?;
        let wait = Wait::until(deadline);
        if matches!(wait, Wait::Not) {
            return Err(failure_with(error, terms.code));
        }
        if terms.explain {
            output::warn(&error.to_string());
        }
        make_way(attempt);
        first = Some((busy, things[busy].take(wait).map_err(|error| failure_with(error, terms.code))?));
    }
    Ok(Vec::new())
}

/// Whether a process that takes part runs on this host: then its pid is one of ours.
fn is_here(process: &ClusterParticipant) -> bool {
    let name = nix::unistd::gethostname().unwrap_or_default();
    // In shared memory all do, and say no host.
    process.host.is_empty() || *process.host == *name
}

/// The process for which a process of this host keeps something, if it is a keeper.
pub(super) fn keeper_for(process: &ClusterParticipant) -> Option<u32> {
    if is_here(process) { kept_for(&people::command_line(process.pid)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn what_is_wanted_is_read_as_it_is_written() {
        for text in ["lock:a", "lock:b:shared", "lock:b:exclusive", "sem:gpu=2", "sem:net"] {
            assert_eq!(text.parse::<Wanted>().unwrap().to_string(), text);
        }
        for wrong in ["a", "lock", "queue:a:exclusive", "sem:gpu=0"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
        let kind = |text: &str| text.parse::<Wanted>().unwrap().kind();
        assert_eq!(["lock:a", "lock:a:shared", "lock:a:exclusive"].map(kind), ["lock", "rwlock", "rwlock"]);
    }
}
