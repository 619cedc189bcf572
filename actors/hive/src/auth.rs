//! Who may do what: users, keys, roles, permissions.

mod denials;
mod jwt;
mod key;
mod keyring;
mod logins;
mod permissions;
mod principal;
mod role;

pub use denials::{Denial, Denials};
pub use jwt::{
    Algorithm, Basis, Issuers, JwksError, KeySet, MAX_TOKEN_BYTES, TokenError, looks_like_a_token,
};
pub(crate) use jwt::{Fetcher, Issuer};
pub use key::{ApiKey, KeyError};
pub use keyring::{AuthError, Denied, Keyring};
pub use logins::{LoginCookie, Logins};
pub use permissions::Permissions;
pub use principal::{Budget, Principal, Sight, Via, rights, within_scopes};
pub use role::{Permission, Role};
