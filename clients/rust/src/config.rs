//! Settings: their values, versions and changes.

use deia_model::{
    CurrentSettings, Page, PageRequest, ReloadCheck, SettingValue, SettingsReload, SettingsStatus,
    SettingsVersion,
};
use reqwest::Method;

use super::{
    ChangeSettingRequest, Client, ClientError, ConfirmSettingsRequest, PutIf,
    ReloadSettingsRequest, UndoSettingsRequest,
};

impl Client {
    /// Returns all settings in force, and where each value comes from.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn settings(&self) -> Result<CurrentSettings, ClientError> {
        self.get(&["api", "config", "current"]).answer().await
    }

    /// Returns one setting.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn setting(&self, key: &str) -> Result<SettingValue, ClientError> {
        self.get(&["api", "config", "value", key]).answer().await
    }

    /// Changes one setting, if `when` holds.
    ///
    /// # Errors
    /// A problem with status 412 if `when` does not hold, 422 if the value is not allowed, 409 if
    /// the key takes effect at a start.
    pub async fn change_setting(
        &self,
        key: &str,
        change: &ChangeSettingRequest,
        when: PutIf,
    ) -> Result<SettingsReload, ClientError> {
        self.call(Method::PATCH, &["api", "config", "value", key])
            .put_if(when)
            .json(change)?
            .answer()
            .await
    }

    /// Reads the settings file again.
    ///
    /// # Errors
    /// A problem with status 422 if the settings are not valid, 409 if other keys than those that
    /// may change while the hive runs differ as well.
    pub async fn reload_settings(
        &self,
        request: &ReloadSettingsRequest,
    ) -> Result<SettingsReload, ClientError> {
        self.post(&["api", "config", "reload"])
            .json(request)?
            .answer()
            .await
    }

    /// Compares the settings file with the settings in force.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn check_reload(&self) -> Result<ReloadCheck, ClientError> {
        self.post(&["api", "config", "check-reload"]).answer().await
    }

    /// Returns the state of the settings and of their file.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn settings_status(&self) -> Result<SettingsStatus, ClientError> {
        self.get(&["api", "config", "status"]).answer().await
    }

    /// Lists versions of the settings, the newest first, as many as the page asks for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn settings_history(
        &self,
        page: &PageRequest,
    ) -> Result<Page<SettingsVersion>, ClientError> {
        self.gather(page, || self.get(&["api", "config", "history"]))
            .await
    }

    /// Confirms the settings in force.
    ///
    /// # Errors
    /// A problem with status 409 if nothing waits for a confirmation.
    pub async fn confirm_settings(
        &self,
        request: &ConfirmSettingsRequest,
    ) -> Result<SettingsVersion, ClientError> {
        self.post(&["api", "config", "confirm"])
            .json(request)?
            .answer()
            .await
    }

    /// Puts the values of an earlier version back.
    ///
    /// # Errors
    /// A problem with status 409 if there is no such version.
    pub async fn undo_settings(
        &self,
        request: &UndoSettingsRequest,
    ) -> Result<SettingsReload, ClientError> {
        self.post(&["api", "config", "undo"])
            .json(request)?
            .answer()
            .await
    }
}
