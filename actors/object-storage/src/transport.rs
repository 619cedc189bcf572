//! Requests of crate `object_store`, with the limits, the certificates and the manners of deia.
//!
//! A limit on a whole request would have to be long enough for the largest object over the slowest
//! link, and a store that hangs would be noticed that late. So it is on progress: each piece of a
//! body has to move within the limit, and so has the answer to come.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};
use reqwest::{StatusCode, redirect};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::{
    answers::summary,
    failure::{Trouble, root},
};

/// Bytes of a body that have to move within the limit. Fixed: the slowest link that is of use.
pub(crate) const PIECE: usize = 64 << 10;
/// Longest body of an answer. Fixed: objects of an archive have a quarter of that
/// (`recovery.piece_max_bytes`).
pub(crate) const BODY_MAX: u64 = 1 << 30;
/// Longest part of a refusal that is read. Fixed: refusals have hundreds of bytes.
const REFUSAL_MAX: usize = 16 << 10;
/// Time for a connection, if the limit is longer. Fixed: a network that needs more is down.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Time for an answer of a service on this machine. Fixed: where it does not exist, nothing answers.
const METADATA_WITHIN: Duration = Duration::from_secs(2);
/// Connections that are kept for later requests. Fixed: few threads use a storage.
const IDLE_MAX: usize = 4;

/// Makes clients with one TLS configuration and one limit.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) tls: rustls::ClientConfig,
    pub(crate) limit: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allowed = options.get_config_value(&ClientConfigKey::AllowHttp);
        let https_only = allowed.as_deref() != Some("true");
        let client = |uses_proxy: bool| {
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(self.tls.clone())
                .https_only(https_only)
                // A store in another region, or none: following would sign for the wrong host.
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                // The size of an answer is the size of an object.
                .no_gzip()
                .no_brotli()
                .no_deflate()
                .no_zstd()
                .http1_only()
                .user_agent(concat!("deia/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_WITHIN.min(self.limit))
                .pool_max_idle_per_host(IDLE_MAX);
            let builder = match uses_proxy {
                true => builder,
                false => builder.no_proxy(),
            };
            builder
                .build()
                .map_err(|error| object_store::Error::Generic {
                    store: "HTTP",
                    source: error.without_url().into(),
                })
        };
        Ok(HttpClient::new(Transport {
            distant: client(true)?,
            near: client(false)?,
            limit: self.limit,
        }))
    }
}

/// Sends requests.
#[derive(Clone, Debug)]
struct Transport {
    /// Uses the proxy of the environment, if there is one.
    distant: reqwest::Client,
    near: reqwest::Client,
    limit: Duration,
}

/// A host that a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// On this machine.
    Loopback,
    /// A service of the cloud that gives credentials to programs on this machine.
    Metadata,
    Other,
}

impl Host {
    fn of(name: &str) -> Self {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        match name.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => Self::Loopback,
            Ok(IpAddr::V4(address)) if address.is_link_local() => Self::Metadata,
            // Fact: the address of the metadata service of EC2.
            Ok(IpAddr::V6(address)) if address.segments()[..2] == [0xfd00, 0xec2] => Self::Metadata,
            Err(_) if name.eq_ignore_ascii_case("localhost") => Self::Loopback,
            Err(_) if name.starts_with("metadata.google.internal") => Self::Metadata,
            _ => Self::Other,
        }
    }
}

/// Returns true if a host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    Host::of(host) == Host::Loopback
}

impl HttpService for Transport {
    fn call<'a: 'b, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> BoxFuture<'b, Result<HttpResponse, HttpError>>
    where
        Self: 'b,
    {
        Box::pin(self.exchange(request))
    }
}

impl Transport {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let unusable = |error: url::ParseError| HttpError::new(HttpErrorKind::Unknown, error);
        let url = url::Url::parse(&parts.uri.to_string()).map_err(unusable)?;
        let name = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let host = Host::of(url.host_str().unwrap_or_default());
        let (client, limit) = match host {
            Host::Loopback => (&self.near, self.limit),
            Host::Metadata => (&self.near, self.limit.min(METADATA_WITHIN)),
            Host::Other => (&self.distant, self.limit),
        };
        let moved = Arc::new(AtomicU64::new(0));
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(match body.content_length() {
            0 => Bytes::new().into(),
            _ => reqwest::Body::wrap(Sent {
                body,
                moved: moved.clone(),
            }),
        });
        let watch = Watch { host, name, limit };
        let answer = watch.wait(client.execute(request), &moved).await?;
        match answer.status() {
            status if status.is_client_error() || status.is_server_error() => {
                watch.refusal(answer).await
            }
            _ => Ok(watch.body_of(answer)),
        }
    }
}

