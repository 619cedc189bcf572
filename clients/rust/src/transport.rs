//! A single request and its answer: time-outs, limits, and the classification of
//! errors.

use std::{io, sync::atomic::Ordering, time::Duration};

use reqwest::{
    Method, StatusCode,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
        LOCATION, RANGE, RETRY_AFTER,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Client, ClientError, Problem, PutIf, ServerEvents};

/// Maximum size of a refusal, in bytes. Fixed: of the client library, whose callers do
/// not depend on it.
const MAX_PROBLEM_BYTES: usize = 1 << 20;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request before it is sent.
pub(super) struct Call<'c> {
    client: &'c Client,
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Vec<u8>>,
    wait: Duration,
}

impl Client {
    /// Creates a request to the path of these segments; each is escaped.
    pub(super) fn call(&self, method: Method, path: &[&str]) -> Call<'_> {
        Call {
            client: self,
            method,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            wait: Duration::ZERO,
        }
    }

    pub(super) fn get(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(super) fn post(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::POST, path)
    }

    pub(super) fn protocol(&self, reason: String) -> ClientError {
        ClientError::Protocol {
            url: self.url().to_owned(),
            reason,
        }
    }

    pub(super) fn failed(&self, error: &reqwest::Error, after: Duration) -> ClientError {
        if error.is_timeout() && !error.is_connect() {
            return ClientError::TimedOut {
                what: format!("{} did not answer", self.url()),
                after,
            };
        }
        let mut cause: &dyn std::error::Error = error;
        let mut other_scheme = self.is_other_scheme(cause);
        let mut distrust = None;
        while let Some(deeper) = cause.source() {
            cause = deeper;
            other_scheme |= self.is_other_scheme(cause);
            distrust = distrust.or_else(|| of_tls(cause).and_then(distrusted));
        }
        if let Some(reason) = distrust {
            return ClientError::Untrusted {
                url: self.url().to_owned(),
                reason,
            };
        }
        if other_scheme {
            let (expected, instead) = match self.base.scheme() {
                "https" => ("TLS", self.url().replacen("https", "http", 1)),
                _ => ("HTTP without TLS", self.url().replacen("http", "https", 1)),
            };
            return ClientError::WrongScheme {
                url: self.url().to_owned(),
                expected,
                instead,
            };
        }
        ClientError::Unreachable {
            url: self.url().to_owned(),
            reason: cause.to_string(),
        }
    }

    /// Returns whether the error means that the server speaks TLS where HTTP was
    /// spoken, or the other way round: an answer that is not a record of TLS, or a TLS
    /// alert instead of HTTP.
    fn is_other_scheme(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        match self.base.scheme() {
            "https" => is_no_tls(error),
            _ => error.to_string() == "invalid HTTP version parsed",
        }
    }

    /// Reads the whole body of an answer, within limits.
    async fn body(
        &self,
        mut response: reqwest::Response,
        after: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let client = self;
        let failed = |error: reqwest::Error| client.failed(&error, after);
        let status = response.status();
        let limit = if status.is_success() {
            client.max_body_bytes
        } else {
            client.max_body_bytes.min(MAX_PROBLEM_BYTES)
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limit {
                return Err(client.protocol(format!("its answer is over {limit} bytes long")));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(body);
        }
        Err(refusal(client, status, response.headers(), &body))
    }
}

