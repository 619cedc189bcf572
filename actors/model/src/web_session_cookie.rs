//! Cookies of web sessions.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};

use crate::{KeyError, WebSessionId};

/// Random bytes of a cookie. Fact: the format of cookies: 256 random bits.
const SECRET_BYTES: usize = 32;

/// The content of the cookie of a web session.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSessionCookie {
    id: WebSessionId,
    secret: [u8; SECRET_BYTES],
}

impl fmt::Debug for WebSessionCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSessionCookie")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl WebSessionCookie {
    /// Generates a new cookie with 256 random bits.
    ///
    /// # Errors
    /// [`KeyError::NoRandom`] when the system's generator fails.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0; SECRET_BYTES];
        let random = SystemRandom::new();
        random.fill(&mut secret).map_err(|_| KeyError::NoRandom)?;
        Ok(Self {
            id: WebSessionId::new(),
            secret,
        })
    }

    /// Parses the text that [`Self::reveal`] returned.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?;
        Some(Self {
            id: id.parse().ok()?,
            secret: secret.try_into().ok()?,
        })
    }

    /// Returns the id of the session.
    pub fn id(&self) -> WebSessionId {
        self.id
    }

    /// Returns the hash of the secret, which is stored.
    pub fn secret_sha256(&self) -> [u8; 32] {
        hash(&[&self.secret])
    }

    /// Returns the CSRF token, which pages of the session send along with each change.
    /// Only the holder of the cookie can compute it.
    pub fn csrf_token(&self) -> String {
        BASE64URL_NOPAD.encode(&hash(&[b"deia csrf\0", &self.secret]))
    }

    /// Returns the value of the cookie.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.id, BASE64URL_NOPAD.encode(&self.secret))
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_reads_back_and_is_not_shown() {
        let cookie = WebSessionCookie::generate().unwrap();
        let text = cookie.reveal();
        assert_eq!(WebSessionCookie::parse(&text), Some(cookie.clone()));
        let secret = text.split_once('.').unwrap().1;
        assert!(!format!("{cookie:?}").contains(secret));
        assert_ne!(cookie.csrf_token(), secret);
        let other = WebSessionCookie::generate().unwrap();
        assert_ne!(cookie.csrf_token(), other.csrf_token());
        for wrong in ["", ".", "x.y", &text[..text.len() - 1], &format!("{text}=")] {
            assert_eq!(WebSessionCookie::parse(wrong), None, "{wrong}");
        }
    }
}
