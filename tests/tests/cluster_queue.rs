//! Queues of a cluster: the same on a PostgreSQL server and in shared memory, and what becomes of their items when a
//! process or the server is killed.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use nix::sys::signal::Signal;
use procession::cluster::{Cluster, ClusterError, ClusterOptions, JoinableQueue};
use procession::{Codec, Process};
use procession_tests::cluster::{Place, everywhere, server};
use procession_tests::postgres::Postgres;
use procession_tests::{Dice, note, send, until};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

procession::test_support!();

fn queue(place: &Place, name: &str) -> JoinableQueue<u64> {
    place.connect().joinable_queue(name)
}

fn connect(url: &str, schema: &str) -> Cluster {
    ClusterOptions::new().schema(schema).connect(url).unwrap()
}

#[test]
fn items_come_in_order_and_each_until_it_is_done() {
    everywhere(|place| {
        let jobs = queue(place, "jobs");
        assert!(matches!(jobs.try_get(), Err(ClusterError::WouldBlock { .. })));
        jobs.put(&1).unwrap();
        jobs.put_many(&[2, 3]).unwrap();
        assert_eq!((jobs.len().unwrap(), jobs.unfinished().unwrap()), (3, 3));
        let first = jobs.get().unwrap();
        assert_eq!((*first, first.attempt()), (1, 1));
        assert_eq!((jobs.len().unwrap(), jobs.unfinished().unwrap()), (2, 3));
        first.put_back().unwrap();
        let first = jobs.get().unwrap();
        assert_eq!((*first, first.attempt()), (1, 1));
        // A lease that is dropped gives its item back, and counts.
        drop(first);
        let first = jobs.get().unwrap();
        assert_eq!((*first, first.attempt()), (1, 2));
        first.task_done().unwrap();
        assert!(matches!(jobs.join_timeout(Duration::from_millis(30)), Err(ClusterError::NotDone { .. })));
        jobs.close().unwrap();
        assert!(jobs.is_closed().unwrap());
        assert!(matches!(jobs.put(&4), Err(ClusterError::Closed { .. })));
        let rest = jobs.get_many(10).unwrap();
        assert_eq!(rest.iter().map(|lease| **lease).collect::<Vec<_>>(), [2, 3]);
        assert!(matches!(jobs.get_timeout(Duration::from_millis(30)), Err(ClusterError::TimedOut { .. })));
        assert_eq!(jobs.tasks_done(rest).unwrap(), 2);
        jobs.join().unwrap();
        assert!(matches!(jobs.get(), Err(ClusterError::Closed { .. })));
        jobs.reopen().unwrap();
        jobs.put(&5).unwrap();
        jobs.get().unwrap().task_done().unwrap();
    });
}

#[test]
fn what_nobody_can_finish_is_a_dead_letter() {
    everywhere(|place| {
        let jobs = queue(place, "jobs").max_attempts(2);
        jobs.put_many(&[7, 8]).unwrap();
        drop(jobs.get().unwrap());
        drop(jobs.get().unwrap());
        jobs.get().unwrap().give_up().unwrap();
        jobs.join().unwrap();
        assert_eq!((jobs.n_dead().unwrap(), jobs.is_closed().unwrap()), (2, false));
        let letters = jobs.dead_letters().unwrap();
        assert_eq!(
            letters.iter().map(|letter| (letter.item, letter.attempts)).collect::<Vec<_>>(),
            [(7, 2), (8, 1)]
        );
        assert!(jobs.retry(&letters[0]).unwrap() && jobs.discard(&letters[1]).unwrap());
        assert!(!jobs.discard(&letters[1]).unwrap());
        let again = jobs.get().unwrap();
        assert_eq!((*again, again.attempt()), (7, 1));
        again.task_done().unwrap();
        assert!(jobs.dead_letters().unwrap().is_empty());
    });
}

