//! Problems, in the form of RFC 9457.

mod credentials;
mod framing;
mod secrets;

use std::{borrow::Cow, time::Duration};

use actix_web::{
    HttpResponse,
    http::header::{
        ALLOW, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
        WWW_AUTHENTICATE,
    },
};
use deia_hive::{HiveError, config::Config};
use deia_ledger::Rejection;
use deia_model::{Feature, Permission, Principal, Violation};
use serde::Serialize;

pub(crate) use self::secrets::{is_secret, refuse_secret};
use crate::{http::body::catalogue::Code, telemetry::redact::redact};

/// Time after which a refused request is worth repeating. Fixed: the queue of a second is
/// worked off in that time.
const RETRY_OVERLOADED: Duration = Duration::from_secs(1);
/// Time after which a part that is away is asked again. Fixed: it is restarted by then.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(2);
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"deia\"");
const CHALLENGE_INVALID: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"deia\", error=\"invalid_token\"");

/// The reason why a request was refused or failed.
#[derive(Clone, Debug)]
pub struct Problem(Box<Facts>);

#[derive(Clone, Debug)]
struct Facts {
    code: Code,
    /// The fault of this occurrence; the hint of the code follows it.
    detail: Cow<'static, str>,
    errors: Vec<Violation>,
    parameter: Option<String>,
    permission: Option<Permission>,
    missing: Option<Missing>,
    feature: Option<Cow<'static, str>>,
    header: Option<(HeaderName, HeaderValue)>,
    /// For the log only.
    cause: Option<String>,
}

/// A thing that a request names and that does not exist for its caller.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Missing {
    /// The kind of thing, such as `bot`.
    #[schema(example = "bot")]
    kind: String,
    /// Name or id of the missing thing, as the request has it.
    #[schema(example = "uper-1")]
    id: String,
}

/// The body of every answer that is not a success.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// The entry in the catalogue of errors.
    #[serde(rename = "type")]
    #[schema(example = "/api/errors/invalid_input")]
    kind: String,
    /// The title: the same few words for each occurrence.
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// The stable code in the catalogue of errors.
    #[schema(example = "invalid_input")]
    code: &'static str,
    /// The fault of this request, and the remedy.
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
    /// The thing that is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'a Missing>,
    /// The feature that is shed, such as `live_stream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "live_stream")]
    feature: Option<&'a str>,
}

