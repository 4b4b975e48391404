//! What an interrupted demo becomes: a program that removes the demo's namespace and exits with the code it
//! is told.

use procession::Namespace;
use procession::shm::gc;
use procession_terminal::exit::Failure;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// How often the broom looks.
const LOOKS: u32 = 100;
/// How long it waits in between: whoever looked at the demo's processes when they ended, through `/proc` or
/// at their files, holds what was theirs for a moment longer.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// The name of the hidden subcommand that [`Broom`] is the arguments of.
pub const BROOM: &str = "__broom";

/// What a program that shows demos becomes when SIGINT, SIGTERM or SIGHUP interrupts one.
///
/// The program executes itself, so that nothing of it is in the middle of anything any more, and nobody uses
/// the demo's objects: they can be removed.
#[derive(Debug, clap::Args)]
pub struct Broom {
    removed: String,
    code: u8,
}

/// Executes this program as a broom; returns only if that fails.
pub(crate) fn replace_this_program(namespace: &Namespace, code: u8) -> io::Error {
    let code = code.to_string();
    let arguments = [OsStr::new(BROOM), OsStr::new(namespace.name()), OsStr::new(&code)];
    Command::new("/proc/self/exe").arg0("procession").args(arguments).exec()
}

impl Broom {
    /// Removes the namespace.
    ///
    /// # Errors
    /// Always: [`Failure::Command`] with the code to exit with, which names the signal; or why `/dev/shm`
    /// could not be read.
    pub fn sweep(&self) -> Result<(), Failure> {
        let namespace = Namespace::new(&self.removed)?;
        for _ in 0..LOOKS {
            gc::collect(Some(&namespace), gc::Options::default())?;
            if namespace.list()?.is_empty() {
                break;
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        Err(Failure::Command(self.code))
    }
}
