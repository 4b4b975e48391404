//! What there is in a cluster.

use super::failure;
use procession::cluster::{Cluster, ClusterDeadlock, ClusterObject, ClusterParticipant};
use procession_terminal::exit::Failure;
use procession_terminal::output::{self, Align};
use serde_json::json;
use std::collections::BTreeMap;

/// Show the objects: what they are in, who holds them, how many wait.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB ls\n  procession --cluster $DB ls --json | jq '.[] | select(.waiters > 0)'\n\nExit codes: 0 shown."
)]
pub(crate) struct LsArgs {
    /// Print one JSON array.
    #[arg(long)]
    pub(super) json: bool,
}

/// Show the processes that take part.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB ps\n  procession --cluster $DB ps --json | jq '.[].host'\n\nExit codes: 0 shown."
)]
pub(crate) struct PsArgs {
    /// Print one JSON array.
    #[arg(long)]
    pub(super) json: bool,
}

/// Show the circles of threads that wait for one another.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB deadlocks\n  procession --cluster $DB deadlocks --json\n\nExit codes: 0 there is none, 1 there is one."
)]
pub(crate) struct DeadlocksArgs {
    /// Print one JSON array.
    #[arg(long)]
    pub(super) json: bool,
}

/// Print the state of the cluster as metrics in the text format of Prometheus.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession --cluster $DB metrics\n  procession --cluster $DB metrics > /var/lib/node_exporter/cluster.prom\n\nExit codes: 0 shown."
)]
pub(crate) struct MetricsArgs {}

pub(super) fn list(cluster: &Cluster, args: &LsArgs) -> Result<(), Failure> {
    let objects = cluster.list().map_err(failure)?;
    if args.json {
        let record = |object: &ClusterObject| {
            json!({
                "v": 1, "kind": object.kind, "name": object.name, "state": object.state, "number": object.number,
                "holders": object.holders, "waiters": object.waiters,
            })
        };
        return output::json(&objects.iter().map(record).collect::<Vec<_>>());
    }
    let row = |object: &ClusterObject| {
        let first = object.holders.first().map(ToString::to_string).unwrap_or_default();
        let more = object.holders.len().saturating_sub(1);
        let holder = if more > 0 { format!("{first} +{more}") } else { first };
        vec![
            object.kind.clone(),
            object.name.clone(),
            object.state.clone(),
            object.waiters.to_string(),
            output::printable(&holder),
        ]
    };
    let heading = [
        ("KIND", Align::Left),
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("WAITERS", Align::Right),
        ("HOLDER", Align::Left),
    ];
    output::table(&heading, &objects.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn processes(cluster: &Cluster, args: &PsArgs) -> Result<(), Failure> {
    let processes = cluster.participants().map_err(failure)?;
    if args.json {
        let record = |process: &ClusterParticipant| {
            json!({
                "v": 1, "kind": "process", "host": process.host, "pid": process.pid, "command": process.command,
                "since": process.since,
            })
        };
        return output::json(&processes.iter().map(record).collect::<Vec<_>>());
    }
    let row = |process: &ClusterParticipant| {
        let (host, command) = (output::printable(&process.host), output::printable(&process.command));
        vec![host, process.pid.to_string(), command]
    };
    let heading = [("HOST", Align::Left), ("PID", Align::Right), ("COMMAND", Align::Left)];
    output::table(&heading, &processes.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn deadlocks(cluster: &Cluster, args: &DeadlocksArgs) -> Result<(), Failure> {
    let circles = cluster.deadlocks().map_err(failure)?;
    if args.json {
        let record = |circle: &ClusterDeadlock| json!({"v": 1, "kind": "deadlock", "waits": circle.waits});
        output::json(&circles.iter().map(record).collect::<Vec<_>>())?;
    } else {
        circles.iter().try_for_each(|circle| output::line(output::printable(&circle.to_string())))?;
    }
    match circles.len() {
        0 => Ok(()),
        count => Err(Failure::Wrong(format!(
            "{}; ending one process of each lets the others go on",
            output::number_of(count as u64, "deadlock")
        ))),
    }
}

pub(super) fn metrics(cluster: &Cluster) -> Result<(), Failure> {
    let objects = cluster.list().map_err(failure)?;
    let mut hosts: BTreeMap<String, usize> = BTreeMap::new();
    for process in cluster.participants().map_err(failure)? {
        *hosts.entry(process.host).or_default() += 1;
    }
    let mut text = String::new();
    let mut family = |name: &str, help: &str, values: Vec<(String, i64)>| {
        if !values.is_empty() {
            text += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        }
        for (labels, value) in values {
            text += &format!("{name}{{{labels}}} {value}\n");
        }
    };
    // Names of objects need no escapes; those of hosts are not ours.
    let host =
        |(host, count): (&String, &usize)| (format!("host={host:?}"), i64::try_from(*count).unwrap_or(0));
    family("procession_cluster_processes", "Processes that take part.", hosts.iter().map(host).collect());
    let labels = |object: &ClusterObject| format!("kind=\"{}\",name=\"{}\"", object.kind, object.name);
    let of = |value: fn(&ClusterObject) -> Option<i64>| -> Vec<(String, i64)> {
        objects.iter().filter_map(|object| Some((labels(object), value(object)?))).collect()
    };
    let holders = |object: &ClusterObject| {
        object.number.is_none().then(|| i64::try_from(object.holders.len()).unwrap_or(i64::MAX))
    };
    family("procession_cluster_holders", "Threads that hold the object.", of(holders));
    family(
        "procession_cluster_waiters",
        "Who waits for the object.",
        of(|object| Some(object.waiters.into())),
    );
    let help = "Items that are not done, arrivals, or the number that it is.";
    family("procession_cluster_number", help, of(|object| object.number));
    output::line(text.trim_end())
}
