//! `procession … --cluster URL`: the same objects between hosts.
//!
//! They have a grammar of their own, because less can be said of them, and everything can be out of reach.

mod channel;
mod held;
mod keeper;
mod look;
mod queue;
mod things;

use crate::args::{place_of_command, says_namespace};
use crate::holding::refusal;
use crate::keeper as keepers;
use crate::under::told;
use clap::Parser;
use procession::cluster::{Cluster, ClusterError, ClusterOptions};
use procession_terminal::exit::{
    DISAGREE, Failure, INCOMPLETE, LEASE_LOST, NOT_ACQUIRED, NOT_PERMITTED, UNAVAILABLE,
};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

/// Locks, semaphores, queues and events between hosts that share a PostgreSQL server.
///
/// The address: postgres://USER:PASSWORD@HOST/DATABASE, or shm: for this host alone; PROCESSION_CLUSTER says it, too.
#[derive(Debug, Parser)]
#[command(name = "procession --cluster URL", version, after_help = HELP)]
struct Asked {
    /// How long the server may take to answer: 500ms, 1.5, 10s, 2m.
    #[arg(long, global = true, value_name = "TIME", value_parser = crate::duration::duration, default_value = "10s", env = "PROCESSION_CLUSTER_DEADLINE", hide_env = true)]
    deadline: Duration,
    /// End what is held when the server has not heard of this process for so long.
    #[arg(long = "session-lease", id = "session_lease", global = true, value_name = "TIME", value_parser = crate::duration::duration, env = "PROCESSION_CLUSTER_LEASE", hide_env = true)]
    lease: Option<Duration>,
    /// The schema of the database.
    #[arg(long, global = true, value_name = "NAME", env = "PROCESSION_SCHEMA", hide_env = true)]
    schema: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Lock(held::LockArgs),
    Sem(held::SemArgs),
    With(held::WithArgs),
    Queue(queue::QueueArgs),
    Event(channel::EventArgs),
    Barrier(channel::BarrierArgs),
    Counter(channel::CounterArgs),
    Ls(look::LsArgs),
    Ps(look::PsArgs),
    Deadlocks(look::DeadlocksArgs),
    Metrics(look::MetricsArgs),
}

const HELP: &str = "\
Examples:
  procession --cluster postgres://me@db/work lock deploy -w 5m -- ./deploy.sh
  PROCESSION_CLUSTER=postgres://me@db/work procession queue work jobs -- ./job {}

Exit codes: as without --cluster, and 69 the server cannot be reached, 76 a hold
was lost while the command ran, which was ended, 77 the server refuses.";

/// Does what the words say, on that cluster.
///
/// # Errors
/// Those of the subcommands.
pub(crate) fn perform(mut words: Vec<OsString>, url: &OsStr) -> Result<(), Failure> {
    if says_namespace(&words) {
        return Err(Failure::Usage(
            "a cluster has no namespaces: leave -N out, or PROCESSION_CLUSTER unset for objects of this machine"
                .to_owned(),
        ));
    }
    spell_out(&mut words);
    let asked = Asked::try_parse_from(words).map_err(Failure::CommandLine)?;
    let Some(url) = url.to_str().filter(|url| !url.is_empty()) else {
        return Err(Failure::Usage(
            "--cluster needs an address, as postgres://USER@HOST/DATABASE".to_owned(),
        ));
    };
    let place = Place { url, deadline: asked.deadline, lease: asked.lease, schema: asked.schema };
    match asked.what {
        What::Lock(args) => held::lock(args, &place),
        What::Sem(args) => held::sem(args, &place),
        What::With(args) => held::with(args, &place),
        What::Queue(args) => queue::queue(args, &place),
        What::Event(args) => channel::event(&place.connect()?, &args),
        What::Barrier(args) => channel::barrier(&place.connect()?, &args),
        What::Counter(args) => place.told(args.json, |cluster| channel::counter(cluster, &args)),
        What::Ls(args) => place.told(args.json, |cluster| look::list(cluster, &args)),
        What::Ps(args) => place.told(args.json, |cluster| look::processes(cluster, &args)),
        What::Deadlocks(args) => place.told(args.json, |cluster| look::deadlocks(cluster, &args)),
        What::Metrics(_) => look::metrics(&place.connect()?),
    }
}

