//! The client: the only place where requests to URLs of others are resolved and sent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use reqwest::{
    Method, Response,
    header::{HeaderMap, HeaderName},
    redirect, retry,
};

use super::{
    error::ExchangeError,
    exchange::{Exchange, ExchangeLimits, HeadLimits, Phase, Progress, RequestBody},
    incoming::Incoming,
    lookup::{CheckedResolver, Lookup, LookupError},
    policy::ReachPolicy,
    refusal::ReachRefusal,
    target::{Scope, TargetHost, TargetUrl},
};

/// Time for which an unused connection is kept. Fixed: less than servers commonly keep theirs; one
/// that was closed is made again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a look-up. Fact: resolv.conf(5): the resolver itself waits 5 s for an answer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a connection, for users that have no setting of their own. Fixed: the deadline of the
/// whole exchange, which is a setting, holds as well.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that belong to the connection and the framing of the message (RFC 9110, 7.6.1 and
/// 10.1.1; RFC 9112, 6): callers cannot set them.
const RESERVED_HEADERS: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns true if callers of [`OutgoingClient::post`] cannot set the header.
pub(crate) fn is_reserved_header(name: &HeaderName) -> bool {
    RESERVED_HEADERS.contains(&name.as_str())
}

/// A request of an [`OutgoingClient`].
pub(crate) struct OutgoingRequest {
    /// Method of the request.
    pub(crate) method: Method,
    /// Headers besides those that HTTP and the client set.
    pub(crate) headers: HeaderMap,
    /// Body of the request; empty for none.
    pub(crate) body: Bytes,
}

/// Options of the connections of an [`OutgoingClient`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingOptions {
    /// Value of the header `User-Agent`.
    pub(crate) user_agent: String,
    /// Time for which an unused connection is kept. A later request looks the name up again.
    pub(crate) idle_timeout: Duration,
    /// Unused connections that are kept for each host and port.
    pub(crate) max_idle_per_host: usize,
    /// Time for a look-up.
    pub(crate) lookup_timeout: Duration,
    /// Time for a connection, shared by the addresses that are tried: look-up, TCP and TLS.
    pub(crate) connect_timeout: Duration,
    /// Headers that an answer may have.
    pub(crate) max_headers: usize,
}

impl Default for OutgoingOptions {
    fn default() -> Self {
        Self {
            user_agent: concat!("deia/", env!("CARGO_PKG_VERSION")).to_owned(),
            idle_timeout: IDLE_TIMEOUT,
            max_idle_per_host: 8,
            lookup_timeout: LOOKUP_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            max_headers: 100,
        }
    }
}

/// Client for URLs that others have chosen.
///
/// Follows no redirect, uses no proxy, decompresses nothing, and connects to addresses that the
/// policy has passed only. Each request is judged anew by the policy in force, and so is each
/// name whenever a connection is made; an open connection leads to an address that was checked.
///
/// Connections are driven by the runtime of the caller that made them.
pub(crate) struct OutgoingClient {
    lines: ArcSwap<Lines>,
    options: OutgoingOptions,
    tls: rustls::ClientConfig,
    lookup: Arc<dyn Lookup>,
}

/// A policy, and the connections that were made under it.
struct Lines {
    policy: Arc<ReachPolicy>,
    /// For [`Scope::PublicOrListed`].
    everywhere: reqwest::Client,
    /// For [`Scope::ListedOnly`]: the resolver does not learn the port, so that hosts of the two
    /// scopes have resolvers and connections of their own.
    listed: reqwest::Client,
}

/// Returns a TLS configuration that trusts the certificates that this machine trusts. Reads
/// files. Certificates that cannot be read are left out, with a warning.
pub(crate) fn system_tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read trusted certificates");
    }
    let mut roots = rustls::RootCertStore::empty();
    let (trusted, unreadable) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        tracing::warn!(
            unreadable,
            "no trusted certificates on this machine: https requests will fail; install \
             ca-certificates, or set SSL_CERT_FILE"
        );
    }
    tls_trusting(roots)
}

/// Returns a TLS configuration that trusts these roots.
pub(crate) fn tls_trusting(
    roots: rustls::RootCertStore,
) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

