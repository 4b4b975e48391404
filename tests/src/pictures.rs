//! The pictures of the documents, as rustdoc's pages have them: whole, in the address of the link.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Definitions of links, one for each picture below `docs`.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn definitions(root: &Path) -> String {
    let mut text = String::new();
    for (folder, before, after) in [("charts", "charts/", ".svg"), ("pictures", "picture of ", "")] {
        let mut files: Vec<_> = fs::read_dir(root.join("docs").join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let name = file.file_stem().unwrap().to_str().unwrap();
            let picture = fs::read_to_string(&file).unwrap();
            writeln!(text, "[{before}{name}{after}]: data:image/svg+xml,{}", encoded(&picture)).unwrap();
        }
    }
    text.push('\n');
    text
}

/// Letters that mean nothing in an address of a link, or in Markdown, stay as they are.
fn encoded(picture: &str) -> String {
    let mut text = String::new();
    for byte in picture.bytes() {
        if byte.is_ascii_alphanumeric() || b"-.~/:=,;".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
    }
    text
}
