//! `procession completions`: scripts by which shells complete a command line, and what those ask this program for.
//!
//! A static script knows subcommands and options. With `--live`, the shell asks this program each time, which looks
//! at what there is: nothing is attached, nothing is said when something goes wrong.

use crate::args::Cli;
use crate::duration::age;
use crate::state;
use crate::steer::steered_by;
use clap::{Command, CommandFactory, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{Shell, generate};
use procession::shm::{Entry, Kind, View, look};
use procession::{Encoded, JoinableQueue, LeasedItem, Namespace};
use procession_terminal::exit::{self, Failure};
use procession_terminal::output;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// By which a shell says that it wants something completed. Not the usual `COMPLETE`, which others ask for, too.
const VARIABLE: &str = "PROCESSION_COMPLETE";
/// The name under which shells know the command.
const NAME: &str = "procession";
/// How many objects are looked at: a shell waits for this.
const LOOKED_AT: usize = 200;

/// Print a script by which a shell completes subcommands and options; with --live, names of objects, too.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
    /// Have the shell ask this program, which knows what locks, queues and other objects there are, and who holds them.
    #[arg(
        long,
        env = "PROCESSION_LIVE",
        hide_env = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    live: bool,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  source <(procession completions bash --live)
  procession completions zsh > ~/.zfunc/_procession

`make install` puts them where shells look for them. What --live prints belongs
to this very program: have a shell make it anew when it starts.

Exit codes: 0 printed; 2 no such shell.";

/// # Errors
/// As [`output::bytes`].
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    if args.live {
        let shells = Shells::builtins();
        let shell = shells.completer(&args.shell.to_string());
        let shell = shell.ok_or_else(|| Failure::Usage(format!("{} cannot ask", args.shell)))?;
        shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)?;
    } else {
        generate(args.shell, &mut command(), NAME, &mut script);
    }
    output::bytes(&script)
}

/// Answers a shell, if it is one that asks.
pub(crate) fn answer() -> Option<u8> {
    std::env::var_os(VARIABLE)?;
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(namespace) = namespace(&words) {
        let _: bool = namespace.enter();
    }
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(VARIABLE).try_complete(words, here.as_deref());
    // Whatever went wrong, someone is typing a command line.
    asked.unwrap_or(true).then_some(exit::SUCCESS)
}

/// The namespace that is said in the command line that is typed.
fn namespace(words: &[OsString]) -> Option<Namespace> {
    let mut words = words.iter().filter_map(|word| word.to_str());
    let name = words.by_ref().find_map(|word| match word {
        "-N" | "--namespace" => Some(None),
        word => word.strip_prefix("--namespace=").or(word.strip_prefix("-N")).map(Some),
    })?;
    Namespace::new(name.or_else(|| words.next())?).ok()
}

/// The command line as it can be typed: `lock NAME` is short for `lock run NAME`, and each name is one of an object.
fn command() -> Command {
    let mut command = Cli::command();
    for short in ["lock", "sem"] {
        command = command.mut_subcommand(short, |command| {
            let run = command.find_subcommand("run").cloned().unwrap_or_default();
            command
                .args(run.get_arguments().cloned())
                .args_conflicts_with_subcommands(true)
                .subcommand_required(false)
        });
    }
    let names: Vec<String> = command.get_subcommands().map(|known| known.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name.clone(), |command| with_names(command, Names::of(&name)))
    })
}

/// The same with names for its arguments, and for those of its subcommands.
fn with_names(command: Command, names: Option<Names>) -> Command {
    let command = command.mut_args(|arg| {
        match (arg.get_id().as_str(), names) {
            ("name" | "names" | "targets" | "glob", Some(names)) => arg.add(ArgValueCompleter::new(names)),
            // Of `queue ack` and its kin.
            ("id", Some(_)) => arg.add(ArgValueCompleter::new(LeasedIds)),
            // What is run.
            ("command", _) => arg.value_hint(ValueHint::Other).add(ArgValueCompleter::new(Run)),
            ("arg_file" | "joblog" | "report" | "procfile", _) => arg.value_hint(ValueHint::FilePath),
            ("tee" | "results" | "out", _) => arg.value_hint(ValueHint::DirPath),
            _ => arg,
        }
    });
    command.mut_subcommands(|command| with_names(command, names))
}