impl Problem {
    /// Makes a problem; `detail` is a sentence without its full stop.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Facts {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            parameter: None,
            permission: None,
            missing: None,
            feature: None,
            header: usual_header(code),
            cause: None,
        }))
    }

    /// Reports invalid places in the body.
    pub fn invalid(mut errors: Vec<Violation>) -> Self {
        for text in errors
            .iter_mut()
            .flat_map(|e| [&mut e.pointer, &mut e.detail])
        {
            *text = redact(text).into_owned();
        }
        let detail = match errors.as_slice() {
            [one] if one.pointer.is_empty() => format!("the body {}", one.detail),
            [one] => format!("{} {}", one.pointer, one.detail),
            more => format!("{} places in the body are not valid", more.len()),
        };
        let mut problem = Self::new(Code::InvalidInput, detail);
        problem.0.errors = errors;
        problem
    }

    /// Reports an invalid parameter of the path or the query.
    pub fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        let mut problem = Self::new(
            Code::InvalidParameter,
            format!("the parameter {name} {why}"),
        );
        problem.0.parameter = Some(redact(name).into_owned());
        problem
    }

    /// Reports an invalid header.
    pub fn header(name: &'static str, why: impl std::fmt::Display) -> Self {
        let mut problem = Self::new(Code::InvalidHeader, format!("the header {name} {why}"));
        problem.0.parameter = Some(name.into());
        problem
    }

    /// Reports a permission that the caller lacks.
    pub fn denied(who: &Principal, permission: Permission) -> Self {
        let detail = format!(
            "this needs the permission {}, which {} does not have",
            permission.as_str(),
            match who.role.may(permission) {
                true => "the key, with the scopes that it was created with,".to_owned(),
                false => format!("the role {}", who.role),
            }
        );
        let mut problem = Self::new(Code::PermissionDenied, detail);
        problem.0.permission = Some(permission);
        problem
    }

    /// Reports a thing that does not exist.
    pub fn not_found(kind: &str, id: &str) -> Self {
        let shown: String = id.chars().take(128).collect();
        let mut problem = Self::new(Code::NotFound, format!("there is no {kind} {shown:?}"));
        problem.0.missing = Some(Missing {
            kind: kind.to_owned(),
            id: redact(&shown).into_owned(),
        });
        problem
    }

    /// Adds the detail that only restricted callers need.
    pub fn for_caller(mut self, who: &Principal) -> Self {
        if self.0.code == Code::NotFound && who.is_restricted() {
            let (detail, role) = (&self.0.detail, who.role);
            self.0.detail = format!("{detail} that a key of the role {role} sees").into();
        }
        self
    }

    /// Reports an exhausted rate limit; the next request is taken after `wait`.
    pub fn rate_limited(wait: Duration) -> Self {
        let mut problem = Self::new(
            Code::RateLimited,
            "this caller's budget of requests is used up",
        );
        problem.0.header = Some(retry_after(wait));
        problem
    }

    /// Reports a range that an output of that length does not have.
    pub fn range_not_satisfiable(length: u64) -> Self {
        let mut problem = Self::from(HiveError::BeyondOutput { length });
        // Digits are visible ASCII.
        if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
            problem.0.header = Some((CONTENT_RANGE, value));
        }
        problem
    }

    /// Reports a method that the route does not have.
    pub fn method_not_allowed(allow: HeaderValue) -> Self {
        let mut problem = Self::new(
            Code::MethodNotAllowed,
            format!(
                "this route does not have that method; it has {}",
                allow.to_str().unwrap_or_default()
            ),
        );
        problem.0.header = Some((ALLOW, allow));
        problem
    }

    /// Names the feature that is shed.
    pub fn of_feature(mut self, feature: impl Into<Cow<'static, str>>) -> Self {
        self.0.feature = Some(feature.into());
        self
    }

    /// Reports a failure inside; `cause` goes to the log and nowhere else.
    pub fn internal(cause: impl Into<String>) -> Self {
        let mut problem = Self::new(Code::Internal, "the request could not be worked on");
        problem.0.cause = Some(cause.into());
        problem
    }

    /// Returns the code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Returns the missing permission.
    pub(crate) fn permission(&self) -> Option<Permission> {
        self.0.permission
    }

    /// Returns the cause, which is for the log only.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Returns the response.
    pub fn into_response(self, request_id: &str) -> HttpResponse {
        let facts = *self.0;
        let body = ProblemBody {
            kind: format!("/api/errors/{}", facts.code.as_str()),
            title: facts.code.title(),
            status: facts.code.status().as_u16(),
            code: facts.code.as_str(),
            // A caller may have put a key where it does not belong.
            detail: sentence(&redact(&facts.detail), facts.code.hint()),
            request_id,
            errors: &facts.errors,
            parameter: facts.parameter.as_deref(),
            permission: facts.permission.map(Permission::as_str),
            missing: facts.missing.as_ref(),
            feature: facts.feature.as_deref(),
        };
        // Strings and numbers only: this serialisation cannot fail.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = HttpResponse::build(facts.code.status()).body(bytes);
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some((name, value)) = facts.header {
            headers.insert(name, value);
        }
        response
    }
}

/// Returns the header that a code comes with unless the problem has one of its own.
fn usual_header(code: Code) -> Option<(HeaderName, HeaderValue)> {
    match code {
        Code::KeyMissing | Code::SessionOver => Some((WWW_AUTHENTICATE, CHALLENGE)),
        Code::KeyMalformed
        | Code::KeyUnknown
        | Code::KeyRevoked
        | Code::KeyExpired
        | Code::TokenMalformed
        | Code::TokenRefused
        | Code::TokenExpired
        | Code::UserInactive => Some((WWW_AUTHENTICATE, CHALLENGE_INVALID)),
        Code::Overloaded | Code::ReadTimeout => Some(retry_after(RETRY_OVERLOADED)),
        Code::Unavailable
        | Code::FeatureSuspended
        | Code::SubmissionShed
        | Code::ReadOnly
        | Code::AuditUnavailable
        | Code::OutcomeUnknown
        | Code::ArchiveUnreachable
        | Code::Unhealthy
        | Code::IssuerUnavailable => Some(retry_after(RETRY_UNAVAILABLE)),
        _ => None,
    }
}

