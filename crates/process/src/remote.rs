//! Errors that were returned in another process.

use procession_shm::fmt_with_causes;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;

/// What the error says, and what each of its causes says.
pub(crate) fn texts(error: &(dyn Error + 'static)) -> impl Iterator<Item = String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string)
}

/// An error that a function returned in another process, as its texts: what it says, and what its causes say.
/// Its type stays there.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct RemoteError {
    text: String,
    cause: Option<Box<RemoteError>>,
}

impl RemoteError {
    /// How many causes cross at most: an error may be its own cause.
    const MOST_CAUSES: usize = 64;

    pub(crate) fn new(error: &(dyn Error + 'static)) -> Self {
        Self::from_texts(texts(error))
    }

    fn from_texts(texts: impl Iterator<Item = String>) -> Self {
        let texts: Vec<String> = texts.take(1 + Self::MOST_CAUSES).collect();
        let around = |cause: Option<Self>, text| Some(Self { text, cause: cause.map(Box::new) });
        texts.into_iter().rev().fold(None, around).unwrap_or_default()
    }
}

impl From<Vec<String>> for RemoteError {
    fn from(texts: Vec<String>) -> Self {
        Self::from_texts(texts.into_iter())
    }
}

impl From<RemoteError> for Vec<String> {
    fn from(error: RemoteError) -> Self {
        let all = std::iter::successors(Some(&error), |error| error.cause.as_deref());
        all.map(|error| error.text.clone()).collect()
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_with_causes(self, f)
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// What a function may return as its error, to be had as a [`RemoteError`]: every [`Error`], a `String`, a
/// boxed error, `anyhow::Error`. Of a type that has only `Display`, return `error.to_string()`.
///
/// `M` is found out by the compiler and says nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no error that can be told to another process",
    note = "return an error (`std::error::Error`), a `String`, a `Box<dyn Error>` or an `anyhow::Error`, by `.map_err(|error| error.to_string())`"
)]
pub trait Failure<M> {
    /// Its texts.
    #[doc(hidden)]
    fn into_remote(self) -> RemoteError;
}

impl<E: Into<Box<dyn Error>>> Failure<Box<dyn Error>> for E {
    fn into_remote(self) -> RemoteError {
        let error: Box<dyn Error> = self.into();
        RemoteError::new(&*error)
    }
}

impl Failure<Box<dyn Error + Send + Sync>> for Box<dyn Error + Send + Sync> {
    fn into_remote(self) -> RemoteError {
        RemoteError::new(&*self)
    }
}

impl Failure<Box<dyn Error + Send>> for Box<dyn Error + Send> {
    fn into_remote(self) -> RemoteError {
        RemoteError::new(&*self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, RemoteError};
    use std::error::Error;
    use std::{fmt, io};

    fn told<E: Failure<M>, M>(error: E) -> String {
        format!("{:?}", error.into_remote())
    }

    #[derive(Debug)]
    struct Own(Option<io::Error>);

    impl fmt::Display for Own {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("own")
        }
    }

    impl Error for Own {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            match &self.0 {
                Some(cause) => Some(cause),
                // For ever.
                None => Some(self),
            }
        }
    }

    #[test]
    fn whatever_tells_of_an_error_is_told_with_its_causes() {
        let cause = || io::Error::other("cause");
        assert_eq!(told("a str"), "a str");
        assert_eq!(told("a string".to_owned()), "a string");
        assert_eq!(told(cause()), "cause");
        assert_eq!(told(Own(Some(cause()))), "own: cause");
        assert_eq!(told(Box::<dyn Error>::from(Own(Some(cause())))), "own: cause");
        assert_eq!(told(Box::new(cause()) as Box<dyn Error + Send>), "cause");
        assert_eq!(told(Box::<dyn Error + Send + Sync>::from(Own(Some(cause())))), "own: cause");
    }

    #[test]
    fn an_error_that_is_its_own_cause_ends() {
        let remote = Own(None).into_remote();
        let causes = std::iter::successors(remote.source(), |&error| error.source());
        assert_eq!(causes.count(), RemoteError::MOST_CAUSES);
    }
}
