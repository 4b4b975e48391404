//! `procession map`: what it does with inputs, outputs, failures and times, beside `xargs -P` and GNU parallel.
//! Kills, signals and the job log are in `cli_map_kills.rs`.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, Said, procession, until};
use procession_tests::skip;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// Runs a script of `bash` in an empty directory; `$P` is the command.
fn shell_in(directory: &Path, script: &str) -> Said {
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).env("P", env!("CARGO_BIN_EXE_procession-tested"));
    command.env_remove("PROCESSION_NAMESPACE").current_dir(directory).stdin(Stdio::null());
    Running::start(&mut command).end()
}

fn shell(script: &str) -> Said {
    shell_in(tempfile::tempdir().unwrap().path(), script)
}

/// What a command prints when it is fed.
fn fed(command: &mut Command, input: &[u8]) -> (Option<i32>, Vec<u8>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let mut printed = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut printed).unwrap();
    feeder.join().unwrap();
    (until("the command to end", || child.try_wait().unwrap()).code(), printed)
}

fn sorted(printed: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = printed.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

/// Prints its arguments so that each can be told from the next, at once: what jobs of xargs write in parts is mixed.
const SHOW: &str = r#"all=$(printf '<%s>' "$@"); printf '%s\n' "$all""#;

/// Inputs that are hard to pass on.
fn odd_inputs() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 16] = [
        b"plain",
        b"two words",
        b"  spaces  ",
        b"",
        b"\"double\"",
        b"it's",
        b"back\\slash\\",
        b"$(touch injected)`touch injected`",
        b"; touch injected #",
        b"\xff\xfe not utf-8 \x80",
        "ü 😀".as_bytes(),
        b"-n",
        b"--",
        b"*",
        b"tab\there\r",
        b"{}",
    ];
    texts.map(<[u8]>::to_vec).to_vec()
}

#[test]
fn the_same_as_xargs() {
    let with = |separator: u8| {
        odd_inputs().into_iter().flat_map(|item| [item, vec![separator]].concat()).collect::<Vec<u8>>()
    };
    let mut unended = with(b'\n');
    unended.pop();
    let cases: [(&[&str], Vec<u8>); 7] = [
        (&["-d", "\\n", "-n", "1"], with(b'\n')),
        (&["-0", "-n", "1"], with(0)),
        (&["-d", "\\n", "-n", "3"], with(b'\n')),
        (&["-d", "\\n", "-n", "1"], unended),
        (&["-d", ",", "-n", "2"], b"a,b\n,,c".to_vec()),
        (&["-0", "-n", "1"], b"line\nline\0\0".to_vec()),
        (&["-d", "\\n", "-n", "1"], b"\n\n".to_vec()),
    ];
    for (options, input) in cases {
        let command = ["sh", "-c", SHOW, "sh"];
        let theirs = fed(Command::new("xargs").args(options).args(["-P", "4"]).args(command), &input);
        let ours = fed(procession(["map", "-j", "4"]).args(options).arg("--").args(command), &input);
        assert_eq!(ours.0, theirs.0, "{options:?}");
        assert_eq!(sorted(&ours.1), sorted(&theirs.1), "{options:?}");
        let in_order = fed(Command::new("xargs").args(options).args(["-P", "1"]).args(command), &input);
        let ours = fed(procession(["map", "-k", "-j", "4"]).args(options).arg("--").args(command), &input);
        assert_eq!(ours, in_order, "{options:?}");
    }
    // Where the input stands in the middle.
    let command = ["sh", "-c", SHOW, "sh", "a{}b", "{}", "c"];
    let input = b"1\n2 2\n'3'\n";
    let theirs = fed(Command::new("xargs").args(["-d", "\\n", "-I", "{}"]).args(command), input);
    let ours = fed(procession(["map", "-k", "-I", "{}", "--"]).args(command), input);
    assert_eq!(ours, theirs);
}

#[test]
fn exit_codes_are_those_of_xargs_where_jobs_fail() {
    for script in ["true", "exit 1", "[ $1 = 2 ] || exit 125"] {
        let command = ["sh", "-c", script, "sh"];
        let theirs = fed(Command::new("xargs").args(["-n", "1", "-P", "2"]).args(command), b"1\n2\n3\n");
        let ours = fed(procession(["map", "--"]).args(command), b"1\n2\n3\n");
        assert_eq!(ours, theirs, "{script}");
    }
}

