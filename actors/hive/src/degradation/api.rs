//! Interface of degradation to callers and other subsystems.

use std::{sync::Arc, time::Duration};

use deia_ledger::{EndMode, LedgerCommand, SetMode, StoreError};
use deia_model::{
    DegradationStatus, Feature, FeatureStatus, Level, ModeChange, Principal, Timestamp, Violation,
    duration::in_days,
};
use deia_supervision::Handle;
use tokio::sync::Mutex;

use super::{
    features::{self, Facts},
    watcher::{DegradationWatcher, LevelChanged, Shared},
};
use crate::{HiveError, access::AccessApi, config::DegradationSettings, tasks::reason_fits};

/// Interface to the mode of the hive and its features.
#[derive(Clone)]
pub struct DegradationApi {
    shared: Shared,
    access: AccessApi,
    watcher: Handle<DegradationWatcher>,
    /// Held while a level is recorded and put in force, so that both are of the same request.
    setting: Arc<Mutex<()>>,
    started_at: Timestamp,
}

/// A valid request about the level that an operator sets.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Request {
    Set {
        level: Level,
        reason: String,
        duration: Duration,
    },
    End {
        why: Option<String>,
    },
}

impl DegradationApi {
    pub(super) fn new(
        shared: Shared,
        access: &AccessApi,
        watcher: Handle<DegradationWatcher>,
    ) -> Self {
        Self {
            shared,
            access: access.clone(),
            watcher,
            setting: Arc::default(),
            started_at: Timestamp::now(),
        }
    }

    /// Returns the mode in force, and all that led to it.
    pub fn status(&self) -> DegradationStatus {
        let mut status = self.shared.controller.status();
        if let Some(tree) = self.shared.tree.get() {
            let is_there = |feature: &Feature| !tree.carriers(feature.as_str()).is_empty();
            status.shed.retain(is_there);
        }
        status
    }

    /// Returns every feature with its state, the most important ones first.
    pub fn features(&self) -> Vec<FeatureStatus> {
        let mode = self.status();
        let tree = self.shared.tree.get();
        let suspended = tree
            .map(|tree| tree.suspended_features())
            .unwrap_or_default();
        let status = |feature: &Feature| {
            let parts = tree.map(|tree| features::parts(tree, *feature));
            let rule = suspended
                .iter()
                .find(|(name, _)| **name == *feature.as_str());
            let resumed_at = self.shared.controller.resumed_at(*feature);
            let facts = Facts {
                mode: &mode,
                parts: &parts.unwrap_or_default(),
                suspended: rule.map(|(_, cause)| cause),
                on_since: resumed_at.unwrap_or(self.started_at),
            };
            features::status_of(*feature, &facts)
        };
        Feature::ALL.iter().map(status).collect()
    }

    /// Sets a level for a time, or ends a level that was set, and returns the mode that is in force
    /// then. A higher level that the signals demand stays in force.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], or the store cannot be written.
    pub async fn change(
        &self,
        who: &Principal,
        change: ModeChange,
    ) -> Result<DegradationStatus, HiveError> {
        let config = self.shared.settings.get();
        let request = valid(change, &config.degradation)?;
        let (api, who) = (self.clone(), who.clone());
        // A caller that leaves meanwhile must not leave the record and the level apart.
        let changing = tokio::spawn(async move { api.carry_out(&who, request).await });
        let changed = changing.await;
        changed.map_err(|error| HiveError::Internal(error.to_string()))??;
        Ok(self.status())
    }

    async fn carry_out(&self, who: &Principal, request: Request) -> Result<(), HiveError> {
        let _held = self.setting.lock().await;
        let actor = who.user.to_string();
        let done = match request {
            Request::Set {
                level,
                reason,
                duration,
            } => {
                let command = SetMode {
                    level,
                    reason,
                    actor,
                    duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                };
                self.apply(who, command).await.map(Some)
            }
            Request::End { why } => {
                let command = EndMode {
                    only_set_at: None,
                    why: why.unwrap_or_else(|| format!("{actor} has ended the level")),
                    actor,
                    then: self.shared.controller.demanded(),
                };
                self.apply(who, command).await.map(|_| None)
            }
        };
        match done {
            Ok(level) => self.shared.controller.set_operator(level),
            Err(error) => {
                // It may have been recorded all the same.
                self.load().await?;
                return Err(error);
            }
        }
        // The actor looks periodically as well.
        let _ = self.watcher.tell(LevelChanged);
        Ok(())
    }

