//! Budgets, followed from outside.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use deia_supervision::{EventKind, EventStream};
use tokio::time::Instant;

use super::{Built, PERIOD, RESTARTS};

/// Follows the events of a tree to its end: a supervisor gives up, and a child with a budget of its
/// own is quarantined, at the restart that is one too many within the period, and at no other.
pub(super) async fn watch(mut events: EventStream, built: Rc<RefCell<Built>>) {
    let mut restarts: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    while let Some(received) = events.recv().await {
        let Ok(event) = received else {
            continue; // what was missed could only be restarts of long ago
        };
        // On a paused clock, what is received now has happened now.
        let now = Instant::now();
        let path = event.path.to_string();
        let own = format!("own budget of {path}");
        let has_own = {
            let built = built.borrow();
            let known = built.workers.iter().find(|known| known.path == path);
            known.is_some_and(|known| known.quarantine)
        };
        let recent = |of: &str| {
            let times = restarts.get(of).map(Vec::as_slice).unwrap_or_default();
            times.iter().filter(|then| now - **then <= PERIOD).count()
        };
        match &event.kind {
            EventKind::Restarting { .. } => {
                let parent = path.rsplit_once('/').unwrap().0;
                let account = if has_own { &*own } else { parent };
                assert!(
                    recent(account) < RESTARTS as usize,
                    "{path} was restarted too often"
                );
                restarts.entry(account.to_owned()).or_default().push(now);
            }
            EventKind::Escalated { .. } => {
                assert_eq!(recent(&path), RESTARTS as usize, "{path} gave up too early");
            }
            EventKind::Quarantined { .. } => {
                assert_eq!(
                    recent(&own),
                    RESTARTS as usize,
                    "{path} was quarantined too early"
                );
            }
            // By hand, with a whole budget.
            EventKind::Started { .. } | EventKind::Resumed => {
                restarts.remove(&own);
            }
            // If it was a supervisor, its next run has a budget of its own, and so have its
            // children.
            EventKind::Crashed { .. } | EventKind::Stopped { .. } => {
                let below = format!("own budget of {path}/");
                restarts.retain(|account, _| *account != path && !account.starts_with(&below));
            }
            _ => {}
        }
    }
}
