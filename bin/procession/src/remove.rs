//! `procession rm`: removes objects by name.

use procession::Namespace;
use procession_terminal::exit::Failure;

/// Remove objects by name, with all that is in them.
///
/// Processes that use a removed object go on with it; nobody else finds it any more.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession rm jobs results\n  procession -N build rm cache\n\nExit codes: 0 removed, 2 not a name, 66 no such object"
)]
pub(crate) struct RemoveArgs {
    /// The objects' names.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// # Errors
/// [`Failure::Objects`]: those that were not removed; the others were.
pub(crate) fn run(args: &RemoveArgs) -> Result<(), Failure> {
    let namespace = Namespace::current()?;
    let errors: Vec<_> = args.names.iter().filter_map(|name| namespace.unlink(name).err()).collect();
    if errors.is_empty() { Ok(()) } else { Err(Failure::Objects(errors)) }
}
