//! `procession counter`: a number that scripts and programs count together.

use crate::holding::refusal;
use crate::under::told;
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use procession::Value;
use procession_terminal::exit::{DISAGREE, Failure};
use procession_terminal::output;
use serde_json::json;

/// Count together: a number that is changed in one step, and printed.
#[derive(Debug, clap::Args)]
#[command(after_help = COUNTER_HELP)]
pub(crate) struct CounterArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(AddArgs),
    Get(GetArgs),
    Set(SetArgs),
}

/// Add to the counter, and print what it is then.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession counter add done\n  procession counter add budget -3\n\nExit codes: 0 added, 65 the name is another kind of object, or the number would\nbe too large"
)]
struct AddArgs {
    /// The counter; it is made if there is none, and begins with 0.
    name: String,
    /// How much, also a negative number.
    #[arg(default_value_t = 1, allow_negative_numbers = true, value_name = "N")]
    number: i64,
    /// Print it as one JSON document, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// Print the counter.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession counter get done\n  procession counter get done --json | jq .value\n\nExit codes: 0 printed, 65 the name is another kind of object, 66 no such\ncounter"
)]
struct GetArgs {
    /// The counter.
    name: String,
    /// Print it as one JSON document, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// Set the counter, and print what it is then.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession counter set budget 100\n  procession counter set done 0\n\nExit codes: 0 set, 65 the name is another kind of object"
)]
struct SetArgs {
    /// The counter; it is made if there is none.
    name: String,
    /// The number.
    #[arg(allow_negative_numbers = true, value_name = "N")]
    number: i64,
    /// Print it as one JSON document, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

const COUNTER_HELP: &str = "\
Examples:
  procession counter add done
  [ $(procession counter add tickets -1) -ge 0 ] && ./use_ticket

A change is one step: kill -9 leaves the number before it or after it. Programs
open the same Value<i64> of the library by its name.

Exit codes: 0 done; 2 wrong usage; 65 the name is another kind of object, or the
number would be too large; 66 no such counter (get).";

/// # Errors
/// What the library says of the object; [`Failure::Refused`] when the sum would not fit.
pub(crate) fn run(args: CounterArgs) -> Result<(), Failure> {
    match args.verb {
        Verb::Add(args) => told(args.json, add(&args)),
        Verb::Get(args) => told(args.json, get(&args)),
        Verb::Set(args) => told(args.json, set(&args)),
    }
}

fn get(args: &GetArgs) -> Result<(), Failure> {
    let counter: Value<i64> = Value::open(&args.name)?;
    print(&args.name, counter.get()?, args.json)
}

fn set(args: &SetArgs) -> Result<(), Failure> {
    let counter: Value<i64> = Value::open_or_create(&args.name, 0)?;
    counter.set(args.number)?;
    print(&args.name, args.number, args.json)
}

fn add(args: &AddArgs) -> Result<(), Failure> {
    let counter: Value<i64> = Value::open_or_create(&args.name, 0)?;
    let mut now = counter.get()?;
    loop {
        let Some(sum) = now.checked_add(args.number) else {
            let message =
                format!("counter {:?} is {now}, and cannot be changed by {}", args.name, args.number);
            return Err(refusal("disagree", DISAGREE, message));
        };
        match counter.compare_exchange(now, sum)? {
            Ok(_) => return print(&args.name, sum, args.json),
            Err(changed) => now = changed,
        }
    }
}

fn print(name: &str, value: i64, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(&json!({"v": 1, "kind": "counter", "name": name, "value": value}));
    }
    output::line(value)
}
