//! Keepers: processes in the background that hold something for another process, which can do so for as long as it
//! likes without being wrapped.
//!
//! | step | who | killed here leaves |
//! |---|---|---|
//! | the owner is opened as a pidfd, and the keeper started with it as stdin | `lock acquire` | nothing |
//! | its session becomes its own; it asks to be ended with `lock acquire` | the keeper | nothing |
//! | the thing is acquired, which may take time | the keeper | nothing, or a dead holder |
//! | it asks to be ended no more, and says `held` through a pipe as its stdout | the keeper | a dead holder |
//! | `lock acquire` exits with 0 | | |
//! | it lets go of stdout and stderr, and waits: for the end of the owner, or SIGTERM from `lock release` | the keeper | a dead holder |
//! | it releases the thing | the keeper | nothing |
//!
//! An event is kept set in the same way (`event set --owner`): it is cleared with the keeper, however that ends.

use crate::acquire::{Held, Terms, acquire as acquire_here};
use crate::holding::{Target, Thing, Wait, no_such_object, refusal};
use crate::in_the_way::{InTheWay, Person};
use crate::people;
use crate::under::{WaitArgs, told};
use crate::{passed_on, under};
use clap::builder::FalseyValueParser;
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::{chdir, dup2_stderr, dup2_stdout, getppid, setsid};
use procession::{Event, EventError, Namespace};
use procession_sys::inheritance::keep_files;
use procession_sys::signals::{Inbox, SIGCONT, SIGTERM, SignalSet, set_blocked};
use procession_sys::{SignalBell, eventfd, pidfd};
use procession_terminal::exit::{DISAGREE, Failure, INCOMPLETE, OWN_FAILURE};
use procession_terminal::output;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

/// The subcommand that a keeper is.
pub(crate) const KEEPER: &str = "__keeper";
/// The subcommand that has keepers of leases.
pub(crate) const QUEUE: &str = "queue";
/// The subcommand that has keepers of locks of a cluster.
pub(crate) const LOCK: &str = "lock";
/// What a keeper says once it holds the thing.
const IS_HELD: &str = "held";
/// How long who holds something may take to let go.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// For whom something is held.
#[derive(Debug, clap::Args)]
pub(crate) struct KeepArgs {
    /// The process with which it ends; the one that starts this unless said.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..), env = "PROCESSION_OWNER", hide_env = true)]
    pub(crate) owner: Option<u32>,
    /// Say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// What a keeper keeps.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Held(Target),
    /// An event, set for as long as the keeper lives.
    Event(String),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(target) => target.fmt(f),
            Self::Event(name) => write!(f, "event:{name}"),
        }
    }
}

impl FromStr for Kept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("event:") {
            Some(name) => Ok(Self::Event(name.to_owned())),
            None => text.parse().map(Self::Held),
        }
    }
}

/// A keeper, as `acquire` starts it.
#[derive(Debug, clap::Args)]
pub(crate) struct KeeperArgs<K: FromStr<Err = String> + Clone + Send + Sync + 'static> {
    /// For whom: what its command line says to others.
    pub(crate) owner: u32,
    /// The process that starts it.
    pub(crate) parent: u32,
    #[arg(value_parser = K::from_str)]
    pub(crate) kept: K,
    /// How many permits there are.
    #[arg(long)]
    pub(crate) count: Option<usize>,
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// The process for which a keeper with these words as its command line holds something.
pub(crate) fn kept_for(words: &[String]) -> Option<u32> {
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "-N", _, KEEPER, owner, ..]
        | [_, "-N", _, QUEUE, KEEPER, owner, ..]
        // Of a cluster, which the environment names.
        | [_, LOCK | QUEUE, KEEPER, owner, ..] => owner.parse().ok(),
        _ => None,
    }
}

/// The process for which something is to be held: its pid, and a descriptor that shows its end.
///
/// # Errors
/// [`Failure::Usage`] when there is none.
pub(crate) fn owner(args: &KeepArgs, what: &dyn fmt::Display) -> Result<(u32, OwnedFd), Failure> {
    let owner = args.owner.unwrap_or_else(|| getppid().as_raw().unsigned_abs());
    let end = end_of(owner, what)?;
    if args.owner.is_none() && getppid().as_raw().unsigned_abs() != owner {
        // It ended while this process began, and its number may be another's.
        return Err(Failure::Usage("the process that started this one has ended".to_owned()));
    }
    Ok((owner, end))
}

fn end_of(owner: u32, what: &dyn fmt::Display) -> Result<OwnedFd, Failure> {
    let no_owner = |error: std::io::Error| {
        Failure::Usage(format!("there is no process {owner} for which to hold {what}: {error}"))
    };
    pidfd::open(owner).map_err(no_owner)
}

/// A keeper of this process's namespace, for that owner; more arguments follow.
///
/// # Errors
/// When standard streams cannot be kept.
pub(crate) fn command(of_queue: bool, owner: u32, end: OwnedFd) -> Result<Command, Failure> {
    let namespace = Namespace::current()?;
    let kind = of_queue.then_some(QUEUE);
    command_of(["-N", namespace.name()].into_iter().chain(kind), owner, end)
}

