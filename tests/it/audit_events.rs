//! Every route that changes something leaves its event, as `docs/AUDIT-EVENTS.md` says.

mod by_itself;
mod recipes;
mod walk;

use std::{fs, path::PathBuf};

use deia::http::{Leaves, audit_events_page, table};

use self::walk::Walk;

/// Number of kinds of actions that the whole walk leaves at least.
const KINDS: usize = 15;

#[test]
fn page_of_events_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/AUDIT-EVENTS.md");
    let page = audit_events_page();
    if std::env::var_os("DEIA_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let hint = "docs/AUDIT-EVENTS.md is stale: DEIA_BLESS=1 cargo test --test it audit_events";
    assert!(committed == page, "{hint}");
}

/// Calls every route of the table that does not only read, as a user who does nothing else:
/// so events of the set-up, and those that follow from it, are told apart.
#[actix_rt::test]
async fn every_change_leaves_its_event_with_its_caller() {
    let mut walk = Walk::start().await;
    let mut rows: Vec<_> = table()
        .into_iter()
        .filter_map(|route| {
            Some((
                format!("{} {}", route.method, route.template()),
                route.leaves?,
            ))
        })
        .collect();
    assert!(rows.len() > 40, "{}", rows.len());
    // A restart ends what the others have set up.
    rows.sort_by_key(|(route, _)| route.ends_with("/system/restart"));
    for (route, leaves) in rows {
        let before = walk.newest_event().await;
        let Some(request) = recipes::request(&mut walk, &route).await else {
            panic!("{route} has no recipe in tests/it/audit_events/recipes.rs");
        };
        let answer = walk.app.send(request).await;
        assert!((200..300).contains(&answer.status), "{route}: {answer:#?}");
        match leaves {
            Leaves::Events(actions) => {
                let declared = |name: &str| actions.iter().any(|action| action.as_str() == name);
                walk.leaves(&route, before, declared).await;
            }
            Leaves::External => {
                walk.leaves(&route, before, |name| name.starts_with("ext."))
                    .await;
            }
            Leaves::Nothing(_) => {
                let found = walk.events_of_caller_after(before).await;
                assert!(found.is_empty(), "{route} left {found:?}");
            }
        }
        recipes::clean_up(&walk, &route).await;
    }
    by_itself::cause(&mut walk).await;
    let kinds = walk.all_kinds().await;
    assert!(kinds.len() >= KINDS, "{kinds:?}");
}
