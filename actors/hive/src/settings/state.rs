//! The state of the settings, as it is kept in memory. Rebuilt from the ledger at a start.

use std::collections::{BTreeMap, VecDeque};

use deia_ledger::WriteSettings;
use deia_model::{
    Action, NewEvent, SettingSource, SettingsOrigin, SettingsOutcome, SettingsVersion, Timestamp,
};
use serde_json::json;
use tokio::time::Instant;

use super::{candidate::Candidate, content::Content, probation::Open};
use crate::config::{Layers, Provenance};

/// Maximum number of keys that an event names; the version in the history has all of them.
/// Fixed: keeps events readable.
const EVENT_KEYS: usize = 100;

/// Settings in force, and everything that decides about changes of them.
#[derive(Clone, Debug)]
pub(super) struct Book {
    /// Number of the newest version: of the stored ones, and of those to be recorded.
    pub(super) newest: u64,
    /// The version in force.
    pub(super) in_force: SettingsVersion,
    pub(super) content: Content,
    /// The layers in force below changes over the API.
    pub(super) base: Layers,
    pub(super) provenance: Provenance,
    /// The version that is put back if later ones are taken back.
    pub(super) confirmed: (u64, Content),
    /// Versions that may be taken back, the oldest first.
    pub(super) open: Vec<Open>,
    /// Hash of the content of the file that was taken back.
    pub(super) rejected: Option<String>,
    /// Reason of the last time that settings were taken back, until they are changed or confirmed.
    pub(super) taken_back: Option<String>,
    /// Keys that differ and take effect at the next start.
    pub(super) at_restart: Vec<String>,
    /// Sources of the values in force of those keys.
    pub(super) sources: BTreeMap<String, SettingSource>,
    /// Content of the file that could not be applied.
    pub(super) file_problem: Option<FileProblem>,
    /// Records that could not be written yet, in their order.
    pub(super) unrecorded: VecDeque<WriteSettings>,
    /// True if the store may have another newest version.
    pub(super) out_of_step: bool,
}

/// A content of the settings file that could not be applied.
#[derive(Clone, Debug)]
pub(super) struct FileProblem {
    pub(super) hash: String,
    pub(super) reason: String,
    /// Time from which it is tried again; `None`: when it has changed.
    pub(super) retry_at: Option<Instant>,
}

impl FileProblem {
    /// Returns true if that content is not to be tried again now.
    pub(super) fn holds(&self, hash: &str) -> bool {
        self.hash == hash && self.retry_at.is_none_or(|at| Instant::now() < at)
    }
}

impl Book {
    /// Returns the state of a hive that starts with these settings as its first version.
    pub(super) fn new(candidate: Candidate) -> Self {
        let content = candidate.content(&candidate.config);
        Self {
            newest: 0,
            in_force: SettingsVersion {
                version: 0,
                at: Timestamp::now(),
                actor: "deia".to_owned(),
                origin: SettingsOrigin::Start,
                restores: None,
                changes: Vec::new(),
                outcome: SettingsOutcome::Confirmed,
                reason: None,
                probation_until: None,
                confirm_by: None,
                confirmed_by: None,
            },
            provenance: Provenance::of(&candidate.base),
            base: candidate.base,
            confirmed: (0, content.clone()),
            content,
            open: Vec::new(),
            rejected: None,
            taken_back: None,
            at_restart: Vec::new(),
            sources: BTreeMap::new(),
            file_problem: None,
            unrecorded: VecDeque::new(),
            out_of_step: false,
        }
    }

    /// Takes the layers of settings that are in force now, but for keys that take effect at the next
    /// start.
    pub(super) fn take_base(&mut self, base: Layers, at_restart: Vec<String>) {
        let before = at_restart.iter().map(|key| (key.clone(), self.source(key)));
        self.sources = before.collect();
        self.provenance = Provenance::of(&base);
        self.base = base;
        self.at_restart = at_restart;
    }

    /// Returns the layer below changes over the API that the value in force of a key comes from.
    pub(super) fn source(&self, key: &str) -> SettingSource {
        let kept = self.sources.get(key).cloned();
        kept.unwrap_or_else(|| self.provenance.source(key))
    }
}

/// Returns the event of a version: it names the keys, without their values.
pub(super) fn event(
    action: Action,
    actor: &str,
    hive: &str,
    version: &SettingsVersion,
    taken_back: &[u64],
) -> NewEvent {
    let changes = &version.changes;
    let keys: Vec<_> = changes.iter().take(EVENT_KEYS).map(|it| &it.key).collect();
    let mut details = json!({
        "version": version.version, "origin": version.origin, "keys": keys,
        "changed": changes.len(),
    });
    if !taken_back.is_empty() {
        details["taken_back"] = json!(taken_back);
    }
    if let Some(reason) = &version.reason {
        details["reason"] = json!(reason);
    }
    NewEvent::new(action, actor, hive).details(details)
}
