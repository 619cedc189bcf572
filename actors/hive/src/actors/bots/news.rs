//! What happens to bots in the tree, as events of the log.

use deia_model::{Action, BotName, NewEvent};
use deia_supervision::EventKind;

use super::board::Card;

/// The event that tells of it, if any; what is seen goes onto the card.
pub(super) fn news_of(kind: &EventKind, name: &BotName, card: &Card) -> Option<NewEvent> {
    let event = |action| NewEvent::new(action, "deia", name.as_str());
    match kind {
        EventKind::Started { .. } => {
            card.set_suspended(false);
            Some(event(Action::BotStarted))
        }
        EventKind::Crashed { exit, .. } => {
            card.crashed(exit.to_string());
            let details = serde_json::json!({"cause": exit.code(), "message": exit.message()});
            Some(event(Action::BotCrashed).failure().details(details))
        }
        EventKind::Restarted { incarnation } => {
            card.set_suspended(false);
            card.restarted();
            Some(event(Action::BotRestarted).details(serde_json::json!({"start": incarnation})))
        }
        EventKind::Quarantined { exit } => {
            card.quarantined();
            Some(
                event(Action::BotQuarantined)
                    .failure()
                    .details(serde_json::json!({"cause": exit.to_string()})),
            )
        }
        EventKind::Suspended { .. } => {
            card.set_suspended(true);
            None
        }
        EventKind::Resumed => {
            card.set_suspended(false);
            None
        }
        _ => None,
    }
}
