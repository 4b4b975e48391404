//! Fencing tokens of a cluster.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A fencing token: a mark of one hold that is higher than the marks of all holds of the object that ended before
/// this one began.
///
/// Give it along with every write to something else, such as a file server, and have that refuse tokens that are lower
/// than the highest it has seen. Then a holder that is late, because it was stopped or cut off, cannot undo what its
/// successor wrote.
///
/// Tokens are ordered first by the timeline of the server, which every failover makes higher, then by a number. With
/// `shm:` the timeline is 0.
///
/// ```
/// use procession::cluster::Token;
///
/// let older: Token = "1-41".parse()?;
/// assert!(older < "1-42".parse()?);
/// assert!(older < "2-1".parse()?, "a failover has happened in between");
/// assert_eq!(older.to_string(), "1-41");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    timeline: u32,
    number: u64,
}

impl Token {
    pub(crate) fn new(timeline: u32, number: u64) -> Self {
        Self { timeline, number }
    }

    /// Which timeline of the server it is of: a number that every failover makes higher; 0 with `shm:`.
    #[must_use]
    pub fn timeline(self) -> u32 {
        self.timeline
    }

    /// The number within the timeline.
    #[must_use]
    pub fn number(self) -> u64 {
        self.number
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.timeline, self.number)
    }
}

/// Why a text is no [`Token`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no token: a token is two numbers with a hyphen between them, such as 1-42")]
pub struct InvalidToken {
    /// The text.
    pub text: String,
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let parsed = text.split_once('-').and_then(|(timeline, number)| {
            Some(Self { timeline: timeline.parse().ok()?, number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| InvalidToken { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_text_that_is_no_token_is_refused() {
        for text in ["", "1", "-1", "1-", "1-2-3", "a-1", "1--1"] {
            assert_eq!(text.parse::<Token>().unwrap_err().text, text);
        }
    }
}
