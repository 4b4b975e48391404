//! The table and `target/bench/results.json`: the only file that prints.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the output of the bench")]

use crate::case::Row;
use crate::error::{BenchError, Context, Result};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench/results.json");

pub(crate) fn heading() {
    line(["case", "ours", "rival", "rival's", "unit", "times better", "at least", "met"]);
}

pub(crate) fn row(row: &Row) {
    let met = match row.met() {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "-",
    };
    line([
        row.case.name,
        &figure(row.ours.as_ref().ok()),
        row.case.rival_name,
        &figure(row.rival.as_ref().ok()),
        row.case.unit.name(),
        &row.times_better().map_or("-".to_owned(), |times| format!("{times:.2}")),
        &format!("{:.2}", row.case.at_least),
        met,
    ]);
    for line in row.note().iter().chain(&row.remarks) {
        println!("    {line}");
    }
}

fn line([case, ours, rival, rival_value, unit, times, at_least, met]: [&str; 8]) {
    println!(
        "{case:<29}{ours:>12}  {rival:<22}{rival_value:>12}  {unit:<6}{times:>13}{at_least:>10}  {met:<3}"
    );
}

/// Four digits or all of the whole ones, in groups of three.
fn figure(value: Option<&f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    match value.abs() {
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 100.0 => format!("{value:.2}"),
        size if size < 1_000.0 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// One row as the file has it.
#[derive(Serialize)]
struct Entry {
    case: &'static str,
    ours: Option<f64>,
    rival: &'static str,
    rival_value: Option<f64>,
    unit: &'static str,
    times_better: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
}

impl From<&Row> for Entry {
    fn from(row: &Row) -> Self {
        Entry {
            case: row.case.name,
            ours: row.ours.as_ref().ok().copied(),
            rival: row.case.rival_name,
            rival_value: row.rival.as_ref().ok().copied(),
            unit: row.case.unit.name(),
            times_better: row.times_better(),
            note: row.note(),
            remarks: row.remarks.clone(),
        }
    }
}

pub(crate) fn write_json(rows: &[Row]) -> Result<()> {
    let entries: Vec<Entry> = rows.iter().map(Entry::from).collect();
    let mut text = serde_json::to_string_pretty(&entries).context("encoding the results")?;
    text.push('\n');
    let path = Path::new(RESULTS);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).context(folder.display())?;
    }
    std::fs::write(path, text).context(path.display())
}

/// A line of a run that takes long.
pub(crate) fn progress(text: &str) {
    println!("{text}");
}

pub(crate) fn failure(error: &BenchError) -> ExitCode {
    eprintln!("procession-bench: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_have_four_digits_or_all_of_the_whole_ones() {
        assert_eq!(figure(None), "-");
        assert_eq!(figure(Some(&2.5)), "2.500");
        assert_eq!(figure(Some(&271.828)), "271.8");
        assert_eq!(figure(Some(&1234567.8)), "1 234 568");
    }
}
