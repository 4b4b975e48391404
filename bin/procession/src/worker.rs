//! `procession worker`: processes of one program that call functions for a pool of a cluster.
//!
//! They are those of `procession run`, with what says of which pool they are in their environment: `procession::init()`
//! makes a worker of a process that finds it.

use crate::args::Alone;
use crate::run::{self, RunArgs};
use procession::Namespace;
use procession_terminal::exit::Failure;
use serde_json::{Map, json};
use std::ffi::OsString;

/// Run a program N times, as workers of a pool: they call the functions that `Pool::map` and `Pool::submit` of the same
/// program give to the pool, on whatever host.
///
/// The program's `main` begins with `procession::init()`, and it is built with the feature `cluster`. A worker that ends
/// otherwise than by itself is started again; what it was about, another one does. All of them end when the pool is closed
/// and everything is done.
#[derive(Debug, clap::Args)]
#[command(after_help = WORKER_HELP)]
pub(crate) struct WorkerArgs {
    /// The cluster: postgres://USER@HOST/DATABASE, or shm: for this host alone.
    #[arg(long, value_name = "URL", env = "PROCESSION_CLUSTER", hide_env = true)]
    connect: String,
    /// The pool.
    #[arg(long, value_name = "NAME", default_value = "default", env = "PROCESSION_POOL", hide_env = true)]
    pool: String,
    /// The schema of the database, if it is not `procession`.
    #[arg(long, value_name = "NAME", env = "PROCESSION_SCHEMA", hide_env = true)]
    schema: Option<String>,
    /// After how many deaths of its workers an item has failed, if the program says another number than 3.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4095), env = "PROCESSION_MAX_ATTEMPTS", hide_env = true)]
    max_attempts: Option<u32>,
    /// How many workers.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000), env = "PROCESSION_NUMBER", hide_env = true)]
    number: u32,
    /// What stands before each line that a worker prints: see `procession run --help`.
    #[arg(long, value_name = "PREFIX", default_value = "none", env = "PROCESSION_PREFIX", hide_env = true)]
    prefix: String,
    /// A name, by which `procession ctl` steers the workers from another terminal.
    #[arg(long, value_name = "NAME", env = "PROCESSION_RUN_NAME", hide_env = true)]
    name: Option<String>,
    /// Create in the database what a cluster needs, and start nothing.
    #[arg(long, conflicts_with = "command")]
    init: bool,
    /// The program and its arguments.
    #[arg(required_unless_present = "init", trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const WORKER_HELP: &str = "\
Examples:
  procession worker --connect postgres://me@db/work -n 4 -- ./my_program
  procession worker --connect postgres://admin@db/work --init

Exit codes: 0 the pool was closed, and everything is done; 2 wrong usage; 69 the
cluster cannot be reached; 77 it is refused (--init); otherwise as `run`.";

/// # Errors
/// Those of [`run::run`]; of `--init`, why nothing could be created.
pub(crate) fn run(args: WorkerArgs, namespace: Option<&Namespace>) -> Result<(), Failure> {
    if args.init {
        return init(&args);
    }
    let number = args.number.to_string();
    // However often items kill their workers: that ends with the items.
    let mut words: Vec<OsString> = [
        "--number",
        &number,
        "--restart",
        "on-failure",
        "--max-restarts",
        "1000000",
        "--prefix",
        &args.prefix,
    ]
    .map(OsString::from)
    .into();
    if let Some(name) = &args.name {
        words.extend(["--name".into(), name.into()]);
    }
    words.push("--".into());
    let mut of =
        Map::from_iter([("url".to_owned(), json!(args.connect)), ("pool".to_owned(), json!(args.pool))]);
    of.extend(args.schema.map(|schema| ("schema".to_owned(), json!(schema))));
    of.extend(args.max_attempts.map(|attempts| ("max_attempts".to_owned(), json!(attempts))));
    words.extend(args.command);
    let Alone { args: mut run, .. } = Alone::<RunArgs>::read("procession run", words)?;
    run.variables = vec![("PROCESSION_WORKER", serde_json::to_string(&of)?)];
    run::run(&run, namespace)
}

#[cfg(feature = "cluster")]
fn init(args: &WorkerArgs) -> Result<(), Failure> {
    let mut options = procession::cluster::ClusterOptions::new();
    if let Some(schema) = &args.schema {
        options = options.schema(schema);
    }
    options.connect(&args.connect).map(drop).map_err(crate::cluster::failure)
}

#[cfg(not(feature = "cluster"))]
fn init(_: &WorkerArgs) -> Result<(), Failure> {
    Err(Failure::Usage(crate::WITHOUT_CLUSTER.to_owned()))
}
