//! A request that passed the guard, and the methods by which handlers take it apart.

mod overload;
mod path_param;
pub(crate) mod query;
mod streams;

use std::{
    borrow::Cow, fmt::Display, net::IpAddr, ops::RangeInclusive, pin::pin, str::FromStr, sync::Arc,
    time::Duration,
};

use actix_web::{
    HttpRequest,
    dev::Payload,
    http::header::{IF_MATCH, IF_NONE_MATCH},
    web::Bytes,
};
use deia_hive::Hive;
use deia_ledger::Idempotency;
use deia_model::{PageRequest, Principal, WebSessionCookie};
use futures_util::FutureExt as _;
use ring::digest::{Context, SHA256};
use serde::de::DeserializeOwned;

use crate::http::{
    body::{
        bytes::ByteReservation,
        catalogue::Code,
        etag::{self, Precondition},
        json,
        json::Chunk,
        problem::{Problem, is_secret},
    },
    guard::{
        admission::Permit,
        class::RouteClass,
        credentials,
        credentials::Credentials,
        overload::Contender,
        policy::{Access, RoutePolicy},
        who::{is_unchanged, reauthorize},
    },
    server::{
        connection,
        connection::address,
        metrics::HttpMetrics,
        state::{DocumentText, ServerState},
    },
};

/// A request that passed the guard.
pub(crate) struct RequestCtx {
    /// The caller.
    pub(crate) who: Principal,
    state: Arc<ServerState>,
    request: HttpRequest,
    payload: Payload,
    /// The first chunk of the body, or its end, if it was taken from the payload already.
    first: Option<Option<Chunk>>,
    /// The memory of the body, reserved until the request is answered.
    held: ByteReservation,
    access: Access,
    class: RouteClass,
    /// True if requests of the route are refused for overload.
    has_tier: bool,
    /// Absent while a slow body is received.
    permit: Option<Permit>,
    contender: Contender,
    query: Vec<(String, String)>,
    traceparent: Option<String>,
}

/// The parts of a request that the guard hands over.
pub(crate) struct Admitted {
    pub(crate) who: Principal,
    pub(crate) permit: Permit,
    /// The caller, as far as admission under overload depends on it.
    pub(crate) contender: Contender,
    pub(crate) body: Payload,
    /// The first chunk of the body, if the guard has looked at it.
    pub(crate) first: Option<Option<Chunk>>,
    /// The trace that the work of this request belongs to.
    pub(crate) traceparent: Option<String>,
}

/// Items of a page when the request does not say. Fact: the API, whose schema states it.
const DEFAULT_PAGE: u64 = 100;

impl RequestCtx {
    /// Takes the query of a request apart.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] for a query that the route does not take.
    pub(crate) fn new(
        state: Arc<ServerState>,
        request: HttpRequest,
        policy: RoutePolicy,
        admitted: Admitted,
    ) -> Result<Self, Problem> {
        let query = query::parse(request.query_string(), policy.query)?;
        Ok(Self {
            held: state.bodies.share(&admitted.who.budget()),
            who: admitted.who,
            access: policy.access,
            class: policy.class,
            has_tier: policy.tier().is_some(),
            permit: Some(admitted.permit),
            contender: admitted.contender,
            state,
            request,
            payload: admitted.body,
            first: admitted.first,
            query,
            traceparent: admitted.traceparent,
        })
    }

    /// Returns the hive.
    pub(crate) fn hive(&self) -> &Hive {
        &self.state.hive
    }

    /// Refuses to answer a caller whose access has changed during a wait.
    pub(crate) fn is_unchanged(&self) -> Result<(), Problem> {
        is_unchanged(self.hive(), &self.request, &self.who, self.access)
    }

    /// Returns the source of the OpenAPI document.
    pub(crate) fn description(&self) -> DocumentText {
        self.state.description
    }

    /// Returns the metrics of the HTTP server.
    pub(crate) fn http_metrics(&self) -> &HttpMetrics {
        &self.state.metrics
    }

