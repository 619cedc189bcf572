//! The mark that a restore leaves in a data directory, and the records in a restored store.

use std::{fs, io, path::Path, time::Duration};

use deia_ledger::{
    Apply, BeginTimeline, Ledger, MarkRunning, PauseQueue, RecordEvents, StoreError,
};
use deia_model::{Action, NewEvent, RestoreReport, RestoredHive};
use serde_json::json;

use super::report::{Later, details, report};
use crate::{config::Config, data_dir::write_secret};

/// Name of the file with the mark.
const FILE: &str = "restored.json";
/// Reason of the pause, shown with the queue.
const PAUSED: &str = "the store was restored from the archive: deia-admin backup resume";

/// Time that a comparison may take. Fixed: it reads a bounded number of events; the restore is
/// worth more than its report.
const COMPARED_WITHIN: Duration = Duration::from_secs(300);

/// Reads the mark of a restore; `None` if the data directory was not restored.
pub(crate) fn restored(data_dir: &Path) -> Option<RestoredHive> {
    let text = fs::read(data_dir.join(FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Writes the mark of a restore.
pub(super) fn mark(data_dir: &Path, restored: &RestoredHive) -> io::Result<()> {
    let text = serde_json::to_string_pretty(restored)?;
    write_secret(&data_dir.join(FILE), &text)
}

/// Compares a store that was restored with a later one, and records the restore in it: a new
/// history of events begins, so that nobody takes its events for those that are lost. A comparison
/// that fails is noted, and stops no restore.
pub(super) async fn settle(
    config: &Config,
    facts: &mut RestoredHive,
    by: &str,
    later: Option<&Later>,
) -> Result<(), crate::HiveStartError> {
    let ledger = crate::store_options::open_restored(config)?;
    let _serving = ledger.serve()?;
    let compared = compare(&ledger, facts, later).await;
    facts.report = Some(compared);
    let recorded = record(&ledger, facts, by).await;
    ledger.close().await;
    Ok(recorded?)
}

async fn compare(
    ledger: &Ledger,
    facts: &mut RestoredHive,
    later: Option<&Later>,
) -> RestoreReport {
    let Some(later) = later else {
        return RestoreReport::unknown();
    };
    let comparing = async {
        let head = ledger.log_head().await?;
        report(ledger, later, (head, facts.to)).await
    };
    let compared = match tokio::time::timeout(COMPARED_WITHIN, comparing).await {
        Ok(compared) => compared.map_err(|error: StoreError| error.to_string()),
        Err(_) => Err(format!(
            "it took longer than {} s",
            COMPARED_WITHIN.as_secs()
        )),
    };
    compared.unwrap_or_else(|error| {
        tracing::warn!(error, "the restored store could not be compared with a later state");
        facts.notes.push(format!(
            "the restored state could not be compared with a later one ({error}): which work was lost, and which revoked access is valid again, is not known"
        ));
        RestoreReport::unknown()
    })
}

async fn record(ledger: &Ledger, facts: &RestoredHive, by: &str) -> Result<(), StoreError> {
    let after = ledger.log_head().await?.timeline;
    ledger.apply(BeginTimeline { after }).await?;
    let event = NewEvent::new(Action::RestoreCompleted, by, ledger.hive_id());
    let mut about = json!({
        "position": facts.position,
        "to": facts.to,
        "lost_up_to": facts.lost_up_to,
    });
    if let (Some(about), Some(report)) = (about.as_object_mut(), &facts.report) {
        about.insert("report".to_owned(), details(report));
    }
    let event = event.details(about);
    ledger.apply(RecordEvents(vec![event])).await?;
    if facts.paused {
        let pause = PauseQueue {
            task_type: None,
            actor: by.to_owned(),
            reason: Some(PAUSED.to_owned()),
        };
        ledger.apply(pause).await?;
    }
    // The start that follows must not charge the tasks with the death of the hive.
    ledger.apply(MarkRunning(false)).await
}
