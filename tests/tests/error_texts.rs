//! What errors say: the cause of an error is told once, by the cause.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

/// Checks what an error says with its causes, and which case it is: of an error, `says!(error, text)`; of an
/// outcome, `says!(case, outcome, text)`. The case stands first, where
/// [`every_case_of_every_error_has_a_text`] finds it.
macro_rules! says {
    ($error:expr, $text:expr $(,)?) => {
        assert_eq!(told(&$error), $text)
    };
    ($case:pat, $outcome:expr, $text:expr $(,)?) => {
        match $outcome {
            Ok(_) => panic!("it went well: {}", stringify!($outcome)),
            Err(error) => {
                assert!(matches!(error, $case), "{error:?}");
                assert_eq!(told(&error), $text);
            }
        }
    };
}

#[path = "error_texts/cases.rs"]
mod cases;
#[path = "error_texts/channel.rs"]
mod channel;
#[path = "error_texts/collections.rs"]
mod collections;
#[path = "error_texts/names.rs"]
mod names;
#[path = "error_texts/process.rs"]
mod process;
#[path = "error_texts/sync.rs"]
mod sync;

use procession::{Lock, OpenError, Pool, Process, ProcessError, Queue};
use procession_tests::{isolate, sources};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::error::Error;
use std::path::Path;

procession::test_support!();

/// The text with its causes, which is what `Debug` prints, too.
fn told(error: &(dyn Error + 'static)) -> String {
    let text = texts(error).join(": ");
    assert_eq!(format!("{error:?}"), text, "Debug prints something else");
    // Where the tests are, and no user's object.
    text.replace(" in a private namespace", "")
}

/// The texts of an error and its causes.
fn texts(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

/// A transparent error has its cause's text for its own; any other must not repeat it.
fn assert_tells_each_cause_once(error: &(dyn Error + 'static)) {
    let texts = texts(error);
    for (nth, text) in texts.iter().enumerate() {
        for cause in &texts[nth + 1..] {
            assert!(text == cause || !text.contains(cause.as_str()), "{text:?} repeats {cause:?}");
        }
    }
}

#[derive(Debug)]
struct Uncrossable;

impl Serialize for Uncrossable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not even once"))
    }
}

impl<'de> Deserialize<'de> for Uncrossable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[test]
fn errors_as_they_come_tell_each_cause_once() {
    isolate();
    let spawn = Process::spawn(|_: Uncrossable| (), Uncrossable).unwrap_err();
    assert!(texts(&spawn).len() > 1, "{spawn}");
    let child = Process::spawn(|()| (), ()).unwrap();
    let kernel = child.signal(12345);
    let wrong: Process<u64> = Process::spawn(|()| 7, ()).unwrap();
    assert_eq!(wrong.join().unwrap(), 7);
    let queue = Queue::<Uncrossable>::new().unwrap();
    let missing: OpenError = Lock::open("there-is-none").unwrap_err();
    let none = Pool::new(0).unwrap_err();
    let exited: ProcessError =
        Process::spawn(|()| std::process::exit(1), ()).map(Process::<()>::join).unwrap().unwrap_err();
    let errors: [Box<dyn Error>; 6] = [
        Box::new(spawn),
        kernel
            .err()
            .map_or_else(|| "the child was gone already".into(), |error| Box::new(error) as Box<dyn Error>),
        Box::new(queue.put(&Uncrossable).unwrap_err()),
        Box::new(missing),
        Box::new(none),
        Box::new(exited),
    ];
    errors.iter().for_each(|error| assert_tells_each_cause_once(error.as_ref()));
}

/// The error attributes of `text` that show the field which they also hand out as the cause.
fn repetitions(text: &str) -> Vec<&str> {
    let attributes = text.split("#[error(").skip(1);
    let shows_its_cause = |attribute: &&str| {
        let (message, rest) = attribute.split_once(")]\n").unwrap_or((attribute, ""));
        // Up to the next variant, which has a comment, or the end of the type.
        let item = rest.split("///").next().unwrap_or_default().split("\n}").next().unwrap_or_default();
        let first = message.contains("{0") && (item.contains("(#[from]") || item.contains("(#[source]"));
        first || message.contains("{source") && item.contains("source:")
    };
    attributes.filter(shows_its_cause).collect()
}

#[test]
fn no_error_type_shows_the_cause_that_it_also_hands_out() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates"), &mut files);
    assert!(files.len() > 100, "{}", files.len());
    let mut seen = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        // Unit tests may try what goes wrong.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        seen += text.matches("#[error(").count();
        assert_eq!(repetitions(text), Vec::<&str>::new(), "{}", file.display());
    }
    assert!(seen > 100, "{seen}");
    let wrong = "#[error(\"reading: {0}\")]\n    Read(#[from] io::Error),\n}\n#[error(\"x: {source}\")]\nstruct X {\n    source: E,\n}";
    assert_eq!(repetitions(wrong).len(), 2);
}
