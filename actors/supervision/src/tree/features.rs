//! Suspending parts of a tree as a whole.

use std::sync::Arc;

use super::Tree;
use crate::{
    error::ChildError,
    record::ChildRecord,
    shedding::{Rule, Suspended},
    spec::Criticality,
    supervisor::handle::Operation,
};

/// Path of a child, and the result of suspending or resuming it.
pub type Change = (Arc<str>, Result<(), ChildError>);

impl Tree {
    /// Suspends everything that carries the tag `feature` (see
    /// [`ChildSpec::feature`](crate::ChildSpec::feature)), the last one started first, and returns
    /// what was done to each. The tree remembers it: it outlives restarts and escalations, and
    /// holds for children that are added later, which come up suspended.
    ///
    /// A feature that is suspended already keeps its cause. A tag that no child carries is no
    /// error: the list is empty, and the tag stays suspended for children added later, until
    /// [`resume_feature`](Self::resume_feature).
    #[must_use = "some children may not have changed"]
    pub async fn suspend_feature(
        &self,
        feature: &str,
        by: impl Into<String>,
        why: impl Into<String>,
    ) -> Vec<Change> {
        let suspended = Suspended::now(Some(by.into()), Some(why.into()));
        self.apply(Rule::Feature(feature.into()), suspended).await
    }

    /// Resumes the children that were suspended as part of `feature`, in the order of starting.
    /// Children that were also suspended by themselves, or as part of something else, stay
    /// suspended.
    #[must_use = "some children may not have changed"]
    pub async fn resume_feature(&self, feature: &str) -> Vec<Change> {
        self.lift(&Rule::Feature(feature.into())).await
    }

    /// Returns the paths of the children that carry the tag `feature`, in the order of starting.
    #[must_use]
    pub fn carriers(&self, feature: &str) -> Vec<Arc<str>> {
        let mut children = Vec::new();
        collect(&self.root, &Rule::Feature(feature.into()), &mut children);
        children
    }

    /// Returns the features that are suspended, and why.
    #[must_use]
    pub fn suspended_features(&self) -> Vec<(Arc<str>, Suspended)> {
        self.shared.rules.features()
    }

    /// Suspends all workers that matter no more than `level`, the last one started first, and those
    /// that are added later. Workers that are [`Critical`](Criticality::Critical) are never shed.
    #[must_use = "some children may not have changed"]
    pub async fn shed(
        &self,
        level: Criticality,
        by: impl Into<String>,
        why: impl Into<String>,
    ) -> Vec<Change> {
        let suspended = Suspended::now(Some(by.into()), Some(why.into()));
        self.apply(Rule::UpTo(level), suspended).await
    }

    /// Resumes all that was [shed](Self::shed), in the order of starting.
    #[must_use = "some children may not have changed"]
    pub async fn unshed(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for level in self.shared.rules.levels() {
            changes.append(&mut self.lift(&Rule::UpTo(level)).await);
        }
        changes
    }

    async fn apply(&self, rule: Rule, suspended: Suspended) -> Vec<Change> {
        // From here on, no child to which the rule applies starts any more.
        self.shared.rules.set(rule.clone(), suspended);
        let mut children = Vec::new();
        collect(&self.root, &rule, &mut children);
        children.reverse();
        self.change(children, &Operation::Enforce).await
    }

    async fn lift(&self, rule: &Rule) -> Vec<Change> {
        self.shared.rules.remove(rule);
        let mut children = Vec::new();
        collect(&self.root, rule, &mut children);
        self.change(children, &Operation::Release).await
    }

    async fn change(&self, children: Vec<Arc<str>>, operation: &Operation) -> Vec<Change> {
        let mut changes = Vec::new();
        for path in children {
            let changed = match self.operate(&path, operation.clone()).await {
                // The supervisor of the child is down, and applies the rules when it starts.
                Err(ChildError::Suspended | ChildError::Down | ChildError::Stopping) => Ok(()),
                // The child has ended meanwhile.
                Err(ChildError::NotFound | ChildError::Gone) => continue,
                changed => changed,
            };
            changes.push((path, changed));
        }
        changes
    }
}

/// Collects the paths of all children to which the rule applies, in the order of starting.
fn collect(parent: &ChildRecord, rule: &Rule, into: &mut Vec<Arc<str>>) {
    for child in parent.children() {
        let policy = child.registration().map(|place| &place.policy);
        if policy.is_some_and(|policy| rule.applies_to(policy, child.kind)) {
            into.push(Arc::clone(child.path()));
        }
        collect(&child, rule, into);
    }
}
