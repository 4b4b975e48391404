//! What the tests of demos share.

use super::cli::{Running, Said, namespace_of, procession};

/// The demo at its own pace.
pub(crate) fn start(demo: &str) -> Running {
    Running::start(&mut procession(["demo", demo]))
}

/// Its end, after which nothing of it may be left.
pub(crate) fn end(demo: Running) -> Said {
    let pid = demo.pid();
    let said = demo.end();
    assert_eq!(namespace_of(&[pid].into()), None, "something is left behind: {said:?}");
    said
}

/// What the demo prints when all goes well.
pub(crate) fn plays(demo: &str) -> Vec<String> {
    let said = end(Running::start(&mut procession(["demo", demo, "--quick"])));
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.ends_with(": all right\n"), "{said:?}");
    said.stdout.lines().map(str::to_owned).collect()
}

/// The numbers in a line.
pub(crate) fn numbers(line: &str) -> Vec<u32> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}
