//! Names of files in the archive: those in the data directory have their paths there.

pub(super) use crate::bots::OUTPUTS;

/// Directory of the audit trail.
pub(super) const AUDIT: &str = "audit";
/// Directory of the logs of the trail that have ended.
pub(super) const FORMER: &str = "audit-former";
/// Directory of the settings file, in the archive alone.
pub(super) const SETTINGS: &str = "settings";
/// Beginning of the files that grow apart from their heads.
const DETAILS: &str = "audit/private/details/";

/// Returns the size of the beginning of a file that is replaced while the file grows.
pub(super) fn head_bytes(name: &str) -> u64 {
    match name.starts_with(DETAILS) {
        true => deia_trail::details::HEADER,
        false => 0,
    }
}