impl Call<'_> {
    pub(super) fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.query.push((name, value.to_string()));
        }
        self
    }

    pub(super) fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Result<Self, ClientError> {
        let bytes = serde_json::to_vec(body).map_err(|error| ClientError::Invalid {
            what: "the request".into(),
            reason: format!("cannot be written as JSON: {error}"),
        })?;
        self.body = Some(bytes);
        Ok(self)
    }

    pub(super) fn idempotency_key(mut self, key: Option<&str>) -> Result<Self, ClientError> {
        if let Some(key) = key {
            let value = HeaderValue::from_str(key).map_err(|_| ClientError::Invalid {
                what: "the idempotency key".into(),
                reason: "may only have printable ASCII characters".into(),
            })?;
            self.headers.push((IDEMPOTENCY_KEY, value));
        }
        Ok(self)
    }

    pub(super) fn put_if(mut self, when: PutIf) -> Self {
        let condition = match when {
            PutIf::Always => None,
            PutIf::New => Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
            PutIf::Version(version) => HeaderValue::try_from(format!("\"{version}\""))
                .ok()
                .map(|tag| (IF_MATCH, tag)),
        };
        self.headers.extend(condition);
        self
    }

    /// Sets the event after which a stream should continue.
    pub(super) fn last_event_id(mut self, id: Option<&str>) -> Result<Self, ClientError> {
        if let Some(id) = id {
            let value = HeaderValue::from_str(id).map_err(|_| ClientError::Invalid {
                what: "the id of the last event".into(),
                reason: "may only have printable ASCII characters".into(),
            })?;
            self.headers.push((LAST_EVENT_ID, value));
        }
        Ok(self)
    }

    /// Asks for the stream of an operation that answers in pages as well.
    pub(super) fn accepting_events(mut self) -> Self {
        let events = HeaderValue::from_static("text/event-stream");
        self.headers.push((ACCEPT, events));
        self
    }

    /// Asks for a range of bytes.
    pub(super) fn range(mut self, range: HeaderValue) -> Self {
        self.headers.push((RANGE, range));
        self
    }

    /// Opens a stream of events.
    pub(super) async fn events(self) -> Result<ServerEvents, ClientError> {
        let client = self.client;
        Ok(ServerEvents::new(client, self.stream().await?))
    }

    /// Sets how long the hive may hold the request; extends the time-out by it.
    pub(super) fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sends the request and reads the answer as `T`.
    pub(super) async fn answer<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let client = self.client;
        let body = self.send().await?;
        serde_json::from_slice(&body)
            .map_err(|error| client.protocol(format!("its answer cannot be read: {error}")))
    }

    /// Sends the request; ignores the body of the answer.
    pub(super) async fn done(self) -> Result<(), ClientError> {
        self.send().await.map(drop)
    }

    /// Sends the request and reads the bytes of the answer.
    pub(super) async fn bytes(self) -> Result<Vec<u8>, ClientError> {
        self.send().await
    }

    async fn send(self) -> Result<Vec<u8>, ClientError> {
        let client = self.client;
        let after = client.timeout.saturating_add(self.wait);
        let changes = self.method != Method::GET;
        let request = self.request(Some(after))?;
        client.changing.store(changes, Ordering::Relaxed);
        client.changed.fetch_or(changes, Ordering::Relaxed);
        let sent = client.http.execute(request).await;
        client.changing.store(false, Ordering::Relaxed);
        let response = sent.map_err(|error| client.failed(&error, after))?;
        client.body(response, after).await
    }

    /// Sends the request; the answer is read as it arrives, however long it takes.
    pub(super) async fn stream(self) -> Result<reqwest::Response, ClientError> {
        let client = self.client;
        let after = client.timeout;
        let request = self.request(None)?;
        let sending = tokio::time::timeout(after, client.http.execute(request)).await;
        let response = match sending {
            Ok(sent) => sent.map_err(|error| client.failed(&error, after))?,
            Err(_) => {
                return Err(ClientError::TimedOut {
                    what: format!("{} did not answer", client.url()),
                    after,
                });
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        match client.body(response, after).await {
            Err(error) => Err(error),
            Ok(_) => Err(client.protocol("it answered with nothing".into())),
        }
    }

    fn request(self, timeout: Option<Duration>) -> Result<reqwest::Request, ClientError> {
        let mut url = self.client.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        let mut request = reqwest::Request::new(self.method, url);
        *request.timeout_mut() = timeout;
        let headers = request.headers_mut();
        headers.extend(self.headers);
        if let Some(key) = &self.client.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        if let Some(body) = self.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }
}

/// Returns the error of TLS that this one is or wraps. I/O errors do not return what
/// they wrap as their source.
fn of_tls<'e>(mut error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    while let Some(inner) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        error = inner;
    }
    error.downcast_ref()
}

/// Returns whether an error of TLS means that the answer is not a record of TLS.
fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    use rustls::{Error, InvalidMessage};
    matches!(
        of_tls(error),
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType))
    )
}

/// Returns the problem with the certificate of the server, if that is the error.
fn distrusted(error: &rustls::Error) -> Option<String> {
    use rustls::{CertificateError as Fault, Error};
    let Error::InvalidCertificate(fault) = error else {
        return None;
    };
    Some(match fault {
        Fault::UnknownIssuer => "unknown issuer".into(),
        Fault::Expired | Fault::ExpiredContext { .. } => "it has expired".into(),
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => "it is not valid yet".into(),
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            "it is for another name".into()
        }
        Fault::Revoked => "it was revoked".into(),
        other => other.to_string(),
    })
}

fn refusal(
    client: &Client,
    status: StatusCode,
    headers: &reqwest::header::HeaderMap,
    body: &[u8],
) -> ClientError {
    if status.is_redirection() {
        let to = headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("somewhere else");
        return client.protocol(format!(
            "it redirects to {to}, and redirects are not followed; give the URL it should be"
        ));
    }
    let Ok(mut problem) = serde_json::from_slice::<Problem>(body) else {
        return client.protocol(format!("it answered {status} without saying why"));
    };
    problem.status = status.as_u16();
    problem.retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    ClientError::Problem(Box::new(problem))
}

#[cfg(test)]
mod tests;
