//! The help of every subcommand, found by walking through all that can be typed: how it ends, how wide it is, what the
//! environment can say, and its whole text, so that a change is seen by whoever reviews it.
//!
//! `PROCESSION_UPDATE_HELP=1 cargo test -p procession-tests --test cli_help` writes the texts in `tests/help` anew.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use clap::Command;
use cli::Running;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Flags that the environment cannot say, and why.
const WITHOUT_VARIABLE: [(&str, &[&str], &str); 5] = [
    ("", &["help", "version"], "questions, not settings"),
    ("", &["namespace"], "PROCESSION_NAMESPACE is read by the library, of every program"),
    (
        "",
        &["yes", "unused", "discard", "quiet", "dead"],
        "kill or throw away: whoever means it says so, each time",
    ),
    ("worker", &["init"], "done once, by a person"),
    ("demo", &["*"], "demos are programs to look at"),
];

/// What a command that is run finds in its environment: none of these can be a setting.
const SET: [&str; 17] = [
    "ATTEMPT",
    "COMPLETE",
    "HELD",
    "ITEM",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "NAMESPACE",
    "OWNER_DIED",
    "QUEUE",
    "RANK",
    "RESTARTS",
    "RUN",
    "SEQ",
    "SLOT",
    "TOKEN",
    "WORKER",
    "WORLD_SIZE",
];

/// Each subcommand that is shown, by the words that are typed; the command itself is without any.
fn all() -> Vec<(Vec<String>, Command)> {
    fn add(words: &[String], command: &Command, found: &mut Vec<(Vec<String>, Command)>) {
        found.push((words.to_vec(), command.clone()));
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            add(&[words, &[command.get_name().to_owned()]].concat(), command, found);
        }
    }
    let mut command = procession_cli::command();
    command.build();
    let mut found = Vec::new();
    add(&[], &command, &mut found);
    assert!(found.len() > 90, "{}", found.len());
    found
}

/// What `--help` says on a terminal of so many columns, or where there is none.
fn help(words: &[String], columns: Option<u32>) -> String {
    let mut command = cli::procession(words.iter().map(String::as_str).chain(["--help"]));
    command.env_remove("COLUMNS");
    if let Some(columns) = columns {
        command.env("COLUMNS", columns.to_string());
    }
    let said = Running::start(&mut command).end();
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{words:?}");
    said.stdout
}

#[test]
fn help_ends_with_two_examples_and_the_exit_codes() {
    let mut long = Vec::new();
    for (words, command) in all() {
        let text = help(&words, None);
        let (_, end) = text.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{words:?}: {text}"));
        let (examples, _) = end.split_once("Exit code").unwrap_or_else(|| panic!("{words:?}: {text}"));
        let is_example = |line: &&str| line.starts_with("  ") && line.contains("procession ");
        let examples = examples.lines().filter(is_example).count();
        assert!(if words.is_empty() { examples >= 2 } else { examples == 2 }, "{words:?}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{words:?}: {text}");
        assert!(text.lines().next().is_some_and(|about| !about.contains("Usage")), "{words:?}: {text}");
        assert!(!text.contains("One subcommand alone") && !text.contains("__"), "{words:?}: {text}");
        // Lines that are as they are, such as examples, fit 80 columns by themselves.
        let behind = command.get_after_help().unwrap().to_string();
        let is_long = |line: &&str| line.chars().count() > 80;
        long.extend(behind.lines().filter(is_long).map(|line| format!("{words:?}: {line}")));
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_flag_can_be_said_by_the_environment() {
    let mut missing = Vec::new();
    let mut meanings: BTreeMap<String, String> = BTreeMap::new();
    for (words, command) in all() {
        for arg in command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set()) {
            let flag = arg.get_long().unwrap_or_default();
            let is_without = |(top, flags, _): &(&str, &[&str], &str)| {
                (top.is_empty() || words.first().is_some_and(|word| word == top))
                    && (flags.contains(&flag) || flags == &["*"])
            };
            let variable = arg.get_env().map(|variable| variable.to_str().unwrap().to_owned());
            match variable {
                None if WITHOUT_VARIABLE.iter().any(is_without) => {}
                None => missing.push(format!("{} --{flag}", words.join(" "))),
                Some(variable) => {
                    let name = variable.strip_prefix("PROCESSION_").unwrap();
                    assert!(!SET.contains(&name), "{variable} is set for commands");
                    assert!(arg.is_hide_env_set(), "{words:?} --{flag}: the manual says it");
                    // A variable is one thing, wherever it is read.
                    let meaning = meanings.entry(variable).or_insert_with(|| flag.to_owned());
                    assert_eq!(meaning, flag, "{words:?}");
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_texts_are_what_was_reviewed() {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for (words, _) in all() {
        let text = help(&words, Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{words:?}: {text}");
        let file = words.first().cloned().unwrap_or_else(|| "procession".to_owned());
        let title =
            format!("$ COLUMNS=80 procession {}", [&words[..], &["--help".to_owned()]].concat().join(" "));
        *texts.entry(file).or_default() += &format!("{title}\n{text}\n");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let update = std::env::var_os("PROCESSION_UPDATE_HELP").is_some();
    for (name, text) in &texts {
        let path = folder.join(format!("{name}.txt"));
        if update {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, text).unwrap();
        }
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        let differs = reviewed.lines().zip(text.lines()).find(|(reviewed, now)| reviewed != now);
        assert!(
            &reviewed == text,
            "{} is not what is said now: {differs:?}; PROCESSION_UPDATE_HELP=1 writes it anew",
            path.display()
        );
    }
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(texts.contains_key(name), "{} is of no subcommand", path.display());
    }
}
