//! Removing what the dead left behind.
//!
//! Garbage is: an ephemeral or anonymous object that nobody is attached to; the same of an unlinked one that
//! was in use, or whose removal was begun by somebody who was killed; a spill (a message larger than its
//! queue) that is in no object; in a private namespace whose registry nobody is attached to, everything; and
//! a registry that nobody is attached to, once it is alone. A named object is never garbage by itself: what
//! was put into it is there for the next process.

use crate::error::OpenError;
use crate::found;
use crate::header::Header;
use crate::instance::InstanceId;
use crate::inventory::{Entry, entry, entry_in, list_all};
use crate::namespace::{self, Namespace, REGISTRY};
use crate::roll::{Named, Roll};
use crate::segment::{self, Orphans};
use procession_sys::{crash_point, fork, shm_file};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many files a registering process looks at, so that joining stays cheap in a crowded namespace.
const PROBES: usize = 32;
/// How many abandoned namespaces it removes, and reads all of the directory for one of them at most.
const ABANDONED: usize = 4;
/// How often the last process looks in vain for what may go in a moment.
const PATIENCE: u32 = 10;

/// How far [`collect`] goes.
///
/// ```
/// use procession::shm::gc;
///
/// let would_go = gc::collect(None, gc::Options::default().unused(true).dry_run(true))?;
/// println!("{} objects would be removed", would_go.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    dry_run: bool,
    unused: bool,
}

impl Options {
    /// Whether it only says what would be removed; `false` unless said.
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// Whether it also removes named objects that nobody is attached to, with all that is in them; `false` unless said.
    #[must_use]
    pub fn unused(self, unused: bool) -> Self {
        Self { unused, ..self }
    }
}

/// Removes the garbage of `namespace`, or of all of this user's namespaces; what was (or would be) removed.
///
/// # Errors
/// [`OpenError::Os`] when `/dev/shm` cannot be read; what cannot be removed now is left out of the answer.
pub fn collect(namespace: Option<&Namespace>, options: Options) -> Result<Vec<Entry>, OpenError> {
    let entries = match namespace {
        Some(namespace) => namespace.list()?,
        None => list_all()?,
    };
    Ok(Collection::of(entries, options).run())
}

/// A run of the collector: the objects that are there, and those that it has removed so far.
struct Collection {
    options: Options,
    /// The objects that were not removed yet.
    kept: Vec<Entry>,
    removed: Vec<Entry>,
}

impl Collection {
    fn of(entries: Vec<Entry>, options: Options) -> Self {
        // What is none of ours stands in nobody's way.
        let kept = entries.into_iter().filter(|entry| entry.ours).collect();
        Self { options, kept, removed: Vec::new() }
    }

    fn run(mut self) -> Vec<Entry> {
        self.remove_objects();
        self.remove_orphans();
        self.remove_lonely_registries();
        self.removed
    }

    /// The garbage itself; on request also what is only unused. In an abandoned namespace everything is
    /// garbage.
    fn remove_objects(&mut self) {
        let used: BTreeSet<String> = self
            .kept
            .iter()
            .filter(|entry| entry.is_registry() && entry.attached)
            .map(|entry| entry.namespace.name().to_owned())
            .collect();
        // While they are removed nobody can join an abandoned namespace: its registry's attach byte is held
        // alone.
        let registries = self.kept.iter().filter(|entry| entry.is_registry() && !entry.attached);
        let held: Vec<segment::Alone> = registries.filter_map(Entry::hold_alone).collect();
        for entry in std::mem::take(&mut self.kept) {
            // A spill that is no garbage yet goes with its object.
            let is_unused = !entry.attached && !entry.is_registry() && !entry.is_spill();
            let is_abandoned = entry.namespace.is_private() && !used.contains(entry.namespace.name());
            if !(entry.is_garbage() || is_unused && (self.options.unused || is_abandoned)) {
                self.kept.push(entry);
                continue;
            }
            let may_go =
                entry.is_garbage() || self.options.unused || nobody_can_join(&entry.namespace, &held);
            // What cannot be removed now is left to the next who looks, and keeps no registry.
            if may_go && self.remove(&entry) {
                self.removed.push(entry);
            }
        }
    }

    /// Removes the spills of the objects that were removed.
    fn remove_orphans(&mut self) {
        for entry in std::mem::take(&mut self.kept) {
            let is_orphan = self.removed.iter().any(|home| entry.is_spill_of(home));
            if is_orphan && self.remove(&entry) {
                self.removed.push(entry);
            } else {
                self.kept.push(entry);
            }
        }
    }

    /// Registries last: only one that stands alone is of no use to anybody.
    fn remove_lonely_registries(&mut self) {
        for registry in self.kept.iter().filter(|entry| entry.is_registry() && !entry.attached) {
            let others = self.kept.iter().filter(|other| other.namespace == registry.namespace).count() - 1;
            if others == 0 && self.remove(registry) {
                self.removed.push(registry.clone());
            }
        }
    }

