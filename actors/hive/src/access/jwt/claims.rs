//! The claims of a token, and the identity that they describe. Pure.

use std::sync::Arc;

use deia_model::{Role, Timestamp};
use serde_json::Value;

use super::token::{Token, TokenError};
use crate::config::{IssuerSettings, JwtSettings};

/// Maximum length of a user's name in a token, in bytes. Fact: the API, whose schema
/// states it.
const MAX_USER_BYTES: usize = 200;
/// Roles by power: of several roles in a token, the first in this order applies.
const BY_POWER: [Role; 4] = [Role::Admin, Role::Operator, Role::Viewer, Role::External];

/// Checks that the token is meant for this hive.
pub(super) fn check_audience(token: &Token<'_>, ours: &[String]) -> Result<(), TokenError> {
    let is_us = |audience: &Value| {
        let text = audience.as_str();
        text.is_some_and(|text| ours.iter().any(|own| own == text))
    };
    let meant = match token.claims.get("aud") {
        Some(Value::Array(several)) => several.iter().any(is_us),
        Some(one) => is_us(one),
        None => return Err(TokenError::Claim("aud", "is missing")),
    };
    match meant {
        true => Ok(()),
        false => Err(TokenError::Claim("aud", "does not name this hive")),
    }
}

/// Returns the time from which on the token is refused.
pub(super) fn check_times(
    token: &Token<'_>,
    jwt: &JwtSettings,
    now: Timestamp,
) -> Result<Timestamp, TokenError> {
    let now = now.as_millis();
    let millis =
        |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let leeway = millis(jwt.leeway);
    let expires = time(token, "exp")?.ok_or(TokenError::Claim("exp", "is missing"))?;
    if expires + leeway <= now {
        return Err(TokenError::Expired);
    }
    if expires - now > millis(jwt.max_lifetime) + leeway {
        let why = "is further away than auth.jwt.max_lifetime";
        return Err(TokenError::Claim("exp", why));
    }
    for name in ["nbf", "iat"] {
        if time(token, name)?.is_some_and(|from| from - leeway > now) {
            return Err(TokenError::NotYetValid);
        }
    }
    Ok(Timestamp::from_millis(expires + leeway))
}

/// Returns a NumericDate of RFC 7519, in milliseconds. A claim of another type is an error, not
/// an absence.
fn time(token: &Token<'_>, name: &'static str) -> Result<Option<i64>, TokenError> {
    /// Upper limit, in the year 5138: distant enough, and safe from overflow. Fact: RFC
    /// 7519, 2: a NumericDate may be any number.
    const MOST: f64 = 1e11;
    match token.claims.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .filter(|seconds| (0.0..=MOST).contains(seconds))
            .map(|seconds| Some((seconds * 1_000.0) as i64))
            .ok_or(TokenError::Claim(name, "is not a time")),
    }
}

/// Returns the name of the user, prefixed with the issuer.
pub(super) fn user(token: &Token<'_>, issuer: &IssuerSettings) -> Result<Arc<str>, TokenError> {
    let wrong = TokenError::Claim(
        "that names the user",
        "is not 1 to 200 visible ASCII characters",
    );
    let named = claim(token, &issuer.user_claim).and_then(Value::as_str);
    let usable = |name: &&str| {
        (1..=MAX_USER_BYTES).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
    };
    let name = named.filter(usable).ok_or(wrong)?;
    Ok(format!("{}:{name}", issuer.name).into())
}

/// Returns the role that the token gives, or the default of its issuer.
pub(super) fn role(token: &Token<'_>, issuer: &IssuerSettings) -> Result<Role, TokenError> {
    let claimed = issuer
        .role_claim
        .as_deref()
        .and_then(|name| claim(token, name));
    let values = match claimed {
        Some(Value::Array(several)) => several.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let given: Vec<_> = values
        .iter()
        .filter_map(|value| issuer.roles.get(value.as_str()?))
        .collect();
    BY_POWER
        .into_iter()
        .find(|role| given.contains(&role))
        .or(issuer.default_role)
        .ok_or(TokenError::NoRole)
}

/// Returns the claim of that name, or at that JSON pointer.
fn claim<'a>(token: &'a Token<'_>, name: &str) -> Option<&'a Value> {
    if let Some(value) = token.claims.get(name) {
        return Some(value);
    }
    let (first, rest) = match name.strip_prefix('/')?.split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (&name[1..], String::new()),
    };
    let first = first.replace("~1", "/").replace("~0", "~");
    token.claims.get(&first)?.pointer(&rest)
}
