//! The results of one call of a pool, as they come.

use crate::cluster::Cluster;
use crate::error::ClusterError;
use crate::pool::{ALL_PUT, Finished, Task};
use crate::queue::{JoinableQueue, Lease};
use procession_process::elsewhere::FarOutcome;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How many tasks, and how many results, cross at once.
const BATCH: usize = 1000;
/// How long results are waited for before it is looked for those that will not come.
const LOOK: Duration = Duration::from_millis(250);
/// How long a put of tasks waits for room before results are taken.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(20);

/// Results, by the numbers of their items.
pub(crate) struct Tally {
    cluster: Cluster,
    job: String,
    count: usize,
    tasks: JoinableQueue<Task>,
    results: JoinableQueue<Finished>,
    outcomes: BTreeMap<u32, FarOutcome>,
    /// The items of these outcomes, as they came.
    arrived: Vec<u32>,
    is_forgotten: bool,
    /// Whether its results stay in their queue.
    is_kept: bool,
}

impl Tally {
    pub(crate) fn new(
        cluster: Cluster,
        job: String,
        count: usize,
        (tasks, results): (JoinableQueue<Task>, JoinableQueue<Finished>),
    ) -> Result<Self, ClusterError> {
        // Made now: a worker makes none.
        results.len()?;
        let (outcomes, arrived) = (BTreeMap::new(), Vec::new());
        Ok(Self {
            cluster,
            job,
            count,
            tasks,
            results,
            outcomes,
            arrived,
            is_forgotten: false,
            is_kept: false,
        })
    }

    pub(crate) fn outcome(&self, item: usize) -> Option<&FarOutcome> {
        self.outcomes.get(&u32::try_from(item).ok()?)
    }

    /// How many outcomes there are.
    pub(crate) fn len(&self) -> usize {
        self.arrived.len()
    }

    /// The item whose outcome was the one with that number, from 0 on, to come.
    pub(crate) fn arrived(&self, nth: usize) -> Option<usize> {
        self.arrived.get(nth).map(|&item| item as usize)
    }

    /// The first item of which there is no outcome.
    pub(crate) fn first_missing(&self) -> usize {
        (0..self.count).find(|&item| self.outcome(item).is_none()).unwrap_or(self.count)
    }

    /// The first item that has failed.
    pub(crate) fn first_failure(&self) -> Option<usize> {
        let failed = |(item, outcome): (&u32, &FarOutcome)| {
            matches!(outcome, FarOutcome::Failed(_)).then_some(*item as usize)
        };
        self.outcomes.iter().find_map(failed)
    }