/// A keeper that begins with these words.
///
/// # Errors
/// As [`command`].
pub(crate) fn command_of<'a>(
    words: impl IntoIterator<Item = &'a str>,
    owner: u32,
    end: OwnedFd,
) -> Result<Command, Failure> {
    keep_files()?;
    let mut keeper = Command::new("/proc/self/exe");
    keeper.arg0("procession").args(words).arg(KEEPER);
    keeper.arg(owner.to_string()).arg(std::process::id().to_string());
    keeper.stdin(Stdio::from(end));
    Ok(keeper)
}

/// Says to a keeper how long it is to wait.
pub(crate) fn pass_wait_on(keeper: &mut Command, wait: &WaitArgs) {
    match wait.wait() {
        Wait::Not => drop(keeper.arg("--nonblock")),
        Wait::For(time) => drop(keeper.arg("--wait").arg(time.as_secs_f64().to_string())),
        Wait::Ever => {}
    }
    if let Some(code) = wait.conflict_exit_code {
        keeper.arg("--conflict-exit-code").arg(code.to_string());
    }
}

/// The failure of a keeper that has said why.
pub(crate) fn failed(mut keeper: Child) -> Failure {
    match keeper.wait() {
        Ok(status) => {
            Failure::Command(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(OWN_FAILURE))
        }
        Err(error) => error.into(),
    }
}

/// A keeper begins: it is in nobody's session, and ends with the process that has started it. Whether that one lives.
///
/// # Errors
/// When it leads a session already.
pub(crate) fn begin(parent: u32) -> Result<bool, Failure> {
    setsid()?;
    be_called_procession();
    set_pdeathsig(Signal::SIGTERM)?;
    Ok(getppid().as_raw().unsigned_abs() == parent)
}

/// This process was executed as `/proc/self/exe`, which is to be nobody's name.
pub(crate) fn be_called_procession() {
    // Only a name.
    let _: nix::Result<()> = set_name(c"procession");
}

/// A keeper does not end with its starter any more.
///
/// # Errors
/// Where the kernel has no such request.
pub(crate) fn outlive_starter() -> Result<(), Failure> {
    Ok(set_pdeathsig(None)?)
}

/// A keeper lets go of all that is its starter's, once that knows that it holds what it is to hold.
///
/// # Errors
/// Without `/dev/null`.
pub(crate) fn settle() -> Result<(), Failure> {
    chdir("/")?;
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    Ok(())
}

/// Has a keeper acquire the target.
///
/// # Errors
/// [`Failure::Command`] with the keeper's code, which has said why; that there is no such owner.
pub(crate) fn acquire(target: &Target, wait: &WaitArgs, args: &KeepArgs) -> Result<(), Failure> {
    let (owner, end) = owner(args, target)?;
    acquire_by(command(false, owner, end)?, (target, target.count()), wait, args.json)
}

/// Has this keeper acquire what is called so, of so many permits if that was said.
///
/// # Errors
/// As [`until_held`].
pub(crate) fn acquire_by(
    mut keeper: Command,
    (kept, count): (&dyn fmt::Display, Option<usize>),
    wait: &WaitArgs,
    json: bool,
) -> Result<(), Failure> {
    keeper.arg(kept.to_string());
    if let Some(count) = count {
        keeper.args(["--count", &count.to_string()]);
    }
    if json {
        keeper.arg("--json");
    }
    pass_wait_on(&mut keeper, wait);
    until_held(keeper)
}

/// Has a keeper keep it for the owner.
///
/// # Errors
/// As [`acquire`].
pub(crate) fn keep_for(owner: u32, kept: &Kept) -> Result<(), Failure> {
    let mut keeper = command(false, owner, end_of(owner, kept)?)?;
    keeper.arg(kept.to_string());
    until_held(keeper)
}

/// Starts the keeper, and waits until it has what it is to keep.
///
/// # Errors
/// [`Failure::Command`] with the keeper's code, which has said why.
fn until_held(mut keeper: Command) -> Result<(), Failure> {
    let mut child = keeper.stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    if said.trim_end() == IS_HELD {
        return Ok(());
    }
    Err(failed(child))
}

/// Is a keeper, until what it holds is released.
///
/// # Errors
/// Why it was not acquired.
pub(crate) fn run(args: KeeperArgs<Kept>) -> Result<(), Failure> {
    let json = args.json;
    told(json, keep(args))
}

fn keep(args: KeeperArgs<Kept>) -> Result<(), Failure> {
    if !begin(args.parent)? {
        // It ended before that, and nobody waits for this.
        return Ok(());
    }
    let inbox = passed_on::inbox();
    match args.kept {
        Kept::Held(target) => stay(hold(target, args.count, &args.wait, &inbox)?, None),
        Kept::Event(name) => match set(&name, args.owner)? {
            Some(event) => stay(event, None),
            None => {
                say_held();
                Ok(())
            }
        },
    }
}