/// The names of objects that a subcommand is about.
#[derive(Clone, Copy, Debug)]
enum Names {
    Of(&'static [Kind]),
    Any,
    /// `lock:NAME`, `queue:NAME`: with its kind before it, those of these kinds.
    Typed(&'static [(&'static str, &'static [Kind])]),
    /// Of a `map` or a `run`, not of an object: the queue of its orders tells it.
    Steered,
}

const LOCKS: &[Kind] = &[Kind::LOCK, Kind::RLOCK, Kind::RWLOCK];
const SEMAPHORES: &[Kind] = &[Kind::SEMAPHORE, Kind::BOUNDED_SEMAPHORE];
const QUEUES: &[Kind] = &[Kind::QUEUE, Kind::JOINABLE_QUEUE];
const EVENTS: &[Kind] = &[Kind::EVENT];

impl Names {
    fn of(subcommand: &str) -> Option<Self> {
        Some(match subcommand {
            "lock" => Self::Of(LOCKS),
            "sem" => Self::Of(SEMAPHORES),
            "queue" => Self::Of(QUEUES),
            "event" => Self::Of(EVENTS),
            "barrier" => Self::Of(&[Kind::BARRIER]),
            "counter" => Self::Of(&[Kind::VALUE]),
            "pipe" => Self::Of(&[Kind::PIPE, Kind::QUEUE]),
            "ctl" => Self::Steered,
            "inspect" | "rm" | "stats" | "watch" => Self::Any,
            "with" => Self::Typed(&[("lock", LOCKS), ("sem", SEMAPHORES)]),
            "wait" => Self::Typed(&[
                ("event", EVENTS),
                ("latch", &[Kind::LATCH]),
                ("lock", LOCKS),
                ("sem", SEMAPHORES),
                ("queue", QUEUES),
            ]),
            _ => return None,
        })
    }

    /// How an object of this kind is typed; `None` if it is none of these.
    fn typed(self, kind: Kind, name: &str) -> Option<String> {
        match self {
            Self::Any => Some(name.to_owned()),
            Self::Of(kinds) => kinds.contains(&kind).then(|| name.to_owned()),
            Self::Steered => steered_by(name).filter(|_| kind == Kind::QUEUE).map(str::to_owned),
            Self::Typed(prefixes) => {
                let (prefix, _) = prefixes.iter().find(|(_, kinds)| kinds.contains(&kind))?;
                Some(format!("{prefix}:{name}"))
            }
        }
    }
}

impl ValueCompleter for Names {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let (Some(begun), Ok(namespace)) = (current.to_str(), Namespace::current()) else {
            return Vec::new();
        };
        let typed = |entry: Entry| {
            // What begins with a dot is the library's own.
            let is_shown = !entry.name.starts_with('.');
            let typed = self.typed(entry.header.as_ref().ok()?.kind, &entry.name)?;
            (is_shown && typed.starts_with(begun)).then_some((typed, entry))
        };
        let found = namespace.list().unwrap_or_default().into_iter().filter_map(typed).take(LOOKED_AT);
        found.map(|(typed, entry)| CompletionCandidate::new(typed).help(Some(said(&entry).into()))).collect()
    }
}

/// The numbers of the items that are leased, of the queue that is typed before.
#[derive(Clone, Copy, Debug)]
struct LeasedIds;

impl ValueCompleter for LeasedIds {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let words: Vec<OsString> = std::env::args_os().collect();
        let (Some(begun), Some(name), Ok(namespace)) =
            (current.to_str(), queue_of(&words), Namespace::current())
        else {
            return Vec::new();
        };
        let leased = |entry: Entry| look(&entry).map(|queue: JoinableQueue<Encoded>| queue.leased());
        let items = namespace.entry(&name).ok().and_then(leased).unwrap_or_default();
        let typed = items.iter().map(|item| (item.id.to_string(), item));
        let begun = typed.filter(|(id, _)| id.starts_with(begun));
        begun.map(|(id, item)| CompletionCandidate::new(id).help(Some(held(item).into()))).collect()
    }
}

