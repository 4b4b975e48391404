//! Queues in shared memory: our own [`JoinableQueue`](procession_channel::JoinableQueue), whose messages are bytes here.

use super::{Shm, unusable, with_patience};
use crate::engine::{Batch, Fate, Fill, Form, Items, Leases, Object, Patience, Rows, Taken, Verdict};
use crate::error::ClusterError;
use procession_channel::{
    AckError, Encoded, GetError, JoinError, JoinableQueue, JoinableQueueOptions, Lease, LeaseToken, PutError,
    PutManyError,
};
use procession_shm::OpenError;
use procession_sys::interrupt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

impl Rows for Shm {
    fn queue(self: Arc<Self>, object: &Object, form: Form) -> Result<Arc<dyn Items>, ClusterError> {
        let options = self.options(form).bytes(form.bytes);
        let options = if form.ephemeral { options.ephemeral() } else { options };
        let opened = options.open_or_create(&Self::local_name(object)?);
        let queue = opened.map_err(|error| mismatch(object, form, error))?;
        Ok(Arc::new(Queue { queue, object: object.clone() }))
    }

    fn existing_queue(
        self: Arc<Self>,
        object: &Object,
        form: Form,
    ) -> Result<Option<Arc<dyn Items>>, ClusterError> {
        match self.options(form).open(&Self::local_name(object)?) {
            Ok(queue) => Ok(Some(Arc::new(Queue { queue, object: object.clone() }))),
            Err(OpenError::NotFound { .. }) => Ok(None),
            Err(error) => Err(mismatch(object, form, error)),
        }
    }
}

impl Shm {
    fn options(&self, form: Form) -> JoinableQueueOptions<Encoded> {
        let options = JoinableQueue::<Encoded>::options().namespace(&self.namespace);
        options.codec(form.codec).max_attempts(form.max_attempts)
    }
}

fn mismatch(object: &Object, form: Form, error: OpenError) -> ClusterError {
    match error {
        OpenError::Codec { .. } | OpenError::Parameter { .. } => ClusterError::Mismatch {
            object: object.subject.clone(),
            there: error.to_string(),
            asked: format!("codec {} and {} attempts", form.codec, form.max_attempts),
        },
        other => unusable(object, other),
    }
}

/// How long a thread waits before it looks again whether others are done.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Queue {
    queue: JoinableQueue<Encoded>,
    object: Object,
}

impl Queue {
    /// Waits for an item.
    fn first(&self, patience: Patience) -> Result<Lease<Encoded>, ClusterError> {
        let object = || self.object.subject.clone();
        loop {
            let got = with_patience!(patience, self.queue, get, try_get, get_timeout);
            match got {
                Ok(lease) => return Ok(lease),
                Err(GetError::WouldBlock(_) | GetError::TimedOut(_)) => break,
                // Our own queue is at its end when everything in it was got; here, an item that was got and is not done
                // can come again.
                Err(GetError::Closed(_)) if self.queue.unfinished() == 0 => {
                    return Err(ClusterError::Closed { object: object() });
                }
                Err(GetError::Closed(_)) if patience.is_over() => break,
                Err(GetError::Closed(_)) if !interrupt::is_wanted() => {
                    std::thread::sleep(patience.slice(PAUSE))
                }
                Err(GetError::Closed(_) | GetError::Interrupted(_)) => {
                    return Err(ClusterError::Interrupted { object: object() });
                }
                Err(error) => return Err(unusable(&self.object, error)),
            }
        }
        Err(self.object.not_in_time(patience, String::new()))
    }

    /// What was said of a lease, if that was held until now.
    fn if_held<T>(&self, said: Result<T, AckError>) -> Result<Option<T>, ClusterError> {
        match said {
            Ok(said) => Ok(Some(said)),
            Err(AckError::StaleLease { .. } | AckError::StaleToken { .. }) => Ok(None),
            Err(error) => Err(unusable(&self.object, error)),
        }
    }
}

impl Items for Queue {
    fn put(&self, items: &[Vec<u8>], patience: Patience) -> Result<usize, ClusterError> {
        let encoded: Vec<Encoded> = items.iter().map(|item| Encoded::from(item.clone())).collect();
        let batch = self.queue.batch();
        let put = match patience.left() {
            None => batch.put(&encoded),
            Some(left) => batch.put_timeout(&encoded, left),
        };
        let object = || self.object.subject.clone();
        match put {
            Ok(()) => Ok(items.len()),
            Err(PutManyError { put, error: PutError::TimedOut(_) | PutError::WouldBlock(_), .. }) => Ok(put),
            Err(PutManyError { error: PutError::Closed(_), .. }) => {
                Err(ClusterError::Closed { object: object() })
            }
            Err(PutManyError { error: PutError::Interrupted(_), .. }) => {
                Err(ClusterError::Interrupted { object: object() })
            }
            Err(error) => Err(unusable(&self.object, error)),
        }
    }

