//! Looks again and again at the objects of one namespace, as cheaply as it can be done: what is known of an object's
//! file is read again every few looks only, and its state each time. For `top`, `watch` and `stats`.
//!
//! Nobody is attached by it, no lock is taken, and nothing is written that another process could see.

use crate::list::{Looker, Seen};
use procession::Namespace;
use procession::shm::{Entry, View};
use procession_sys::shm_file;
use procession_terminal::exit::Failure;
use std::collections::BTreeMap;
use std::sync::Arc;

/// After how many looks a file is read again though its name is still there: who is attached, how long it is.
const ANEW: u64 = 30;

/// How many objects are kept mapped from one look to the next: the kernel gives a process 65,530 mappings.
const VIEWS: usize = 10_000;

/// What is known of the namespace's objects.
#[derive(Debug)]
pub(crate) struct Looks {
    namespace: Namespace,
    looks: u64,
    known: BTreeMap<String, Known>,
}

/// What is known of an object.
#[derive(Debug)]
struct Known {
    entry: Arc<Entry>,
    view: Option<View>,
}

impl Known {
    fn of(entry: Entry) -> Self {
        Self { entry: entry.into(), view: None }
    }

    /// Sees to it that there is a view of it as it is now, if that can be.
    fn look(&mut self, namespace: &Namespace) {
        if self.view.as_ref().is_some_and(View::renew) {
            return;
        }
        self.view = View::of(&self.entry);
        if self.view.is_none() && self.entry.header.is_ok() {
            // Perhaps another object has got the name meanwhile.
            if let Ok(entry) = namespace.entry(&self.entry.name) {
                self.view = View::of(&entry);
                self.entry = entry.into();
            }
        }
    }
}

impl Looks {
    pub(crate) fn at(namespace: Namespace) -> Self {
        Self { namespace, looks: 0, known: BTreeMap::new() }
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
        self.renew_known()?;
        let mut looker = Looker::default();
        let mut all = Vec::new();
        // What begins with a dot is the library's own.
        let meant = |known: &&mut Known| !known.entry.name.starts_with('.') && is_meant(&known.entry.name);
        for (nth, known) in self.known.values_mut().filter(meant).enumerate() {
            known.look(&self.namespace);
            all.push(looker.look_through(known.view.as_ref(), Arc::clone(&known.entry)));
            if nth >= VIEWS {
                known.view = None;
            }
        }
        Ok(all)
    }

    /// How much shared memory the namespace uses, its own tables included.
    #[cfg(feature = "top")]
    pub(crate) fn bytes(&self) -> u64 {
        self.known.values().map(|known| known.entry.bytes).sum()
    }

    /// Forgets what it knows: it will not look for a while.
    #[cfg(feature = "top")]
    pub(crate) fn rest(&mut self) {
        self.known.clear();
        self.looks = 0;
    }

    /// Brings the entries up to date: all of them now and then, and else only those of which the name is new, or gone.
    fn renew_known(&mut self) -> Result<(), Failure> {
        if self.looks % ANEW == 1 {
            let entries = self.namespace.list()?;
            let mut before = std::mem::take(&mut self.known);
            for entry in entries {
                let view = before.remove(&entry.name).and_then(|known| known.view);
                self.known.insert(entry.name.clone(), Known { entry: entry.into(), view });
            }
            return Ok(());
        }
        let prefix = self.namespace.file_name("");
        let files = shm_file::names(&prefix).map_err(|error| format!("cannot read /dev/shm: {error}"));
        let files = files.map_err(|error| Failure::Error(error.into()))?;
        let mut before = std::mem::take(&mut self.known);
        for name in files.iter().filter_map(|file| file.strip_prefix(&prefix)) {
            // A name that no object of a user can have is looked at when all are.
            if let Some(known) =
                before.remove(name).or_else(|| self.namespace.entry(name).ok().map(Known::of))
            {
                self.known.insert(name.to_owned(), known);
            }
        }
        Ok(())
    }
}
