//! Crews: pools that grow and shrink while they work, whose items may take only so long, and whose workers are killed.
//! Each item has one end. It is the right result, unless it was too slow where that matters, or its worker was
//! killed; and no item is run twice. Whose pool it is may be killed at any time, and so may who has one made by a
//! forkserver: then all of the pool is gone.

use super::{Account, End, LIMIT, Law, Participant, Place, Table};
use crate::processes::kill_child;
use procession::{Pool, PoolError, StartMethod, TaskError};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// One in so many steps makes a pool: that takes as long as hundreds of the others.
const SELDOM: u64 = 24;
const ITEMS: u64 = 60;
const MOST_WORKERS: u64 = 4;

/// How many items were begun by workers, and how many came to their end.
type Witness = Table<AtomicU64>;

static WITNESS: OnceLock<Witness> = OnceLock::new();

fn witness(file: &Path) -> Witness {
    Table::map(file, 2)
}

/// What each worker does first.
fn remember(file: PathBuf) {
    WITNESS.get_or_init(|| witness(&file));
}

/// Takes longer than an item may, where that is limited, if `is_slow`.
fn work((n, is_slow): (u64, bool)) -> u64 {
    let witness = WITNESS.get().unwrap();
    witness[0].fetch_add(1, SeqCst);
    if is_slow {
        std::thread::sleep(LIMIT * 2);
    }
    witness[1].fetch_add(1, SeqCst);
    n.wrapping_mul(n)
}

pub(super) struct Crews {
    file: PathBuf,
    witness: Witness,
}

impl Crews {
    pub(super) fn new(place: &Place) -> Self {
        let file = place.file("crews");
        Self { witness: witness(&file), file }
    }

    fn make(&self, who: &mut Participant<'_>) -> Result<Pool, PoolError> {
        let method = if who.dice.below(2) == 0 { StartMethod::Spawn } else { StartMethod::Forkserver };
        let workers = 1 + who.dice.below(MOST_WORKERS) as usize;
        let options = Pool::options().processes(workers).start_method(method);
        options.initializer(remember, self.file.clone()).start()
    }

    /// Gives the pool its items, and changes it meanwhile.
    fn use_it(&self, who: &mut Participant<'_>, pool: &Pool) {
        let (is_timed, kills) = (who.dice.below(2) == 0, who.dice.below(2) == 0);
        let chunk = 1 + who.dice.below(4) as usize;
        let calls = if is_timed { pool.chunk_size(chunk).timeout(LIMIT) } else { pool.chunk_size(chunk) };
        who.begins(Account::Tasked, ITEMS);
        let slow: Vec<bool> = (0..ITEMS).map(|_| who.dice.below(20) == 0).collect();
        let mut dice = who.dice.clone();
        let items = (0..ITEMS).zip(slow).inspect(|_| match dice.below(30) {
            0 => pool.resize(1 + dice.below(MOST_WORKERS) as usize).unwrap(),
            1 if kills => {
                let workers = pool.workers();
                if !workers.is_empty() {
                    kill_child(workers[dice.below(workers.len() as u64) as usize]);
                }
            }
            _ => {}
        });
        let (mut seen, mut done) = ([false; ITEMS as usize], 0);
        for (index, outcome) in calls.imap_unordered(work, items) {
            who.expects(!std::mem::replace(&mut seen[index], true), || {
                format!("item {index} has ended twice")
            });
            match outcome {
                Ok(result) => {
                    who.expects(result == (index * index) as u64, || format!("item {index} is {result}"));
                    done += 1;
                }
                Err(TaskError::TooSlow { .. }) if is_timed => {}
                Err(TaskError::WorkerDied { .. } | TaskError::WorkerLost { .. }) if kills => {}
                Err(error) => who.breaks(&format!("an item of a pool: {error}")),
            }
        }
        who.expects(seen.iter().all(|&seen| seen), || "an item of a pool has no end".to_owned());
        who.acknowledges(Account::Tasked, done);
        let progress = pool.progress();
        let is_right = (progress.total, progress.done) == (ITEMS as usize, done as usize);
        who.expects(is_right && progress.failed == (ITEMS - done) as usize, || {
            format!("{progress:?}, {done} done")
        });
    }
}

impl Law for Crews {
    fn step(&self, who: &mut Participant<'_>) {
        if !who.may_start_threads || who.dice.below(SELDOM) != 0 {
            return;
        }
        who.does("making a pool");
        let pool = self.make(who);
        let Some(mut pool) = who.must(pool, "making a pool") else { return };
        who.does("using a pool");
        self.use_it(who, &pool);
        who.does("ending a pool");
        if who.dice.below(2) == 0 {
            pool.close();
            let joined = pool.join();
            who.must(joined, "joining a pool");
        }
    }

    fn check(&self, end: &End<'_>) {
        let ((least, most), [begun, ended]) =
            (end.sum(Account::Tasked), [0, 1].map(|index| self.witness[index].load(SeqCst)));
        assert!(least <= ended && ended <= begun && begun <= most, "{least} {ended} {begun} {most}");
        crate::note(&format!(
            "chaos: {begun} items of pools begun, {ended} ended, {least} of {most} were done"
        ));
    }

    fn unlink(&self) {}
}
