//! Failures of a storage, as the archive knows them.

use std::{error::Error, fmt, io, time::Duration};

/// Beginning of the text with which crate `object_store` wraps an answer. Fact: its `RequestError`,
/// which it does not export.
const STATUS: &str = "Server returned non-2xx status code: ";

/// An exchange without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing moved for too long.
    Stalled { host: String, limit: Duration },
    /// The connection failed.
    Broken { host: String, reason: String },
    /// The service that gives credentials to programs on this machine failed.
    NoCredentials { host: String, reason: String },
    /// The answer is longer than any object of an archive.
    TooLong { host: String },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled { host, limit } => {
                write!(
                    f,
                    "{host} did not answer within {} s (recovery.request_timeout)",
                    limit.as_secs_f64()
                )
            }
            Self::Broken { host, reason } => write!(f, "no answer from {host}: {reason}"),
            Self::NoCredentials { host, reason } => write!(
                f,
                "the environment has no credentials, and the metadata service of this machine at {host} gave none: {reason}"
            ),
            Self::TooLong { host } => write!(
                f,
                "the answer of {host} is longer than any object of an archive"
            ),
        }
    }
}

impl Error for Trouble {}

/// Returns the innermost reason of an error.
pub(crate) fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}

/// Converts an error of a store. The text has neither URLs nor headers, which may be secret.
pub(crate) fn of_store(error: &object_store::Error) -> io::Error {
    use object_store::Error as E;
    let root = root(error);
    if let Some(trouble) = root.downcast_ref::<Trouble>() {
        let kind = match trouble {
            Trouble::Stalled { .. } => io::ErrorKind::TimedOut,
            Trouble::NoCredentials { .. } => io::ErrorKind::PermissionDenied,
            Trouble::Broken { .. } => io::ErrorKind::NotConnected,
            Trouble::TooLong { .. } => io::ErrorKind::InvalidData,
        };
        return io::Error::new(kind, trouble.clone());
    }
    let text = root.to_string();
    let answer = text
        .strip_prefix(STATUS)
        .map(|it| it.trim_end_matches([' ', ':']));
    let status = answer.and_then(|it| it.get(..3)?.parse::<u16>().ok());
    let kind = match (error, status) {
        (E::NotFound { .. }, _) => io::ErrorKind::NotFound,
        (E::AlreadyExists { .. } | E::Precondition { .. }, _) => io::ErrorKind::AlreadyExists,
        (E::PermissionDenied { .. } | E::Unauthenticated { .. }, _) | (_, Some(401 | 403)) => {
            io::ErrorKind::PermissionDenied
        }
        (E::NotImplemented { .. } | E::NotSupported { .. }, _) | (_, Some(501)) => {
            io::ErrorKind::Unsupported
        }
        (E::InvalidPath { .. }, _) => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    let answer = answer.unwrap_or(&text);
    let text = match (kind, status) {
        (io::ErrorKind::PermissionDenied, _) => format!(
            "permission denied ({answer}): check the credentials in the environment of the hive, and their rights on the bucket"
        ),
        (_, Some(300..400)) => format!(
            "the store answered {answer}: check that the region and the endpoint are those of the bucket"
        ),
        (_, Some(_)) => format!("the store answered {answer}"),
        _ => answer.to_owned(),
    };
    io::Error::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Chain(&'static str, Option<Box<Chain>>);

    impl fmt::Display for Chain {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Chain {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_ref().map(|it| &**it as _)
        }
    }

    fn generic(source: impl Into<Box<dyn Error + Send + Sync>>) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: source.into(),
        }
    }

    fn status(text: &'static str) -> object_store::Error {
        let inner = Chain(text, None);
        let url = "Error performing GET https://h/b?X-Amz-Signature=hunter2";
        generic(Chain(url, Some(Box::new(inner))))
    }

    #[test]
    fn answers_have_kinds_and_no_urls() {
        use io::ErrorKind as K;
        for (text, kind, expected) in [
            (
                "Server returned non-2xx status code: 403 Forbidden: AccessDenied: no",
                K::PermissionDenied,
                "permission denied (403 Forbidden: AccessDenied: no): check the credentials in the environment of the hive, and their rights on the bucket",
            ),
            (
                "Server returned non-2xx status code: 404 Not Found: NoSuchBucket: none",
                K::Other,
                "the store answered 404 Not Found: NoSuchBucket: none",
            ),
            (
                "Server returned non-2xx status code: 501 Not Implemented: ",
                K::Unsupported,
                "the store answered 501 Not Implemented",
            ),
            (
                "Server returned non-2xx status code: 500 Internal Server Error: ",
                K::Other,
                "the store answered 500 Internal Server Error",
            ),
            ("something else", K::Other, "something else"),
        ] {
            let error = of_store(&status(text));
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, expected));
        }
    }

    #[test]
    fn trouble_is_found_below_other_errors() {
        let host = "h:1".to_owned();
        let limit = Duration::from_millis(1_500);
        let error = of_store(&generic(Trouble::Stalled { host, limit }));
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("within 1.5 s"), "{error}");
    }
}
