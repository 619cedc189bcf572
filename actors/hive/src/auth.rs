//! Who may do what: keys, roles, permissions.

mod key;
mod keyring;
mod role;

pub use key::{ApiKey, KeyError};
pub use keyring::{AuthError, Keyring, Principal};
pub use role::{Permission, Role};
