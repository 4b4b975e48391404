//! `docs/coming-from-python.md` speaks of every public name that Python has, and of no name of ours that is not there.
#![cfg(not(procession_chaos))]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession_tests::{python, run, skip, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Classes whose members are listed under the name by which people know them.
const KNOWN_AS: [(&str, &str); 4] = [
    ("_ConnectionBase", "Connection"),
    ("ApplyResult", "AsyncResult"),
    ("BaseListProxy", "ListProxy"),
    ("BaseProcess", "Process"),
];

/// The newest Python, 3.x, whose names were looked through.
const NEWEST: u32 = 13;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the list, each with the modules in its heading, the names of Python and those of ours.
fn rows(page: &str) -> Vec<(Vec<&str>, &str, &str)> {
    let (_, list) = page.split_once("## Every name").unwrap();
    let mut modules = Vec::new();
    let mut rows = Vec::new();
    for line in list.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            modules = quoted(heading).collect();
        } else if let Some(row) = line.strip_prefix("| `") {
            let mut cells = row.split(" | ");
            // The backquote that `strip_prefix` took away opens the first name.
            rows.push((modules.clone(), cells.next().unwrap(), cells.next().unwrap()));
        }
    }
    rows
}

#[test]
fn every_public_name_of_python_is_in_the_list() {
    let page = std::fs::read_to_string(root().join("docs/coming-from-python.md")).unwrap();
    let mut listed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (modules, names, _) in rows(&page) {
        for module in modules {
            listed.entry(module).or_default().extend(names.split('`').step_by(2));
        }
    }
    let script = include_str!("python_names.py");
    let minor = run(python().args(["-c", "import sys; print(sys.version_info.minor)"]));
    if minor.trim().parse::<u32>().unwrap() > NEWEST {
        return skip("this Python is newer than the list of its names in docs/coming-from-python.md");
    }
    let printed = run(python().args(["-c", script]));
    let missing: Vec<&str> = printed
        .lines()
        .filter(|path| {
            let parts: Vec<&str> = path.split('.').collect();
            // A module has one dot in its name at the most, and all but `multiprocessing` itself have one.
            let modules = listed
                .iter()
                .filter(|(module, _)| path.strip_prefix(**module).is_some_and(|rest| rest.starts_with('.')));
            let (module, names) = modules.max_by_key(|(module, _)| module.len()).unwrap();
            let name = parts[module.split('.').count()..].join(".");
            let known = KNOWN_AS.iter().find_map(|(class, known)| {
                Some(format!("{known}.{}", name.strip_prefix(class)?.strip_prefix('.')?))
            });
            !names.contains(known.as_ref().unwrap_or(&name).as_str())
        })
        .collect();
    assert!(printed.lines().count() > 400, "{printed}");
    assert!(missing.is_empty(), "not in docs/coming-from-python.md: {missing:#?}");
}

#[test]
fn every_name_of_ours_in_the_list_exists() {
    let page = std::fs::read_to_string(root().join("docs/coming-from-python.md")).unwrap();
    let mut files = Vec::new();
    sources(&root().join("crates"), &mut files);
    let code: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    // Words as they stand in code, so that a name is found whole.
    let words: BTreeSet<&str> =
        code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    for (_, names, ours) in rows(&page) {
        for token in quoted(ours).filter(|token| !token.starts_with("std::") && !token.contains(' ')) {
            let named = token.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            for word in named.filter(|word| word.len() > 1) {
                assert!(words.contains(word), "{word:?}, in place of `{names}, is nowhere in the code");
            }
        }
    }
}
