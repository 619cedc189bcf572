//! Knowledge of the store about the audit trail, which is kept in files.

/// The last checkpoint of the audit trail that the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTrail {
    /// The identity of the log.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree.
    pub root: [u8; 32],
    /// The checkpoint as a signed note.
    pub checkpoint: String,
}
