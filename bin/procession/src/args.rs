//! What can be typed.

use crate::barrier::BarrierArgs;
use crate::collect::CollectArgs;
#[cfg(feature = "completions")]
use crate::completions::CompletionsArgs;
use crate::counter::CounterArgs;
use crate::ctl::CtlArgs;
use crate::deadlocks::DeadlocksArgs;
use crate::doctor::DoctorArgs;
use crate::event::EventArgs;
use crate::inspect::InspectArgs;
use crate::keeper::{KeeperArgs, Kept};
use crate::list::ListArgs;
use crate::lock::LockArgs;
#[cfg(feature = "completions")]
use crate::man::ManArgs;
use crate::map::MapArgs;
use crate::metrics::MetricsArgs;
use crate::pipe::PipeArgs;
use crate::processes::ProcessesArgs;
use crate::queue::QueueArgs;
use crate::remove::RemoveArgs;
use crate::run::RunArgs;
use crate::sem::SemArgs;
use crate::stats::StatsArgs;
#[cfg(feature = "top")]
use crate::top::TopArgs;
use crate::under::is_of_map;
use crate::waiting::WaitingArgs;
use crate::waits::WaitsArgs;
use crate::watch::WatchArgs;
use crate::with::WithArgs;
use crate::worker::WorkerArgs;
use clap::builder::Resettable;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use procession::{InvalidName, Namespace};
use procession_terminal::exit::Failure;
use std::ffi::OsString;

/// Separate processes that coordinate through shared memory and survive kill -9.
#[derive(Debug, Parser)]
#[command(name = "procession", version, after_help = EXAMPLES, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The namespace of the objects; otherwise what PROCESSION_NAMESPACE says, or `default`.
    #[arg(short = 'N', long, global = true, value_name = "NAME", value_parser = namespace)]
    pub(crate) namespace: Option<Namespace>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "demo")]
    Demo(procession_gallery::Args),
    #[command(flatten)]
    Quick(Quick),
    Queue(QueueArgs),
    Run(RunArgs),
    Worker(WorkerArgs),
    Ctl(CtlArgs),
    Event(EventArgs),
    Barrier(BarrierArgs),
    Counter(CounterArgs),
    Pipe(PipeArgs),
    Wait(WaitingArgs),
    Ls(ListArgs),
    Inspect(InspectArgs),
    Ps(ProcessesArgs),
    #[cfg(feature = "top")]
    Top(TopArgs),
    Watch(WatchArgs),
    Stats(StatsArgs),
    Metrics(MetricsArgs),
    Rm(RemoveArgs),
    Gc(CollectArgs),
    Waits(WaitsArgs),
    Deadlocks(DeadlocksArgs),
    Doctor(DoctorArgs),
    #[cfg(feature = "completions")]
    Completions(CompletionsArgs),
    #[cfg(feature = "completions")]
    Man(ManArgs),
    Help(HelpArgs),
    #[cfg(feature = "demo")]
    #[command(name = procession_gallery::BROOM, hide = true)]
    Broom(procession_gallery::Broom),
}

/// The command line of those subcommands that are to begin quickly: it is read without the others', of which there are
/// many.
#[derive(Debug, Parser)]
#[command(name = "procession", version, disable_help_subcommand = true)]
pub(crate) struct QuickCli {
    /// The namespace of the objects; otherwise what PROCESSION_NAMESPACE says, or `default`.
    #[arg(short = 'N', long, global = true, value_name = "NAME", value_parser = namespace)]
    pub(crate) namespace: Option<Namespace>,

    #[command(subcommand)]
    pub(crate) command: Quick,
}

/// The subcommands that are to begin quickly.
#[derive(Debug, Subcommand)]
pub(crate) enum Quick {
    Lock(LockArgs),
    With(WithArgs),
    Sem(SemArgs),
    Map(Box<MapArgs>),
    #[command(name = "__keeper", hide = true)]
    Keeper(KeeperArgs<Kept>),
}

// One subcommand alone: what takes the most time in reading a command line is to describe all the others. No comment of
// documentation, which would be shown instead of the subcommand's.
#[derive(Debug, Parser)]
pub(crate) struct Alone<A: Args> {
    /// The namespace of the objects; otherwise what PROCESSION_NAMESPACE says, or `default`.
    #[arg(short = 'N', long, global = true, value_name = "NAME", value_parser = namespace)]
    pub(crate) namespace: Option<Namespace>,

    #[command(flatten)]
    pub(crate) args: A,
}

impl<A: Args> Alone<A> {
    /// Reads it from the words that follow upon its name.
    pub(crate) fn read(name: &'static str, words: Vec<OsString>) -> Result<Self, Failure> {
        let mut command = Self::command().name(name);
        if is_of_map(&words) {
            command = command.mut_args(|arg| arg.env(Resettable::Reset));
        }
        let words = std::iter::once(OsString::from(name)).chain(words);
        let matches = command.try_get_matches_from(words).map_err(Failure::CommandLine)?;
        Self::from_arg_matches(&matches).map_err(Failure::CommandLine)
    }
}

/// A command line, by how it is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// `lock run`, also where only `lock` is said: the words besides.
    LockRun(Vec<OsString>),
    SemRun(Vec<OsString>),
    With(Vec<OsString>),
    Map(Vec<OsString>),
    /// `queue`, with its own subcommands.
    Queue(Vec<OsString>),
    /// One of [`Quick`].
    Quick,
    Other,
}

