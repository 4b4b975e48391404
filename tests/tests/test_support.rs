//! `test_support!` where users will write it: deep in modules, in a crate without unsafe, beside other
//! output.
#![forbid(unsafe_code)]

mod inner {
    mod deeper {
        use procession::Process;
        use std::io::Write;

        procession::test_support!();

        #[test]
        fn a_function_of_a_nested_module_runs_elsewhere() {
            let child = Process::spawn(|n: u32| (n + 1, std::process::id()), 1).unwrap();
            let pid = child.pid();
            assert_eq!(child.join().unwrap(), (2, pid));
        }

        #[test]
        #[ignore = "run by the test below, which reads its output"]
        fn speaks_from_a_child_and_a_grandchild() {
            let speak = |line: String| writeln!(std::io::stdout(), "{line}").is_ok();
            let child = Process::spawn(
                move |line: String| {
                    let child = Process::spawn(speak, line + " and grandchild").unwrap();
                    child.join().unwrap() && speak("child".to_owned())
                },
                "child".to_owned(),
            );
            assert!(child.unwrap().join().unwrap());
        }
    }
}

#[test]
fn a_test_beside_the_module_may_start_processes_too() {
    let children: Vec<_> = (0..4_u8).map(|n| procession::Process::spawn(|n: u8| n * 2, n).unwrap()).collect();
    let results: Vec<u8> = children.into_iter().map(|child| child.join().unwrap()).collect();
    assert_eq!(results, [0, 2, 4, 6]);
}

#[test]
fn the_childs_output_arrives_without_the_harness_lines() {
    let test = "inner::deeper::speaks_from_a_child_and_a_grandchild";
    let this = std::env::current_exe().unwrap();
    let mut again = std::process::Command::new(this);
    let output = again.args([test, "--exact", "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("running").count(), 1, "{text}");
    assert_eq!(text.matches("test result").count(), 1, "{text}");
    let said: Vec<_> = text.lines().filter(|line| line.ends_with("child")).collect();
    assert_eq!(said, ["child and grandchild", "child"], "{text}");
}
