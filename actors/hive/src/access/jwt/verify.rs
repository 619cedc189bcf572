//! Verification of tokens, and the identity that they prove. Pure.

use std::sync::Arc;

use deia_model::{Role, Timestamp, TrustAnchor};

use super::{
    claims::{check_audience, check_times, role, user},
    jwks::{KeySet, trust_anchor},
    token::{Token, TokenError},
};
use crate::config::{IssuerSettings, JwtSettings};

/// Rules that a token of an issuer is checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Settings of the issuer.
    pub(super) issuer: &'a IssuerSettings,
    /// Hash of the settings that decide which identity a token proves.
    pub(super) settings_sha256: &'a [u8; 32],
    /// Settings of all issuers.
    pub(super) jwt: &'a JwtSettings,
}

/// The identity that a valid token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    /// Name of the user, prefixed with the issuer: no user of the hive has a `:` in its name.
    pub(super) user: Arc<str>,
    /// Role of the user.
    pub(super) role: Role,
    /// Time from which on the token is refused.
    pub(super) expires_at: Timestamp,
    /// Trust anchor that the token was verified with.
    pub(super) trust_anchor: TrustAnchor,
}

/// Checks a token whose `iss` is that issuer, with the keys of that issuer.
///
/// The algorithm is checked first, then the signature: errors describe claims only
/// to callers whose token their issuer made.
///
/// # Errors
/// [`TokenError`]
pub(super) fn verify(
    token: &Token<'_>,
    rules: Rules<'_>,
    keys: &KeySet,
    now: Timestamp,
) -> Result<Verified, TokenError> {
    let Rules {
        issuer,
        settings_sha256,
        jwt,
    } = rules;
    if !issuer.algorithms.contains(&token.algorithm) {
        return Err(TokenError::Algorithm);
    }
    if token.issuer() != Some(&issuer.issuer) {
        return Err(TokenError::Issuer);
    }
    let (signed, kid) = (token.signed.as_bytes(), token.kid.as_deref());
    let thumbprint = keys.verify(token.algorithm, kid, signed, &token.signature)?;
    check_audience(token, &issuer.audiences)?;
    let expires_at = check_times(token, jwt, now)?;
    Ok(Verified {
        user: user(token, issuer)?,
        role: role(token, issuer)?,
        expires_at,
        trust_anchor: trust_anchor(settings_sha256, &thumbprint),
    })
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::config::Config;

    /// Time of the tests, in seconds.
    const NOW: i64 = 1_800_000_000;

    struct Signer(Ed25519KeyPair);

    impl Signer {
        fn new(seed: u8) -> Self {
            Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
        }

        fn keys(&self, kid: &str) -> KeySet {
            let x = BASE64URL_NOPAD.encode(self.0.public_key().as_ref());
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x});
            KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap()
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = self.0.sign(signed.as_bytes());
            format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
        }
    }

    fn issuer() -> IssuerSettings {
        serde_json::from_value(json!({"name": "idp", "issuer": "https://id.example.org",
            "audiences": ["deia", "other"], "role_claim": "/realm/roles",
            "roles": {"root": "admin", "ops": "operator", "people": "external"}}))
        .unwrap()
    }

    fn claims() -> Value {
        json!({"iss": "https://id.example.org", "aud": "deia", "sub": "ada", "exp": NOW + 300,
            "iat": NOW, "realm": {"roles": ["people"]}})
    }

    fn checked(issuer: &IssuerSettings, claims: &Value) -> Result<Verified, TokenError> {
        let signer = Signer::new(1);
        let text = signer.sign(&json!({"alg": "EdDSA", "kid": "k"}), claims);
        let jwt = Config::defaults().unwrap().auth.jwt;
        let rules = Rules {
            issuer,
            settings_sha256: &[1; 32],
            jwt: &jwt,
        };
        let now = Timestamp::from_millis(NOW * 1_000);
        verify(&Token::parse(&text).unwrap(), rules, &signer.keys("k"), now)
    }

    fn changed(changes: Value) -> Value {
        let mut all: Map<_, _> = claims().as_object().unwrap().clone();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(all.remove(name)),
                value => drop(all.insert(name.clone(), value.clone())),
            }
        }
        all.into()
    }

    #[test]
    fn a_good_token() {
        let who = checked(&issuer(), &claims()).unwrap();
        assert_eq!((&*who.user, who.role), ("idp:ada", Role::External));
        assert_eq!(who.expires_at.as_millis(), (NOW + 300 + 30) * 1_000);
        let trust_anchors = |settings| Signer::new(1).keys("another name").trust_anchors(settings);
        assert_eq!([who.trust_anchor], *trust_anchors(&[1; 32]));
        assert_ne!([who.trust_anchor], *trust_anchors(&[2; 32]));
        assert_ne!(
            [who.trust_anchor],
            *Signer::new(2).keys("k").trust_anchors(&[1; 32])
        );
    }

    #[test]
    fn what_a_token_may_claim() {
        let not_us = TokenError::Claim("aud", "does not name this hive");
        let no_time = |name| TokenError::Claim(name, "is not a time");
        for (changes, expected) in [
            (json!({"aud": ["x", "other"]}), None),
            (json!({"exp": NOW - 29}), None),
            (json!({"exp": NOW as f64 + 0.5}), None),
            (json!({"nbf": NOW + 30, "iat": NOW + 30}), None),
            (json!({"iat": null}), None),
            (
                json!({"aud": null}),
                Some(TokenError::Claim("aud", "is missing")),
            ),
            (json!({"aud": "deia2"}), Some(not_us)),
            (json!({"aud": []}), Some(not_us)),
            (json!({"aud": {"deia": true}}), Some(not_us)),
            (
                json!({"exp": null}),
                Some(TokenError::Claim("exp", "is missing")),
            ),
            (json!({"exp": NOW - 30}), Some(TokenError::Expired)),
            (json!({"exp": 0}), Some(TokenError::Expired)),
            (json!({"exp": "never"}), Some(no_time("exp"))),
            (json!({"exp": -1}), Some(no_time("exp"))),
            (json!({"exp": 1e300}), Some(no_time("exp"))),
            (
                json!({"exp": NOW + 366 * 86_400}),
                Some(TokenError::Claim(
                    "exp",
                    "is further away than auth.jwt.max_lifetime",
                )),
            ),
            (json!({"nbf": NOW + 31}), Some(TokenError::NotYetValid)),
            (json!({"iat": NOW + 31}), Some(TokenError::NotYetValid)),
            (json!({"nbf": "99999999999"}), Some(no_time("nbf"))),
            (json!({"iat": [NOW]}), Some(no_time("iat"))),
            (json!({"realm": null}), Some(TokenError::NoRole)),
            (
                json!({"realm": {"roles": ["admin", 7]}}),
                Some(TokenError::NoRole),
            ),
        ] {
            assert_eq!(
                checked(&issuer(), &changed(changes.clone())).err(),
                expected,
                "{changes}"
            );
        }
        let long = "x".repeat(201);
        for sub in [
            json!(null),
            json!(""),
            json!(7),
            json!("a b"),
            json!("a\n"),
            json!("ä"),
            json!(long),
        ] {
            let error = checked(&issuer(), &changed(json!({ "sub": sub }))).unwrap_err();
            assert!(
                matches!(error, TokenError::Claim("that names the user", _)),
                "{sub}"
            );
        }
    }

    #[test]
    fn roles() {
        for (roles, expected) in [
            (json!(["people", "root"]), Some(Role::Admin)),
            (json!(["people", "ops", "x"]), Some(Role::Operator)),
            (json!("people"), Some(Role::External)),
            (json!(["admin"]), None),
            (json!({"root": true}), None),
        ] {
            let claims = changed(json!({"realm": {"roles": roles}}));
            let had = checked(&issuer(), &claims).ok().map(|who| who.role);
            assert_eq!(had, expected, "{roles}");
            let with_default = IssuerSettings {
                default_role: Some(Role::Viewer),
                ..issuer()
            };
            let had = checked(&with_default, &claims).unwrap().role;
            assert_eq!(had, expected.unwrap_or(Role::Viewer), "{roles}");
        }
        let flat = IssuerSettings {
            role_claim: Some("https://example.org/roles".into()),
            ..issuer()
        };
        let claims = changed(json!({"https://example.org/roles": ["ops"]}));
        assert_eq!(checked(&flat, &claims).unwrap().role, Role::Operator);
    }

    #[test]
    fn keys_and_algorithms() {
        let (signer, other) = (Signer::new(1), Signer::new(2));
        let jwt = Config::defaults().unwrap().auth.jwt;
        let now = Timestamp::from_millis(NOW * 1_000);
        let check = |issuer: &IssuerSettings, text: &str, keys: &KeySet| {
            let rules = Rules {
                issuer,
                settings_sha256: &[1; 32],
                jwt: &jwt,
            };
            verify(&Token::parse(text).unwrap(), rules, keys, now).map(|_| ())
        };
        let text = signer.sign(&json!({"alg": "EdDSA", "kid": "k"}), &claims());
        assert_eq!(check(&issuer(), &text, &signer.keys("k")), Ok(()));
        assert_eq!(
            check(&issuer(), &text, &signer.keys("k2")),
            Err(TokenError::Key)
        );
        assert_eq!(
            check(&issuer(), &text, &other.keys("k")),
            Err(TokenError::Signature)
        );
        let rsa_only: IssuerSettings = IssuerSettings {
            algorithms: vec![crate::access::Algorithm::Rs256],
            ..issuer()
        };
        assert_eq!(
            check(&rsa_only, &text, &signer.keys("k")),
            Err(TokenError::Algorithm)
        );
        let elsewhere = IssuerSettings {
            issuer: "https://id.example.org/".into(),
            ..issuer()
        };
        assert_eq!(
            check(&elsewhere, &text, &signer.keys("k")),
            Err(TokenError::Issuer)
        );
        let no_name = signer.sign(&json!({"alg": "EdDSA"}), &claims());
        assert_eq!(check(&issuer(), &no_name, &signer.keys("k")), Ok(()));
        let wrong_kind = signer.sign(&json!({"alg": "ES256", "kid": "k"}), &claims());
        assert_eq!(
            check(&issuer(), &wrong_kind, &signer.keys("k")),
            Err(TokenError::Key)
        );
    }
}
