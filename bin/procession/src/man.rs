//! `procession man`: the manual, a page for each subcommand, made of what its help says, and pages about all of them.

use crate::args::Cli;
use crate::recipes::RECIPES;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use procession_terminal::exit::{self, Failure};
use roff::{Roff, bold, roman};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Write the manual: a page for each subcommand, and pages about exit codes, recipes and JSON.
#[derive(Debug, clap::Args)]
#[command(after_help = MAN_HELP)]
pub(crate) struct ManArgs {
    /// The directory where the pages go; it is made if there is none.
    #[arg(long, value_name = "DIR", env = "PROCESSION_MAN_OUT", hide_env = true)]
    out: PathBuf,
}

const MAN_HELP: &str = "\
Examples:
  procession man --out man && man man/procession-lock.1
  procession man --out ~/.local/share/man/man1

`make install` puts the pages where man(1) looks for them.

Exit codes: 0 written; 125 a page could not be written.";

/// The pages that are written by hand, or of the command's own tables: name, what it is about.
const EXIT_CODES: (&str, &str) = ("procession-exit-codes", "what the exit codes of procession mean");
const RECIPES_PAGE: (&str, &str) = ("procession-recipes", "what to do with procession, in lines to copy");
const JSON: (&str, &str) = ("procession-json", "what procession prints with --json, and writes as reports");
const JSON_TEXT: &str = include_str!("../man/procession-json.txt");

/// # Errors
/// Which page could not be written.
pub(crate) fn run(args: &ManArgs) -> Result<(), Failure> {
    fs::create_dir_all(&args.out).map_err(|error| failed(&args.out, &error))?;
    for (name, text) in pages()? {
        let path = args.out.join(name);
        fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Error(format!("cannot write {}: {error}", path.display()).into())
}

/// The names and contents of all pages.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    // The variables stand in the manual; the help would be twice as long with them.
    let mut command = documented(Cli::command());
    command.build();
    add_pages(&command, &mut pages)?;
    for (page, text) in [(EXIT_CODES, exit_codes()), (RECIPES_PAGE, recipes()), (JSON, json())] {
        let mut roff = Roff::new();
        section(&mut roff, "NAME");
        roff.text([roman(format!("{} - {}", page.0, page.1))]);
        let text = title(page.0, 7) + &roff.to_roff() + &text.to_roff() + &see_also(page.0).to_roff();
        pages.push((format!("{}.7", page.0), text.into_bytes()));
    }
    Ok(pages)
}

fn documented(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env(false)).mut_subcommands(documented)
}

fn add_pages(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let man = Man::new(command.clone());
    let name = man.get_filename();
    let mut text = title(name.trim_end_matches(".1"), 1).into_bytes();
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().any(|arg| !arg.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    if let Some(help) = command.get_after_help() {
        behind(&mut roff, &help.to_string());
    }
    text.extend(roff.to_roff().into_bytes());
    text.extend(see_also("").to_roff().into_bytes());
    pages.push((name, text));
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        add_pages(command, pages)?;
    }
    Ok(())
}

/// The line with which a page begins. There is no date: the version says more. (roff leaves empty words out.)
fn title(name: &str, section: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {} {section} \"\" \"procession {version}\" \"Procession Manual\"\n", name.to_uppercase())
}

fn section(roff: &mut Roff, name: &str) {
    roff.control("SH", [name]);
}

/// What stands behind the options in the help: examples, remarks, exit codes, one paragraph each.
fn behind(roff: &mut Roff, help: &str) {
    let mut in_notes = false;
    for paragraph in help.split("\n\n") {
        if let Some(examples) = paragraph.strip_prefix("Examples:\n") {
            section(roff, "EXAMPLES");
            verbatim(roff, examples.lines());
        } else if paragraph.starts_with("Exit code") {
            section(roff, "EXIT STATUS");
            let codes = paragraph.trim_start_matches("Exit codes").trim_start_matches(':');
            roff.text([roman(in_one_line(codes))]);
        } else {
            if in_notes {
                roff.control("PP", []);
            } else {
                section(roff, "NOTES");
            }
            in_notes = true;
            roff.text([roman(in_one_line(paragraph))]);
        }
    }
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines that stay as they are.
fn verbatim<'a>(roff: &mut Roff, lines: impl IntoIterator<Item = &'a str>) {
    roff.control("RS", ["4"]).control("nf", []);
    for line in lines {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []).control("RE", []);
}

fn see_also(page: &str) -> Roff {
    let mut roff = Roff::new();
    section(&mut roff, "SEE ALSO");
    let others =
        [EXIT_CODES, RECIPES_PAGE, JSON].map(|(name, _)| name).into_iter().filter(|name| *name != page);
    let others: Vec<String> = others.map(|name| format!("{name}(7)")).collect();
    roff.text([bold("procession"), roman(format!("(1), {}", others.join(", ")))]);
    roff
}

fn exit_codes() -> Roff {
    let mut roff = Roff::new();
    section(&mut roff, "DESCRIPTION");
    roff.text([roman(
        "All subcommands share one table. A command that procession runs may itself use any of these codes: where that \
         matters, --report writes what became of it to a file.",
    )]);
    for (code, meaning) in exit::table() {
        roff.control("TP", ["12"]);
        roff.text([bold(*code)]);
        roff.text([roman(*meaning)]);
    }
    roff
}

fn recipes() -> Roff {
    let mut roff = Roff::new();
    for recipe in &RECIPES {
        section(&mut roff, &recipe.title.to_uppercase());
        roff.text([roman(recipe.text)]);
        verbatim(&mut roff, recipe.lines.iter().copied());
    }
    roff
}

/// The text is in paragraphs; a line with two blanks before it stays as it is, one in capitals is a heading.
fn json() -> Roff {
    let mut roff = Roff::new();
    let mut is_first = true;
    for paragraph in JSON_TEXT.trim().split("\n\n") {
        let is_heading = paragraph.chars().all(|c| c.is_ascii_uppercase() || c == ' ');
        if paragraph.starts_with("  ") {
            verbatim(&mut roff, paragraph.lines());
        } else if is_heading {
            section(&mut roff, paragraph);
        } else {
            if !is_first {
                roff.control("PP", []);
            }
            roff.text([roman(in_one_line(paragraph))]);
        }
        is_first = is_heading;
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::{Cli, pages};
    use clap::{Command, CommandFactory};

    fn names(command: &Command, before: &str, found: &mut Vec<String>) {
        let name = format!("{before}{}", command.get_name());
        found.push(format!("{name}.1"));
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            names(command, &format!("{name}-"), found);
        }
    }

    #[test]
    fn every_subcommand_has_a_page() {
        let pages = pages().unwrap_or_default();
        let mut found = Vec::new();
        names(&Cli::command(), "", &mut found);
        found.extend(["exit-codes", "recipes", "json"].map(|page| format!("procession-{page}.7")));
        assert_eq!(pages.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), found);
        for (name, text) in pages {
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(text.contains(".SH NAME") && text.contains(".SH \"SEE ALSO\""), "{name}: {text}");
        }
    }
}
