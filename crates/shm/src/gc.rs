//! Removing what the dead left behind.
//!
//! Garbage is: an ephemeral or anonymous object that nobody is attached to; the same of an unlinked one that was in use,
//! or whose removal was begun by somebody who was killed; a spill (a message larger than its queue) that is in no object;
//! in a private namespace whose registry nobody is attached to, everything;
//! and a registry that nobody is attached to, once it is alone. A named object is never garbage by itself: what was put
//! into it is there for the next process.

use crate::error::OpenError;
use crate::header::InstanceId;
use crate::inventory::{self, Entry, entry, list_all};
use crate::namespace::{self, Namespace, REGISTRY};
use crate::segment;
use procession_sys::shm_file;
use std::collections::BTreeSet;

/// How many files a registering process looks at, so that joining stays cheap in a crowded namespace.
const PROBES: usize = 32;

/// What [`collect`] does besides looking.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only says what would be removed.
    pub dry_run: bool,
    /// Also removes named objects that nobody is attached to, with all that is in them.
    pub unused: bool,
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
    let in_use: BTreeSet<String> = entries
        .iter()
        .filter(|entry| entry.is_registry() && entry.attached)
        .map(|entry| entry.namespace.name().to_owned())
        .collect();
    let is_garbage = |entry: &Entry| {
        let abandoned = || !in_use.contains(entry.namespace.name()) && entry.namespace.is_private();
        // A spill that is no garbage yet goes with its object.
        let unused = || !entry.attached && !entry.is_registry() && !entry.is_spill();
        entry.is_garbage() || (unused() && (options.unused || abandoned()))
    };
    let (garbage, mut kept): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(is_garbage);
    // While they are removed nobody can join an abandoned namespace: its registry's attach byte is held alone.
    let registries = kept.iter().filter(|entry| entry.is_registry() && !entry.attached);
    let held: Vec<segment::Alone> = registries.filter_map(|entry| entry.hold_alone()).collect();
    let may_go = |entry: &Entry| {
        let is_held = || held.iter().any(|alone| alone.namespace() == &entry.namespace);
        entry.is_garbage() || options.unused || is_held() || !has_registry(&entry.namespace)
    };
    let goes = |entry: &Entry| may_go(entry) && (options.dry_run || remove(entry));
    let mut removed: Vec<Entry> = garbage.into_iter().filter(goes).collect();
    drop(held);
    let spilled = |entry: &Entry| removed.iter().any(|home| entry.is_spill_of(home));
    let orphans: Vec<Entry> = kept.iter().filter(|&entry| spilled(entry)).cloned().collect();
    for orphan in orphans.into_iter().filter(|entry| options.dry_run || remove(entry)) {
        kept.retain(|entry| entry.file != orphan.file);
        removed.push(orphan);
    }
    // Registries last: only one that stands alone is of no use to anybody.
    for registry in kept.iter().filter(|entry| entry.is_registry() && !entry.attached) {
        let is_alone = kept.iter().filter(|other| other.namespace == registry.namespace).count() == 1;
        if is_alone && (options.dry_run || remove(registry)) {
            removed.push(registry.clone());
        }
    }
    Ok(removed)
}

fn has_registry(namespace: &Namespace) -> bool {
    shm_file::identity_of_name(&namespace.file_name(REGISTRY)).is_ok_and(|file| file.is_some())
}

fn remove(entry: &Entry) -> bool {
    let Some(file) = entry.file else { return false };
    let name = entry.namespace.file_name(&entry.name);
    segment::collect(&name, file, &entry.namespace).unwrap_or(false)
}

/// Run by each process that joins: the anonymous leftovers of its namespace, and private namespaces whose
/// processes are all gone. Bounded, and silent: what fails is left to the next.
pub(crate) fn sweep_at_registration(namespace: &Namespace) {
    let Ok(files) = shm_file::names(&namespace::user_prefix()) else { return };
    let is_candidate = |file: &&String| {
        Namespace::parse_file_name(file).is_some_and(|(other, name)| {
            let leftover = other == *namespace && namespace::may_be_garbage(name);
            leftover || (other != *namespace && other.is_private() && name == REGISTRY)
        })
    };
    let candidates: Vec<&String> = files.iter().filter(is_candidate).collect();
    // From a different place each time, so that all are looked at in the end.
    let start = if candidates.is_empty() { 0 } else { std::process::id() as usize % candidates.len() };
    for file in candidates.iter().cycle().skip(start).take(candidates.len().min(PROBES)) {
        let Some(found) = entry(file).filter(|found| !found.attached) else { continue };
        if found.is_registry() {
            drop(collect(Some(&found.namespace), Options::default()));
        } else if found.is_garbage() {
            let _: bool = remove(&found);
        }
    }
}

/// Run by the last process that leaves `namespace`: everything ephemeral, and all of a private namespace.
pub(crate) fn sweep_abandoned(namespace: &Namespace) {
    // Spills again, after the objects that they belong to.
    for prefix in [namespace.prefix(), namespace.file_name(namespace::SPILL)] {
        for found in inventory::list(&prefix).unwrap_or_default() {
            let unused =
                namespace.is_private() && !found.attached && !found.is_registry() && !found.is_spill();
            if unused || found.is_garbage() {
                let _: bool = remove(&found);
            }
        }
    }
}

/// Run by whoever has removed the object `home`, or was the last to use it: what it had spilled.
pub(crate) fn sweep_spills(namespace: &Namespace, home: InstanceId) {
    for found in inventory::list(&namespace.file_name(&namespace::spills_of(home))).unwrap_or_default() {
        if found.is_garbage() {
            let _: bool = remove(&found);
        }
    }
}

/// Whether the namespace has no object but its registry.
pub(crate) fn is_empty(namespace: &Namespace) -> bool {
    shm_file::names(&namespace.prefix())
        .is_ok_and(|files| files.iter().all(|file| *file == namespace.file_name(REGISTRY)))
}
