//! The verification of the whole trail as a job: one at a time, step by step, and resumed after
//! a restart from its saved state.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use deia_ledger::{Apply, Ledger, RecordEvents};
use deia_model::{Action, EventLevel, EventResult, NewEvent, Timestamp};
use deia_supervision::Context;
use deia_trail::{
    TrailReader,
    verify::{Report, State, Verification, Verifier, VerifyError},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::Settings;

/// Bundles that are checked in a step. Fixed: bounds one step, so that others get their
/// turn; the whole has no limit here.
const STEP: u64 = 256;
/// Pause between steps, which lets others have the disk. Fixed: bounds one step, so that
/// others get their turn; the whole has no limit here.
const PAUSE: Duration = Duration::from_millis(5);
/// Steps after which the state is saved. Fixed: bounds one step, so that others get their
/// turn; the whole has no limit here.
const SAVE_EVERY: u32 = 20;
/// Largest state that is read, in bytes. Fixed: far above any real file, so that a wrong
/// one does not fill the memory.
const STATE_MAX: u64 = 64 << 20;

/// A verification under way, as it is saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saved {
    started_at: Timestamp,
    started_by: String,
    state: State,
}

/// A verification, under way or ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct VerificationStatus {
    /// Time at which it was started.
    pub(super) started_at: Timestamp,
    /// Name of the user who started it.
    pub(super) started_by: String,
    /// Time at which it ended; `None` while it is under way.
    pub(super) ended_at: Option<Timestamp>,
    /// Units that are done: bundles of 256 entries, and 64 KiB of checkpoints each.
    pub(super) done: u64,
    /// Units in total.
    pub(super) total: u64,
    /// The result so far.
    pub(super) report: Report,
}

/// The verifications that callers see.
#[derive(Clone, Debug, Default)]
pub(super) struct Verifications(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    running: Option<VerificationStatus>,
    last: Option<VerificationStatus>,
}

impl Verifications {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the verification under way, if there is one.
    pub(super) fn running(&self) -> Option<VerificationStatus> {
        self.lock().running.clone()
    }

    /// Returns the last one that ended.
    pub(super) fn last(&self) -> Option<VerificationStatus> {
        self.lock().last.clone()
    }
}

/// Message to begin a verification of the whole trail.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Begin {
    /// Name of the user who asks for it.
    pub(super) by: String,
}

/// Verifies the trail when asked to. Losing it delays the verification under way.
pub(super) struct TrailVerifier {
    settings: Settings,
    ledger: Ledger,
    shown: Verifications,
    job: Option<Job>,
    /// True while a step is under way.
    busy: bool,
}

/// A verification under way.
struct Job {
    verifier: Verifier,
    started_at: Timestamp,
    started_by: String,
    steps: u32,
}

/// The files of the verifier.
struct Files {
    trail: TrailReader,
    state: PathBuf,
    report: PathBuf,
}

impl Files {
    fn of(settings: &Settings) -> Self {
        let config = settings.get();
        Self {
            trail: TrailReader::new(config.audit_dir()),
            state: config.data_dir.join("audit-verify.state"),
            report: config.data_dir.join("audit-verify.json"),
        }
    }
}

impl TrailVerifier {
    pub(super) fn new(settings: Settings, ledger: Ledger, shown: Verifications) -> Self {
        Self {
            settings,
            ledger,
            shown,
            job: None,
            busy: false,
        }
    }

    /// Finds the last report, and the verification that a restart has interrupted.
    fn resume(&mut self, ctx: &mut Context<Self>) {
        self.busy = true;
        let files = Files::of(&self.settings);
        let reading = tokio::task::spawn_blocking(move || {
            let last = read_json::<VerificationStatus>(&files.report);
            let saved = read_json::<Saved>(&files.state);
            let job = saved.and_then(|saved| {
                let verifier = Verifier::resume(&files.trail, saved.state).ok()?;
                Some(Job {
                    verifier,
                    started_at: saved.started_at,
                    started_by: saved.started_by,
                    steps: 0,
                })
            });
            (last, job)
        });
        ctx.spawn(reading.into_actor(self).map(|read, this, ctx| {
            this.busy = false;
            if let Ok((last, job)) = read {
                this.shown.lock().last = last;
                this.job = job;
            }
            this.step(ctx);
        }));
    }

