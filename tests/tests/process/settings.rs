//! What a child is told to be: its streams, its environment, its directory, its limits, its user.

use crate::{end, for_ever, hear, say, status, until};
use procession::{Namespace, Process, ProcessError, Resource, SpawnError, Stdio, current_process};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

under_other_methods! {
    a_child_is_talked_to_through_pipes
    an_input_that_nobody_took_ends_when_the_child_is_joined
    streams_are_files_or_nothing
    streams_are_right_where_ours_are_closed
    an_environment_can_be_cleared_and_its_variables_removed
    a_child_begins_in_another_directory
    limits_cpus_and_niceness_are_the_childs_alone
    a_child_leads_a_process_group_or_joins_one
    a_child_is_another_user
    a_child_of_another_user_dies_with_its_parent;
    only by forkserver:
}

/// Somebody who is nobody here.
const STRANGER: u32 = 54_321;

#[test]
fn a_child_is_talked_to_through_pipes() {
    let echo = |()| {
        let mut input = String::new();
        std::io::stdin().read_to_string(&mut input).unwrap();
        print!("out {input}");
        std::io::stdout().flush().unwrap();
        eprint!("err {input}");
    };
    let options = Process::options().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = options.spawn(echo, ()).unwrap();
    let mut input = child.take_stdin().unwrap();
    input.write_all(b"hello").unwrap();
    drop(input);
    let (mut out, mut err) = (String::new(), String::new());
    child.take_stdout().unwrap().read_to_string(&mut out).unwrap();
    child.take_stderr().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("out hello", "err hello"));
    assert!(child.take_stdin().is_none() && child.take_stdout().is_none() && child.take_stderr().is_none());
    end(child).unwrap();
}

#[test]
fn an_input_that_nobody_took_ends_when_the_child_is_joined() {
    let read = |()| std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let child = Process::options().stdin(Stdio::piped()).spawn(read, ()).unwrap();
    assert_eq!(child.join().unwrap(), 0);
    let child = Process::options().stdin(Stdio::piped()).spawn(read, ()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn streams_are_files_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    fs::write(&input, "from a file").unwrap();
    let copy = |()| {
        let text = std::io::read_to_string(std::io::stdin()).unwrap();
        println!("{text}");
        eprintln!("nobody reads this");
    };
    let options = Process::options().stdin(File::open(&input).unwrap()).stderr(Stdio::null());
    end(options.stdout(File::create(&output).unwrap()).spawn(copy, ()).unwrap()).unwrap();
    assert_eq!(fs::read_to_string(&output).unwrap(), "from a file\n");
    let links = |()| ["0", "1", "2"].map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
    let null = Process::options().stdout(Stdio::null()).stderr(Stdio::null()).spawn(links, ()).unwrap();
    assert_eq!(end(null).unwrap(), ["/dev/null"; 3].map(PathBuf::from));
    let ours = Process::options().stdin(Stdio::inherit()).stderr(Stdio::inherit()).spawn(links, ()).unwrap();
    assert_eq!(end(ours).unwrap(), links(()));
}

/// All three of this process's own are closed, so that whatever it opens has their numbers.
#[test]
fn streams_are_right_where_ours_are_closed() {
    let in_a_process_of_its_own = |()| {
        for stream in 0..3 {
            // SAFETY: nobody here uses the streams any more.
            assert_eq!(unsafe { libc::close(stream) }, 0);
        }
        let say = |()| {
            println!("said");
            eprintln!("complained");
        };
        let options = Process::options().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = options.spawn(say, ()).unwrap();
        let out = std::io::read_to_string(child.take_stdout().unwrap()).unwrap();
        let err = std::io::read_to_string(child.take_stderr().unwrap()).unwrap();
        child.join().unwrap();
        (out, err)
    };
    let (out, err) = end(Process::spawn(in_a_process_of_its_own, ()).unwrap()).unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("said\n", "complained\n"));
}

fn environment(_: ()) -> Vec<(String, String)> {
    let mut all: Vec<_> = std::env::vars().collect();
    all.sort();
    all
}

#[test]
fn an_environment_can_be_cleared_and_its_variables_removed() {
    let has = |all: &[(String, String)], name: &str| all.iter().any(|(one, _)| one == name);
    let bare = Process::options().env("GONE", "1").env_clear().env("A", "1").env("A", "2");
    assert_eq!(end(bare.spawn(environment, ()).unwrap()).unwrap(), [("A".to_owned(), "2".to_owned())]);
    let without = Process::options().env_remove("PATH").env("B", "1").env_remove("B");
    let without = end(without.spawn(environment, ()).unwrap()).unwrap();
    assert!(!has(&without, "PATH") && !has(&without, "B") && without.len() > 1, "{without:?}");
    // What tells a child that it is one is not for others to say.
    let told = Process::options().env("PROCESSION_CHILD", "9,9");
    assert!(!has(&end(told.spawn(environment, ()).unwrap()).unwrap(), "PROCESSION_CHILD"));
    let again = Process::options().env_remove("C").env("C", "3");
    assert!(has(&end(again.spawn(environment, ()).unwrap()).unwrap(), "C"));
    let namespace = |()| Namespace::current().unwrap().name().to_owned();
    let bare = Process::options().env_clear().spawn(namespace, ()).unwrap();
    assert_eq!(end(bare).unwrap(), namespace(()));
}