#[test]
fn the_same_as_gnu_parallel() {
    let found = Command::new("parallel").arg("--version").output();
    if !found.is_ok_and(|output| output.stdout.starts_with(b"GNU parallel")) {
        skip("GNU parallel is not installed");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let parallel = |options: &[&str]| {
        let mut command = Command::new("parallel");
        command.args(options).env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").stderr(Stdio::null());
        command
    };
    // GNU parallel passes empty words on as none, and quotes what is not text in ways of its own.
    let inputs: Vec<u8> = odd_inputs()
        .into_iter()
        .filter(|item| std::str::from_utf8(item).is_ok() && !item.is_empty() && item != b"{}")
        .flat_map(|item| [item, vec![b'\n']].concat())
        .collect();
    let cases: [(&[&str], &[&str], &[u8]); 8] = [
        (&["-k"], &["printf", "'<%s>\\n'"], &inputs),
        (&["-k"], &["echo", "{.}", "{/}", "{//}", "{/.}", "{#}"], b"a/b.c\n/x/y.z.w\nplain\n.dot\n/x/y/\n"),
        (&["-k", "--tag"], &["echo"], b"one\ntwo words\n"),
        (&["-k", "--tagstring", "{#}-{.}"], &["echo"], b"a.b\nc\n"),
        (&["-k", "-n", "2"], &["echo", "{2}", "{1}"], b"1\n2\n3\n4\n"),
        (&["-k", "-0"], &["echo"], b"a\0b\0"),
        (&["--dry-run", "-k"], &["echo", "{}"], b"a\nb\n"),
        (&["-k", "-d", ","], &["echo"], b"a,b,c"),
    ];
    for (options, command, input) in cases {
        let theirs = fed(parallel(options).args(command), input);
        let script = command.join(" ");
        let shell: &[&str] = if options.contains(&"--dry-run") { &[] } else { &["--shell"] };
        let words = if shell.is_empty() { command.to_vec() } else { vec![script.as_str()] };
        let ours = fed(procession(["map"]).args(options).args(shell).arg("--").args(words), input);
        let text =
            |(code, printed): &(Option<i32>, Vec<u8>)| (*code, String::from_utf8_lossy(printed).into_owned());
        assert_eq!(text(&ours), text(&theirs), "{options:?} {command:?}");
    }
    for (options, lists) in [
        (&["-k"][..], "{1}-{2} ::: a b ::: c d"),
        (&["-k"], "{1}-{2}-{3} ::: a b c :::+ 1 2 ::: x y"),
        (&["-k", "--link"], "{} ::: a b c ::: 1 2"),
    ] {
        let lists: Vec<&str> = ["echo"].into_iter().chain(lists.split(' ')).collect();
        let theirs = fed(parallel(options).args(&lists), b"");
        let ours = fed(procession(["map"]).args(options).arg("--").args(&lists), b"");
        assert_eq!(ours, theirs, "{options:?} {lists:?}");
    }
    // Results, but for files that only one of them has.
    let tree = |directory: &Path| {
        let found = Command::new("find").args([".", "-type", "f"]).current_dir(directory).output().unwrap();
        sorted(&found.stdout)
    };
    let [theirs, ours] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let inputs = [":::", "a/b", r"x\y", "two words", ":::", "1", "2"];
    fed(parallel(&["--results"]).arg(theirs.path()).arg("echo").args(inputs), b"");
    fed(procession(["map", "--results"]).arg(ours.path()).args(["--", "echo"]).args(inputs), b"");
    assert_eq!(tree(ours.path()), tree(theirs.path()));
}

#[test]
fn no_input_is_ever_code() {
    let directory = tempfile::tempdir().unwrap();
    let commands = ["printf '<%s>' {}; echo", "printf '<%s>' \"{}\"; echo", "printf '<%s>' '{}'; echo"];
    for command in commands {
        let input = odd_inputs().join(&b'\n');
        let mut map = procession(["map", "-k", "--shell", "--", command]);
        let (code, printed) = fed(map.current_dir(directory.path()), &input);
        assert_eq!(code, Some(0));
        let expected: Vec<u8> =
            odd_inputs().into_iter().flat_map(|item| [b"<", &item[..], b">\n"].concat()).collect();
        assert_eq!(String::from_utf8_lossy(&printed), String::from_utf8_lossy(&expected), "{command}");
    }
    assert!(!directory.path().join("injected").exists());
}

#[test]
fn every_exit_code() {
    let table = [
        ("seq 3 | $P map -- true", 0),
        ("$P map -- false < /dev/null", 0),
        ("$P map -- true ::: ", 0),
        ("$P map -- false <&-", 0),
        ("$P map -j2 --halt now,success=1 -- sh -c 'exit $1' sh ::: 1 0", 0),
        ("$P map --retries 3 -- sh -c '[ $PROCESSION_ATTEMPT = 3 ]' ::: a", 0),
        ("$P map", 2),
        ("$P map echo", 2),
        ("$P map -x -- echo", 2),
        ("$P map --halt maybe -- echo", 2),
        ("$P map -n 0 -- echo", 2),
        ("$P map -k --ungroup -- echo", 2),
        ("$P map --resume -- echo", 2),
        ("$P map -- ::: a", 2),
        ("$P map -a f -- echo ::: a", 2),
        ("$P map -- echo {2} ::: a", 2),
        ("$P map --link -- echo", 2),
        ("$P map -- false ::: a b", 123),
        ("$P map -- sh -c 'kill -9 $$' ::: a", 123),
        ("$P map -t 20ms -- sleep 1000 ::: a", 123),
        ("$P map --exit first -t 20ms -- sleep ::: 1000", 124),
        ("$P map --exit first -j1 -- sh -c 'exit $1' sh ::: 0 3 7", 3),
        ("$P map --exit max -- sh -c 'exit $1' sh ::: 3 7 5", 7),
        ("$P map --exit max -- sh -c 'kill -9 $$' ::: a", 137),
        ("$P map --exit count -- sh -c 'exit $1' sh ::: 0 3 7", 2),
        ("seq 150 | $P map --exit count -- false", 101),
        ("$P map --exit first -- {} ::: procession-no-such-command", 127),
        ("$P map --exit first -- {} ::: /etc", 126),
        ("$P map -- procession-no-such-command ::: a", 127),
        ("$P map -- /etc ::: a", 126),
        ("$P map -a missing -- echo", 125),
        ("$P map --joblog missing/log -- echo ::: a", 125),
        ("$P map --results /proc/none -- echo ::: a", 125),
        ("$P map -- echo ::: a > /dev/full", 125),
        ("$P map -- echo ::: a >&-", 125),
        ("$P map --sem nothing -- true ::: a", 66),
        ("$P sem two -c 2 -- true; $P map --sem two=3 -- true ::: a", 65),
    ];
    let place = Place::new("map-codes");
    for (script, code) in table {
        let directory = tempfile::tempdir().unwrap();
        let said = Running::start(place.script(script).current_dir(directory.path())).end();
        assert_eq!(said.code(), Some(code), "{script}: {said:?}");
        // What succeeds says nothing, and what fails does.
        assert_eq!(said.stderr.is_empty(), code == 0, "{script}: {said:?}");
    }
}

#[test]
fn outputs_are_never_mixed() {
    // Each writes its lines in pieces.
    let script = "for n in 1 2 3 4 5; do printf $1; sleep 0.00$1; printf $1; echo $1; done";
    let lines = |said: &Said| said.stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    let said = shell(&format!("seq 8 | $P map -j8 -- sh -c '{script}' sh"));
    let groups = lines(&said);
    assert_eq!(groups.len(), 40);
    for group in groups.chunks(5) {
        assert!(group.iter().all(|line| *line == group[0] && line.len() == 3), "{said:?}");
    }
    let said = shell(&format!("seq 8 | $P map -j8 --line-buffer --tag -- sh -c '{script}' sh"));
    let all = lines(&said);
    assert_eq!(all.len(), 40);
    for line in all {
        let (tag, text) = line.split_once('\t').unwrap();
        assert_eq!(text, tag.repeat(3));
    }
    let said = shell("$P map -k -j4 -- sh -c 'sleep 0.0$1; echo $1; echo e$1 >&2' sh ::: 5 4 3 2 1");
    assert_eq!(lines(&said), ["5", "4", "3", "2", "1"]);
    assert_eq!(said.stderr, "e5\ne4\ne3\ne2\ne1\n");
}

#[test]
fn lines_come_while_the_job_runs_and_groups_when_it_has_ended() {
    let mut running = Running::start(&mut procession([
        "map",
        "--line-buffer",
        "--",
        "sh",
        "-c",
        "echo first; until [ -e \"$1\" ]; do sleep 0.01; done; printf last",
        "sh",
        ":::",
        tempfile::tempdir().unwrap().path().join("go").to_str().unwrap(),
    ]));
    running.line("first");
    assert!(running.is_running());
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.end().code(), None);
}