    async fn apply<C: LedgerCommand>(
        &self,
        who: &Principal,
        command: C,
    ) -> Result<C::Reply, HiveError> {
        Ok(self.access.apply_for(who, command).await?)
    }

    /// Puts the level in force that an operator has set before this start.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn load(&self) -> Result<(), StoreError> {
        let stored = self.shared.sensors.ledger().operator_level().await?;
        self.shared.controller.set_operator(stored);
        Ok(())
    }
}

/// Checks a request, and fills in the settings.
fn valid(change: ModeChange, settings: &DegradationSettings) -> Result<Request, HiveError> {
    let ModeChange {
        level,
        auto,
        reason,
        duration_seconds,
    } = change;
    let mut found = Vec::new();
    let mut refuse = |pointer: &str, detail: String| {
        found.push(Violation {
            pointer: pointer.into(),
            detail,
        });
    };
    let is_blank = |reason: &String| reason.trim().is_empty();
    if level.is_some() && auto {
        refuse(
            "/auto",
            "not together with level: it ends the level that was set".into(),
        );
    }
    if level.is_some() && reason.as_ref().is_none_or(is_blank) {
        refuse(
            "/reason",
            "required with level: it is shown while the level lasts".into(),
        );
    }
    let max = settings.max_duration;
    if duration_seconds.is_some_and(|it| it == 0 || it > max.as_secs()) {
        let detail = format!(
            "expected 1 to {} s ({}, degradation.max_duration)",
            max.as_secs(),
            in_days(max)
        );
        refuse("/duration_seconds", detail);
    }
    if level.is_none() && duration_seconds.is_some() {
        refuse("/level", "required with duration_seconds".into());
    }
    if !found.is_empty() {
        return Err(HiveError::Invalid(found));
    }
    reason_fits(reason.as_deref())?;
    Ok(match level {
        Some(level) => Request::Set {
            level,
            reason: reason.unwrap_or_default(),
            duration: duration_seconds.map_or(settings.default_duration, Duration::from_secs),
        },
        None => Request::End { why: reason },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    fn checked(body: Value) -> Result<Request, Vec<String>> {
        let settings = Config::defaults().unwrap().degradation;
        valid(serde_json::from_value(body).unwrap(), &settings).map_err(|error| match error {
            HiveError::Invalid(found) => found.into_iter().map(|it| it.pointer).collect(),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn level_has_a_reason_and_a_time() {
        let set = |level, seconds| Request::Set {
            level,
            reason: "drill".into(),
            duration: Duration::from_secs(seconds),
        };
        for (body, expected) in [
            (
                json!({"level": 2, "reason": "drill", "duration_seconds": 600}),
                Ok(set(Level::IMPORTANT_SHED, 600)),
            ),
            (
                json!({"level": 0, "reason": "drill"}),
                Ok(set(Level::NORMAL, 3_600)),
            ),
            (json!({}), Ok(Request::End { why: None })),
            (json!({"auto": true}), Ok(Request::End { why: None })),
            (
                json!({"auto": true, "reason": "done"}),
                Ok(Request::End {
                    why: Some("done".into()),
                }),
            ),
            (json!({"level": 1}), Err(vec!["/reason".to_owned()])),
            (
                json!({"level": 1, "reason": " "}),
                Err(vec!["/reason".to_owned()]),
            ),
            (
                json!({"level": 1, "reason": "x".repeat(1_025)}),
                Err(vec!["/reason".to_owned()]),
            ),
            (
                json!({"level": 1, "auto": true, "reason": "x", "duration_seconds": 0}),
                Err(vec!["/auto".to_owned(), "/duration_seconds".to_owned()]),
            ),
            (
                json!({"level": 1, "reason": "x", "duration_seconds": 604_801}),
                Err(vec!["/duration_seconds".to_owned()]),
            ),
            (
                json!({"duration_seconds": 60}),
                Err(vec!["/level".to_owned()]),
            ),
        ] {
            assert_eq!(checked(body.clone()), expected, "{body}");
        }
    }
}
