//! The documents lead where they say: every link to a file or a heading, and every test that they name.
#![cfg(not(procession_chaos))]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession_tests::{pictures, sources};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All pages of the repository.
fn pages() -> Vec<PathBuf> {
    fn gather(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !path.is_symlink() {
                if name != "target" && !name.starts_with('.') {
                    gather(&path, found);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    gather(root(), &mut found);
    // The facade's pages are those of the repository under another name.
    found.retain(|page| !page.is_symlink());
    found
}

/// The text outside of code.
fn prose(page: &str) -> String {
    let mut is_code = false;
    let mut text = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            text.extend(line.split('`').step_by(2));
            text.push('\n');
        }
    }
    text
}

/// Where the page leads to: `[text](target)`, and definitions, `[name]: target`.
fn targets(page: &str) -> Vec<String> {
    let text = prose(page);
    let inline = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    let defined = text.lines().filter_map(|line| {
        let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
        Some(target.trim().to_owned())
    });
    inline.chain(defined).collect()
}

/// The names by which headings of a page are found, as GitHub and rustdoc make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    headings
        .map(|heading| {
            heading
                .to_lowercase()
                .chars()
                .filter_map(|letter| match letter {
                    ' ' => Some('-'),
                    '-' | '_' => Some(letter),
                    _ => letter.is_alphanumeric().then_some(letter),
                })
                .collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in targets(&text).iter().filter(|target| !target.starts_with("http")) {
            count += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let is_there = path.exists()
                && (heading.is_empty() || anchors(&fs::read_to_string(&path).unwrap()).contains(heading));
            if !is_there {
                wrong.push(format!("{}: {target}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(count > 30, "only {count} links were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every page of `docs` is linked, or named, by the README or by another page: none is found only by who lists the
/// folder.
#[test]
fn every_page_is_linked() {
    let pages = pages();
    let linked: BTreeSet<PathBuf> = pages
        .iter()
        .flat_map(|page| {
            let text = fs::read_to_string(page).unwrap();
            let folder = page.parent().unwrap().to_owned();
            let named = text.split('`').skip(1).step_by(2).map(|name| root().join(name));
            let linked =
                targets(&text).into_iter().map(|target| folder.join(target.split('#').next().unwrap()));
            linked.chain(named).filter_map(|path| fs::canonicalize(path).ok()).collect::<Vec<_>>()
        })
        .collect();
    let alone: Vec<_> = pages
        .iter()
        .filter(|page| page.starts_with(root().join("docs")) && !linked.contains(*page))
        .collect();
    assert!(alone.is_empty(), "no page links to {alone:#?}");
}

#[test]
fn every_test_that_the_traps_name_exists() {
    let page = fs::read_to_string(root().join("docs/traps.md")).unwrap();
    let mut files = Vec::new();
    sources(&root().join("tests"), &mut files);
    let code: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let names: Vec<&str> =
        page.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() >= 3).collect();
    assert!(names.len() > 30, "{names:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !code.contains(&format!("fn {name}()")))
        .filter(|name| !is_a_call(name))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What the kernel or a C library calls so.
fn is_a_call(name: &str) -> bool {
    name.starts_with("PR_") || name.starts_with("pthread_")
}

/// Every file that a document names in backquotes is there.
#[test]
fn every_file_that_is_named_exists() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        // The log of changes speaks of what was.
        if page.ends_with("CHANGELOG.md") {
            continue;
        }
        for name in text.split('`').skip(1).step_by(2) {
            let is_path =
                ["crates/", "bin/", "tests/", "docs/", "schema/"].iter().any(|top| name.starts_with(top));
            if is_path && !name.contains(['{', '*', '…', ' ']) && !root().join(name).exists() {
                wrong.push(format!("{}: {name}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The facade's pages show the pictures that are in the repository.
#[test]
fn the_pictures_of_rustdoc_are_those_of_the_repository() {
    let definitions = fs::read_to_string(root().join("crates/procession/docs/pictures.txt")).unwrap();
    assert!(
        definitions == pictures::definitions(root()),
        "write it anew: cargo run -p procession-tests --example pictures"
    );
}
