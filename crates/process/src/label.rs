//! Labels of processes: the name, pid and function by which people know one.

use std::fmt;
use std::sync::Arc;

/// A process as people know it, in errors and elsewhere: its name, its pid, and the function that it runs, as
/// in `process "greeter" (pid 4711, app::greet)`. It is cheap to clone.
///
/// ```
/// use procession::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let child = Process::spawn(|()| (), ())?;
///     let label = child.label();
///     assert_eq!((label.name(), label.pid()), (child.name(), child.pid()));
///     child.join()?;
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProcessLabel {
    process: Arc<Named>,
    function: &'static str,
}

/// Behind a pointer, so that the errors which have a label are short.
#[derive(PartialEq, Eq, Hash)]
struct Named {
    name: Box<str>,
    pid: u32,
}

impl ProcessLabel {
    pub(crate) fn new(name: &str, pid: u32, function: &'static str) -> Self {
        Self { process: Arc::new(Named { name: name.into(), pid }), function }
    }

    /// The label of a process that runs a program, for [`Supervised`](crate::Supervised) workers of one's own.
    #[must_use]
    pub fn of_program(name: &str, pid: u32) -> Self {
        Self::new(name, pid, "")
    }

    /// The label of a worker, while it ran `function` for a pool.
    pub(crate) fn running(&self, function: &'static str) -> Self {
        Self { function, ..self.clone() }
    }

    /// Whether both are of one process, whatever it ran.
    pub(crate) fn is_of_same_process(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.process, &other.process)
    }

    /// The process's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.process.name
    }

    /// The process's id. Once it has ended, another process may get the same number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// The path of the function that it runs; `path::{{closure}}` for a closure in the function `path`, and nothing for
    /// a program.
    #[must_use]
    pub fn function(&self) -> &'static str {
        self.function
    }
}

impl fmt::Display for ProcessLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.function.is_empty() {
            return write!(f, "{} (pid {})", self.name(), self.pid());
        }
        write!(f, "process {:?} (pid {}, {})", self.name(), self.pid(), self.function)
    }
}

impl fmt::Debug for ProcessLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
