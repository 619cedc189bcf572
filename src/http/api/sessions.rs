//! Sessions in browsers.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{LOCATION, SET_COOKIE, USER_AGENT},
    },
};
use deia_client::{EndedSessions, Items, SessionView};
use deia_model::{Credential, WebSession, WebSessionCookie};

use crate::{
    http::{
        api::parameters::IdempotencyKey,
        body::{
            answer::{Answer, json, ok, with_header},
            catalogue::Code,
            problem::Problem,
        },
        context::RequestCtx,
        guard::credentials::SESSION_COOKIE,
        operation::describe,
    },
    telemetry::redact::redact,
};

describe! { open:
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, description = "1 to 255 visible \
        ASCII characters: the same key opens one session only. The cookie is sent once, so a \
        repetition is answered with 409 and the id of the session")),
    responses((status = 201, description = "Opened; the cookie of the session is in Set-Cookie", body = SessionView))
}
pub(crate) async fn open(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    // No body and an empty one are the same.
    let idempotency = call.idempotency(b"")?;
    if !matches!(
        call.who.credential,
        Credential::Key(_) | Credential::Token { .. }
    ) {
        let detail = "a session is opened with a key or a token in the Authorization header";
        return Err(Problem::new(Code::KeyMissing, detail));
    }
    let (from, agent) = (call.address(), call.request().headers().get(USER_AGENT));
    // The user agent is stored and shown. It is cut after this, since half a secret is
    // not recognized as one.
    let agent = agent.and_then(|agent| agent.to_str().ok()).map(redact);
    let agent = agent.as_deref();
    let opened = call
        .hive()
        .access()
        .open_web_session(&call.who, from, agent, idempotency)
        .await?;
    let view = view(&call, opened.web_session, &opened.cookie);
    let answer = json(StatusCode::CREATED, &view)?;
    let answer = with_header(answer, LOCATION, "/api/v1/auth/session")?;
    let lifetime = call.hive().config().auth.sessions.lifetime;
    with_cookie(answer, &opened.cookie.reveal(), lifetime)
}

describe! { get:
    responses((status = 200, description = "The session of the cookie, with the token that requests which change something have to send in X-CSRF-Token", body = SessionView))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let web_session = call.hive().access().own_web_session(&call.who)?;
    match call.session() {
        Some(cookie) => ok(&view(&call, web_session, &cookie)),
        None => Err(Problem::internal("a session without a cookie")),
    }
}

describe! { end:
    responses((status = 204, description = "Ended; the cookie is refused immediately"))
}
pub(crate) async fn end(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    call.hive().access().end_web_session(&call.who).await?;
    with_cookie(HttpResponse::NoContent().finish(), "", Duration::ZERO)
}

describe! { list:
    responses((status = 200, description = "The caller's open web sessions, oldest first", body = Items<WebSession>))
}
pub(crate) async fn list(call: RequestCtx) -> Answer {
    let items = call.hive().access().web_sessions_of(&call.who);
    ok(&Items { items })
}

describe! { end_all:
    responses((status = 200, description = "All sessions of the caller's user have ended, \
        including this one", body = EndedSessions))
}
pub(crate) async fn end_all(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let user = call.who.user.clone();
    let ended = call
        .hive()
        .access()
        .end_web_sessions_of(&call.who, &user)
        .await?;
    with_cookie(ok(&EndedSessions { ended })?, "", Duration::ZERO)
}

describe! { end_of_user:
    params(("id" = String, Path, description = "The user, or a user of an issuer (issuer:user)")),
    responses((status = 200, description = "All sessions of that user have ended", body = EndedSessions))
}
pub(crate) async fn end_of_user(mut call: RequestCtx) -> Answer {
    call.no_body().await?;
    let user = &call.path_param("id");
    let ended = call
        .hive()
        .access()
        .end_web_sessions_of(&call.who, user)
        .await?;
    ok(&EndedSessions { ended })
}

fn view(call: &RequestCtx, web_session: WebSession, cookie: &WebSessionCookie) -> SessionView {
    let idle_timeout = call.hive().config().auth.sessions.idle_timeout;
    SessionView {
        role: call.who.role,
        idle_timeout_seconds: idle_timeout.as_secs(),
        csrf_token: cookie.csrf_token(),
        web_session,
    }
}

/// Adds the cookie of a session to an answer. A cookie without time left is removed by
/// the browser.
fn with_cookie(answer: HttpResponse, value: &str, lifetime: Duration) -> Answer {
    let age = lifetime.as_secs();
    let cookie = format!(
        "{SESSION_COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={age}"
    );
    with_header(answer, SET_COOKIE, &cookie)
}
