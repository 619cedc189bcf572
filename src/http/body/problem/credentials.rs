//! Refusals of credentials.

use deia_hive::access::{AuthError, AuthFailure, TokenError};

use super::{Problem, retry_after};
use crate::http::body::catalogue::Code;

impl From<AuthFailure> for Problem {
    fn from(denied: AuthFailure) -> Self {
        let code = match denied.why {
            AuthError::Malformed(_) => Code::KeyMalformed,
            AuthError::Unknown => Code::KeyUnknown,
            AuthError::Revoked => Code::KeyRevoked,
            AuthError::Expired | AuthError::Replaced { .. } => Code::KeyExpired,
            AuthError::SessionOver => Code::SessionOver,
            AuthError::Token(error) => token_code(error),
            AuthError::UserInactive => Code::UserInactive,
            AuthError::Address => Code::AddressNotAllowed,
        };
        let mut problem = Self::new(code, denied.why.to_string());
        if let AuthError::Token(TokenError::Unavailable(wait)) = denied.why {
            problem.0.header = Some(retry_after(wait));
        }
        problem
    }
}

fn token_code(error: TokenError) -> Code {
    match error {
        TokenError::Malformed(_) => Code::TokenMalformed,
        TokenError::Expired => Code::TokenExpired,
        TokenError::NoRole => Code::TokenWithoutRole,
        TokenError::Unavailable(_) => Code::IssuerUnavailable,
        TokenError::Algorithm
        | TokenError::Issuer
        | TokenError::Key
        | TokenError::Signature
        | TokenError::Claim(..)
        | TokenError::NotYetValid => Code::TokenRefused,
    }
}
