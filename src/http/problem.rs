//! What goes wrong, in the form of RFC 9457, from one catalogue.

use std::{borrow::Cow, time::Duration};

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{
            ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
        },
    },
};
use deia_hive::{
    HiveError,
    auth::{AuthError, Permission, Principal},
    ledger::Refusal,
    model::Violation,
};
use serde::Serialize;

macro_rules! catalogue {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $status:ident, $title:literal, $hint:literal;)*) => {
        /// What kind of problem it is. Codes are stable: callers may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// The whole catalogue, by status.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// Its name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code,)* }
            }

            /// The HTTP status that it comes with.
            pub fn status(self) -> StatusCode {
                match self { $(Code::$variant => StatusCode::$status,)* }
            }

            /// What it is, in a few words; the same for each occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// What to do about it.
            pub fn hint(self) -> &'static str {
                match self { $(Code::$variant => $hint,)* }
            }

            /// The code of that name.
            pub fn parse(name: &str) -> Option<Code> {
                match name { $($code => Some(Code::$variant),)* _ => None }
            }
        }
    };
}

catalogue! {
    /// The body is not JSON.
    MalformedJson = "malformed_json" BAD_REQUEST, "The body is not JSON",
        "Send one complete JSON document, in UTF-8.";
    /// A header has a value that it cannot have.
    InvalidHeader = "invalid_header" BAD_REQUEST, "A header is not valid",
        "Correct the named header or leave it out.";
    /// The body broke off.
    BodyIncomplete = "body_incomplete" BAD_REQUEST, "The body is not complete",
        "Send as many bytes as announced.";
    /// There is no key.
    KeyMissing = "key_missing" UNAUTHORIZED, "A key is needed",
        "Send the header Authorization: Bearer <key>; the first admin key is in <data_dir>/admin.key.";
    /// What was sent is not a key.
    KeyMalformed = "key_malformed" UNAUTHORIZED, "That is not a key",
        "Check that the whole key was copied; it looks like deia_<id>_<secret>_<checksum>.";
    /// No such key.
    KeyUnknown = "key_unknown" UNAUTHORIZED, "The key is not known here",
        "Check that the key belongs to this hive, or ask its administrator for another.";
    /// The key was revoked.
    KeyRevoked = "key_revoked" UNAUTHORIZED, "The key was revoked",
        "Ask the administrator of the hive for another key.";
    /// The key has expired.
    KeyExpired = "key_expired" UNAUTHORIZED, "The key has expired",
        "Ask the administrator of the hive for another key.";
    /// The role of the key does not include the permission.
    PermissionDenied = "permission_denied" FORBIDDEN, "The key may not do that",
        "Use a key of a role that has the named permission; GET /api/v1/roles lists them.";
    /// No such thing, or the caller may not know of it.
    NotFound = "not_found" NOT_FOUND, "There is no such thing",
        "Check the id; things of other users are not visible to keys of the roles external and bot.";
    /// No such route.
    RouteNotFound = "route_not_found" NOT_FOUND, "There is no such route",
        "GET /api/openapi.json describes every route.";
    /// The route does not know the method.
    MethodNotAllowed = "method_not_allowed" METHOD_NOT_ALLOWED, "The route does not have that method",
        "Use one of the methods in the Allow header.";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout" REQUEST_TIMEOUT, "The body did not arrive in time",
        "Send the body without pauses longer than server.request_head_timeout.";
    /// The task has no result yet.
    TaskNotFinished = "task_not_finished" CONFLICT, "The task is not finished",
        "Ask again later, or wait for it with wait_ms.";
    /// The task has its final status already.
    TaskIsFinal = "task_is_final" CONFLICT, "The task has ended already",
        "Nothing is left to do: GET its result.";
    /// The bot is launched or has tasks in hand.
    BotInUse = "bot_in_use" CONFLICT, "The bot is in use",
        "Stop the bot and try again when it is stopped.";
    /// There is room for no more bots.
    BotLimitReached = "bot_limit_reached" CONFLICT, "There is room for no more bots",
        "Remove a bot, or raise bots.max_bots or bots.last_port.";
    /// It would leave nobody who can make keys.
    LastAdminKey = "last_admin_key" CONFLICT, "That is the last admin key",
        "Make another admin key first.";
    /// The stored version is another.
    VersionMismatch = "version_mismatch" PRECONDITION_FAILED, "It was changed meanwhile",
        "Get it again, look at what changed, and repeat the change with the new ETag.";
    /// The body is too large.
    BodyTooLarge = "body_too_large" PAYLOAD_TOO_LARGE, "The body is too large",
        "Send less at a time; the limit is server.max_body_bytes.";
    /// The body is of a type that is not taken.
    UnsupportedMediaType = "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE, "The body is of the wrong type",
        "Send JSON with the header Content-Type: application/json and no Content-Encoding.";
    /// The body says something that it may not.
    InvalidInput = "invalid_input" UNPROCESSABLE_ENTITY, "The input is not valid",
        "Correct the places that errors names by JSON pointer.";
    /// A parameter in the path or the query is wrong.
    InvalidParameter = "invalid_parameter" UNPROCESSABLE_ENTITY, "A parameter is not valid",
        "Correct the named parameter or leave it out.";
    /// The cursor is not one that this list gave out.
    BadCursor = "bad_cursor" UNPROCESSABLE_ENTITY, "The cursor is not valid",
        "Start from the first page, without a cursor, and keep the filters while paging.";
    /// The idempotency key was used for another request.
    IdempotencyMismatch = "idempotency_mismatch" UNPROCESSABLE_ENTITY, "The idempotency key was used already",
        "Use a new Idempotency-Key for each new request, and the same body when repeating one.";
    /// Too many requests.
    RateLimited = "rate_limited" TOO_MANY_REQUESTS, "Too many requests",
        "Wait for as many seconds as Retry-After says.";
    /// A bug, or a broken machine.
    Internal = "internal_error" INTERNAL_SERVER_ERROR, "Something inside failed",
        "Tell the operator the request id; the log of the server has the cause.";
    /// Too much waits already.
    Overloaded = "overloaded" SERVICE_UNAVAILABLE, "The hive has too much to do",
        "Try again after as many seconds as Retry-After says.";
    /// The hive is starting or stopping.
    Unavailable = "unavailable" SERVICE_UNAVAILABLE, "The hive does not take work",
        "It is starting or stopping; try again after as many seconds as Retry-After says.";
    /// Something that must work does not.
    Unhealthy = "unhealthy" SERVICE_UNAVAILABLE, "The hive is not healthy",
        "GET /api/v1/system/health with a key that has sys:health tells what is wrong.";
    /// The disk is full.
    StorageFull = "storage_full" INSUFFICIENT_STORAGE, "The disk is full",
        "Make room on the file system of the data directory; nothing was changed.";
}

