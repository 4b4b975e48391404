//! Starting this very program again, and what the started copy needs before anything else.
//!
//! `posix_spawn` shares the address space with the child until `exec`, so starting a child costs a large
//! parent no more than a small one.
#![expect(unsafe_code, reason = "posix_spawn, atexit and the environment are C interfaces")]

use crate::memfd::is_sealed;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io::{Error, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

const PROGRAM: &CStr = c"/proc/self/exe";
const NULL_DEVICE: &CStr = c"/dev/null";

/// The start of a process: what it is given. Everything else of ours is close-on-exec.
#[derive(Debug)]
pub struct Start {
    /// The arguments, the program's name first.
    pub arguments: Vec<CString>,
    /// The whole environment, as `NAME=value`.
    pub environment: Vec<CString>,
    /// Descriptors that the child has open under the same numbers, all of them 3 or more.
    pub inherit: Vec<RawFd>,
    /// The child's standard input, output and error output.
    pub streams: [Stream; 3],
    /// The directory in which the child begins, if it is another than ours.
    pub directory: Option<CString>,
    /// The process group that the child joins; 0 makes one of its own, with its pid as the number.
    pub process_group: Option<u32>,
}

/// What a standard stream of a new process is.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// As in this process.
    Inherit,
    /// `/dev/null`.
    Null,
    /// This descriptor of ours, whose number is 3 or more.
    File(RawFd),
}

/// Executes `/proc/self/exe` in a new process and returns its pid. No signal is blocked in it, and signals
/// have their default actions, except that `SIGHUP`, `SIGINT` and `SIGQUIT` stay ignored if they are (so that
/// `nohup` reaches the children too).
///
/// # Errors
/// `EAGAIN` at the limit of processes, `ENOMEM`, whatever `chdir` and `setpgid` say, and whatever `execve`
/// says.
pub fn same_program(start: &Start) -> Result<u32> {
    let actions = start.file_actions()?;
    let attributes = Attributes::clean(start.process_group)?;
    let arguments = pointers(&start.arguments);
    let environment = pointers(&start.environment);
    let mut pid: libc::pid_t = 0;
    // SAFETY: both arrays end with null and point to strings that outlive the call; actions and attributes
    // are initialised; nothing is kept after the call.
    let code = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            PROGRAM.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    check(code)?;
    Ok(pid.unsigned_abs())
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([null_mut()]).collect()
}

fn check(code: libc::c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::from_raw_os_error(code)) }
}

