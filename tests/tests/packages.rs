//! What would be published is whole: each package has its licences and a page of its own, includes no file that lies
//! outside of it, and asks for exactly this release of the others. (`make package` builds from the packages alone, which
//! takes some minutes.)
#![cfg(not(procession_chaos))]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession_tests::sources;
use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The folders of the packages that are published.
fn published() -> Vec<PathBuf> {
    let folders = ["crates", "bin"].map(|top| fs::read_dir(root().join(top)).unwrap());
    let folders = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let is_published = |folder: &PathBuf| {
        fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|manifest| !manifest.contains("publish = false"))
    };
    folders.filter(is_published).collect()
}

/// Whether the path, as it is written in that file, stays inside the folder.
fn stays_inside(folder: &Path, file: &Path, path: &str) -> bool {
    let mut depth = file.parent().unwrap().strip_prefix(folder).unwrap().components().count();
    for component in Path::new(path).components() {
        match (component, depth.checked_sub(1)) {
            (Component::ParentDir, None) => return false,
            (Component::ParentDir, Some(outer)) => depth = outer,
            (Component::CurDir, _) => {}
            _ => depth += 1,
        }
    }
    true
}

#[test]
fn each_package_has_licences_and_a_page() {
    let published = published();
    assert!(published.len() >= 10, "{published:?}");
    for folder in published {
        for name in ["LICENSE-MIT", "LICENSE-APACHE", "README.md"] {
            assert!(folder.join(name).exists(), "{} has no {name}", folder.display());
        }
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        for key in ["license", "homepage", "documentation", "readme", "keywords", "categories", "description"]
        {
            let is_there = manifest.lines().any(|line| line.starts_with(key));
            assert!(is_there, "{} says no {key}", folder.display());
        }
    }
}

#[test]
fn no_package_includes_a_file_from_outside() {
    let mut count = 0;
    for folder in published() {
        let mut files = Vec::new();
        sources(&folder, &mut files);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for macro_name in ["include_str!(\"", "include_bytes!(\"", "include!(\""] {
                for rest in text.split(macro_name).skip(1) {
                    let path = rest.split('"').next().unwrap();
                    count += 1;
                    assert!(stays_inside(&folder, &file, path), "{} includes {path}", file.display());
                }
            }
        }
    }
    assert!(count > 5, "only {count} were found");
}

/// They use what is hidden in one another.
#[test]
fn the_parts_of_a_release_ask_for_exactly_one_another() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let ours = manifest.lines().filter(|line| line.starts_with("procession") && line.contains("path = "));
    for line in ours {
        assert!(line.contains("version = \"="), "{line}");
    }
}
