//! `procession gc`: removes what dead processes left behind.

use crate::others;
use clap::builder::FalseyValueParser;
use procession::Namespace;
use procession::shm::{Entry, gc};
use procession_terminal::exit::Failure;
use procession_terminal::output;

/// Remove what dead processes left behind.
///
/// That is: ephemeral and anonymous objects that nobody is attached to, all of a private namespace whose
/// processes are gone, and registries that nobody needs. A named object is never garbage by itself: what was
/// put into a queue is there for the next process.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession gc --all --dry-run\n  procession -N build gc --unused\n\nExit codes: 0 removed, also if there was nothing; 125 something could not be\nremoved"
)]
pub(crate) struct CollectArgs {
    /// Only say what would be removed.
    #[arg(long, env = "PROCESSION_DRY_RUN", hide_env = true, value_parser = FalseyValueParser::new())]
    dry_run: bool,
    /// Also remove named objects that no process is attached to, with all that is in them.
    #[arg(long)]
    unused: bool,
    /// In all your namespaces. Root is told on stderr which other users have some.
    #[arg(long, conflicts_with = "namespace", env = "PROCESSION_ALL", hide_env = true, value_parser = FalseyValueParser::new())]
    all: bool,
}

/// # Errors
/// When `/dev/shm` cannot be read.
pub(crate) fn run(args: &CollectArgs) -> Result<(), Failure> {
    let namespace = if args.all { None } else { Some(Namespace::current()?) };
    let options = gc::Options::default().dry_run(args.dry_run).unused(args.unused);
    let removed = gc::collect(namespace.as_ref(), options)?;
    let verb = if args.dry_run { "would remove" } else { "removed" };
    for Entry { namespace, name, .. } in &removed {
        output::line(format_args!("{verb} {}/{}", namespace.name(), output::printable(name)))?;
    }
    if args.all {
        others::mention("not looked at", "gc --all");
    }
    Ok(())
}
