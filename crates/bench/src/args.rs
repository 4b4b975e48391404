//! The command line: a prefix of case names, `--quick`, `--curves`, or the hidden `--role` of a child.

use crate::error::{BenchError, Context, Result};

const USAGE: &str = "usage: procession-bench [--curves] [--quick] [case or chart prefix]";

pub(crate) enum Args {
    /// Run the cases whose names start with `prefix`.
    Bench { quick: bool, prefix: String },
    /// Measure and draw the charts whose names start with `prefix`.
    Curves { quick: bool, prefix: String },
    /// Be one process of a workload, for as long as `parent` lives.
    Role { name: String, parent: u32, rest: Vec<String> },
}

/// The first arguments of a child in the role `name`.
pub(crate) fn role(name: &str) -> [String; 3] {
    ["--role".to_owned(), name.to_owned(), std::process::id().to_string()]
}

pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Args> {
    let (mut quick, mut curves, mut prefix) = (false, false, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--role" => {
                let (Some(name), Some(parent)) = (words.next(), words.next()) else {
                    return Err(BenchError::Failed("--role needs a name and a parent".to_owned()));
                };
                let parent = parent.parse().context("the parent's pid")?;
                return Ok(Args::Role { name, parent, rest: words.collect() });
            }
            "--quick" => quick = true,
            "--curves" => curves = true,
            _ if word.starts_with('-') || prefix.is_some() => {
                return Err(BenchError::Failed(USAGE.to_owned()));
            }
            _ => prefix = Some(word),
        }
    }
    let prefix = prefix.unwrap_or_default();
    Ok(if curves { Args::Curves { quick, prefix } } else { Args::Bench { quick, prefix } })
}
