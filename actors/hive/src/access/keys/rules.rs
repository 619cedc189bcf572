//! Rules for the grant of a new or rotated key. Pure: nothing is looked up here.

use std::time::Duration;

use deia_model::{AddressRange, ApiKey, KeyGrant, KeyInfo, Role, Timestamp, User, Violation};

/// Maximum number of addresses and ranges that a key may be restricted to. Fact: the API,
/// whose schema states it.
const ALLOW_IPS_MAX: usize = 64;
/// Maximum length of the name of a key, in characters. Fact: the API, whose schema states
/// it.
const NAME_MAX: usize = 128;
/// Pointer to the addresses of a key in the body of a request.
pub(super) const ALLOW_IPS: &str = "/allow_ips";

/// Returns the expiry of the key that replaces `old`. By default it lives as long as
/// the old one was meant to; but a key does not prolong itself.
pub(super) fn successor_expiry(
    own: Option<&KeyInfo>,
    old: &KeyInfo,
    asked: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_itself = own.is_some_and(|own| own.family == old.family);
    let again = || match old.expires_at {
        Some(at) if is_itself => Some(at),
        Some(at) => Some(now.plus_millis(at.millis_since(old.created_at))),
        None => None,
    };
    asked.or_else(again)
}

/// Returns the part of a new key's grant that exceeds the key that makes or rotates
/// it: a leaked key must not give more than it was made for.
pub(super) fn beyond(
    own: &KeyInfo,
    expires_at: Option<Timestamp>,
    allow_ips: &[AddressRange],
) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Some(at) = own.expires_at
        && expires_at.is_none_or(|new| new > at)
    {
        found.push(Violation {
            pointer: "/expires_at".into(),
            detail: format!("must be at most {at}, when the key that makes it expires"),
        });
    }
    let within = |new: &AddressRange| own.allow_ips.iter().any(|range| range.covers(new));
    let anywhere = allow_ips.is_empty() || !allow_ips.iter().all(within);
    if !own.allow_ips.is_empty() && anywhere {
        found.push(Violation {
            pointer: ALLOW_IPS.into(),
            detail: "must be within those of the key that makes it".into(),
        });
    }
    found
}

/// Returns the expiry of a key that is made or rotated without a key of the hive, at most
/// `until`: the issuer of a token cannot revoke keys that were made with the token.
///
/// # Errors
/// The requested expiry is later.
pub(super) fn capped(
    asked: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<Option<Timestamp>, Violation> {
    match (asked, until) {
        (Some(at), Some(until)) if at > until => Err(Violation {
            pointer: "/expires_at".into(),
            detail: format!(
                "must be at most {until}: a key that is created with a token has a limited life (auth.token_key_lifetime)"
            ),
        }),
        (None, until) => Ok(until),
        (asked, _) => Ok(asked),
    }
}

pub(super) fn violations(grant: &KeyGrant, now: Timestamp) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut refuse = |pointer: String, detail: String| found.push(Violation { pointer, detail });
    if let Some(fault) = User::name_fault(&grant.user) {
        refuse("/user".into(), fault.into());
    }
    for (pointer, text) in [("/user", &grant.user), ("/name", &grant.name)] {
        if ApiKey::is_within(text) {
            refuse(pointer.into(), "has a key in it".into());
        }
    }
    if grant.name.chars().count() > NAME_MAX || grant.name.chars().any(char::is_control) {
        let detail = format!("must be at most {NAME_MAX} characters without control characters");
        refuse("/name".into(), detail);
    }
    if grant.expires_at.is_some_and(|at| at <= now) {
        refuse("/expires_at".into(), "is in the past".into());
    }
    if grant.allow_ips.len() > ALLOW_IPS_MAX {
        let detail = format!(
            "has {} places; allowed are {ALLOW_IPS_MAX}",
            grant.allow_ips.len()
        );
        refuse("/allow_ips".into(), detail);
    }
    if grant.scopes.as_ref().is_some_and(Vec::is_empty) {
        let detail = "must name a permission; leave it out for all of the role";
        refuse("/scopes".into(), detail.into());
    }
    let of_role = grant.role.permissions();
    for (i, scope) in grant.scopes.iter().flatten().enumerate() {
        if !of_role.contains(*scope) {
            let detail = format!(
                "is {}, which is not among the permissions of the role {}",
                scope.as_str(),
                grant.role
            );
            refuse(format!("/scopes/{i}"), detail);
        }
    }
    match (grant.role, &grant.bot) {
        (Role::Bot, None) => refuse(
            "/bot".into(),
            "must name the bot whose tasks a key of the role bot works on".into(),
        ),
        (Role::Bot, Some(_)) | (_, None) => {}
        (role, Some(_)) => refuse(
            "/bot".into(),
            format!("is for keys of the role bot, and this one has the role {role}"),
        ),
    }
    found
}

