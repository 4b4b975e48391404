//! Everything that is printed: results on stdout, all else on stderr.

use crate::exit::Failure;
use procession_sys::inherited::could_write_stdout;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

/// One line on stdout.
///
/// # Errors
/// [`Failure::ClosedPipe`] when nobody reads it; otherwise why it could not be written.
pub fn line(text: impl Display) -> Result<(), Failure> {
    written(writeln!(io::stdout().lock(), "{text}"))
}

/// These bytes on stdout, and nothing else.
///
/// # Errors
/// As [`line()`].
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// One JSON document on stdout.
///
/// # Errors
/// As [`line()`].
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)?;
    line(text)
}

/// A line for people on stderr, harmless to a terminal; when nobody reads that, there is nobody to tell.
pub fn warn(text: &str) {
    warn_in_one(&format!("procession: {}\n", printable(text)));
}

/// In one piece: stderr has no buffer, and others may write into it, too.
fn warn_in_one(line: &str) {
    drop(io::stderr().lock().write_all(line.as_bytes()));
}

/// One JSON document on stderr.
pub fn warn_in_json(value: &impl Serialize) {
    // What is told is made of texts and numbers, which can always be written.
    if let Ok(text) = serde_json::to_string(value) {
        warn_in_one(&(text + "\n"));
    }
}

/// The help or the version that was asked for, on stdout.
///
/// # Errors
/// As [`line()`].
pub(crate) fn help(message: &clap::Error) -> Result<(), Failure> {
    written(message.print())
}

/// What became of writing a result to stdout.
///
/// # Errors
/// As [`line()`].
pub fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    let why = match outcome {
        // To std it is a success to write to a closed stdout.
        Ok(()) if could_write_stdout() => return Ok(()),
        Ok(()) => "it is not open for writing".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Failure::ClosedPipe),
        Err(error) => error.to_string(),
    };
    Err(Failure::Error(format!("cannot write the result to stdout: {why}").into()))
}

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// As words stand.
    Left,
    /// As numbers stand.
    Right,
}

/// Rows in aligned columns on stdout, under a heading.
///
/// # Errors
/// As [`line()`].
pub fn table(heading: &[(&str, Align)], rows: &[Vec<String>]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heading.get(column).map(|(title, _)| title.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let aligned = |cells: &[&str]| {
        let columns = cells.iter().zip(heading).zip(&widths);
        let padded = columns.map(|((cell, (_, align)), &width)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let titles = aligned(&heading.iter().map(|(title, _)| *title).collect::<Vec<_>>());
    let rows = rows.iter().map(|row| aligned(&row.iter().map(String::as_str).collect::<Vec<_>>()));
    // All in one: a line for itself would be a system call.
    line(std::iter::once(titles).chain(rows).collect::<Vec<_>>().join("\n"))
}

/// Text from a file or a file name, harmless to a terminal.
pub fn printable(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(harmless).collect()
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(String::from_utf8_lossy).collect::<Vec<_>>().join(",")
}

/// `1 file`, `2,000 files`.
pub fn number_of(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::{grouped, number_of, printable};

    #[test]
    fn numbers_and_text_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!([0, 1, 2000].map(|n| number_of(n, "file")), ["0 files", "1 file", "2,000 files"]);
        assert_eq!(printable("wörter\x1b[2J\n"), "wörter\\u{1b}[2J\\n");
    }
}
