//! Queues among the things that [`wait`](procession_sync::wait()) waits for.

use super::Queue;
use procession_sync::{Waitable, Watch};

impl<T> Waitable for Queue<T> {
    fn is_ready(&self) -> bool {
        !self.is_empty() || self.is_closed()
    }

    fn watch(&self) -> Watch<'_> {
        Watch::at(&self.body.words.items)
    }

    fn unwatch(&self) {
        Watch::leave(&self.body.words.items, || self.is_ready());
    }
}

#[cfg(test)]
mod tests {
    use crate::Queue;
    use procession_shm::Namespace;
    use procession_sync::{
        Event, Semaphore, WaitAnyError, Waitable, readiness, try_wait, wait, wait_timeout,
    };
    use procession_sys::eventfd::wait_any;
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// None of them is ready, now and for a while.
    fn times_out(all: &[&dyn Waitable]) -> bool {
        matches!(try_wait(all), Err(WaitAnyError::WouldBlock))
            && matches!(wait_timeout(all, Duration::from_millis(2)), Err(WaitAnyError::TimedOut))
    }

    #[test]
    fn whichever_comes_first_is_reported_with_all_that_are_ready() {
        let namespace = Namespace::private();
        let event = Event::options().namespace(&namespace).anonymous().unwrap();
        let jobs: Queue<u8> = Queue::options().namespace(&namespace).anonymous().unwrap();
        let slots = Semaphore::options().permits(1).namespace(&namespace).anonymous().unwrap();
        let permit = slots.acquire().unwrap();
        let all: [&dyn Waitable; 3] = [&event, &jobs, &slots];
        assert!(times_out(&all));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&all).unwrap());
            jobs.put(&1).unwrap();
            assert_eq!(waiting.join().unwrap(), [1]);
        });
        assert_eq!(jobs.get().unwrap(), 1);
        let waits = || wait(&all).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(waits);
            drop(permit);
            assert_eq!(waiting.join().unwrap(), [2]);
        });
        event.set();
        jobs.close().unwrap();
        assert_eq!(waits(), [0, 1, 2]);
        assert!(times_out(&[]));
    }

    #[test]
    fn a_wake_is_passed_on_to_those_who_wait_for_the_one_thing() {
        let namespace = Namespace::private();
        let jobs: Queue<u8> = Queue::options().namespace(&namespace).anonymous().unwrap();
        for _ in 0..200 {
            std::thread::scope(|scope| {
                let getting = scope.spawn(|| jobs.get().unwrap());
                let waiting = scope.spawn(|| wait_timeout(&[&jobs], Duration::from_millis(20)));
                jobs.put(&7).unwrap();
                assert_eq!(getting.join().unwrap(), 7);
                let waited = waiting.join().unwrap();
                assert!(matches!(waited, Ok(_) | Err(WaitAnyError::TimedOut)), "{waited:?}");
            });
        }
    }

    #[test]
    fn more_than_one_thread_can_watch_are_watched() {
        let namespace = Namespace::private();
        let semaphore = Semaphore::options().permits(0).max(2).namespace(&namespace).anonymous().unwrap();
        let jobs: Queue<u8> = Queue::options().namespace(&namespace).anonymous().unwrap();
        let mut all: Vec<_> = (0..200).map(|_| readiness(&semaphore).unwrap()).collect();
        let of_jobs = readiness(&jobs).unwrap();
        drop(all.drain(..50));
        semaphore.release(1).unwrap();
        for one in &all {
            assert_eq!(wait_any(&[one.as_fd(), of_jobs.as_fd()], None).unwrap(), [true, false]);
        }
        jobs.put(&1).unwrap();
        assert_eq!(wait_any(&[of_jobs.as_fd()], None).unwrap(), [true]);
    }
}
