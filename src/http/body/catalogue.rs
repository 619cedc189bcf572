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
    MalformedRequest = "malformed_request" BAD_REQUEST, "The request is not valid HTTP",
        "The connection is closed; see Behind a proxy in docs/AUTHENTICATION-GUIDE.md for the requests that are accepted.";
    /// The body is not JSON.
    MalformedJson = "malformed_json" BAD_REQUEST, "The body is not JSON",
        "Send one complete JSON document, in UTF-8.";
    /// A header has a value that it cannot have.
    InvalidHeader = "invalid_header" BAD_REQUEST, "A header is not valid",
        "Correct the named header or leave it out.";
    /// The body broke off.
    BodyIncomplete = "body_incomplete" BAD_REQUEST, "The body is not complete",
        "Send as many bytes as Content-Length announces, or end the last chunk.";
    /// There is no key.
    KeyMissing = "key_missing" UNAUTHORIZED, "A key is needed",
        "Send the header Authorization: Bearer <key>; the first admin key is in <data_dir>/admin.key.";
    /// The credential is not a key.
    KeyMalformed = "key_malformed" UNAUTHORIZED, "The credential is not a key",
        "Check that the whole key was copied.";
    /// No such key.
    KeyUnknown = "key_unknown" UNAUTHORIZED, "The key is unknown",
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
    SessionOver = "session_over" UNAUTHORIZED, "The session has ended",
        "Log in again: POST /api/v1/auth/session with a key or a token.";
    /// The token is not a JWT.
    TokenMalformed = "token_malformed" UNAUTHORIZED, "The token cannot be read",
        "Send the complete signed JWT of the issuer: three parts, separated by dots.";
    /// The token is not one that is taken here.
    TokenRefused = "token_refused" UNAUTHORIZED, "The token is not accepted",
        "Get a token of a configured issuer for this hive; detail says what is wrong with this one.";
    /// The token has expired.
    TokenExpired = "token_expired" UNAUTHORIZED, "The token has expired",
        "Get another token from the issuer.";
    /// The request was not made by a page of the session.
    CrossSite = "cross_site" FORBIDDEN, "The request is not from a page of the session",
        "Send the csrf_token of GET /api/v1/auth/session as X-CSRF-Token, from a page of this hive; or use a key.";
    /// The token gives no role.
    TokenWithoutRole = "token_without_role" FORBIDDEN, "The token grants no role",
        "Ask the administrator of the hive to map a claim of the token to a role (auth.issuers).";
    /// The role of the key, or the key itself, does not have the permission.
    PermissionDenied = "permission_denied" FORBIDDEN, "The key does not have the permission",
        "Use a key that has the named permission; GET /api/v1/auth/whoami lists the permissions of this one, GET /api/v1/roles those of each role.";
    /// The key may not be used from there.
    AddressNotAllowed = "address_not_allowed" FORBIDDEN, "The key may not be used from this address",
        "Use the key from one of the addresses that it is restricted to, or ask the administrator of the hive for another.";
    /// No such thing, or the caller may not know of it.
    NotFound = "not_found" NOT_FOUND, "The object was not found",
        "Check the name or id.";
    /// There was no such attempt, or its output was not kept.
    OutputMissing = "output_missing" NOT_FOUND, "The attempt has no output",
        "detail gives the reason; GET /api/v1/tasks/{id}/logs has the standard error of the program.";
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
        "GET its result.";
    /// The task runs.
    TaskIsRunning = "task_is_running" CONFLICT, "The task runs already",
        "To end it, cancel it by its id.";
    /// The task has not ended.
    TaskIsUnfinished = "task_is_unfinished" CONFLICT, "The task has not ended",
        "Wait for its end, or cancel it, before you retry or erase it.";
    /// The content of the task was erased.
    TaskIsErased = "task_is_erased" CONFLICT, "The content of the task was erased",
        "Submit the task again with its content, which is not kept any more.";
    /// There are as many endpoints as may be.
    WebhookLimitReached = "webhook_limit_reached" CONFLICT, "No more webhooks can be registered",
        "Delete webhooks that are not needed, or raise the limit that detail names.";
    /// The endpoint is disabled.
    WebhookDisabled = "webhook_disabled" CONFLICT, "The webhook is disabled",
        "Enable the webhook first: POST /api/v1/webhooks/{id}/enable.";
    /// A replay of the endpoint is running.
    ReplayRunning = "replay_running" CONFLICT, "A replay of the webhook is running",
        "Wait for the end of the replay, or stop it first.";
    /// The user has as many active sessions as may be.
    TooManySessions = "too_many_sessions" CONFLICT, "The user has too many active sessions",
        "End sessions that are not needed, or raise messaging.sessions.max_per_user.";
    /// The message failed or expired.
    MessageIsOver = "message_is_over" CONFLICT, "The message failed or expired",
        "Nothing is left to do; ask its sender to send it again if it is still needed.";
    /// There are as many stored secrets as may be.
    SecretLimitReached = "secret_limit_reached" CONFLICT, "No more secrets can be stored",
        "Delete secrets that are not needed, or raise secrets.max.";
    /// Another unfinished task has its `dedup_key`.
    DedupKeyInUse = "dedup_key_in_use" CONFLICT, "An unfinished task has the same dedup_key",
        "Wait for the end of the task that detail names, or cancel it.";
    /// Too many tasks wait for one that the task depends on.
    TooManyDependents = "too_many_dependents" CONFLICT, "Too many tasks depend on the same task",
        "Retry the task when the task that detail names has ended, or raise tasks.max_dependents.";
    /// The lease on an attempt is not in force.
    StaleLease = "stale_lease" CONFLICT, "The lease is not in force",
        "Stop working on the attempt: it has ended, or the task was given to another worker.";
    /// The bot has another executor than the request needs.
    WrongExecutor = "wrong_executor" CONFLICT, "The bot has another executor",
        "Use a bot of the kind that detail names.";
    /// A piece of output does not follow the pieces before it.
    OutputGap = "output_gap" CONFLICT, "A part of the output is missing",
        "Send the output from the offset on that detail names.";
    /// The attempt has not begun, so there is no output.
    NoOutput = "no_output" CONFLICT, "The task has no output yet",
        "Ask again when the task runs or has ended, or leave attempt out for the output of the last attempt.";
    /// The caller's access has changed since the request was let in.
    AccessChanged = "access_changed" CONFLICT, "The caller's access has changed",
        "Nothing was changed. Repeat the request: it is checked against the caller's current access.";
    /// The bot is launched or has running tasks.
    BotInUse = "bot_in_use" CONFLICT, "The bot is in use",
        "Stop the bot and try again when it is stopped.";
    /// No program of the bot reads lines of people now.
    BotTakesNoInput = "bot_takes_no_input" CONFLICT, "The bot takes no input now",
        "See detail for why. Only the running program of a bot of the kind worker takes input, and only about tasks that it runs.";
    /// There is room for no more bots.
    BotLimitReached = "bot_limit_reached" CONFLICT, "No more bots can be added",
        "Delete a bot, or raise bots.max_bots or bots.last_port.";
    /// There is such a user.
    UserExists = "user_exists" CONFLICT, "The user exists already",
        "Change the existing user, or choose another name.";
    /// There are tasks of a user of that name who was removed.
    NameHasTasks = "name_has_tasks" CONFLICT, "There are tasks of an earlier user of that name",
        "Choose another name; or cancel the waiting tasks of that submitter, and try again when all are deleted (tasks.retention.*).";
    /// The key was revoked or has expired.
    KeyNotInForce = "key_not_in_force" CONFLICT, "The key is not in force",
        "Create a new key.";
    /// Two keys of the same rotation are in force.
    RotationRunning = "rotation_running" CONFLICT, "The key is being rotated already",
        "Wait until the old key has expired, or revoke one of the two.";
    /// There is room for no more users or keys.
    AccessLimitReached = "access_limit_reached" CONFLICT, "No more users or keys can be created",
        "Delete users or keys that are not used any more, or raise the limit that detail names.";
    /// The change would leave nobody who can make keys.
    LastAdminKey = "last_admin_key" CONFLICT, "The hive would have no admin left",
        "Create another admin key first, one that neither expires nor is restricted to addresses.";
    /// The request made its key already.
    KeyMadeAlready = "key_made_already" CONFLICT, "The key was created already",
        "If its text was lost, revoke that key and create another with a new Idempotency-Key.";
    /// There are as many sessions as may be.
    SessionLimitReached = "session_limit_reached" CONFLICT, "No more sessions can be opened",
        "Use a key, end sessions that are not needed, or raise auth.sessions.max.";
    /// The request opened its session already.
    SessionOpenedAlready = "session_opened_already" CONFLICT, "The session was opened already",
        "If its cookie was lost, log in again with a new Idempotency-Key; the session that detail names ends by itself, or with DELETE /api/v1/auth/sessions.";
    /// A new start would fail, or a restart is under way.
    RestartRefused = "restart_refused" CONFLICT, "The restart was refused",
        "Nothing was changed. Fix the problem that detail names, and try again.";
    /// Settings take effect at a start only.
    RestartRequired = "restart_required" CONFLICT, "The settings take effect at the next start",
        "Change the settings file and restart the server (deia system restart); or, in a reload, apply the other keys alone with apply_rest.";
    /// A part of the hive refuses the settings.
    SettingsRefused = "settings_refused" CONFLICT, "The settings were refused",
        "Correct what detail names, and try again.";
    /// The settings in force wait for their confirmation.
    ConfirmationPending = "confirmation_pending" CONFLICT, "A change of settings waits for its confirmation",
        "Confirm it or undo it first: POST /api/config/confirm or /api/config/undo.";
    /// Nothing waits for a confirmation.
    NothingToConfirm = "nothing_to_confirm" CONFLICT, "No change of settings waits for a confirmation",
        "Nothing is left to do; GET /api/config/status shows the settings in force.";
    /// There is no other version to put back.
    NothingToUndo = "nothing_to_undo" CONFLICT, "There is no such earlier version",
        "Choose a version that was in force: GET /api/config/history lists them.";
    /// The request about the archive is not possible now.
    RecoveryRefused = "recovery_refused" CONFLICT, "The request about the archive is not possible now",
        "detail gives the reason; GET /api/disaster-recovery/status shows the job under way.";
    /// The operation is not allowed on this part of the tree, or not now.
    PartRefused = "part_refused" CONFLICT, "The operation is not possible on this part of the tree",
        "detail gives the reason; deia supervisors shows the state of the part.";
    /// The stored version is another.
    VersionMismatch = "version_mismatch" PRECONDITION_FAILED, "The object was changed in the meantime",
        "Get the object again, check the change, and repeat yours with the new ETag.";
    /// The body is too large.
    BodyTooLarge = "body_too_large" PAYLOAD_TOO_LARGE, "The body is too large",
        "Send a smaller body; the limit is server.max_body_bytes.";
    /// The output of an attempt is longer than allowed.
    OutputTooLarge = "output_too_large" PAYLOAD_TOO_LARGE, "The output is too large",
        "Report a shorter output, or raise tasks.max_output_file_bytes.";
    /// The target of the request is too long.
    TargetTooLong = "target_too_long" URI_TOO_LONG, "The URL is too long",
        "Send fewer or shorter parameters; a target may have 8192 bytes.";
    /// The body is of a type that is not taken.
    UnsupportedMediaType = "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE, "The body is of the wrong type",
        "Send JSON with the header Content-Type: application/json and no Content-Encoding.";
    /// The output is not as long as that.
    BeyondOutput = "beyond_output" RANGE_NOT_SATISFIABLE, "The output is shorter than the offset",
        "Give an offset no greater than the bytes that you have read of this attempt.";
    /// The request expects something that is not done.
    ExpectationFailed = "expectation_failed" EXPECTATION_FAILED, "The expectation is not supported",
        "Leave the Expect header out, or send Expect: 100-continue.";
    /// The body says something that it may not.
    InvalidInput = "invalid_input" UNPROCESSABLE_ENTITY, "The input is not valid",
        "Correct the places that errors names by JSON pointer.";
    /// The settings file cannot be used.
    SettingsInvalid = "settings_invalid" UNPROCESSABLE_ENTITY, "The settings cannot be used",
        "Nothing was changed. Correct the settings file; deia config check FILE lists all errors.";
    /// A parameter in the path or the query is wrong.
    InvalidParameter = "invalid_parameter" UNPROCESSABLE_ENTITY, "A parameter is not valid",
        "Correct the named parameter or leave it out.";
    /// The cursor is not one that this list gave out.
    BadCursor = "bad_cursor" UNPROCESSABLE_ENTITY, "The cursor is not valid",
        "Start from the first page, without a cursor, and keep the filters while paging.";
    /// The id of an event is not one that the caller was given.
    BadEventId = "bad_event_id" UNPROCESSABLE_ENTITY, "The id of the event is not valid",
        "Follow events without Last-Event-ID, from now on, and read earlier events page by page; follow an output without it, from its beginning or from offset. Ids are valid for one hive; ids of a caller who sees only its own tasks are valid for that caller only.";
    /// The idempotency key was used for another request.
    IdempotencyMismatch = "idempotency_mismatch" UNPROCESSABLE_ENTITY, "The idempotency key was used already",
        "Use a new Idempotency-Key for each new request, and the same body when repeating one.";
    /// Too many requests.
    RateLimited = "rate_limited" TOO_MANY_REQUESTS, "Too many requests",
        "Wait for as many seconds as Retry-After says.";
    /// As much of the submitter waits as may.
    QueueShareUsedUp = "queue_share_used_up" TOO_MANY_REQUESTS, "Too many tasks of this submitter wait",
        "Submit again after as many seconds as Retry-After says, when some of your tasks have started; or cancel tasks that are not needed.";
    /// The receiver of a message has the maximum number of unread ones.
    InboxFull = "inbox_full" TOO_MANY_REQUESTS, "The inbox of the receiver is full",
        "Send again after as many seconds as Retry-After says, when the receiver has read some of its messages.";
    /// The head of the request is too large.
    HeadTooLarge = "head_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large",
        "Send fewer or shorter headers: at most 64, and 32 KiB together with the first line.";
    /// A bug, or a broken machine.
    Internal = "internal_error" INTERNAL_SERVER_ERROR, "An internal error occurred",
        "Tell the operator the request id; the log of the server has the cause.";
    /// Too much waits already.
    Overloaded = "overloaded" SERVICE_UNAVAILABLE, "The hive is overloaded",
        "Try again after as many seconds as Retry-After says.";
    /// As many tasks wait as may.
    QueueFull = "queue_full" SERVICE_UNAVAILABLE, "The queue is full",
        "Submit again after as many seconds as Retry-After says; an operator can launch more bots, purge tasks that are not needed, or raise tasks.max_waiting.";
    /// The read took too long.
    ReadTimeout = "read_timeout" SERVICE_UNAVAILABLE, "The read took too long",
        "Ask for fewer items at a time, or filter by less common values; the limit is store.read_timeout.";
    /// The feature that the request needs is suspended.
    FeatureSuspended = "feature_suspended" SERVICE_UNAVAILABLE, "The feature is suspended",
        "Try again after as many seconds as Retry-After says; deia degrade status and deia supervisors show who suspended it, and why.";
    /// The level in force admits more urgent tasks only.
    SubmissionShed = "submission_shed" SERVICE_UNAVAILABLE, "Tasks of this priority are refused for now",
        "Submit again after as many seconds as Retry-After says, or with the priority P0 or P1 if the task is that urgent; deia degrade status shows the level and its reason.";
    /// The level in force admits no changes.
    ReadOnly = "read_only" SERVICE_UNAVAILABLE, "The hive is read-only",
        "Nothing was changed. Try again after as many seconds as Retry-After says; reads, reports of running work, cancel, pause, stop and administration go on. deia degrade status shows the level and its reason.";
    /// The audit trail cannot be written.
    AuditUnavailable = "audit_unavailable" SERVICE_UNAVAILABLE, "The audit trail cannot be written",
        "Nothing was changed. Tasks keep running; administrative changes are refused until the trail can be written: detail and the alert audit_failing give the reason.";
    /// The hive is starting or stopping.
    Unavailable = "unavailable" SERVICE_UNAVAILABLE, "The hive does not accept the request now",
        "Try again after as many seconds as Retry-After says.";
    /// The archive cannot be written, and the request needs it.
    ArchiveUnreachable = "archive_unreachable" SERVICE_UNAVAILABLE, "The archive cannot be written",
        "GET /api/disaster-recovery/status gives the reason. With recovery.mode sync writes are refused until the archive has all commits; reads work meanwhile.";
    /// The writer of the store ended while it held the request.
    OutcomeUnknown = "outcome_unknown" SERVICE_UNAVAILABLE, "The request may or may not have been carried out",
        "Repeat it with the same Idempotency-Key, which is safe. Without one, check first whether it was carried out.";
    /// Something that must work does not.
    Unhealthy = "unhealthy" SERVICE_UNAVAILABLE, "The hive is not healthy",
        "GET /api/v1/system/health with a key that has sys:health lists the problems.";
    /// The keys of an issuer are not there.
    IssuerUnavailable = "issuer_unavailable" SERVICE_UNAVAILABLE, "The keys of the issuer of the token are not available",
        "Try again after as many seconds as Retry-After says; keys of the hive and tokens of other issuers work meanwhile.";
    /// The disk is full.
    StorageFull = "storage_full" INSUFFICIENT_STORAGE, "The disk is full",
        "Free space on the file system of the data directory; pause, cancel and stop work meanwhile (store.reserve_bytes).";
}

/// The catalogue as a page: `docs/ERRORS.md`.
pub fn catalogue_page() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         Every answer that is not a success is `application/problem+json` (RFC 9457). Its `code` is\n\
         stable; `detail` says what is wrong in this case and what to do. The server has this catalogue at\n\
         `GET /api/errors`. This page is generated from it.\n\n\
         | code | status | title | remedy |\n|---|---|---|---|\n",
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
