//! What comes through stdin.

use procession_sys::inherited::could_read_stdin;
use procession_terminal::exit::Failure;
use std::io::{ErrorKind, Read, stdin};

/// Appends what there is to be read, so many bytes at the most; how many, and 0 at the end.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read_some(bytes: &mut Vec<u8>, most: usize) -> Result<usize, Failure> {
    let failed = |why: &str| Err(Failure::Error(format!("cannot read stdin: {why}").into()));
    // To std a stdin that is not open is at its end.
    if !could_read_stdin() {
        return failed("it is not open for reading");
    }
    let len = bytes.len();
    bytes.resize(len + most, 0);
    loop {
        match stdin().lock().read(&mut bytes[len..]) {
            Ok(read) => {
                bytes.truncate(len + read);
                return Ok(read);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return failed(&error.to_string()),
        }
    }
}