#[test]
fn a_child_begins_in_another_directory() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().canonicalize().unwrap().join("inner");
    fs::create_dir(&inner).unwrap();
    let here = |()| std::env::current_dir().unwrap();
    let child = Process::options().current_dir(&inner).spawn(here, ()).unwrap();
    assert_eq!(end(child).unwrap(), inner);
    let child = Process::options().current_dir("..").spawn(here, ()).unwrap();
    assert_eq!(end(child).unwrap(), here(()).parent().unwrap());
    fs::write(inner.join("file"), "").unwrap();
    let nowhere = ["absent", "file"].map(|name| inner.join(name)).into_iter().chain([PathBuf::new()]);
    for none in nowhere {
        let options = Process::options().name("nowhere").current_dir(&none);
        let error = options.spawn(here, ()).unwrap_err();
        assert!(matches!(&error, SpawnError::Directory { directory, .. } if *directory == none), "{error}");
    }
    assert!(procession::active_children().iter().all(|child| child.name() != "nowhere"));
}

#[test]
fn limits_cpus_and_niceness_are_the_childs_alone() {
    let look = |()| {
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let files: Vec<u64> = files.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap();
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let niceness = stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap();
        (files, cpus.to_owned(), niceness.to_owned())
    };
    let before = look(());
    let options = Process::options().rlimit(Resource::OpenFiles, 77, 99).cpu_affinity([0]).nice(7);
    let child = options.spawn(look, ()).unwrap();
    assert_eq!(end(child).unwrap(), (vec![77, 99], "0".to_owned(), "7".to_owned()));
    assert_eq!(look(()), before);
    let error = end(Process::options().cpu_affinity([1023]).spawn(look, ()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("could not be set up: to run on the CPUs [1023]: "), "{error}");
    let error = end(Process::options().rlimit(Resource::CpuTime, 2, 1).spawn(look, ()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("the limit of CpuTime to 2: "), "{error}");
}

#[test]
fn a_child_leads_a_process_group_or_joins_one() {
    let group = |()| (std::process::id(), nix::unistd::getpgrp().as_raw().unsigned_abs());
    let leader = Process::options().process_group(0).spawn(for_ever::<()>, ()).unwrap();
    let child = Process::options().process_group(leader.pid()).spawn(group, ()).unwrap();
    assert_eq!(end(child).unwrap().1, leader.pid());
    leader.kill().unwrap();
    status(&leader);
    let (pid, found) = end(Process::options().process_group(0).spawn(group, ()).unwrap()).unwrap();
    assert_eq!(found, pid);
    let error = Process::options().process_group(u32::MAX).spawn(group, ()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("posix_spawn") || text.contains("setpgid"), "{text}");
}

/// The user, the groups.
fn user(_: ()) -> (u32, u32, String) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap().trim().to_owned();
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw(), groups)
}

#[test]
fn a_child_is_another_user() {
    if !nix::unistd::geteuid().is_root() {
        return procession_tests::skip("a child of another user takes root");
    }
    let child = Process::options().uid(STRANGER).gid(STRANGER + 1).nice(-1).spawn(user, ()).unwrap();
    assert_eq!(end(child).unwrap(), (STRANGER, STRANGER + 1, String::new()));
    fn refused(options: procession::ProcessOptions) -> String {
        match options.spawn(user, ()).unwrap().join() {
            Err(ProcessError::Refused { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }
    // To the kernel that number means that nothing is to change, and the child would be root.
    for options in [Process::options().uid(u32::MAX), Process::options().gid(u32::MAX)] {
        assert!(refused(options).contains("4294967295"));
    }
    // One who may not, and is told what it may not.
    let back = |()| {
        let same = Process::options().uid(STRANGER).spawn(user, ()).unwrap().join().unwrap().0;
        (same, [refused(Process::options().uid(0)), refused(Process::options().nice(-20))])
    };
    let child = Process::options().gid(STRANGER).uid(STRANGER).spawn(back, ()).unwrap();
    let (same, [uid, nice]) = end(child).unwrap();
    assert_eq!(same, STRANGER);
    assert!(uid.contains("the user (uid 0, gid as before)"), "{uid}");
    assert!(nice.contains("the niceness -20"), "{nice}");
}

#[test]
fn a_child_of_another_user_dies_with_its_parent() {
    if !nix::unistd::geteuid().is_root() {
        return procession_tests::skip("a child of another user takes root");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let parent = |file: PathBuf| {
        let child = Process::options().uid(STRANGER).spawn(for_ever::<()>, ()).unwrap();
        until("it is another user", || {
            let owner = fs::metadata(format!("/proc/{}/task", child.pid())).ok();
            owner.is_some_and(|one| std::os::unix::fs::MetadataExt::uid(&one) == STRANGER)
        });
        // Stopped, it cannot notice the end of its parent by itself.
        child.signal(libc::SIGSTOP).unwrap();
        say(&file, child.pid());
        for_ever(current_process().name());
    };
    let parent = Process::spawn(parent, file.clone()).unwrap();
    let child = PathBuf::from("/proc").join(hear(&file));
    parent.kill().unwrap();
    status(&parent);
    until("the child is gone", || !child.exists());
}
