//! The thread that writes the archive, and the handle of it.

mod cleaning;
mod files;
mod observed;
mod points;
mod turn;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use deia_archive::{ArchiveError, GenerationWriter, LogFile, Point, Storage};
use deia_ledger::{Ledger, LogFeed};
use deia_model::{
    Action, EventResult, NewEvent, RecoveryFailure, RecoveryMode, RecoveryState, Timestamp,
};
use serde_json::json;

use self::{cleaning::Cleaned, files::Files, observed::Observed};
use super::{open_storage, state::Shared};
use crate::{config::Settings, file_notes::FileNotes, settings::SettingsSource, subsystem::Deps};

/// Pause after a first failure. Fixed: `recovery.alert_after` decides when it matters.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Pause after many failures. Fixed: short beside the time that mending an archive takes.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Time that the last commits have to get to the archive at a stop. Fixed: the next start
/// ships what is left.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// The handle of the thread.
#[derive(Clone)]
pub(super) struct Shipping(Arc<Handle>);

struct Handle {
    feed: Arc<LogFeed>,
    ledger: Ledger,
    settings: Settings,
    shared: Arc<Shared>,
    instance: String,
    notes: FileNotes,
    /// The source of the settings, for their file.
    settings_source: Arc<dyn SettingsSource>,
    is_ending: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The storage of the archive, with its URL, once it was opened.
    storage: Mutex<Option<(String, Arc<dyn Storage>)>>,
    /// The cleaning under way. It outlives a thread that died.
    cleaning: Mutex<Option<JoinHandle<Result<Cleaned, ArchiveError>>>>,
}

