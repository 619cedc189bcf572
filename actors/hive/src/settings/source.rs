//! The layers of settings below those that the ledger keeps.

use std::path::PathBuf;

use deia_model::Timestamp;

use crate::config::{Config, ConfigError, Layers};

/// The layers that a start reads: the file, the environment and the options.
pub trait SettingsSource: Send + Sync + 'static {
    /// Reads the layers, with the text of the file if there is one. May block.
    ///
    /// # Errors
    /// The file cannot be read.
    fn layers(&self) -> Result<Layers, ConfigError>;

    /// Returns the path of the settings file, if there is one now. May block.
    fn path(&self) -> Option<PathBuf>;

    /// Checks the files of the process that settings name, such as its certificate. May block.
    ///
    /// # Errors
    /// The reason why these settings cannot be used.
    fn check(&self, _config: &Config) -> Result<(), String> {
        Ok(())
    }

    /// Checks values that only the process knows, such as the filter of its logs. Reads no file.
    ///
    /// # Errors
    /// The reason why these settings cannot be used.
    fn check_values(&self, _config: &Config) -> Result<(), String> {
        Ok(())
    }

    /// Returns the time at which the supervision tree of the run before gave up, if it did.
    fn gave_up_at(&self, _config: &Config) -> Option<Timestamp> {
        None
    }
}

/// Layers that never change.
pub struct FixedSettings(pub Layers);

impl SettingsSource for FixedSettings {
    fn layers(&self) -> Result<Layers, ConfigError> {
        Ok(self.0.clone())
    }

    fn path(&self) -> Option<PathBuf> {
        None
    }
}