impl Asked {
    /// What the command line asks for; `lock NAME` is short for `lock run NAME`, and so with `sem`.
    pub(crate) fn by(words: &[OsString]) -> Self {
        let command = behind_namespace(words, 1);
        let verb = behind_namespace(words, command + 1);
        let word = |place: usize| words.get(place).and_then(|word| word.to_str());
        let others: &[&str] = match word(command) {
            Some("lock") => &["acquire", "release", "test", "break", "-h", "--help"],
            Some("sem") => &["acquire", "release", "test", "resize", "-h", "--help"],
            Some("with" | "map" | "queue") => &[],
            Some("__keeper") => return Self::Quick,
            _ => return Self::Other,
        };
        let has_verbs = !matches!(word(command), Some("with" | "map" | "queue"));
        if has_verbs && (words.len() <= verb || word(verb).is_some_and(|verb| others.contains(&verb))) {
            return Self::Quick;
        }
        let has_verb = has_verbs && word(verb) == Some("run");
        let is_other =
            |&(place, _): &(usize, &OsString)| place > 0 && place != command && !(has_verb && place == verb);
        let rest = words.iter().enumerate().filter(is_other).map(|(_, word)| word.clone()).collect();
        match word(command) {
            Some("lock") => Self::LockRun(rest),
            Some("sem") => Self::SemRun(rest),
            Some("map") => Self::Map(rest),
            Some("queue") => Self::Queue(rest),
            _ => Self::With(rest),
        }
    }
}

/// The place of the first word from `place` on that does not belong to the option that says the namespace.
fn behind_namespace(words: &[OsString], mut place: usize) -> usize {
    while let Some(word) = words.get(place).and_then(|word| word.to_str()) {
        match word {
            "-N" | "--namespace" => place += 2,
            _ if word.starts_with("-N") || word.starts_with("--namespace=") => place += 1,
            _ => break,
        }
    }
    place
}

/// Whether a namespace is said before the subcommand.
#[cfg(feature = "cluster")]
pub(crate) fn says_namespace(words: &[OsString]) -> bool {
    (1..place_of_command(words)).any(|place| behind_namespace(words, place) != place)
}

/// The place of the subcommand, behind all options that stand before it, those for clusters among them.
pub(crate) fn place_of_command(words: &[OsString]) -> usize {
    const WITH_VALUE: [&str; 5] = ["-N", "--namespace", "--deadline", "--session-lease", "--schema"];
    let mut place = 1;
    while let Some(word) = words.get(place).filter(|word| word.as_encoded_bytes().starts_with(b"-")) {
        place += if WITH_VALUE.iter().any(|option| word == option) { 2 } else { 1 };
    }
    place
}

/// Say more about a subcommand, list the exit codes, or show recipes: `help exit-codes`, `help recipes`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession help queue work\n  procession help recipes\n\nExit codes: 0 said; 2 there is no such subcommand"
)]
pub(crate) struct HelpArgs {
    /// The subcommand, `exit-codes`, or `recipes`.
    pub(crate) about: Vec<String>,
}

fn namespace(name: &str) -> Result<Namespace, InvalidName> {
    Namespace::new(name)
}

const EXAMPLES: &str = "\
Examples:
  procession lock deploy -- make deploy    one at a time, on this machine
  procession map -j 4 -- gzip {} < files   for each line, four at a time

`procession help recipes` shows what else people do with it. Every option can be
said by a variable, too, as --kill-after by PROCESSION_KILL_AFTER; the manual
names them all. What is shared has a namespace: -N, or PROCESSION_NAMESPACE.

Exit codes (`procession help exit-codes` lists all): 0 done; 1 what was asked is
not so; 2 wrong usage; 66 no such object; 75 not acquired; 77 not permitted; 125
procession itself failed; 126, 127 the command cannot be run, was not found;
128+n ended by signal n (130 after Ctrl-C, 141 when nobody reads the result).";

#[cfg(test)]
mod tests {
    use super::{Asked, place_of_command};
    use std::ffi::OsString;

    #[test]
    fn options_with_and_without_values_stand_before_the_subcommand() {
        let words = |line: &str| line.split_whitespace().map(Into::into).collect::<Vec<OsString>>();
        for (line, place) in [
            ("p lock -N a", 1),
            ("p -N lock sem", 3),
            ("p -Nlock --schema=a sem", 3),
            ("p --deadline 5s --schema sem ls", 5),
            ("p -N", 3),
            ("p", 1),
        ] {
            assert_eq!(place_of_command(&words(line)), place, "{line}");
        }
    }

    #[test]
    fn what_is_short_for_run_is_found() {
        let words = |line: &str| line.split_whitespace().map(Into::into).collect::<Vec<OsString>>();
        let is = |line: &str, asked: Asked| assert_eq!(Asked::by(&words(line)), asked, "{line}");
        let lock = |line: &str, rest: &str| is(line, Asked::LockRun(words(rest)));
        lock("p lock deploy -- true", "deploy -- true");
        lock("p lock run deploy -- run", "deploy -- run");
        lock("p lock -n deploy -- true", "-n deploy -- true");
        lock("p --namespace=a lock -Nb deploy", "--namespace=a -Nb deploy");
        lock("p lock run test -- true", "test -- true");
        lock("p lock -N a run deploy", "-N a deploy");
        is("p -N lock sem net -c 4", Asked::SemRun(words("-N lock net -c 4")));
        is("p -Na queue put jobs run", Asked::Queue(words("-Na put jobs run")));
        is("p queue", Asked::Queue(Vec::new()));
        is("p with lock:a -- run", Asked::With(words("lock:a -- run")));
        is("p map -j 2 -- run", Asked::Map(words("-j 2 -- run")));
        for line in
            ["p lock", "p lock -N a acquire deploy", "p lock test deploy", "p sem --help", "p __keeper 1"]
        {
            is(line, Asked::Quick);
        }
        for line in ["p", "p run lock", "p -N lock", "p ls"] {
            is(line, Asked::Other);
        }
    }
}