#[test]
fn large_outputs_come_whole_and_in_order() {
    // More than is kept in memory, all of it before the first has ended.
    let directory = tempfile::tempdir().unwrap();
    let script = "
        $P map -k -j4 -- sh -c '
            [ $1 = 0 ] && until [ $(ls | grep -c done) = 3 ]; do sleep 0.01; done
            head -c 15000000 /dev/zero | tr \"\\0\" $1
            : > done$1' sh ::: 0 1 2 3 | cat > all
        for n in 0 1 2 3; do
            [ $(tail -c +$((n * 15000000 + 1)) all | head -c 15000000 | tr -d $n | wc -c) = 0 ] || echo wrong $n
        done
        wc -c < all";
    let said = shell_in(directory.path(), script);
    assert_eq!((said.stdout.trim(), said.stderr.as_str()), ("60000000", ""));
}

#[test]
fn stdin_is_not_eaten_by_jobs_unless_it_is_theirs() {
    assert_eq!(shell("seq 3 | $P map -k -- sh -c 'cat; echo $1' sh").stdout, "1\n2\n3\n");
    assert_eq!(shell("seq 3 | $P map -- cat - ::: /dev/null").stdout, "1\n2\n3\n");
    assert_eq!(
        shell("seq 3 > f; echo a | $P map -k -j1 -a f -- sh -c 'cat; echo $1' sh").stdout,
        "a\n1\n2\n3\n"
    );
    assert_eq!(shell("seq 3 | $P map -k -- echo {1}{2} ::: a b :::: -").stdout, "a1\na2\na3\nb1\nb2\nb3\n");
}

