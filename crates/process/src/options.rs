//! How a process is to be started.

use crate::child;
use crate::children::{self, Child, Plan};
use crate::crossing::Crossing;
use crate::current::myself;
use crate::entry::{EntryRef, must_carry_nothing};
use crate::error::{KernelError, SpawnError};
use crate::init::{VARIABLE, permission, test_helper};
use crate::process::Process;
use crate::report::{Report, too_long};
use crate::starter::starter;
use crate::task::{self, TaskEntry, TaskHeader};
use procession_channel::codec;
use procession_shm::{Carried, Namespace, StartingProcess, carrying_to_child};
use procession_sys::image::Image;
use procession_sys::memfd::duplicate_above_stdio;
use procession_sys::start::Start;
use std::any::type_name;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Options for a new process; made by [`Process::options`].
///
/// ```
/// use procession::{Process, current_process};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let child = Process::options()
///         .name("greeter")
///         .env("GREETING", "hello")
///         .spawn(|()| (current_process().name().to_owned(), std::env::var("GREETING").ok()), ())?;
///     assert_eq!(child.join()?, ("greeter".to_owned(), Some("hello".to_owned())));
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "options start nothing until `spawn`"]
pub struct ProcessOptions {
    name: Option<String>,
    daemon: Option<bool>,
    detached: bool,
    environment: Vec<(OsString, OsString)>,
    inherit: Vec<Arc<OwnedFd>>,
}

impl ProcessOptions {
    /// The process's name, also shown (cut to 15 bytes) by `ps` and `top`. The default is `Process-1`,
    /// `Process-2` and so on, in a child `Process-1:1`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the process is terminated, instead of waited for, when this one exits normally. The default is
    /// what this process itself is.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// Lets the process live on when this one ends, in whatever way. Without it, a child never outlives its
    /// parent: it is killed when its parent was killed, or has executed another program, also if it is
    /// stopped, or executes another program itself. The kernel forgets that of a child that changes its user,
    /// or executes a set-user-id program: the former still notices the end of its parent by itself, unless it
    /// is stopped; the latter does not.
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Sets an environment variable in the process, beside all that this process has.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Gives the process a descriptor of its own for what `fd` is open on; it finds it by
    /// [`take_inherited`](crate::take_inherited), the first such call under the number 0. Everything else of
    /// ours is closed in it.
    ///
    /// ```
    /// use procession::{Process, take_inherited};
    /// use std::fs::File;
    /// use std::io::{Read, Write, pipe};
    /// use std::sync::Arc;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let (mut reader, writer) = pipe()?;
    ///     let child = Process::options().inherit(Arc::new(writer.into())).spawn(
    ///         |()| {
    ///             let mut writer = take_inherited(0).map(File::from).expect("the parent passed it");
    ///             writer.write_all(b"hello").expect("the parent reads");
    ///         },
    ///         (),
    ///     )?;
    ///     let mut said = String::new();
    ///     reader.read_to_string(&mut said)?;
    ///     assert_eq!(said, "hello");
    ///     child.join()?;
    ///     Ok(())
    /// }
    /// ```
    pub fn inherit(mut self, fd: Arc<OwnedFd>) -> Self {
        self.inherit.push(fd);
        self
    }

    /// Starts the process: it calls `f` with `arguments`, encoded here and decoded there.
    ///
    /// `f` is a function or a closure that captures nothing. The call returns once the process exists; it
    /// does not wait for it to come up.
    ///
    /// # Errors
    /// See [`SpawnError`]; most of all [`SpawnError::NotInitialised`].
    pub fn spawn<F, A, R>(self, f: F, arguments: A) -> Result<Process<R>, SpawnError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing,
        R: Crossing,
    {
        const { must_carry_nothing::<F>() };
        // `f` has no bytes: its type says everything about it.
        let _ = f;
        permission()?;
        let function: TaskEntry = child::entry::<F, A, R>;
        let entry = EntryRef::new::<F, A, R>(function)?;
        let mut bytes = Vec::new();
        let (encoded, carried, places) = carrying_to_child(|| codec::encode(&arguments, &mut bytes));
        let function = type_name::<F>();
        encoded.map_err(|source| SpawnError::Encode { function, source })?;
        self.start((function, entry), &bytes, carried, places).map(Process::new)
    }