/// Which queue a lease is of, in a command line that is typed.
fn queue_of(words: &[OsString]) -> Option<String> {
    let mut words = words.iter().filter_map(|word| word.to_str());
    words.find(|word| ["ack", "nack", "extend"].contains(word))?;
    words.find(|word| !word.starts_with('-')).map(str::to_owned)
}

fn held(item: &LeasedItem) -> String {
    let LeasedItem { holder, attempt, held_for, .. } = item;
    output::printable(&format!(
        "leased by {} {} for {}, attempt {attempt}",
        holder.pid,
        holder.name,
        age(*held_for)
    ))
}

/// What an object is in, and who holds it.
fn said(entry: &Entry) -> String {
    let kind = entry.header.as_ref().map_or("", |header| header.kind.name());
    let Some(state) = View::of(entry).as_ref().and_then(state::of) else { return kind.to_owned() };
    let holder = state.holders.first().map(|held| format!(" by {} {}", held.holder.pid, held.holder.name));
    output::printable(&format!("{kind}, {}{}", state.text, holder.unwrap_or_default()))
}

/// A program and its arguments.
#[derive(Clone, Copy, Debug)]
struct Run;

impl ValueCompleter for Run {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        self.complete_at(0, current)
    }

    fn complete_at(&self, place: usize, current: &OsStr) -> Vec<CompletionCandidate> {
        match current.to_str() {
            Some(begun) if place == 0 && !begun.contains('/') => {
                programs(begun).into_iter().map(CompletionCandidate::new).collect()
            }
            _ => PathCompleter::any().complete(current),
        }
    }
}

/// The programs that are found by a name that begins so.
fn programs(begun: &str) -> BTreeSet<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let files =
        std::env::split_paths(&path).filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let named = files.filter_map(|file| Some((file.file_name().into_string().ok()?, file.path())));
    let begun = named.filter(|(name, _)| name.starts_with(begun));
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    begun.filter(|(_, path)| is_program(path)).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::{Names, command, namespace};
    use clap::ValueEnum;
    use clap_complete::Shell;
    use procession::shm::Kind;

    #[test]
    fn the_namespace_that_is_typed_is_looked_at() {
        let named = |line: &str| {
            let words: Vec<_> = line.split(' ').map(Into::into).collect();
            namespace(&words).map(|namespace| namespace.name().to_owned())
        };
        for line in ["p -N a ls", "p -Na ls", "p --namespace a", "p lock --namespace=a "] {
            assert_eq!(named(line).as_deref(), Some("a"), "{line}");
        }
        for line in ["p ls", "p -N", "p -N a/b"] {
            assert_eq!(named(line), None, "{line}");
        }
    }

    #[test]
    fn names_are_typed_as_the_subcommand_takes_them() {
        let typed = |subcommand, kind| Names::of(subcommand).and_then(|names| names.typed(kind, "x"));
        assert_eq!(typed("lock", Kind::RWLOCK).as_deref(), Some("x"));
        assert_eq!(typed("lock", Kind::QUEUE), None);
        assert_eq!(typed("with", Kind::SEMAPHORE).as_deref(), Some("sem:x"));
        assert_eq!(typed("rm", Kind::MAP).as_deref(), Some("x"));
        assert_eq!(typed("gc", Kind::LOCK), None);
        let steered = Names::of("ctl").unwrap();
        assert_eq!(steered.typed(Kind::QUEUE, "enc.orders").as_deref(), Some("enc"));
        assert_eq!(steered.typed(Kind::QUEUE, "enc"), None);
    }

    #[test]
    fn what_can_be_typed_is_whole_and_every_shell_can_ask() {
        command().debug_assert();
        for shell in Shell::value_variants() {
            let shells = clap_complete::env::Shells::builtins();
            assert!(shells.completer(&shell.to_string()).is_some(), "{shell}");
        }
    }
}