impl Problem {
    /// Adds `Retry-After` where the time is a setting.
    pub(crate) fn with_retry_after(mut self, config: &Config) -> Self {
        let wait = match self.0.code {
            Code::QueueShareUsedUp | Code::QueueFull => config.tasks.retry_after,
            Code::InboxFull => config.messaging.retry_after,
            Code::FeatureSuspended | Code::SubmissionShed | Code::ReadOnly => {
                config.server.admission.shed_retry_after
            }
            _ => return self,
        };
        self.0.header = Some(retry_after(wait));
        self
    }
}

fn retry_after(wait: Duration) -> (HeaderName, HeaderValue) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    (RETRY_AFTER, HeaderValue::from(seconds.max(1)))
}

/// Returns `detail` as a sentence, followed by the hint. A name at its beginning, such as
/// that of a setting, keeps its case.
fn sentence(detail: &str, hint: &str) -> String {
    let mut text = String::with_capacity(detail.len() + hint.len() + 2);
    let first = detail.split(' ').next().unwrap_or_default();
    let is_word = first.chars().all(|c| c.is_ascii_lowercase() || c == ',');
    let mut rest = detail.chars();
    if is_word {
        text.extend(rest.next().into_iter().flat_map(char::to_uppercase));
    }
    text.push_str(rest.as_str());
    text.push_str(". ");
    text.push_str(hint);
    text
}

impl From<HiveError> for Problem {
    fn from(error: HiveError) -> Self {
        let code = match error {
            HiveError::NotFound { kind, id } => return Self::not_found(kind, &id),
            HiveError::Invalid(violations) => return Self::invalid(violations),
            HiveError::Internal(cause) => return Self::internal(cause),
            HiveError::MayNotGive(permission) | HiveError::NotOwnInbox(permission) => {
                let mut problem = Self::new(Code::PermissionDenied, error.to_string());
                problem.0.permission = Some(permission);
                return problem;
            }
            HiveError::FeatureSuspended { feature, .. } => {
                let problem = Self::new(Code::FeatureSuspended, error.to_string());
                return problem.of_feature(feature);
            }
            HiveError::SubmissionsShed { ref refused, .. } => {
                let mut problem = Self::new(Code::SubmissionShed, error.to_string());
                problem.0.errors.clone_from(refused);
                return problem.of_feature(Feature::TaskOrchestration.as_str());
            }
            HiveError::BeyondOwnKey(_) => Code::PermissionDenied,
            HiveError::TaskNotFinished { .. } => Code::TaskNotFinished,
            HiveError::StaleLease { .. } => Code::StaleLease,
            HiveError::WrongExecutor { .. } => Code::WrongExecutor,
            HiveError::OutputGap { .. } => Code::OutputGap,
            HiveError::OutputsFull => Code::StorageFull,
            HiveError::OutputTooLarge { .. } => Code::OutputTooLarge,
            HiveError::NoOutput(_) => Code::NoOutput,
            HiveError::OutputMissing(_) => Code::OutputMissing,
            HiveError::BeyondOutput { .. } => Code::BeyondOutput,
            HiveError::BadEventId(_) => Code::BadEventId,
            HiveError::BotTakesNoInput(_) => Code::BotTakesNoInput,
            HiveError::BadCursor => Code::BadCursor,
            HiveError::RestartRefused(_) => Code::RestartRefused,
            HiveError::SettingsInvalid(_) => Code::SettingsInvalid,
            HiveError::SettingsRefused(_) => Code::SettingsRefused,
            HiveError::RestartNeeded(_) => Code::RestartRequired,
            HiveError::ConfirmationPending { .. } => Code::ConfirmationPending,
            HiveError::NothingToConfirm => Code::NothingToConfirm,
            HiveError::NothingToUndo => Code::NothingToUndo,
            HiveError::PartRefused(_) => Code::PartRefused,
            HiveError::StorageFull(_) => Code::StorageFull,
            HiveError::Overloaded => Code::Overloaded,
            HiveError::ReadTimeout => Code::ReadTimeout,
            HiveError::ReadOnly(_) => Code::ReadOnly,
            HiveError::AuditUnavailable(_) => Code::AuditUnavailable,
            HiveError::Unavailable(_) | HiveError::DataGone(_) => Code::Unavailable,
            HiveError::OutcomeUnknown => Code::OutcomeUnknown,
            HiveError::ArchiveUnreachable => Code::ArchiveUnreachable,
            HiveError::RecoveryRefused(_) => Code::RecoveryRefused,
            HiveError::Refused(ref refusal) => rejection_code(refusal),
        };
        match error {
            HiveError::Refused(Rejection::Invalid(violations)) => Self::invalid(violations),
            other => Self::new(code, other.to_string()),
        }
    }
}

