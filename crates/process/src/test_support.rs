//! Starting processes from tests, where `main` belongs to the harness.

/// Lets tests start processes: write it once in every test file (and once in the unit tests of a crate).
///
/// A test program has no `main` of its own in which to call [`init`](crate::init). This macro adds a test
/// named `procession_test_helper` instead: a child is the test program itself, told to run that one test,
/// which calls the child's function. In an ordinary run it passes at once. It works under `cargo test` and
/// under nextest.
///
/// The output of the child goes to the real stdout, past the harness's capturing.
///
/// ```
/// procession::test_support!();
///
/// #[test]
/// fn adds_elsewhere() {
///     let child = procession::Process::spawn(|(a, b): (u32, u32)| a + b, (2, 3)).unwrap();
///     assert_eq!(child.join().unwrap(), 5);
/// }
/// # fn main() {}
/// ```
#[expect(clippy::test_attr_in_doctest, reason = "the macro is for files of tests")]
#[macro_export]
macro_rules! test_support {
    () => {
        #[cfg(test)]
        #[test]
        fn procession_test_helper() {
            $crate::__private::run_test_helper();
        }

        #[cfg(test)]
        const _: () = {
            extern "C" fn note_test_helper() {
                $crate::__private::set_test_helper(module_path!());
            }
            #[used]
            #[unsafe(link_section = ".init_array")]
            static NOTE_TEST_HELPER: extern "C" fn() = note_test_helper;
        };
    };
}
