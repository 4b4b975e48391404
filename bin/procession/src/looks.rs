//! Looks again and again at the objects of one namespace, as cheaply as it can be done: what is known of an object's
//! file is read again every few looks only, and its state each time. For `top`, `watch` and `stats`.
//!
//! Nobody is attached by it, no lock is taken, and nothing is written that another process could see.

use crate::list::{Looker, Seen};
use procession::Namespace;
use procession::shm::Entry;
use procession_sys::shm_file;
use procession_terminal::exit::Failure;
use std::collections::BTreeMap;

/// After how many looks a file is read again though its name is still there: who is attached, how long it is.
const ANEW: u64 = 30;

/// What is known of the namespace's objects.
#[derive(Debug)]
pub(crate) struct Looks {
    namespace: Namespace,
    looks: u64,
    entries: BTreeMap<String, Entry>,
}

impl Looks {
    pub(crate) fn at(namespace: Namespace) -> Self {
        Self { namespace, looks: 0, entries: BTreeMap::new() }
    }

    #[cfg(feature = "top")]
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The objects, in the order of their names; of those with a name alone that `is_meant`.
    ///
    /// # Errors
    /// When `/dev/shm` cannot be read.
    pub(crate) fn look(&mut self, is_meant: impl Fn(&str) -> bool) -> Result<Vec<Seen>, Failure> {
        self.looks += 1;
        self.renew_entries()?;
        let mut looker = Looker::default();
        let mut all = Vec::new();
        // What begins with a dot is the library's own.
        let meant = |entry: &&mut Entry| !entry.name.starts_with('.') && is_meant(&entry.name);
        for entry in self.entries.values_mut().filter(meant) {
            let mut seen = looker.look(entry.clone());
            if seen.state.text.is_empty() && seen.entry.header.is_ok() {
                // Perhaps another object has got the name meanwhile.
                if let Ok(found) = self.namespace.entry(&entry.name) {
                    *entry = found;
                    seen = Seen { waits: seen.waits, ..looker.look(entry.clone()) };
                }
            }
            all.push(seen);
        }
        Ok(all)
    }

    /// How much shared memory the namespace uses, its own tables included.
    #[cfg(feature = "top")]
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.bytes).sum()
    }

    /// Forgets what it knows: it will not look for a while.
    #[cfg(feature = "top")]
    pub(crate) fn rest(&mut self) {
        self.entries.clear();
        self.looks = 0;
    }

    /// Brings the entries up to date: all of them now and then, and else only those of which the name is new, or gone.
    fn renew_entries(&mut self) -> Result<(), Failure> {
        if self.looks % ANEW == 1 {
            let entries = self.namespace.list()?.into_iter();
            self.entries = entries.map(|entry| (entry.name.clone(), entry)).collect();
            return Ok(());
        }
        let prefix = self.namespace.file_name("");
        let files = shm_file::names(&prefix).map_err(|error| format!("cannot read /dev/shm: {error}"));
        let files = files.map_err(|error| Failure::Error(error.into()))?;
        let mut before = std::mem::take(&mut self.entries);
        for name in files.iter().filter_map(|file| file.strip_prefix(&prefix)) {
            // A name that no object of a user can have is looked at when all are.
            if let Some(entry) = before.remove(name).or_else(|| self.namespace.entry(name).ok()) {
                self.entries.insert(name.to_owned(), entry);
            }
        }
        Ok(())
    }
}
