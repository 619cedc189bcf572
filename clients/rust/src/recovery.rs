//! The archive of the hive, its restore points, and restores.

use deia_model::{
    NewRestore, Page, PageRequest, PointId, RecoveryJob, RecoveryStatus, RestorePoint,
};
use serde_json::{Map, Value, json};

use super::{Client, ClientError, RestorePointId};

const AREA: [&str; 2] = ["api", "disaster-recovery"];

fn path(name: &'static str) -> [&'static str; 3] {
    let [api, area] = AREA;
    [api, area, name]
}

/// Returns an object of the members that have a value.
fn object(members: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Value {
    let members = members.into_iter();
    let given = members.filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    Value::Object(given.collect::<Map<_, _>>())
}

impl Client {
    /// Returns the state of the archive.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn recovery_status(&self) -> Result<RecoveryStatus, ClientError> {
        self.get(&path("status")).answer().await
    }

    /// Lists the restore points, the newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn restore_points(
        &self,
        page: &PageRequest,
    ) -> Result<Page<RestorePoint>, ClientError> {
        self.gather(page, || self.get(&path("backup-history")))
            .await
    }

    /// Returns a restore point.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn restore_point(&self, id: &str) -> Result<RestorePoint, ClientError> {
        let [api, area] = AREA;
        self.get(&[api, area, "restore-point", id]).answer().await
    }

    /// Makes a restore point.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_restore_point(
        &self,
        label: Option<&str>,
    ) -> Result<RestorePointId, ClientError> {
        let body = object([("label", label.map(str::to_owned))]);
        self.post(&path("restore-point"))
            .json(&body)?
            .answer()
            .await
    }

    /// Begins a backup.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn create_backup(&self, label: Option<&str>) -> Result<RestorePointId, ClientError> {
        let body = object([("label", label.map(str::to_owned))]);
        self.post(&path("backup")).json(&body)?.answer().await
    }

    /// Begins a restore: of a point, or with `newest` in its place of the newest commit of the
    /// archive, or of the moment that the request names.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn restore(
        &self,
        point: &str,
        request: &NewRestore,
    ) -> Result<RecoveryJob, ClientError> {
        let [api, area] = AREA;
        let call = self.post(&[api, area, "restore", point]);
        call.json(request)?.answer().await
    }

    /// Begins to read and compare every object of the archive.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn verify_archive(&self) -> Result<RecoveryJob, ClientError> {
        self.post(&path("verify")).answer().await
    }

    /// Begins to restore a point for practice; the newest if none is named.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drill_restore(&self, point: Option<PointId>) -> Result<RecoveryJob, ClientError> {
        let body = object([("point", point.map(|point| point.to_string()))]);
        self.post(&path("drill")).json(&body)?.answer().await
    }

    /// Resumes the queue and the webhooks that a restore has paused.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resume_restored(&self) -> Result<RecoveryStatus, ClientError> {
        self.post(&path("resume")).answer().await
    }

    /// Marks the end of this run as an orderly one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn mark_shutdown(&self) -> Result<RecoveryStatus, ClientError> {
        self.post(&path("mark-shutdown")).answer().await
    }
}
