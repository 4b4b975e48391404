//! The command `procession`, as a library so that tests can build it as a program of their own.
//!
//! `args` says what can be typed; the rest is one file per subcommand. The demos are the package
//! `procession-gallery`, which the feature `demo` brings; output and exit codes are `procession-terminal`.
#![forbid(unsafe_code)]

mod acquire;
mod args;
mod barrier;
mod breaking;
#[cfg(feature = "cluster")]
mod cluster;
mod collect;
#[cfg(feature = "completions")]
mod completions;
mod counter;
mod ctl;
mod deadlocks;
mod doctor;
mod duration;
mod event;
mod holding;
mod in_the_way;
mod input;
mod inspect;
mod keeper;
mod list;
mod lock;
mod looks;
#[cfg(feature = "completions")]
mod man;
mod map;
mod metrics;
mod others;
mod passed_on;
mod people;
mod pipe;
mod processes;
mod program;
mod queue;
mod rates;
mod recipes;
mod remove;
mod report;
mod room;
mod run;
mod sem;
mod state;
mod stats;
mod steer;
mod summary;
#[cfg(feature = "top")]
mod top;
mod under;
mod waiting;
mod waits;
mod watch;
mod with;
mod worker;
mod wrap;

use args::{Alone, Asked, Cli, Command, HelpArgs, Quick, QuickCli, place_of_command};
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use procession::Namespace;
use procession_terminal::exit::{self, Failure};
use std::ffi::OsString;
use under::told;

/// Runs the command and returns its exit code.
///
/// In a process that a demo started, which is another copy of this program, it does not return: see
/// [`procession::init`].
#[must_use]
pub fn main() -> u8 {
    procession::init();
    #[cfg(feature = "completions")]
    if let Some(code) = completions::answer() {
        return code;
    }
    let outcome = perform_words(std::env::args_os().collect());
    exit::report(outcome)
}

/// All that can be typed, for tests that go through it.
#[doc(hidden)]
#[must_use]
pub fn command() -> clap::Command {
    summary::grouped(Cli::command())
}

/// Reads a command line that may be any.
fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, Failure> {
    let matches = command().try_get_matches_from(words).map_err(Failure::CommandLine)?;
    Cli::from_arg_matches(&matches).map_err(Failure::CommandLine)
}

/// What is said where the feature `cluster` would be needed.
#[cfg(not(feature = "cluster"))]
const WITHOUT_CLUSTER: &str = "this program was built without the feature `cluster`: \
                               install it with `cargo install procession-cli --features cluster`";

/// What has a form for clusters.
const OF_CLUSTER: [&str; 11] =
    ["lock", "sem", "with", "queue", "event", "barrier", "counter", "ls", "ps", "deadlocks", "metrics"];

/// Takes `--cluster URL` out of the words before `--`; otherwise what PROCESSION_CLUSTER says, for what has a form for
/// clusters.
fn take_cluster(words: &mut Vec<OsString>) -> Option<OsString> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let is_it = |word: &OsString| word == "--cluster" || word.as_encoded_bytes().starts_with(b"--cluster=");
    if let Some(place) = words[..end].iter().position(is_it) {
        let word = words.remove(place);
        return match word.to_str().and_then(|word| word.split_once('=')) {
            Some((_, url)) => Some(url.into()),
            None if place < words.len() => Some(words.remove(place)),
            None => Some(OsString::new()),
        };
    }
    let command = words.get(place_of_command(words));
    // What `map` has started is of this machine, as that is.
    let is_of_cluster =
        !under::is_of_map(words) && command.is_some_and(|word| OF_CLUSTER.iter().any(|name| word == name));
    std::env::var_os("PROCESSION_CLUSTER").filter(|url| is_of_cluster && !url.is_empty())
}

