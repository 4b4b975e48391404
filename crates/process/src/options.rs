//! How a process is to be started.

use crate::child;
use crate::children::{self, Child};
use crate::context::Context;
use crate::crossing::Crossing;
use crate::current::myself;
use crate::entry::{EntryRef, must_carry_nothing};
use crate::error::{KernelError, SpawnError};
use crate::function::Function;
use crate::init::permission;
use crate::launch::{Launch, environment};
use crate::method::{StartMethod, start_method};
use crate::process::Process;
use crate::remote::Failure;
use crate::settings::Settings;
use crate::starter::{self, starter};
use crate::stdio::{Stdio, Streams};
use crate::task::TaskEntry;
use crate::{forked, forkserver};
use procession_channel::codec;
use procession_shm::{Carried, Namespace, StartingProcess, carrying_to_child};
use procession_sys::settings::Resource;
use std::any::type_name;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
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
    /// None for what [`start_method`] says.
    context: Option<Context>,
    name: Option<String>,
    daemon: Option<bool>,
    detached: bool,
    /// What is set, or, by `None`, removed; the later counts.
    environment: Vec<(OsString, Option<OsString>)>,
    clears_environment: bool,
    inherit: Vec<Arc<OwnedFd>>,
    streams: Streams,
    directory: Option<PathBuf>,
    process_group: Option<u32>,
    settings: Settings,
}

impl ProcessOptions {
    /// In which way the process comes to be; what [`set_start_method`](crate::set_start_method) said, and if it
    /// said nothing, [`StartMethod::Spawn`]. All options mean the same in every way.
    ///
    /// ```
    /// use procession::{Process, StartMethod};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let options = Process::options().start_method(StartMethod::Forkserver);
    ///     assert_eq!(options.spawn(|a: u32, b: u32| a + b, (2, 3))?.join()?, 5);
    ///     Ok(())
    /// }
    /// ```
    pub fn start_method(self, method: StartMethod) -> Self {
        self.context(method.into())
    }

