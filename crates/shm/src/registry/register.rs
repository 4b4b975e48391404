//! The registrations of this process: how it comes to one for each namespace, and leaves all of them.

use super::Registration;
use crate::error::OpenError;
use crate::namespace::Namespace;
use procession_sys::fork::ForkLock;
use procession_sys::shm_file::{self, Place};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The registrations of this process, each leading to the next; only ever appended to, under the registration
/// lock. No lock of its own, because a forked child would inherit it held.
static FIRST: OnceLock<&'static Known> = OnceLock::new();

struct Known {
    registration: Registration,
    next: OnceLock<&'static Known>,
}

fn known() -> impl Iterator<Item = &'static Known> {
    std::iter::successors(FIRST.get().copied(), |known| known.next.get().copied())
}

/// Every registration of this process.
pub(crate) fn registrations() -> impl Iterator<Item = &'static Registration> {
    known().map(|known| &known.registration)
}

/// Whether this process is registered anywhere.
#[must_use]
pub fn is_registered() -> bool {
    registrations().any(|registration| registration.current_owner().is_some())
}

/// The latest registration of the namespace by whoever this process is now.
pub(super) fn find(namespace: &Namespace) -> Option<&'static Registration> {
    let (user, place) = (shm_file::effective_uid(), Place::current().ok());
    registrations().filter(|one| one.is_of(namespace, user, place)).last()
}

/// Appends one; called under the registration lock.
pub(super) fn append(registration: Registration) -> &'static Registration {
    let known: &'static Known = Box::leak(Box::new(Known { registration, next: OnceLock::new() }));
    let mut end = &FIRST;
    while let Some(next) = end.get() {
        end = &next.next;
    }
    // Nobody else appends now, so the end is empty.
    end.get_or_init(|| known);
    &known.registration
}

/// Registers this process in `namespace`, or finds that it is.
///
/// # Errors
/// [`OpenError::RegistryFull`], `LifelineUnsupported`, `NoSpace`, `RegistryChanged`, and what opening a
/// segment can meet; `Impossible` when `PROCESSION_SLOTS` is no number of processes.
pub fn register(namespace: &Namespace) -> Result<&'static Registration, OpenError> {
    register_as(namespace, None)
}

/// Registers as [`register`] does; the first process of the namespace chooses how many processes it holds.
///
/// # Errors
/// As [`register`].
pub fn register_with_slots(namespace: &Namespace, slots: u32) -> Result<&'static Registration, OpenError> {
    register_as(namespace, Some(slots))
}

fn register_as(namespace: &Namespace, slots: Option<u32>) -> Result<&'static Registration, OpenError> {
    let open_if = |is_stale: fn(&Registration) -> bool| {
        ForkLock::registration().hold(|| match find(namespace).filter(|one| !is_stale(one)) {
            Some(registration) => Ok(registration),
            None => Registration::open(namespace, slots).map(append),
        })
    };
    let registration = match find(namespace) {
        Some(registration) => registration,
        None => open_if(|_| false)?,
    };
    leave_at_exit();
    match registration.owner() {
        Ok(_) => Ok(registration),
        // A forked child whose parent left as the last one: nothing here is in use, so it begins anew.
        Err(OpenError::RegistryChanged { .. }) if registration.is_left() => {
            let fresh = open_if(Registration::is_left)?;
            fresh.owner().map(|_| fresh)
        }
        Err(error) => Err(error),
    }
}

/// Arranges for [`leave`] when `main` returns or `exit` is called: after all handlers that are registered later. The
/// first call counts, and registering does it, too.
pub fn leave_at_exit() {
    static IS_ARRANGED: AtomicBool = AtomicBool::new(false);
    // Relaxed: the lock orders those who find that it is not.
    if !IS_ARRANGED.load(Ordering::Relaxed) {
        ForkLock::registration().hold(|| {
            if !IS_ARRANGED.swap(true, Ordering::Relaxed) {
                procession_sys::at_exit(leave_all);
            }
        });
    }
}

extern "C" fn leave_all() {
    leave();
}

/// Does what this process does when it ends: if it is the last one in a namespace, it removes what nobody
/// will use again. Runs [by itself](leave_at_exit) at normal exit.
pub fn leave() {
    registrations().for_each(Registration::leave);
}
