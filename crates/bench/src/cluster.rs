//! Clusters: a PostgreSQL server of the bench's own, on a socket, that keeps what it has answered.

use crate::case::Unit::{MessagesPerSecond, Micros};
use crate::case::{Case, Plan, Setup, Side, bounded, constant};
use crate::error::{BenchError, Context, Result};
use crate::etcd;
use crate::sample::Summary::{Median, P99};
use nix::unistd::{User, geteuid};
use procession::Process;
use procession::cluster::{Cluster, connect};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The rows of clusters.
pub(crate) static ALL: &[Case] = &[
    in_micros("cluster/lock-with-token", |_| lock_pairs(), "two bare round trips", |_| round_trips(), 0.5),
    in_micros("cluster/lock-beside-etcd", |_| lock_pairs(), "etcd", |_| etcd::lock_pairs(), 1.0),
    in_micros("cluster/counter-add", |_| counts(), "one committed row", |_| committed_rows(), 0.5),
    bounded(
        "cluster/hand-over-after-kill",
        P99,
        |plan| hand_overs(plan),
        "bound of 20 ms",
        |_| Ok(constant(20.0)),
    ),
    bounded("cluster/event-told", Median, |plan| events(plan), "bound of 5 ms", |_| Ok(constant(5.0))),
    Case {
        unit: MessagesPerSecond,
        ..bounded(
            "cluster/queue-batches-of-1000",
            Median,
            |_| queue_batches(),
            "bound of 20 000 /s",
            |_| Ok(constant(20_000.0)),
        )
    },
    bounded(
        "cluster/redelivery-after-kill",
        P99,
        |plan| redeliveries(plan),
        "bound of 150 ms",
        |_| Ok(constant(150.0)),
    ),
];

const fn in_micros(
    name: &'static str,
    ours: Setup,
    rival_name: &'static str,
    rival: Setup,
    at_least: f64,
) -> Case {
    Case { name, unit: Micros, summary: Median, ours, rival_name, rival, at_least }
}

/// A server that ends with the value.
struct Server {
    directory: TempDir,
    server: Child,
}