    fn take(&self, most: usize, patience: Patience) -> Result<Batch, ClusterError> {
        let mut lease = self.first(patience)?;
        let (mut items, mut leases) = (Vec::new(), HashMap::new());
        loop {
            let (id, key) = (lease.id(), lease.token().key());
            items.push(Taken { id, bytes: lease.to_vec(), attempt: lease.attempt(), key });
            leases.insert((lease.id(), lease.attempt()), lease);
            if items.len() >= most {
                break;
            }
            lease = match self.queue.try_get() {
                Ok(next) => next,
                Err(GetError::WouldBlock(_) | GetError::Closed(_)) => break,
                Err(error) => return Err(unusable(&self.object, error)),
            };
        }
        let hold = Arc::new(Held { leases: Mutex::new(leases), object: self.object.clone() });
        Ok(Batch { items, hold })
    }

    fn join(&self, patience: Patience) -> Result<(), ClusterError> {
        let joined = match patience.left() {
            None => self.queue.join(),
            Some(left) => self.queue.join_timeout(left),
        };
        let object = || self.object.subject.clone();
        joined.map_err(|error| match error {
            JoinError::TimedOut { .. } => ClusterError::NotDone { object: object() },
            JoinError::Interrupted { .. } => ClusterError::Interrupted { object: object() },
            error => unusable(&self.object, error),
        })
    }

    fn fill(&self) -> Result<Fill, ClusterError> {
        let (ready, dead) = (self.queue.len(), self.queue.n_dead());
        let leased = self.queue.leased().len();
        let count = |count: usize| count as u64;
        Ok(Fill { ready: count(ready), leased: count(leased), dead: count(dead) })
    }

    fn is_closed(&self) -> Result<bool, ClusterError> {
        Ok(self.queue.is_closed())
    }

    fn set_closed(&self, closed: bool) -> Result<(), ClusterError> {
        let done = if closed { self.queue.close() } else { self.queue.reopen() };
        done.map_err(|error| unusable(&self.object, error))
    }

    fn dead(&self) -> Result<Vec<Taken>, ClusterError> {
        let letters = self.queue.dead_letters().map_err(|error| unusable(&self.object, error))?;
        let of = |letter: &procession_channel::DeadLetter<Encoded>| {
            let item = letter.item().map_err(|error| unusable(&self.object, error))?;
            Ok(Taken { id: letter.id, bytes: item.to_vec(), attempt: letter.attempts, key: 0 })
        };
        letters.iter().map(of).collect()
    }

    fn remove(&self) -> Result<(), ClusterError> {
        // Those who wait at it are told that it is closed.
        self.set_closed(true)?;
        self.queue.unlink().map_err(|error| unusable(&self.object, error))
    }

    fn redeem(&self, token: LeaseToken, verdict: Verdict) -> Result<bool, ClusterError> {
        let lease = self.queue.redeem(token);
        self.if_held(match verdict {
            Verdict::Ends(Fate::Done) => lease.task_done(),
            Verdict::Ends(Fate::Dead) => lease.give_up(),
            Verdict::Ends(Fate::Failed | Fate::Untried) => lease.give_back(),
            Verdict::Lasts(time) => lease.extend(time),
        })
        .map(|held| held.is_some())
    }

    fn time_left(&self, token: LeaseToken) -> Result<Option<Duration>, ClusterError> {
        let left = self.if_held(self.queue.redeem(token).time_left())?;
        Ok(left.map(|left| left.unwrap_or(Duration::MAX)))
    }

    fn settle(&self, id: u64, again: bool) -> Result<bool, ClusterError> {
        let wrong = |error| unusable(&self.object, error);
        let letters = self.queue.dead_letters().map_err(wrong)?;
        let Some(letter) = letters.iter().find(|letter| letter.id == id) else { return Ok(false) };
        if again { self.queue.retry(letter) } else { self.queue.discard(letter) }.map_err(wrong)
    }
}

/// What was taken, by its number and attempt, until it is decided what becomes of it.
#[derive(Debug)]
struct Held {
    leases: Mutex<HashMap<(u64, u32), Lease<Encoded>>>,
    object: Object,
}

impl Leases for Held {
    fn end(&self, items: &[(u64, u32)], fate: Fate) -> Result<Vec<u64>, ClusterError> {
        let mut ended = Vec::new();
        for item in items {
            let lease = self.leases.lock().unwrap_or_else(PoisonError::into_inner).remove(item);
            // One whose time is over, and which nobody has noticed, is given back here.
            let Some(lease) = lease.filter(|lease| lease.time_left() != Some(Duration::ZERO)) else {
                continue;
            };
            let done = match fate {
                Fate::Done => lease.task_done(),
                Fate::Untried => lease.put_back(),
                Fate::Failed => {
                    drop(lease);
                    Ok(())
                }
                Fate::Dead => lease.give_up(),
            };
            match done {
                Ok(()) => ended.push(item.0),
                Err(AckError::StaleLease { .. } | AckError::StaleToken { .. }) => {}
                Err(error) => return Err(unusable(&self.object, error)),
            }
        }
        Ok(ended)
    }

    fn session(&self) -> i32 {
        0
    }

    fn is_lost(&self) -> bool {
        false
    }
}
