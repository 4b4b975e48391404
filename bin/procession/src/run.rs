//! `procession run`: N processes of one command, which know their rank and end with this one.
//!
//! A worker is first this program again, as `__worker`: it asks the kernel to be killed when this process ends, looks
//! whether that has happened already, and then executes the command. So a SIGKILL here kills the workers too.

use crate::exit::{Failure, NOT_EXECUTABLE, NOT_FOUND, SIGNALED};
use crate::interrupt::is_ignored;
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getppid};
use procession::Namespace;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Run a command in N worker processes that know their rank and end with this one.
///
/// Each has RANK (0 to N-1), WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE in its environment, also with PROCESSION_ in
/// front, and shares stdin, stdout and stderr. SIGINT, SIGTERM and SIGHUP are passed on; the workers are killed when
/// this process is.
#[derive(Debug, clap::Args)]
#[command(after_help = RUN_HELP)]
pub(crate) struct RunArgs {
    /// How many workers.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    number: u32,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const RUN_HELP: &str = "\
Examples:
  procession run -n 4 -- sh -c 'echo I am $RANK of $WORLD_SIZE'
  procession -N training run -n 2 ./train

All workers are waited for. Exit code: 0 when every one ended with 0; otherwise
that of the worker that failed first, 128+n if signal n killed it; 126 or 127
when the command cannot be run or is not found.";

#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    parent: i32,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// # Errors
/// [`Failure::Command`] with the code of the worker that failed first, [`Failure::NotRunnable`], or the kernel's
/// reason why no worker could be started.
pub(crate) fn run(args: &RunArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    let program = args.command.first().ok_or_else(|| Failure::Usage("no command".to_owned()))?;
    check_runnable(program)?;
    let workers = Workers::default();
    workers.forward_signals()?;
    for rank in 0..args.number {
        if let Err(error) = workers.start(rank, args, namespace) {
            workers.signal(Signal::SIGKILL);
            let _: Result<_, Errno> = workers.wait();
            return Err(error.into());
        }
    }
    match workers.wait()? {
        None => Ok(()),
        Some(code) => Err(Failure::Command(code)),
    }
}

/// The workers that have not been waited for, so that their ids are theirs.
#[derive(Clone, Debug, Default)]
struct Workers(Arc<Mutex<BTreeSet<Pid>>>);

impl Workers {
    fn running(&self) -> MutexGuard<'_, BTreeSet<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, rank: u32, args: &RunArgs, namespace: Option<&Namespace>) -> io::Result<()> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("procession").arg("__worker").arg(std::process::id().to_string()).arg("--");
        command.args(&args.command);
        for (name, value) in [
            ("RANK", rank),
            ("LOCAL_RANK", rank),
            ("WORLD_SIZE", args.number),
            ("LOCAL_WORLD_SIZE", args.number),
        ] {
            command.env(name, value.to_string()).env(format!("PROCESSION_{name}"), value.to_string());
        }
        if let Some(namespace) = namespace {
            command.env("PROCESSION_NAMESPACE", namespace.name());
        }
        // Under the lock, so that no signal falls between the start and the entry in the table.
        let mut running = self.running();
        let child = command.spawn()?;
        running.insert(Pid::from_raw(child.id().cast_signed()));
        Ok(())
    }

    /// Waits for all of them; the code of the one that failed first.
    fn wait(&self) -> Result<Option<u8>, Errno> {
        let mut first_failure = None;
        loop {
            // Looks without taking, so that the id stays the worker's until it is out of the table.
            let ended = match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => return Ok(first_failure),
                other => other?,
            };
            let Some(pid) = ended.pid() else { continue };
            let mut running = self.running();
            let code = match waitpid(pid, None)? {
                WaitStatus::Exited(_, code) => u8::try_from(code).unwrap_or(u8::MAX),
                WaitStatus::Signaled(_, signal, _) => SIGNALED + signal as u8,
                _ => continue,
            };
            if running.remove(&pid) && code != 0 {
                first_failure.get_or_insert(code);
            }
        }
    }

    fn signal(&self, signal: Signal) {
        for &pid in self.running().iter() {
            // It may have ended meanwhile, which is what most signals want.
            let _: Result<(), Errno> = kill(pid, signal);
        }
    }

    /// Passes SIGINT, SIGTERM and SIGHUP on, unless they come from the terminal: then the workers have them already.
    fn forward_signals(&self) -> io::Result<()> {
        let mut awaited = vec![SIGINT, SIGTERM];
        if !is_ignored(SIGHUP) {
            awaited.push(SIGHUP);
        }
        let mut signals = SignalsInfo::<WithOrigin>::new(&awaited)?;
        let workers = self.clone();
        let body = move || {
            for origin in signals.forever() {
                let from_terminal = matches!(origin.cause, Cause::Kernel);
                if let Ok(signal) = Signal::try_from(origin.signal)
                    && !from_terminal
                {
                    workers.signal(signal);
                }
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(body)?;
        Ok(())
    }
}

/// Looks for the command as the workers will, so that a mistyped one is reported once.
fn check_runnable(program: &OsStr) -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates: Vec<PathBuf> = if program.as_encoded_bytes().contains(&b'/') {
        vec![program.into()]
    } else {
        std::env::split_paths(&path).map(|directory| directory.join(program)).collect()
    };
    let is_executable = |file: &Path| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if candidates.iter().any(|file| is_executable(file)) {
        return Ok(());
    }
    let (code, what) = if candidates.iter().any(|file| file.exists()) {
        (NOT_EXECUTABLE, "is not executable")
    } else {
        (NOT_FOUND, "is not found")
    };
    Err(Failure::NotRunnable { code, message: format!("the command {program:?} {what}") })
}

/// Becomes the command; returns only if that fails.
///
/// # Errors
/// [`Failure::NotRunnable`], or that the parent has ended.
pub(crate) fn become_worker(args: &WorkerArgs) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid().as_raw() != args.parent {
        // It ended before the line above, and nobody would tell.
        return Err(Failure::Command(SIGNALED + Signal::SIGKILL as u8));
    }
    let (program, arguments) =
        args.command.split_first().ok_or_else(|| Failure::Usage("no command".to_owned()))?;
    let error = Command::new(program).args(arguments).exec();
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
    Err(Failure::NotRunnable { code, message: format!("cannot run {program:?}: {error}") })
}
