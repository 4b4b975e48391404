//! Functions by how many arguments they take.

/// A function of none to eight arguments, as a new process calls it: a `fn` item, or a closure that captures
/// nothing. `A` is what crosses to it: `()` to a function of none, the argument itself to a function of one, a
/// tuple to a function of several. Every such function has it; there is nothing to implement.
///
/// `M` is found out by the compiler and says nothing. What a closure's arguments are, the compiler has to find
/// in the closure: `|text: String| text.len()`.
///
/// ```
/// use procession::Process;
///
/// fn answer() -> u32 {
///     42
/// }
///
/// fn add(a: u32, b: u32) -> u32 {
///     a + b
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procession::init();
///     assert_eq!(Process::spawn(answer, ())?.join()?, 42);
///     assert_eq!(Process::spawn(add, (1, 2))?.join()?, 3);
///     assert_eq!(Process::spawn(|text: String| text.len(), "four".to_owned())?.join()?, 4);
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called with `{A}`",
    label = "takes other arguments than these, or more than eight, or is no function",
    note = "what crosses is `()` for a function of no argument, the argument itself for one of one, a tuple for one of several"
)]
pub trait Function<A, M>: Copy + 'static {
    /// What it returns.
    type Output;

    /// Calls it.
    #[doc(hidden)]
    fn call(self, arguments: A) -> Self::Output;
}

impl<F, A, R> Function<A, fn(A) -> R> for F
where
    F: Fn(A) -> R + Copy + 'static,
{
    type Output = R;

    fn call(self, argument: A) -> R {
        self(argument)
    }
}

macro_rules! of_several {
    ($($A:ident $a:ident)*) => {
        impl<F, $($A,)* R> Function<($($A,)*), fn($($A),*) -> R> for F
        where
            F: Fn($($A),*) -> R + Copy + 'static,
        {
            type Output = R;

            fn call(self, ($($a,)*): ($($A,)*)) -> R {
                self($($a),*)
            }
        }
    };
}

of_several!();
of_several!(A a B b);
of_several!(A a B b C c);
of_several!(A a B b C c D d);
of_several!(A a B b C c D d E e);
of_several!(A a B b C c D d E e G g);
of_several!(A a B b C c D d E e G g H h);
of_several!(A a B b C c D d E e G g H h I i);
