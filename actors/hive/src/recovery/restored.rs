//! The mark that a restore leaves in a data directory, and the records in a restored store.

use std::{fs, io, path::Path};

use deia_ledger::{
    Apply, BeginTimeline, Ledger, MarkRunning, PauseQueue, RecordEvents, StoreError,
};
use deia_model::{Action, NewEvent, RestoredHive};
use serde_json::json;

use crate::{config::Config, data_dir::write_secret};

/// Name of the file with the mark.
const FILE: &str = "restored.json";
/// Reason of the pause, shown with the queue.
const PAUSED: &str = "the store was restored from the archive: deia-admin backup resume";

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

/// Records the restore in a store that was restored: a new history of events begins, so that
/// nobody takes its events for those that are lost.
pub(super) async fn settle(
    config: &Config,
    facts: &RestoredHive,
    by: &str,
) -> Result<(), crate::HiveStartError> {
    let ledger = crate::store_options::open_restored(config)?;
    let _serving = ledger.serve()?;
    let recorded = record(&ledger, facts, by).await;
    ledger.close().await;
    Ok(recorded?)
}

async fn record(ledger: &Ledger, facts: &RestoredHive, by: &str) -> Result<(), StoreError> {
    let after = ledger.log_head().await?.timeline;
    ledger.apply(BeginTimeline { after }).await?;
    let event = NewEvent::new(Action::RestoreCompleted, by, ledger.hive_id());
    let event = event.details(json!({
        "position": facts.position,
        "to": facts.to,
        "lost_up_to": facts.lost_up_to,
    }));
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
