//! A panic on its way from a child, or from a worker, to the process that waits for the result.

use serde::{Deserialize, Serialize};

/// A panic: its message, its place, and its stack if that was wanted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Panic {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

/// Cuts a stack, as [`std::backtrace::Backtrace`] shows it, to the frames between where the panic began and
/// the function that was called by us: those that its writer knows. All of it where nothing would be left.
pub(crate) fn cut(backtrace: &str) -> String {
    let frames = frames(backtrace);
    let begin = frames.iter().rposition(|frame| frame.begins_a_panic()).map_or(0, |last| last + 1);
    let inner = frames.get(begin..).unwrap_or_default();
    let inner = &inner[inner.iter().take_while(|frame| frame.raises_a_panic()).count()..];
    let mut users = &inner[..inner.iter().take_while(|frame| !frame.is_ours()).count()];
    while let [before @ .., last] = users
        && last.calls_a_function()
    {
        users = before;
    }
    if users.is_empty() {
        return backtrace.to_owned();
    }
    users.iter().map(|frame| frame.text).collect()
}

/// A frame of a stack: the line with its number and its function, and the one with its place.
struct Frame<'a> {
    function: &'a str,
    text: &'a str,
}

impl Frame<'_> {
    fn is_in(&self, paths: &[&str]) -> bool {
        let function = self.function.trim_start_matches('<');
        paths.iter().any(|path| function.starts_with(path))
    }

    /// The frame in which std turns to the panic hook, and those that the hook has called, lie above it.
    fn begins_a_panic(&self) -> bool {
        self.function.ends_with("begin_panic_handler") || self.function.ends_with("rust_begin_unwind")
    }

    fn raises_a_panic(&self) -> bool {
        self.is_in(&[
            "core::panicking::",
            "std::panicking::",
            "core::option::",
            "core::result::",
            "core::slice::index::",
        ])
    }

    fn is_ours(&self) -> bool {
        // Also what a type of the user's does by a trait of ours: `<app::work as procession_process::…>::call`.
        self.is_in(&["procession_process::"]) || self.function.contains(" as procession_process::")
    }

    fn calls_a_function(&self) -> bool {
        self.is_in(&["core::ops::function::"])
    }
}

fn frames(backtrace: &str) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut rest = backtrace;
    while !rest.is_empty() {
        let first = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let mut end = first;
        // The lines until the next that begins with a number belong to this frame.
        while let Some(line) = rest[end..].split_inclusive('\n').next().filter(|line| number(line).is_none())
        {
            end += line.len();
        }
        let function = number(&rest[..first]).unwrap_or_default().trim_end();
        frames.push(Frame { function, text: &rest[..end] });
        rest = &rest[end..];
    }
    frames
}

/// The text behind the number of a frame.
fn number(line: &str) -> Option<&str> {
    let (number, function) = line.trim_start().split_once(": ")?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(function).filter(|_| !number.is_empty())
}

#[cfg(test)]
mod tests {
    use super::cut;

    const HOOK: &str = "   0: std::backtrace::Backtrace::create\n   1: procession_process::panic::seen\n             at \
        src/panic.rs:30\n   2: std::panicking::panic_with_hook\n   3: std::panicking::begin_panic_handler\n";

    #[test]
    fn what_is_left_of_a_stack_is_the_users() {
        let users = "   7: app::deep\n             at src/main.rs:3\n   8: app::work\n             at src/main.rs:9\n";
        let stack = format!(
            "{HOOK}   4: core::panicking::panic_fmt\n   5: core::result::unwrap_failed\n{users}   \
             9: core::ops::function::Fn::call\n  10: procession_process::child::entry\n  11: main\n"
        );
        assert_eq!(cut(&stack), users);
        let worker =
            stack.replace("procession_process::child::entry", "<procession_process::pool::Plain as X>::run");
        assert_eq!(cut(&worker), users);
        let called = stack.replace(
            "procession_process::child::entry",
            "<app::work as procession_process::function::Function<(), fn()>>::call",
        );
        assert_eq!(cut(&called), users);
    }

    #[test]
    fn a_stack_without_names_stays_whole() {
        for stack in ["", "   0: <unknown>\n   1: <unknown>\n", HOOK, "no frames at all"] {
            assert_eq!(cut(stack), stack);
        }
    }
}