    fn start(
        self,
        (function, entry): (&'static str, EntryRef<TaskEntry>),
        arguments: &[u8],
        carried: Carried,
        places: Vec<StartingProcess>,
    ) -> Result<Arc<Child>, SpawnError> {
        // Whoever starts children forever must not collect zombies forever.
        drop(children::running());
        let starting = children::starting()?;
        let lineage = children::next_lineage();
        let name = self.name.clone().unwrap_or_else(|| default_name(&lineage));
        let daemon = self.daemon.unwrap_or(myself().daemon);
        let kernel = |operation| {
            let name = name.clone();
            move |error| KernelError::before_start(operation, &name, error)
        };
        let stdout = stdout_to_restore();
        let starter = starter().map_err(kernel("pidfd_open"))?;
        let header = TaskHeader {
            image: Image::current().identity().map_err(kernel("stat /proc/self/exe"))?,
            entry,
            name: name.clone(),
            lineage,
            daemon,
            detached: self.detached,
            restore_stdout: stdout.is_some(),
            parent_pid: std::process::id(),
            parent_name: myself().name.clone(),
            starter: starter.thread_id(),
            parent_fd: starter.end.is_some(),
            namespace: self.namespace_of_child(),
            places: places.iter().map(StartingProcess::describe).collect(),
        };
        let mut bytes = Vec::new();
        codec::encode(&header, &mut bytes).map_err(|source| SpawnError::Encode { function, source })?;
        let task = task::write(&bytes, arguments).map_err(|error| {
            let too_long =
                too_long(arguments.len(), &error).map(|reason| SpawnError::TooLong { function, reason });
            too_long.unwrap_or_else(|| kernel("writing the task to a memfd")(error).into())
        })?;
        let report = Report::create().map_err(kernel("memfd_create"))?;
        let file = report.file().map_err(kernel("memfd_create"))?;
        let inherit: Vec<BorrowedFd<'_>> = [task.as_fd(), file.as_fd()]
            .into_iter()
            .chain(starter.end.as_ref().map(AsFd::as_fd))
            .chain(stdout.as_ref().map(AsFd::as_fd))
            .chain(places.iter().map(AsFd::as_fd))
            .chain(self.inherit.iter().map(|fd| fd.as_fd()))
            .collect();
        let inherit: Vec<RawFd> = inherit.iter().map(AsRawFd::as_raw_fd).collect();
        let start = Start {
            arguments: arguments_of_child()?,
            environment: self.environment_of_child(&inherit)?,
            inherit,
            mute_stdout: stdout.is_some(),
        };
        let pid = starter.start(start).map_err(kernel("posix_spawn"))?;
        // From here on the child alone holds its places in the registries.
        places.into_iter().for_each(|place| place.started(pid));
        let plan = Plan { name: name.clone(), function, daemon, detached: self.detached, report, carried };
        let adopted = children::adopt(Child::new(pid, plan)?);
        drop(starting);
        adopted
    }

    /// Ours, unless the options' environment names another one.
    fn namespace_of_child(&self) -> Option<String> {
        let own = self.environment.iter().any(|(name, _)| name == "PROCESSION_NAMESPACE");
        let ours = if own { None } else { Namespace::current().ok() };
        ours.map(|namespace| namespace.name().to_owned())
    }

    fn environment_of_child(&self, inherit: &[RawFd]) -> Result<Vec<CString>, SpawnError> {
        let replaced = |name: &OsStr| name == VARIABLE || self.environment.iter().any(|(own, _)| own == name);
        let ours = std::env::vars_os().filter(|(name, _)| !replaced(name));
        let numbers: Vec<String> = inherit.iter().map(RawFd::to_string).collect();
        let task = (VARIABLE.into(), numbers.join(",").into());
        // Of two settings for one name, the later counts.
        let own = self.environment.iter().enumerate().filter(|(index, (name, _))| {
            !self.environment.iter().skip(index + 1).any(|(later, _)| later == name)
        });
        ours.chain(own.map(|(_, own)| own.clone())).chain([task]).map(assignment).collect()
    }
}

impl Process<()> {
    /// Options for a new process: name, daemon, detached, environment.
    pub fn options() -> ProcessOptions {
        ProcessOptions::default()
    }
}

impl<R> Process<R> {
    /// Starts a process that calls `f` with `arguments`. Several arguments are one tuple.
    ///
    /// An argument that one process alone can have, a [`Member`](procession_sync::Member) of a barrier, is
    /// the child's before the child exists: whenever it dies, the others are told.
    ///
    /// ```
    /// use procession::Process;
    /// use procession::{Barrier, Member};
    ///
    /// fn work(mut place: Member) -> bool {
    ///     place.wait().is_ok()
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let barrier = Barrier::new(2)?;
    ///     let child = Process::spawn(work, barrier.join()?)?;
    ///     // If the child is killed before it comes, this says so.
    ///     barrier.wait()?;
    ///     assert!(child.join()?);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// See [`SpawnError`]; most of all [`SpawnError::NotInitialised`].
    pub fn spawn<F, A>(f: F, arguments: A) -> Result<Self, SpawnError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Crossing,
        R: Crossing,
    {
        Process::options().spawn(f, arguments)
    }
}

fn default_name(lineage: &[u32]) -> String {
    let numbers: Vec<String> = lineage.iter().map(u32::to_string).collect();
    format!("Process-{}", numbers.join(":"))
}

fn assignment((name, value): (OsString, OsString)) -> Result<CString, SpawnError> {
    // As std: a leading `=` is part of the name.
    if name.is_empty() || name.as_bytes().iter().skip(1).any(|&byte| byte == b'=') {
        return Err(SpawnError::InvalidString(name.to_string_lossy().into_owned()));
    }
    c_string([name.as_bytes(), b"=", value.as_bytes()].concat())
}

fn c_string(bytes: Vec<u8>) -> Result<CString, SpawnError> {
    CString::new(bytes)
        .map_err(|error| SpawnError::InvalidString(String::from_utf8_lossy(&error.into_vec()).into_owned()))
}

/// The program's own arguments; under the test harness, those that make it run the helper test and nothing
/// else.
fn arguments_of_child() -> Result<Vec<CString>, SpawnError> {
    let ours = std::env::args_os().map(|argument| c_string(argument.as_bytes().to_vec()));
    let Some(helper) = test_helper() else { return ours.collect() };
    let harness = [&helper, "--exact", "--test-threads=1", "--nocapture", "-q"];
    ours.take(1).chain(harness.into_iter().map(|argument| c_string(argument.into()))).collect()
}

/// Under the test harness: our stdout, which the harness in the child must not write to. A closed one stays
/// closed.
fn stdout_to_restore() -> Option<OwnedFd> {
    test_helper()?;
    duplicate_above_stdio(io::stdout()).ok()
}
