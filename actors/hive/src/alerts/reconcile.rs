//! The difference between the open alerts and the conditions that hold.

use std::{collections::HashMap, time::Duration};

use deia_ledger::{SeenAlert, SettleAlerts};
use deia_model::{Alert, AlertId, Condition, Timestamp};

/// Interval at which an open alert is recorded as seen. Fixed: each write costs a part of
/// a commit, and nobody sees this delay.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// Interval at which old alerts are forgotten. Fixed: short enough that nobody waits for
/// it, and each look costs little.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Times that decide when an alert ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Time for which a condition must be gone before its alert is resolved.
    pub(super) resolve_after: Duration,
    /// Time for which resolved alerts are kept.
    pub(super) retention: Duration,
}

/// Decides which alerts are raised and which are resolved. A condition that comes and goes
/// within [`Times::resolve_after`] is one alert. Losing this only starts that time again.
#[derive(Default)]
pub(super) struct Reconciler {
    gone_since: HashMap<AlertId, Timestamp>,
    forgot_at: Option<Timestamp>,
}

impl Reconciler {
    /// Returns the command that brings the open alerts in line with the conditions that
    /// hold; `None`: there is nothing to do.
    pub(super) fn settle(
        &mut self,
        open: &[Alert],
        holding: Vec<Condition>,
        now: Timestamp,
        times: Times,
    ) -> Option<SettleAlerts> {
        let mut command = SettleAlerts::default();
        self.gone_since
            .retain(|id, _| open.iter().any(|alert| alert.id == *id));
        for alert in open {
            match holding.iter().find(|condition| alert.is_of(condition)) {
                Some(condition) => {
                    self.gone_since.remove(&alert.id);
                    if since(alert.last_seen, now) >= SEEN_EVERY {
                        command.seen.push(SeenAlert {
                            alert: alert.id,
                            what: condition.what.clone(),
                        });
                    }
                }
                None => {
                    let gone = *self.gone_since.entry(alert.id).or_insert(now);
                    if since(gone, now) >= times.resolve_after {
                        command.resolve.push(alert.id);
                    }
                }
            }
        }
        let is_new = |condition: &Condition| !open.iter().any(|alert| alert.is_of(condition));
        command.raise = holding.into_iter().filter(is_new).collect();
        if self
            .forgot_at
            .is_none_or(|at| since(at, now) >= FORGET_EVERY)
        {
            self.forgot_at = Some(now);
            let retention = u64::try_from(times.retention.as_millis()).unwrap_or(u64::MAX);
            command.forget_before = Some(now.minus_millis(retention));
        }
        (command != SettleAlerts::default()).then_some(command)
    }
}

fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(now.millis_since(earlier))
}

#[cfg(test)]
mod tests {
    use deia_model::{AlertName, EventLevel, EventTarget, TargetType};

    use super::*;

    const TIMES: Times = Times {
        resolve_after: Duration::from_secs(30),
        retention: Duration::from_secs(3_600),
    };

    fn condition(bot: &str) -> Condition {
        Condition {
            name: AlertName::BotFailing,
            target_type: TargetType::Bot,
            target: bot.into(),
            what: format!("bot {bot} fails"),
            what_to_do: "look".into(),
        }
    }

    fn alert(bot: &str, seconds: i64) -> Alert {
        Alert {
            id: AlertId::new(),
            name: "bot_failing".into(),
            target: EventTarget {
                r#type: "bot".into(),
                id: bot.into(),
            },
            level: EventLevel::Critical,
            since: at(seconds),
            last_seen: at(seconds),
            what: "bot fails".into(),
            what_to_do: "look".into(),
            acknowledged_by: None,
            acknowledged_at: None,
            resolved_at: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1_000)
    }

    /// Returns a reconciler that has just forgotten old alerts.
    fn reconciler() -> Reconciler {
        Reconciler {
            forgot_at: Some(at(1_000_000)),
            ..Reconciler::default()
        }
    }

    #[test]
    fn only_what_is_new_is_raised() {
        let open = [alert("a", 0)];
        let holding = vec![condition("a"), condition("b")];
        let command = reconciler().settle(&open, holding, at(10), TIMES).unwrap();
        assert_eq!(command.raise, [condition("b")]);
        assert!(command.seen.is_empty() && command.resolve.is_empty());
        let same = reconciler().settle(&open, vec![condition("a")], at(59), TIMES);
        assert_eq!(
            same, None,
            "nothing is written for an alert that was just seen"
        );
    }

    #[test]
    fn open_alert_is_seen_once_a_minute() {
        let open = [alert("a", 0)];
        let command = reconciler().settle(&open, vec![condition("a")], at(60), TIMES);
        let [seen] = &command.unwrap().seen[..] else {
            panic!("one is seen");
        };
        assert_eq!((seen.alert, &*seen.what), (open[0].id, "bot a fails"));
    }

    #[test]
    fn condition_that_comes_and_goes_is_one_alert() {
        let open = [alert("a", 0)];
        let mut it = reconciler();
        assert_eq!(it.settle(&open, vec![], at(1), TIMES), None);
        assert_eq!(it.settle(&open, vec![condition("a")], at(20), TIMES), None);
        assert_eq!(it.settle(&open, vec![], at(40), TIMES), None);
        assert_eq!(it.settle(&open, vec![], at(69), TIMES), None);
        let command = it.settle(&open, vec![], at(70), TIMES).unwrap();
        assert_eq!(command.resolve, [open[0].id]);
    }

    #[test]
    fn old_alerts_are_forgotten_from_time_to_time() {
        let mut it = Reconciler::default();
        let forget = |it: &mut Reconciler, now| {
            let command = it.settle(&[], vec![], at(now), TIMES);
            command.and_then(|command| command.forget_before)
        };
        assert_eq!(forget(&mut it, 0), Some(at(-3_600)));
        assert_eq!(forget(&mut it, 59), None);
        assert_eq!(forget(&mut it, 60), Some(at(-3_540)));
    }
}
