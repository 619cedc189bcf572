//! API keys as they are stored and listed. The secret is in neither.

use serde::{Deserialize, Serialize};

use super::{KeyId, Timestamp};
use crate::auth::Role;

/// A stored key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// What listings and the audit trail show.
    pub info: KeyInfo,
    /// SHA-256 of the secret part.
    pub secret_sha256: [u8; 32],
}

/// What is shown of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyInfo {
    /// Names the key; not secret.
    #[schema(value_type = String, example = "key_01h455vb4pex5vsknk084sn02q")]
    pub id: KeyId,
    /// Who acts with it: the submitter of tasks and the actor of events.
    pub user: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From when on it is refused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}
