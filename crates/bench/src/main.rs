//! Procession and its rivals side by side: separate processes, interleaved rounds, medians.
//!
//! ```text
//! cargo run --release -p procession-bench -- [--curves] [--quick] [case or chart prefix]
//! ```
//!
//! With `--curves` it draws how costs grow ([`curves`]): the same workloads with a parameter.
//!
//! A case ([`case::Case`]) has two sides, ours and the rival's, built from the same workload ([`alone`],
//! [`lock`], [`fairness`], [`meeting`], [`waiters`], [`queue`], [`pool`], [`start`], [`recovery`], [`commands`], [`cluster`]),
//! which says what is measured. What differs between the sides is in [`ours`] and [`rival`] only. Workloads that need
//! other processes start this executable again in a role ([`roles`]) and talk to it line by line ([`actor`]).

mod actor;
mod alone;
mod args;
mod case;
mod cases;
mod clock;
mod cluster;
mod commands;
mod curves;
mod error;
mod etcd;
mod fairness;
mod lock;
mod meeting;
mod ours;
mod page;
mod pool;
mod queue;
mod recovery;
mod report;
mod rival;
mod roles;
mod sample;
mod start;
mod waiters;

use args::Args;
use case::Plan;
use error::{BenchError, Result};
use std::process::ExitCode;

fn main() -> ExitCode {
    ours::init();
    rival::procspawn::init();
    let outcome = match args::parse(std::env::args().skip(1)) {
        Ok(Args::Role { name, parent, rest }) => {
            roles::play(&name, parent, &rest).map_err(|e| e.context(&name))
        }
        Ok(Args::Curves { quick, prefix }) => curves::run(quick, &prefix),
        Ok(Args::Bench { quick, prefix }) => bench(quick, &prefix),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failure(&error),
    }
}

fn bench(quick: bool, prefix: &str) -> Result<()> {
    let chosen: Vec<_> = cases::all().filter(|case| case.name.starts_with(prefix)).collect();
    if chosen.is_empty() {
        return Err(BenchError::Failed(format!("no case starts with {prefix:?}")));
    }
    let session = ours::Session::start()?;
    let plan = Plan::new(quick, &session);
    report::heading();
    let mut rows = Vec::new();
    for case in chosen {
        let row = case::run(case, &plan);
        report::row(&row);
        rows.push(row);
    }
    report::write_json(&rows)?;
    session.end()?;
    match rows.iter().filter(|row| row.failed()).count() {
        0 => Ok(()),
        count => Err(BenchError::Failed(format!("{count} of {} cases failed", rows.len()))),
    }
}
