//! Replacing the key of the trail: for one checkpoint both keys sign, so that whoever trusts the
//! old one can trust the new one.

use deia_ledger::RecordEvents;
use deia_model::{Action, NewEvent, Principal, Timestamp};
use deia_trail::note::{SigningKey, VerifierKey};

use super::{
    key,
    work::{AuditError, Held, Work},
};
use crate::{HiveError, access::AccessApi};

/// Replaces the key, and returns its verifier. The event is recorded first: its entry is covered
/// by the checkpoint that both keys sign. A crash in between is completed by the next start.
pub(super) async fn rotate(
    work: &Work,
    access: &AccessApi,
    who: &Principal,
) -> Result<VerifierKey, AuditError> {
    let held = work.hold().await?;
    let open = held.as_ref().ok_or(AuditError::NotOpen)?;
    let new = key::generate(open.trail.origin()).map_err(AuditError::Key)?;
    drop(held);
    let verifier = new.verifier();
    let event = NewEvent::new(Action::AuditKeyRotated, &*who.user, verifier.to_string());
    let recorded = access.apply_for(who, RecordEvents(vec![event])).await;
    recorded.map_err(HiveError::from)?;
    // The event must be in the trail before both keys sign.
    work.seal_all().await?;
    let held = work.hold().await?;
    let path = work.settings.get().audit_key_path();
    let changing = move || change(held, new, &path);
    tokio::task::spawn_blocking(changing).await??;
    work.notes.look_at_all();
    work.seal_all().await?;
    Ok(verifier)
}

fn change(mut held: Held, new: SigningKey, path: &std::path::Path) -> Result<(), AuditError> {
    let mut open = held.take().ok_or(AuditError::NotOpen)?;
    let again = |key: &SigningKey| {
        let name = key.name().clone();
        key.named(&name)
            .map_err(|error| AuditError::Key(error.to_string()))
    };
    let mut both = Vec::new();
    for key in open.trail.keys() {
        both.push(again(key)?);
    }
    both.push(again(&new)?);
    key::store(path, &both).map_err(AuditError::Key)?;
    deia_ledger::failpoint::hit("audit_between_keys");
    open.trail.set_keys(both)?;
    open.trail.seal(Timestamp::now())?;
    deia_ledger::failpoint::hit("audit_both_signed");
    key::store(path, std::slice::from_ref(&new)).map_err(AuditError::Key)?;
    open.trail.set_keys(vec![new])?;
    open.is_news = true;
    *held = Some(open);
    Ok(())
}

#[cfg(test)]
mod tests;
