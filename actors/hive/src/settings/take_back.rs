//! Settings that are taken back: first out of force, then recorded.

use std::sync::Arc;

use deia_ledger::{Note, SettledVersion, StoredSettings, WriteSettings};
use deia_model::{
    Action, SettingsOrigin, SettingsOutcome, SettingsReload, SettingsVersion, Timestamp,
};

use super::{
    SettingsApi,
    api::Asked,
    content::Content,
    probation::Open,
    state::{Book, event},
};
use crate::HiveError;

impl SettingsApi {
    /// Takes back a version and all later ones. They are out of force even if that cannot be
    /// recorded, which is then tried again.
    pub(super) async fn take_back(
        &self,
        book: &mut Book,
        first: usize,
        reason: &str,
        asked: Asked<'_>,
    ) -> Result<SettingsReload, HiveError> {
        // Later records follow earlier ones. One that cannot be written now is tried again.
        let _ = self.record_rest(book).await;
        let before = match first.checked_sub(1).and_then(|at| book.open.get(at)) {
            Some(open) => (open.version, open.content.clone()),
            None => book.confirmed.clone(),
        };
        let checked = self.restored(book, &before.1).await?;
        let reverted: Vec<u64> = book.open[first..].iter().map(|it| it.version).collect();
        let (config, after) = (self.0.settings.get(), Arc::new(checked.merged.config));
        if let Err(error) = self.reconfigure(&config, &after).await {
            tracing::error!(
                error,
                "a subsystem does not go back to its settings; restart the server"
            );
        }
        let last = first.checked_sub(1).and_then(|at| book.open.get(at));
        let version = SettingsVersion {
            version: book.newest + 1,
            at: Timestamp::now(),
            actor: asked.name(),
            origin: match asked {
                Asked::By(_) => SettingsOrigin::Undo,
                Asked::ByHive => SettingsOrigin::TakenBack,
            },
            restores: Some(before.0),
            changes: crate::config::changes(&book.content.values, &checked.content.values),
            outcome: match last {
                Some(_) => SettingsOutcome::Probation,
                None => SettingsOutcome::Confirmed,
            },
            reason: Some(reason.to_owned()),
            probation_until: last.map(|it| it.until),
            confirm_by: None,
            confirmed_by: None,
        };
        self.0.settings.put(version.version, after);
        let write = self.write_of(book, &version, &checked.content, &reverted, asked);
        let mut done = SettingsReload {
            version: version.version,
            applied: true,
            changes: version.changes.clone(),
            at_restart: checked.merged.at_restart.clone(),
            probation_until: version.probation_until,
            confirm_by: version.confirm_by,
            record_pending: false,
        };
        tracing::warn!(
            version = version.version,
            restores = before.0,
            reason,
            "settings were taken back"
        );
        self.0.metrics.note_taken_back();
        if let Note::Set(hash) = &write.rejected {
            book.rejected = Some(hash.clone());
        }
        book.open.truncate(first);
        match book.open.last().cloned() {
            // The values are still on probation.
            Some(before) => book.open.push(Open {
                version: version.version,
                confirm_by: None,
                ..before
            }),
            None => book.confirmed = (version.version, checked.content.clone()),
        }
        book.take_base(checked.candidate.base, checked.merged.at_restart);
        book.content = checked.content;
        let told = format!("version {}: {reason}", reverted[0]);
        let told = matches!(asked, Asked::ByHive).then_some(told);
        self.note_taken_back(book, told);
        book.in_force = version;
        book.owe(write);
        self.0.poke.notify_one();
        if let Err(error) = self.record_rest(book).await {
            tracing::warn!(%error, "settings that were taken back could not be recorded; retrying");
            done.record_pending = true;
        }
        Ok(done)
    }

    fn write_of(
        &self,
        book: &Book,
        version: &SettingsVersion,
        content: &Content,
        reverted: &[u64],
        asked: Asked<'_>,
    ) -> WriteSettings {
        let reason = version.reason.clone().unwrap_or_default();
        let hive = self.0.ledger.hive_id();
        let put_aside = book.content.file_hash.clone();
        let put_aside = put_aside.filter(|_| content.file_hash != book.content.file_hash);
        let settle = reverted.iter().map(|number| SettledVersion {
            reason: Some(reason.clone()),
            ..SettledVersion::to(*number, SettingsOutcome::Reverted)
        });
        WriteSettings {
            expected: book.newest,
            settle: settle.collect(),
            add: Some(StoredSettings {
                version: version.clone(),
                content: content.stored(),
            }),
            rejected: put_aside.map_or(Note::Keep, Note::Set),
            taken_back: match asked {
                Asked::ByHive => Note::Set(format!("version {}: {reason}", reverted[0])),
                Asked::By(_) => Note::Clear,
            },
            ended_under: Note::Keep,
            events: vec![event(
                Action::ConfigReverted,
                &version.actor,
                &hive,
                version,
                reverted,
            )],
            keep: self.0.settings.get().settings.keep_versions,
            mends: true,
        }
    }
}
