//! The first line of `main`: turns a started copy of the program into a child, and makes the original ready
//! to start some.

use crate::current::myself;
use crate::error::SpawnError;
use crate::phase::{Phase, become_child_thread, child_thread};
use crate::{child, exit, own_threads};
use procession_sys::image::{Image, is_secure};
use procession_sys::start;
use std::ffi::OsStr;
use std::sync::OnceLock;
use std::thread;

/// The numbers of the descriptors that a child inherits: task, report, parent, stdout if it is to be
/// restored, and whatever the options added.
pub(crate) const VARIABLE: &str = "PROCESSION_CHILD";

/// How many ancestors a process may have and still start children.
const DEEPEST: u32 = 64;

static TEST_HELPER: OnceLock<&'static str> = OnceLock::new();

/// Makes this program able to run its functions in other processes. Call it in the first line of `main`.
///
/// [`Process::spawn`](crate::Process::spawn) starts the same program again. In the process that results, this
/// call does not return: it runs the function and exits, with code 0, or with code 1 after a panic. Whatever
/// stands before it in `main` therefore runs in every child too; whatever stands after it runs in the
/// original process alone.
///
/// In the original process it also arranges what happens at normal exit, as in Python: daemon children are
/// terminated, and the others are waited for.
///
/// # Panics
/// In a process whose environment has `PROCESSION_CHILD` without the open files it speaks of: somebody else
/// set it.
///
/// ```
/// use procession::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     let child = Process::spawn(|(a, b): (u32, u32)| a + b, (2, 3))?;
///     assert_eq!(child.join()?, 5);
///     Ok(())
/// }
/// ```
pub fn init() {
    become_child_if_started_as_one();
    if let Some(child) = child_thread() {
        // Called again by the function that the child runs: nothing to do. Called in the child by another
        // thread, this is a path that belongs to the original process: it must not go on.
        while child != thread::current().id() {
            thread::park();
        }
        return;
    }
    exit::register();
    Phase::Ready.begin();
}

fn become_child_if_started_as_one() {
    if is_secure() {
        return;
    }
    match start::take_inherited(OsStr::new(VARIABLE)) {
        None => {}
        Some(Ok(inherited)) => {
            if TEST_HELPER.get().is_some() {
                // The harness waits for the end of the test, which is this.
                own_threads::all_others_rest();
            }
            become_child_thread();
            Phase::Bootstrapping.begin();
            exit::register();
            child::run(inherited)
        }
        Some(Err(error)) => {
            panic!("{VARIABLE} is set, but the files it speaks of are not open ({error}); unset it")
        }
    }
}

/// Whether this process may start another, and if not, why.
pub(crate) fn permission() -> Result<(), SpawnError> {
    let depth = u32::try_from(myself().lineage.len()).unwrap_or(u32::MAX);
    if Phase::Bootstrapping.is_now() {
        Err(SpawnError::Bootstrapping)
    } else if Phase::New.is_now() && TEST_HELPER.get().is_none() {
        Err(SpawnError::NotInitialised)
    } else if is_secure() {
        Err(SpawnError::Secure)
    } else if Image::current().runs_under_loader() {
        Err(SpawnError::RunByLoader)
    } else if depth >= DEEPEST {
        Err(SpawnError::TooDeep { depth })
    } else {
        exit::register();
        Ok(())
    }
}

/// The name that the harness has for the test that children of a test program run, if the program is one: the
/// path of its module without the crate.
pub(crate) fn test_helper() -> Option<String> {
    let module = TEST_HELPER.get()?.split_once("::").map(|(_, inner)| format!("{inner}::"));
    Some(module.unwrap_or_default() + "procession_test_helper")
}

/// Notes the module of the helper test. Runs before `main`, so it does nothing but store the reference.
pub fn set_test_helper(module_path: &'static str) {
    TEST_HELPER.get_or_init(|| module_path);
}

/// The body of the helper test: runs the child's function in a child and nothing in an ordinary run.
pub fn run_test_helper() {
    become_child_if_started_as_one();
}
