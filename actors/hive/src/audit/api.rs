//! Interface of the audit trail to callers and other subsystems.

mod errors;
mod export;
mod verification;

use std::{sync::Arc, time::Instant};

use deia_ledger::{AppendExternal, RecordEvents};
use deia_model::{
    AuditCheckpoint, AuditConsistency, AuditFilter, AuditOrder, AuditPage, AuditProof, AuditReport,
    AuditStatistics, AuditVerifications, PageRequest, Principal, Timestamp, Violation,
};
use deia_supervision::Handle;
use deia_trail::{
    ReadError, TrailReader,
    checkpoint::SignedCheckpoint,
    tile::TileId,
    verify::{Verification, Verifier, VerifyError},
};

pub use self::export::AuditExport;
use self::verification::verification;
use super::{
    events,
    export::ExportFormat,
    query::{AuditReadError, AuditReads},
    state::Progress,
    verification::{Begin, TrailVerifier, Verifications},
    work::Work,
};

use crate::{HiveError, access::AccessApi};

/// Interface to the audit trail.
#[derive(Clone)]
pub struct AuditApi {
    work: Work,
    access: AccessApi,
    reads: Arc<AuditReads>,
    verifier: Handle<TrailVerifier>,
    verifications: Verifications,
}

/// Parts of the subsystem that the interface uses.
pub(super) struct ApiNeeds {
    pub(super) work: Work,
    pub(super) access: AccessApi,
    pub(super) reads: Arc<AuditReads>,
    pub(super) verifier: Handle<TrailVerifier>,
    pub(super) verifications: Verifications,
}

impl AuditApi {
    pub(super) fn new(needs: ApiNeeds) -> Self {
        let ApiNeeds {
            work,
            access,
            reads,
            verifier,
            verifications,
        } = needs;
        Self {
            work,
            access,
            reads,
            verifier,
            verifications,
        }
    }

    /// Checks that administrative changes may happen now: nothing privileged does that may
    /// never have an entry.
    ///
    /// # Errors
    /// [`HiveError::AuditUnavailable`].
    pub fn admits_changes(&self) -> Result<(), HiveError> {
        let limit = self.work.settings.get().audit.fail_closed_after;
        match self.work.state.refusal(Instant::now(), limit) {
            Some(reason) => Err(HiveError::AuditUnavailable(reason)),
            None => Ok(()),
        }
    }

    /// Records an event of another system. Returns its sequence number.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], if the target or the details violate their limits.
    pub async fn append(&self, who: &Principal, event: AppendExternal) -> Result<u64, HiveError> {
        Ok(self.access.apply_for(who, event).await?)
    }

    /// Replaces the key that signs checkpoints, and returns the verifier key of the new one.
    ///
    /// # Errors
    /// [`HiveError::AuditUnavailable`], if the trail cannot be written.
    pub async fn rotate_key(&self, who: &Principal) -> Result<String, HiveError> {
        let key = super::rotation::rotate(&self.work, &self.access, who).await;
        key.map(|key| key.to_string())
            .map_err(|error| HiveError::AuditUnavailable(error.to_string()))
    }

