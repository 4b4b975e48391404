//! Crash points: places where a test lets the process die, or stop, exactly there.
//!
//! Every protocol calls [`crash_point`] after each store, CAS and system call that others can see. In an
//! ordinary build the call is nothing. With `--cfg procession_chaos` a process can be armed, by
//! `arm` or by the environment (`PROCESSION_CRASH=label#nth:kill`), to SIGKILL or SIGSTOP itself at the
//! n-th time it passes a label.

/// Dies or stops here when armed for `label`; compiled out unless `cfg(procession_chaos)`.
#[inline(always)]
pub fn crash_point(label: &'static str) {
    #[cfg(procession_chaos)]
    armed::pass(label);
    #[cfg(not(procession_chaos))]
    let _: &'static str = label;
}

/// Whether sleeps are never cut into slices: so that tests see what ends them besides. Always `false` unless
/// `cfg(procession_chaos)`, and `PROCESSION_NO_SLICES` is set.
#[inline(always)]
#[must_use]
pub fn has_no_slices() -> bool {
    #[cfg(procession_chaos)]
    let has_none = armed::has_no_slices();
    #[cfg(not(procession_chaos))]
    let has_none = false;
    has_none
}

#[cfg(procession_chaos)]
pub use armed::{Action, arm, arm_beside, arm_next};

#[cfg(procession_chaos)]
mod armed {
    #![expect(unsafe_code, reason = "raising a signal")]

    use std::collections::VecDeque;
    use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

    /// The action of an armed process at its label.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Action {
        /// SIGKILL: nothing after this instruction runs.
        Kill,
        /// SIGSTOP: a test looks at the world, then kills or continues.
        Stop,
    }

    #[derive(Debug)]
    struct Plan {
        label: String,
        left: u32,
        action: Action,
    }

    /// What is to happen, one after the other in each line.
    static PLANS: Mutex<Vec<VecDeque<Plan>>> = Mutex::new(Vec::new());
    static FROM_ENVIRONMENT: Once = Once::new();

    pub(super) fn has_no_slices() -> bool {
        static NONE: OnceLock<bool> = OnceLock::new();
        *NONE.get_or_init(|| std::env::var_os("PROCESSION_NO_SLICES").is_some())
    }

    fn plans() -> MutexGuard<'static, Vec<VecDeque<Plan>>> {
        PLANS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Arms this process: at the `nth` (from 1) passing of `label` from now on, `action`, and nothing else.
    pub fn arm(label: &str, nth: u32, action: Action) {
        FROM_ENVIRONMENT.call_once(|| {});
        plans().clear();
        arm_beside(label, nth, action);
    }

    /// Arms this process for that besides, and so its copies: the copy may be the one that passes the label.
    pub fn arm_beside(label: &str, nth: u32, action: Action) {
        plans().push(VecDeque::from([plan(label, nth, action)]));
    }

    /// Arms this process for what is to happen after that: at the `nth` passing of `label` after the place
    /// where it stops.
    pub fn arm_next(label: &str, nth: u32, action: Action) {
        if let Some(line) = plans().last_mut() {
            line.push_back(plan(label, nth, action));
        }
    }

    fn plan(label: &str, nth: u32, action: Action) -> Plan {
        Plan { label: label.to_owned(), left: nth.max(1), action }
    }

    pub(super) fn pass(label: &'static str) {
        FROM_ENVIRONMENT.call_once(|| {
            if let Some(plan) = std::env::var("PROCESSION_CRASH").ok().as_deref().and_then(parse) {
                plans().push(VecDeque::from([plan]));
            }
        });
        let mut plans = plans();
        let is_next = |line: &&mut VecDeque<Plan>| line.front().is_some_and(|plan| plan.label == label);
        let Some(line) = plans.iter_mut().find(is_next) else { return };
        let Some(armed) = line.front_mut() else { return };
        armed.left -= 1;
        if armed.left == 0 {
            let signal = match armed.action {
                Action::Kill => libc::SIGKILL,
                Action::Stop => libc::SIGSTOP,
            };
            line.pop_front();
            drop(plans);
            // To this thread: one for the process may stop another thread first, while this one goes on.
            // SAFETY: sends a signal to this thread; no memory is involved.
            unsafe { libc::raise(signal) };
            if signal == libc::SIGKILL {
                loop {
                    std::hint::spin_loop();
                }
            }
        }
    }

    fn parse(text: &str) -> Option<Plan> {
        let (place, action) = match text.rsplit_once(':') {
            Some((place, "stop")) => (place, Action::Stop),
            Some((place, "kill")) => (place, Action::Kill),
            _ => (text, Action::Kill),
        };
        let (label, nth) = place.split_once('#').unwrap_or((place, "1"));
        Some(plan(label, nth.parse().ok()?, action))
    }
}
