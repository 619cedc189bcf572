//! The start of a hive.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use deia_ledger::{
    Command, CommandLog, CommitNotice, FeedWaits, LogFeed, MarkRunning, RecordEvents,
    SettingsReads, WriteSettings, store::SqliteStore,
};
use deia_model::{Action, NewEvent, PreviousShutdown, Timestamp};
use deia_supervision::Tree;

use super::{FrontFactory, Hive, Inner, event_log_lines, restart::Restart};
use crate::{
    HiveStartError,
    access::ensure_admin_key,
    audit,
    bots::{
        reaper_handle::{ReaperHandle, ReaperProgram},
        seed_bots,
    },
    config::{Config, Settings},
    data_dir::{DataDir, HiveFiles},
    file_notes::FileNotes,
    ledger_writer::write_or_leave_waiting,
    lifecycle::State,
    mode::CurrentLevel,
    reaper, recovery, secrets,
    settings::StartSettings,
    store_options::store_options,
    subsystem::Deps,
    tree::{self, Opened},
};

/// An opened store, and the way in which the run before it ended.
struct Before {
    /// True if the store was just created.
    new: bool,
    /// True if the previous run ended in order.
    clean: bool,
}

impl Hive {
    /// Starts a hive on the current actix system. The hive is ready when this returns.
    ///
    /// # Errors
    /// [`HiveStartError`]: the data directory is in use or cannot be written, the store
    /// cannot be opened, or a child of the tree fails to start.
    pub async fn start(
        settings: StartSettings,
        front: FrontFactory,
    ) -> Result<Self, HiveStartError> {
        let (started_at, started) = (Timestamp::now(), Instant::now());
        let mut resolved = settings.into_resolved();
        let mut data_dir = DataDir::open(&resolved.config().data_dir)?;
        if recovery::restore_waits(&resolved.config().data_dir) {
            // Programs carry the identity that the directory loses.
            end_leftovers(data_dir.instance().to_owned())
                .await
                .map_err(HiveStartError::Reaper)?;
            finish_restore(resolved.config())?;
            data_dir.identify()?;
            // The versions are those of the restored store.
            resolved = resolved.again().map_err(HiveStartError::RestoredSettings)?;
        }
        let config = resolved.config().clone();
        let sealing = Arc::new(secrets::load_or_make(&config)?);
        let options = store_options(&config);
        let store_metrics = options.metrics.clone();
        let feed = options.shipping.clone().unwrap_or_else(|| no_feed(&config));
        let store = SqliteStore::open_unmigrated(options)?;
        let files = Arc::new(HiveFiles::new(data_dir, &config.database_path())?);
        let before = Before {
            new: store.is_new(),
            clean: store.previous_shutdown_clean(),
        };
        let previous = previous(&before, store.last_event_at(), started_at, &config);
        let reaper = start_reaper(&config, files.instance())
            .await
            .map_err(HiveStartError::Reaper)?;
        // The migration comes last: if a step before it fails, the previous binary can go on.
        store.migrate()?;
        if !resolved.is_for(&store.settings_record().await?) {
            return Err(HiveStartError::SettingsMoved);
        }
        let record = resolved.take_write(&store.hive_id());
        let in_force = Settings::new(config);
        in_force.put(resolved.version(), in_force.get());
        let deps = Deps {
            settings: in_force,
            ledger: Arc::new(store),
            tree: Arc::new(OnceLock::new()),
            lifecycle: Arc::default(),
            level: CurrentLevel::default(),
            file_notes: FileNotes::default(),
        };
        let opened = Opened {
            resolved,
            files,
            sealing,
            reaper,
            store_metrics,
            feed,
            previous,
            started_at,
            started,
        };
        let (subsystems, declared) = tree::declare(&deps, opened);
        let hive = Self {
            inner: Arc::new(Inner {
                deps,
                subsystems: Arc::new(subsystems),
                restart: Restart::default(),
            }),
        };
        hive.listen_to_commits();
        let spec = declared.root.child(front(&hive)).child(declared.services);
        let tree = Tree::start(spec).await?;
        hive.operations().follow(&tree);
        // The tree is set once: this hive has no other.
        let _ = hive.inner.deps.tree.set(tree);
        hive.hold_restored().await;
        hive.settle(&before, record).await?;
        hive.inner.subsystems.recovery.begin();
        hive.inner.deps.lifecycle.set(State::Ready);
        hive.tasks().sweep_outputs();
        #[cfg(any(test, feature = "testing"))]
        if let Some(tree) = hive.inner.deps.tree.get() {
            crate::testing::fail_child_on_demand(tree, &hive.config().data_dir);
        }
        Ok(hive)
    }