    /// Returns a page of records.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn query(
        &self,
        filter: AuditFilter,
        order: AuditOrder,
        page: PageRequest,
    ) -> Result<AuditPage, HiveError> {
        self.read(move |reads| reads.query(&filter, order, &page))
            .await
    }

    /// Returns numbers of entries over a time.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn statistics(
        &self,
        after: Option<Timestamp>,
        before: Option<Timestamp>,
    ) -> Result<AuditStatistics, HiveError> {
        self.read(move |reads| reads.statistics(after, before))
            .await
    }

    /// Begins an export: one JSON object a line, or CSV. It is recorded before there is a byte
    /// of it.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn export(
        &self,
        who: &Principal,
        filter: AuditFilter,
        csv: bool,
    ) -> Result<AuditExport, HiveError> {
        let format = match csv {
            true => ExportFormat::Csv,
            false => ExportFormat::JsonLines,
        };
        let origin = self.progress().origin;
        let event = events::exported(&who.user, &origin, &filter, format);
        let export = self.read(move |reads| reads.export(filter, format)).await?;
        let recorded = RecordEvents(vec![event]);
        self.access.apply_for(who, recorded).await?;
        Ok(AuditExport::new(export))
    }

    /// Returns everything that shows a third party that an entry is in the trail.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], if there is no such entry or it is past retention.
    pub async fn proof(&self, index: u64) -> Result<AuditProof, HiveError> {
        self.read(move |reads| reads.proof(index)).await
    }

    /// Returns the proof that the trail of one size is the beginning of that of another; without
    /// `to`, of the newest checkpoint.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], if the sizes are not those of two states of the trail.
    pub async fn consistency(
        &self,
        from: u64,
        to: Option<u64>,
    ) -> Result<AuditConsistency, HiveError> {
        self.read(move |reads| reads.consistency(from, to)).await
    }

    /// Returns the newest checkpoint, and how far behind the events it is.
    ///
    /// # Errors
    /// [`HiveError::AuditUnavailable`], if there is none yet; the trail cannot be read.
    pub async fn checkpoint(&self) -> Result<AuditCheckpoint, HiveError> {
        let (progress, state) = (self.progress(), self.work.state.clone());
        let trail = self.reader();
        let read = tokio::task::spawn_blocking(move || trail.keys()).await;
        let keys = read
            .map_err(|error| HiveError::Internal(error.to_string()))?
            .map_err(errors::unreadable)?;
        // Not read from the file: that may be there before it is durable.
        let signed = SignedCheckpoint::parse(&progress.checkpoint).map_err(|_| {
            HiveError::AuditUnavailable("the audit trail has no checkpoint yet".into())
        })?;
        let head = signed.checkpoint.head;
        Ok(AuditCheckpoint {
            origin: signed.checkpoint.origin.clone(),
            size: head.size,
            root: data_encoding::BASE64.encode(&head.root),
            sealed_at: progress.sealed_at,
            checkpoint: progress.checkpoint,
            keys: keys.iter().map(ToString::to_string).collect(),
            lag_events: state.lag_events(),
            lag_ms: u64::try_from(self.lag().as_millis()).unwrap_or(u64::MAX),
            failing: progress.failing.map(|failing| failing.reason),
        })
    }

    /// Begins a verification of the whole trail, unless one is under way.
    ///
    /// # Errors
    /// [`HiveError::Overloaded`], if the verifier takes no messages now.
    pub fn verify(&self, who: &Principal) -> Result<(), HiveError> {
        let begin = Begin {
            by: who.user.to_string(),
        };
        self.verifier.tell(begin).map_err(|_| HiveError::Overloaded)
    }

    /// Returns the verification under way, and the last one that ended.
    pub fn verifications(&self) -> AuditVerifications {
        AuditVerifications {
            running: self.verifications.running().map(verification),
            last: self.verifications.last().map(verification),
            range: None,
        }
    }

    /// Verifies a range of entries now: of a few thousand, since the caller waits.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], if the range has no entries or too many.
    pub async fn verify_range(&self, from: u64, to: u64) -> Result<AuditReport, HiveError> {
        let invalid = |detail: String| {
            HiveError::Invalid(vec![Violation {
                pointer: "/to".into(),
                detail,
            }])
        };
        let most = self.work.settings.get().audit.verify_max_entries;
        if to.saturating_sub(from) > most {
            return Err(invalid(format!(
                "is more than {most} entries behind from: POST verifies the whole trail"
            )));
        }
        let trail = self.reader();
        let verifying = move || {
            let range = Verification {
                from: Some(from),
                to: Some(to),
                ..Verification::default()
            };
            Verifier::new(&trail, range).map(|mut verifier| verifier.run())
        };
        let report = tokio::task::spawn_blocking(verifying).await;
        let report = report.map_err(|error| HiveError::Internal(error.to_string()))?;
        report
            .map(verification::report)
            .map_err(|error| match error {
                VerifyError::Range { .. } => invalid(format!("ends no range: {error}")),
                other => HiveError::Internal(other.to_string()),
            })
    }

    /// Returns a tile or an entry bundle of the trail, of exactly that width.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], if the newest checkpoint does not cover it, or retention has
    /// removed it.
    pub async fn tile(&self, id: TileId) -> Result<Vec<u8>, HiveError> {
        let (trail, size) = (self.reader(), self.progress().size);
        let read = tokio::task::spawn_blocking(move || trail.tile_of(id, size)).await;
        read.map_err(|error| HiveError::Internal(error.to_string()))?
            .map_err(|error| match error {
                ReadError::Missing(_) => errors::no_tile(id),
                other => errors::unreadable(other),
            })
    }

    /// Returns a reader of the files of the trail. Its calls block.
    pub fn reader(&self) -> TrailReader {
        TrailReader::new(self.work.settings.get().audit_dir())
    }

    /// Returns the time for which the oldest event has waited for its entry.
    pub(crate) fn lag(&self) -> std::time::Duration {
        self.work.state.lag(Instant::now())
    }

    /// Returns how far the trail is.
    pub(crate) fn progress(&self) -> Progress {
        self.work.state.progress()
    }

    /// Reads on a thread of its own: files and the index block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Arc<AuditReads>) -> Result<T, AuditReadError> + Send + 'static,
    ) -> Result<T, HiveError> {
        let reads = self.reads.clone();
        let done = tokio::task::spawn_blocking(move || read(&reads)).await;
        done.map_err(|error| HiveError::Internal(error.to_string()))?
            .map_err(errors::of_read)
    }
}
