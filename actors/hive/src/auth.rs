//! Who may do what: users, keys, roles, permissions.

mod denials;
mod key;
mod keyring;
mod permissions;
mod principal;
mod role;

pub use denials::{Denial, Denials};
pub use key::{ApiKey, KeyError};
pub use keyring::{AuthError, Denied, Keyring};
pub use permissions::Permissions;
pub use principal::{Budget, Principal, Sight, Via, rights, within_scopes};
pub use role::{Permission, Role};
