//! Log of refused requests, aggregated so that a flood of refusals does not become a flood of
//! events.
//!
//! For each reason and caller, the first refusals of a minute are events of their own; later ones
//! are counted, and the count is reported when the minute is over. Callers beyond a limit share
//! one count. So the event log gets a bounded number of events a minute, and every refusal is
//! part of a count.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use deia_model::{Action, AddressRange, KeyId, NewEvent, Permission, Timestamp};
use serde_json::{Map, Value};

use crate::config::AuthSettings;

/// Time for which refusals of the same kind are counted in one record, in milliseconds.
/// Fixed: refusals of one caller in a minute are one record, so that it cannot fill the
/// log.
const WINDOW_MS: u64 = 60_000;
/// Placeholder names of the callers beyond the number that are tracked individually: anonymous
/// callers, and callers with a genuine credential, so that the former do not hide the latter. No
/// user has a name with a colon.
const OTHERS: &str = "address:others";
const OTHER_USERS: &str = "user:others";

/// A request that was answered with 401 or 403. There is no credential in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenialRecord {
    /// Code of the problem.
    pub reason: &'static str,
    /// Name of the user, if the credential proves one.
    pub user: Option<String>,
    /// Address that the request came from.
    pub address: Option<IpAddr>,
    /// Id of the key, if its secret was right.
    pub key: Option<KeyId>,
    /// Permission that the caller lacked.
    pub permission: Option<Permission>,
    /// Requested route: the method and the template of the path.
    pub route: String,
}

impl DenialRecord {
    /// Returns the caller as far as it is known: the actor of the event.
    fn caller(&self) -> String {
        match (&self.user, &self.address) {
            (Some(user), _) => user.clone(),
            (None, Some(address)) => format!("address:{}", AddressRange::of_caller(*address)),
            (None, None) => "address:unknown".to_owned(),
        }
    }
}

