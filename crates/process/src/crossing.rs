//! The trait of values that can go to another process and come back.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What crosses to another process and back: the arguments of a function and its result.
///
/// Every type has it that is serde's [`Serialize`] and [`Deserialize`](serde::Deserialize) and owns what it
/// is made of, because it is made anew on the other side: a `String`, not a `&str`; a `Vec`, not a slice.
/// There is nothing to implement: derive serde's two traits. It is a name of its own so that the compiler can
/// say what to do about a type that has them not.
///
/// Many errors have them not, [`std::io::Error`] for one. A function that returns such an error is started by
/// [`spawn_fallible`](crate::Process::spawn_fallible); by `spawn` it is refused when the program is built:
///
/// ```compile_fail
/// fn count_lines(path: String) -> std::io::Result<usize> {
///     Ok(std::fs::read_to_string(path)?.lines().count())
/// }
///
/// fn main() {
///     procession::init();
///     let _ = procession::Process::spawn(count_lines, "/there/is/none".to_owned());
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross to another process and back",
    label = "not serde's `Serialize` and `Deserialize`, or not owned",
    note = "arguments and results are made anew in the other process: derive serde::Serialize and serde::Deserialize",
    note = "what borrows does not cross: pass a `String` instead of a `&str`, a `Vec` instead of a slice",
    note = "errors such as std::io::Error do not cross: start the function by `spawn_fallible`, or return `Result<T, String>`, by `.map_err(|error| error.to_string())`"
)]
pub trait Crossing: Serialize + DeserializeOwned {}

// The bound that a type lacks is told by the trait's own words, not by those of the two behind it.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Crossing for T {}
