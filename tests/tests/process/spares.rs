//! Copies that a forkserver makes beforehand.

use crate::methods::{SERVER, by, servers};
use crate::{end, for_ever, hear, say, status, until};
use nix::sys::signal::Signal;
use procession::{Process, active_children};
use procession_tests::{children, in_own_process, is_stopped, runs, send, spares, started};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The two spares of the only server.
fn both_spares() -> Vec<u32> {
    until("there are spares", || spares(std::process::id()).len() == 2);
    spares(std::process::id())
}

#[test]
fn a_process_is_a_copy_that_was_made_beforehand_where_there_is_one() {
    in_own_process(120, || {
        let ask = || end(by(SERVER).spawn(std::process::id, ()).unwrap()).unwrap();
        ask();
        for _ in 0..3 {
            let before = both_spares();
            // What came before it was a process was not meant for it.
            for sent in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGTSTP] {
                before.iter().for_each(|&spare| send(spare, sent));
            }
            assert!(before.contains(&ask()));
        }
        // And what comes afterwards is.
        both_spares();
        for sent in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
            let running = by(SERVER).spawn(for_ever::<()>, ()).unwrap();
            running.signal(sent as i32).unwrap();
            assert_eq!(status(&running).signal(), Some(sent as i32));
        }
        assert!(active_children().is_empty() && started(std::process::id()).is_empty());
    });
}

#[test]
fn a_spare_that_is_killed_or_stopped_costs_no_process_anything() {
    in_own_process(120, || {
        let ask = || end(by(SERVER).spawn(std::process::id, ()).unwrap()).unwrap();
        ask();
        for sent in [Signal::SIGKILL, Signal::SIGSTOP] {
            let before = both_spares();
            send(before[0], sent);
            until("it feels that", || !runs(before[0]) || is_stopped(before[0]));
            ask();
            ask();
            until("nothing is left of it", || !PathBuf::from(format!("/proc/{}", before[0])).exists());
        }
        let (server, last) = (servers()[0], both_spares());
        send(server, Signal::SIGKILL);
        until("they end with their server", || !last.iter().any(|&spare| runs(spare)));
        ask();
        until("nothing is left of them", || started(std::process::id()).is_empty());
    });
}

#[test]
fn what_a_killed_server_leaves_is_gone_when_somebody_asks_for_children() {
    in_own_process(120, || {
        end(by(SERVER).spawn(|| (), ()).unwrap()).unwrap();
        let (server, last) = (servers()[0], both_spares());
        send(server, Signal::SIGKILL);
        until("they end with their server", || !last.iter().chain([&server]).any(|&pid| runs(pid)));
        assert!(active_children().is_empty());
        assert_eq!(children(std::process::id()), Vec::<u32>::new());
        end(by(SERVER).spawn(|| (), ()).unwrap()).unwrap();
    });
}

/// What a process finds around it: its files, signals, rights, and what it was given by others.
fn surroundings(pid: u32) -> Vec<String> {
    const LINES: [&str; 9] =
        ["Name", "Umask", "Groups", "Threads", "SigPnd", "ShdPnd", "Sig", "NoNewPrivs", "Cpus"];
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let status = read("status");
    let is_asked = |line: &&str| LINES.iter().any(|name| line.starts_with(name)) && !line.starts_with("SigQ");
    let mut found: Vec<String> = status.lines().filter(is_asked).map(str::to_owned).collect();
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut links: Vec<String> = links
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .map(|target| target.split(":[").next().unwrap().to_owned())
        .collect();
    links.sort();
    found.extend(links);
    found.push(read("oom_score_adj"));
    found.push(read("timerslack_ns"));
    found.push(read("limits"));
    // Group, session, terminal, niceness; what comes before may have spaces.
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    found.extend([2, 3, 4, 15, 16].map(|index| fields[index].to_owned()));
    found
}

#[test]
fn a_process_that_was_a_spare_is_as_one_that_was_none() {
    in_own_process(120, || {
        let folder = tempfile::tempdir().unwrap();
        let look = |name: &str| {
            let file = folder.path().join(name);
            let work = |file: PathBuf| {
                let mut signal = 0;
                // SAFETY: the call fills the number.
                unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
                say(&file, signal.to_string());
                for_ever(());
            };
            let child = by(SERVER).name("same").spawn(work, file.clone()).unwrap();
            let signal = hear(&file);
            let mut found = surroundings(child.pid());
            found.push(signal);
            let pid = child.pid();
            child.kill().unwrap();
            status(&child);
            (pid, found)
        };
        let (_, first) = look("first");
        for name in ["second", "third"] {
            let before = both_spares();
            let (pid, found) = look(name);
            assert!(before.contains(&pid));
            assert_eq!(found, first);
        }
    });
}

#[test]
fn a_spare_that_is_stopped_ends_with_the_parent() {
    let folder = tempfile::tempdir().unwrap();
    let parent = |file: PathBuf| {
        end(by(SERVER).spawn(|| (), ()).unwrap()).unwrap();
        let spares = both_spares();
        say(&file, format!("{} {}", spares[0], spares[1]));
        for_ever(());
    };
    let file = folder.path().join("spares");
    let process = Process::spawn(parent, file.clone()).unwrap();
    let pids: Vec<u32> = hear(&file).split(' ').map(|pid| pid.parse().unwrap()).collect();
    pids.iter().for_each(|&pid| send(pid, Signal::SIGSTOP));
    until("they are stopped", || pids.iter().all(|&pid| is_stopped(pid)));
    process.kill().unwrap();
    assert_eq!(status(&process).signal(), Some(libc::SIGKILL));
    until("they are gone", || !pids.iter().any(|&pid| runs(pid)));
}

#[test]
fn a_detached_process_that_was_a_spare_outlives_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let parent = |file: PathBuf| {
        end(by(SERVER).spawn(|| (), ()).unwrap()).unwrap();
        let spares = both_spares();
        let child = by(SERVER).detached().spawn(for_ever::<()>, ()).unwrap();
        assert!(spares.contains(&child.pid()));
        say(&file, child.pid().to_string());
        for_ever(child);
    };
    let file = folder.path().join("child");
    let process = Process::spawn(parent, file.clone()).unwrap();
    let child: u32 = hear(&file).parse().unwrap();
    process.kill().unwrap();
    status(&process);
    std::thread::sleep(Duration::from_millis(300));
    assert!(runs(child));
    send(child, Signal::SIGKILL);
}
