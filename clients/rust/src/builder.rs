//! Construction of a client: the checks before anything is sent.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{Url, header::HeaderValue, redirect};

use super::{ClientError, Secret};

/// Default URL of a hive.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8000";

/// Time for a request, unless the builder sets another. Fixed: of the client library,
/// whose callers do not depend on it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a connection, unless the builder sets another. Fixed: of the client library,
/// whose callers do not depend on it.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest result is 64 MiB, and JSON may escape each byte with six. Fact: RFC 8259,
/// 7: JSON may write a byte as six.
const DEFAULT_MAX_BODY_BYTES: usize = 400 << 20;

/// A client of one hive. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub(super) http: reqwest::Client,
    pub(super) base: Url,
    pub(super) key: Option<HeaderValue>,
    pub(super) timeout: Duration,
    pub(super) max_body_bytes: usize,
    pub(super) changing: Arc<AtomicBool>,
    pub(super) changed: Arc<AtomicBool>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.url())
            .field("has_key", &self.key.is_some())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Starts with the base URL of a hive, such as [`DEFAULT_URL`].
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            url: url.into(),
            key: None,
            timeout: DEFAULT_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            authorities: None,
        }
    }

    /// Returns the base URL, without a trailing slash.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Returns whether the base URL has a path, which is prepended to the routes.
    pub fn has_path(&self) -> bool {
        !matches!(self.base.path(), "" | "/")
    }

    /// Returns whether this client or a clone has sent a request that changes something
    /// and has not received its answer.
    pub fn is_changing(&self) -> bool {
        self.changing.load(Ordering::Relaxed)
    }

    /// Returns whether this client or a clone ever sent a request that changes
    /// something.
    pub fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Returns whether requests carry a key.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    url: String,
    key: Option<Secret>,
    timeout: Duration,
    connect_timeout: Duration,
    max_body_bytes: usize,
    authorities: Option<Vec<u8>>,
}

impl ClientBuilder {
    /// Sets the key that every request carries. Without a key only the health probes
    /// answer.
    #[must_use]
    pub fn key(mut self, key: Secret) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the time-out of a whole request, 30 s by default; long polls add their
    /// wait.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the time-out of connecting, 5 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the maximum size of an answer, in bytes.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Sets the certificate authorities (in PEM) that must have issued the certificate
    /// of the hive, instead of those that this machine trusts.
    #[must_use]
    pub fn authorities(mut self, pem: Vec<u8>) -> Self {
        self.authorities = Some(pem);
        self
    }

    /// Returns whether the URL names this machine.
    pub fn is_local(&self) -> bool {
        is_local(&self.url)
    }

    /// Creates the client, without connecting.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] if the URL is not one of a hive, if the key cannot be
    /// sent in a header, or if it would be sent unencrypted: over `http` to anything
    /// but this machine.
    pub fn build(self) -> Result<Client, ClientError> {
        let base = parse_base(&self.url)?;
        let key = self.key.as_ref().map(bearer).transpose()?;
        let encrypted = base.scheme() == "https";
        if key.is_some() && !encrypted && !is_this_machine(&base) {
            return Err(invalid_url(
                &self.url,
                "would send the key unencrypted over the network; use https, or a tunnel to 127.0.0.1",
            ));
        }
        let mut http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            // In a program where another crate has turned HTTP/2 on as well.
            .http1_only()
            .user_agent(concat!("deia/", env!("CARGO_PKG_VERSION")));
        http = if encrypted {
            // A process-wide choice that was made already is kept.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let http = http.https_only(true);
            match self.authorities.as_deref().map(authorities).transpose()? {
                Some(authorities) => http.tls_certs_only(authorities),
                None => http,
            }
        } else {
            // A proxy must not see the key, and loading the roots of trust takes
            // longer than a request to this machine.
            http.no_proxy().tls_backend_preconfigured(no_tls()?)
        };
        let http = http.build().map_err(|error| ClientError::Invalid {
            what: "the TLS set-up of this machine".into(),
            reason: format!("cannot be used: {error}"),
        })?;
        Ok(Client {
            http,
            base,
            key,
            timeout: self.timeout,
            max_body_bytes: self.max_body_bytes,
            changing: Arc::default(),
            changed: Arc::default(),
        })
    }
}

fn authorities(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, ClientError> {
    let refuse = |reason: String| ClientError::Invalid {
        what: "the file of certificate authorities".into(),
        reason,
    };
    let all = reqwest::Certificate::from_pem_bundle(pem);
    let all = all.map_err(|error| refuse(format!("cannot be read: {error}")))?;
    match all.is_empty() {
        true => Err(refuse("has no certificate in PEM".into())),
        false => Ok(all),
    }
}

fn no_tls() -> Result<rustls::ClientConfig, ClientError> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Invalid {
            what: "the TLS set-up of this program".into(),
            reason: format!("cannot be used: {error}"),
        })?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

fn bearer(key: &Secret) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(|_| {
        ClientError::Invalid {
            what: "the key".into(),
            reason: "has characters that no key has".into(),
        }
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn parse_base(text: &str) -> Result<Url, ClientError> {
    if !text.contains("://") {
        let reason =
            "is not complete; put http:// or https:// in front, as in http://127.0.0.1:8000";
        return Err(invalid_url(text, reason));
    }
    let url: Url = text
        .parse()
        .map_err(|error| invalid_url(text, &format!("is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid_url(text, "must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The text may contain a password: it is not repeated.
        return Err(ClientError::Invalid {
            what: "the URL".into(),
            reason: "must not hold a user or a password; the key goes into a file".into(),
        });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid_url(text, "must not have a query or a fragment"));
    }
    Ok(url)
}

fn invalid_url(url: &str, reason: &str) -> ClientError {
    ClientError::Invalid {
        what: format!("the URL {url:?}"),
        reason: reason.into(),
    }
}

/// Returns whether a base URL names this machine.
pub fn is_local(url: &str) -> bool {
    parse_base(url).is_ok_and(|url| is_this_machine(&url))
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_are_and_are_not_of_a_hive() {
        let key = || Secret::new("deia_a_b_c");
        for (url, ok) in [
            ("http://127.0.0.1:8000", true),
            ("http://127.0.0.1:8000/", true),
            ("http://127.9.9.9:1", true),
            ("http://[::1]:8000", true),
            ("http://localhost:8000", true),
            ("https://hive.example/prefix", true),
            ("http://hive.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://localhost.evil.example", false),
            ("ftp://127.0.0.1", false),
            ("127.0.0.1:8000", false),
            ("http://user:pw@127.0.0.1", false),
            ("http://127.0.0.1/?key=1", false),
            ("", false),
        ] {
            let built = Client::builder(url).key(key()).build();
            assert_eq!(built.is_ok(), ok, "{url}: {built:?}");
        }
        assert!(Client::builder("http://hive.example").build().is_ok());
    }

    #[test]
    fn neither_key_nor_password_is_shown() {
        let builder = Client::builder("http://127.0.0.1").key(Secret::new("s3cret"));
        assert!(!format!("{builder:?}").contains("s3cret"));
        let client = builder.build().unwrap();
        assert!(!format!("{client:?} {:?}", client.key).contains("s3cret"));
        for builder in [
            Client::builder("http://user:s3cret@127.0.0.1"),
            Client::builder("http://127.0.0.1").key(Secret::new("s3cret\n")),
        ] {
            let error = builder.build().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }
}