/// How soon a refused request is worth repeating.
const RETRY_OVERLOADED: Duration = Duration::from_secs(1);
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(2);
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"deia\"");
const CHALLENGE_INVALID: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"deia\", error=\"invalid_token\"");

/// Why a request was not done.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    /// What is wrong this time; the hint of the code follows it.
    detail: Cow<'static, str>,
    errors: Vec<Violation>,
    parameter: Option<String>,
    permission: Option<Permission>,
    header: Option<(HeaderName, HeaderValue)>,
    /// For the log only.
    cause: Option<String>,
}

/// The body of every answer that is not a success.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// Where the catalogue of errors explains it.
    #[serde(rename = "type")]
    #[schema(example = "/api/errors/invalid_input")]
    kind: String,
    /// What it is, in a few words; the same for each occurrence.
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// The stable code in the catalogue of errors.
    #[schema(example = "invalid_input")]
    code: &'static str,
    /// What exactly is wrong, and what to do about it.
    detail: String,
    /// The request, as in `X-Request-Id`.
    request_id: &'a str,
    /// The places in the body that are wrong.
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Violation],
    /// The parameter or header that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
    /// The permission that the key lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<&'static str>,
}

impl Problem {
    /// A problem of that kind; `detail` is a sentence without its full stop.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            parameter: None,
            permission: None,
            header: None,
            cause: None,
        }
        .with_default_header()
    }

    /// The body is wrong in these places.
    pub fn invalid(errors: Vec<Violation>) -> Self {
        let detail = match errors.as_slice() {
            [one] if one.pointer.is_empty() => format!("the body {}", one.detail),
            [one] => format!("{} {}", one.pointer, one.detail),
            more => format!("{} places in the body are not valid", more.len()),
        };
        Self {
            errors,
            ..Self::new(Code::InvalidInput, detail)
        }
    }

    /// A parameter of the path or the query is wrong.
    pub fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self {
            parameter: Some(name.into()),
            ..Self::new(
                Code::InvalidParameter,
                format!("the parameter {name} {why}"),
            )
        }
    }

    /// A header is wrong.
    pub fn header(name: &'static str, why: impl std::fmt::Display) -> Self {
        Self {
            parameter: Some(name.into()),
            ..Self::new(Code::InvalidHeader, format!("the header {name} {why}"))
        }
    }

    /// The caller lacks that permission.
    pub fn denied(who: &Principal, permission: Permission) -> Self {
        let detail = format!(
            "this needs the permission {}, which the role {} does not have",
            permission.as_str(),
            who.role
        );
        Self {
            permission: Some(permission),
            ..Self::new(Code::PermissionDenied, detail)
        }
    }

    /// There is no such thing.
    pub fn not_found(kind: &str, id: &str) -> Self {
        let shown: String = id.chars().take(128).collect();
        Self::new(Code::NotFound, format!("there is no {kind} {shown}"))
    }

    /// Too many requests; the next one is taken after `wait`.
    pub fn rate_limited(wait: Duration) -> Self {
        Self {
            header: Some(retry_after(wait)),
            ..Self::new(
                Code::RateLimited,
                "this caller's budget of requests is used up",
            )
        }
    }

    /// The route has other methods.
    pub fn method_not_allowed(allow: HeaderValue) -> Self {
        Self {
            header: Some((ALLOW, allow)),
            ..Self::new(
                Code::MethodNotAllowed,
                "this route does not have that method",
            )
        }
    }

    /// A bug; `cause` goes to the log and nowhere else.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(Code::Internal, "the request could not be worked on")
        }
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What the log is told and the caller is not.
    pub(super) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    fn with_default_header(mut self) -> Self {
        self.header = match self.code {
            Code::KeyMissing => Some((WWW_AUTHENTICATE, CHALLENGE)),
            Code::KeyMalformed | Code::KeyUnknown | Code::KeyRevoked | Code::KeyExpired => {
                Some((WWW_AUTHENTICATE, CHALLENGE_INVALID))
            }
            Code::Overloaded => Some(retry_after(RETRY_OVERLOADED)),
            Code::Unavailable | Code::Unhealthy => Some(retry_after(RETRY_UNAVAILABLE)),
            _ => None,
        };
        self
    }

    /// The answer that tells of it.
    pub(super) fn into_response(self, request_id: &str) -> HttpResponse {
        let body = ProblemBody {
            kind: format!("/api/errors/{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: sentence(&self.detail, self.code.hint()),
            request_id,
            errors: &self.errors,
            parameter: self.parameter.as_deref(),
            permission: self.permission.map(Permission::as_str),
        };
        // Strings and numbers only: this serialisation cannot fail.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = HttpResponse::build(self.code.status()).body(bytes);
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        response
    }
}