fn rejection_code(refusal: &Rejection) -> Code {
    match refusal {
        Rejection::NoSuchTask(_)
        | Rejection::NoSuchBot(_)
        | Rejection::NoSuchKey(_)
        | Rejection::NoSuchUser(_)
        | Rejection::NoSuchAlert(_)
        | Rejection::NoSuchSecret(_)
        | Rejection::NoSuchWebhook(_)
        | Rejection::NoSuchDelivery(_)
        | Rejection::NoSuchReplay(_)
        | Rejection::NoSuchMessage(_)
        | Rejection::NoSuchSession(_) => Code::NotFound,
        Rejection::TooManySessions { .. } => Code::TooManySessions,
        Rejection::MessageIsOver { .. } => Code::MessageIsOver,
        Rejection::InboxFull { .. } => Code::InboxFull,
        Rejection::TooManyWebhooks(_) => Code::WebhookLimitReached,
        Rejection::WebhookDisabled(_) => Code::WebhookDisabled,
        Rejection::ReplayRunning(_) => Code::ReplayRunning,
        Rejection::TaskIsFinal { .. } => Code::TaskIsFinal,
        Rejection::TaskIsRunning(_) => Code::TaskIsRunning,
        Rejection::TaskIsUnfinished { .. } => Code::TaskIsUnfinished,
        Rejection::TaskIsErased(_) => Code::TaskIsErased,
        Rejection::TooManySecrets { .. } => Code::SecretLimitReached,
        Rejection::TooManyDependents { .. } => Code::TooManyDependents,
        Rejection::QueueShareUsedUp { .. } => Code::QueueShareUsedUp,
        Rejection::QueueFull { .. } => Code::QueueFull,
        Rejection::DedupKeyInUse(_) => Code::DedupKeyInUse,
        Rejection::IdempotencyMismatch => Code::IdempotencyMismatch,
        Rejection::VersionMismatch { .. } => Code::VersionMismatch,
        Rejection::BotInUse(_) => Code::BotInUse,
        Rejection::NoRoomForBot(_) => Code::BotLimitReached,
        Rejection::KeyMadeAlready(_) => Code::KeyMadeAlready,
        Rejection::UserExists(_) => Code::UserExists,
        Rejection::NameHasTasks(_) => Code::NameHasTasks,
        Rejection::KeyNotInForce(_) => Code::KeyNotInForce,
        Rejection::RotationRunning(_) => Code::RotationRunning,
        Rejection::NoRoomForAccess(_) => Code::AccessLimitReached,
        Rejection::LastAdminKey | Rejection::LastAdmin(_) => Code::LastAdminKey,
        Rejection::AccessChanged => Code::AccessChanged,
        Rejection::TooManyWebSessions => Code::SessionLimitReached,
        Rejection::WebSessionOpenedAlready(_) => Code::SessionOpenedAlready,
        // No request moves a cursor.
        Rejection::CursorMoved { .. } => Code::Internal,
        Rejection::Invalid(_) => Code::InvalidInput,
    }
}

#[cfg(test)]
mod tests;
