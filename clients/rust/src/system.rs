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
    /// Returns the state of the whole hive.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn system_status(&self) -> Result<SystemStatus, ClientError> {
        self.get(&["api", "v1", "system", "status"]).answer().await
    }

    /// Requests a restart in place; returns the state of the hive before it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn restart(&self) -> Result<SystemStatus, ClientError> {
        self.post(&["api", "v1", "system", "restart"])
            .answer()
            .await
    }

    /// Returns the health problems, and the measurements behind them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn health(&self) -> Result<HealthMetrics, ClientError> {
        self.get(&["api", "v1", "system", "health"]).answer().await
    }

    /// Returns the current supervision tree.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn supervisors(&self) -> Result<SupervisorNode, ClientError> {
        self.get(&["api", "v1", "supervisors"]).answer().await
    }

    /// Returns one child of the supervision tree with its descendants; `path` as in
    /// `hive/core/scheduler`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn supervisor(&self, path: &str) -> Result<SupervisorNode, ClientError> {
        self.get(&supervisor_path(path, None)).answer().await
    }

    /// Lists the threads that actors run on, that of the supervisors first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn arbiters(&self) -> Result<Vec<Arbiter>, ClientError> {
        let list = self.get(&["api", "v1", "arbiters"]);
        let List { items } = list.answer().await?;
        Ok(items)
    }

    /// Suspends a child of the supervision tree; the reason is shown until it is
    /// resumed.
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

    /// Checks that the hive accepts work. Needs no key.
    ///
    /// # Errors
    /// [`ClientError`]; a problem with status 503 while it does not.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.get(&["readyz"]).done().await
    }
}

/// Returns the segments of the address of a child.
fn supervisor_path<'a>(path: &'a str, action: Option<&'a str>) -> Vec<&'a str> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    ["api", "v1", "supervisors"]
        .into_iter()
        .chain(parts)
        .chain(action)
        .collect()
}
