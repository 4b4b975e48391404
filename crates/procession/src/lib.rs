//! Processes coordinate through shared memory and survive kill -9.

pub use procession_process::{
    ActiveChild, CurrentProcess, ExitStatus, JoinTimeoutError, KernelError, ParentProcess, Process,
    ProcessBuilder, ProcessError, SpawnError, active_children, current_process, init, parent_process,
    take_inherited, test_support,
};
