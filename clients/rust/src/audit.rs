//! The audit trail: records, statistics, proofs, exports and tiles.

use std::time::Duration;

use deia_model::{
    AuditCheckpoint, AuditConsistency, AuditFilter, AuditOrder, AuditPage, AuditProof,
    AuditStatistics, AuditVerifications, PageRequest, Timestamp,
};
use reqwest::Response;

use super::{AuditKey, Client, ClientError, NewAuditEvent, RecordedAuditEvent, transport::Call};

/// The format of an export of the audit trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditExportFormat {
    /// One record a line, as JSON.
    #[default]
    JsonLines,
    /// RFC 4180, with a header.
    Csv,
}

impl AuditExportFormat {
    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
        }
    }
}

/// An export of the audit trail, as a stream of bytes.
#[derive(Debug)]
pub struct AuditExportStream {
    client: Client,
    response: Response,
    silence_max: Duration,
}

impl Client {
    /// Records an event of another system. With an idempotency key the call may be repeated:
    /// one event is recorded.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn append_audit_event(
        &self,
        event: &NewAuditEvent,
        idempotency_key: Option<&str>,
    ) -> Result<RecordedAuditEvent, ClientError> {
        self.post(&["api", "audit", "log"])
            .idempotency_key(idempotency_key)?
            .json(event)?
            .answer()
            .await
    }

    /// Lists records of the audit trail; follows short pages until there are `page.limit`
    /// records or none are left.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        order: AuditOrder,
        page: &PageRequest,
    ) -> Result<AuditPage, ClientError> {
        self.gather(page, || {
            let call = self.get(&["api", "audit", "query"]);
            filtered(call, filter).query("order", Some(order.as_str()))
        })
        .await
    }

    /// Lists records of an actor, by its name or pseudonym.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_of_actor(
        &self,
        actor: &str,
        page: &PageRequest,
    ) -> Result<AuditPage, ClientError> {
        self.gather(page, || self.get(&["api", "audit", "actor", actor]))
            .await
    }

    /// Lists records about a target, by its id, name or pseudonym.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_of_target(
        &self,
        target: &str,
        page: &PageRequest,
    ) -> Result<AuditPage, ClientError> {
        self.gather(page, || self.get(&["api", "audit", "target", target]))
            .await
    }

    /// Lists critical records.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn critical_audit(&self, page: &PageRequest) -> Result<AuditPage, ClientError> {
        self.gather(page, || self.get(&["api", "audit", "critical"]))
            .await
    }

    /// Returns numbers of entries over a time; without a bound, of all.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_statistics(
        &self,
        after: Option<Timestamp>,
        before: Option<Timestamp>,
    ) -> Result<AuditStatistics, ClientError> {
        self.get(&["api", "audit", "statistics"])
            .query("after", after)
            .query("before", before)
            .answer()
            .await
    }

    /// Exports the records that match, the oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export_audit(
        &self,
        filter: &AuditFilter,
        format: AuditExportFormat,
    ) -> Result<AuditExportStream, ClientError> {
        let call = self.get(&["api", "audit", "export"]);
        let response = filtered(call, filter)
            .query("format", Some(format.as_str()))
            .stream()
            .await?;
        Ok(AuditExportStream {
            client: self.clone(),
            response,
            silence_max: self.timeout,
        })
    }

    /// Returns an entry with the proof that it is in the trail.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_proof(&self, index: u64) -> Result<AuditProof, ClientError> {
        self.get(&["api", "audit", "proof", &index.to_string()])
            .answer()
            .await
    }

    /// Returns the proof that the trail of one size is the beginning of that of another; of the
    /// newest checkpoint when `to` is absent.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_consistency(
        &self,
        from: u64,
        to: Option<u64>,
    ) -> Result<AuditConsistency, ClientError> {
        self.get(&["api", "audit", "consistency"])
            .query("from", Some(from))
            .query("to", to)
            .answer()
            .await
    }

    /// Returns the newest checkpoint, and how far the trail is behind the events.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_checkpoint(&self) -> Result<AuditCheckpoint, ClientError> {
        self.get(&["api", "audit", "checkpoint"]).answer().await
    }

    /// Returns the verification under way, and the last one that ended.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit_verifications(&self) -> Result<AuditVerifications, ClientError> {
        self.get(&["api", "audit", "verify"]).answer().await
    }

    /// Has the hive verify its whole trail.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn verify_audit(&self) -> Result<AuditVerifications, ClientError> {
        self.post(&["api", "audit", "verify"]).answer().await
    }

    /// Replaces the key that signs checkpoints.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rotate_audit_key(&self) -> Result<AuditKey, ClientError> {
        self.post(&["api", "audit", "key", "rotate"]).answer().await
    }

    /// Returns a tile or an entry bundle by its C2SP name, such as `tile/0/x001/234` or
    /// `tile/entries/005.p/17`.
    ///
    /// # Errors
    /// [`ClientError`]; a problem with status 404 if the newest checkpoint does not cover it,
    /// or retention has removed it.
    pub async fn audit_tile(&self, name: &str) -> Result<Vec<u8>, ClientError> {
        let path: Vec<&str> = ["api", "audit", "log"]
            .into_iter()
            .chain(name.split('/'))
            .collect();
        self.get(&path).bytes().await
    }
}

fn filtered<'c>(call: Call<'c>, filter: &AuditFilter) -> Call<'c> {
    call.query("actor", filter.actor.as_ref())
        .query("target", filter.target.as_ref())
        .query("target_type", filter.target_type.as_ref())
        .query("action", filter.action.as_ref())
        .query("level", filter.level.map(|level| level.as_str()))
        .query("min_level", filter.min_level.map(|level| level.as_str()))
        .query("result", filter.result.map(|result| result.as_str()))
        .query("after", filter.after)
        .query("before", filter.before)
        .query("text", filter.text.as_ref())
        .query("from_entry", filter.from_entry)
        .query("to_entry", filter.to_entry)
        .query("min_seq", filter.min_seq)
        .query("max_seq", filter.max_seq)
}

impl AuditExportStream {
    /// Returns the next bytes; `None` at the end of the whole export.
    ///
    /// # Errors
    /// The connection broke, the hive stopped or cannot go on, or nothing arrives: what was
    /// read is not the whole export.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let after = self.silence_max;
        match tokio::time::timeout(after, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece.map(|piece| piece.to_vec())),
            Ok(Err(error)) => Err(self.client.failed(&error, after)),
            Err(_) => Err(ClientError::TimedOut {
                what: format!("{} did not continue", self.client.url()),
                after,
            }),
        }
    }
}
