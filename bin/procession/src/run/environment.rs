//! What a worker of `procession run` finds in its environment.

use super::RunArgs;
use super::ready::READY;
use super::workers::Workers;
use procession::{Attempt, Namespace};
use std::net::{Ipv4Addr, TcpListener};

/// Other launchers of workers with ranks, whose variables programs may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Launcher {
    /// `torchrun`: also MASTER_ADDR and MASTER_PORT (a free port, unless they are set), GROUP_RANK, ROLE_RANK, TORCHELASTIC_*.
    Torch,
    /// `mpirun` of Open MPI: OMPI_COMM_WORLD_RANK and its kin.
    Ompi,
    /// `srun` of Slurm: SLURM_PROCID and its kin.
    Slurm,
}

/// The variables of all workers, and how those of one follow from its rank.
pub(super) struct Environment<'a> {
    workers: &'a Workers<'a>,
    max_restarts: u32,
    launchers: Vec<Launcher>,
    common: Vec<(&'static str, Option<String>)>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(args: &RunArgs, workers: &'a Workers<'a>, namespace: Option<&Namespace>) -> Self {
        let run = std::process::id().to_string();
        // The report is this one's own, which a command within would write over; and so is the event by which it may
        // say itself that it is ready.
        let mut common =
            vec![("PROCESSION_RUN", Some(run.clone())), ("PROCESSION_REPORT", None), (READY, None)];
        common.extend(args.variables.iter().map(|(name, value)| (*name, Some(value.clone()))));
        if let Some(namespace) = namespace {
            common.push(("PROCESSION_NAMESPACE", Some(namespace.name().to_owned())));
        }
        if args.env.contains(&Launcher::Torch) {
            let unless_set = |name: &'static str, value: Option<String>| {
                value.filter(|_| std::env::var_os(name).is_none()).map(|value| (name, Some(value)))
            };
            common.extend(unless_set("MASTER_ADDR", Some(Ipv4Addr::LOCALHOST.to_string())));
            common.extend(unless_set("MASTER_PORT", free_port()));
            common.push(("TORCHELASTIC_RUN_ID", Some(run)));
        }
        let launchers = args.env.clone();
        Self { workers, max_restarts: args.max_restarts, launchers, common }
    }

    /// The variables of one worker.
    pub(super) fn of(&self, attempt: &Attempt) -> Vec<(&'static str, Option<String>)> {
        let (rank, size) = (attempt.rank().to_string(), self.workers.number().to_string());
        let restarts = (attempt.number() - 1).to_string();
        let mut variables = self.common.clone();
        variables.extend(self.workers.variables(attempt.rank()));
        let mut set = |name: &'static str, value: &str| variables.push((name, Some(value.to_owned())));
        for (name, value) in [
            ("RANK", &rank),
            ("LOCAL_RANK", &rank),
            ("WORLD_SIZE", &size),
            ("LOCAL_WORLD_SIZE", &size),
            ("PROCESSION_RANK", &rank),
            ("PROCESSION_LOCAL_RANK", &rank),
            ("PROCESSION_WORLD_SIZE", &size),
            ("PROCESSION_LOCAL_WORLD_SIZE", &size),
            ("PROCESSION_RESTARTS", &restarts),
        ] {
            set(name, value);
        }
        set("PROCESSION_ATTEMPT", &attempt.number().to_string());
        for launcher in &self.launchers {
            match launcher {
                Launcher::Torch => {
                    set("GROUP_RANK", "0");
                    set("ROLE_RANK", &rank);
                    set("ROLE_WORLD_SIZE", &size);
                    set("ROLE_NAME", "default");
                    set("TORCHELASTIC_RESTART_COUNT", &restarts);
                    set("TORCHELASTIC_MAX_RESTARTS", &self.max_restarts.to_string());
                }
                Launcher::Ompi => {
                    set("OMPI_COMM_WORLD_RANK", &rank);
                    set("OMPI_COMM_WORLD_SIZE", &size);
                    set("OMPI_COMM_WORLD_LOCAL_RANK", &rank);
                    set("OMPI_COMM_WORLD_LOCAL_SIZE", &size);
                    set("OMPI_COMM_WORLD_NODE_RANK", &rank);
                }
                Launcher::Slurm => {
                    set("SLURM_PROCID", &rank);
                    set("SLURM_LOCALID", &rank);
                    set("SLURM_NTASKS", &size);
                    set("SLURM_NPROCS", &size);
                    set("SLURM_NODEID", "0");
                    set("SLURM_NNODES", "1");
                }
            }
        }
        variables
    }
}

/// A port that nobody listens at now; `None` without a network.
fn free_port() -> Option<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    Some(listener.local_addr().ok()?.port().to_string())
}