#[test]
fn inputs_are_taken_as_they_come() {
    let (mut running, mut stdin) =
        Running::start_with_stdin(&mut procession(["map", "-j2", "--line-buffer", "--", "echo", "got"]));
    for number in 0..3 {
        writeln!(stdin, "{number}").unwrap();
        running.line(&format!("got {number}"));
    }
    drop(stdin);
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn jobs_know_their_slot_number_and_attempt() {
    let said = shell(
        "$P map -j2 -k --retries 1 -- sh -c 'echo $PROCESSION_SEQ $PROCESSION_ATTEMPT $1 {%} $PROCESSION_SLOT; exit 1' sh {} ::: a b",
    );
    let words: Vec<Vec<&str>> = said.stdout.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!((words[0][..3].join(" "), words[1][..3].join(" ")), ("1 2 a".to_owned(), "2 2 b".to_owned()));
    for line in words {
        assert_eq!(line[3], line[4]);
        assert!(["1", "2"].contains(&line[3]));
    }
    let said = shell("seq 50 | $P map -j3 -- sh -c 'echo $PROCESSION_SLOT' | sort -u");
    assert!(said.stdout.lines().all(|slot| ["1", "2", "3"].contains(&slot)), "{said:?}");
    // No two at a time have one slot.
    let said = shell(
        "seq 100 | $P map -j4 -- sh -c 'mkdir $PROCESSION_SLOT && sleep 0.001 && rmdir $PROCESSION_SLOT'",
    );
    assert_eq!(said.code(), Some(0), "{said:?}");
    assert_eq!(
        shell("PROCESSION_MAP_JOBS=1 $P -N ns map -- sh -c 'echo $PROCESSION_NAMESPACE' ::: a").stdout,
        "ns\n"
    );
}

#[test]
fn retries_wait_longer_each_time_and_only_for_their_codes() {
    let script = "date +%s%N >> times; [ $PROCESSION_ATTEMPT = 4 ]";
    let directory = tempfile::tempdir().unwrap();
    let said = shell_in(
        directory.path(),
        &format!("$P map --retries 3 --retry-delay 20ms --backoff 2 -- sh -c '{script}' ::: a"),
    );
    assert_eq!(said.code(), Some(0), "{said:?}");
    let times = fs::read_to_string(directory.path().join("times")).unwrap();
    let times: Vec<u64> = times.lines().map(|time| time.parse().unwrap()).collect();
    let waits: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
    assert!(waits[0] >= 20 && waits[1] >= 40 && waits[2] >= 80, "{waits:?}");
    let tried = |options: &str, command: &str| {
        let said = shell(&format!("$P map --retries 2 {options} --json -- sh -c '{command}' ::: a"));
        let record: serde_json::Value = serde_json::from_str(said.stdout.lines().next().unwrap()).unwrap();
        record["attempts"].as_u64().unwrap()
    };
    assert_eq!(tried("", "exit 3"), 3);
    assert_eq!(tried("--retry-on 3,5-7", "exit 6"), 3);
    assert_eq!(tried("--retry-on 3,5-7", "exit 4"), 1);
    assert_eq!(tried("--retry-on 137", "kill -9 $$"), 3);
    assert_eq!(tried("--retry-on 124 -t 20ms", "sleep 1000"), 3);
    // What failed before is not printed, and other jobs go on meanwhile.
    let said = shell(
        "$P map -j1 --retries 1 --retry-delay 50ms -- sh -c 'echo $1 $PROCESSION_ATTEMPT; [ $1$PROCESSION_ATTEMPT != a1 ]' sh ::: a b",
    );
    assert_eq!(said.stdout, "b 1\na 2\n");
}

#[test]
fn times_are_kept_though_jobs_want_no_end() {
    let directory = tempfile::tempdir().unwrap();
    let script = "trap \"\" TERM; echo $$ > job; sleep 1000 & echo $! > helper; wait; sleep 1000";
    let said = shell_in(
        directory.path(),
        &format!("$P map -t 100ms --kill-after 100ms --json -- sh -c '{script}' ::: a"),
    );
    assert_eq!(said.code(), Some(123), "{said:?}");
    let record: serde_json::Value = serde_json::from_str(said.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&record["timed_out"], &record["signal"], &record["exit"]),
        (&true.into(), &9.into(), &124.into())
    );
    for file in ["job", "helper"] {
        let pid: u32 = fs::read_to_string(directory.path().join(file)).unwrap().trim().parse().unwrap();
        until("the job and what it started to end", || (!cli::runs(pid)).then_some(()));
    }
}