impl OutgoingClient {
    /// Creates a client with no connections.
    ///
    /// # Errors
    /// The client cannot be built from these options: the user agent is not a header value.
    pub(crate) fn new(
        policy: ReachPolicy,
        options: OutgoingOptions,
        tls: rustls::ClientConfig,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, reqwest::Error> {
        let lines = Lines::new(policy, &options, &tls, &lookup)?;
        Ok(Self {
            lines: ArcSwap::from_pointee(lines),
            options,
            tls,
            lookup,
        })
    }

    /// Returns the policy in force.
    pub(crate) fn policy(&self) -> Arc<ReachPolicy> {
        Arc::clone(&self.lines.load().policy)
    }

    /// Puts another policy in force. Connections of the old one are not used again; exchanges
    /// that have begun end under it.
    ///
    /// # Errors
    /// As [`Self::new`]; the old policy stays in force.
    pub(crate) fn set_policy(&self, policy: ReachPolicy) -> Result<(), reqwest::Error> {
        if *self.lines.load().policy == policy {
            return Ok(());
        }
        let lines = Lines::new(policy, &self.options, &self.tls, &self.lookup)?;
        self.lines.store(Arc::new(lines));
        Ok(())
    }

    /// Sends a request with that body, and reads the answer within the limits.
    pub(crate) async fn post(
        &self,
        target: &TargetUrl,
        headers: HeaderMap,
        body: Bytes,
        limits: ExchangeLimits,
    ) -> Exchange {
        let begun = Instant::now();
        let progress = Progress::new();
        let lines = self.lines.load_full();
        let request = OutgoingRequest {
            method: Method::POST,
            headers,
            body,
        };
        let exchange = async {
            let response = self.send(&lines, target, request, &progress).await?;
            let incoming = Incoming::new(response, progress.clone(), limits.head())?;
            incoming.read(limits.max_body_bytes).await
        };
        let timed = tokio::time::timeout(limits.deadline, progress.scope(exchange));
        let outcome = Box::pin(timed)
            .await
            .unwrap_or_else(|_| Err(progress.timed_out(limits.deadline)));
        Exchange {
            outcome,
            duration: begun.elapsed(),
        }
    }

    /// Sends a request, and returns the answer as soon as its head is there. The body is read
    /// from the answer; dropping that ends the exchange and its connection.
    ///
    /// # Errors
    /// There is no answer, or its head exceeds the limits. The time of its body has no limit
    /// here.
    pub(crate) async fn open(
        &self,
        target: &TargetUrl,
        request: OutgoingRequest,
        limits: HeadLimits,
    ) -> Result<Incoming, ExchangeError> {
        let progress = Progress::new();
        let lines = self.lines.load_full();
        let sending = async {
            let response = self.send(&lines, target, request, &progress).await?;
            Incoming::new(response, progress.clone(), limits)
        };
        let timed = tokio::time::timeout(limits.deadline, progress.scope(sending));
        Box::pin(timed)
            .await
            .unwrap_or_else(|_| Err(progress.timed_out(limits.deadline)))
    }

    /// Connects to the host and closes the connection, to see whether something listens there.
    /// Nothing is sent.
    ///
    /// # Errors
    /// The policy is against it, the name has no address, or no address accepts a connection.
    pub(crate) async fn knock(
        &self,
        target: &TargetUrl,
        deadline: Duration,
    ) -> Result<(), ExchangeError> {
        let policy = Arc::clone(&self.lines.load().policy);
        let target = policy.check_url(target.url().as_str())?;
        let progress = Progress::new();
        let knocking = async {
            let addresses = match target.host() {
                TargetHost::Address(address) => vec![*address],
                TargetHost::Name(name) => {
                    progress.enter(Phase::Lookup);
                    let found = self.lookup.lookup(name).await;
                    found.map_err(|error| ExchangeError::Lookup(LookupError::Failed(error)))?
                }
            };
            let checked = policy.check_addresses(&target, &addresses)?;
            progress.enter(Phase::Connect);
            let connected = tokio::net::TcpStream::connect(&checked[..]).await;
            connected
                .map(drop)
                .map_err(|error| ExchangeError::Connect(error.to_string()))
        };
        let timed = tokio::time::timeout(deadline, knocking);
        timed
            .await
            .unwrap_or_else(|_| Err(progress.timed_out(deadline)))
    }

    async fn send(
        &self,
        lines: &Lines,
        target: &TargetUrl,
        request: OutgoingRequest,
        progress: &Progress,
    ) -> Result<Response, ExchangeError> {
        let OutgoingRequest {
            method,
            headers,
            body,
        } = request;
        if let Some(name) = headers.keys().find(|name| is_reserved_header(name)) {
            let problem = format!("the header {name} is reserved");
            return Err(ExchangeError::Request(problem));
        }
        // The policy may have changed since the URL was judged.
        let target = lines.policy.check_url(target.url().as_str())?;
        let body = reqwest::Body::wrap(RequestBody {
            bytes: body,
            progress: progress.clone(),
        });
        let request = lines
            .client(target.scope())
            .request(method, target.url().clone())
            .headers(headers)
            .body(body);
        request.send().await.map_err(|error| {
            match ExchangeError::of(error, progress.phase(), self.options.connect_timeout) {
                ExchangeError::Refused(ReachRefusal { reason, .. }) => {
                    ExchangeError::Refused(lines.policy.refusal_of(&target, reason))
                }
                other => other,
            }
        })
    }
}

impl std::fmt::Debug for OutgoingClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OutgoingClient({:?})", self.policy())
    }
}

impl Lines {
    fn new(
        policy: ReachPolicy,
        options: &OutgoingOptions,
        tls: &rustls::ClientConfig,
        lookup: &Arc<dyn Lookup>,
    ) -> Result<Self, reqwest::Error> {
        let policy = Arc::new(policy);
        let client = |scope| {
            let resolver = CheckedResolver {
                policy: Arc::clone(&policy),
                scope,
                lookup: Arc::clone(lookup),
                timeout: options.lookup_timeout,
            };
            client(resolver, options, tls)
        };
        Ok(Self {
            everywhere: client(Scope::PublicOrListed)?,
            listed: client(Scope::ListedOnly)?,
            policy,
        })
    }

    fn client(&self, scope: Scope) -> &reqwest::Client {
        match scope {
            Scope::PublicOrListed => &self.everywhere,
            Scope::ListedOnly => &self.listed,
        }
    }
}

fn client(
    resolver: CheckedResolver,
    options: &OutgoingOptions,
    tls: &rustls::ClientConfig,
) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(resolver)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .referer(false)
        // Explicit, since other crates may turn the features on.
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .http1_only()
        .http1_max_headers(options.max_headers)
        .user_agent(&options.user_agent)
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(options.idle_timeout)
        .pool_max_idle_per_host(options.max_idle_per_host)
        .build()
}

#[cfg(test)]
mod tests;