/// The limit on an exchange with a host.
struct Watch {
    host: Host,
    name: String,
    limit: Duration,
}

impl Watch {
    /// Waits for an answer while the body of its request moves.
    async fn wait(
        &self,
        answer: impl Future<Output = Result<reqwest::Response, reqwest::Error>>,
        moved: &AtomicU64,
    ) -> Result<reqwest::Response, HttpError> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let before = moved.load(Ordering::Relaxed);
            match timeout(self.limit, &mut answer).await {
                Ok(answer) => return answer.map_err(|error| self.failed(&error)),
                Err(_) if moved.load(Ordering::Relaxed) > before => {}
                Err(_) => return Err(self.stalled()),
            }
        }
    }

    /// Returns a refusal with what may be shown of it.
    async fn refusal(&self, mut answer: reqwest::Response) -> Result<HttpResponse, HttpError> {
        let reading = async {
            let mut read = Vec::new();
            while read.len() < REFUSAL_MAX
                && let Some(chunk) = answer.chunk().await?
            {
                read.extend_from_slice(&chunk);
            }
            Ok::<_, reqwest::Error>(read)
        };
        let read = timeout(self.limit, reading).await;
        let read = read.map_err(|_| self.stalled())?;
        let text = summary(&read.map_err(|error| self.failed(&error))?);
        let status = answer.status();
        // Without a role the metadata service has no credentials. 403: another way is tried.
        if self.host == Host::Metadata
            && status.is_client_error()
            && status != StatusCode::FORBIDDEN
        {
            return Err(self.broken(HttpErrorKind::Unknown, format!("{status} {text}")));
        }
        let mut refusal = http::Response::new(HttpResponseBody::from(text));
        *refusal.status_mut() = status;
        *refusal.headers_mut() = answer.headers().clone();
        Ok(refusal)
    }

    fn body_of(&self, answer: reqwest::Response) -> HttpResponse {
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        let received = Received {
            body,
            name: self.name.clone(),
            limit: self.limit,
            deadline: Box::pin(sleep_until(Instant::now() + self.limit)),
            since: 0,
            left: BODY_MAX,
        };
        HttpResponse::from_parts(parts, HttpResponseBody::new(received))
    }

    fn stalled(&self) -> HttpError {
        match self.host {
            Host::Metadata => self.broken(HttpErrorKind::Timeout, "no answer".to_owned()),
            _ => stalled(&self.name, self.limit),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> HttpError {
        // A request may be repeated whether or not the store has it: objects are replaced by
        // themselves, and a repeated creation is told from another one by its content.
        let kind = match error.is_timeout() || error.is_connect() {
            true => HttpErrorKind::Connect,
            false => HttpErrorKind::Request,
        };
        self.broken(kind, root(error).to_string())
    }

    fn broken(&self, kind: HttpErrorKind, reason: String) -> HttpError {
        let host = self.name.clone();
        HttpError::new(
            kind,
            match self.host {
                Host::Metadata => Trouble::NoCredentials { host, reason },
                _ => Trouble::Broken { host, reason },
            },
        )
    }
}

fn stalled(host: &str, limit: Duration) -> HttpError {
    let host = host.to_owned();
    HttpError::new(HttpErrorKind::Timeout, Trouble::Stalled { host, limit })
}

/// The body of a request, which counts what was taken of it.
struct Sent {
    body: HttpRequestBody,
    moved: Arc<AtomicU64>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.moved.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, each piece of which has to come within the limit.
struct Received {
    body: reqwest::Body,
    name: String,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Bytes since the deadline was set.
    since: usize,
    left: u64,
}

impl Body for Received {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(stalled(&self.name, self.limit))));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(|error| {
            let (host, reason) = (self.name.clone(), root(&error).to_string());
            HttpError::new(HttpErrorKind::Interrupted, Trouble::Broken { host, reason })
        });
        let bytes = match &frame {
            Ok(frame) => frame.data_ref().map_or(0, Bytes::len),
            Err(_) => 0,
        };
        let Some(left) = self.left.checked_sub(bytes as u64) else {
            let host = self.name.clone();
            let error = HttpError::new(HttpErrorKind::Decode, Trouble::TooLong { host });
            return Poll::Ready(Some(Err(error)));
        };
        self.left = left;
        self.since += bytes;
        if self.since >= PIECE {
            self.since = 0;
            let deadline = Instant::now() + self.limit;
            self.deadline.as_mut().reset(deadline);
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
