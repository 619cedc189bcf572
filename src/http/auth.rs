//! Who is let in: first the key, then the rate, then the permission.

use std::{net::IpAddr, sync::Arc, time::Duration};

use actix_web::{HttpRequest, http::header::AUTHORIZATION};
use deia_hive::{
    Hive,
    auth::{Denied, Permission, Principal},
    model::KeyId,
};

use super::{
    catalogue::Code,
    class::Class,
    limit::{Limits, Standing},
    problem::Problem,
    wire::Connection,
};

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: a health probe, or the page that shows the API.
    Open,
    /// Any key in force.
    AnyKey,
    /// A key whose role has this permission.
    Needs(Permission),
}

/// A caller who is not let in, and what is known of them.
pub(super) struct Refused {
    pub(super) problem: Problem,
    pub(super) user: Option<Arc<str>>,
    pub(super) key: Option<KeyId>,
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
pub(super) fn admit(
    hive: &Hive,
    limits: &Limits,
    request: &HttpRequest,
    access: Access,
    class: Class,
) -> (Option<Standing>, Result<Principal, Refused>) {
    let from = address(request);
    let who = match principal(hive, request, from) {
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
        (None, _) => return (standing, Ok(who)),
    };
    let refused = Refused {
        problem,
        key: who.key(),
        user: Some(who.user),
    };
    (standing, Err(refused))
}

/// Who asks: whose key it is, or without one whose certificate.
fn principal(
    hive: &Hive,
    request: &HttpRequest,
    from: Option<IpAddr>,
) -> Result<Principal, Refused> {
    if let Some(bot) = Connection::bot(request)
        && !request.headers().contains_key(AUTHORIZATION)
    {
        return Ok(Principal::of_certificate(bot));
    }
    let key = bearer(request)?;
    Ok(hive.authenticate(key, from)?)
}

/// Lets anybody in, at a rate.
pub(super) fn admit_probe(
    limits: &Limits,
    request: &HttpRequest,
) -> (Option<Standing>, Result<(), Problem>) {
    let standing = limits.probe(address(request));
    let verdict = wait(&standing).map_or(Ok(()), |wait| Err(Problem::rate_limited(wait)));
    (standing, verdict)
}

fn wait(standing: &Option<Standing>) -> Option<Duration> {
    standing.as_ref()?.wait
}

/// Where a request comes from.
pub(super) fn address(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip())
}

/// The key, which comes in one `Authorization: Bearer` header and nowhere else.
fn bearer(request: &HttpRequest) -> Result<&str, Problem> {
    let mut values = request.headers().get_all(AUTHORIZATION);
    let missing = |why: &'static str| Problem::new(Code::KeyMissing, why);
    let value = values
        .next()
        .ok_or_else(|| missing("the request has no Authorization header"))?;
    if values.next().is_some() {
        return Err(missing(
            "the request has more than one Authorization header",
        ));
    }
    let (scheme, key) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| missing("the Authorization header is not of the form Bearer <key>"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing(
            "the Authorization header is not of the scheme Bearer",
        ));
    }
    Ok(key.trim())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_key_is_in_one_authorization_header() {
        let with = |value: &str| {
            TestRequest::get()
                .insert_header((AUTHORIZATION, value))
                .to_http_request()
        };
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(&with(value)).ok(), expected, "{value:?}");
        }
        let none = TestRequest::get().uri("/?key=abc").to_http_request();
        assert_eq!(bearer(&none).unwrap_err().code(), Code::KeyMissing);
        let two = TestRequest::get()
            .append_header((AUTHORIZATION, "Bearer a"))
            .append_header((AUTHORIZATION, "Bearer b"))
            .to_http_request();
        assert_eq!(bearer(&two).unwrap_err().code(), Code::KeyMissing);
    }
}
