//! The page: each chart with its figures, and where a rival is better.

use super::machine::Machine;
use super::{Chart, Curve, Measured, Scale, Whose};
use crate::sample::as_figure;
use std::fmt::Write;
use std::time::Duration;

/// Less than this is noise.
const EQUAL: f64 = 0.9;

pub(super) fn page(all: &[Measured], machine: &Machine, quick: bool, took: Duration) -> String {
    let mut page = head(machine, quick, took);
    for measured in all {
        let Chart { name, title, text, .. } = measured.chart;
        let losses = losses(measured);
        let table = table(measured);
        let parts = [
            format!("## {title}\n"),
            wrapped(text),
            format!("![{title}][charts/{name}.svg]\n"),
            format!("{}\n", caption(measured.chart)),
            table,
            losses,
        ];
        page.push('\n');
        page.push_str(&parts.join("\n"));
    }
    // The facade shows this page, too, and says before it where the pictures are there.
    page.push('\n');
    for measured in all {
        let _written = writeln!(page, "[charts/{0}.svg]: charts/{0}.svg", measured.chart.name);
    }
    page
}

fn head(machine: &Machine, quick: bool, took: Duration) -> String {
    let command = if quick { "make curves QUICK=1" } else { "make curves" };
    let noise = if machine.was_busy() {
        "Other programs used its CPUs at the same time, so that the figures are worse than they could be, and \
         vary: compare curves of one chart, and do not take a single figure as exact."
    } else {
        "Nothing else of note ran."
    };
    let paragraph = format!(
        "This page and its charts are written by `{command}`, which measures us and our rivals in turns; do not \
         edit them. Measured on {}: {}; the load before it began was {:.2}. {noise} It took {} s. Each point is \
         the median of {} rounds or more; a rival that is not installed is left out.",
        machine.date,
        machine.name,
        machine.load,
        took.as_secs(),
        if quick { "three" } else { "five" },
    )
    .replace("rounds or more", "rounds, of one where a round is long");
    let more = "`make bench` has a table of single figures with what each of them must reach.";
    format!("# How costs grow\n\n{}\n{}", wrapped(&paragraph), wrapped(more))
}

fn caption(chart: &Chart) -> String {
    let better = match chart.better {
        super::Better::More => "more is better",
        super::Better::Less => "less is better",
    };
    format!("In {}; {better}.", chart.y)
}

/// The figures, a row for each value of the parameter.
pub(super) fn table(measured: &Measured) -> String {
    let curves: Vec<&Curve> = measured.curves.iter().filter(|curve| !curve.points.is_empty()).collect();
    let names: Vec<&str> = curves.iter().map(|curve| curve.series.name).collect();
    let mut table = format!("| {} | {} |\n", measured.chart.x, names.join(" | "));
    let _written = writeln!(table, "|---{}|", "|---:".repeat(names.len()));
    for &x in measured.points {
        let cells: Vec<String> =
            curves.iter().map(|curve| curve.at(x).map_or("–".to_owned(), figure)).collect();
        let _written =
            writeln!(table, "| {} | {} |", label(measured.chart.scale, as_figure(x)), cells.join(" | "));
    }
    let ends = measured.curves.iter().filter_map(|curve| Some((curve.series.name, curve.end.as_ref()?)));
    for (name, end) in ends {
        let _written = writeln!(table, "\n{name}: {end}.");
    }
    table
}

/// Where a rival is better, in words.
fn losses(measured: &Measured) -> String {
    let mut text = String::new();
    let mut compared = false;
    for rival in &measured.curves {
        let Whose::Rival(against) = rival.series.whose else { continue };
        for ours in measured.curves.iter().filter(|curve| against.contains(&curve.series.name)) {
            let both = rival.points.iter().filter_map(|&(x, theirs)| Some((x, ours.at(x)?, theirs)));
            let times: Vec<_> =
                both.map(|(x, ours, theirs)| (x, measured.chart.better.times(ours, theirs))).collect();
            compared |= !times.is_empty();
            let lost: Vec<String> = times
                .iter()
                .filter(|(_, times)| *times < EQUAL)
                .map(|(x, times)| format!("{} ({times:.2})", label(measured.chart.scale, as_figure(*x))))
                .collect();
            if !lost.is_empty() {
                let (ours, rival) = (ours.series.name, rival.series.name);
                let _written = writeln!(text, "- {ours}, beside {rival}: {}", lost.join(", "));
            }
        }
    }
    match (compared, text.is_empty()) {
        (false, _) => String::new(),
        (true, true) => "We lose nowhere here.\n".to_owned(),
        (true, false) => {
            format!("Where we lose, and how many times as good we are there:\n\n{text}")
        }
    }
}

/// A value of the parameter.
pub(super) fn label(scale: Scale, x: f64) -> String {
    let units: &[(f64, &str)] = match scale {
        Scale::Count => &[(1.0, "")],
        Scale::Bytes => &[(1_073_741_824.0, " GiB"), (1_048_576.0, " MiB"), (1024.0, " KiB"), (1.0, " B")],
        Scale::Micros => &[(1e6, " s"), (1e3, " ms"), (1.0, " us")],
    };
    let (unit, name) = units.iter().find(|unit| x >= unit.0).copied().unwrap_or((1.0, ""));
    format!("{}{name}", figure(x / unit))
}

/// Three digits, or all of the whole ones in groups of three.
pub(super) fn figure(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 100.0 => return grouped(&format!("{value:.0}")),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(digits: &str) -> String {
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// Lines that are not longer than those of the other pages.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 108;
    let (mut page, mut length) = (String::new(), 0);
    for word in text.split_whitespace() {
        if length > 0 {
            let fits = length + 1 + word.len() <= WIDTH;
            page.push(if fits { ' ' } else { '\n' });
            length = if fits { length + 1 } else { 0 };
        }
        page.push_str(word);
        length += word.len();
    }
    page.push('\n');
    page
}

#[cfg(test)]
mod tests {
    use super::super::{Better, Scale};
    use super::{figure, label, wrapped};

    #[test]
    fn figures_have_three_digits_or_all_of_the_whole_ones() {
        assert_eq!(figure(0.0), "0");
        assert_eq!(figure(2.5), "2.5");
        assert_eq!(figure(27.18), "27.2");
        assert_eq!(figure(1_234_567.8), "1,234,568");
        assert_eq!(figure(100.0), "100");
    }

    #[test]
    fn a_parameter_has_the_unit_that_makes_it_short() {
        assert_eq!(label(Scale::Bytes, 65_536.0), "64 KiB");
        assert_eq!(label(Scale::Micros, 3_000.0), "3 ms");
        assert_eq!(label(Scale::Count, 1_000.0), "1,000");
    }

    #[test]
    fn better_is_more_or_less() {
        assert_eq!(Better::More.times(1.0, 2.0), 0.5);
        assert_eq!(Better::Less.times(1.0, 2.0), 2.0);
    }

    #[test]
    fn lines_are_not_long() {
        let text = wrapped(&"word ".repeat(100));
        assert!(text.lines().all(|line| line.len() <= 108));
        assert_eq!(text.split_whitespace().count(), 100);
    }
}
