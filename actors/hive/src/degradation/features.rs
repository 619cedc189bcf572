//! The state of each feature, and the reason for it. Pure.

use std::sync::Arc;

use deia_model::{
    DegradationStatus, Feature, FeatureState, FeatureStatus, Level, ModeSource, Timestamp,
};
use deia_supervision::{ChildState, Suspended, Tree};

/// Carrier of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// The core of the hive, which is never shed.
    Core,
    /// Parts of the supervision tree that carry its name as a tag. Without any, the feature is
    /// absent.
    Parts,
}

/// Returns the carrier of a feature. A behaviour that is switched off instead of stopped reads
/// the level in force (`deps.level.sheds`), and gets a variant of [`Carrier`] with the version
/// that has it.
pub(super) fn carrier(feature: Feature) -> Carrier {
    match feature {
        Feature::TaskOrchestration | Feature::MessageDelivery | Feature::HealthMonitoring => {
            Carrier::Core
        }
        Feature::AdaptiveScheduling
        | Feature::AutoScaling
        | Feature::WebhookDelivery
        | Feature::Analytics
        | Feature::PredictiveScaling
        | Feature::LiveStream => Carrier::Parts,
    }
}

/// A part of the tree that carries a feature.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) path: Arc<str>,
    pub(super) state: ChildState,
    pub(super) suspended: Option<Suspended>,
}

/// Returns the parts of the tree that carry a feature.
pub(super) fn parts(tree: &Tree, feature: Feature) -> Vec<Part> {
    let paths = tree.carriers(feature.as_str()).into_iter();
    let part = |path: Arc<str>| {
        let status = tree.status_of(&path)?;
        Some(Part {
            path,
            state: status.state,
            suspended: status.suspended,
        })
    };
    paths.filter_map(part).collect()
}

/// Facts that the state of a feature follows from.
pub(super) struct Facts<'a> {
    pub(super) mode: &'a DegradationStatus,
    pub(super) parts: &'a [Part],
    /// Cause for which the tree has suspended the feature, if it has.
    pub(super) suspended: Option<&'a Suspended>,
    /// Time since which the feature is on, unless it is off.
    pub(super) on_since: Timestamp,
}

/// Returns the state of a feature.
pub(super) fn status_of(feature: Feature, facts: &Facts<'_>) -> FeatureStatus {
    let (state, why, since, returns) = judge(feature, facts);
    FeatureStatus {
        feature,
        description: feature.description().to_owned(),
        class: feature.class(),
        shed_at: feature.class().shed_at(),
        state,
        why,
        since,
        returns,
        parts: facts
            .parts
            .iter()
            .map(|part| part.path.to_string())
            .collect(),
    }
}

type Judgement = (FeatureState, String, Option<Timestamp>, Option<String>);

fn judge(feature: Feature, facts: &Facts<'_>) -> Judgement {
    let mode = facts.mode;
    let on = |why: &str| (FeatureState::On, why.to_owned(), Some(facts.on_since), None);
    if carrier(feature) == Carrier::Core {
        return on(of_core(feature, mode.level));
    }
    if facts.parts.is_empty() {
        let why = "this version does not have it".to_owned();
        return (FeatureState::Absent, why, None, None);
    }
    if feature.is_shed_at(mode.level) {
        let since = facts.suspended.map_or(mode.since, |it| time(it.since));
        let why = format!("it is shed at level {}: {}", mode.level, mode.why);
        return (
            FeatureState::Off,
            why,
            Some(since),
            Some(returns(feature, facts)),
        );
    }
    if facts.suspended.is_some() {
        let why = "it is being resumed".to_owned();
        let soon = "nothing has to be done".to_owned();
        return (FeatureState::Off, why, Some(mode.since), Some(soon));
    }
    match facts
        .parts
        .iter()
        .find(|part| part.state != ChildState::Running)
    {
        Some(part) => down(part, mode.since),
        None => on("it runs"),
    }
}

fn of_core(feature: Feature, level: Level) -> &'static str {
    match (feature, level) {
        (Feature::TaskOrchestration, Level::READ_ONLY) => {
            "running tasks are finished; submissions are refused at level 4"
        }
        (Feature::TaskOrchestration, Level::CRITICAL_ONLY) => {
            "it runs; submissions of priority P2 and P3 are refused at level 3"
        }
        _ => "it runs; it is never shed",
    }
}

/// Returns the events that bring a shed feature back.
fn returns(feature: Feature, facts: &Facts<'_>) -> String {
    let mode = facts.mode;
    let below = feature.class().shed_at().unwrap_or_default();
    let mut back = match (&mode.operator, mode.source) {
        (Some(operator), ModeSource::Operator) => format!(
            "the end of the level that {} has set, at {}, or deia degrade auto",
            operator.by, operator.until
        ),
        _ => format!(
            "a level below {below}: it falls once the signals that raised it are clear; see deia degrade status"
        ),
    };
    for part in by_hand(facts.parts) {
        back = format!("{back}; and deia supervisors resume {}", part.path);
    }
    back
}

/// Returns the parts that somebody has suspended by hand: shedding does not lift that.
fn by_hand(parts: &[Part]) -> impl Iterator<Item = &Part> {
    parts.iter().filter(|part| {
        let by = part.suspended.as_ref().and_then(|it| it.by.as_deref());
        by.is_some_and(|by| by != super::NAME)
    })
}

fn down(part: &Part, otherwise: Timestamp) -> Judgement {
    let path = &part.path;
    let Some(suspended) = &part.suspended else {
        let why = format!("{path} is {}", part.state.as_str());
        let back = format!("see the log, then deia supervisors restart {path}");
        return (FeatureState::Off, why, Some(otherwise), Some(back));
    };
    let by = suspended.by.as_deref().unwrap_or("an operator");
    let why = match &suspended.why {
        Some(why) => format!("{by} has suspended {path}: {why}"),
        None => format!("{by} has suspended {path}"),
    };
    let back = format!("deia supervisors resume {path}");
    (
        FeatureState::Off,
        why,
        Some(time(suspended.since)),
        Some(back),
    )
}

fn time(at: jiff::Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millisecond())
}
