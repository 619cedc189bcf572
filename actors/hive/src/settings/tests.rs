//! Settings of a whole hive.

mod changes;
mod edits;
mod records;
mod starts;
mod trouble;

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use deia_ledger::StoreError;
use deia_model::{
    Action, EventFilter, Level, PageRequest, Principal, SettingsReload, SettingsVersion, TaskType,
    Timestamp,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ChangeSetting, ReloadSettings, SettingsSource, StartSettings};
use crate::{
    Hive, HiveError, HiveStartError,
    config::{Config, ConfigError, Layers},
    mode::{InForce, LevelSource},
    testing::{no_front, until},
};

/// Failures that are asked for: a lost answer of the store, writes that it does not take, and a hive
/// that is not ready.
#[derive(Default)]
pub(super) struct Faults {
    lost: AtomicU32,
    refuses: AtomicBool,
    unready: AtomicBool,
    looks: AtomicU32,
}

impl Faults {
    /// Has the answer to that write from now on be lost, although the write is made.
    fn lose(&self, write: u32) {
        self.lost.store(write, Ordering::Relaxed);
    }

    /// Has nothing be written.
    fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Has the hive not be ready.
    fn unready(&self, unready: bool) {
        self.unready.store(unready, Ordering::Relaxed);
    }

    /// Resolves once the readiness was looked at that often from now on.
    async fn looked(&self, times: u32) {
        let before = self.looks.load(Ordering::Relaxed);
        until("the readiness is looked at", async || {
            self.looks.load(Ordering::Relaxed) >= before + times
        })
        .await;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed);
        !self.unready.load(Ordering::Relaxed)
    }

    /// Fails if nothing is to be written.
    pub(super) fn admit(&self) -> Result<(), StoreError> {
        match self.refuses.load(Ordering::Relaxed) {
            true => Err(StoreError::Busy),
            false => Ok(()),
        }
    }

    pub(super) fn answer<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let (set, take) = (Ordering::Relaxed, |left: u32| left.checked_sub(1));
        match self.lost.fetch_update(set, set, take) {
            Ok(1) => Err(StoreError::Unknown),
            _ => answer,
        }
    }
}

/// Layers with a text in place of a settings file.
struct Source {
    text: Mutex<String>,
    layers: Layers,
    gave_up: Mutex<Option<deia_model::Timestamp>>,
    /// True while the file system of the file does not answer.
    hangs: (Mutex<bool>, Condvar),
}

impl Source {
    fn hang(&self, hangs: bool) {
        *self.hangs.0.lock().unwrap() = hangs;
        self.hangs.1.notify_all();
    }
}

impl SettingsSource for Source {
    fn layers(&self) -> Result<Layers, ConfigError> {
        let hangs = self.hangs.0.lock().unwrap();
        drop(self.hangs.1.wait_while(hangs, |hangs| *hangs).unwrap());
        let text = self.text.lock().unwrap().clone();
        Ok(self.layers.clone().text("deia.yaml", text))
    }

    fn path(&self) -> Option<std::path::PathBuf> {
        Some("deia.yaml".into())
    }

    fn check_values(&self, config: &Config) -> Result<(), String> {
        // As the filter of the logs is: only the process knows what is allowed.
        let is_odd = |it: &TaskType| it.as_str() == "odd";
        match config.tasks.types.iter().any(is_odd) {
            true => Err("odd is not known here".to_owned()),
            false => Ok(()),
        }
    }

    fn gave_up_at(&self, _config: &Config) -> Option<deia_model::Timestamp> {
        *self.gave_up.lock().unwrap()
    }
}

/// A hive with a settings file.
struct Site {
    hive: Hive,
    admin: Principal,
    source: Arc<Source>,
    dir: Arc<TempDir>,
}

impl Site {
    async fn start(text: &str, set: &[(&str, &str)]) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let layers = Layers::default()
            .set("data_dir", dir.path().display().to_string())
            .set("bots.seed", "[]")
            .set("server.drain_timeout", "0s")
            .set("settings.watch", "false")
            // The tests set the level, and the controller must not set it again.
            .set("degradation.enabled", "false")
            .set("degradation.sample_every", "10s");
        let layers = set
            .iter()
            .fold(layers, |layers, (key, value)| layers.set(*key, *value));
        let source = Arc::new(Source {
            text: Mutex::new(text.to_owned()),
            layers,
            gave_up: Mutex::default(),
            hangs: Default::default(),
        });
        Self::start_in(dir, source).await.unwrap()
    }

    async fn start_in(dir: Arc<TempDir>, source: Arc<Source>) -> Result<Self, HiveStartError> {
        let settings = StartSettings::read(source.clone()).unwrap();
        let hive = Hive::start(settings, no_front()).await?;
        let key = std::fs::read_to_string(hive.config().admin_key_path()).unwrap();
        let admin = hive.access().authenticate(key.trim(), None).unwrap();
        Ok(Self {
            hive,
            admin,
            source,
            dir,
        })
    }

    /// Stops the hive, and starts it again.
    async fn start_again(self) -> Self {
        let Self {
            hive, source, dir, ..
        } = self;
        hive.shutdown().await;
        drop(hive);
        Self::start_in(dir, source).await.unwrap()
    }

    fn write(&self, text: &str) {
        text.clone_into(&mut self.source.text.lock().unwrap());
    }

    async fn set(&self, key: &str, value: Value) -> Result<SettingsReload, HiveError> {
        self.set_if(key, value, None).await
    }

    async fn set_if(
        &self,
        key: &str,
        value: Value,
        version: Option<u64>,
    ) -> Result<SettingsReload, HiveError> {
        let change = ChangeSetting {
            key: key.to_owned(),
            value,
            version,
            confirm_within: None,
        };
        self.hive.settings().change(&self.admin, change).await
    }

    async fn reload(&self, request: ReloadSettings) -> Result<SettingsReload, HiveError> {
        self.hive.settings().reload(&self.admin, request).await
    }

    fn secrets_max(&self) -> u32 {
        self.hive.config().secrets.max
    }

    async fn versions(&self) -> Vec<SettingsVersion> {
        let page = self.hive.settings().history(page()).await.unwrap();
        page.items
    }

    /// Returns the details of the events of that action, the newest first.
    async fn events(&self, action: Action) -> Vec<Value> {
        let filter = EventFilter {
            action: Some(action.as_str().to_owned()),
            ..EventFilter::default()
        };
        let events = self.hive.operations().events(&self.admin, filter, page());
        let events = events.await.unwrap().items.into_iter();
        events.map(|event| event.details).collect()
    }
}

fn page() -> PageRequest {
    PageRequest {
        limit: 1_000,
        cursor: None,
    }
}

/// Runs `test` on a hive with that settings file, and stops it.
fn with_site(text: &str, set: &[(&str, &str)], test: impl AsyncFnOnce(Site) -> Site) {
    actix_rt::System::new().block_on(async {
        let site = Site::start(text, set).await;
        let site = test(site).await;
        site.hive.shutdown().await;
    });
}

/// A file with that limit of secrets.
fn limit(max: u32) -> String {
    format!("secrets: {{max: {max}}}\n")
}

fn json_of(value: impl serde::Serialize) -> Value {
    json!(value)
}

fn raise(site: &Site, number: u8, source: LevelSource, since: Timestamp) {
    site.hive.level().set(InForce {
        level: Level::new(number).unwrap(),
        source,
        since,
        why: "memory is short".into(),
    });
}

/// A time that is after all that was done before.
fn soon() -> Timestamp {
    Timestamp::now().plus_millis(5)
}
