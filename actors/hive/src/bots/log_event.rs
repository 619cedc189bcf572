//! Audit events for what happens to bots in the tree.

use deia_model::{Action, BotName, NewEvent};
use deia_supervision::EventKind;

use super::registry::{BotGauges, Trouble};

/// Returns the event to record, if any, and notes the observation on the gauges.
pub(super) fn log_event_of(
    kind: &EventKind,
    name: &BotName,
    gauges: &BotGauges,
) -> Option<NewEvent> {
    let event = |action| NewEvent::new(action, "deia", name.as_str());
    match kind {
        EventKind::Started { .. } => {
            gauges.set_suspended(false);
            gauges.trouble_over();
            Some(event(Action::BotStarted))
        }
        EventKind::Crashed { exit, .. } => {
            gauges.crashed(exit.to_string());
            let details = serde_json::json!({"cause": exit.code(), "message": exit.message()});
            Some(event(Action::BotCrashed).failure().details(details))
        }
        EventKind::Restarted { incarnation } => {
            gauges.set_suspended(false);
            gauges.trouble_over();
            gauges.restarted();
            Some(event(Action::BotRestarted).details(serde_json::json!({"start": incarnation})))
        }
        EventKind::Stuck { message_type } => {
            gauges.troubled(Trouble::Stuck);
            let details = serde_json::json!({"message_type": message_type});
            Some(event(Action::BotStuck).failure().details(details))
        }
        EventKind::Stalled { waiting } => {
            gauges.troubled(Trouble::Stalled { waiting: *waiting });
            let details = serde_json::json!({"waiting": waiting});
            Some(event(Action::BotStalled).failure().details(details))
        }
        EventKind::Recovered => {
            gauges.trouble_over();
            Some(event(Action::BotRecovered))
        }
        EventKind::Moved => {
            gauges.trouble_over();
            Some(event(Action::BotMoved))
        }
        EventKind::Quarantined { exit } => {
            gauges.quarantined();
            Some(
                event(Action::BotQuarantined)
                    .failure()
                    .details(serde_json::json!({"cause": exit.to_string()})),
            )
        }
        EventKind::Suspended { .. } => {
            gauges.set_suspended(true);
            None
        }
        EventKind::Resumed => {
            gauges.set_suspended(false);
            None
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use deia_supervision::ExitReason;

    use super::*;
    use crate::bots::registry::BotRegistry;

    #[test]
    fn events_of_a_bot_are_recorded_and_shown_until_they_are_over() {
        let stuck = || EventKind::Stuck {
            message_type: Some("Run"),
        };
        let stalled = || EventKind::Stalled { waiting: 7 };
        let crashed = EventKind::Crashed {
            incarnation: 1,
            exit: ExitReason::Stalled,
        };
        let restarted = EventKind::Restarted { incarnation: 2 };
        let started = EventKind::Started { incarnation: 1 };
        let waiting = Trouble::Stalled { waiting: 7 };
        // The trouble before, the supervision event, its action, and the trouble after.
        for (before, kind, action, left) in [
            (None, stuck(), Action::BotStuck, Some(Trouble::Stuck)),
            (None, stalled(), Action::BotStalled, Some(waiting)),
            (
                Some(stalled()),
                EventKind::Recovered,
                Action::BotRecovered,
                None,
            ),
            (Some(stuck()), EventKind::Moved, Action::BotMoved, None),
            (Some(stalled()), crashed, Action::BotCrashed, Some(waiting)),
            (Some(stalled()), restarted, Action::BotRestarted, None),
            (Some(stuck()), started, Action::BotStarted, None),
        ] {
            let (registry, bot) = (BotRegistry::default(), "b".parse::<BotName>().unwrap());
            let gauges = registry.gauges(&bot);
            let _ = before.map(|before| log_event_of(&before, &bot, &gauges));
            let event = log_event_of(&kind, &bot, &gauges).unwrap();
            assert_eq!((event.action, &*event.target), (action, "b"), "{kind:?}");
            assert_eq!(registry.snapshot(&bot).trouble, left, "{kind:?}");
        }
    }
}