fn perform_words(mut words: Vec<OsString>) -> Result<(), Failure> {
    if let Some(url) = take_cluster(&mut words) {
        #[cfg(feature = "cluster")]
        return cluster::perform(words, &url);
        #[cfg(not(feature = "cluster"))]
        return Err(Failure::Usage(format!("{url:?} is a cluster; {WITHOUT_CLUSTER}")));
    }
    match Asked::by(&words) {
        Asked::LockRun(words) => {
            let variables = std::env::vars_os().map(|(name, _)| name);
            match lock::RunArgs::without_options(&words, variables) {
                Some(args) => lock::run_command(args, None),
                None => alone("procession lock run", words, lock::run_command),
            }
        }
        Asked::SemRun(words) => alone("procession sem run", words, sem::run_command),
        Asked::Queue(words) => alone("procession queue", words, queue::run),
        Asked::With(words) => alone("procession with", words, with::run),
        Asked::Map(words) => alone("procession map", words, map::run_command),
        Asked::Quick => {
            let cli = QuickCli::try_parse_from(words).map_err(Failure::CommandLine)?;
            enter(cli.namespace.as_ref());
            perform_quick(cli.command, cli.namespace.as_ref())
        }
        Asked::Other => perform(read(words)?),
    }
}

fn alone<A: Args>(
    name: &'static str,
    words: Vec<OsString>,
    run: impl FnOnce(A, Option<&Namespace>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Alone { namespace, args } = Alone::read(name, words)?;
    enter(namespace.as_ref());
    run(args, namespace.as_ref())
}

fn enter(namespace: Option<&Namespace>) {
    if let Some(namespace) = namespace {
        // The first to ask, so this is the namespace of the process.
        let _: bool = namespace.enter();
    }
}

fn perform_quick(command: Quick, namespace: Option<&Namespace>) -> Result<(), Failure> {
    match command {
        Quick::Lock(args) => lock::run(args, namespace),
        Quick::With(args) => with::run(args, namespace),
        Quick::Sem(args) => sem::run(args, namespace),
        Quick::Map(args) => map::run_command(*args, namespace),
        Quick::Keeper(args) => keeper::run(args),
    }
}

fn help(args: &HelpArgs) -> Result<(), Failure> {
    match args.about.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["exit-codes"] => return exit::print_table(),
        ["recipes"] => return recipes::print(),
        _ => {}
    }
    let words = ["procession"].into_iter().chain(args.about.iter().map(String::as_str)).chain(["--help"]);
    perform(read(words)?)
}

fn perform(cli: Cli) -> Result<(), Failure> {
    #[cfg(feature = "demo")]
    if cli.namespace.is_some() && matches!(cli.command, Command::Demo(_)) {
        return Err(Failure::Usage("demos run in a private namespace; --namespace has no use".to_owned()));
    }
    enter(cli.namespace.as_ref());
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => procession_gallery::run(&args),
        Command::Quick(command) => perform_quick(command, cli.namespace.as_ref()),
        Command::Help(args) => help(&args),
        Command::Queue(args) => queue::run(args, cli.namespace.as_ref()),
        Command::Run(args) => run::run(&args, cli.namespace.as_ref()),
        Command::Worker(args) => worker::run(args, cli.namespace.as_ref()),
        Command::Ctl(args) => ctl::run(&args),
        Command::Event(args) => event::run(args),
        Command::Barrier(args) => barrier::run(args),
        Command::Counter(args) => counter::run(args),
        Command::Pipe(args) => pipe::run(args),
        Command::Wait(args) => waiting::run(&args),
        Command::Waits(args) => told(args.json, waits::run(&args)),
        Command::Ls(args) => told(args.json, list::run(&args)),
        Command::Inspect(args) => inspect::run(&args),
        Command::Ps(args) => told(args.json, processes::run(&args)),
        #[cfg(feature = "top")]
        Command::Top(args) => told(args.json, top::run(&args)),
        Command::Watch(args) => watch::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::Rm(args) => remove::run(&args),
        Command::Gc(args) => collect::run(&args),
        Command::Deadlocks(args) => told(args.json, deadlocks::run(&args)),
        Command::Doctor(args) => told(args.json, doctor::run(&args)),
        #[cfg(feature = "completions")]
        Command::Completions(args) => completions::run(&args),
        #[cfg(feature = "completions")]
        Command::Man(args) => man::run(&args),
        #[cfg(feature = "demo")]
        Command::Broom(broom) => broom.sweep(),
    }
}