/// The cluster that was said: connected to where it is needed.
struct Place<'a> {
    url: &'a str,
    deadline: Duration,
    lease: Option<Duration>,
    schema: Option<String>,
}

impl Place<'_> {
    /// Does something on it; with `json`, an error is said in JSON.
    fn told(&self, json: bool, does: impl FnOnce(&Cluster) -> Result<(), Failure>) -> Result<(), Failure> {
        told(json, self.connect().and_then(|cluster| does(&cluster)))
    }

    fn connect(&self) -> Result<Cluster, Failure> {
        let mut options = ClusterOptions::new().deadline(self.deadline);
        if let Some(lease) = self.lease {
            options = options.lease(lease);
        }
        if let Some(schema) = &self.schema {
            options = options.schema(schema);
        }
        options.connect(self.url).map_err(failure)
    }

    /// A keeper that takes part in it for that owner; more arguments follow.
    ///
    /// # Errors
    /// As [`keepers::command_of`].
    fn keeper(&self, kind: &str, owner: u32, end: OwnedFd) -> Result<Command, Failure> {
        let mut keeper = keepers::command_of([kind], owner, end)?;
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        // A password is in the address, and all see a command line.
        keeper.env("PROCESSION_CLUSTER", self.url).env("PROCESSION_CLUSTER_DEADLINE", seconds(self.deadline));
        keeper.envs(self.lease.map(|lease| ("PROCESSION_CLUSTER_LEASE", seconds(lease))));
        keeper.envs(self.schema.as_ref().map(|schema| ("PROCESSION_SCHEMA", schema)));
        Ok(keeper)
    }
}

/// What may stand behind `lock` and `sem`; otherwise `run` is meant.
const VERBS: [&str; 6] = ["run", "acquire", "release", keepers::KEEPER, "-h", "--help"];

/// `lock NAME` is short for `lock run NAME`, and so with `sem`.
fn spell_out(words: &mut Vec<OsString>) {
    let place = place_of_command(words);
    let is_one_of = |place: usize, known: &[&str]| {
        words.get(place).is_some_and(|word| known.iter().any(|known| word == known))
    };
    if is_one_of(place, &["lock", "sem"]) && words.len() > place + 1 && !is_one_of(place + 1, &VERBS) {
        words.insert(place + 1, "run".into());
    }
}

/// What could not be had of a cluster, with its exit code.
pub(crate) fn failure(error: ClusterError) -> Failure {
    let (reason, code) = match &error {
        ClusterError::WouldBlock { .. } | ClusterError::TimedOut { .. } | ClusterError::NotDone { .. } => {
            ("not_acquired", NOT_ACQUIRED)
        }
        ClusterError::Unavailable { .. } => ("unavailable", UNAVAILABLE),
        ClusterError::Refused { .. } => ("refused", NOT_PERMITTED),
        ClusterError::Lost { .. } => ("lease_lost", LEASE_LOST),
        ClusterError::Closed { .. } => ("closed", INCOMPLETE),
        ClusterError::InvalidUrl { .. } | ClusterError::InvalidName { .. } => {
            return Failure::Usage(error.to_string());
        }
        _ => ("disagree", DISAGREE),
    };
    refusal(reason, code, error.to_string())
}

/// As [`failure`], with another code for what was not to be had in time.
fn failure_with(error: ClusterError, code: Option<u8>) -> Failure {
    match (code, failure(error)) {
        (Some(code), Failure::Refused(mut refused)) if refused.code == NOT_ACQUIRED => {
            refused.code = code;
            Failure::Refused(refused)
        }
        (_, failure) => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, spell_out};
    use clap::CommandFactory;
    use std::ffi::OsString;

    #[test]
    fn what_is_short_for_run_is_found() {
        for (line, all) in [
            ("p lock a -- true", "p lock run a -- true"),
            ("p --schema lock sem -n a -- true", "p --schema lock sem run -n a -- true"),
            ("p lock run lock -- true", "p lock run lock -- true"),
            ("p lock acquire a", "p lock acquire a"),
            ("p queue put lock a", "p queue put lock a"),
            ("p lock", "p lock"),
        ] {
            let mut words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            spell_out(&mut words);
            assert_eq!(words, all.split(' ').map(OsString::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_two_options_of_one_command_have_one_name() {
        Asked::command().debug_assert();
    }
}