    /// Passes every commit to the subsystems. Runs on the thread of the store's writer.
    fn listen_to_commits(&self) {
        let ledger = &self.inner.deps.ledger;
        ledger.subscribe(Arc::new(event_log_lines::log));
        // The reference is weak, so that the store does not keep the hive alive.
        let subsystems = Arc::downgrade(&self.inner.subsystems);
        ledger.subscribe(Arc::new(move |notices: &[CommitNotice]| {
            if let Some(subsystems) = subsystems.upgrade() {
                for subsystem in &subsystems.all {
                    subsystem.on_commit(notices);
                }
            }
        }));
    }

    /// Suspends what a restore keeps paused: deliveries that were made after the restored
    /// moment must not be repeated before somebody has looked at them.
    async fn hold_restored(&self) {
        let restored = recovery::restored(&self.config().data_dir);
        let tree = self.inner.deps.tree.get();
        if let Some(tree) = tree.filter(|_| restored.is_some_and(|it| it.paused)) {
            let why = "the store was restored from the archive: deia-admin backup resume";
            let suspended = tree.suspend_path_as(recovery::WEBHOOKS, "deia", why).await;
            if let Err(error) = suspended {
                tracing::error!(%error, "the webhooks could not be suspended after a restore");
            }
        }
    }

    /// Writes the records that precede the first request.
    async fn settle(
        &self,
        before: &Before,
        settings: Option<WriteSettings>,
    ) -> Result<(), HiveStartError> {
        let (ledger, config) = (&self.inner.deps.ledger, self.config());
        audit::align(ledger, &config).await?;
        let subsystems = &self.inner.subsystems;
        if before.new {
            seed_bots(&**ledger, &config).await?;
        }
        ensure_admin_key(ledger, &config, before.new).await?;
        subsystems.secrets.look_for_lost(ledger).await?;
        let unclean = NewEvent::new(Action::ShutdownUnclean, "deia", ledger.hive_id()).failure();
        let mut commands: Vec<Command> = settings.into_iter().map(Into::into).collect();
        commands.push(MarkRunning(true).into());
        if !before.clean {
            commands.insert(0, RecordEvents(vec![unclean]).into());
        }
        // This comes last: a start that was interrupted before is still one of a new hive.
        write_or_leave_waiting(&**ledger, commands).await?;
        subsystems.access.load().await?;
        subsystems.degradation.api().load().await?;
        subsystems.bots.begin()?;
        Ok(())
    }
}

/// Puts a store that was restored in place of the current one.
fn finish_restore(config: &Config) -> Result<(), HiveStartError> {
    let replaced = recovery::swap_in(&config.data_dir).map_err(HiveStartError::Restore)?;
    if let Some(kept) = replaced {
        tracing::warn!(
            kept = %kept.display(),
            "the store was replaced by a restored one; remove the old one once it is not needed"
        );
    }
    Ok(())
}

/// Returns a hand-over of the log for a store that notes nothing in it.
fn no_feed(config: &Config) -> Arc<LogFeed> {
    let waits = FeedWaits {
        checkpoint: config.recovery.checkpoint_wait,
        answer: config.recovery.answer_within,
    };
    Arc::new(LogFeed::new(&config.database_path(), waits))
}

/// Returns how the run before ended.
fn previous(
    before: &Before,
    last_event_at: Option<Timestamp>,
    now: Timestamp,
    config: &Config,
) -> PreviousShutdown {
    let last = last_event_at.filter(|_| !before.clean);
    let down = last.map(|last| now.as_millis().saturating_sub(last.as_millis()).max(0) / 1_000);
    // The process renames it once the hive has started.
    let gave_up = config.data_dir.join("crash-report.txt").exists();
    let report = config.data_dir.join("crash-report.previous.txt");
    PreviousShutdown {
        clean: before.clean,
        last_event_at: last,
        down_seconds: down.map(i64::unsigned_abs),
        crash_report: (!before.clean && gave_up).then(|| report.display().to_string()),
    }
}

#[cfg(not(test))]
fn reaper_program(instance: &str) -> std::io::Result<ReaperProgram> {
    ReaperProgram::this_program(instance)
}

/// Entry point for the tests: the test binary is not deia.
#[cfg(test)]
fn reaper_program(instance: &str) -> std::io::Result<ReaperProgram> {
    Ok(crate::bots::reaper_handle::tests::reaper_program(instance))
}

/// Starts the reaper of the programs, once those of an earlier run have ended.
async fn start_reaper(config: &Config, instance: &str) -> std::io::Result<ReaperHandle> {
    end_leftovers(instance.to_owned()).await?;
    let mut program = reaper_program(instance)?;
    program.runner.max_idle = config.bots.idle_runners as usize;
    ReaperHandle::start(program)
}

/// Ends programs that an earlier run left, in case even its reaper was killed.
async fn end_leftovers(instance: String) -> std::io::Result<()> {
    let swept = tokio::task::spawn_blocking(move || reaper::sweep(&instance)).await;
    swept.map_err(std::io::Error::other)??;
    Ok(())
}