    /// Returns the address of the client.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        address(&self.request)
    }

    /// Returns the HTTP request.
    pub(crate) fn request(&self) -> &HttpRequest {
        &self.request
    }

    /// Returns the session cookie of the caller.
    pub(crate) fn session(&self) -> Option<WebSessionCookie> {
        match credentials::of(self.request.headers()) {
            Ok(Credentials::Session(text)) => WebSessionCookie::parse(text),
            _ => None,
        }
    }

    /// Returns the decoded path parameter `name`.
    pub(crate) fn path_param(&self, name: &str) -> Cow<'_, str> {
        path_param::decode(self.request.match_info().query(name))
    }

    /// Returns the path parameter `id` as the name of a `kind` of thing. A text that
    /// cannot be such a name names nothing.
    pub(crate) fn id<T: FromStr>(&self, kind: &'static str) -> Result<T, Problem> {
        self.id_in("id", kind)
    }

    /// Returns the path parameter `parameter` as the name of a `kind` of thing.
    pub(crate) fn id_in<T: FromStr>(
        &self,
        parameter: &str,
        kind: &'static str,
    ) -> Result<T, Problem> {
        let text = self.path_param(parameter);
        text.parse().map_err(|_| Problem::not_found(kind, &text))
    }

    /// Returns the path parameter `id` as the name of a thing that may be new.
    pub(crate) fn new_id<T: FromStr<Err: Display>>(&self) -> Result<T, Problem> {
        let parsed = self.path_param("id").parse();
        parsed.map_err(|error: T::Err| Problem::parameter("id", format!("is not valid: {error}")))
    }

    /// Returns a query parameter.
    pub(crate) fn query<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let Some((_, text)) = self.query.iter().find(|(key, _)| key == name) else {
            return Ok(None);
        };
        let parsed = text.parse();
        parsed
            .map(Some)
            .map_err(|error: T::Err| Problem::parameter(name, format!("is not valid: {error}")))
    }

    /// Returns all values of a query parameter that may be repeated.
    pub(crate) fn queries(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.query.iter().filter(move |(key, _)| key == name);
        named.map(|(_, text)| text.as_str())
    }

    /// Returns the part of a list to answer with (`limit`, `cursor`).
    pub(crate) fn page(&self) -> Result<PageRequest, Problem> {
        let limit = self.number("limit", 1..=1_000, DEFAULT_PAGE)?;
        Ok(PageRequest {
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            cursor: self.query::<String>("cursor")?,
        })
    }

    /// Returns a query parameter that is a number in that range.
    pub(crate) fn number(
        &self,
        name: &str,
        allowed: RangeInclusive<u64>,
        default: u64,
    ) -> Result<u64, Problem> {
        let number = self.query::<u64>(name)?.unwrap_or(default);
        if allowed.contains(&number) {
            return Ok(number);
        }
        let (least, most) = (allowed.start(), allowed.end());
        let why = format!("is {number}; allowed are {least} to {most}");
        Err(Problem::parameter(name, why))
    }

    /// Returns the time that the caller wants to wait (`wait_ms`).
    pub(crate) fn wait(&self) -> Result<Duration, Problem> {
        let wait_ms = self.query::<u64>("wait_ms")?.unwrap_or(0);
        self.within_max_wait(wait_ms)
            .map_err(|why| Problem::parameter("wait_ms", why))
    }

    /// Returns that many milliseconds, unless they exceed `server.max_wait`.
    pub(crate) fn within_max_wait(&self, wait_ms: u64) -> Result<Duration, String> {
        let most =
            u64::try_from(self.hive().config().server.max_wait.as_millis()).unwrap_or(u64::MAX);
        match wait_ms <= most {
            true => Ok(Duration::from_millis(wait_ms)),
            false => Err(format!(
                "is {wait_ms}; allowed are 0 to {most} (server.max_wait)"
            )),
        }
    }

    /// Resolves when the server stops.
    pub(crate) async fn stopping(&self) {
        let mut stopping = self.state.stopping.clone();
        // The sender is dropped only with the server.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Returns the position at which a stream of events resumes.
    pub(crate) fn last_event_id(&self) -> Result<Option<u64>, Problem> {
        const NAME: &str = "Last-Event-ID";
        let id = self.header(NAME)?.map(str::parse);
        id.transpose()
            .map_err(|_| Problem::header(NAME, "must be the id of an event of this stream"))
    }

    /// Reads the body as a `T`.
    pub(crate) async fn body<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        json::decode(&self.bytes().await?)
    }

    /// Reads the bytes of a JSON body.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Problem> {
        json::expect_json(&self.request)?;
        self.read().await
    }

    /// Reads the body. A caller that sends it slowly gives up the permit meanwhile, and
    /// is authorized again afterwards: the access that counts is that at the effect.
    async fn read(&mut self) -> Result<Bytes, Problem> {
        let body = self.receive().await?;
        if self.permit.is_none() {
            let admission = self.state.admission.load_full();
            self.permit = Some(admission.enter(self.class, self.has_tier).await?);
            self.who = reauthorize(self.hive(), &self.request, &self.who, self.access)?;
        }
        Ok(body)
    }

    /// Receives the body; gives up the permit while it has to wait.
    async fn receive(&mut self) -> Result<Bytes, Problem> {
        let limits = self.state.body;
        let arrived = match self.first.take() {
            Some(first) => Some(first),
            None => json::arrived(&mut self.payload).await,
        };
        let body = json::Body {
            request: &self.request,
            payload: &mut self.payload,
            arrived,
        };
        let mut reading = pin!(json::read(body, limits, &mut self.held));
        if let Some(read) = reading.as_mut().now_or_never() {
            return read;
        }
        self.permit = None;
        connection::invite(&self.request);
        let body = tokio::time::timeout(limits.max_time, reading).await;
        let late = |_| {
            Problem::new(
                Code::RequestTimeout,
                "the body took longer than server.request_body_timeout",
            )
        };
        body.map_err(late).flatten()
    }

    /// Reads the bytes of a body that is JSON or empty.
    pub(crate) async fn optional_bytes(&mut self) -> Result<Bytes, Problem> {
        if json::is_announced(&self.request) {
            json::expect_json(&self.request)?;
        }
        let body = self.read().await?;
        if !body.is_empty() {
            json::expect_json(&self.request)?;
        }
        Ok(body)
    }

    /// Refuses a body other than none or `{}`.
    pub(crate) async fn no_body(&mut self) -> Result<(), Problem> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let body = self.optional_bytes().await?;
        match body.is_empty() {
            true => Ok(()),
            false => json::decode::<Nothing>(&body).map(drop),
        }
    }

    /// Returns the idempotency of this request, from its `Idempotency-Key`.
    pub(crate) fn idempotency(&self, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
        const NAME: &str = "Idempotency-Key";
        let Some(key) = self.header(NAME)? else {
            return Ok(None);
        };
        if !(1..=255).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Problem::header(
                NAME,
                "must be 1 to 255 visible ASCII characters",
            ));
        }
        if is_secret(key) {
            return Err(Problem::header(NAME, "looks like a secret"));
        }
        let mut hash = Context::new(&SHA256);
        for part in [
            self.request.method().as_str(),
            " ",
            self.request.path(),
            "\n",
        ] {
            hash.update(part.as_bytes());
        }
        hash.update(body);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        Ok(Some(Idempotency {
            key: key.to_owned(),
            fingerprint,
        }))
    }

    /// Returns the W3C trace context for the work of this request.
    pub(crate) fn traceparent(&self) -> Option<String> {
        self.traceparent.clone()
    }

    /// Returns the version on which the change is made.
    pub(crate) fn precondition(&self) -> Result<Precondition, Problem> {
        let if_match = self.header(IF_MATCH.as_str())?;
        let if_none_match = self.header(IF_NONE_MATCH.as_str())?;
        match (if_match.map(str::trim), if_none_match.map(str::trim)) {
            (None, None) => Ok(Precondition::None),
            (Some("*"), None) => Ok(Precondition::Exists),
            (Some(tag), None) => etag::version(tag)
                .map(Precondition::Version)
                .ok_or_else(|| {
                    Problem::header("If-Match", "must be one ETag that this resource had, or *")
                }),
            (None, Some("*")) => Ok(Precondition::Version(0)),
            (_, Some(_)) => Err(Problem::header(
                "If-None-Match",
                "may only be *, and not be combined with If-Match",
            )),
        }
    }

    /// Refuses preconditions, on routes that do not support them.
    pub(crate) fn no_precondition(&self) -> Result<(), Problem> {
        match self.precondition()? {
            Precondition::None => Ok(()),
            _ => Err(Problem::header("If-Match", "is not allowed for this route")),
        }
    }

    /// Returns a header that may be there once.
    pub(crate) fn header(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.request.headers().get_all(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Problem::header(name, "is given more than once"));
        }
        match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Problem::header(
                name,
                "has characters other than visible ASCII",
            )),
        }
    }
}