    /// Removes it, unless this is only to say what would be removed; whether it is, or would be, gone.
    fn remove(&self, entry: &Entry) -> bool {
        self.options.dry_run || remove(entry)
    }
}

/// Whether the namespace has no registry that others could register in now: none at all, or one that is held
/// alone.
fn nobody_can_join(namespace: &Namespace, held: &[segment::Alone]) -> bool {
    held.iter().any(|alone| alone.namespace() == namespace) || !has_registry(namespace)
}

fn has_registry(namespace: &Namespace) -> bool {
    match found::look_at_own(&namespace.file_name(REGISTRY)) {
        Ok(_) => true,
        Err(refusal) => !refusal.means_nothing_of_ours(),
    }
}

fn remove(entry: &Entry) -> bool {
    let Some(file) = entry.file else { return false };
    let name = entry.namespace.file_name(&entry.name);
    segment::collect(&name, file, &entry.namespace).unwrap_or(false)
}

/// Removes the object `name` if nobody is attached to it, and what it had spilled; whether it did.
pub(crate) fn remove_unused(namespace: &Namespace, name: &str) -> Result<bool, OpenError> {
    let found = entry_in(namespace, name).filter(|found| found.ours && !found.attached);
    let Some((found, file)) = found.and_then(|found| found.file.map(|file| (found, file))) else {
        return Ok(false);
    };
    let is_removed = segment::collect(&namespace.file_name(name), file, namespace)?;
    if let (true, Ok(header)) = (is_removed, &found.header) {
        sweep_spills(namespace, None, header.instance);
    }
    Ok(is_removed)
}

/// Run by each process that joins: the anonymous leftovers of its namespace, and private namespaces whose
/// processes are all gone. Bounded, and silent: what fails is left to the next.
///
/// Where `/dev/shm` holds many files, each looks at a part of it, and says in `place` where the next is to go
/// on.
pub(crate) fn sweep_at_registration(roll: &Roll<'_>, place: Option<&AtomicU64>) {
    let (namespace, nowhere) = (roll.namespace(), AtomicU64::new(0));
    let place = place.unwrap_or(&nowhere);
    // Relaxed: a hint. Two that come at once look at one part.
    let from = place.load(Ordering::Relaxed);
    let Ok((files, next)) = shm_file::some_names(from, &namespace::user_prefix()) else { return };
    place.store(next, Ordering::Relaxed);
    must_be_on_roll(roll, &files);
    let is_candidate = |file: &&String| {
        Namespace::parse_file_name(file).is_some_and(|(other, name)| {
            let leftover = other == *namespace && namespace::may_be_garbage(name);
            leftover || (other != *namespace && other.is_private() && name == REGISTRY)
        })
    };
    let candidates: Vec<&String> = files.iter().filter(is_candidate).collect();
    // From a different place each time, so that all are looked at in the end.
    let start = if candidates.is_empty() { 0 } else { std::process::id() as usize % candidates.len() };
    let mut abandoned = 0;
    for file in candidates.iter().cycle().skip(start).take(candidates.len().min(PROBES)) {
        let Some(found) = entry(file).filter(|found| found.ours && !found.attached) else { continue };
        if found.is_registry() {
            // Beyond that number they are left to the next who joins.
            if abandoned < ABANDONED {
                remove_abandoned(&found, abandoned == 0);
            }
            abandoned += 1;
        } else if found.is_garbage() {
            let _: bool = remove(&found);
        }
    }
}

/// Says that the roll is not whole, if it lacks one of these files of its namespace: one of a registry that
/// was lost, or another program's.
fn must_be_on_roll(roll: &Roll<'_>, files: &[String]) {
    let prefix = roll.namespace().prefix();
    let mut own = files.iter().filter_map(|file| file.strip_prefix(&prefix)).filter(|name| *name != REGISTRY);
    let Some(first) = own.next() else { return };
    let Some(known) = roll.names() else { return };
    let is_missing = |name: &str| {
        // If it is gone by now, it may have been on the roll when it was seen.
        let is_there = || shm_file::identity_of_name(&format!("{prefix}{name}"));
        !known.contains(name) && is_there().is_ok_and(|found| found.is_some())
    };
    if std::iter::once(first).chain(own).any(is_missing) {
        roll.set_more();
    }
}

/// Removes a private namespace that nobody uses, with its registry. Where its roll is not whole, all of the
/// directory is to be read, if that `may` be.
fn remove_abandoned(registry: &Entry, may_list: bool) {
    // Nobody can join while it is held alone.
    let Some(alone) = registry.hold_alone() else { return };
    crash_point("gc.abandoned.held");
    let on_roll = registry.header.as_ref().ok().and_then(|header| {
        let (map, slots) = (alone.map(header.size)?, u32::try_from(header.parameters[0]).ok()?);
        Roll::in_registry(&registry.namespace, &map, slots).names()
    });
    let listed = || if may_list { names_in(&registry.namespace) } else { None };
    let Some(names) = on_roll.or_else(listed) else { return };
    let left = sweep(&registry.namespace, names, |found| {
        let may_go = !found.attached && (found.is_garbage() || !found.is_spill());
        // What is no object, and cannot be removed, keeps no registry.
        may_go && (remove(found) || found.header.is_err())
    });
    crash_point("gc.abandoned.swept");
    if left.is_empty() {
        alone.remove(&registry.name);
    }
}

