//! Events, latches, counters and barriers in shared memory: our own.

use super::{Shm, of_holder, opened, unusable};
use crate::engine::{Change, Goal, Object, Patience, Signals};
use crate::error::ClusterError;
use crate::report::ClusterParticipant;
use procession_shm::OpenError;
use procession_sync::{
    Barrier, BarrierError, BarrierOptions, BreakCause, EventError, EventOptions, LatchError, LatchOptions,
    Value, ValueOptions,
};
use procession_sys::interrupt;
use std::sync::Arc;
use std::time::Duration;

/// How long a thread waits for a place at a barrier that those of the last meeting have yet to leave.
const PAUSE: Duration = Duration::from_millis(1);

impl Shm {
    fn event(&self, object: &Object) -> Result<procession_sync::Event, ClusterError> {
        let name = Self::local_name(object)?;
        opened!(object, EventOptions::default().namespace(&self.namespace), &name)
    }

    fn latch(&self, object: &Object) -> Result<procession_sync::Latch, ClusterError> {
        let name = Self::local_name(object)?;
        let options = LatchOptions::default().namespace(&self.namespace).count(object.size as usize);
        opened!(object, options, &name)
    }

    fn counter(&self, object: &Object) -> Result<Value<i64>, ClusterError> {
        let name = Self::local_name(object)?;
        opened!(object, ValueOptions::<i64>::default().namespace(&self.namespace), &name)
    }

    fn barrier(&self, object: &Object) -> Result<Barrier, ClusterError> {
        let name = Self::local_name(object)?;
        let options = BarrierOptions::default().namespace(&self.namespace).parties(object.size as usize);
        opened!(object, options, &name)
    }

    fn add(&self, object: &Object, number: i64) -> Result<Option<i64>, ClusterError> {
        let counter = self.counter(object)?;
        let mut now = counter.get().map_err(|error| unusable(object, error))?;
        loop {
            let Some(sum) = now.checked_add(number) else { return Ok(None) };
            match counter.compare_exchange(now, sum).map_err(|error| unusable(object, error))? {
                Ok(_) => return Ok(Some(sum)),
                Err(changed) => now = changed,
            }
        }
    }
}

fn count(arrived: u64) -> i64 {
    i64::try_from(arrived).unwrap_or(i64::MAX)
}

impl Signals for Shm {
    fn change(&self, object: &Object, change: Change) -> Result<Option<i64>, ClusterError> {
        match change {
            Change::Set => self.event(object)?.set(),
            Change::Clear => self.event(object)?.clear(),
            Change::Pulse => self.event(object)?.pulse(),
            Change::Add(_) if object.subject.kind == "latch" => {
                return Ok(Some(count(self.latch(object)?.arrive()).saturating_add(1)));
            }
            Change::Add(number) => return self.add(object, number),
            Change::Put(number) => {
                self.counter(object)?.set(number).map_err(|error| unusable(object, error))?;
                return Ok(Some(number));
            }
        }
        self.value(object).map(Some)
    }

    fn own(self: Arc<Self>, object: &Object) -> Result<(), ClusterError> {
        self.event(object)?.set_owned().map_err(|error| match error {
            EventError::Owned { holder, .. } => {
                ClusterError::Owned { object: object.subject.clone(), holder: holder.to_string() }
            }
            error => unusable(object, error),
        })
    }

    fn owner(&self, object: &Object) -> Result<Option<ClusterParticipant>, ClusterError> {
        Ok(self.event(object)?.owner().as_ref().map(of_holder))
    }

    fn value(&self, object: &Object) -> Result<i64, ClusterError> {
        match object.subject.kind {
            "event" => Ok(self.event(object)?.is_set().into()),
            "latch" => Ok(count(self.latch(object)?.arrived())),
            _ => self.counter(object)?.get().map_err(|error| unusable(object, error)),
        }
    }

    fn wait_until(&self, object: &Object, goal: Goal, patience: Patience) -> Result<(), ClusterError> {
        let subject = || object.subject.clone();
        if let Goal::Reached(_) = goal {
            let latch = self.latch(object)?;
            let waited = patience.left().map_or_else(|| latch.wait(), |left| latch.wait_timeout(left));
            return waited.map_err(|error| match error {
                LatchError::TimedOut { .. } => object.not_in_time(patience, String::new()),
                LatchError::Interrupted { .. } => ClusterError::Interrupted { object: subject() },
                error => unusable(object, error),
            });
        }
        let event = self.event(object)?;
        let waited = match (goal, patience.left()) {
            (Goal::Cleared, None) => event.wait_cleared(),
            (Goal::Cleared, Some(left)) => event.wait_cleared_timeout(left),
            (_, None) => event.wait(),
            (_, Some(left)) => event.wait_timeout(left),
        };
        waited.map_err(|error| match error {
            EventError::TimedOut { .. } | EventError::StillSet { .. } => {
                object.not_in_time(patience, String::new())
            }
            EventError::Interrupted { .. } => ClusterError::Interrupted { object: subject() },
            error => unusable(object, error),
        })
    }

    fn meet(&self, object: &Object, patience: Patience) -> Result<u32, ClusterError> {
        let barrier = self.barrier(object)?;
        let mut place = loop {
            match barrier.join() {
                Ok(place) => break place,
                // Those of the last meeting are leaving.
                Err(BarrierError::NoPlace { .. }) if interrupt::is_wanted() => {
                    return Err(ClusterError::Interrupted { object: object.subject.clone() });
                }
                Err(BarrierError::NoPlace { .. }) if !patience.is_over() => std::thread::sleep(PAUSE),
                Err(error) => return Err(from_barrier(object, patience, error)),
            }
        };
        let met = match patience.left() {
            None => place.wait(),
            Some(left) => place.wait_timeout(left),
        };
        met.map_err(|error| from_barrier(object, patience, error))
    }

    fn waiting(&self, object: &Object) -> Result<Option<u32>, ClusterError> {
        let barrier = self.barrier(object)?;
        let waiting = u32::try_from(barrier.n_waiting()).unwrap_or(u32::MAX);
        Ok(barrier.broken().is_none().then_some(waiting))
    }

    fn abort(&self, object: &Object) -> Result<(), ClusterError> {
        self.barrier(object)?.abort();
        Ok(())
    }

    fn reset(&self, object: &Object) -> Result<(), ClusterError> {
        self.barrier(object)?.reset().map_err(|error| unusable(object, error))
    }
}

fn from_barrier(object: &Object, patience: Patience, error: BarrierError) -> ClusterError {
    let subject = object.subject.clone();
    match error {
        BarrierError::Broken { cause: BreakCause::PeerDied { pid }, .. } => {
            ClusterError::PeerDied { object: subject, who: format!("pid {pid}") }
        }
        BarrierError::Broken { cause, .. } => {
            ClusterError::Broken { object: subject, reason: cause.to_string() }
        }
        BarrierError::TimedOut { .. } | BarrierError::NoPlace { .. } => {
            object.not_in_time(patience, String::new())
        }
        BarrierError::Interrupted { .. } => ClusterError::Interrupted { object: subject },
        error => unusable(object, error),
    }
}