#[test]
fn halting_stops_soon_or_now() {
    let started = |halt: &str| {
        let said = shell(&format!(
            "$P map -j2 --halt {halt} -- sh -c 'echo start $1 >> log; [ $1 = 1 ] && exit 1; sleep 0.3; echo end $1 >> log' sh ::: 1 2 3 4 5 6; cat log"
        ));
        assert!(said.stderr.contains("no more were started"), "{said:?}");
        said.stdout
    };
    let soon = started("soon,fail=1");
    assert!(soon.contains("end 2") && !soon.contains("start 4"), "{soon}");
    assert!(!started("now,fail=1").contains("end"));
    let said = shell("$P map -j1 --halt soon,fail=50% -- sh -c 'echo $1; exit 1' sh ::: 1 2 3 4");
    assert_eq!(said.stdout, "1\n2\n");
    let said = shell("seq 10 | $P map -j1 --halt soon,done=30% -- echo");
    assert_eq!((said.stdout.as_str(), said.code()), ("1\n2\n3\n", Some(0)));
}

#[test]
fn jobs_wait_until_the_machine_has_room() {
    let said = shell("$P map --memfree 1M --load 10000 -- echo ::: a");
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "a\n"));
    for never in ["--memfree 1000T", "--load 0.000001"] {
        let script = format!("exec $P map {never} --progress counter -- echo ::: a");
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).env("P", env!("CARGO_BIN_EXE_procession-tested"));
        let mut map = Running::start(command.stdin(Stdio::null()));
        until("it to hear of signals", || {
            let status = fs::read_to_string(format!("/proc/{}/status", map.pid())).ok()?;
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?.trim().to_owned();
            (u64::from_str_radix(&blocked, 16).unwrap() & 1 << 14 != 0).then_some(())
        });
        assert!(map.is_running() && cli::children_of(map.pid()).is_empty());
        map.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(map.end().code(), None);
    }
}

