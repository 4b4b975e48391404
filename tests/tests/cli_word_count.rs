//! `procession demo word-count` against `wc -w`, and on everything that is no text file.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Running, children_of, procession, run, send, until};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use tempfile::{TempDir, tempdir};

/// A tree of texts, the same each time: prose with words that recur, Unicode spaces, empty and deep files.
fn texts(files: usize, words: usize) -> TempDir {
    let directory = tempdir().unwrap();
    let mut seed = 1_u64;
    let mut next = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for file in 0..files {
        let mut text = String::new();
        for _ in 0..words {
            let number = next(400);
            let separator = [" ", "\n", "\t", "  \r\n", "\u{a0}x "][next(5) as usize];
            text += &format!("wört{}{separator}", number * number / 400);
        }
        let place = directory.path().join(format!("{}/{}", file % 7, file % 3));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join(format!("{file}.txt")), text).unwrap();
    }
    fs::write(directory.path().join("empty"), "").unwrap();
    fs::write(directory.path().join("one word, no newline"), "word").unwrap();
    directory
}

/// What `wc -w` says about every regular file in the tree.
fn wc(directory: &Path) -> u64 {
    let script =
        "find \"$1\" -type f -exec env LC_ALL=C.UTF-8 wc -w {} \\; | awk '{ sum += $1 } END { print sum }'";
    let output = Command::new("sh").args(["-c", script, "sh"]).arg(directory).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn count_json(arguments: &[&OsStr]) -> (Option<i32>, Value) {
    let command = ["demo", "word-count", "--json", "--workers", "2"].map(OsStr::new);
    let said = run([&command, arguments].concat());
    assert_eq!(said.stdout.lines().count(), 1, "{said:?}");
    (said.code(), serde_json::from_str(&said.stdout).unwrap())
}

/// The file names and reasons of what was left out.
fn skipped(result: &Value) -> Vec<(String, String)> {
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let skipped = result["skipped"].as_array().unwrap().iter();
    skipped
        .map(|one| (name(one["path"].as_str().unwrap()), one["reason"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn it_equals_wc_and_a_count_by_hand() {
    // No-break spaces are no separators for wc.
    let directory = texts(40, 500);
    for file in walk(directory.path()) {
        let text = fs::read_to_string(&file).unwrap().replace('\u{a0}', " ");
        fs::write(file, text).unwrap();
    }
    let (code, result) = count_json(&[directory.path().as_os_str()]);
    assert_eq!(code, Some(0));
    assert_eq!(result["words"], wc(directory.path()));
    assert_eq!((&result["files"], skipped(&result).len()), (&42.into(), 0));

    let mut by_hand = std::collections::BTreeMap::<String, u64>::new();
    for file in walk(directory.path()) {
        for word in fs::read_to_string(file).unwrap().split_whitespace() {
            *by_hand.entry(word.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(result["unique"], by_hand.len());
    let mut expected: Vec<_> = by_hand.into_iter().collect();
    expected.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    let top: Vec<(String, u64)> = result["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["word"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(top, expected[..20]);
}

fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn the_table_is_on_stdout_and_the_rest_is_not() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("a"), "b b a c c\x1b[2J\n").unwrap();
    let path = directory.path().to_str().unwrap();
    let said = run(["demo", "word-count", "--top", "2", "--workers", "1", path]);
    assert_eq!(said.code(), Some(0), "{said:?}");
    let rows: Vec<_> = said.stdout.lines().map(str::trim).collect();
    assert_eq!(rows, ["COUNT  WORD", "2  b", "1  a", "5 words, 4 different, in 1 file"]);
    assert!(!said.stdout.contains('\x1b') && said.stderr.contains("1 worker,"), "{said:?}");
}

#[test]
fn what_is_no_text_file_is_reported_and_left_out() {
    let directory = tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::write(place("text"), "three good words").unwrap();
    fs::write(directory.path().join(OsStr::from_bytes(b"name-\xff\xfe")), "two more").unwrap();
    fs::write(place("binary"), [0xff, 0, 0xfe, 7]).unwrap();
    fs::write(place("late-binary"), ["good ".repeat(600_000).as_bytes(), &[0xff]].concat()).unwrap();
    nix::unistd::mkfifo(&place("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place("socket")).unwrap();
    symlink("nowhere", place("dangling")).unwrap();
    symlink("circular", place("circular")).unwrap();
    symlink(".", place("loop")).unwrap();
    symlink("text", place("link")).unwrap();
    let mut expected = vec![
        ("binary", "not UTF-8"),
        ("circular", "symbolic link: Too many levels"),
        ("dangling", "symbolic link: No such file"),
        ("fifo", "a FIFO"),
        ("late-binary", "not UTF-8"),
        ("link", "symbolic link, not followed"),
        ("loop", "symbolic link, not followed"),
        ("socket", "a socket"),
    ];
    if !nix::unistd::geteuid().is_root() {
        fs::write(place("secret"), "hidden words").unwrap();
        fs::set_permissions(place("secret"), fs::Permissions::from_mode(0o000)).unwrap();
        expected.insert(7, ("secret", "Permission denied"));
    }

    let (code, result) = count_json(&[directory.path().as_os_str()]);
    assert_eq!((code, &result["words"], &result["files"]), (Some(0), &5.into(), &2.into()), "{result}");
    let skipped = skipped(&result);
    assert_eq!(skipped.len(), expected.len(), "{skipped:?}");
    for ((name, reason), (expected_name, expected_reason)) in skipped.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!(reason.starts_with(expected_reason), "{name}: {reason}");
    }
}

#[test]
fn what_was_named_and_cannot_be_counted_makes_the_exit_code_one() {
    let directory = tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::write(place("text"), "three good words").unwrap();
    fs::write(place("binary"), [0xff]).unwrap();
    fs::write(place("words-with-nul"), "a\0b c").unwrap();
    nix::unistd::mkfifo(&place("fifo"), Mode::S_IRWXU).unwrap();
    symlink("nowhere", place("dangling")).unwrap();
    symlink("circular", place("circular")).unwrap();
    symlink("text", place("link")).unwrap();
    symlink(".", place("loop")).unwrap();
    let text = place("text");
    for bad in ["missing", "binary", "fifo", "dangling", "circular"] {
        let (code, result) = count_json(&[place(bad).as_os_str(), text.as_os_str()]);
        assert_eq!(
            (code, &result["words"], &result["files"]),
            (Some(1), &3.into(), &1.into()),
            "{bad}: {result}"
        );
        assert_eq!(skipped(&result)[0].0, bad);
    }
    let (code, result) = count_json(&["/dev/zero".as_ref()]);
    assert_eq!((code, &result["words"]), (Some(1), &0.into()));
    assert_eq!(run(["demo", "word-count", ""]).code(), Some(2));
    // A link that is named is followed; what is UTF-8 is text.
    for (good, words, files) in [("link", 3, 1), ("words-with-nul", 2, 1)] {
        let (code, result) = count_json(&[place(good).as_os_str()]);
        assert_eq!((code, &result["words"], &result["files"]), (Some(0), &words.into(), &files.into()));
    }
    let (_, result) = count_json(&[place("loop").as_os_str()]);
    assert_eq!((&result["words"], &result["files"]), (&5.into(), &2.into()));
}

#[test]
fn a_missing_path_is_reported_on_stderr() {
    let said = run(["demo", "word-count", "/no/such/path", "/proc/self/mountinfo"]);
    assert_eq!(said.code(), Some(1), "{said:?}");
    assert!(said.stderr.contains("/no/such/path: No such file"), "{said:?}");
    assert!(said.stdout.contains("in 1 file"), "{said:?}");
}

#[test]
fn a_large_file_of_different_words_is_counted_whole() {
    let directory = tempdir().unwrap();
    let text: String = (0..400_000).map(|number| format!("{number:015} ")).collect();
    fs::write(directory.path().join("large"), text).unwrap();
    let (code, result) = count_json(&[directory.path().as_os_str()]);
    assert_eq!((code, &result["words"], &result["unique"]), (Some(0), &400_000.into(), &400_000.into()));
}

#[test]
fn killing_workers_changes_nothing() {
    let directory = texts(400, 3000);
    let (_, undisturbed) = count_json(&[directory.path().as_os_str()]);
    let mut running =
        Running::start(procession(["demo", "word-count", "--json", "--workers", "2"]).arg(directory.path()));
    let mut killed = 0;
    while killed < 6 && running.is_running() {
        for pid in children_of(running.pid()) {
            send(pid, Signal::SIGKILL);
            killed += 1;
        }
        // Until somebody else works.
        until("another worker", || {
            (!children_of(running.pid()).is_empty() || !running.is_running()).then_some(())
        });
    }
    let said = running.end();
    assert!(killed > 0);
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""));
    assert_eq!(serde_json::from_str::<Value>(&said.stdout).unwrap(), undisturbed);
}
