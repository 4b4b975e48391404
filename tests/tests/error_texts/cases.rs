//! That the tables are complete: a case of a public error whose text stands in no table fails here.

use procession_tests::sources;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn directory(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// The name that a piece of code begins with.
fn name(text: &str) -> &str {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    &text[..text.find(|character| !is_part(character)).unwrap_or(text.len())]
}

/// What follows upon an attribute and the comments and attributes behind it.
fn item(text: &str) -> &str {
    let is_code = |line: &&str| !line.is_empty() && !line.starts_with(['/', '#']);
    text.lines().map(str::trim_start).find(is_code).unwrap_or_default()
}

/// The cases of the errors in a source file that have texts of their own: `OpenError::Gone`, and `InvalidName`
/// of an error that has only one.
fn cases_in(source: &str) -> BTreeSet<String> {
    let mut cases = BTreeSet::new();
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    for declaration in source.split("thiserror::Error").skip(1) {
        let declaration = declaration.split("\n}\n").next().unwrap_or_default();
        let Some((attributes, body)) = declaration.split_once("\npub ") else { continue };
        if let Some(body) = body.strip_prefix("struct ") {
            assert!(attributes.contains("#[error("), "{attributes}");
            cases.insert(name(body).to_owned());
        } else if let Some(body) = body.strip_prefix("enum ") {
            for case in body.split("#[error(").skip(1).filter(|case| !case.starts_with("transparent")) {
                let (_, case) = case.split_once(")]\n").unwrap();
                cases.insert(format!("{}::{}", name(body), name(item(case))));
            }
        }
    }
    if let Some((_, body)) = source.split_once("\npub enum BreakCause {\n") {
        let body = body.split("\n}\n").next().unwrap_or_default();
        let is_case = |line: &&str| line.starts_with("    ") && line[4..].starts_with(char::is_uppercase);
        cases.extend(
            body.lines().filter(is_case).map(|line| format!("BreakCause::{}", name(line.trim_start()))),
        );
    }
    cases
}

/// The cases in a table.
fn cases_told_in(table: &str) -> BTreeSet<String> {
    let rows = table.split("says!(").skip(1).map(str::trim_start);
    let causes = table.split("BreakCause::").skip(1).map(|cause| format!("BreakCause::{}", name(cause)));
    let case = |row: &str| {
        let error = name(row);
        match row[error.len()..].strip_prefix("::") {
            Some(case) => format!("{error}::{}", name(case)),
            None => error.to_owned(),
        }
    };
    rows.map(case).chain(causes).collect()
}

#[test]
fn every_case_of_every_error_has_a_text() {
    let (mut all, mut told) = (BTreeSet::new(), BTreeSet::new());
    let facade = std::fs::read_to_string(directory("../crates/procession/src/lib.rs")).unwrap();
    for package in ["shm", "sync", "channel", "collections", "process"] {
        let mut files = Vec::new();
        sources(&directory("../crates").join(package).join("src"), &mut files);
        for file in files {
            all.append(&mut cases_in(&std::fs::read_to_string(file).unwrap()));
        }
    }
    all.retain(|case| facade.contains(name(case)) || ["EncodeError", "DecodeError"].contains(&name(case)));
    assert!(all.len() > 120, "{all:?}");
    let mut tables = Vec::new();
    sources(&directory("tests/error_texts"), &mut tables);
    for table in tables {
        told.append(&mut cases_told_in(&std::fs::read_to_string(table).unwrap()));
    }
    let untold: Vec<_> = all.difference(&told).collect();
    assert!(untold.is_empty(), "whose text is in no table: {untold:?}");
}

#[test]
fn cases_are_found_in_sources_and_in_tables() {
    let source = "#[derive(thiserror::Error)]\npub enum Wrong {\n    /// It.\n    #[error(\n        \"it\"\n    )]\n    \
                  /// More.\n    It {\n        /// Which.\n        which: u8,\n    },\n    #[error(transparent)]\n    \
                  Other(#[from] Other),\n}\n\n#[derive(Clone, thiserror::Error)]\n#[error(\"one\")]\npub struct One;\n";
    let found: Vec<String> = cases_in(source).into_iter().collect();
    assert_eq!(found, ["One", "Wrong::It"]);
    let table = "says!(Wrong::It { which: 7 }, \"it\");\n says!(\n  One { .. },\n outcome, \"one\");";
    assert_eq!(cases_told_in(table).into_iter().collect::<Vec<_>>(), found);
}
