//! Clocks that jump. Time is measured here by clocks that nobody sets, and nothing on the server is decided by the time of
//! day, but for leases of items that were given a time, and what is left behind by a process that is gone for a day.
//!
//! Nobody can set the clock of a machine on which others work. What is read of one is looked for in the source, and a jump
//! of the server's clock is what it has written down being that much older or newer.

use super::{ClusterError, Duration, Place, server, token, until};
use procession_tests::postgres::Postgres;
use std::path::Path;

/// What reads the time of day, in Rust and on the server.
const TIME_OF_DAY: [&str; 12] = [
    "systemtime",
    "unix_epoch",
    "clock_realtime",
    "chrono::",
    "now()",
    "clock_timestamp",
    "current_timestamp",
    "current_time",
    "localtime",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
];

/// What may: when a session began, which is for people; when a lease of an item ends that was given a time; since when a
/// process is gone that has left something behind.
const MAY: [&str; 4] =
    ["since timestamptz NOT NULL DEFAULT now()", "until", "lease.ends - clock_timestamp()", "gone"];

#[test]
fn nothing_is_decided_by_the_time_of_day_but_how_long_leases_last_and_who_is_gone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/cluster/src");
    let mut files = Vec::new();
    procession_tests::sources(&folder, &mut files);
    let steps = std::fs::read_dir(folder.join("postgres/schema")).unwrap();
    files.extend(steps.map(|step| step.unwrap().path()));
    let mut seen = [false; MAY.len()];
    for file in files {
        for line in std::fs::read_to_string(&file).unwrap().lines().map(str::trim) {
            // `Instant::now()` is monotonic.
            let read = line.to_lowercase().replace("instant::now()", "");
            let is_comment = line.starts_with("//") || line.starts_with("--");
            if !is_comment && TIME_OF_DAY.iter().any(|clock| read.contains(clock)) {
                let may = MAY.iter().position(|may| line.contains(may));
                seen[may.unwrap_or_else(|| panic!("{}: the time of day jumps: {line}", file.display()))] =
                    true;
            }
        }
    }
    assert_eq!(seen, [true; MAY.len()], "what may is there no more: {MAY:?}");
}

/// Has the server's clock jump: all that it has written down by it is older, or newer, by a century.
fn jump(postgres: &Postgres, place: &Place, by: &str) {
    let stamps = postgres.sql(&format!(
        "SELECT table_name, column_name FROM information_schema.columns
         WHERE table_schema = '{}' AND data_type LIKE 'timestamp%' AND table_name IN (
             SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE')",
        place.schema
    ));
    assert!(!stamps.is_empty());
    for (table, column) in stamps.lines().filter_map(|stamp| stamp.split_once('|')) {
        let schema = &place.schema;
        drop(
            postgres
                .sql(&format!("UPDATE {schema}.{table} SET {column} = {column} {by} interval '100 years'")),
        );
    }
}

#[test]
fn a_jump_of_the_servers_clock_ends_nothing_but_leases_with_a_time() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let (mut holder, mut waiter, mut worker) =
        (place.actor(), place.actor(), place.actor_with(&["lease 1500"]));
    let cluster = place.connect();
    let first = token(&holder.does("lock deploy"));
    holder.does("permit licences 1");
    worker.does("put 7");
    worker.does("get");
    worker.does("lock short");
    cluster.event("go").set().unwrap();
    waiter.tell("permit licences 1");
    until("it waits", || cluster.list().unwrap().iter().any(|object| object.waiters > 0));
    for by in ["-", "+", "+"] {
        jump(postgres, &place, by);
        assert_eq!(
            (holder.does("lost"), worker.does("lost"), worker.does("lost-item")),
            ("false".into(), "false".into(), "false".into())
        );
        let tried = cluster.lock("deploy").try_acquire().map(drop);
        assert!(matches!(tried, Err(ClusterError::WouldBlock { .. })), "{tried:?}");
        let jobs = cluster.joinable_queue::<u64>("jobs");
        assert!(matches!(jobs.try_get().map(drop), Err(ClusterError::WouldBlock { .. })));
        assert_eq!(jobs.unfinished().unwrap(), 1);
        assert!(cluster.event("go").is_set().unwrap());
        assert!(!waiter.has_answered());
        // Four processes, however old they seem.
        assert_eq!(cluster.participants().unwrap().len(), 4);
    }
    holder.does("release");
    waiter.did();
    holder.does("release");
    assert!(cluster.lock("deploy").acquire().unwrap().token() > first);
    worker.does("done");
    worker.does("release");
    // A lease that was given a time lasts by that clock: set back, it lasts longer; set forward, it is over, and its item
    // comes again and is done once.
    let jobs = cluster.joinable_queue::<u64>("timed");
    jobs.put(&5).unwrap();
    let lease = jobs.get().unwrap();
    lease.extend(Duration::from_secs(3600)).unwrap();
    jump(postgres, &place, "+");
    assert!(lease.time_left().unwrap() > Some(Duration::from_secs(3600)));
    assert!(matches!(jobs.try_get().map(drop), Err(ClusterError::WouldBlock { .. })));
    for _ in 0..2 {
        jump(postgres, &place, "-");
    }
    let again = jobs.get().unwrap();
    assert_eq!((*again, again.attempt()), (5, 2));
    assert!(matches!(lease.task_done(), Err(ClusterError::Lost { .. })));
    again.task_done().unwrap();
    assert_eq!(jobs.unfinished().unwrap(), 0);
}
