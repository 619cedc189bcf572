//! Reasons why a figure of the host is not known.

use std::io;

use procfs::ProcError;
use rustix::io::Errno;

/// Reason why a figure of the host is not known. None of them is a fault of deia: a container, an
/// older kernel or `hidepid` shows less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The kernel or the container does not have the figure.
    Absent,
    /// This process may not read the figure.
    AuthFailure,
    /// The file exists, but cannot be read or has another format.
    Unreadable,
}

impl Unknown {
    /// Returns the reason, in words.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Absent => "the kernel or the container does not show it",
            Self::AuthFailure => "deia may not read it",
            Self::Unreadable => "it is there, but has another format",
        }
    }
}

impl From<io::Error> for Unknown {
    fn from(error: io::Error) -> Self {
        match (error.kind(), Errno::from_io_error(&error)) {
            (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, _) => Self::Absent,
            (io::ErrorKind::PermissionDenied, _) => Self::AuthFailure,
            // PSI is compiled in but switched off, or the process ended meanwhile.
            (_, Some(Errno::OPNOTSUPP | Errno::SRCH | Errno::NODEV)) => Self::Absent,
            _ => Self::Unreadable,
        }
    }
}

impl From<ProcError> for Unknown {
    fn from(error: ProcError) -> Self {
        match error {
            ProcError::NotFound(_) => Self::Absent,
            ProcError::PermissionDenied(_) => Self::AuthFailure,
            ProcError::Io(error, _) => error.into(),
            _ => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart() {
        for (errno, expected) in [
            (Errno::NOENT, Unknown::Absent),
            (Errno::NOTDIR, Unknown::Absent),
            (Errno::OPNOTSUPP, Unknown::Absent),
            (Errno::SRCH, Unknown::Absent),
            (Errno::ACCESS, Unknown::AuthFailure),
            (Errno::PERM, Unknown::AuthFailure),
            (Errno::IO, Unknown::Unreadable),
            (Errno::MFILE, Unknown::Unreadable),
        ] {
            let error = || io::Error::from(errno);
            assert_eq!(Unknown::from(error()), expected, "{errno:?}");
            assert_eq!(
                Unknown::from(ProcError::from(error())),
                expected,
                "{errno:?}"
            );
        }
        assert_eq!(
            Unknown::from(ProcError::Incomplete(None)),
            Unknown::Unreadable
        );
    }
}
