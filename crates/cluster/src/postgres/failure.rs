//! Why a statement was not done, and what to do about it.

use super::address::in_words;
use crate::error::ClusterError;
use tokio_postgres::error::{Severity, SqlState};

/// Why a statement was not done.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The connection has ended, or the server did not answer in time.
    Gone(String),
    /// The server has found that waiting would never end.
    Deadlock,
    /// The server refuses, and would again.
    Refused(String),
}

impl Failure {
    pub(crate) fn into_error(self, place: &str) -> ClusterError {
        let place = place.to_owned();
        match self {
            Self::Gone(reason) => ClusterError::Unavailable { place, reason },
            Self::Deadlock => ClusterError::Unavailable { place, reason: "it found a deadlock".to_owned() },
            Self::Refused(reason) => ClusterError::Refused { place, reason },
        }
    }
}

/// What to do where another backend than ours answers.
pub(super) const POOLER: &str = "a pooler in transaction mode is in between, which gives each statement another session, and holds live in \
                      sessions: give the address of the server itself, or have the pooler pool sessions";

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            return Self::Gone(in_words(&error));
        };
        let text = answer.message().to_owned();
        match answer.code().code() {
            "PRX01" | "26000" => return Self::Refused(POOLER.to_owned()),
            // Another session does not look for our functions in our schema.
            "42883" | "42P01" => {
                return Self::Refused(format!("{text}: unless somebody has removed the schema, {POOLER}"));
            }
            "42501" => {
                return Self::Refused(format!(
                    "{text}: the role lacks rights. Have a role that may create schemas connect once (`procession worker \
                     --init`), and admit this one: SELECT procession.admit('ROLE'), with the name of the schema"
                ));
            }
            _ => {}
        }
        let refuses = |class: &&str| answer.code().code().starts_with(*class);
        if *answer.code() == SqlState::T_R_DEADLOCK_DETECTED {
            Self::Deadlock
        } else if ["25", "28", "3D", "42"].iter().any(refuses) {
            Self::Refused(text)
        } else if matches!(answer.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) {
            Self::Gone(text)
        } else {
            Self::Gone(format!("{text} ({})", answer.code().code()))
        }
    }
}
