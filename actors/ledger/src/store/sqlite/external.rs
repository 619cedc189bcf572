//! Events that other systems record.

use deia_model::external_violations;

use super::{
    entry::{Entry, EntryAction, Target},
    errors::ApplyError,
    idempotency::{remember, remembered},
    transaction::Tx,
};
use crate::{AppendExternal, Rejection, Reply};

/// Appends the event of a command. Only callers who see everything may see it: the name of
/// the target means nothing to deia.
pub(super) fn append(tx: &mut Tx<'_>, command: &AppendExternal) -> Result<Reply, ApplyError> {
    let violations = external_violations(&command.target, &command.details);
    if !violations.is_empty() {
        return Err(Rejection::Invalid(violations).into());
    }
    if let Some(idempotency) = &command.idempotency
        && let Some(seq) = remembered(tx, &command.actor, idempotency)?
    {
        return Ok(Reply::Appended(seq));
    }
    let seq = tx.next_event().unsigned_abs();
    let details = (!command.details.is_null()).then(|| command.details.to_string());
    tx.log(&Entry {
        action: EntryAction::External(&command.action),
        level: Some(command.level),
        actor: &command.actor,
        target: Target::Named(&command.target),
        target_type: None,
        result: command.result,
        details: details.as_deref(),
        trace_id: command.trace_id.as_deref(),
        owner: None,
        task: None,
    })?;
    if let Some(idempotency) = &command.idempotency {
        remember(tx, &command.actor, idempotency, &seq)?;
    }
    Ok(Reply::Appended(seq))
}
