//! Fetches the keys of an issuer: over TLS, from the configured address, within a limit of time
//! and size.

use reqwest::redirect;
use serde::Deserialize;

use super::jwks::{JwksError, KeySet};
use crate::config::{IssuerSettings, JwtSettings};

/// Reason why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("it did not answer within auth.jwt.fetch_timeout")]
    TimedOut,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is longer than auth.jwt.max_document_bytes")]
    TooLong,
    #[error("its discovery document is not valid")]
    Discovery,
    #[error("its discovery document is of another issuer")]
    OtherIssuer,
    #[error("its discovery document has a jwks_uri that is not allowed")]
    Place,
    #[error("of its keys: {0}")]
    Keys(#[from] JwksError),
}

/// HTTP client that fetches keys.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    http: reqwest::Client,
}

/// Fields that are read of a discovery document (OpenID Connect Discovery 1.0, 3).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    /// Creates a fetcher that trusts the certificates that this machine trusts. Reads files.
    pub(crate) fn new(jwt: &JwtSettings) -> Result<Self, reqwest::Error> {
        // A provider that was installed earlier for the process stays in place.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .https_only(!jwt.allow_http_on_loopback)
            .pool_max_idle_per_host(0)
            // The feature HTTP/2 of the client is there for another crate.
            .http1_only()
            .user_agent(concat!("deia/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http })
    }

    /// Returns the current keys of that issuer.
    pub(crate) async fn keys(
        &self,
        issuer: &IssuerSettings,
        jwt: &JwtSettings,
    ) -> Result<KeySet, FetchError> {
        // Both documents share one timeout.
        let fetching = async {
            let url = match &issuer.jwks_url {
                Some(url) => url.clone(),
                None => self.discover(&issuer.issuer, jwt).await?,
            };
            if !jwt.may_fetch(&url) {
                return Err(FetchError::Place);
            }
            Ok(KeySet::parse(&self.get(&url, jwt).await?)?)
        };
        match tokio::time::timeout(jwt.fetch_timeout, fetching).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FetchError::TimedOut),
        }
    }

    async fn discover(&self, issuer: &str, jwt: &JwtSettings) -> Result<String, FetchError> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let document = self.get(&url, jwt).await?;
        let found: Discovery =
            serde_json::from_slice(&document).map_err(|_| FetchError::Discovery)?;
        match found.issuer == issuer {
            true => Ok(found.jwks_uri),
            false => Err(FetchError::OtherIssuer),
        }
    }

    async fn get(&self, url: &str, jwt: &JwtSettings) -> Result<Vec<u8>, FetchError> {
        let most = usize::try_from(jwt.max_document_bytes.as_u64()).unwrap_or(usize::MAX);
        let request = self.http.get(url).header("accept", "application/json");
        let mut answer = request.send().await?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if document.len() + chunk.len() > most {
                return Err(FetchError::TooLong);
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}
