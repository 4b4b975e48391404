//! What comes back: the result, through memory of any size, of functions and closures of every kind.

use crate::{end, status};
use procession::{Process, ProcessError};

under_other_methods! {
    the_result_comes_back
    it_is_another_process
    several_arguments_are_a_tuple
    a_function_has_its_own_parameters_from_none_to_eight
    an_error_of_any_kind_arrives_as_its_texts
    generic_functions_and_closures_of_one_scope_are_told_apart
    big_arguments_and_results_cross_and_the_child_waits_for_nobody
    many_start_and_all_end;
    only by forkserver:
}

#[test]
fn the_result_comes_back() {
    assert_eq!(end(Process::spawn(|n: u64| n * n, 12).unwrap()).unwrap(), 144);
}

#[test]
fn it_is_another_process() {
    let child = Process::spawn(|()| std::process::id(), ()).unwrap();
    let pid = child.pid();
    assert_eq!(end(child).unwrap(), pid);
    assert_ne!(pid, std::process::id());
}

fn join_words(words: (String, Option<Vec<String>>, char)) -> Result<String, usize> {
    let (first, rest, separator) = words;
    rest.map(|rest| format!("{first}{separator}{}", rest.join(&separator.to_string()))).ok_or(first.len())
}

#[test]
fn several_arguments_are_a_tuple() {
    let rest = Some(vec!["b".to_owned(), "c".to_owned()]);
    let child = Process::spawn(join_words, ("a".to_owned(), rest, '-')).unwrap();
    assert_eq!(end(child).unwrap(), Ok("a-b-c".to_owned()));
    let child = Process::spawn(join_words, ("four".to_owned(), None, '-')).unwrap();
    assert_eq!(end(child).unwrap(), Err(4));
}

fn none() -> &'static str {
    "nothing"
}

#[expect(clippy::too_many_arguments, reason = "as many as there can be")]
fn eight(a: u8, b: u16, c: u32, d: u64, e: i8, f: String, g: Option<u8>, h: (u8, u8)) -> String {
    format!("{a} {b} {c} {d} {e} {f} {g:?} {h:?}")
}

#[test]
fn a_function_has_its_own_parameters_from_none_to_eight() {
    assert_eq!(end(Process::spawn(|| none().to_owned(), ()).unwrap()).unwrap(), "nothing");
    let arguments = (1, 2, 3, 4, -5, "six".to_owned(), Some(7), (8, 9));
    assert_eq!(end(Process::spawn(eight, arguments).unwrap()).unwrap(), "1 2 3 4 -5 six Some(7) (8, 9)");
    assert_eq!(
        end(Process::spawn(|a, b, c| a + b - u64::from(c), (5_u64, 6_u64, 7_u8)).unwrap()).unwrap(),
        4
    );
    // A tuple is one argument where the function takes one.
    assert_eq!(end(Process::spawn(|(a, b)| a * b, (5, 6)).unwrap()).unwrap(), 30);
    assert_eq!(end(Process::spawn(|()| 1, ()).unwrap()).unwrap(), 1);
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no number of jobs")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn parse(text: String) -> Result<u32, Outer> {
    text.parse().map_err(Outer)
}

fn parse_boxed(text: String, twice: bool) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    let number: u32 = parse(text)?;
    Ok(if twice { 2 * number } else { number })
}

#[test]
fn an_error_of_any_kind_arrives_as_its_texts() {
    assert_eq!(end(Process::spawn_fallible(parse, "7".to_owned()).unwrap()).unwrap(), 7);
    assert_eq!(end(Process::spawn_fallible(parse_boxed, ("7".to_owned(), true)).unwrap()).unwrap(), 14);
    for child in [
        Process::spawn_fallible(parse, "x".to_owned()).unwrap(),
        Process::spawn_fallible(parse_boxed, ("x".to_owned(), false)).unwrap(),
        Process::options()
            .spawn_fallible(|| Err::<u32, _>(Outer("x".parse::<u32>().unwrap_err())), ())
            .unwrap(),
    ] {
        let (label, code) = (child.label().clone(), status(&child).code());
        let error = end(child).unwrap_err();
        assert_eq!(
            format!("{error:?}"),
            format!("{label} failed: no number of jobs: invalid digit found in string")
        );
        assert!(
            matches!(&error, ProcessError::Failed { error, .. } if error.to_string() == "no number of jobs")
        );
        assert_eq!(code, Some(1), "as a program does whose main returns an error");
    }
    let text = Process::spawn_fallible(|| Err::<(), _>("a text"), ()).unwrap();
    assert!(end(text).unwrap_err().to_string().contains("failed"));
}

fn generic<T: Default + PartialEq>(value: T) -> bool {
    value == T::default()
}

#[test]
fn generic_functions_and_closures_of_one_scope_are_told_apart() {
    assert!(end(Process::spawn(generic::<u8>, 0).unwrap()).unwrap());
    assert!(!end(Process::spawn(generic::<String>, "x".to_owned()).unwrap()).unwrap());
    let more = Process::spawn(|n: u32| n + 1, 10).unwrap();
    let less = Process::spawn(|n: u32| n - 1, 10).unwrap();
    assert_eq!((end(more).unwrap(), end(less).unwrap()), (11, 9));
}

#[test]
fn big_arguments_and_results_cross_and_the_child_waits_for_nobody() {
    const BIG: usize = 50_000_000;
    let text = "x".repeat(BIG);
    let child = Process::spawn(|text: String| text + "y", text).unwrap();
    // Nobody has joined: a child that wrote into a pipe would still be stuck.
    assert!(status(&child).success());
    let back = end(child).unwrap();
    assert_eq!(back.len(), BIG + 1);
    assert!(back.ends_with("xy"));
}

#[test]
fn many_start_and_all_end() {
    let children: Vec<_> = (0..40_u64).map(|n| Process::spawn(|n: u64| n * n, n).unwrap()).collect();
    let sum: u64 = children.into_iter().map(|child| end(child).unwrap()).sum();
    assert_eq!(sum, (0..40).map(|n| n * n).sum::<u64>());
}
