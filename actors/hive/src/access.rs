//! Who may do what: users, keys, roles, permissions.

mod denials;
mod denied;
mod jwt;
mod keyring;
mod logins;

pub use denials::{Denial, Denials};
pub use denied::{AuthError, Denied};
pub use jwt::{
    Algorithm, Issuers, JwksError, KeySet, MAX_TOKEN_BYTES, TokenError, looks_like_a_token,
};
pub(crate) use jwt::{Fetcher, Issuer};
pub use keyring::Keyring;
pub use logins::Logins;
