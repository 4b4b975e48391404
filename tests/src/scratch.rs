//! A namespace for one test, which must be empty when the test has ended.

use crate::Watchdog;
use procession::Namespace;
use procession::shm::{Entry, gc};
use std::io::Write;
use std::ops::Deref;
use std::sync::Once;
use std::time::Duration;

/// Puts the test program, and with it the children that its tests start, into a private namespace.
///
/// Tests that run in one process share that namespace, and none may ask for what is left in it: that is what
/// [`Scratch`] is for.
pub fn isolate() {
    static DONE: Once = Once::new();
    let is_child = || procession::parent_process().is_some();
    DONE.call_once(|| assert!(is_child() || Namespace::private().enter(), "too late: there are handles"));
}

/// A private namespace, watched: dropping it asserts that the test's objects are gone from `/dev/shm`.
///
/// Every actor in it must have ended by then, and every named object must have been unlinked: only what the
/// next process that looks removes by itself (ephemeral objects and the registry of the dead) may be left.
#[derive(Debug)]
pub struct Scratch {
    namespace: Namespace,
    _watchdog: Watchdog,
}

impl Scratch {
    /// A namespace nobody else has, and half a minute for the test.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a watchdog, which no default does")]
    pub fn new() -> Self {
        Self { namespace: Namespace::private(), _watchdog: Watchdog::start() }
    }

    /// The same with another limit.
    #[must_use]
    pub fn for_seconds(seconds: u64) -> Self {
        Self { namespace: Namespace::private(), _watchdog: Watchdog::for_seconds(seconds) }
    }

    /// A namespace that is not private: other tests that register do not sweep it while nobody is in it.
    #[must_use]
    pub fn unswept() -> Self {
        let namespace = Namespace::new(&Namespace::private().name().replace("private", "test")).unwrap();
        Self { namespace, _watchdog: Watchdog::start() }
    }

    /// The names in the namespace, the registry included.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.list().unwrap().into_iter().map(|entry| entry.name).collect()
    }

    /// The names of its objects that somebody can find: without the registry, and what is unlinked and in
    /// use.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        let entries = self.list().unwrap().into_iter();
        let can_be_found = |entry: &Entry| !entry.is_registry() && !entry.is_unlinked();
        entries.filter(can_be_found).map(|entry| entry.name).collect()
    }

    /// What should not be there now, in words.
    fn leftovers(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for entry in self.list().unwrap_or_default() {
            // What goes by itself may seem attached while others sweep: it is collected below.
            let goes = entry.header.as_ref().is_ok_and(|header| header.ephemeral) || entry.is_unlinked();
            if !entry.is_registry() && !goes && !entry.is_garbage() {
                wrong.push(format!("not unlinked: {entry:?}"));
            }
        }
        if wrong.is_empty() {
            // Other tests sweep what nobody is in, too, and for a moment what they look at seems attached.
            for _ in 0..2000 {
                drop(gc::collect(Some(self), gc::Options::default()));
                wrong = self.uncollected();
                if wrong.is_empty() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        wrong
    }

    /// What garbage collection has left, but for what ends with this test program: its own registration, and
    /// what it has unlinked and not dropped yet.
    fn uncollected(&self) -> Vec<String> {
        let entries = self.list().unwrap_or_default().into_iter();
        let is_ours = |entry: &Entry| {
            (entry.is_registry() || entry.is_unlinked()) && entry.attached && crate::raw::has_mapped(entry)
        };
        entries.filter(|entry| !is_ours(entry)).map(|entry| format!("not collected: {entry:?}")).collect()
    }
}

impl Deref for Scratch {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let wrong = self.leftovers();
        if wrong.is_empty() {
            return;
        }
        for name in self.objects() {
            drop(std::fs::remove_file(crate::raw::path(self, &name)));
        }
        let said = format!("left in /dev/shm:\n{}", wrong.join("\n"));
        if std::thread::panicking() {
            // Of no interest beside what went wrong first.
            drop(writeln!(std::io::stderr(), "{said}"));
        } else {
            panic!("{said}");
        }
    }
}