fn retry_after(wait: Duration) -> (HeaderName, HeaderValue) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    (RETRY_AFTER, HeaderValue::from(seconds.max(1)))
}

/// `detail` as a sentence, followed by the hint.
fn sentence(detail: &str, hint: &str) -> String {
    let mut text = String::with_capacity(detail.len() + hint.len() + 2);
    let mut rest = detail.chars();
    text.extend(rest.next().into_iter().flat_map(char::to_uppercase));
    text.push_str(rest.as_str());
    text.push_str(". ");
    text.push_str(hint);
    text
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Malformed(_) => Code::KeyMalformed,
            AuthError::Unknown => Code::KeyUnknown,
            AuthError::Revoked => Code::KeyRevoked,
            AuthError::Expired => Code::KeyExpired,
        };
        Self::new(code, error.to_string())
    }
}

impl From<HiveError> for Problem {
    fn from(error: HiveError) -> Self {
        let code = match error {
            HiveError::NotFound { kind, id } => return Self::not_found(kind, &id),
            HiveError::Invalid(violations) => return Self::invalid(violations),
            HiveError::Internal(cause) => return Self::internal(cause),
            HiveError::TaskNotFinished { .. } => Code::TaskNotFinished,
            HiveError::BadCursor => Code::BadCursor,
            HiveError::StorageFull => Code::StorageFull,
            HiveError::Overloaded => Code::Overloaded,
            HiveError::Unavailable(_) => Code::Unavailable,
            HiveError::Refused(ref refusal) => refusal_code(refusal),
        };
        match error {
            HiveError::Refused(Refusal::Invalid(violations)) => Self::invalid(violations),
            other => Self::new(code, other.to_string()),
        }
    }
}