fn hold(target: Target, count: Option<usize>, wait: &WaitArgs, inbox: &Inbox) -> Result<Vec<Held>, Failure> {
    let mut things = [Thing::open(target.of_all(count))?];
    let terms = Terms {
        wait: wait.wait(),
        code: wait.conflict_exit_code,
        explain: false,
        takes_from_dead: true,
        command: &[],
    };
    let held = acquire_here(&mut things, terms, inbox)?;
    for one in &held {
        under::warn_of_death(one);
    }
    held.into_iter().map(under::settled).collect()
}

/// Sets the event for as long as this process lives; `None` if another keeper does so for the owner.
fn set(name: &str, owner: u32) -> Result<Option<Event>, Failure> {
    let event = Event::open_or_create(name)?;
    match event.set_owned() {
        Ok(()) => Ok(Some(event)),
        Err(EventError::Owned { holder, .. }) => {
            let kept_for = kept_for(&people::command_line(holder.pid));
            if kept_for == Some(owner) {
                return Ok(None);
            }
            let whose = kept_for.map_or_else(|| holder.to_string(), |other| format!("process {other}"));
            let message = format!("event {name:?} is set already, for as long as {whose} lives");
            Err(refusal("disagree", DISAGREE, message))
        }
        Err(error) => Err(error.into()),
    }
}

/// Says that it is held; whether anybody listens.
fn say_held() -> bool {
    writeln!(stdout(), "{IS_HELD}").and_then(|()| stdout().flush()).is_ok()
}

/// How it is found out that what is kept is lost.
pub(crate) struct Look<T> {
    /// How often it is asked.
    pub(crate) every: Duration,
    pub(crate) is_lost: fn(&T) -> bool,
}

/// Keeps something until its owner has ended, or `release` ends this process, or it is lost.
///
/// # Errors
/// When signals or the owner cannot be waited for.
pub(crate) fn stay<T>(kept: T, look: Option<Look<T>>) -> Result<(), Failure> {
    // While it is blocked, SIGTERM waits for the bell.
    let bell = SignalBell::new(&[SIGTERM])?;
    outlive_starter()?;
    if !say_held() {
        // Nobody waits for this any more.
        return Ok(());
    }
    settle()?;
    let all_but_term = SignalSet::from_bits(!SignalSet::from_iter([SIGTERM]).bits());
    set_blocked(all_but_term);
    let input = stdin();
    let every = look.as_ref().map(|look| look.every);
    while !eventfd::wait_any(&[bell.as_fd(), input.as_fd()], every)?.contains(&true)
        && !look.as_ref().is_some_and(|look| (look.is_lost)(&kept))
    {}
    drop(kept);
    Ok(())
}

/// Has keepers let go of the target: those that hold it for an ancestor of this process, or else all.
///
/// # Errors
/// [`Failure::Refused`] when no keeper holds it.
pub(crate) fn release(target: Target) -> Result<(), Failure> {
    let text = target.to_string();
    let Some(thing) = Thing::find(target)? else {
        return Err(no_such_object(format!("there is no {text}")));
    };
    let in_the_way = InTheWay::of(&thing);
    let keepers: Vec<&Person> =
        in_the_way.holders.iter().filter(|holder| holder.kept_for.is_some()).collect();
    let ancestors = people::ancestors();
    let is_own = |keeper: &Person| keeper.kept_for.is_some_and(|owner| ancestors.contains(&owner));
    let own: Vec<&Person> = keepers.iter().copied().filter(|keeper| is_own(keeper)).collect();
    let chosen = if own.is_empty() { keepers } else { own };
    if chosen.is_empty() {
        let (code, message) = if in_the_way.holders.is_empty() {
            (INCOMPLETE, format!("{text} is not held"))
        } else {
            let line = in_the_way.line("you would be");
            (DISAGREE, format!("{text} is held by no `acquire`, and so cannot be released: {line}"))
        };
        return Err(refusal("not_kept", code, message));
    }
    chosen.into_iter().try_for_each(|keeper| end(keeper.pid, SIGTERM))
}

/// Sends a signal to a process of this namespace, and waits for its end.
pub(crate) fn end(pid: u32, signal: i32) -> Result<(), Failure> {
    let namespace = Namespace::current()?;
    end_if(pid, signal, |pid| people::uses(pid, &namespace))
}

/// Sends a signal to a process if it is the right one, and waits for its end.
pub(crate) fn end_if(pid: u32, signal: i32, is_it: impl Fn(u32) -> bool) -> Result<(), Failure> {
    let process = match pidfd::open(pid) {
        Ok(process) => process,
        // It has ended meanwhile.
        Err(error) if error.raw_os_error() == Some(procession_sys::errno::ESRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !is_it(pid) {
        let advice = "it may be in another pid namespace, where the same number means another process";
        return Err(Failure::Error(
            format!("cannot tell whether process {pid} is the holder: {advice}").into(),
        ));
    }
    pidfd::send_signal(&process, signal)?;
    if signal == SIGTERM {
        // Nobody hears it who is stopped. It may have ended meanwhile.
        drop(pidfd::send_signal(&process, SIGCONT));
    }
    if pidfd::wait(&process, Some(PATIENCE))? {
        return Ok(());
    }
    output::warn(&format!("process {pid} has not ended after {} s", PATIENCE.as_secs()));
    Err(Failure::Incomplete)
}
