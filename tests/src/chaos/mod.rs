//! Laws that hold however many participants are killed, stopped, forked or replaced, and whenever.
//!
//! Each law is one file, and both sides of it: what a participant does, which `chaos_actor` calls, and what
//! must be true when all have ended, which the chaos test calls. A participant is one thread of one process.
//! It has a [`Diary`] in memory that outlives it, where it says what it is about to do before it does it, and
//! what it has done when it has been told so; a law is about the sums. Laws that a participant can see
//! itself, it checks all the time.

mod crews;
mod diary;
mod ends;
mod exclusion;
mod gates;
mod jobs;
mod meeting;
mod messages;
mod money;
mod monitor;
mod permits;
mod pipes;
mod shelves;

pub use diary::{Account, DOING, Diary, End, Participant, Table};
pub use exclusion::Exclusion;
pub use messages::SEVERAL;

use procession::Namespace;
use procession_sys::ShmSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long an operation with a limit waits.
const LIMIT: Duration = Duration::from_millis(20);
/// How often what takes no time is done, one after the other, at most: else everybody would wait most of the
/// time.
const BURST: u64 = 50;

/// What is always true of some objects, whoever dies.
pub trait Law: Sync {
    /// A participant does one thing, chosen at random.
    fn step(&self, who: &mut Participant<'_>);

    /// The test, who is never killed, does now and then what has to be done by somebody.
    fn tend(&self) {}

    /// The test lets those go on who wait without a limit: called again and again until all have ended.
    fn release(&self) {}

    /// All have ended: is it true?
    fn check(&self, end: &End<'_>);

    /// Removes the objects.
    fn unlink(&self);
}

/// Where a chaos test takes place: a namespace, and a directory with the files of witnesses.
#[derive(Debug)]
pub struct Place {
    directory: PathBuf,
    namespace: Namespace,
    is_over: Table<AtomicU64>,
}

impl Place {
    /// The same for the test and all participants.
    #[must_use]
    pub fn new(directory: &Path, namespace: &Namespace) -> Self {
        let is_over = Table::map(&directory.join("is_over"), 1);
        Self { directory: directory.to_owned(), namespace: namespace.clone(), is_over }
    }

    /// Memory that nobody's death changes.
    #[must_use]
    pub fn table<T: ShmSafe>(&self, name: &str, count: usize) -> Table<T> {
        Table::map(&self.file(name), count)
    }

    /// Where that memory is.
    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether everybody is to end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over[0].load(Relaxed) != 0
    }

    /// Tells everybody to end.
    pub fn end(&self) {
        self.is_over[0].store(1, Relaxed);
    }
}

/// All laws.
#[expect(missing_debug_implementations, reason = "a law is shown by its diaries")]
pub struct Laws {
    /// The one whose locks are held while a process forks or executes another program.
    pub exclusion: Exclusion,
    others: Vec<Box<dyn Law>>,
}

impl Laws {
    /// The objects are created if they are not there.
    #[must_use]
    pub fn new(place: &Place) -> Self {
        let others: Vec<Box<dyn Law>> = vec![
            // Before the pipes, which find out what is left of any.
            Box::new(ends::Ends::new(place)),
            Box::new(crews::Crews::new(place)),
            Box::new(gates::Gates::new(place)),
            Box::new(jobs::Jobs::new(place)),
            Box::new(meeting::Meeting::new(place)),
            Box::new(messages::Messages::new(place)),
            Box::new(money::Money::new(place)),
            Box::new(monitor::Monitor::new(place)),
            Box::new(permits::Permits::new(place)),
            Box::new(pipes::Pipes::new(place)),
            Box::new(shelves::Shelves::new(place)),
        ];
        Self { exclusion: Exclusion::new(place), others }
    }

    /// One step under any law.
    pub fn step(&self, who: &mut Participant<'_>) {
        if who.dice.below(4) == 0 {
            self.exclusion.step(who);
            who.does("between");
        } else {
            self.step_elsewhere(who);
        }
    }

    /// One step that needs none of the locks of [`Self::exclusion`].
    pub fn step_elsewhere(&self, who: &mut Participant<'_>) {
        let law = who.dice.below(self.others.len() as u64);
        self.others[law as usize].step(who);
        who.does("between");
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &dyn Law> {
        std::iter::once(&self.exclusion as &dyn Law).chain(self.others.iter().map(AsRef::as_ref))
    }
}
