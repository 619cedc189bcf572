//! The hive as a whole.

use deia_model::{HealthMetrics, SystemStatus};
use serde::Deserialize;
use serde_json::json;

use super::{Arbiter, Client, ClientError, SupervisorAction, SupervisorNode, queue::without_nulls};

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

impl Client {
    /// How the whole hive stands.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn system_status(&self) -> Result<SystemStatus, ClientError> {
        self.get(&["api", "v1", "system", "status"]).answer().await
    }

    /// Asks for a restart in place; answers how the hive stood before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn restart(&self) -> Result<SystemStatus, ClientError> {
        self.post(&["api", "v1", "system", "restart"])
            .answer()
            .await
    }

    /// What is wrong, and the measurements behind it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn health(&self) -> Result<HealthMetrics, ClientError> {
        self.get(&["api", "v1", "system", "health"]).answer().await
    }

    /// The supervision tree, live.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn supervisors(&self) -> Result<SupervisorNode, ClientError> {
        self.get(&["api", "v1", "supervisors"]).answer().await
    }

    /// One child of the supervision tree and all below it; `path` as in
    /// `hive/core/scheduler`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn supervisor(&self, path: &str) -> Result<SupervisorNode, ClientError> {
        self.get(&supervisor_path(path, None)).answer().await
    }

    /// The threads that actors run on, that of the supervisors first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn arbiters(&self) -> Result<Vec<Arbiter>, ClientError> {
        let list = self.get(&["api", "v1", "arbiters"]);
        let List { items } = list.answer().await?;
        Ok(items)
    }

    /// Suspends a child of the supervision tree; the reason is shown for as long.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn suspend_supervisor(
        &self,
        path: &str,
        reason: Option<&str>,
    ) -> Result<SupervisorNode, ClientError> {
        self.post(&supervisor_path(path, Some("suspend")))
            .json(&without_nulls(json!({ "reason": reason })))?
            .answer()
            .await
    }

    /// Restarts or resumes (`action`) a child of the supervision tree.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn act_on_supervisor(
        &self,
        path: &str,
        action: SupervisorAction,
    ) -> Result<SupervisorNode, ClientError> {
        self.post(&supervisor_path(path, Some(action.as_str())))
            .answer()
            .await
    }

    /// Whether the hive takes work. Needs no key.
    ///
    /// # Errors
    /// [`ClientError`]; a problem with status 503 while it does not.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.get(&["readyz"]).done().await
    }
}

/// The segments of the address of a child.
fn supervisor_path<'a>(path: &'a str, action: Option<&'a str>) -> Vec<&'a str> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    ["api", "v1", "supervisors"]
        .into_iter()
        .chain(parts)
        .chain(action)
        .collect()
}
