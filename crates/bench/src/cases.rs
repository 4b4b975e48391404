//! Every case, with the target that it has to meet.

use crate::case::Unit::{MessagesPerSecond, Micros, Millis, Nanos, NanosEach};
use crate::case::{Case, constant};
use crate::lock::{ProcessLock, contended, uncontended};
use crate::recovery::recovery;
use crate::rival::pthread::RobustMutex;
use crate::rival::std_mutex::StdMutex;
use crate::rival::{ipc_channel, python::Python};
use crate::sample::Summary::{Median, P99};
use crate::{ours, pool, queue};

const ROBUST: &str = "pthread robust mutex";
/// A waiter that sleeps at most 100 ms at a time, and a machine that is not idle.
const RECOVERY_BOUND_MS: f64 = 120.0;

pub(crate) static ALL: &[Case] = &[
    Case {
        name: "lock/uncontended",
        unit: NanosEach,
        summary: Median,
        ours: |plan| uncontended(plan, ours::lock::Lock::create(plan.session, "uncontended")?),
        rival_name: "std::sync::Mutex",
        rival: |plan| uncontended(plan, StdMutex::default()),
        at_least: 1.1,
    },
    Case {
        name: "lock/uncontended-robust",
        unit: NanosEach,
        summary: Median,
        ours: |plan| uncontended(plan, ours::lock::Lock::create(plan.session, "uncontended-robust")?),
        rival_name: ROBUST,
        rival: |plan| uncontended(plan, RobustMutex::create(plan.session, "uncontended-robust")?),
        at_least: 1.4,
    },
    Case {
        name: "lock/contended-2",
        unit: NanosEach,
        summary: Median,
        ours: |plan| contended::<ours::lock::Lock>(plan, 2),
        rival_name: ROBUST,
        rival: |plan| contended::<RobustMutex>(plan, 2),
        at_least: 1.5,
    },
    Case {
        name: "lock/contended-4",
        unit: NanosEach,
        summary: Median,
        ours: |plan| contended::<ours::lock::Lock>(plan, 4),
        rival_name: ROBUST,
        rival: |plan| contended::<RobustMutex>(plan, 4),
        at_least: 1.2,
    },
    Case {
        name: "lock/contended-8",
        unit: NanosEach,
        summary: Median,
        ours: |plan| contended::<ours::lock::Lock>(plan, 8),
        rival_name: ROBUST,
        rival: |plan| contended::<RobustMutex>(plan, 8),
        at_least: 1.0,
    },
    Case {
        name: "lock/recovery-p99-ms",
        unit: Millis,
        summary: P99,
        ours: |plan| recovery::<ours::lock::Lock>(plan),
        rival_name: "bound of 120 ms",
        rival: |_| Ok(constant(RECOVERY_BOUND_MS)),
        at_least: 1.0,
    },
    Case {
        name: "queue/u64-1-1",
        unit: MessagesPerSecond,
        summary: Median,
        ours: |plan| queue::throughput(plan, &ours::queue::OURS, 1, 1),
        rival_name: "ipc-channel",
        rival: |plan| queue::throughput(plan, &ipc_channel::IPC_CHANNEL, 1, 1),
        at_least: 8.0,
    },
    Case {
        name: "queue/u64-4-4",
        unit: MessagesPerSecond,
        summary: Median,
        ours: |plan| queue::throughput(plan, &ours::queue::OURS, 4, 4),
        rival_name: "ours, 1 to 1",
        rival: |plan| queue::throughput(plan, &ours::queue::OURS, 1, 1),
        at_least: 0.5,
    },
    Case {
        name: "queue/round-trip",
        unit: Nanos,
        summary: Median,
        ours: |plan| queue::round_trip(plan, &ours::queue::OURS),
        rival_name: "ipc-channel",
        rival: |plan| queue::round_trip(plan, &ipc_channel::IPC_CHANNEL),
        at_least: 3.0,
    },
    Case {
        name: "pool/map-1e6-trivial",
        unit: Millis,
        summary: Median,
        ours: |plan| pool::map(ours::pool::start(plan.session)?),
        rival_name: "Python Pool.map",
        rival: |_| pool::map(Python::start()?),
        at_least: 2.0,
    },
    Case {
        name: "pool/apply",
        unit: Micros,
        summary: Median,
        ours: |plan| pool::apply(plan, ours::pool::start(plan.session)?),
        rival_name: "Python Pool.apply",
        rival: |plan| pool::apply(plan, Python::start()?),
        at_least: 10.0,
    },
];