    fn begin(&mut self, by: String, ctx: &mut Context<Self>) {
        if self.busy || self.job.is_some() {
            return;
        }
        self.busy = true;
        let files = Files::of(&self.settings);
        let beginning = tokio::task::spawn_blocking(move || {
            Verifier::new(&files.trail, Verification::default())
        });
        ctx.spawn(beginning.into_actor(self).map(move |begun, this, ctx| {
            this.busy = false;
            match begun {
                Ok(Ok(verifier)) => {
                    this.job = Some(Job {
                        verifier,
                        started_at: Timestamp::now(),
                        started_by: by,
                        steps: 0,
                    });
                    this.step(ctx);
                }
                Ok(Err(error)) => this.failed(&error),
                Err(error) => {
                    tracing::error!(%error, "the verification of the audit trail was interrupted")
                }
            }
        }));
    }

    fn failed(&self, error: &VerifyError) {
        self.shown.lock().running = None;
        tracing::error!(%error, "the audit trail cannot be verified");
    }

    fn step(&mut self, ctx: &mut Context<Self>) {
        let Some(mut job) = self.job.take() else {
            return;
        };
        self.busy = true;
        let files = Files::of(&self.settings);
        let stepping = tokio::task::spawn_blocking(move || {
            job.verifier.step(STEP);
            job.steps += 1;
            let status = job.status();
            if job.verifier.is_done() {
                write_json(&files.report, &status);
                let _ = std::fs::remove_file(&files.state);
            } else if job.steps.is_multiple_of(SAVE_EVERY) {
                write_json(&files.state, &job.saved());
            }
            (job, status)
        });
        ctx.spawn(stepping.into_actor(self).map(|stepped, this, ctx| {
            this.busy = false;
            let Ok((job, status)) = stepped else {
                tracing::error!("the verification of the audit trail was interrupted");
                this.shown.lock().running = None;
                return;
            };
            if job.verifier.is_done() {
                this.ended(status, ctx);
                return;
            }
            this.shown.lock().running = Some(status);
            this.job = Some(job);
            ctx.run_later(PAUSE, Self::step);
        }));
    }

    /// Shows and records the result.
    fn ended(&mut self, status: VerificationStatus, ctx: &mut Context<Self>) {
        let report = &status.report;
        let mut event = NewEvent::new(
            Action::AuditVerified,
            status.started_by.as_str(),
            report.origin.clone().unwrap_or_default(),
        )
        .details(json!({
            "size": report.size,
            "sound": report.sound,
            "faults": report.faults.len() as u64 + report.more_faults,
        }));
        if !report.sound {
            event = event.level(EventLevel::Critical);
            event.result = EventResult::Failure;
            tracing::error!(
                faults = report.faults.len(),
                first = report.faults.first().map(|fault| fault.reason.as_str()),
                "the audit trail is not sound: see deia audit verify"
            );
        }
        {
            let mut shown = self.shown.lock();
            shown.running = None;
            shown.last = Some(status);
        }
        let ledger = self.ledger.clone();
        let recording = async move { ledger.apply(RecordEvents(vec![event])).await };
        ctx.spawn(recording.into_actor(self).map(|recorded, _, _| {
            if let Err(error) = recorded {
                tracing::warn!(%error, "the end of a verification of the audit trail could not be recorded");
            }
        }));
    }
}

impl Job {
    fn status(&self) -> VerificationStatus {
        let progress = self.verifier.progress();
        VerificationStatus {
            started_at: self.started_at,
            started_by: self.started_by.clone(),
            ended_at: self.verifier.is_done().then(Timestamp::now),
            done: progress.done,
            total: progress.total,
            report: self.verifier.report(),
        }
    }

    fn saved(&self) -> Saved {
        Saved {
            started_at: self.started_at,
            started_by: self.started_by.clone(),
            state: self.verifier.state().clone(),
        }
    }
}

/// Reads a file of the verifier. One that cannot be read is as good as none: it can be made
/// again.
fn read_json<T: for<'de> Deserialize<'de>>(path: &std::path::Path) -> Option<T> {
    let length = path.symlink_metadata().ok()?.len();
    if length > STATE_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes a file of the verifier, whole or not at all.
fn write_json<T: Serialize>(path: &std::path::Path, value: &T) {
    let Ok(text) = serde_json::to_string(value) else {
        return;
    };
    if let Err(error) = crate::data_dir::write_secret(path, &text) {
        tracing::warn!(%error, path = %path.display(), "the state of the verification of the audit trail cannot be saved");
    }
}

impl Actor for TrailVerifier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.resume(ctx);
    }
}

impl Handler<Begin> for TrailVerifier {
    type Result = ();

    fn handle(&mut self, begin: Begin, ctx: &mut Self::Context) {
        self.begin(begin.by, ctx);
    }
}
