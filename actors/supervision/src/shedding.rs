//! Rules for the suspension of features and of the children that matter least.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    spec::{Criticality, Policy},
    state::Kind,
};

/// Cause of the suspension of a child or a feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Suspended {
    /// Name of the person or component that suspended it, if given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Reason, if given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Time of the suspension, by the wall clock.
    pub since: Timestamp,
}

impl Suspended {
    pub(crate) fn now(by: Option<String>, why: Option<String>) -> Self {
        let since = Timestamp::now();
        Self { by, why, since }
    }
}

/// Rule that selects the children to be suspended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Everything that carries this tag is suspended.
    Feature(Arc<str>),
    /// Workers that matter no more than this are suspended. (A supervisor may have children that
    /// matter more.)
    UpTo(Criticality),
}

impl Rule {
    pub(crate) fn applies_to(&self, policy: &Policy, kind: Kind) -> bool {
        match self {
            Self::Feature(feature) => policy.features.contains(feature),
            Self::UpTo(level) => {
                kind == Kind::Worker
                    && policy.criticality <= *level
                    && policy.criticality != Criticality::Critical
            }
        }
    }
}

/// The rules of a tree. They outlive restarts and escalations, and hold for children that are added
/// later, because they are looked at whenever a child is about to start.
#[derive(Default)]
pub(crate) struct Rules {
    rules: Mutex<BTreeMap<Rule, Suspended>>,
    /// True if there are any rules, so that a start need not take a lock.
    any: AtomicBool,
}

impl Rules {
    fn rules(&self) -> MutexGuard<'_, BTreeMap<Rule, Suspended>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a rule; an existing rule keeps its cause.
    pub(crate) fn set(&self, rule: Rule, suspended: Suspended) {
        let mut rules = self.rules();
        rules.entry(rule).or_insert(suspended);
        self.any.store(true, Ordering::SeqCst);
    }

    pub(crate) fn remove(&self, rule: &Rule) {
        let mut rules = self.rules();
        rules.remove(rule);
        self.any.store(!rules.is_empty(), Ordering::SeqCst);
    }

    /// Returns the reason for which such a child must be suspended, if any.
    pub(crate) fn matching(&self, policy: &Policy, kind: Kind) -> Option<Suspended> {
        if !self.any.load(Ordering::SeqCst) {
            return None;
        }
        let rules = self.rules();
        let mut matching = rules
            .iter()
            .filter(|(rule, _)| rule.applies_to(policy, kind));
        matching.next().map(|(_, suspended)| suspended.clone())
    }

    pub(crate) fn features(&self) -> Vec<(Arc<str>, Suspended)> {
        let feature = |(rule, suspended): (&Rule, &Suspended)| match rule {
            Rule::Feature(feature) => Some((Arc::clone(feature), suspended.clone())),
            Rule::UpTo(_) => None,
        };
        self.rules().iter().filter_map(feature).collect()
    }

    pub(crate) fn levels(&self) -> Vec<Criticality> {
        let level = |rule: &Rule| match rule {
            Rule::UpTo(level) => Some(*level),
            Rule::Feature(_) => None,
        };
        self.rules().keys().filter_map(level).collect()
    }
}
