//! Tokens of OpenID Connect issuers: JWTs (RFC 7519) in the compact form of
//! RFC 7515, with the rules of RFC 8725. Decision 13 says why there is no
//! library between this and `ring`.

mod algorithm;
mod cache;
mod claims;
mod fetch;
mod gate;
mod issuer;
mod issuers;
mod jwks;
mod strict;
mod token;
mod verify;

pub use algorithm::Algorithm;
pub(crate) use fetch::Fetcher;
pub(crate) use issuer::Issuer;
pub use issuers::{Issuers, VerifyMode};
pub use jwks::{JwksError, KeySet};
pub use token::{MAX_TOKEN_BYTES, TokenError, looks_like_a_token};
