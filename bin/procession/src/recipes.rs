//! `procession help recipes`: what people do with the command, each in a few lines to copy.

use procession_terminal::exit::Failure;
use procession_terminal::output;

/// One thing to do.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// What it is for, as a heading.
    pub(crate) title: &'static str,
    /// What happens.
    pub(crate) text: &'static str,
    /// What is typed.
    pub(crate) lines: &'static [&'static str],
}

/// Lines are no longer than 76 characters, so that they stand indented in 80 columns.
pub(crate) const RECIPES: [Recipe; 10] = [
    Recipe {
        title: "Wait for a lock, and know for whom",
        text: "Says who holds it, for how long, how many wait, and which place is yours. After \
               five minutes it gives up with exit code 75.",
        lines: &["procession lock deploy -w 5m --explain -- ./deploy.sh"],
    },
    Recipe {
        title: "Several things at once, without a deadlock",
        text: "All of them are held, or none. Every script takes them in the same order, however \
               they are written.",
        lines: &["procession with lock:db:shared,lock:out,sem:gpu=2 -w 30s -- ./train.sh"],
    },
    Recipe {
        title: "Repair what a killed writer left half-done",
        text: "When the last holder was killed, ./fsck-state runs first, under the lock.",
        lines: &["procession lock state --on-owner-died run=./fsck-state -- ./update"],
    },
    Recipe {
        title: "Phases in a script",
        text: "Nobody begins the second phase before all have finished the first. A worker that \
               dies breaks the barrier for the others (exit code 65) instead of having them wait.",
        lines: &[
            "procession run -n 8 -- sh -c '",
            "  ./prepare $RANK && procession barrier wait prepared &&",
            "  if [ $RANK = 0 ]; then ./merge; fi && procession barrier wait merged &&",
            "  ./serve $RANK'",
        ],
    },
    Recipe {
        title: "Wait until a server is ready, and see when it no longer is",
        text: "The event is cleared by itself when the server ends, however it does.",
        lines: &[
            "start_db && procession event set db-up --owner $(cat db.pid)",
            "procession event wait db-up -w 30s && pytest     # somewhere else",
        ],
    },
    Recipe {
        title: "A queue of work between scripts that do not know each other",
        text: "Workers can be started and killed at any time: what one of them had is somebody \
               else's at once. What fails four times is set aside for `queue dead`.",
        lines: &[
            "find . -name '*.wav' -print0 | procession queue put enc -0",
            "procession queue work enc -j 4 --lease 5m --retries 3 -- ./encode {}",
        ],
    },
    Recipe {
        title: "At most so many at a time, on the whole machine",
        text: "Cron, CI and people share the four permits. One that says another number is told \
               so (exit code 65); one that is killed gives its permit back.",
        lines: &["procession sem net -c 4 -w 10m -- curl -O https://example.org/data"],
    },
    Recipe {
        title: "A long list of jobs, steered from another terminal",
        text: "The log knows what was done, so that the first line, typed again, does the rest. \
               The others change it while it runs.",
        lines: &[
            "procession map --name enc -j 8 --joblog log --resume -- ./enc {} < list &",
            "procession ctl enc set -j 2 -w 5s",
            "procession ctl enc pause; procession ctl enc resume",
            "procession ctl enc status",
        ],
    },
    Recipe {
        title: "A lock for the rest of a script",
        text: "It is held until the script ends, and not by what the script leaves running. The \
               second form is a first line that lets one copy of a script run at a time.",
        lines: &[
            "procession lock acquire nightly -n || exit 0",
            "#!/usr/bin/env -S procession lock -n nightly -- bash",
        ],
    },
    Recipe {
        title: "Nothing left behind, and a stand-by that takes over",
        text: "The first line fails a CI job that left objects which nobody uses. The second is \
               started on several terminals: one scheduler runs, and when it is killed, the next.",
        lines: &[
            "procession ls --orphaned --json | jq -e 'length == 0'",
            "procession lock leader -- ./scheduler",
        ],
    },
];

/// How wide texts are.
const WIDTH: usize = 78;

/// All of them on stdout.
///
/// # Errors
/// As [`output::line`].
pub(crate) fn print() -> Result<(), Failure> {
    let texts = RECIPES.iter().enumerate().map(|(place, recipe)| {
        let lines = recipe.lines.iter().map(|line| format!("    {line}\n")).collect::<String>();
        format!("{}. {}\n\n{}\n\n{lines}", place + 1, recipe.title, wrapped(recipe.text))
    });
    output::line(texts.collect::<Vec<_>>().join("\n").trim_end())
}

/// The text in lines that are not too long.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{RECIPES, WIDTH, wrapped};

    #[test]
    fn recipes_fit_a_terminal() {
        for recipe in &RECIPES {
            assert!(recipe.lines.iter().all(|line| line.chars().count() <= 76), "{recipe:?}");
            assert!(wrapped(recipe.text).lines().all(|line| line.chars().count() <= WIDTH), "{recipe:?}");
        }
    }
}
