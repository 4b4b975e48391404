//! How a process ended.

use procession_sys::pidfd::Ended;
use procession_sys::signals;
use std::fmt;
use std::os::unix::process::ExitStatusExt;

/// How a process ended: by itself with a code, or by a signal.
///
/// Rarely neither: when `SIGCHLD` is ignored, or other code waits for any child, the process is known to have
/// ended but its status is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(Option<Ended>);

impl ExitStatus {
    /// Ended, but nobody can learn how.
    pub(crate) const LOST: Self = Self(None);

    pub(crate) const fn known(ended: Ended) -> Self {
        Self(Some(ended))
    }

    /// The exit code, if the process exited by itself.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        match self.0 {
            Some(Ended::Exited(code)) => Some(code),
            _ => None,
        }
    }

    /// The signal that killed the process, if one did.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        match self.0 {
            Some(Ended::Signaled(signal)) => Some(signal),
            _ => None,
        }
    }

    /// The name of the signal that killed the process, such as `SIGKILL`; a real-time signal has none.
    #[must_use]
    pub fn signal_name(self) -> Option<&'static str> {
        self.signal().and_then(signals::name)
    }

    /// Whether the process exited with code 0.
    #[must_use]
    pub fn success(self) -> bool {
        self.code() == Some(0)
    }

    /// Whether the status was lost.
    #[must_use]
    pub fn is_lost(self) -> bool {
        self.0.is_none()
    }

    /// The number that Python's `Process.exitcode` would show: the exit code, the negative signal number, or
    /// 255 for a lost status.
    #[must_use]
    pub fn as_python(self) -> i32 {
        match self.0 {
            Some(Ended::Exited(code)) => code,
            Some(Ended::Signaled(signal)) => -signal,
            None => 255,
        }
    }
}

impl From<std::process::ExitStatus> for ExitStatus {
    fn from(status: std::process::ExitStatus) -> Self {
        let exited = status.code().map(Ended::Exited);
        Self(exited.or_else(|| status.signal().map(Ended::Signaled)))
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Ended::Exited(code)) => write!(f, "exit code {code}"),
            Some(Ended::Signaled(signal)) => write!(f, "killed by {}", signals::words(signal)),
            None => f.write_str("its exit status was lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ExitStatus;
    use procession_sys::pidfd::Ended;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn each_end_reads_as_itself() {
        let exited = ExitStatus::known(Ended::Exited(7));
        assert_eq!((exited.code(), exited.signal(), exited.success()), (Some(7), None, false));
        assert_eq!((exited.as_python(), exited.to_string().as_str()), (7, "exit code 7"));
        let killed = ExitStatus::known(Ended::Signaled(9));
        assert_eq!((killed.code(), killed.signal(), killed.success()), (None, Some(9), false));
        assert_eq!(
            (killed.signal_name(), killed.as_python(), killed.to_string().as_str()),
            (Some("SIGKILL"), -9, "killed by SIGKILL")
        );
        assert!(ExitStatus::known(Ended::Exited(0)).success());
        let raw = |status| ExitStatus::from(std::process::ExitStatus::from_raw(status));
        assert_eq!([raw(7 << 8), raw(9)], [exited, killed]);
        assert!(ExitStatus::LOST.is_lost() && !ExitStatus::LOST.success());
        assert_eq!(
            (ExitStatus::LOST.as_python(), ExitStatus::LOST.to_string().as_str()),
            (255, "its exit status was lost")
        );
    }
}