impl Shipping {
    pub(super) fn new(
        deps: &Deps,
        feed: Arc<LogFeed>,
        instance: String,
        settings_source: Arc<dyn SettingsSource>,
    ) -> Self {
        if deps.settings.get().recovery.mode != RecoveryMode::Off {
            deps.file_notes.begin();
        }
        Self(Arc::new(Handle {
            feed,
            ledger: deps.ledger.clone(),
            settings: deps.settings.clone(),
            shared: Arc::default(),
            instance,
            notes: deps.file_notes.clone(),
            settings_source,
            is_ending: AtomicBool::new(false),
            thread: Mutex::default(),
            storage: Mutex::default(),
            cleaning: Mutex::default(),
        }))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(super) fn feed(&self) -> &Arc<LogFeed> {
        &self.0.feed
    }

    /// Returns the storage of the archive, the same for all users: its connections are shared, and
    /// a stop ends the calls of all.
    pub(super) fn storage(&self) -> Result<Arc<dyn Storage>, String> {
        let settings = self.0.settings.get();
        let url = settings.recovery_url();
        let mut opened = { self.0.storage.lock() }.unwrap_or_else(PoisonError::into_inner);
        if let Some((_, storage)) = opened.as_ref().filter(|(of, _)| *of == url) {
            return Ok(storage.clone());
        }
        let storage = open_storage(&url, &settings.recovery)?;
        *opened = Some((url, storage.clone()));
        Ok(storage)
    }

    /// Ends all calls to the storage.
    fn interrupt(&self) {
        let opened = { self.0.storage.lock() }.unwrap_or_else(PoisonError::into_inner);
        if let Some((_, storage)) = opened.as_ref() {
            storage.interrupt();
        }
    }

    /// Returns true if there is no archive.
    pub(super) fn is_off(&self) -> bool {
        self.0.settings.get().recovery.mode == RecoveryMode::Off
    }

    pub(super) fn begin(&self) {
        if self.0.settings.get().recovery.mode == RecoveryMode::Sync {
            self.0.feed.answer_after_archive();
        }
    }

    /// Starts the thread unless it runs, or the hive is ending.
    ///
    /// # Errors
    /// The storage or the thread cannot be had.
    pub(super) fn start(&self) -> Result<(), String> {
        let mut thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = thread.as_ref().is_some_and(|it| !it.is_finished());
        if runs || self.0.is_ending.load(Ordering::Acquire) {
            return Ok(());
        }
        let storage = Observed::new(self.storage()?, self.0.shared.clone());
        let shipper = Shipper::new(self.clone(), Arc::new(storage));
        let spawned = std::thread::Builder::new()
            .name("deia-archive".into())
            .spawn(move || shipper.run());
        *thread = Some(spawned.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Notes that the thread cannot be started, for the status and the alerts.
    pub(super) fn note_down(&self, reason: &str) {
        let mut inner = self.0.shared.lock();
        inner.state = RecoveryState::Failing;
        inner.failing = Some(RecoveryFailure {
            since: Timestamp::now(),
            reason: reason.to_owned(),
        });
    }

    /// Returns whether the thread has ended although it should not.
    pub(super) fn has_failed(&self) -> bool {
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = thread.as_ref().is_some_and(JoinHandle::is_finished);
        ended && !self.0.is_ending.load(Ordering::Acquire)
    }

    /// Lets the thread ship the last commits, and waits for its end.
    pub(super) async fn finish(&self) {
        self.0.is_ending.store(true, Ordering::Release);
        self.0.feed.wake();
        let thread = self
            .0
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(thread) = thread else { return };
        let joining = tokio::task::spawn_blocking(move || thread.join().is_ok());
        if tokio::time::timeout(2 * LAST_WITHIN, joining)
            .await
            .is_err()
        {
            tracing::warn!(
                "the archive does not answer: the last commits are shipped by the next start"
            );
        }
        // Nobody waits for a store that does not answer: a cleaning, a job, or that thread.
        self.interrupt();
    }
}

/// The thread.
struct Shipper {
    handle: Shipping,
    storage: Arc<dyn Storage>,
    log: Option<LogFile>,
    writer: Option<GenerationWriter>,
    files: Files,
    /// The reason to begin a new generation, if there is one.
    reason: Option<String>,
    /// Losses of the feed that are known.
    losses: u64,
    last_point_at: i64,
    wants_cleaning: bool,
    /// Number of the last part to put into a bundle, while there are such parts.
    bundle_upto: Option<u64>,
    /// Points made since the last cleaning began.
    points_since: Vec<Point>,
    /// The generation of another hive that writes the same archive, if there is one.
    fenced: Option<String>,
    pause: Duration,
}

impl Shipper {
    fn new(handle: Shipping, storage: Arc<dyn Storage>) -> Self {
        let losses = handle.feed().look().losses;
        Self {
            handle,
            storage,
            log: None,
            writer: None,
            files: Files::default(),
            reason: None,
            losses,
            last_point_at: 0,
            wants_cleaning: false,
            bundle_upto: None,
            points_since: Vec::new(),
            fenced: None,
            pause: PAUSE_MIN,
        }
    }

    fn is_ending(&self) -> bool {
        self.handle.0.is_ending.load(Ordering::Acquire)
    }

    fn run(mut self) {
        while !self.is_ending() {
            match self.turn() {
                Ok(()) => self.works(),
                Err(error) => self.failed(&error),
            }
        }
        let until = Instant::now() + LAST_WITHIN;
        while Instant::now() < until {
            match self.ship() {
                Ok(()) => break,
                Err(error) if error.may_pass() => self.handle.feed().pause(PAUSE_MIN),
                Err(_) => break,
            }
        }
    }

    fn works(&mut self) {
        self.pause = PAUSE_MIN;
        let is_complete = self.writer.as_ref().is_some_and(|it| !it.is_first_copy());
        if is_complete {
            self.handle.feed().note_complete(self.losses);
        }
        let mut inner = self.handle.shared().lock();
        inner.is_complete = is_complete;
        if inner.failing.take().is_some() {
            tracing::info!("the archive is written again");
        }
        inner.state = match &self.writer {
            None => RecoveryState::Starting,
            Some(writer) if writer.is_first_copy() => RecoveryState::FirstSnapshot,
            Some(_) => RecoveryState::Shipping,
        };
        let last = self.writer.as_ref().and_then(GenerationWriter::last_commit);
        inner.archived_at = last.map(|commit| Timestamp::from_millis(commit.at));
    }

    fn failed(&mut self, error: &ArchiveError) {
        if !error.may_pass() {
            self.begin_again(error.to_string());
        }
        let shared = self.handle.shared();
        let is_news = {
            let mut inner = shared.lock();
            inner.counters.failures += 1;
            inner.state = RecoveryState::Failing;
            let is_news = inner.failing.is_none();
            let since = inner.failing.as_ref().map(|failing| failing.since);
            inner.failing = Some(RecoveryFailure {
                since: since.unwrap_or_else(Timestamp::now),
                reason: error.to_string(),
            });
            is_news
        };
        if is_news {
            tracing::error!(%error, "the archive cannot be written; retrying");
            let mut event = NewEvent::new(Action::BackupFailed, "deia", self.generation())
                .details(json!({"message": error.to_string()}));
            event.result = EventResult::Failure;
            shared.leave(event);
        }
        let feed = self.handle.feed();
        feed.note_failing();
        feed.pause(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Gives up the generation: the next turn begins another one.
    fn begin_again(&mut self, reason: String) {
        {
            let mut inner = self.handle.shared().lock();
            if std::mem::take(&mut inner.is_complete) {
                inner.exposed_since = Instant::now();
                inner.note_exposed(Timestamp::now());
            }
        }
        self.handle.feed().begin_again();
        self.writer = None;
        self.files = Files::default();
        self.reason = Some(reason);
    }

    /// Returns the id of the generation, or of the hive before there is one.
    fn generation(&self) -> String {
        match &self.writer {
            Some(writer) => writer.generation().to_owned(),
            None => self.handle.0.ledger.hive_id(),
        }
    }
}
