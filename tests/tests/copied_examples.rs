//! Every example of the documentation compiles when a reader copies it, as it is shown, into a new crate that
//! depends on `procession` and serde alone; programs of the facade's `examples/` say `use` of what else they need.
#![cfg(not(procession_chaos))]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession_tests::sources;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// An example as a reader sees it: without the lines that rustdoc hides.
struct Example {
    /// File and line.
    place: String,
    code: String,
}

/// The examples in the comments of a source file, or in a page of text.
fn examples(place: &str, text: &str) -> Vec<Example> {
    let mut found = Vec::new();
    let mut open: Option<(bool, Example)> = None;
    for (nth, line) in text.lines().enumerate() {
        let comment = line.trim_start().strip_prefix("///").or_else(|| line.trim_start().strip_prefix("//!"));
        let line = comment.map_or(line, |text| text.strip_prefix(' ').unwrap_or(text));
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                // In a comment, what says no language is Rust.
                let is_rust = ["rust", "no_run", "should_panic"].contains(&language)
                    || (language.is_empty() && comment.is_some());
                let place = format!("{place}:{}", nth + 1);
                open = Some((is_rust, Example { place, code: String::new() }));
            }
            (Some(_), Some((is_rust, example))) => found.extend(is_rust.then_some(example)),
            (None, Some((is_rust, mut example))) => {
                if line != "#" && !line.starts_with("# ") {
                    writeln!(example.code, "{line}").unwrap();
                }
                open = Some((is_rust, example));
            }
            (None, None) => {}
        }
    }
    found
}

/// What the reader puts around it: a `main` that says why it failed.
fn in_a_main(code: &str) -> String {
    if code.contains("fn main(") {
        return code.to_owned();
    }
    // Attributes and imports may stand in a function, too.
    format!("fn main() -> Result<(), Box<dyn std::error::Error>> {{\n{code}\nOk(())\n}}\n")
}

/// A module for each, so that the compiler is started once for all.
fn as_modules(examples: &[Example]) -> String {
    examples.iter().enumerate().fold(String::new(), |mut all, (nth, Example { place, code })| {
        write!(all, "/// {place}\nmod example_{nth} {{\n{}}}\n", in_a_main(code)).unwrap();
        all
    })
}

const MANIFEST: &str = r#"[package]
name = "copied"
version = "0.0.0"
edition = "2024"

[dependencies]
procession = { path = "PROCESSION", features = ["async", "tracing", "cluster"] }
serde = { version = "1", features = ["derive"] }
signal-hook = "0.4"
tokio = { version = "1", features = ["rt-multi-thread", "time"] }

[workspace]
"#;

#[test]
fn every_example_compiles_when_it_is_copied() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    sources(&root.join("crates"), &mut files);
    // What is not the library, and is not shown to its users.
    files.retain(|file| {
        !["bench", "models", "sys"].iter().any(|name| file.starts_with(root.join("crates").join(name)))
    });
    files.push(root.join("README.md"));
    let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")));
    let programs = root.join("crates/procession/examples");
    let examples: Vec<_> = files
        .iter()
        .flat_map(|file| {
            let place = file.strip_prefix(root).unwrap_or(file).display().to_string();
            let text = std::fs::read_to_string(file).unwrap();
            if file.starts_with(&programs) {
                // The module gets a comment of its own.
                let code = text.lines().filter(|line| !line.starts_with("//!"));
                return vec![Example { place, code: code.collect::<Vec<_>>().join("\n") }];
            }
            examples(&place, &text)
        })
        .collect();
    assert!(examples.len() > 50, "only {} examples were found", examples.len());

    let copied = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(copied.path().join(name), text).unwrap();
    write("Cargo.toml", &MANIFEST.replace("PROCESSION", root.join("crates/procession").to_str().unwrap()));
    // The versions that are built here anyway: nothing is downloaded.
    write("Cargo.lock", &std::fs::read_to_string(root.join("Cargo.lock")).unwrap());
    std::fs::create_dir(copied.path().join("src")).unwrap();
    write("src/lib.rs", &format!("#![allow(warnings)]\n{}", as_modules(&examples)));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("copied");
    let checked = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet"])
        .current_dir(copied.path())
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
