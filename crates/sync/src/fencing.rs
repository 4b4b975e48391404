//! Fencing tokens: numbers by which others can tell a late holder of a lock from the one that came after it.
//!
//! The word is how many were handed out. Whoever holds the lock adds one, in one step, and dies before or after it: a
//! number that nobody has seen is no harm.

use procession_sys::atomic::{AtomicU64, Ordering};
use procession_sys::shm_struct;

shm_struct! {
    /// Where a lock has its tokens; all zero is that there was none.
    pub(crate) struct FencingTokens {
        handed_out: AtomicU64,
    }
}

impl FencingTokens {
    /// The next one. To be asked by who holds the lock: what came before the hold, came before the number.
    pub(crate) fn next(&self) -> u64 {
        // Relaxed: the lock orders its holders, and the numbers of those who read together may come in any order.
        self.handed_out.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many there were.
    pub(crate) fn handed_out(&self) -> u64 {
        // Relaxed: a figure for people.
        self.handed_out.load(Ordering::Relaxed)
    }
}

/// The method of a guard that gives a token; `$tokens` is what leads from the guard to them.
macro_rules! gives_fencing_tokens {
    ($($tokens:tt)+) => {
        /// A fencing token: a number that is higher than every one that was handed out for this lock before, to this
        /// holder or to another, as long as the lock exists. Give it along with every write to something that is not
        /// in this machine's shared memory, such as a file server or a database, and have that refuse numbers lower
        /// than the highest it has seen: then a holder whose write is late, because it was stopped, say, and counts as
        /// dead elsewhere, cannot undo what its successor wrote (M. Kleppmann, How to do distributed locking, 2016).
        #[must_use]
        pub fn fencing_token(&self) -> u64 {
            self.$($tokens)+.next()
        }
    };
}

pub(crate) use gives_fencing_tokens;

#[cfg(test)]
mod tests {
    use crate::{Lock, RLock, RwLock};

    #[test]
    fn no_token_is_handed_out_twice_and_each_is_higher() {
        let lock = Lock::new().unwrap();
        let first = lock.acquire().unwrap().fencing_token();
        let guard = lock.acquire_owned().unwrap();
        assert_eq!([first, guard.fencing_token(), guard.fencing_token()], [1, 2, 3]);
        let lock = RLock::new().unwrap();
        let outer = lock.acquire().unwrap();
        let inner = lock.acquire().unwrap();
        assert!(outer.fencing_token() < inner.fencing_token());
        let lock = RwLock::new().unwrap();
        let read = lock.read().unwrap().fencing_token();
        assert!(read < lock.write().unwrap().fencing_token());
    }
}