/// The names of all files of the namespace but its registry, read from the directory.
fn names_in(namespace: &Namespace) -> Option<BTreeSet<String>> {
    let prefix = namespace.prefix();
    let files = shm_file::names(&prefix).ok()?;
    let names = files.into_iter().filter_map(|file| file.strip_prefix(&prefix).map(str::to_owned));
    Some(names.filter(|name| name != REGISTRY).collect())
}

/// Removes those of the files that `remove` removes; what is left of them.
///
/// Threads of this process may be removing some at the same time: a pool in a static looks after its workers until the
/// very end.
fn sweep(
    namespace: &Namespace,
    names: BTreeSet<String>,
    remove: impl Fn(&Entry) -> bool,
) -> BTreeMap<String, Named> {
    let mut left = BTreeMap::new();
    let mut names: Vec<String> = names.into_iter().collect();
    let mut patience = PATIENCE;
    loop {
        left.clear();
        let (before, mut may_go) = (names.len(), false);
        names.retain(|name| {
            let Some(found) = entry_in(namespace, name).filter(|found| found.ours) else { return false };
            let is_there =
                || shm_file::identity_of_name(&namespace.file_name(name)).map_or(true, |id| id.is_some());
            if remove(&found) || !is_there() {
                return false;
            }
            // Its home may be gone now, or it is retired and about to lose its name.
            may_go |= found.is_spill() || found.goes;
            let instance = found.header.map_or(0, |header| header.instance.low());
            left.insert(name.clone(), Named { name: name.clone(), instance });
            true
        });
        if names.len() == before {
            patience -= 1;
            std::thread::yield_now();
        }
        if !may_go || patience == 0 {
            return left;
        }
    }
}

/// Run by the last process that leaves the namespace of `roll`: everything ephemeral, and all of a private
/// namespace; whether nothing but the registry is left.
///
/// Nobody else is registered, so what still has a user, and owners in this registry, is used by this process
/// alone: somebody ends with a handle in a static or in a forgotten value. Its files have nobody to go with
/// but this process.
pub(crate) fn sweep_left(roll: &Roll<'_>, registry: u64) -> bool {
    let namespace = roll.namespace();
    let Some(names) = roll.names().or_else(|| names_in(namespace)) else { return false };
    let all_go = |found: &Entry| namespace.is_private() && !found.is_spill();
    // A copy of this process that has not registered yet has all that this one has, and may go on with it.
    let has_copies = fork::may_have_copies();
    let is_only_ours = |found: &Entry| {
        let may_go = |header: &Header| header.registry == registry && (found.goes || all_go(found));
        !has_copies && found.header.as_ref().is_ok_and(may_go)
    };
    let left = sweep(namespace, names, |found| {
        if found.attached {
            is_only_ours(found) && remove_used(found)
        } else {
            (found.is_garbage() || all_go(found)) && remove(found)
        }
    });
    if left.is_empty() {
        return true;
    }
    roll.rewrite(left.into_values());
    false
}

/// Removes the object although it has a user, who does not mind.
fn remove_used(entry: &Entry) -> bool {
    let name = entry.namespace.file_name(&entry.name);
    entry.file.is_some_and(|file| segment::retire_and_remove(&name, file))
}

/// Calls `act`, which creates, opens or unlinks an object of the namespace, and then removes what was spilled
/// by the objects that it removed on the way.
pub(crate) fn sweeping<T>(
    namespace: &Namespace,
    roll: Option<Roll<'_>>,
    act: impl FnOnce(&mut Orphans) -> T,
) -> T {
    let mut orphans = Orphans::default();
    let outcome = act(&mut orphans);
    orphans.0.into_iter().for_each(|home| sweep_spills(namespace, roll, home));
    outcome
}

/// Run by whoever has removed the object `home`, or was the last to use it: what it had spilled. Without a
/// roll the directory is read.
pub(crate) fn sweep_spills(namespace: &Namespace, roll: Option<Roll<'_>>, home: InstanceId) {
    let Some(mut names) = roll.and_then(|roll| roll.names()).or_else(|| names_in(namespace)) else { return };
    let prefix = namespace::spills_of(home);
    names.retain(|name| name.starts_with(&prefix));
    for name in names {
        let Some(found) = entry_in(namespace, &name).filter(Entry::is_garbage) else { continue };
        if remove(&found)
            && let (Some(roll), Ok(header)) = (roll, &found.header)
        {
            roll.strike(&name, header.instance.low());
        }
    }
}