    /// In which way the process comes to be, and from which forkserver.
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

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
        self.environment.push((name.into(), Some(value.into())));
        self
    }

    /// Takes an environment variable of this process away from the process.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// Gives the process none of this process's environment variables, and none that were set here before.
    /// The namespace stays this process's.
    pub fn env_clear(mut self) -> Self {
        self.environment.clear();
        self.clears_environment = true;
        self
    }

    /// The directory in which the process begins; as this process's unless said. A relative path is taken
    /// from this process's directory.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The process's standard input; nothing unless said. That is unlike [`std::process::Command`]: children
    /// that read from one terminal take each other's lines.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.streams.stdin = Some(stdin.into());
        self
    }

    /// The process's standard output; this process's unless said.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.streams.stdout = Some(stdout.into());
        self
    }

    /// The process's standard error output; this process's unless said.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.streams.stderr = Some(stderr.into());
        self
    }

    /// Makes the process one of this user, in no other group than its own: say [`gid`](Self::gid), too. That
    /// takes root's rights (`CAP_SETUID`); without them the process is
    /// [`Refused`](crate::ProcessError::Refused) its work, as with all that it cannot change of itself.
    ///
    /// Objects are a user's: those of this process are none of such a child's.
    pub fn uid(mut self, user: u32) -> Self {
        self.settings.user = Some(user);
        self
    }

    /// Makes the process one of this group. That takes root's rights (`CAP_SETGID`).
    pub fn gid(mut self, group: u32) -> Self {
        self.settings.group = Some(group);
        self
    }

    /// Lets the process use at most `soft` of a resource, in the resource's unit; it may itself raise that up
    /// to `hard`. `u64::MAX` is no limit. To raise `hard` takes root's rights (`CAP_SYS_RESOURCE`).
    ///
    /// ```
    /// use procession::{Process, Resource};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let few_files = Process::options().rlimit(Resource::OpenFiles, 64, 64);
    ///     let opened = |()| (0..1000).map_while(|_| std::fs::File::open("/dev/null").ok()).collect::<Vec<_>>().len();
    ///     assert!(few_files.spawn(opened, ())?.join()? < 64);
    ///     Ok(())
    /// }
    /// ```
    pub fn rlimit(mut self, resource: Resource, soft: u64, hard: u64) -> Self {
        self.settings.limit(resource, soft, hard);
        self
    }

    /// Lets the process run on these CPUs only, which are numbered from 0.
    pub fn cpu_affinity(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.settings.cpus = Some(cpus.into_iter().collect());
        self
    }

    /// The process's niceness, from -20 (first in line) to 19 (last); this process's unless said. To go below
    /// that takes root's rights (`CAP_SYS_NICE`).
    pub fn nice(mut self, niceness: i32) -> Self {
        self.settings.niceness = Some(niceness);
        self
    }

    /// Puts the process into the process group of this number: a terminal's Ctrl-C, for one, goes to a group.
    /// 0 makes a new one, whose number is the process's pid. Unless said, the process is in this process's.
    pub fn process_group(mut self, group: u32) -> Self {
        self.process_group = Some(group);
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
    /// `f` is a function or a closure that captures nothing; of several arguments it is given a tuple: see
    /// [`Function`]. The call returns once the process exists; it does not wait for it to come up.
    ///
    /// # Errors
    /// See [`SpawnError`]; most of all [`SpawnError::NotInitialised`].
    pub fn spawn<F, A, M>(self, f: F, arguments: A) -> Result<Process<F::Output>, SpawnError>
    where
        F: Function<A, M, Output: Crossing>,
        A: Crossing,
    {
        const { must_carry_nothing::<F>() };
        self.start_with::<F, A, M>(child::entry::<F, A, M>, f, arguments).map(Process::new)
    }

    /// Starts the process as [`spawn`](Self::spawn) does, for a function that returns a `Result` with an error
    /// of any kind: see [`Process::spawn_fallible`].
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_fallible<F, A, M, T, E, N>(self, f: F, arguments: A) -> Result<Process<T>, SpawnError>
    where
        F: Function<A, M, Output = Result<T, E>>,
        A: Crossing,
        T: Crossing,
        E: Failure<N>,
    {
        const { must_carry_nothing::<F>() };
        self.start_with::<F, A, M>(child::fallible_entry::<F, A, M, T, E, N>, f, arguments).map(Process::new)
    }

    fn start_with<F, A, M>(self, entry: TaskEntry, f: F, arguments: A) -> Result<Arc<Child>, SpawnError>
    where
        F: Function<A, M>,
        A: Crossing,
    {
        // `f` has no bytes: its type says everything about it.
        let _ = f;
        permission()?;
        let entry = EntryRef::new::<F, A, F::Output>(entry)?;
        let mut bytes = Vec::new();
        let (encoded, carried, places) = carrying_to_child(|| codec::encode(&arguments, &mut bytes));
        let function = type_name::<F>();
        encoded.map_err(|source| SpawnError::Encode { function, source })?;
        self.start((function, entry), bytes, carried, places)
    }

    fn start(
        self,
        (function, entry): (&'static str, EntryRef<TaskEntry>),
        arguments: Vec<u8>,
        carried: Carried,
        places: Vec<StartingProcess>,
    ) -> Result<Arc<Child>, SpawnError> {
        // Whoever starts children forever must not collect zombies forever.
        drop(children::running());
        let starting = children::starting()?;
        let lineage = children::next_lineage();
        let name = self.name.unwrap_or_else(|| default_name(&lineage));
        let kernel = |operation| {
            let name = name.clone();
            move |error| KernelError::before_start(operation, &name, error)
        };
        let (streams, pipes) = self.streams.open().map_err(kernel("opening the standard streams"))?;
        let has_own_namespace = self.environment.iter().any(|(name, _)| name == "PROCESSION_NAMESPACE");
        let namespace = if has_own_namespace { None } else { Namespace::current().ok() };
        let launch = Launch {
            function,
            entry,
            arguments,
            is_server: false,
            name: name.clone(),
            lineage,
            daemon: self.daemon.unwrap_or(myself().daemon),
            detached: self.detached,
            // Ours, unless the options' environment names another one.
            namespace: namespace.map(|namespace| namespace.name().to_owned()),
            environment: environment(&self.environment, self.clears_environment),
            directory: self.directory,
            process_group: self.process_group,
            settings: self.settings,
            streams,
            pipes,
            inherit: self.inherit,
            carried,
            places,
        };
        let context = self.context.unwrap_or_else(|| start_method().into());
        let wanted = starter::wanted();
        let child = match context.start_method() {
            StartMethod::Spawn => launch.execute(&*starter(&wanted).map_err(kernel("pidfd_open"))?)?,
            StartMethod::Forkserver => {
                forkserver::start(launch, context.preloads(), wanted, has_own_namespace)?
            }
            StartMethod::Fork => {
                let starter = starter(&wanted).map_err(kernel("pidfd_open"))?;
                let is_changed = self.clears_environment || !self.environment.is_empty();
                forked::start(launch, &starter, is_changed, has_own_namespace)?
            }
        };
        let adopted = children::adopt(child);
        drop(starting);
        adopted
    }
}

impl Context {
    /// Options for a new process that is started as this says.
    pub fn process(&self) -> ProcessOptions {
        ProcessOptions::default().context(*self)
    }
}

impl Process<()> {
    /// Options for a new process: its name, its streams, its limits, its user, and more.
    pub fn options() -> ProcessOptions {
        ProcessOptions::default()
    }
}

impl<R> Process<R> {
    /// Starts a process that calls `f` with `arguments`: with `()` a function of no argument, with a tuple one
    /// of several.
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
    pub fn spawn<F, A, M>(f: F, arguments: A) -> Result<Self, SpawnError>
    where
        F: Function<A, M, Output = R>,
        A: Crossing,
        R: Crossing,
    {
        Process::options().spawn(f, arguments)
    }

    /// Starts a process that calls `f` with `arguments`, where `f` returns a `Result` whose error need not
    /// cross by itself: any [`std::error::Error`], a `Box<dyn Error>`, a `String`.
    /// [`join`](Self::join) returns what is in the `Ok`; the error arrives as its text and those of its causes,
    /// in [`ProcessError::Failed`](crate::ProcessError::Failed). After [`spawn`](Self::spawn) the result is the
    /// whole `Result`, and its error is one that crosses.
    ///
    /// ```
    /// use procession::{Process, ProcessError};
    ///
    /// fn count_lines(path: String) -> std::io::Result<usize> {
    ///     Ok(std::fs::read_to_string(path)?.lines().count())
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     procession::init();
    ///     let child = Process::spawn_fallible(count_lines, "/there/is/none".to_owned())?;
    ///     let Err(ProcessError::Failed { error, .. }) = child.join() else { panic!("there is one") };
    ///     assert_eq!(error.to_string(), "No such file or directory (os error 2)");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn spawn_fallible<F, A, M, E, N>(f: F, arguments: A) -> Result<Self, SpawnError>
    where
        F: Function<A, M, Output = Result<R, E>>,
        A: Crossing,
        R: Crossing,
        E: Failure<N>,
    {
        Process::options().spawn_fallible(f, arguments)
    }
}

fn default_name(lineage: &[u32]) -> String {
    let numbers: Vec<String> = lineage.iter().map(u32::to_string).collect();
    format!("Process-{}", numbers.join(":"))
}
