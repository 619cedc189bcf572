//! The layers of settings of this process: its file, its environment and its options.

use std::path::PathBuf;

use deia_hive::{
    SettingsSource, StartSettings,
    config::{Config, ConfigError, Layers},
};
use deia_model::Timestamp;

use super::{args::SettingsArgs, causes, crash};
use crate::{http::Tls, telemetry};

/// The layers that the command line names.
pub(super) struct OwnSettings(pub(super) SettingsArgs);

impl OwnSettings {
    /// Returns the settings of a start that read that text from the settings file.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub(super) fn start(args: &SettingsArgs, file: &str) -> anyhow::Result<StartSettings> {
        use anyhow::Context as _;
        let layers = args.layers(file)?;
        let source = std::sync::Arc::new(Self(args.clone()));
        StartSettings::with_layers(source, layers).context("the settings cannot be used")
    }
}

impl SettingsSource for OwnSettings {
    fn layers(&self) -> Result<Layers, ConfigError> {
        let read = self.0.read_file().and_then(|file| self.0.layers(&file));
        read.map_err(|error| match error.downcast::<ConfigError>() {
            Ok(error) => error,
            Err(error) => ConfigError::Malformed(causes::told_once(&error)),
        })
    }

    fn path(&self) -> Option<PathBuf> {
        self.0.file()
    }

    fn check(&self, config: &Config) -> Result<(), String> {
        Tls::load(&config.server.tls)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn check_values(&self, config: &Config) -> Result<(), String> {
        telemetry::check(&config.telemetry).map_err(|error| error.to_string())?;
        telemetry::filter(&config.logging)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn gave_up_at(&self, config: &Config) -> Option<Timestamp> {
        crash::gave_up_at(config)
    }
}
