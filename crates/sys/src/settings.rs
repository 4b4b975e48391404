//! What a process changes of itself before it does its work: limits, CPUs, priority, user.
#![expect(unsafe_code, reason = "the priority is set by a C function")]

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource;
use nix::unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid};
use std::io::{Error, Result};

/// Something of which a process may use only so much. The words in brackets are the shell's: `ulimit -n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// The process's address space, in bytes (`-v`).
    AddressSpace,
    /// A core file, in bytes (`-c`).
    CoreFile,
    /// Processor time, in seconds (`-t`).
    CpuTime,
    /// The data segment and private memory, in bytes (`-d`).
    Data,
    /// A file that the process writes, in bytes (`-f`).
    FileSize,
    /// Memory that stays in RAM, in bytes (`-l`).
    LockedMemory,
    /// Open files: one more than the largest number of a descriptor (`-n`).
    OpenFiles,
    /// Processes and threads of the process's user (`-u`).
    Processes,
    /// The main thread's stack, in bytes (`-s`).
    Stack,
}

impl Resource {
    /// Every resource, by its number in a message.
    pub const ALL: [Self; 9] = [
        Self::AddressSpace,
        Self::CoreFile,
        Self::CpuTime,
        Self::Data,
        Self::FileSize,
        Self::LockedMemory,
        Self::OpenFiles,
        Self::Processes,
        Self::Stack,
    ];

    fn raw(self) -> resource::Resource {
        match self {
            Self::AddressSpace => resource::Resource::RLIMIT_AS,
            Self::CoreFile => resource::Resource::RLIMIT_CORE,
            Self::CpuTime => resource::Resource::RLIMIT_CPU,
            Self::Data => resource::Resource::RLIMIT_DATA,
            Self::FileSize => resource::Resource::RLIMIT_FSIZE,
            Self::LockedMemory => resource::Resource::RLIMIT_MEMLOCK,
            Self::OpenFiles => resource::Resource::RLIMIT_NOFILE,
            Self::Processes => resource::Resource::RLIMIT_NPROC,
            Self::Stack => resource::Resource::RLIMIT_STACK,
        }
    }
}

/// Lets this process use at most `soft` of the resource; it may itself raise that up to `hard`. `u64::MAX` is
/// no limit.
///
/// # Errors
/// `EINVAL` where `soft` is more than `hard`; `EPERM` where `hard` is more than it was, and this process has
/// not the right (`CAP_SYS_RESOURCE`).
pub fn limit(resource: Resource, soft: u64, hard: u64) -> Result<()> {
    Ok(resource::setrlimit(resource.raw(), soft, hard)?)
}

/// How much of the resource this process may use, and up to what it may raise that.
///
/// # Errors
/// None that is known.
pub fn limits_of(resource: Resource) -> Result<(u64, u64)> {
    Ok(resource::getrlimit(resource.raw())?)
}

/// Lets the threads of this process, and those that they start, run on these CPUs only, which are numbered
/// from 0.
///
/// # Errors
/// `EINVAL` where none of them exists, or a number is beyond 1,023.
pub fn run_on(cpus: &[usize]) -> Result<()> {
    let set = set_of(cpus)?;
    for_each_thread(|thread| Ok(sched_setaffinity(Pid::from_raw(thread), &set)?))
}

/// Lets this thread, and what it starts from now on, run on these CPUs only.
///
/// # Errors
/// As [`run_on`].
pub fn bind_thread(cpus: &[usize]) -> Result<()> {
    Ok(sched_setaffinity(THIS_THREAD, &set_of(cpus)?)?)
}

/// The CPUs that this thread may run on.
///
/// # Errors
/// `EINVAL` on a machine with more CPUs than 1,024.
pub fn cpus_of_thread() -> Result<Vec<usize>> {
    let set = sched_getaffinity(THIS_THREAD)?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect())
}

const THIS_THREAD: Pid = Pid::from_raw(0);

fn set_of(cpus: &[usize]) -> Result<CpuSet> {
    let mut set = CpuSet::new();
    cpus.iter().try_for_each(|&cpu| set.set(cpu))?;
    Ok(set)
}

/// Gives the threads of this process, and those that they start, the niceness `nice`: from -20, first in line,
/// to 19, last.
///
/// # Errors
/// `EACCES` or `EPERM` where that is less than it was, and this process has not the right (`CAP_SYS_NICE`).
pub fn set_niceness(nice: i32) -> Result<()> {
    for_each_thread(|thread| {
        // SAFETY: the call takes integers only.
        let changed = unsafe { libc::setpriority(libc::PRIO_PROCESS, thread.unsigned_abs(), nice) };
        if changed == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    })
}

/// To Linux, CPUs and priority are a thread's. A program may have threads before its `main` is reached.
fn for_each_thread(change: impl Fn(libc::pid_t) -> Result<()>) -> Result<()> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return change(0) };
    let numbers = threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for thread in numbers {
        match change(thread) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            changed => changed?,
        }
    }
    Ok(())
}

/// Makes this process one of another group and user, for good. Whose user is changed is in no other group
/// than its own: those of the former user are not the new one's.
///
/// # Errors
/// `EPERM` where this process is no root (`CAP_SETGID`, `CAP_SETUID`); `EINVAL` for the number by which the kernel would
/// change nothing.
pub fn become_user(user: Option<u32>, group: Option<u32>) -> Result<()> {
    if [user, group].contains(&Some(u32::MAX)) {
        return Err(Errno::EINVAL.into());
    }
    if user.is_some() {
        match setgroups(&[]) {
            // Who may not change its groups may still become the user that it is.
            Err(nix::Error::EPERM) if user == Some(Uid::effective().as_raw()) => {}
            changed => changed?,
        }
    }
    if let Some(group) = group.map(Gid::from_raw) {
        setresgid(group, group, group)?;
    }
    if let Some(user) = user.map(Uid::from_raw) {
        setresuid(user, user, user)?;
    }
    Ok(())
}
