//! The jobs of a pool, by their numbers: which of them have something to give out, and which are over.
//!
//! There may be ten thousand of them, so nothing that is done for each result looks at all.

use super::batch::Chunk;
use super::error::TaskError;
use super::job::{Job, JobResult, Tally};
use super::watchers::{Callback, Due, Duty, Watcher};
use procession_sys::Deadline;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Jobs {
    all: BTreeMap<u64, Job>,
    next: u64,
    /// How many chunks were ever given.
    turns: u64,
    /// Jobs that may have chunks that no worker has, each behind the turn of one that is not later than its first; a job
    /// that has some is here once.
    ready: BTreeSet<(u64, u64)>,
    /// Jobs that may have items which wait for their next try; a job that has some is among them.
    delayed: BTreeSet<u64>,
    /// What became of the items of jobs that are no more.
    past: Tally,
    /// Who is to be told that a job is over.
    due: Arc<Due>,
}

impl Jobs {
    /// Takes in a new job.
    pub(crate) fn open(&mut self, job: Job) -> u64 {
        let id = self.next;
        self.next += 1;
        self.all.insert(id, job);
        id
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Job> {
        self.all.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Job> {
        self.all.get_mut(&id)
    }

    /// Gives a chunk to the workers when it is its turn.
    pub(crate) fn push_back(&mut self, mut chunk: Chunk) {
        let id = chunk.job;
        if let Some(job) = self.all.get_mut(&id) {
            chunk.turn = self.turns;
            self.turns += 1;
            job.pending.push_back(chunk);
            self.list(id);
        }
    }

    /// Gives a chunk, or what is left of it, to the workers before all others of its job.
    pub(crate) fn push_front(&mut self, chunk: Chunk) {
        let id = chunk.job;
        if let Some(job) = self.all.get_mut(&id) {
            job.pending.push_front(chunk);
            self.list(id);
        }
    }

    /// Lists a job that may have chunks which no worker has, unless it is listed.
    fn list(&mut self, id: u64) {
        if let Some(job) = self.all.get_mut(&id)
            && job.listed.is_none()
            && let Some(first) = job.pending.front()
        {
            job.listed = Some(first.turn);
            self.ready.insert((first.turn, id));
        }
    }

    /// A worker was lost with the item that this chunk is: has it tried again, if it may be; `false` if not.
    pub(crate) fn retry(&mut self, chunk: Chunk) -> bool {
        let id = chunk.job;
        let is_tried_again = self.all.get_mut(&id).is_some_and(|job| job.retry(chunk));
        if is_tried_again {
            self.list(id);
            self.delayed.insert(id);
        }
        is_tried_again
    }

    /// Lets those items be tried again whose time has come; when the next one's will have.
    pub(crate) fn wake_delayed(&mut self) -> Deadline {
        let mut next = Deadline::NEVER;
        for id in std::mem::take(&mut self.delayed) {
            let until = self.all.get_mut(&id).map_or(Deadline::NEVER, Job::wake_delayed);
            self.list(id);
            next = next.min(until);
            if until != Deadline::NEVER {
                self.delayed.insert(id);
            }
        }
        next
    }

    /// The job whose chunk, which no worker has, was given to the pool before those of others.
    fn first_ready(&mut self) -> Option<&mut Job> {
        loop {
            let is_only = self.ready.len() == 1;
            let &(listed, id) = self.ready.first()?;
            let turn = self.all.get(&id).and_then(|job| job.pending.front()).map(|chunk| chunk.turn);
            // Whoever is alone is not listed anew for each chunk.
            if turn.is_some_and(|turn| turn <= listed || is_only) {
                return self.all.get_mut(&id);
            }
            self.ready.pop_first();
            if let Some(job) = self.all.get_mut(&id) {
                job.listed = None;
                self.list(id);
            }
        }
    }

    /// The next chunk in the order in which they were given: a call that goes on giving some keeps no other one waiting.
    pub(crate) fn next_chunk(&mut self) -> Option<Chunk> {
        self.first_ready()?.pending.pop_front()
    }

    /// Whether there are more than so many chunks that no worker has.
    pub(crate) fn has_more_chunks_than(&self, count: usize) -> bool {
        let mut found = 0;
        self.ready.iter().any(|(_, id)| {
            found += self.all.get(id).map_or(0, |job| job.pending.len());
            found > count
        })
    }

    /// The numbers of all jobs.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.all.keys().copied().collect()
    }

    /// All chunks that no worker has, which are the caller's now.
    pub(crate) fn take_waiting(&mut self) -> Vec<Chunk> {
        self.all.values_mut().flat_map(Job::take_waiting).collect()
    }

    /// Whether a worker has something to do for a job, or may still have.
    pub(crate) fn need_workers(&self) -> bool {
        self.all.values().any(Job::needs_workers)
    }

    /// Whether all that there will be of the job is there, or was taken.
    pub(crate) fn is_over(&self, id: u64) -> bool {
        self.all.get(&id).is_none_or(Job::is_over)
    }

    /// Takes the outcome of a job, if it is all there; then the job is no more.
    pub(crate) fn take_outcome(&mut self, id: u64) -> Option<JobResult> {
        match self.all.get(&id) {
            None => return Some(JobResult::One(Err(TaskError::Cancelled))),
            Some(job) if !job.is_over() => return None,
            Some(_) => {}
        }
        let job = self.all.remove(&id)?;
        self.past.add(job.tally());
        Some(job.into_outcome())
    }

    /// Has somebody told when the job is over; gives back who is to be told if it is over already.
    pub(crate) fn watch(&mut self, id: u64, watcher: Watcher) -> Option<Watcher> {
        match self.all.get_mut(&id) {
            Some(job) if !job.is_over() => {
                job.watch(&self.due, watcher);
                None
            }
            _ => Some(watcher),
        }
    }

    /// Has the callback called once the job is over.
    pub(crate) fn call(&mut self, id: u64, callback: Callback) {
        match self.all.get_mut(&id) {
            Some(job) if job.is_over() => self.due.push(Duty::Call(callback, job.share())),
            Some(job) => job.watch(&self.due, Watcher::Callback(callback)),
            None => {
                let cancelled = JobResult::One(Err(TaskError::Cancelled));
                self.due.push(Duty::Call(callback, Arc::new(cancelled)));
            }
        }
    }

    /// Who is to be told that a job is over.
    pub(crate) fn due(&self) -> &Due {
        &self.due
    }

    /// Lets a job go that is over and that nobody will ask about.
    pub(crate) fn forget(&mut self, id: u64) {
        if self.all.get(&id).is_some_and(Job::is_forgotten)
            && let Some(job) = self.all.remove(&id)
        {
            self.past.add(job.tally());
        }
    }

    /// Lets all such jobs go.
    pub(crate) fn forget_all(&mut self) {
        let Self { all, past, .. } = self;
        all.retain(|_, job| {
            let is_forgotten = job.is_forgotten();
            if is_forgotten {
                past.add(job.tally());
            }
            !is_forgotten
        });
    }

    /// What became of all items until now.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.past;
        self.all.values().for_each(|job| tally.add(job.tally()));
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::Jobs;
    use crate::pool::TaskItem;
    use crate::pool::batch::{BatchBuilder, Cargo};
    use crate::pool::job::Results;
    use crate::pool::job::tests::job;
    use std::collections::VecDeque;

    const ITEM: TaskItem = TaskItem { index: 0, function: "fail" };

    #[test]
    fn a_job_that_is_given_more_and_more_keeps_no_other_one_waiting() {
        let mut jobs = Jobs::default();
        let [stream, one] = [(); 2].map(|()| jobs.open(job(Results::Streamed(VecDeque::new()))));
        let give = |jobs: &mut Jobs, id| {
            jobs.push_back(BatchBuilder::of_one(ITEM, &7).unwrap().0.finish(id, Cargo::default()))
        };
        (0..3).for_each(|_| give(&mut jobs, stream));
        let first = jobs.next_chunk().unwrap();
        give(&mut jobs, one);
        give(&mut jobs, stream);
        // What was taken back comes first.
        jobs.push_front(first);
        assert!(jobs.has_more_chunks_than(4) && !jobs.has_more_chunks_than(5));
        let order: Vec<u64> = std::iter::from_fn(|| jobs.next_chunk()).map(|chunk| chunk.job).collect();
        assert_eq!(order, [stream, stream, stream, one, stream]);
        give(&mut jobs, one);
        assert!(jobs.has_more_chunks_than(0) && !jobs.has_more_chunks_than(1));
        assert_eq!(jobs.next_chunk().unwrap().job, one);
    }
}
