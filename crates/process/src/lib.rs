//! Functions run in other processes: Process and Pool.
//!
//! [`Process::spawn`] runs a function in a new process of the same program and hands back what it returned.
//! The program calls [`init`] in the first line of `main`; a test file has [`test_support!`] instead.

mod active_children;
mod child;
mod children;
mod context;
mod crossing;
mod current;
#[doc(hidden)]
pub mod elsewhere;
mod entry;
mod error;
mod exit;
mod forked;
mod forkserver;
mod function;
mod init;
mod label;
mod launch;
mod method;
mod options;
mod own_threads;
mod pacing;
mod panic;
mod panicked;
mod phase;
mod pool;
mod process;
mod remote;
mod report;
mod requests;
mod server;
mod servers;
mod settings;
mod spare;
mod starter;
mod status;
mod stdio;
mod supervisor;
mod surroundings;
mod task;
#[cfg(feature = "async")]
mod tasks;
mod team;
mod test_support;
mod trace;

pub use active_children::{ActiveChild, active_children};
pub use child::take_inherited;
pub use context::Context;
pub use crossing::Crossing;
pub use current::{CurrentProcess, ParentProcess, current_process, parent_process};
pub use error::{KernelError, ProcessError, SpawnError, WaitError};
pub use exit::{end_children, leave};
pub use function::Function;
pub use init::init;
pub use label::ProcessLabel;
pub use method::{StartMethod, set_start_method, start_method};
pub use options::ProcessOptions;
pub use pool::{
    AsyncResult, Calls, Executor, Imap, ImapUnordered, Initialized, Pool, PoolError, PoolOptions, Progress,
    TaskError, TaskItem, futures,
};
pub use process::{JoinTimeoutError, Process};
pub use procession_sys::settings::Resource;
pub use remote::{Failure, RemoteError};
pub use status::ExitStatus;
pub use stdio::Stdio;
pub use supervisor::{
    Attempt, Restart, RestartScope, Supervised, Supervisor, SupervisorError, SupervisorEvent,
    SupervisorHandle,
};
#[cfg(feature = "async")]
pub use tasks::Joining;
pub use team::{Team, TeamError};
#[cfg(feature = "tracing")]
pub use trace::{LogError, log_to_stderr};

/// The functions to which [`test_support!`] expands; nothing for people.
#[doc(hidden)]
pub mod __private {
    pub use crate::init::{run_test_helper, set_test_helper};
}