#[test]
fn another_codec_or_number_of_attempts_is_refused() {
    everywhere(|place| {
        let jobs = queue(place, "jobs");
        jobs.put(&1).unwrap();
        for other in [queue(place, "jobs").codec(Codec::MsgPack), queue(place, "jobs").max_attempts(9)] {
            let refused = other.put(&2).unwrap_err();
            assert!(matches!(refused, ClusterError::Mismatch { .. }), "{refused}");
        }
        // Bytes that are no such item: others may be able to read it.
        let words: JoinableQueue<String> = place.connect().joinable_queue("jobs");
        assert!(matches!(words.get(), Err(ClusterError::Decode { .. })));
        assert_eq!(*jobs.get().unwrap(), 1);
    });
}

fn take_and_wait(url: String, schema: String) {
    let jobs: JoinableQueue<u64> = connect(&url, &schema).joinable_queue("jobs");
    let _lease = jobs.get().unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn the_item_of_a_killed_process_comes_again() {
    everywhere(|place| {
        let jobs = queue(place, "jobs");
        jobs.put(&100).unwrap();
        let victim = Process::spawn(take_and_wait, (place.url.clone(), place.schema.clone())).unwrap();
        until("it to have the item", || jobs.is_empty().unwrap());
        victim.kill().unwrap();
        let again = jobs.get().unwrap();
        assert_eq!((*again, again.attempt()), (100, 2));
        again.task_done().unwrap();
        jobs.join().unwrap();
        drop(victim.join());
    });
}

/// Writes a line that outlives this process, whole.
fn note_down(diary: &str, line: &str) {
    let mut diary = std::fs::OpenOptions::new().append(true).create(true).open(diary).unwrap();
    diary.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The lines of a diary that begin with that word, in words.
fn noted(diary: &Path, word: &str) -> Vec<Vec<u64>> {
    let text = std::fs::read_to_string(diary).unwrap_or_default();
    let of_word = text.lines().filter_map(|line| line.strip_prefix(word));
    of_word.map(|rest| rest.split_whitespace().map(|number| number.parse().unwrap()).collect()).collect()
}

/// How often each first number is there.
fn times(lines: &[Vec<u64>]) -> BTreeMap<u64, usize> {
    let mut times = BTreeMap::new();
    lines.iter().for_each(|line| *times.entry(line[0]).or_default() += 1);
    times
}

fn work(url: String, schema: String, diary: String) {
    let jobs = connect(&url, &schema).joinable_queue::<u64>("jobs").max_attempts(4095);
    while let Ok(job) = jobs.get() {
        let (item, attempt, pid) = (*job, job.attempt(), std::process::id());
        note_down(&diary, &format!("takes {item} {attempt} {pid}"));
        job.task_done().unwrap();
        note_down(&diary, &format!("did {item} {attempt} {pid}"));
    }
}

#[test]
fn each_item_is_acknowledged_once_however_often_workers_are_killed() {
    everywhere(|place| {
        const ITEMS: u64 = 200;
        let folder = tempfile::tempdir().unwrap();
        let diary = folder.path().join("diary");
        let jobs = queue(place, "jobs").max_attempts(4095);
        jobs.put_many(&(0..ITEMS).collect::<Vec<_>>()).unwrap();
        jobs.close().unwrap();
        let name = diary.to_str().unwrap().to_owned();
        let start = || Process::spawn(work, (place.url.clone(), place.schema.clone(), name.clone())).unwrap();
        let (mut workers, mut dice) =
            ([start(), start(), start()], Dice::new(procession_sys::random::nonzero_u64()));
        let mut killed = BTreeSet::new();
        for kills in 1..=8 {
            // Each time when some more are done.
            until("items to be done", || jobs.unfinished().unwrap() <= ITEMS - 15 * kills);
            let worker = &mut workers[usize::try_from(dice.below(3)).unwrap()];
            killed.insert(u64::from(worker.pid()));
            worker.kill().unwrap();
            *worker = start();
        }
        jobs.join().unwrap();
        assert!(jobs.dead_letters().unwrap().is_empty());
        for worker in workers {
            worker.join().unwrap();
        }
        let (taken, did) = (noted(&diary, "takes "), times(&noted(&diary, "did ")));
        for item in 0..ITEMS {
            let last = taken.iter().filter(|line| line[0] == item).max_by_key(|line| line[1]).unwrap();
            match did.get(&item) {
                Some(1) => {}
                // Killed between the acknowledgement and the line about it.
                None => assert!(killed.contains(&last[2]), "nobody says that {item} is done"),
                more => panic!("{item} was acknowledged {more:?} times"),
            }
        }
    });
}

/// How long those rest who cannot reach the server: it has more to do than to refuse them when it begins again.
const REST: Duration = Duration::from_millis(50);

/// Connects, and if the server is away just now, when it is there again.
fn connect_at_last(url: &str, schema: &str) -> Cluster {
    loop {
        // One that is stopped is to lose what it has.
        match ClusterOptions::new().schema(schema).lease(Duration::from_secs(1)).connect(url) {
            Err(ClusterError::Unavailable { .. }) => std::thread::sleep(REST),
            connected => return connected.unwrap(),
        }
    }
}

/// Does items in transactions of its own, whatever happens to the server.
fn work_in_transactions(url: String, schema: String, diary: String) {
    let jobs = connect_at_last(&url, &schema).joinable_queue::<u64>("jobs").max_attempts(4095);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut client: Option<tokio_postgres::Client> = None;
    loop {
        let job = match jobs.get_timeout(Duration::from_millis(200)) {
            Ok(job) => job,
            Err(ClusterError::Closed { .. }) => return,
            Err(ClusterError::TimedOut { .. }) => continue,
            Err(ClusterError::Unavailable { .. } | ClusterError::Lost { .. }) => {
                std::thread::sleep(REST);
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        if client.as_ref().is_none_or(tokio_postgres::Client::is_closed) {
            let connected = runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls));
            client = connected.ok().map(|(client, connection)| {
                drop(runtime.spawn(connection));
                client
            });
        }
        let Some(client) = &client else { continue };
        let (item, receipt) = (*job, job.receipt());
        // The work, in which it may be stopped for longer than its lease.
        std::thread::park_timeout(Duration::from_millis(10));
        // One transaction: what is done, and that it is done.
        let transaction = format!(
            "INSERT INTO {schema}.effects VALUES ({item}); SELECT {schema}.ack('{}', {}, {}, {})",
            receipt.queue, receipt.item, receipt.session, receipt.attempt
        );
        match runtime.block_on(client.batch_execute(&transaction)) {
            Ok(()) => note_down(&diary, &format!("did {item}")),
            Err(error) if error.code().is_some_and(|code| code.code() == "PRX02") => {
                note_down(&diary, &format!("lost {item}"));
            }
            Err(_) => note_down(&diary, &format!("unknown {item}")),
        }
    }
}

/// Puts items, each another number, and writes down those that the queue has.
fn put_for_ever(url: String, schema: String, diary: String) {
    let jobs = connect_at_last(&url, &schema).joinable_queue::<u64>("jobs").max_attempts(4095);
    loop {
        if jobs.len().is_ok_and(|there| there > 20) {
            // No faster than they are done: the test is about kills, and not about a long queue.
            std::thread::park_timeout(Duration::from_millis(10));
            continue;
        }
        let item = procession_sys::random::nonzero_u64() >> 1;
        match jobs.put(&item) {
            Ok(()) => note_down(&diary, &format!("put {item}")),
            Err(ClusterError::Closed { .. }) => return,
            // It may be there, or not.
            Err(ClusterError::Unavailable { .. } | ClusterError::Lost { .. }) => std::thread::sleep(REST),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Starts the child of this number: three do items, two put some.
fn child(place: &Place, diary: &str, nth: usize) -> Process<()> {
    let arguments = (place.url.clone(), place.schema.clone(), diary.to_owned());
    let started = if nth < 3 {
        Process::spawn(work_in_transactions, arguments)
    } else {
        Process::spawn(put_for_ever, arguments)
    };
    started.unwrap()
}

#[test]
fn each_item_is_done_once_whatever_is_killed() {
    let Some(mut postgres) = Postgres::start(true) else { return };
    let place = Place::on(&postgres);
    let folder = tempfile::tempdir().unwrap();
    let diary = folder.path().join("diary");
    let name = diary.to_str().unwrap().to_owned();
    drop(place.connect());
    drop(postgres.sql(&format!("CREATE TABLE {}.effects (item bigint NOT NULL)", place.schema)));
    let mut children: Vec<Process<()>> = (0..5).map(|nth| child(&place, &name, nth)).collect();
    let mut dice = Dice::new(procession_sys::random::nonzero_u64());
    let mut done = 0;
    for kills in 1..=15 {
        until("more is done", || noted(&diary, "did ").len() >= done + 20);
        done = noted(&diary, "did ").len();
        match kills % 5 {
            0 => postgres.crash(),
            1 | 3 => {
                let stopped = children[usize::try_from(dice.below(3)).unwrap()].pid();
                send(stopped, Signal::SIGSTOP);
                let sessions = format!(
                    "SET search_path TO {}; SELECT count(*) FROM living WHERE pid = {stopped}",
                    place.schema
                );
                until("its session has ended", || postgres.sql(&sessions) == "0");
                send(stopped, Signal::SIGCONT);
            }
            _ => {
                let nth = usize::try_from(dice.below(5)).unwrap();
                children[nth].kill().unwrap();
                drop(std::mem::replace(&mut children[nth], child(&place, &name, nth)).join());
            }
        }
    }
    let jobs = queue(&place, "jobs").max_attempts(4095);
    jobs.close().unwrap();
    jobs.join().unwrap();
    for child in children {
        child.join().unwrap();
    }
    assert_eq!((jobs.unfinished().unwrap(), jobs.n_dead().unwrap()), (0, 0));
    let effects = postgres.sql(&format!("SELECT item FROM {}.effects", place.schema));
    let effects: Vec<Vec<u64>> = effects.lines().map(|item| vec![item.parse().unwrap()]).collect();
    let (effects, did) = (times(&effects), times(&noted(&diary, "did ")));
    assert!(effects.values().chain(did.values()).all(|&times| times == 1), "something was done twice");
    assert!(did.keys().all(|item| effects.contains_key(item)), "what was acknowledged is not there");
    let put = noted(&diary, "put ");
    assert!(put.iter().all(|item| effects.contains_key(&item[0])), "what was put was not done");
    let lost = noted(&diary, "lost ");
    assert!(lost.iter().all(|item| effects.contains_key(&item[0])), "what one has lost another one has done");
    note(&format!(
        "{} put, {} done once each, {} times lost to another, {} times not known",
        put.len(),
        effects.len(),
        lost.len(),
        noted(&diary, "unknown ").len()
    ));
}

#[test]
fn what_was_put_outlives_a_crash_of_the_server_and_a_lease_does_not() {
    let Some(mut postgres) = Postgres::start(true) else { return };
    let place = Place::on(&postgres);
    let jobs = queue(&place, "jobs");
    for item in 0..20 {
        jobs.put(&item).unwrap();
    }
    let (done, lease) = (jobs.get().unwrap(), jobs.get().unwrap());
    done.task_done().unwrap();
    // An acknowledgement need not wait for the disk; this one has, because what is put after it does.
    jobs.put(&20).unwrap();
    postgres.crash();
    assert!(lease.is_lost());
    assert!(matches!(lease.task_done(), Err(ClusterError::Lost { .. })));
    let rest = jobs.get_many(100).unwrap();
    assert_eq!(rest.iter().map(|lease| **lease).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert_eq!((rest[0].attempt(), jobs.tasks_done(rest).unwrap()), (2, 20));
}

#[test]
fn an_item_is_done_if_the_callers_own_transaction_is() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let jobs = queue(&place, "jobs");
    jobs.put(&1).unwrap();
    let ack = |receipt: &procession::cluster::Receipt| {
        let (queue, item, session, attempt) =
            (&receipt.queue, receipt.item, receipt.session, receipt.attempt);
        format!("SELECT {}.ack('{queue}', {item}, {session}, {attempt})", place.schema)
    };
    let lease = jobs.get().unwrap();
    let receipt = lease.receipt();
    drop(postgres.sql(&format!("BEGIN; {}; ROLLBACK", ack(&receipt))));
    assert_eq!(jobs.unfinished().unwrap(), 1);
    drop(postgres.sql(&format!("BEGIN; {}; COMMIT", ack(&receipt))));
    // What is done is not given back.
    drop(lease);
    assert_eq!(jobs.unfinished().unwrap(), 0);
}
