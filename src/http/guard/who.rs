//! Who is let in: first the key, then the rate, then the permission.

use std::{net::IpAddr, sync::Arc, time::Duration};

use actix_web::HttpRequest;
use deia_hive::{
    Hive,
    access::{AuthError, Denied},
};
use deia_model::{KeyId, LoginCookie, Permission, Principal, Via};

use crate::http::{
    body::{catalogue::Code, problem::Problem},
    guard::{
        class::RouteClass,
        credentials,
        credentials::Credentials,
        csrf,
        policy::Access,
        rate::{Limits, RateLimitStatus},
    },
    server::connection::{self, address},
};

/// A caller who is not let in, and what is known of them.
pub(crate) struct Refused {
    pub(crate) problem: Problem,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) key: Option<KeyId>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            user: None,
            key: None,
        }
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        Self {
            user: denied.user.clone(),
            key: denied.key,
            problem: denied.into(),
        }
    }
}

/// Lets a caller with a key in, or says why not. The standing is `None` when
/// there are no limits.
pub(crate) async fn admit(
    hive: &Hive,
    limits: &Limits,
    request: &HttpRequest,
    access: Access,
    class: RouteClass,
) -> (Option<RateLimitStatus>, Result<Principal, Refused>) {
    let from = address(request);
    let who = match principal(hive, limits, request, from).await {
        Ok(who) => who,
        Err(refused) => {
            let standing = limits.stranger(from);
            let refused = match wait(&standing) {
                Some(wait) => Problem::rate_limited(wait).into(),
                None => refused,
            };
            return (standing, Err(refused));
        }
    };
    let standing = limits.principal(class, &who.budget());
    let problem = match (wait(&standing), access) {
        (Some(wait), _) => Problem::rate_limited(wait),
        (None, Access::Needs(permission)) if !who.may(permission) => {
            Problem::denied(&who, permission)
        }
        (None, _) => {
            hive.access().note_admitted(&who);
            return (standing, Ok(who));
        }
    };
    let refused = Refused {
        problem,
        key: who.key(),
        user: Some(who.user),
    };
    (standing, Err(refused))
}

/// Judges a caller who was let in again, after a wait. Returns the caller as of now;
/// the rest of the request uses that access.
///
/// # Errors
/// They would not be let in now, or lack the permission by now.
pub(crate) fn admit_again(
    hive: &Hive,
    request: &HttpRequest,
    who: &Principal,
    access: Access,
) -> Result<Principal, Problem> {
    if who.via == Via::Certificate && connection::bot(request).is_none() {
        return Err(credentials::missing(
            "the certificate is not valid any more",
        ));
    }
    let now = hive.access().still(who, address(request))?;
    match access {
        Access::Needs(permission) if !now.may(permission) => Err(Problem::denied(&now, permission)),
        _ => Ok(now),
    }
}

/// Refuses an answer that was made for a caller with other access than they have now.
///
/// # Errors
/// As [`admit_again`], and [`Code::AccessChanged`].
pub(crate) fn is_unchanged(
    hive: &Hive,
    request: &HttpRequest,
    who: &Principal,
    access: Access,
) -> Result<(), Problem> {
    match admit_again(hive, request, who, access)? == *who {
        true => Ok(()),
        false => Err(Problem::new(
            Code::AccessChanged,
            "the access of the caller changed while the answer was made",
        )),
    }
}

/// Who asks. The one place where it is decided how each kind of credential is
/// checked.
async fn principal(
    hive: &Hive,
    limits: &Limits,
    request: &HttpRequest,
    from: Option<IpAddr>,
) -> Result<Principal, Refused> {
    match credentials::of(request.headers())? {
        Credentials::Bearer(text) => {
            let crowd = limits.is_stranger_over(from);
            Ok(hive.access().authenticate_bearer(text, from, crowd).await?)
        }
        Credentials::Nothing => match connection::bot(request) {
            Some(bot) => Ok(Principal::of_certificate(bot)),
            None => Err(credentials::missing(connection::missing(request)).into()),
        },
        Credentials::Session(text) => {
            let over = || Denied::stranger(AuthError::SessionOver);
            let cookie = LoginCookie::parse(text).ok_or_else(over)?;
            let who = hive.access().authenticate_login(&cookie, from)?;
            match from_another_site(request, &cookie) {
                None => Ok(who),
                Some(problem) => Err(Refused {
                    problem,
                    key: who.key(),
                    user: Some(who.user),
                }),
            }
        }
    }
}

/// What is wrong with a request that another site has the browser send.
fn from_another_site(request: &HttpRequest, cookie: &LoginCookie) -> Option<Problem> {
    let (headers, authority) = (request.headers(), request.uri().authority());
    let host = csrf::host(headers, authority.map(|authority| authority.as_str()));
    let token = cookie.csrf_token();
    let fault = csrf::fault(request.method(), headers, host.as_deref(), &token)?;
    Some(Problem::new(Code::CrossSite, fault))
}

/// Lets anybody in, at a rate.
pub(crate) fn admit_probe(
    limits: &Limits,
    request: &HttpRequest,
) -> (Option<RateLimitStatus>, Result<(), Problem>) {
    let standing = limits.probe(address(request));
    let verdict = wait(&standing).map_or(Ok(()), |wait| Err(Problem::rate_limited(wait)));
    (standing, verdict)
}

fn wait(standing: &Option<RateLimitStatus>) -> Option<Duration> {
    standing.as_ref()?.wait
}