fn refusal_code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NoSuchTask(_) | Refusal::NoSuchBot(_) | Refusal::NoSuchKey(_) => Code::NotFound,
        Refusal::TaskIsFinal { .. } => Code::TaskIsFinal,
        Refusal::IdempotencyMismatch => Code::IdempotencyMismatch,
        Refusal::VersionMismatch { .. } => Code::VersionMismatch,
        Refusal::BotInUse(_) => Code::BotInUse,
        Refusal::NoRoomForBot(_) => Code::BotLimitReached,
        Refusal::LastAdminKey => Code::LastAdminKey,
        Refusal::Invalid(_) => Code::InvalidInput,
    }
}

/// The catalogue as a page: `docs/ERRORS.md`.
pub fn catalogue_page() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         Every answer that is not a success is `application/problem+json` (RFC 9457). Its `code` is\n\
         stable; `detail` says what is wrong this time and what to do. The server has this catalogue at\n\
         `GET /api/errors`. This page is generated from it.\n\n\
         | code | status | what it is | what to do |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let hint = code.hint().replace('<', "&lt;").replace('>', "&gt;");
        let (name, status, title) = (code.as_str(), code.status().as_u16(), code.title());
        page.push_str(&format!("| `{name}` | {status} | {title} | {hint} |\n"));
    }
    page
}

#[cfg(test)]
mod tests {
    use deia_hive::auth::KeyError;

    use super::*;

    #[test]
    fn codes_are_unique_read_back_and_are_ordered_by_status() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code:?}");
            assert_eq!(Code::parse(code.as_str()), Some(*code));
            assert!(code.status().is_client_error() || code.status().is_server_error());
            assert!(code.hint().ends_with('.') && !code.title().ends_with('.'));
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.status()));
        assert_eq!(Code::parse("no_such_code"), None);
    }

    #[test]
    fn errors_of_the_hive_have_their_codes() {
        let bot = "b".parse::<deia_hive::model::BotName>().unwrap();
        let task = deia_hive::model::TaskId::new();
        let status = deia_hive::model::TaskStatus::Completed;
        let cases = [
            (HiveError::BadCursor, Code::BadCursor),
            (HiveError::StorageFull, Code::StorageFull),
            (HiveError::Overloaded, Code::Overloaded),
            (HiveError::Unavailable("stopping"), Code::Unavailable),
            (HiveError::Internal("secret".into()), Code::Internal),
            (HiveError::Invalid(vec![]), Code::InvalidInput),
            (
                HiveError::TaskNotFinished { task, status },
                Code::TaskNotFinished,
            ),
            (
                HiveError::Refused(Refusal::TaskIsFinal { task, status }),
                Code::TaskIsFinal,
            ),
            (
                HiveError::Refused(Refusal::BotInUse(bot.clone())),
                Code::BotInUse,
            ),
            (
                HiveError::Refused(Refusal::NoRoomForBot("x".into())),
                Code::BotLimitReached,
            ),
            (
                HiveError::Refused(Refusal::LastAdminKey),
                Code::LastAdminKey,
            ),
            (
                HiveError::Refused(Refusal::IdempotencyMismatch),
                Code::IdempotencyMismatch,
            ),
            (Refusal::NoSuchBot(bot).into(), Code::NotFound),
        ];
        for (error, code) in cases {
            assert_eq!(Problem::from(error.clone()).code(), code, "{error:?}");
        }
        for (error, code) in [
            (AuthError::Malformed(KeyError::Checksum), Code::KeyMalformed),
            (AuthError::Unknown, Code::KeyUnknown),
            (AuthError::Revoked, Code::KeyRevoked),
            (AuthError::Expired, Code::KeyExpired),
        ] {
            assert_eq!(Problem::from(error).code(), code);
        }
    }

    #[actix_web::test]
    async fn the_cause_of_an_internal_error_is_not_told() {
        let response = Problem::internal("secret path").into_response("r1");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = actix_web::body::to_bytes(response.into_body())
            .await
            .unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(
            text.contains("internal_error") && !text.contains("secret"),
            "{text}"
        );
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2")] {
            assert_eq!(retry_after(Duration::from_millis(millis)).1, seconds);
        }
    }
}
