//! The hive as a whole.

use deia_hive::model::{HealthMetrics, QueueStatus, SystemStatus};

use super::{Client, ClientError, SupervisorNode};

impl Client {
    /// How the queue stands.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn queue(&self) -> Result<QueueStatus, ClientError> {
        self.get(&["api", "v1", "queue"]).answer().await
    }

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

    /// Whether the hive takes work. Needs no key.
    ///
    /// # Errors
    /// [`ClientError`]; a problem with status 503 while it does not.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.get(&["readyz"]).done().await
    }
}
