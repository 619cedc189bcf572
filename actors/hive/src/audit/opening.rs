//! Opening the trail at a start, and after a failure.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use deia_ledger::{Advance, Apply, BeginTimeline, Ledger, Rejection, SealedTrail, StoreError};
use deia_model::{Action, EventLevel, EventResult, EventRow, Position, Timestamp};
use deia_trail::{
    Beginning, OnChange, Trail, TrailOptions, TrailReader, entry::Entry, note::SigningKey, proof,
};

use super::{
    events, key,
    plan::{Found, Plan, new_histories, plan, random_text},
    shipped,
    work::{AuditError, NAME, Open, Work},
};
use crate::config::Config;

/// Parts that a trail is opened with.
struct Needs {
    dir: PathBuf,
    key: PathBuf,
    known: Option<SealedTrail>,
    /// Origin of a first log.
    origin: String,
    take_over: bool,
    on_change: OnChange,
}

/// A trail that was opened.
struct Ready {
    trail: Trail,
    /// Origin and reason of a log that was begun behind another one.
    another: Option<(String, &'static str)>,
}

/// Opens the trail. Enlists the writer first, so that the store keeps the events even if the
/// trail cannot be opened.
pub(super) async fn open(work: &Work, take_over: bool) -> Result<Open, AuditError> {
    let cursor = enlist(work).await?;
    let config = work.settings.get();
    let origin = match config.audit.origin.as_str() {
        "" => format!("deia.local/{}", work.ledger.hive_id()),
        named => named.to_owned(),
    };
    let known = work.ledger.sealed_trail().await?;
    let needs = Needs {
        dir: config.audit_dir(),
        key: config.audit_key_path(),
        known: known.clone(),
        origin,
        take_over,
        on_change: shipped::on_change(work),
    };
    let Ready { trail, another } = tokio::task::spawn_blocking(move || ready(&needs)).await??;
    if let Some((origin, reason)) = another {
        tracing::error!(%origin, reason, "a new log of the audit trail begins");
        events::record_beginning(&work.ledger, &origin, reason).await?;
    }
    shipped::note_opened(work, trail.size());
    begin_histories(&work.ledger, trail.last()).await?;
    // Events that are in the trail are not read again.
    let read_upto = trail.last().unwrap_or(cursor);
    let size_known = known.filter(|known| known.origin == trail.origin());
    let is_news = size_known.is_none_or(|known| known.size < trail.sealed_size());
    work.state.opened(read_upto.seq, |progress| {
        progress.origin = trail.origin().to_owned();
        progress.size = trail.sealed_size();
        if let Some(signed) = trail.sealed() {
            progress.checkpoint = signed.note.to_text();
        }
    });
    Ok(Open {
        cursor,
        read_upto,
        trail,
        sealed_at: None,
        is_news,
        gaps: Vec::new(),
    })
}

/// Begins new histories of events if the store is older than a trail that ends there: its new
/// events must not be taken for those that the trail has.
async fn begin_histories(ledger: &Ledger, last: Option<Position>) -> Result<(), StoreError> {
    loop {
        let head = ledger.log_head().await?;
        if new_histories(last, head) == 0 {
            return Ok(());
        }
        let after = head.timeline;
        match ledger.apply(BeginTimeline { after }).await {
            Ok(_) => tracing::warn!(
                "the store is older than the audit trail beside it: a new history of events begins"
            ),
            // The start and the writer both look.
            Err(StoreError::Refused(Rejection::CursorMoved { .. })) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Begins new histories of events before a start records anything. A trail that cannot be read
/// is left to its writer.
pub(crate) async fn align(ledger: &Ledger, config: &Config) -> Result<(), StoreError> {
    let trail = TrailReader::new(config.audit_dir());
    let reading = move || {
        let size = trail.checkpoint().ok()??.checkpoint.head.size;
        let bundle = trail.bundle(size.checked_sub(1)? / 256, size).ok()?;
        let last = Entry::parse(bundle.iter().next_back()?).ok()?;
        Some(last.position())
    };
    let last = tokio::task::spawn_blocking(reading).await.ok().flatten();
    begin_histories(ledger, last).await
}

/// Makes the store keep the events that are not entered, and returns the cursor.
async fn enlist(work: &Work) -> Result<Position, AuditError> {
    let at = work.ledger.cursor(NAME).await?;
    let followers = work.ledger.followers().await?;
    if followers.iter().any(|it| it.name == NAME.0 && it.binding) {
        return Ok(at);
    }
    let enlist = Advance {
        follower: NAME,
        binding: true,
        from: at,
        to: at,
        effects: Vec::new(),
    };
    match work.ledger.apply(enlist).await {
        Ok(()) | Err(StoreError::Refused(Rejection::CursorMoved { .. })) => Ok(at),
        Err(error) => Err(error.into()),
    }
}

fn ready(needs: &Needs) -> Result<Ready, AuditError> {
    let is_there = needs.dir.join("checkpoint").exists() || needs.dir.join("checkpoints").exists();
    let keys = match key::load(&needs.key).map_err(AuditError::Key)? {
        Some(keys) => keys,
        None if is_there => {
            return Err(AuditError::Key(format!(
                "{} is missing: put it back, or move {} away and a new log begins",
                needs.key.display(),
                needs.dir.display()
            )));
        }
        None => {
            let keys = vec![key::generate(&needs.origin).map_err(AuditError::Key)?];
            key::store(&needs.key, &keys).map_err(AuditError::Key)?;
            keys
        }
    };
    let opened = match is_there {
        true => Trail::open(options(needs, keys)).map_err(|(error, _)| error)?,
        false => None,
    };
    let found = match &opened {
        Some(trail) => Some(found(trail, needs.known.as_ref())?),
        None => None,
    };
    let random = random_text();
    match (plan(found.as_ref(), needs.known.as_ref(), &random), opened) {
        (Plan::GoOn, Some(trail)) => Ok(Ready {
            trail: finish_rotation(trail, &needs.key)?,
            another: None,
        }),
        (Plan::GoOn | Plan::BeginFirst, _) => {
            // Tiles without a checkpoint are of a log that is not known.
            set_aside(&needs.dir)?;
            Ok(Ready {
                trail: begin(needs, &needs.origin, None)?,
                another: None,
            })
        }
        (
            Plan::BeginAnother {
                origin,
                after,
                reason,
            },
            opened,
        ) => {
            drop(opened);
            set_aside(&needs.dir)?;
            let mut trail = begin(needs, &origin, Some(&first_entry(&after)))?;
            trail.seal(Timestamp::now())?;
            Ok(Ready {
                trail,
                another: Some((origin, reason)),
            })
        }
    }
}

fn begin(needs: &Needs, origin: &str, first: Option<&EventRow<'_>>) -> Result<Trail, AuditError> {
    let keys = key::load(&needs.key).map_err(AuditError::Key)?;
    let keys: Vec<SigningKey> = keys.into_iter().flatten().collect();
    let beginning = Beginning { origin, first };
    Ok(Trail::begin(options(needs, keys), &beginning)?)
}

fn options(needs: &Needs, keys: Vec<SigningKey>) -> TrailOptions {
    TrailOptions {
        dir: needs.dir.clone(),
        keys,
        hook: deia_ledger::failpoint::hit,
        take_over: needs.take_over,
        on_change: needs.on_change.clone(),
    }
}

fn found(trail: &Trail, known: Option<&SealedTrail>) -> Result<Found, AuditError> {
    let sealed = trail.sealed_size();
    let root_known_to_store = match known {
        Some(known) if known.size <= sealed => {
            let root = proof::root(&trail.reader().tree(sealed), known.size);
            let root = root.map_err(deia_trail::TrailError::from)?;
            Some(root.unwrap_or_else(deia_trail::hash::empty_root))
        }
        _ => None,
    };
    Ok(Found {
        origin: trail.origin().to_owned(),
        size: trail.size(),
        root_known_to_store,
    })
}

/// Ends a change of keys that a crash has interrupted: the next checkpoint has the signatures of
/// both, the one after it that of the new key.
fn finish_rotation(mut trail: Trail, path: &Path) -> Result<Trail, AuditError> {
    let Some(name) = trail.keys().first().map(|key| key.name().clone()) else {
        return Ok(trail);
    };
    if trail.keys().len() > 1 {
        let named = |key: &SigningKey| {
            let again = key.named(&name);
            again.map_err(|error| AuditError::Key(error.to_string()))
        };
        let both: Vec<_> = trail.keys().iter().map(named).collect::<Result<_, _>>()?;
        let newest = trail.keys().last().map(named).transpose()?;
        // The list of keys has the new one before anything is signed with it: a crash further
        // on leaves one key in the file, and nothing that would add it to the list.
        trail.set_keys(both)?;
        trail.seal(Timestamp::now())?;
        if let Some(newest) = newest {
            key::store(path, std::slice::from_ref(&newest)).map_err(AuditError::Key)?;
            deia_ledger::failpoint::hit("audit_new_key_stored");
            trail.set_keys(vec![newest])?;
        }
    }
    Ok(trail)
}

/// Moves a log that has ended to `audit-former/<n>` beside it, as a whole, where it can be
/// verified. Does nothing if there are no tiles.
fn set_aside(dir: &Path) -> Result<(), AuditError> {
    let failed = |error: std::io::Error| AuditError::Trail(error.into());
    let above = dir.parent().unwrap_or(Path::new("."));
    if !dir.join("tile").exists() {
        return Ok(());
    }
    let former = above.join("audit-former");
    match DirBuilder::new().mode(0o700).create(&former) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(error));
        }
        _ => {}
    }
    let number = (1..=u32::MAX).find(|n| !former.join(n.to_string()).exists());
    let aside = former.join(number.unwrap_or(u32::MAX).to_string());
    std::fs::rename(dir, aside).map_err(failed)?;
    for changed in [&former, above] {
        let synced = std::fs::File::open(changed).and_then(|dir| dir.sync_all());
        synced.map_err(failed)?;
    }
    Ok(())
}

/// Returns the event of the first entry of a log that follows another one: the last known
/// checkpoint of that one.
fn first_entry(after: &str) -> EventRow<'_> {
    EventRow {
        seq: 0,
        timeline: 0,
        at: Timestamp::now(),
        action: Action::AuditBegan.as_str(),
        level: EventLevel::Critical,
        actor: "deia",
        target_type: "checkpoint",
        target_id: after,
        owner: None,
        result: EventResult::Success,
        task_type: None,
        bot_id: None,
        tags: None,
        attempt: None,
        status: None,
        session_id: None,
        v: 1,
        details: None,
        wait_ms: None,
        run_ms: None,
        trace_id: None,
    }
}
