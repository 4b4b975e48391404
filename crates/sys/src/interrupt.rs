//! Waits that end when the waiting thread has something else to do: a signal has come, or somebody told it to
//! stop.
//!
//! Every wait of the library sleeps in slices. A thread that has a hook (from [`on_signal`]) asks it when a
//! signal has ended a sleep, and at the end of each slice. If the answer is yes, the operation fails with
//! `Interrupted`, and what it had begun is undone. A thread without a hook pays nothing, and one with a hook
//! pays only where it sleeps anyway.

use crate::clock::Deadline;
use crate::fork;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

/// How long a thread with a hook sleeps at most where no slice bounds it.
const SLICE: Duration = Duration::from_millis(100);

type Hook = Rc<dyn Fn() -> bool>;

thread_local! {
    /// The hooks of this thread, the outermost first.
    static HOOKS: RefCell<Vec<(u64, Hook)>> = const { RefCell::new(Vec::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
    /// How many [`Deferred`] there are.
    static DEFERRED: Cell<u32> = const { Cell::new(0) };
}

/// Has `wants_to_stop` asked whenever this thread is woken by a signal while it waits for something of this
/// library, and at least every tenth of a second (in a crowd of waiters, every second). Once it answers
/// `true`, the operation that waits fails with `Interrupted`, and leaves everything as if it had not begun.
/// It counts until the guard is dropped.
///
/// If there are several, the last one is asked first. An operation that succeeds at the very moment says that
/// it did, although the answer was `true`.
///
/// The hook runs where the operation was called, and may do what a callback may: but it should not let go of
/// locks that this thread holds, nor wait for long. If it panics, that counts as `true`. In a process
/// that it forks, the wait, which is its parent's, ends as interrupted.
///
/// A signal ends a sleep only if it has a handler, and is delivered to this thread. Without signals it is the
/// tenth of a second that counts.
#[must_use = "dropping it takes the hook away at once"]
pub fn on_signal(wants_to_stop: impl Fn() -> bool + 'static) -> OnSignal {
    let id = NEXT.replace(NEXT.get().wrapping_add(1));
    let hook: Hook = Rc::new(wants_to_stop);
    // In the destructors of a thread that ends there may be no list any more: then nobody is asked.
    let _: Result<(), _> = HOOKS.try_with(|hooks| hooks.borrow_mut().push((id, hook)));
    OnSignal { id, not_send: PhantomData }
}

/// A hook of this thread, from [`on_signal`]; dropping it takes it away.
#[derive(Debug)]
pub struct OnSignal {
    id: u64,
    not_send: PhantomData<*const ()>,
}

impl Drop for OnSignal {
    fn drop(&mut self) {
        let hook = HOOKS.try_with(|hooks| {
            let mut hooks = hooks.borrow_mut();
            hooks.iter().position(|(id, _)| *id == self.id).map(|index| hooks.remove(index))
        });
        // Not under the borrow: what the closure owns may have a destructor that waits.
        drop(hook);
    }
}

/// Asks the hooks of this thread whether a wait is to end. A copy of this process that one of them makes is to end
/// it: what is waited for, it would get in its parent's name.
#[doc(hidden)]
#[must_use]
pub fn is_wanted() -> bool {
    if !is_possible() {
        return false;
    }
    // Copied: a hook may wait, and may add and drop hooks.
    let hooks: Vec<Hook> = HOOKS
        .try_with(|hooks| hooks.borrow().iter().map(|(_, hook)| Rc::clone(hook)).collect())
        .unwrap_or_default();
    let process = fork::cookie();
    hooks.iter().rev().any(|hook| {
        let is_wanted = catch_unwind(AssertUnwindSafe(|| hook())).unwrap_or(true);
        is_wanted || fork::cookie() != process
    })
}

/// Whether there is anybody to ask.
#[doc(hidden)]
#[must_use]
pub fn is_possible() -> bool {
    DEFERRED.get() == 0 && HOOKS.try_with(|hooks| !hooks.borrow().is_empty()).unwrap_or(false)
}

/// The deadline of a sleep that nothing else bounds: when to look again.
#[doc(hidden)]
#[must_use]
pub fn slice(deadline: Deadline) -> Deadline {
    if is_possible() { Deadline::after(SLICE).min(deadline) } else { deadline }
}

/// The time to sleep, as [`slice`] says it, for those who count what is left.
#[doc(hidden)]
#[must_use]
pub fn slice_of(left: Option<Duration>) -> Option<Duration> {
    if is_possible() { Some(left.map_or(SLICE, |left| left.min(SLICE))) } else { left }
}

/// Forgets the hooks of this thread, which is a copy of another process's.
#[doc(hidden)]
pub fn forget_hooks() {
    DEFERRED.set(0);
    if NEXT.get() == 0 {
        // There were none, and a list that is never touched needs no destructor.
        return;
    }
    // What the hooks own is the other process's: no destructor runs.
    let _: Result<(), _> = HOOKS.try_with(|hooks| std::mem::forget(hooks.take()));
}

/// Asks nobody until it is dropped: for what has to be done to the end, and takes a moment.
#[doc(hidden)]
#[must_use]
pub fn defer() -> Deferred {
    DEFERRED.set(DEFERRED.get() + 1);
    Deferred { not_send: PhantomData }
}

/// The guard of [`defer`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Deferred {
    not_send: PhantomData<*const ()>,
}

impl Drop for Deferred {
    fn drop(&mut self) {
        DEFERRED.set(DEFERRED.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::{defer, is_possible, is_wanted, on_signal, slice};
    use crate::clock::Deadline;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn hooks_are_asked_from_the_last_to_the_first_while_their_guards_live() {
        assert!(!is_possible() && !is_wanted() && slice(Deadline::NEVER) == Deadline::NEVER);
        let (first, asked) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let (says, counted) = (Rc::clone(&first), Rc::clone(&asked));
        let outer = on_signal(move || {
            counted.set(counted.get() + 1);
            says.get()
        });
        let inner = on_signal(|| true);
        assert!(is_wanted() && asked.get() == 0 && slice(Deadline::NEVER) < Deadline::NEVER);
        drop(inner);
        assert!(!is_wanted() && asked.get() == 1);
        first.set(true);
        {
            let _deferred = defer();
            assert!(!is_wanted() && !is_possible());
        }
        assert!(is_wanted());
        let elsewhere = std::thread::spawn(is_possible).join().unwrap();
        assert!(!elsewhere);
        drop(outer);
        assert!(!is_possible() && Rc::strong_count(&first) == 1);
    }

    #[test]
    fn a_hook_that_panics_ends_the_wait_and_one_may_take_itself_away() {
        let own: Rc<Cell<Option<super::OnSignal>>> = Rc::default();
        let inner = Rc::clone(&own);
        own.set(Some(on_signal(move || {
            drop(inner.take());
            false
        })));
        assert!(!is_wanted() && !is_possible());
        let _hook = on_signal(|| panic!("no"));
        assert!(is_wanted());
    }
}