impl Start {
    fn file_actions(&self) -> Result<FileActions> {
        let mut actions = FileActions::new()?;
        for (number, stream) in (libc::STDIN_FILENO..).zip(self.streams) {
            let flags = if number == libc::STDIN_FILENO { libc::O_RDONLY } else { libc::O_WRONLY };
            match stream {
                Stream::Inherit => {}
                Stream::Null => actions.open(number, flags)?,
                Stream::File(fd) => actions.duplicate(fd, number)?,
            }
        }
        for &fd in &self.inherit {
            // Onto itself: that clears close-on-exec, in the child only.
            actions.duplicate(fd, fd)?;
        }
        if let Some(directory) = &self.directory {
            actions.change_directory(directory)?;
        }
        Ok(actions)
    }
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the call initialises what the pointer leads to.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: it was initialised above.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn open(&mut self, fd: RawFd, flags: libc::c_int) -> Result<()> {
        // SAFETY: the actions are initialised, and the path is a constant that the call copies.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(&raw mut self.0, fd, NULL_DEVICE.as_ptr(), flags, 0)
        })
    }

    fn duplicate(&mut self, fd: RawFd, number: RawFd) -> Result<()> {
        // SAFETY: the actions are initialised.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, fd, number) })
    }

    fn change_directory(&mut self, directory: &CStr) -> Result<()> {
        // SAFETY: the actions are initialised, and the call copies the path.
        check(unsafe { libc::posix_spawn_file_actions_addchdir_np(&raw mut self.0, directory.as_ptr()) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: `new` initialised them, and this is the only place that destroys them.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn clean(process_group: Option<u32>) -> Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the call initialises what the pointer leads to.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: it was initialised above.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let mut defaults = SigSet::all();
        for kept in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            defaults.remove(kept);
        }
        let unblocked = SigSet::empty();
        // SAFETY: the attributes are initialised; the call copies the set.
        check(unsafe { libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, defaults.as_ref()) })?;
        // SAFETY: the attributes are initialised; the call copies the set.
        check(unsafe { libc::posix_spawnattr_setsigmask(&raw mut attributes.0, unblocked.as_ref()) })?;
        let mut flags = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        if let Some(group) = process_group {
            let group = libc::pid_t::try_from(group).map_err(|_| Error::from_raw_os_error(libc::EINVAL))?;
            // SAFETY: the attributes are initialised.
            check(unsafe { libc::posix_spawnattr_setpgroup(&raw mut attributes.0, group) })?;
            flags |= libc::POSIX_SPAWN_SETPGROUP;
        }
        let flags = libc::c_short::try_from(flags).unwrap_or(0);
        // SAFETY: the attributes are initialised.
        check(unsafe { libc::posix_spawnattr_setflags(&raw mut attributes.0, flags) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: `clean` initialised them, and this is the only place that destroys them.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

/// Takes over the descriptors whose numbers, separated by commas, are in the environment variable `variable`,
/// and removes the variable so that no grandchild sees it. `None` if the variable is not set, or was taken
/// before.
///
/// All of them become close-on-exec. The first must be a sealed memfd: a variable that somebody else set
/// leads nowhere.
///
/// # Errors
/// `EBADF` if the numbers are not open, distinct descriptors of 3 or more with a sealed memfd first.
pub fn take_inherited(variable: &OsStr) -> Option<Result<Vec<OwnedFd>>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let value = std::env::var_os(variable)?;
    // Relaxed: only the exchange itself matters.
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: reached once per process, on the way into a child, which is the first thing `main` does there
    // (a test harness only waits meanwhile); so no other thread reads the environment behind std's lock.
    unsafe { std::env::remove_var(variable) };
    Some(adopt(&value).ok_or_else(|| Error::from_raw_os_error(libc::EBADF)))
}

/// What a variable says that somebody has set for this process and not for those that it starts: it is removed. Once, and
/// in the first line of `main`.
#[must_use]
pub fn take_variable(variable: &OsStr) -> Option<OsString> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let value = std::env::var_os(variable)?;
    // Relaxed: only the exchange itself matters.
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: reached once per process, in the first thing that `main` does in a process that was started for this; so no
    // other thread reads the environment behind std's lock.
    unsafe { std::env::remove_var(variable) };
    Some(value)
}

fn adopt(value: &OsStr) -> Option<Vec<OwnedFd>> {
    let numbers: Vec<RawFd> =
        value.to_str()?.split(',').map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
    for (index, &number) in numbers.iter().enumerate() {
        if number <= libc::STDERR_FILENO || numbers.get(..index)?.contains(&number) {
            return None;
        }
        // SAFETY: the borrow ends with this line; a number that is not open makes fcntl fail with EBADF.
        fcntl(unsafe { BorrowedFd::borrow_raw(number) }, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    }
    // SAFETY: the descriptor is open, as was just seen; the borrow ends with this line.
    if !is_sealed(unsafe { BorrowedFd::borrow_raw(*numbers.first()?) }) {
        return None;
    }
    // SAFETY: the numbers are distinct and open, and the process that started this one opened them for it:
    // the sealed file in front shows that the variable is not a stranger's.
    Some(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}

/// Makes `fd` this process's standard output.
///
/// # Errors
/// `EBUSY`, `EMFILE`.
pub fn restore_stdout(fd: OwnedFd) -> Result<()> {
    nix::unistd::dup2_stdout(fd)?;
    Ok(())
}

/// Makes `stream` the standard stream of this number, 0 to 2, of this process; none closes it.
///
/// # Errors
/// `EBUSY`, `EMFILE`, what opening `/dev/null` says; `EINVAL` for what is no standard stream.
pub fn set_stream(number: RawFd, stream: Option<Stream>) -> Result<()> {
    if !(libc::STDIN_FILENO..=libc::STDERR_FILENO).contains(&number) {
        return Err(Error::from_raw_os_error(libc::EINVAL));
    }
    let from = match stream {
        Some(Stream::Inherit) => return Ok(()),
        Some(Stream::File(fd)) => fd,
        Some(Stream::Null) => {
            let input = number == libc::STDIN_FILENO;
            let null = std::fs::OpenOptions::new().read(input).write(!input).open("/dev/null")?;
            if null.as_raw_fd() == number {
                // That was free.
                fcntl(&null, FcntlArg::F_SETFD(FdFlag::empty()))?;
                let _: RawFd = null.into_raw_fd();
                return Ok(());
            }
            // It may have the number of another stream, if that is free.
            let null = crate::memfd::duplicate_above_stdio(&null)?;
            return duplicate_onto(null.as_raw_fd(), number);
        }
        None => {
            // SAFETY: a standard stream is nobody's own, and std's handles bear that it is closed.
            unsafe { libc::close(number) };
            return Ok(());
        }
    };
    duplicate_onto(from, number)
}

fn duplicate_onto(from: RawFd, number: RawFd) -> Result<()> {
    // SAFETY: the second is the number of a standard stream, which is meant to be replaced.
    if unsafe { libc::dup2(from, number) } < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Puts a child of this process, which was started a moment ago, into the process group of this number; 0 makes
/// a new one. Of one that has executed another program already, it was done before.
///
/// # Errors
/// `EPERM`; `EINVAL` for what is no number of a group.
pub fn set_process_group(child: u32, group: u32) -> Result<()> {
    let number = |id| libc::pid_t::try_from(id).map(nix::unistd::Pid::from_raw);
    let invalid = |_| Error::from_raw_os_error(libc::EINVAL);
    match nix::unistd::setpgid(number(child).map_err(invalid)?, number(group).map_err(invalid)?) {
        Err(nix::errno::Errno::EACCES | nix::errno::Errno::ESRCH) => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// The name of this process in `ps` and `top`, if it can be known.
#[must_use]
pub fn title() -> Option<String> {
    if crate::thread_id() == std::process::id() {
        // The first thread's name, which this is: without a look at /proc.
        return nix::sys::prctl::get_name().ok()?.into_string().ok();
    }
    let name = std::fs::read_to_string("/proc/self/comm").ok()?;
    Some(name.trim_end().to_owned())
}

/// Shows `name`, cut to 15 bytes, as this process's name in `ps` and `top`.
pub fn set_title(name: &str) {
    if crate::thread_id() == std::process::id()
        && let Ok(name) = CString::new(name)
    {
        // It names the first thread, which this is; the kernel cuts what is too long.
        let _ = nix::sys::prctl::set_name(&name);
        return;
    }
    // Unlike prctl, this names the process even when another thread than the first asks. Without /proc the
    // process keeps the name it has.
    drop(std::fs::write("/proc/self/comm", name));
}

/// Keeps every signal from being delivered to the calling thread.
pub fn block_signals() {
    // It fails for no valid set.
    let _ = SigSet::all().thread_block();
}

/// Has the kernel kill this process when the thread that started it ends. The wish holds also while this
/// process is stopped, and after it has executed another program, unless that one is set-user-id; it ends
/// when this process changes its user.
pub fn die_with_the_starter() {
    // It fails for no valid signal.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
}

/// Takes [`die_with_the_starter`] back.
pub fn outlive_the_starter() {
    let _ = nix::sys::prctl::set_pdeathsig(None);
}

/// Whether the process `pid` has the thread `tid`.
#[must_use]
pub fn has_thread(pid: u32, tid: u32) -> bool {
    let number = |id: u32| libc::pid_t::try_from(id).unwrap_or(-1);
    // SAFETY: the call takes integers only, and signal 0 reaches nobody.
    let asked = unsafe { libc::syscall(libc::SYS_tgkill, number(pid), number(tid), 0) };
    // Whom we may not signal is there.
    asked == 0 || Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Ends this process at once, as the kernel would.
pub fn kill_self() {
    // A process may always kill itself.
    let _ = nix::sys::signal::raise(Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    use super::{adopt, take_inherited};
    use std::ffi::OsStr;

    #[test]
    fn numbers_that_lead_nowhere_are_refused() {
        for value in ["", "x", "0", "-1", "1,2", "3,,4", "999999", "99999999999"] {
            assert!(adopt(OsStr::new(value)).is_none(), "{value}");
        }
        let ordinary = std::fs::File::open("/dev/null").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&ordinary).to_string();
        assert!(adopt(OsStr::new(&number)).is_none());
        assert!(ordinary.metadata().is_ok());
    }

    #[test]
    fn without_the_variable_there_is_nothing_to_take() {
        assert!(take_inherited(OsStr::new("PROCESSION_TEST_UNSET")).is_none());
    }
}
