//! Refusals that follow from the level in force: of changes in read-only mode, of requests that
//! need a shed feature, and of submissions that can wait.

use deia_model::{Feature, Level, NewTask, Priority, Violation};

use crate::{
    HiveError,
    mode::{CurrentLevel, InForce},
};

/// Interface to the refusals of the level in force.
#[derive(Clone, Debug)]
pub struct SheddingApi(CurrentLevel);

impl SheddingApi {
    pub(crate) fn new(level: CurrentLevel) -> Self {
        Self(level)
    }

    /// Refuses a request that needs a feature while the level in force sheds it.
    ///
    /// # Errors
    /// [`HiveError::FeatureSuspended`].
    pub fn needs(&self, feature: Feature) -> Result<(), HiveError> {
        // The reason is copied only for a refusal.
        match self.0.sheds(feature) {
            false => Ok(()),
            true => Err(suspended(feature, &self.0.get())),
        }
    }

    /// Refuses a change while the hive is read-only.
    ///
    /// # Errors
    /// [`HiveError::ReadOnly`].
    pub fn admits_changes(&self) -> Result<(), HiveError> {
        match self.0.level() < Level::READ_ONLY {
            true => Ok(()),
            false => Err(read_only(&self.0.get())),
        }
    }

    /// Refuses submissions that the level in force does not admit.
    ///
    /// # Errors
    /// [`HiveError::ReadOnly`], or [`HiveError::SubmissionsShed`] with a pointer to each task
    /// whose priority is refused.
    pub fn admits_tasks(&self, tasks: &[NewTask]) -> Result<(), HiveError> {
        self.admits_changes()?;
        let level = self.0.level();
        let refused = refused(level, tasks.iter().map(|task| task.priority));
        if refused.is_empty() {
            return Ok(());
        }
        let why = self.0.get().why;
        Err(HiveError::SubmissionsShed {
            reason: format!("the level is {level}: {why}"),
            refused,
        })
    }

    /// Resolves when the level in force sheds a feature.
    pub async fn until_shed(&self, feature: Feature) {
        let mut changes = self.0.changes();
        let shed = changes.wait_for(|now| feature.is_shed_at(now.level)).await;
        // The sender lives as long as the hive.
        if shed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Returns true if new tasks of a priority are accepted at a level.
fn accepts(level: Level, priority: Priority) -> bool {
    match priority {
        Priority::P0 | Priority::P1 => level < Level::READ_ONLY,
        Priority::P2 | Priority::P3 => level < Level::CRITICAL_ONLY,
    }
}

/// Returns the places of the tasks of a submission that are refused at a level: relative to the
/// task if there is one, below `/tasks` otherwise.
fn refused(level: Level, priorities: impl ExactSizeIterator<Item = Priority>) -> Vec<Violation> {
    let is_alone = priorities.len() == 1;
    let pointer = |place: usize| match is_alone {
        true => "/priority".to_owned(),
        false => format!("/tasks/{place}/priority"),
    };
    let refused = priorities
        .enumerate()
        .filter(|(_, priority)| !accepts(level, *priority));
    refused
        .map(|(place, priority)| Violation {
            pointer: pointer(place),
            detail: format!("is {priority:?}; only P0 and P1 are accepted now"),
        })
        .collect()
}

fn suspended(feature: Feature, now: &InForce) -> HiveError {
    HiveError::FeatureSuspended {
        feature: feature.as_str(),
        instead: format!("the level is {}: {}", now.level, now.why).into(),
    }
}

fn read_only(now: &InForce) -> HiveError {
    HiveError::ReadOnly(format!("the level is {}: {}", now.level, now.why))
}

#[cfg(test)]
mod tests;
