//! The catalogue of errors: one row for each code. The API, the CLI and
//! `docs/ERRORS.md` are fed from it.

use actix_web::http::StatusCode;

macro_rules! catalogue {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $status:ident, $title:literal, $hint:literal;)*) => {
        /// The kind of a problem. Codes are stable: callers may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// The whole catalogue, by status.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// Returns the name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code,)* }
            }

            /// Returns the HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Code::$variant => StatusCode::$status,)* }
            }

            /// Returns the title: the same few words for each occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// Returns the remedy.
            pub fn hint(self) -> &'static str {
                match self { $(Code::$variant => $hint,)* }
            }

            /// Returns the code of that name.
            pub fn parse(name: &str) -> Option<Code> {
                match name { $($code => Some(Code::$variant),)* _ => None }
            }
        }
    };
}

catalogue! {
    /// The request is not HTTP as it must be.
    MalformedRequest = "malformed_request" BAD_REQUEST, "That is not a valid HTTP request",
        "The connection is closed; see Behind a proxy in docs/AUTHENTICATION-GUIDE.md for what is taken.";
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
    /// The credential is not a key.
    KeyMalformed = "key_malformed" UNAUTHORIZED, "That is not a key",
        "Check that the whole key was copied.";
    /// No such key.
    KeyUnknown = "key_unknown" UNAUTHORIZED, "The key is not known here",
        "Check that the key belongs to this hive, or ask its administrator for another.";
    /// The key was revoked.
    KeyRevoked = "key_revoked" UNAUTHORIZED, "The key was revoked",
        "Ask the administrator of the hive for another key.";
    /// The key has expired.
    KeyExpired = "key_expired" UNAUTHORIZED, "The key has expired",
        "Ask the administrator of the hive for another key.";
    /// The user of the key may not act.
    UserInactive = "user_inactive" UNAUTHORIZED, "The user of the key is not active",
        "Ask the administrator of the hive to make the user active again.";
    /// The web session is over.
    SessionOver = "session_over" UNAUTHORIZED, "The session is over",
        "Log in again: POST /api/v1/auth/session with a key or a token.";
    /// The token is not a JWT.
    TokenMalformed = "token_malformed" UNAUTHORIZED, "That is not a token that can be read",
        "Send the whole signed JWT (three parts with a dot between) that the issuer gave out.";
    /// The token is not one that is taken here.
    TokenRefused = "token_refused" UNAUTHORIZED, "The token is not taken here",
        "Get a token of a configured issuer that is meant for this hive; detail says what is wrong with this one.";
    /// The token has expired.
    TokenExpired = "token_expired" UNAUTHORIZED, "The token has expired",
        "Get another token from the issuer.";
    /// The request was not made by a page of the session.
    CrossSite = "cross_site" FORBIDDEN, "The request is not from a page of the session",
        "Send the X-CSRF-Token that GET /api/v1/auth/session tells, from a page of this hive; or use a key.";
    /// The token gives no role.
    TokenWithoutRole = "token_without_role" FORBIDDEN, "The token gives no role here",
        "Ask the administrator of the hive to map a claim of the token to a role (auth.issuers).";
    /// The role of the key, or the key itself, does not have the permission.
    PermissionDenied = "permission_denied" FORBIDDEN, "The key may not do that",
        "Use a key that has the named permission; GET /api/v1/auth/whoami tells what this one has, GET /api/v1/roles which role has which.";
    /// The key may not be used from there.
    AddressNotAllowed = "address_not_allowed" FORBIDDEN, "The key may not be used from this address",
        "Use the key from one of the addresses that it is held to, or ask the administrator of the hive for another.";
    /// No such thing, or the caller may not know of it.
    NotFound = "not_found" NOT_FOUND, "There is no such thing",
        "Check the name or id.";
    /// There was no such attempt, or its output was not kept.
    OutputMissing = "output_missing" NOT_FOUND, "There is no output of the attempt",
        "See detail for why; GET /api/v1/tasks/{id}/logs has what the program said on standard error.";
    /// No such route.
    RouteNotFound = "route_not_found" NOT_FOUND, "There is no such route",
        "GET /api/openapi.json describes every route.";
    /// The route does not know the method.
    MethodNotAllowed = "method_not_allowed" METHOD_NOT_ALLOWED, "The route does not have that method",
        "Use one of the methods in the Allow header.";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout" REQUEST_TIMEOUT, "The request did not arrive in time",
        "Send it without pauses longer than server.request_head_timeout, within server.request_body_timeout, and no slower than server.min_bytes_per_second.";
    /// The task has no result yet.
    TaskNotFinished = "task_not_finished" CONFLICT, "The task is not finished",
        "Ask again later, or wait for it with wait_ms.";
    /// The task has its final status already.
    TaskIsFinal = "task_is_final" CONFLICT, "The task has ended already",
        "Nothing is left to do: GET its result.";
    /// The task runs.
    TaskIsRunning = "task_is_running" CONFLICT, "The task runs already",
        "Cancel it by its id if it shall be ended.";
    /// The task has not ended.
    TaskIsUnfinished = "task_is_unfinished" CONFLICT, "The task has not ended",
        "Wait for its end, or cancel it, before it is put back or erased.";
    /// The content of the task was erased.
    TaskIsErased = "task_is_erased" CONFLICT, "The content of the task was erased",
        "Submit the task anew; its content is not kept any more.";
    /// There are as many stored secrets as may be.
    SecretLimitReached = "secret_limit_reached" CONFLICT, "There are as many secrets as may be",
        "Remove secrets that nobody needs, or raise secrets.max.";
    /// Another unfinished task has its `dedup_key`.
    DedupKeyInUse = "dedup_key_in_use" CONFLICT, "An equal task is unfinished",
        "Wait for the end of the task that detail names, or cancel it.";
    /// Too many tasks wait for one that the task depends on.
    TooManyDependents = "too_many_dependents" CONFLICT, "Too many tasks wait for one of its dependencies",
        "Put the task back when the one that detail names has ended, or raise tasks.max_dependents.";
    /// The attempt has not begun, so there is no output.
    NoOutput = "no_output" CONFLICT, "There is no output of the task now",
        "Ask again when the task runs or has ended, or leave attempt out for the output of the last one.";
    /// The caller's access has changed since the request was let in.
    AccessChanged = "access_changed" CONFLICT, "The caller's access has changed",
        "Nothing was changed. Repeat the request: it is judged by the access that the caller has now.";
    /// The bot is launched or has running tasks.
    BotInUse = "bot_in_use" CONFLICT, "The bot is in use",
        "Stop the bot and try again when it is stopped.";
    /// There is room for no more bots.
    BotLimitReached = "bot_limit_reached" CONFLICT, "There is room for no more bots",
        "Remove a bot, or raise bots.max_bots or bots.last_port.";
    /// There is such a user.
    UserExists = "user_exists" CONFLICT, "There is such a user already",
        "Change the user that is there, or choose another name.";
    /// There are tasks of a user of that name who was removed.
    NameHasTasks = "name_has_tasks" CONFLICT, "There are tasks of an earlier user of that name",
        "Choose another name; or cancel the tasks of that submitter that wait, and try again when all are forgotten (tasks.retention.*).";
    /// The key was revoked or has expired.
    KeyNotInForce = "key_not_in_force" CONFLICT, "The key is not in force",
        "Make a new key.";
    /// Two keys of the same rotation are in force.
    RotationRunning = "rotation_running" CONFLICT, "The key is being rotated already",
        "Wait until the old key has expired, or revoke one of the two.";
    /// There is room for no more users or keys.
    AccessLimitReached = "access_limit_reached" CONFLICT, "There is room for no more users or keys",
        "Remove what is not used any more, or raise the limit that detail names.";
    /// The change would leave nobody who can make keys.
    LastAdminKey = "last_admin_key" CONFLICT, "That would leave the hive without an admin",
        "Make another admin key first, one that neither expires nor is held to addresses.";
    /// The request made its key already.
    KeyMadeAlready = "key_made_already" CONFLICT, "The key was made already",
        "If its text was lost, revoke that key and make another with a new Idempotency-Key.";
    /// There are as many sessions as may be.
    SessionLimitReached = "session_limit_reached" CONFLICT, "There are as many sessions as may be",
        "Use a key, end sessions that nobody needs, or raise auth.sessions.max.";
    /// The request opened its session already.
    SessionOpenedAlready = "session_opened_already" CONFLICT, "The session was opened already",
        "If its cookie was lost, log in again with a new Idempotency-Key; the session that detail names ends by itself, or with DELETE /api/v1/auth/sessions.";
    /// A new start would fail, or a restart is under way.
    RestartRefused = "restart_refused" CONFLICT, "The server does not restart",
        "See what detail names. Nothing was changed.";
    /// The operation is not allowed on this part of the tree, or not now.
    PartRefused = "part_refused" CONFLICT, "That is not done to this part of the tree",
        "See detail, and deia supervisors for how it stands.";
    /// The stored version is another.
    VersionMismatch = "version_mismatch" PRECONDITION_FAILED, "It was changed meanwhile",
        "Get it again, look at what changed, and repeat the change with the new ETag.";
    /// The body is too large.
    BodyTooLarge = "body_too_large" PAYLOAD_TOO_LARGE, "The body is too large",
        "Send less at a time; the limit is server.max_body_bytes.";
    /// The target of the request is too long.
    TargetTooLong = "target_too_long" URI_TOO_LONG, "The URL is too long",
        "Send what is long in the body; a target may have 8192 bytes.";
    /// The body is of a type that is not taken.
    UnsupportedMediaType = "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE, "The body is of the wrong type",
        "Send JSON with the header Content-Type: application/json and no Content-Encoding.";
    /// The output is not as long as that.
    BeyondOutput = "beyond_output" RANGE_NOT_SATISFIABLE, "The output is not that long",
        "Give an offset no greater than what you have read of this attempt.";
    /// The request expects something that is not done.
    ExpectationFailed = "expectation_failed" EXPECTATION_FAILED, "That cannot be expected",
        "Leave the Expect header out, or send Expect: 100-continue.";
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
    /// As much of the submitter waits as may.
    QueueShareUsedUp = "queue_share_used_up" TOO_MANY_REQUESTS, "Too much of this submitter waits",
        "Submit again after as many seconds as Retry-After says, when some of your tasks have started; or cancel what is not needed.";
    /// The head of the request is too large.
    HeadTooLarge = "head_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large",
        "Send fewer or shorter headers: at most 64, and 32 KiB together with the first line.";
    /// A bug, or a broken machine.
    Internal = "internal_error" INTERNAL_SERVER_ERROR, "Something inside failed",
        "Tell the operator the request id; the log of the server has the cause.";
    /// Too much waits already.
    Overloaded = "overloaded" SERVICE_UNAVAILABLE, "The hive has too much to do",
        "Try again after as many seconds as Retry-After says.";
    /// As many tasks wait as may.
    QueueFull = "queue_full" SERVICE_UNAVAILABLE, "The queue is full",
        "Submit again after as many seconds as Retry-After says; an operator can launch more bots, purge what is not needed, or raise tasks.max_waiting.";
    /// The read took too long.
    ReadTimeout = "read_timeout" SERVICE_UNAVAILABLE, "The read took too long",
        "Ask for fewer items at a time, or filter by less common values; the limit is store.read_timeout.";
    /// The hive is starting or stopping.
    Unavailable = "unavailable" SERVICE_UNAVAILABLE, "The hive does not take work",
        "Try again after as many seconds as Retry-After says.";
    /// The writer of the store ended while it held the request.
    OutcomeUnknown = "outcome_unknown" SERVICE_UNAVAILABLE, "The request may or may not have been carried out",
        "Repeat it: with the same Idempotency-Key that is safe. Without one, look first whether it was carried out.";
    /// Something that must work does not.
    Unhealthy = "unhealthy" SERVICE_UNAVAILABLE, "The hive is not healthy",
        "GET /api/v1/system/health with a key that has sys:health tells what is wrong.";
    /// The keys of an issuer are not there.
    IssuerUnavailable = "issuer_unavailable" SERVICE_UNAVAILABLE, "The issuer of the token cannot be asked now",
        "Try again after as many seconds as Retry-After says; keys of the hive and tokens of other issuers work meanwhile.";
    /// The disk is full.
    StorageFull = "storage_full" INSUFFICIENT_STORAGE, "The disk is full",
        "Make room on the file system of the data directory; pause, cancel and stop work meanwhile (store.reserve_bytes).";
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
}