#[test]
fn records_are_lines_of_json() {
    let said = shell("$P map --json -k -- sh -c 'echo $1; echo e >&2; exit $1' sh ::: 0 3");
    assert_eq!(said.code(), Some(123));
    let records: Vec<serde_json::Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 3);
    for (record, code) in records.iter().zip([0, 3]) {
        assert_eq!(
            (&record["v"], &record["kind"], &record["code"]),
            (&1.into(), &"job".into(), &code.into())
        );
        assert_eq!(record["stdout"], format!("{code}\n"));
        assert_eq!((&record["stderr"], &record["attempts"]), (&"e\n".into(), &1.into()));
        assert_eq!(record["inputs"], serde_json::json!([code.to_string()]));
    }
    let summary = &records[2];
    assert_eq!((&summary["kind"], &summary["exit"]), (&"summary".into(), &123.into()));
    assert_eq!((&summary["succeeded"], &summary["failed"]), (&1.into(), &1.into()));
    let error: serde_json::Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!(error["error"]["code"], "jobs_failed");
    let said = shell("$P map --json -- head -c 3000000 ::: /dev/zero");
    let record: serde_json::Value = serde_json::from_str(said.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&record["truncated"], record["stdout"].as_str().unwrap().len()), (&true.into(), 1 << 20));
    for line in shell("$P map --progress json -- true ::: a 2>&1").stdout.lines() {
        assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"], "progress");
    }
}

#[test]
fn a_reader_that_goes_ends_the_jobs() {
    // Without an end, unless it notices.
    let said = shell("yes | $P map -j2 -- echo | head -n 1; echo ${PIPESTATUS[1]}");
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("y\n141\n", ""), "{said:?}");
    let said = shell("$P map --line-buffer -- sh -c 'while :; do echo a; done' ::: a | true; echo");
    assert_eq!(said.stdout, "\n");
}

#[test]
fn a_reader_that_is_slow_stops_no_signal() {
    let directory = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let options = ["map", "-j1", "--kill-after", "100ms", "--joblog", "log", "--", "head", "-c", "10000000"];
    let mut command = procession([&options[..], &[":::", "/dev/zero"]].concat());
    let mut child =
        command.current_dir(directory.path()).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    // Its job has ended, and it prints to a pipe that is full.
    until("the job to end", || {
        let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        (log.lines().count() == 2).then_some(())
    });
    cli::send(child.id(), nix::sys::signal::Signal::SIGTERM);
    until("the command to end", || child.try_wait().unwrap());
    drop(reader);
}

#[test]
fn permits_bound_jobs_of_several_maps() {
    let place = Place::new("map-sem");
    let script = "
        $P sem two -c 2 -- true
        for map in 1 2; do seq 20 | $P map -j4 --sem two -- sh -c 'echo $PROCESSION_HELD' & done; wait";
    let said = place.shell(script);
    assert_eq!(said.stdout.lines().filter(|line| line.starts_with("sem:two")).count(), 40, "{said:?}");
    // Jobs are of this machine, as their semaphore is.
    let script = "PROCESSION_CLUSTER=postgres://nobody@127.0.0.1:1/x $P map --sem two -- true ::: a";
    assert_eq!(place.shell(script).code(), Some(0));
    // Others see what the permit is held for.
    let said = place.shell(
        "$P map --sem two=2 -u -- sleep ::: 1000 & map=$!
        until ! $P sem test two; do sleep 0.01; done
        $P sem two -c 2 -n -- true; kill $map; wait $map",
    );
    assert!(said.stderr.contains(" (sleep 1000, "), "{said:?}");
    // What the environment says of waits and times is the jobs'.
    let said = place.shell(
        "PROCESSION_NONBLOCK=1 PROCESSION_SEM_COUNT=7 PROCESSION_REPORT=/dev/stdout \
            $P map -j 3 --sem two=2 -- sh -c 'sleep 0.05; echo $PROCESSION_NONBLOCK' ::: a b c",
    );
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "1\n1\n1\n"), "{said:?}");
    // A job's time begins when it has its permit, and signals come once.
    let mut holder = Running::start(&mut place.command(&[
        "sem",
        "two",
        "-k",
        "2",
        "--",
        "sh",
        "-c",
        "echo HELD; exec sleep 1000",
    ]));
    holder.line("HELD");
    let mut map = Running::start(&mut place.command(&[
        "map",
        "--sem",
        "two=2",
        "-t",
        "60s",
        "--line-buffer",
        "--",
        "bash",
        "-c",
        "trap 'echo INT' INT; echo RUNS; for n in 1 2 3 4 5; do sleep 0.05; done",
        ":::",
        "a",
    ]));
    until("the job to wait", || place.run(&["inspect", "two"]).stdout.contains("wait").then_some(()));
    drop(holder);
    map.line("RUNS");
    map.signal(nix::sys::signal::Signal::SIGINT);
    let said = map.end();
    assert_eq!(said.stdout.matches("INT").count(), 1, "{said:?}");
}