/// Aggregates refused requests into a bounded number of events.
#[derive(Debug)]
pub struct DenialLog {
    per_minute: u64,
    callers_max: usize,
    gathered: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    since: Option<Timestamp>,
    /// Counts of anonymous callers, by reason and caller.
    anonymous: HashMap<(&'static str, String), Count>,
    /// Counts of callers whose credential was genuine, by reason and caller.
    users: HashMap<(&'static str, String), Count>,
}

#[derive(Debug)]
struct Count {
    last: DenialRecord,
    untold: u64,
    events: u64,
}

impl DenialLog {
    /// Creates an empty log with these limits.
    pub fn new(settings: &AuthSettings) -> Self {
        Self {
            per_minute: settings.denied_events_per_minute.into(),
            callers_max: settings.denied_callers_max as usize,
            gathered: Mutex::default(),
        }
    }

    /// Records a refusal. Takes a short lock, and does no I/O.
    pub fn note(&self, denial: DenialRecord) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let Gathered {
            anonymous, users, ..
        } = &mut *gathered;
        let (callers, others) = match denial.user {
            None => (anonymous, OTHERS),
            Some(_) => (users, OTHER_USERS),
        };
        let mut of = (denial.reason, denial.caller());
        if callers.len() >= self.callers_max && !callers.contains_key(&of) {
            of.1 = others.into();
        }
        match callers.get_mut(&of) {
            Some(count) => {
                count.untold += 1;
                count.last = denial;
            }
            None => {
                let count = Count {
                    last: denial,
                    untold: 1,
                    events: 0,
                };
                callers.insert(of, count);
            }
        }
    }

    /// Returns the events that are due at that time; with `all`, also those that would wait.
    pub fn due(&self, now: Timestamp, all: bool) -> Vec<NewEvent> {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.anonymous.is_empty() && gathered.users.is_empty() {
            gathered.since = None;
            return Vec::new();
        }
        let since = *gathered.since.get_or_insert(now);
        let over = now.millis_since(since) >= WINDOW_MS;
        let mut events = Vec::new();
        let Gathered {
            anonymous, users, ..
        } = &mut *gathered;
        for ((_, caller), count) in anonymous.iter_mut().chain(users) {
            let due = all || over || count.events < self.per_minute;
            if due && count.untold > 0 {
                events.push(event(caller, count));
                count.untold = 0;
                count.events += 1;
            }
        }
        if over {
            *gathered = Gathered::default();
        }
        events
    }
}

fn event(caller: &str, count: &Count) -> NewEvent {
    let last = &count.last;
    let mut details = Map::new();
    details.insert("reason".into(), last.reason.into());
    details.insert("count".into(), count.untold.into());
    let more: [(&str, Option<Value>); 3] = [
        (
            "address",
            last.address.map(|address| address.to_string().into()),
        ),
        ("key", last.key.map(|key| key.to_string().into())),
        (
            "permission",
            last.permission.map(|lacking| lacking.as_str().into()),
        ),
    ];
    for (name, value) in more {
        details.extend(value.map(|value| (name.to_owned(), value)));
    }
    NewEvent::new(Action::ApiDenied, caller, last.route.clone())
        .failure()
        .details(details.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial_log(per_minute: u32, callers_max: u32) -> DenialLog {
        let settings = crate::config::Config::defaults().unwrap().auth;
        DenialLog::new(&AuthSettings {
            denied_events_per_minute: per_minute,
            denied_callers_max: callers_max,
            ..settings
        })
    }

    fn denial(reason: &'static str, caller: &str) -> DenialRecord {
        DenialRecord {
            reason,
            user: None,
            address: caller.parse().ok(),
            key: None,
            permission: None,
            route: "GET /api/v1/tasks".into(),
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn counts(events: &[NewEvent]) -> u64 {
        let count = |event: &NewEvent| event.details["count"].as_u64().unwrap();
        events.iter().map(count).sum()
    }

    #[test]
    fn a_flood_is_few_events_and_an_exact_count() {
        let denial_log = denial_log(2, 10);
        let (mut events, mut told) = (0, 0);
        for second in 0..180 {
            for _ in 0..1_000 {
                denial_log.note(denial("key_unknown", "192.0.2.7"));
            }
            let due = denial_log.due(at(second * 1_000), false);
            events += due.len();
            told += counts(&due);
        }
        let rest = denial_log.due(at(180_000), true);
        assert_eq!(told + counts(&rest), 180_000);
        assert!(events + rest.len() <= 4 * 3, "{events}");
        assert_eq!(denial_log.due(at(181_000), true), []);
    }

    #[test]
    fn many_callers_share_a_count() {
        let denial_log = denial_log(2, 3);
        for i in 0..1_000 {
            denial_log.note(denial(
                "key_unknown",
                &format!("192.0.{}.{}", i / 256, i % 256),
            ));
        }
        let due = denial_log.due(at(0), false);
        assert_eq!((due.len(), counts(&due)), (4, 1_000));
        assert!(due.iter().any(|event| event.actor == OTHERS));
        // Anonymous callers do not hide a caller with a genuine key.
        denial_log.note(DenialRecord {
            user: Some("ada".into()),
            ..denial("key_address", "192.0.2.9")
        });
        let due = denial_log.due(at(1), false);
        assert!(due.iter().any(|event| event.actor == "ada"), "{due:?}");
    }

    #[test]
    fn who_it_was() {
        let user = Some("ada".to_owned());
        for (user, address, expected) in [
            (user, "192.0.2.7", "ada"),
            (None, "192.0.2.7", "address:192.0.2.7"),
            (None, "::ffff:192.0.2.7", "address:192.0.2.7"),
            (None, "2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
            (None, "not told", "address:unknown"),
        ] {
            let denial = DenialRecord {
                user,
                ..denial("key_unknown", address)
            };
            assert_eq!(denial.caller(), expected);
        }
    }

    #[test]
    fn reasons_and_callers_are_apart() {
        let denial_log = denial_log(1, 10);
        denial_log.note(denial("key_unknown", "192.0.2.1"));
        denial_log.note(denial("key_unknown", "192.0.2.2"));
        denial_log.note(denial("key_missing", "192.0.2.1"));
        assert_eq!(denial_log.due(at(0), false).len(), 3);
        denial_log.note(denial("key_unknown", "192.0.2.1"));
        assert_eq!(denial_log.due(at(1_000), false), [], "one a minute");
        let late = denial_log.due(at(60_000), false);
        assert_eq!((late.len(), counts(&late)), (1, 1));
    }
}
