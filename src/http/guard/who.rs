//! Authentication and authorization of the caller of a request.

use std::{net::IpAddr, sync::Arc};

use actix_web::HttpRequest;
use deia_hive::{
    Hive,
    access::{AuthError, AuthFailure, VerifyMode},
};
use deia_model::{Credential, KeyId, Principal, WebSessionCookie};

use crate::http::{
    body::{catalogue::Code, problem::Problem},
    guard::{
        credentials::{self, Credentials},
        csrf,
        policy::Access,
        rate::Limits,
    },
    server::{
        connection::{self, address},
        state::ServerState,
    },
};

/// A failed authentication, and as much as is known of the caller.
pub(crate) struct RejectedCaller {
    pub(crate) problem: Problem,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) key: Option<KeyId>,
}

impl From<Problem> for RejectedCaller {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            user: None,
            key: None,
        }
    }
}

impl From<AuthFailure> for RejectedCaller {
    fn from(denied: AuthFailure) -> Self {
        Self {
            user: denied.user.clone(),
            key: denied.key,
            problem: denied.into(),
        }
    }
}

/// Authenticates the caller of a request.
pub(crate) async fn authenticate(
    state: &ServerState,
    request: &HttpRequest,
) -> Result<Principal, RejectedCaller> {
    let limits = state.limits.load_full();
    principal(&state.hive, &limits, request, address(request)).await
}

/// Refuses a caller who lacks the permission of a route.
///
/// # Errors
/// [`Code::PermissionDenied`].
pub(crate) fn authorize(who: &Principal, access: Access) -> Result<(), Problem> {
    match access {
        Access::Needs(permission) if !who.may(permission) => Err(Problem::denied(who, permission)),
        _ => Ok(()),
    }
}

/// Authorizes a caller again, after a wait. Returns the caller as of now; the rest of the
/// request uses that access.
///
/// # Errors
/// The caller would not be let in now, or lacks the permission by now.
pub(crate) fn reauthorize(
    hive: &Hive,
    request: &HttpRequest,
    who: &Principal,
    access: Access,
) -> Result<Principal, Problem> {
    if who.credential == Credential::Certificate && connection::bot(request).is_none() {
        return Err(credentials::missing(
            "the certificate is not valid any more",
        ));
    }
    let now = hive.access().still(who, address(request))?;
    authorize(&now, access)?;
    Ok(now)
}

/// Refuses an answer that was made for a caller with other access than they have now.
///
/// # Errors
/// As [`reauthorize`], and [`Code::AccessChanged`].
pub(crate) fn is_unchanged(
    hive: &Hive,
    request: &HttpRequest,
    who: &Principal,
    access: Access,
) -> Result<(), Problem> {
    match reauthorize(hive, request, who, access)? == *who {
        true => Ok(()),
        false => Err(Problem::new(
            Code::AccessChanged,
            "the access of the caller changed while the request was handled",
        )),
    }
}

/// Returns the caller. The one place that decides how each kind of credential is checked.
async fn principal(
    hive: &Hive,
    limits: &Limits,
    request: &HttpRequest,
    from: Option<IpAddr>,
) -> Result<Principal, RejectedCaller> {
    match credentials::of(request.headers())? {
        Credentials::Bearer(text) => {
            let mode = match limits.is_anonymous_over(from) {
                true => VerifyMode::Serialized,
                false => VerifyMode::Parallel,
            };
            Ok(hive.access().authenticate_bearer(text, from, mode).await?)
        }
        Credentials::Nothing => match connection::bot(request) {
            Some(bot) => Ok(Principal::of_certificate(bot)),
            None => Err(credentials::missing(connection::missing(request)).into()),
        },
        Credentials::Session(text) => {
            let over = || AuthFailure::anonymous(AuthError::SessionOver);
            let cookie = WebSessionCookie::parse(text).ok_or_else(over)?;
            let who = hive.access().authenticate_web_session(&cookie, from)?;
            match from_another_site(request, &cookie) {
                None => Ok(who),
                Some(problem) => Err(RejectedCaller {
                    problem,
                    key: who.key(),
                    user: Some(who.user),
                }),
            }
        }
    }
}

/// Returns the problem with a request that another site has the browser send.
fn from_another_site(request: &HttpRequest, cookie: &WebSessionCookie) -> Option<Problem> {
    let (headers, authority) = (request.headers(), request.uri().authority());
    let host = csrf::host(headers, authority.map(|authority| authority.as_str()));
    let token = cookie.csrf_token();
    let fault = csrf::fault(request.method(), headers, host.as_deref(), &token)?;
    Some(Problem::new(Code::CrossSite, fault))
}