pub(super) fn rotation_violations(
    overlap: Duration,
    most: Duration,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Violation> {
    let mut found = Vec::new();
    if overlap > most {
        let (is, most) = (overlap.as_secs(), most.as_secs());
        found.push(Violation {
            pointer: "/overlap_seconds".into(),
            detail: format!("is {is}; allowed are 0 to {most} (auth.max_rotation_overlap)"),
        });
    }
    if expires_at.is_some_and(|at| at <= now) {
        found.push(Violation {
            pointer: "/expires_at".into(),
            detail: "is in the past".into(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use deia_model::{BotName, Permission};

    use super::*;

    fn pointers(found: &[Violation]) -> Vec<&str> {
        found.iter().map(|v| v.pointer.as_str()).collect()
    }

    #[test]
    fn a_key_that_is_made_with_a_token_expires() {
        let at = |ms| Some(Timestamp::from_millis(ms));
        for (asked, until, expected) in [
            (None, None, Ok(None)),
            (at(9), None, Ok(at(9))),
            (None, at(5), Ok(at(5))),
            (at(4), at(5), Ok(at(4))),
            (at(5), at(5), Ok(at(5))),
            (at(6), at(5), Err("/expires_at")),
        ] {
            let capped = capped(asked, until);
            let told = capped
                .as_ref()
                .map_err(|violation| violation.pointer.as_str());
            assert_eq!(told.copied(), expected, "{asked:?} {until:?}");
        }
    }

    #[test]
    fn grant_of_a_new_key_is_checked() {
        let at = Timestamp::from_millis;
        let grant = |change: fn(&mut KeyGrant)| {
            let mut grant = KeyGrant::new("ada", Role::External);
            change(&mut grant);
            grant
        };
        let bot = || "upper-1".parse::<BotName>().ok();
        for (grant, expected) in [
            (grant(|_| {}), vec![]),
            (
                grant(|g| g.expires_at = Some(Timestamp::from_millis(3))),
                vec![],
            ),
            (
                grant(|g| g.expires_at = Some(Timestamp::from_millis(2))),
                vec!["/expires_at"],
            ),
            (grant(|g| g.user = String::new()), vec!["/user"]),
            (grant(|g| g.user = "a b".into()), vec!["/user"]),
            (grant(|g| g.name = "nightly builds, ü".into()), vec![]),
            (grant(|g| g.name = "a\nb".into()), vec!["/name"]),
            (grant(|g| g.name = "x".repeat(129)), vec!["/name"]),
            (
                grant(|g| g.scopes = Some(vec![Permission::TaskRead])),
                vec![],
            ),
            (
                grant(|g| g.scopes = Some(vec![Permission::TaskRead, Permission::AdminKeys])),
                vec!["/scopes/1"],
            ),
            (
                grant(|g| g.allow_ips = vec!["::/0".parse().unwrap(); 65]),
                vec!["/allow_ips"],
            ),
            (grant(|g| g.role = Role::Bot), vec!["/bot"]),
            (
                KeyGrant {
                    bot: bot(),
                    ..KeyGrant::new("ada", Role::Bot)
                },
                vec![],
            ),
            (
                KeyGrant {
                    bot: bot(),
                    ..KeyGrant::new("ada", Role::Viewer)
                },
                vec!["/bot"],
            ),
        ] {
            assert_eq!(pointers(&violations(&grant, at(2))), expected, "{grant:?}");
        }
    }

    #[test]
    fn a_key_makes_none_that_goes_beyond_it() {
        let at = Timestamp::from_millis;
        let of = |expires_at, ranges: &[&str]| KeyGrant {
            expires_at,
            allow_ips: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            ..KeyGrant::new("ada", Role::Admin)
        };
        let bound = of(Some(at(9)), &["10.0.0.0/8", "2001:db8::/32"]);
        for (own, new, expected) in [
            (&of(None, &[]), of(None, &[]), vec![]),
            (&bound, of(Some(at(9)), &["10.1.0.0/16"]), vec![]),
            (&bound, of(None, &["10.1.0.0/16"]), vec!["/expires_at"]),
            (
                &bound,
                of(Some(at(10)), &[]),
                vec!["/expires_at", "/allow_ips"],
            ),
            (&bound, of(Some(at(8)), &["10.0.0.0/7"]), vec!["/allow_ips"]),
            (
                &bound,
                of(Some(at(8)), &["10.0.0.1", "192.0.2.1"]),
                vec!["/allow_ips"],
            ),
        ] {
            let own = ApiKey::generate().unwrap().record(own.clone()).info;
            let found = beyond(&own, new.expires_at, &new.allow_ips);
            assert_eq!(pointers(&found), expected, "{new:?}");
        }
    }

    #[test]
    fn successor_of_a_key_that_rotates_itself_lives_no_longer() {
        let at = Timestamp::from_millis;
        let key = |expires_at| {
            let grant = KeyGrant {
                expires_at,
                ..KeyGrant::new("ada", Role::Admin)
            };
            let mut info = ApiKey::generate().unwrap().record(grant).info;
            info.created_at = at(0);
            info
        };
        let (ends, endless, other) = (key(Some(at(100))), key(None), key(Some(at(500))));
        for (own, old, asked, expected) in [
            (Some(&ends), &ends, None, Some(at(100))),
            (Some(&ends), &ends, Some(at(7)), Some(at(7))),
            (Some(&other), &ends, None, Some(at(190))),
            (Some(&endless), &ends, None, Some(at(190))),
            (None, &ends, None, Some(at(190))),
            (Some(&endless), &endless, None, None),
            (Some(&ends), &endless, None, None),
        ] {
            let found = successor_expiry(own, old, asked, at(90));
            assert_eq!(found, expected, "{own:?} {old:?} {asked:?}");
        }
    }

    #[test]
    fn no_key_is_a_name() {
        let key = ApiKey::generate().unwrap().reveal();
        let grant = KeyGrant {
            name: format!("the key {key}"),
            ..KeyGrant::new(key, Role::External)
        };
        let found = violations(&grant, Timestamp::now());
        assert_eq!(pointers(&found), ["/user", "/name"]);
    }

    #[test]
    fn rotations_are_checked() {
        let (hour, at) = (Duration::from_secs(3_600), Timestamp::from_millis);
        for (overlap, expires_at, expected) in [
            (Duration::ZERO, None, vec![]),
            (hour, Some(at(3)), vec![]),
            (hour * 2, None, vec!["/overlap_seconds"]),
            (hour, Some(at(2)), vec!["/expires_at"]),
        ] {
            let found = rotation_violations(overlap, hour, expires_at, at(2));
            assert_eq!(pointers(&found), expected);
        }
    }
}
