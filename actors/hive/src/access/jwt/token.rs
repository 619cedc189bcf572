//! A parsed token. None of its content is trusted yet.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::{algorithm::Algorithm, jwks::MAX_KID_BYTES, strict};

/// Maximum length of a token in bytes. An actix-web server refuses longer headers anyway.
/// Fact: RFC 9110, 5.4: a server limits the fields that it processes.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;

/// Reason for refusing a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is not a signed JWT in the compact form.
    #[error("the token is not a JWT: {0}")]
    Malformed(&'static str),
    /// The algorithm is not one that the issuer may use here.
    #[error("the token is signed by an algorithm that is not allowed")]
    Algorithm,
    /// The issuer is not configured.
    #[error("the token is of an issuer that is not configured here")]
    Issuer,
    /// The issuer has no such key.
    #[error("the issuer of the token does not have the key of the token")]
    Key,
    /// The signature is not that of the key.
    #[error("the signature of the token is wrong")]
    Signature,
    /// A claim is missing or says something that it may not.
    #[error("the claim {0} of the token {1}")]
    Claim(&'static str, &'static str),
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// No claim of the token gives a role.
    #[error("the token grants no role")]
    NoRole,
    /// The key of the token is not known, and its issuer cannot be asked now; contains the time
    /// until it can.
    #[error("the key of the token is not known, and its issuer cannot be asked for it now")]
    Unavailable(Duration),
}

/// A parsed token.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    /// Algorithm that the header claims.
    pub(super) algorithm: Algorithm,
    /// Name of the key that the header claims.
    pub(super) kid: Option<String>,
    /// Claims of the token.
    pub(super) claims: Map<String, Value>,
    /// Part of the text that is signed.
    pub(super) signed: &'a str,
    /// The signature.
    pub(super) signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Parses a token.
    ///
    /// Only the algorithm, the name of the key and the type are read from the header: keys and
    /// addresses of keys in it (`jwk`, `jku`, `x5u`, `x5c`) are ignored.
    ///
    /// # Errors
    /// [`TokenError::Malformed`], [`TokenError::Algorithm`]
    pub(super) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed("it is longer than 8 KiB"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(NOT_THREE)?;
        let (header, claims) = signed.split_once('.').ok_or(NOT_THREE)?;
        if claims.contains('.') {
            return Err(NOT_THREE);
        }
        let header = members(header, "its header is not a JSON object")?;
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(Algorithm::parse)
            .ok_or(TokenError::Algorithm)?;
        check_header(&header)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAX_KID_BYTES => Some(kid.clone()),
            Some(_) => return Err(TokenError::Malformed("kid is not a short text")),
        };
        let signature = BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .map_err(|_| TokenError::Malformed("its signature is not base64url"))?;
        Ok(Self {
            algorithm,
            kid,
            claims: members(claims, "its claims are not a JSON object")?,
            signed,
            signature,
        })
    }

    /// Returns the issuer that the token claims.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }
}

const NOT_THREE: TokenError = TokenError::Malformed("it does not have three parts");

/// Returns true if a text is meant to be a token: it begins with a JSON object in base64url, and
/// has parts.
pub fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("ey") && text.contains('.')
}

fn check_header(header: &Map<String, Value>) -> Result<(), TokenError> {
    // Extensions that must be understood: none is supported.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(TokenError::Malformed("it uses extensions (crit)"));
    }
    // A JWT nested in another, encrypted or compressed.
    if ["cty", "enc", "zip"]
        .iter()
        .any(|name| header.contains_key(*name))
    {
        return Err(TokenError::Malformed("it is not a plain signed JWT"));
    }
    let plain = |typ: &str| {
        let typ = typ.to_ascii_lowercase();
        matches!(typ.trim_start_matches("application/"), "jwt" | "at+jwt")
    };
    match header.get("typ") {
        None => Ok(()),
        Some(Value::String(typ)) if plain(typ) => Ok(()),
        Some(_) => Err(TokenError::Malformed("its typ is not JWT or at+jwt")),
    }
}

fn members(part: &str, why: &'static str) -> Result<Map<String, Value>, TokenError> {
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).ok();
    match bytes.and_then(|bytes| strict::parse(&bytes)) {
        Some(Value::Object(members)) => Ok(members),
        _ => Err(TokenError::Malformed(why)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &str) -> String {
        BASE64URL_NOPAD.encode(text.as_bytes())
    }

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.{}", encode(header), encode(claims), encode("sig"))
    }

    #[test]
    fn a_token_is_taken_apart() {
        let header =
            r#"{"alg":"ES256","kid":"../../etc'--","typ":"JWT","jku":"https://evil","jwk":{}}"#;
        let text = token(header, r#"{"iss":"me"}"#);
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.algorithm, Algorithm::Es256);
        assert_eq!(token.kid.as_deref(), Some("../../etc'--"));
        assert_eq!(token.issuer(), Some("me"));
        assert_eq!(token.signature, b"sig");
        assert_eq!(token.signed, text.rsplit_once('.').unwrap().0);
    }

    #[test]
    fn what_is_no_token() {
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"rs256"}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{}"#,
        ] {
            let parsed = token(header, "{}");
            assert_eq!(
                Token::parse(&parsed),
                Err(TokenError::Algorithm),
                "{header}"
            );
        }
        let long_kid = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(257));
        for header in [
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","b64":false}"#,
            r#"{"alg":"RS256","cty":"JWT"}"#,
            r#"{"alg":"RS256","zip":"DEF"}"#,
            r#"{"alg":"RS256","typ":"logout+jwt"}"#,
            r#"{"alg":"RS256","typ":1}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"["alg"]"#,
            r#"{"alg":"RS256"} x"#,
            "",
            long_kid.as_str(),
        ] {
            let parsed = token(header, "{}");
            let error = Token::parse(&parsed).unwrap_err();
            assert!(
                matches!(error, TokenError::Malformed(_)),
                "{header}: {error}"
            );
        }
        let good = token(r#"{"alg":"RS256"}"#, "{}");
        let (header, _) = good.split_once('.').unwrap();
        for text in [
            "".to_owned(),
            ".".into(),
            "..".into(),
            good[..good.len() - 1].to_owned() + "!",
            format!("{good}."),
            format!("{good}.a.b"),
            format!("{header}.{}", encode("{}")),
            format!("{header}.{}.", encode(r#"{"iss":"a","iss":"b"}"#)),
            format!("{header}.{}.", encode(r#"{"a":{"r":1,"r":2}}"#)),
            format!("{header}.{}.", encode("[1]")),
            format!("{header}.{}=.", encode("{}")),
            format!("{header}.{}.", encode(&" ".repeat(8 << 10))),
        ] {
            let error = Token::parse(&text).unwrap_err();
            assert!(matches!(error, TokenError::Malformed(_)), "{text}: {error}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        Token::parse(&token(r#"{"alg":"RS256"}"#, &deep)).unwrap_err();
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused_without_a_panic(text: String, header: String, claims: String) {
            let _ = Token::parse(&text);
            let _ = Token::parse(&token(&header, &claims));
        }
    }
}