impl Server {
    fn start() -> Result<Self> {
        let missing = || BenchError::Unavailable("PostgreSQL is not installed: make postgres".to_owned());
        let programs = std::fs::read_dir("/usr/lib/postgresql").map_err(|_| missing())?;
        let mut programs: Vec<PathBuf> =
            programs.flatten().map(|version| version.path().join("bin")).collect();
        programs.sort();
        let programs = programs.pop().ok_or_else(missing)?;
        let directory = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").context("a directory")?;
        // It refuses to run as root.
        let user = if geteuid().is_root() { User::from_name("postgres").context("its user")? } else { None };
        let program = |name: &str| {
            let mut command = Command::new(programs.join(name));
            if let Some(user) = &user {
                command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            }
            command.current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        if let Some(user) = &user {
            chown(directory.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .context("its directory")?;
        }
        let data = directory.path().join("data");
        let made = program("initdb").args(["--auth=trust", "--username=postgres", "-D"]).arg(&data).status();
        if !made.context("initdb")?.success() {
            return Err(BenchError::Failed("initdb failed".to_owned()));
        }
        let mut server = program("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(directory.path()).args(["-c", "listen_addresses="]);
        let server = server.spawn().context("postgres")?;
        let server = Self { directory, server };
        let begun = Instant::now();
        while let Err(error) = connect(&server.address()) {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(BenchError::Failed(format!("the server does not answer: {error}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn address(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.directory.path().display())
    }

    fn cluster(&self) -> Result<Cluster> {
        connect(&self.address()).context("connecting")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.server.id().cast_signed());
        // Its immediate end.
        let _: nix::Result<()> = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        drop(self.server.wait());
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How long `work` takes, each of so many times.
pub(crate) fn each(
    times: usize,
    unit: fn(Duration) -> f64,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Vec<f64>> {
    let mut once = || {
        let begun = Instant::now();
        work()?;
        Ok(unit(begun.elapsed()))
    };
    (0..times).map(|_| once()).collect()
}

fn lock_pairs<'a>() -> Result<Side<'a>> {
    let server = Server::start()?;
    let lock = server.cluster()?.lock("bench");
    Ok(Box::new(move || {
        let _server = &server;
        each(200, micros, || {
            let guard = lock.acquire().context("acquiring")?;
            guard.release().context("releasing")
        })
    }))
}

/// A bare client of the server, with what it runs on.
fn client(server: &Server) -> Result<(Runtime, tokio_postgres::Client)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("a runtime")?;
    let address = server.address();
    let client = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await?;
        drop(tokio::spawn(connection));
        Ok::<_, tokio_postgres::Error>(client)
    });
    Ok((runtime, client.context("connecting")?))
}

fn round_trips<'a>() -> Result<Side<'a>> {
    let server = Server::start()?;
    let (runtime, client) = client(&server)?;
    let statement = runtime.block_on(client.prepare("SELECT 1")).context("preparing")?;
    Ok(Box::new(move || {
        let _server = &server;
        each(200, micros, || {
            for _ in 0..2 {
                runtime.block_on(client.query(&statement, &[])).context("asking")?;
            }
            Ok(())
        })
    }))
}

fn counts<'a>() -> Result<Side<'a>> {
    let server = Server::start()?;
    let counter = server.cluster()?.counter("bench");
    Ok(Box::new(move || {
        let _server = &server;
        each(50, micros, || counter.add(1).map(drop).context("adding"))
    }))
}

fn committed_rows<'a>() -> Result<Side<'a>> {
    let server = Server::start()?;
    let (runtime, client) = client(&server)?;
    let made = client.batch_execute("CREATE TABLE bench (n bigint); INSERT INTO bench VALUES (0)");
    runtime.block_on(made).context("a table")?;
    let statement = runtime.block_on(client.prepare("UPDATE bench SET n = n + 1")).context("preparing")?;
    Ok(Box::new(move || {
        let _server = &server;
        each(50, micros, || runtime.block_on(client.execute(&statement, &[])).map(drop).context("changing"))
    }))
}

/// Returns once somebody waits for an object.
fn until_somebody_waits(cluster: &Cluster) -> Result<()> {
    while cluster.list().context("a list")?.iter().all(|object| object.waiters == 0) {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn joined<T>(waiter: JoinHandle<T>) -> Result<T> {
    waiter.join().map_err(|_| BenchError::Failed("the waiter panicked".to_owned()))
}

/// Has something, and says so, until it is killed.
fn hold(address: String) {
    let cluster = connect(&address).unwrap_or_else(|error| panic!("{error}"));
    let _guard = cluster.lock("held").acquire();
    drop(cluster.event("held").set());
    loop {
        std::thread::park();
    }
}

/// From the kill of a process on a server to what another one has been waiting for, ms.
fn hand_overs<'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    let server = Server::start()?;
    let cluster = server.cluster()?;
    let kills = plan.kills / plan.rounds.max(1);
    Ok(Box::new(move || {
        let once = || {
            cluster.event("held").clear().context("an event")?;
            let victim = Process::spawn(hold, server.address()).context("a holder")?;
            cluster.event("held").wait().context("the holder")?;
            let lock = cluster.lock("held");
            let waiter = std::thread::spawn(move || {
                let guard = lock.acquire();
                let had = Instant::now();
                guard.and_then(procession::cluster::LockGuard::release).map(|()| had)
            });
            until_somebody_waits(&cluster)?;
            let killed = Instant::now();
            victim.kill().context("a kill")?;
            let had = joined(waiter)?;
            drop(victim.join());
            Ok(millis(had.context("the lock")?.saturating_duration_since(killed)))
        };
        (0..kills).map(|_| once()).collect()
    }))
}

/// From the setting of an event to the end of a wait in another thread, over two connections, ms.
fn events<'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    let server = Server::start()?;
    let (here, there) = (server.cluster()?, server.cluster()?);
    let times = plan.kills / plan.rounds.max(1);
    Ok(Box::new(move || {
        let _server = &server;
        let once = || {
            let (event, other) = (here.event("e"), there.event("e"));
            let waiter = std::thread::spawn(move || event.wait().map(|()| Instant::now()));
            until_somebody_waits(&there)?;
            std::thread::sleep(Duration::from_millis(120));
            let begun = Instant::now();
            other.set().context("setting")?;
            let told = joined(waiter)?;
            other.clear().context("clearing")?;
            Ok(millis(told.context("waiting")?.saturating_duration_since(begun)))
        };
        (0..times).map(|_| once()).collect()
    }))
}

/// Items that are put, got and acknowledged, a thousand at a time, a second.
fn queue_batches<'a>() -> Result<Side<'a>> {
    const ITEMS: u32 = 1000;
    let server = Server::start()?;
    let queue = server.cluster()?.joinable_queue::<u32>("bench");
    let items: Vec<u32> = (0..ITEMS).collect();
    Ok(Box::new(move || {
        let _server = &server;
        let (begun, rounds) = (Instant::now(), 10_u32);
        for _ in 0..rounds {
            queue.put_many(&items).context("putting")?;
            let leases = queue.get_many(ITEMS as usize).context("getting")?;
            queue.tasks_done(leases).context("acknowledging")?;
        }
        Ok(vec![f64::from(rounds * ITEMS) / begun.elapsed().as_secs_f64()])
    }))
}

/// Takes an item, says so, and keeps it until it is killed.
fn take(address: String) {
    let cluster = connect(&address).unwrap_or_else(|error| panic!("{error}"));
    let _lease = cluster.joinable_queue::<u64>("jobs").max_attempts(4095).get();
    drop(cluster.event("taken").set());
    loop {
        std::thread::park();
    }
}

/// From the kill of a process that has an item to the item in another one's hands, ms.
fn redeliveries<'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    let server = Server::start()?;
    let cluster = server.cluster()?;
    let jobs = cluster.joinable_queue::<u64>("jobs").max_attempts(4095);
    let kills = plan.kills / plan.rounds.max(1);
    Ok(Box::new(move || {
        let once = || {
            jobs.put(&1).context("putting")?;
            cluster.event("taken").clear().context("an event")?;
            let victim = Process::spawn(take, server.address()).context("a worker")?;
            cluster.event("taken").wait().context("the worker")?;
            let other = jobs.clone();
            let waiter =
                std::thread::spawn(move || other.get().map(|lease| (Instant::now(), lease.task_done())));
            until_somebody_waits(&cluster)?;
            let killed = Instant::now();
            victim.kill().context("a kill")?;
            let got = joined(waiter)?;
            let (had, done) = got.context("the item")?;
            done.context("acknowledging")?;
            drop(victim.join());
            Ok(millis(had.saturating_duration_since(killed)))
        };
        (0..kills).map(|_| once()).collect()
    }))
}
