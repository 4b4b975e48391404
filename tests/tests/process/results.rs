//! What comes back: the result, through memory of any size, of functions and closures of every kind.

use crate::{end, status};
use procession::Process;

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
