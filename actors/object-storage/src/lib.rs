//! Archives of a hive in the object storage of a cloud, beside directories: S3 and what speaks its
//! protocol, Google Cloud Storage, Azure.
//!
//! A crate of its own, because an archive ([`deia_archive`]) is restored without a runtime and
//! without HTTP; here are both. The calls block, so they must not be made on a thread that drives
//! a runtime. Credentials and endpoints come from the environment, as the tools of the clouds
//! have them, and never from a URL.

mod answers;
mod failure;
mod location;
mod provider;
mod storage;
mod transport;

use std::{sync::Arc, time::Duration};

use deia_archive::Storage;

use self::{location::Location, storage::ObjectStorage};

/// Everything that a storage in a cloud needs besides its URL.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Time within which a request must have an answer, or a part of one that moves.
    pub request_timeout: Duration,
    /// Makes the TLS configuration; called before the first request.
    pub tls: fn() -> Result<rustls::ClientConfig, rustls::Error>,
}

/// Opens the storage at a URL: a directory, a bucket or a container. Asks nobody: what is wrong
/// with the credentials or the endpoint is said by the calls of the storage.
///
/// # Errors
/// The URL is none of a storage; the message says what is expected, and has no credentials.
pub fn open(url: &str, needs: Needs) -> Result<Arc<dyn Storage>, String> {
    match Location::parse(url)? {
        Location::Directory => deia_archive::open(url),
        Location::Bucket(bucket) => {
            let storage = ObjectStorage::new(bucket, needs);
            let storage = storage.map_err(|error| format!("no thread for {url}: {error}"))?;
            Ok(Arc::new(storage))
        }
    }
}

/// Checks that a URL is one of a storage. Reads the text only.
///
/// # Errors
/// The reason why it is none, with what is expected and without credentials.
pub fn check(url: &str) -> Result<(), String> {
    Location::parse(url).map(drop)
}

/// Returns a URL for messages: one that may have credentials is cut behind its scheme.
pub fn shown(url: &str) -> String {
    location::shown(url)
}