    /// Puts tasks as long as there is room; the others are put by whoever waits.
    pub(crate) fn feed(&self, todo: &mut VecDeque<Vec<u8>>, room: Duration) -> Result<(), ClusterError> {
        while !todo.is_empty() {
            let most = todo.len().min(BATCH);
            let put = self.tasks.put_some(&todo.make_contiguous()[..most], room)?;
            todo.drain(..put);
            if put < most {
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, leases: &[Lease<Finished>]) {
        for finished in leases {
            if finished.item != ALL_PUT {
                self.enter(finished.item, || finished.outcome.clone());
            }
        }
    }

    /// The first outcome of an item counts.
    fn enter(&mut self, item: u32, outcome: impl FnOnce() -> FarOutcome) {
        if let Entry::Vacant(place) = self.outcomes.entry(item) {
            place.insert(outcome());
            self.arrived.push(item);
        }
    }

    /// Takes what is there, or comes within `timeout`.
    fn take(&mut self, timeout: Duration) -> Result<Vec<Lease<Finished>>, ClusterError> {
        match self.results.get_many_timeout(BATCH, timeout) {
            Ok(leases) => {
                self.add(&leases);
                Ok(leases)
            }
            Err(ClusterError::TimedOut { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether all results are there, of which this takes what has come.
    pub(crate) fn is_done(&mut self) -> Result<bool, ClusterError> {
        if self.outcomes.len() < self.count {
            let leases = self.take(Duration::ZERO)?;
            self.results.tasks_done(leases)?;
            self.take_dead()?;
        }
        Ok(self.outcomes.len() >= self.count)
    }

    /// Waits until all results are there, or with `until_failure` one has failed; puts the tasks that are left.
    pub(crate) fn wait(
        &mut self,
        todo: &mut VecDeque<Vec<u8>>,
        until_failure: bool,
    ) -> Result<(), ClusterError> {
        self.wait_until(todo, None, |tally| until_failure && tally.first_failure().is_some())
    }

    /// Waits until it is enough, or all results are there, or it is so late; puts the tasks that are left.
    pub(crate) fn wait_until(
        &mut self,
        todo: &mut VecDeque<Vec<u8>>,
        end: Option<Instant>,
        is_enough: impl Fn(&Self) -> bool,
    ) -> Result<(), ClusterError> {
        self.again(|tally| {
            let left = end.map_or(LOOK, |end| end.saturating_duration_since(Instant::now()));
            tally.step(todo, left.min(LOOK))?;
            Ok(is_enough(tally) || end.is_some_and(|end| Instant::now() >= end))
        })
    }

    /// Makes steps until all results are there, or one says that it is enough. A server that is started again has all of
    /// it, so that steps go on then.
    fn again(
        &mut self,
        mut step: impl FnMut(&mut Self) -> Result<bool, ClusterError>,
    ) -> Result<(), ClusterError> {
        let mut heard = Instant::now();
        loop {
            match step(self) {
                Ok(true) => return Ok(()),
                Ok(false) => heard = Instant::now(),
                Err(ClusterError::Unavailable { .. } | ClusterError::Lost { .. })
                    if heard.elapsed() < self.cluster.deadline() =>
                {
                    std::thread::sleep(LOOK);
                }
                Err(error) => return Err(error),
            }
            if self.outcomes.len() >= self.count {
                return Ok(());
            }
        }
    }

    fn step(&mut self, todo: &mut VecDeque<Vec<u8>>, patience: Duration) -> Result<(), ClusterError> {
        self.feed(todo, A_MOMENT)?;
        let leases = self.take(if todo.is_empty() { patience } else { Duration::ZERO })?;
        if leases.is_empty() {
            return self.take_dead();
        }
        self.results.tasks_done(leases).map(drop)
    }

    /// Waits for the results of a call that has a name, and leaves them in their queue. Its tasks are put once. Before each
    /// step, `is_alone` sees to it that nobody else waits for them.
    pub(crate) fn wait_and_keep(
        &mut self,
        todo: &mut VecDeque<Vec<u8>>,
        mut is_alone: impl FnMut() -> Result<(), ClusterError>,
    ) -> Result<(), ClusterError> {
        self.is_kept = true;
        let (mut kept, mut is_put) = (Vec::new(), false);
        self.again(|tally| {
            is_alone()?;
            tally.keeping_step(todo, &mut kept, &mut is_put).map(|()| false)
        })?;
        // For whoever asks next.
        kept.into_iter().try_for_each(|lease: Lease<Finished>| match lease.put_back() {
            Err(ClusterError::Lost { .. }) => Ok(()),
            done => done,
        })
    }

    fn keeping_step(
        &mut self,
        todo: &mut VecDeque<Vec<u8>>,
        kept: &mut Vec<Lease<Finished>>,
        is_put: &mut bool,
    ) -> Result<(), ClusterError> {
        let leases = self.take(if *is_put { LOOK } else { Duration::ZERO })?;
        *is_put |= leases.iter().any(|finished| finished.item == ALL_PUT);
        let is_idle = leases.is_empty();
        kept.extend(leases);
        if !*is_put {
            if !is_idle {
                // What says that all was put may be behind these.
                return Ok(());
            }
            self.feed(todo, A_MOMENT)?;
            if todo.is_empty() {
                *is_put = self.keep(ALL_PUT, FarOutcome::Failed(String::new()))?;
                self.take_dead()?;
            }
        } else if is_idle {
            self.take_dead()?;
        }
        Ok(())
    }

    /// Puts one more for whoever asks next, if there is room: those that are there stay, so that nobody makes any.
    fn keep(&self, item: u32, outcome: FarOutcome) -> Result<bool, ClusterError> {
        let bytes = self.results.encode(&Finished { item, outcome })?;
        Ok(self.results.put_some(&[bytes], A_MOMENT)? == 1)
    }

    /// Has the outcome of those items whose workers have died too often.
    fn take_dead(&mut self) -> Result<(), ClusterError> {
        for letter in self.tasks.dead_letters()? {
            if letter.item.job != self.job {
                continue;
            }
            let reason = format!("each of {} workers that were given it has died", letter.attempts);
            let (item, outcome) = (letter.item.item, FarOutcome::Failed(reason));
            // Where there is no room, it stays a dead letter, which whoever asks next finds.
            let is_known = !self.is_kept || self.keep(item, outcome.clone())?;
            self.enter(item, || outcome);
            if is_known {
                self.tasks.discard(&letter)?;
            }
        }
        Ok(())
    }

    /// Removes the results: what is not begun is not done.
    pub(crate) fn forget(&mut self) -> Result<(), ClusterError> {
        if !std::mem::replace(&mut self.is_forgotten, true) {
            self.results.remove()?;
        }
        Ok(())
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nobody waits for them any more; where that fails, they are left in the cluster.
            drop(self.forget());
        }
    }
}
