//! The kernel and the C library: a process that is copied, and one that executes `/bin/true`.
#![expect(unsafe_code, reason = "fork and posix_spawn are C functions")]

use crate::error::{BenchError, Result};
use crate::start::timed;
use std::ptr::{null, null_mut};
use std::time::Duration;

/// `fork`, `_exit`, `waitpid`.
pub(crate) fn fork() -> Result<Duration> {
    timed(|| {
        #[expect(clippy::disallowed_methods, reason = "this is the rival")]
        // SAFETY: the child makes one system call.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: it ends this process and touches nothing.
            unsafe { libc::_exit(0) };
        }
        wait(pid)
    })
}

/// `posix_spawn` of `/bin/true`, `waitpid`.
pub(crate) fn spawn_true() -> Result<Duration> {
    let program = c"/bin/true".as_ptr();
    let (arguments, environment) = ([program.cast_mut(), null_mut()], [null_mut()]);
    timed(|| {
        let mut pid = 0;
        // SAFETY: both arrays end with null, and everything outlives the call.
        let code = unsafe {
            libc::posix_spawn(&raw mut pid, program, null(), null(), arguments.as_ptr(), environment.as_ptr())
        };
        if code == 0 { wait(pid) } else { Err(BenchError::Failed(format!("posix_spawn: errno {code}"))) }
    })
}

fn wait(pid: libc::pid_t) -> Result<()> {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    let found = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if pid > 0 && found == pid && status == 0 {
        Ok(())
    } else {
        Err(BenchError::Failed(format!("process {pid} ended with {status}")))
    }
}
