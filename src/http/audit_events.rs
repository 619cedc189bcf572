//! The page of all routes that change something, and the events that they leave.

use std::{collections::HashSet, fmt::Write as _};

use deia_model::Action;

use crate::http::{
    guard::policy::Access,
    route::{Leaves, Route},
    table::table,
};

/// Returns the page: `docs/AUDIT-EVENTS.md`.
pub fn audit_events_page() -> String {
    let table = table();
    let mut page = String::from(
        "# Events of changes\n\n\
         Every change records an event in the log, written in the transaction of the change, and each\n\
         event becomes an entry of the audit trail. This page is generated from the table of routes; a\n\
         test calls each of these routes and looks for its event.\n\n\
         A successful call records at least one of the events of its route, with the caller as the actor.\n\
         A call that has nothing to change records none. Refused requests record `api.denied`. Routes\n\
         that are not listed only read; requests are recorded as `api.call` if\n\
         [`audit.api_calls`](CONFIGURATION.md) says so. The [table of event\n\
         types](EXTERNAL-INTEGRATION-GUIDE.md#event-types) has the meaning of each event.\n\n\
         | route | needs | events |\n|---|---|---|\n",
    );
    let mut of_routes: HashSet<Action> = HashSet::new();
    for route in &table {
        let Some(leaves) = route.leaves else { continue };
        if let Leaves::Events(actions) = leaves {
            of_routes.extend(actions);
        }
        // Writing to a string does not fail.
        let _ = writeln!(page, "{}", row(route, leaves));
    }
    page.push_str(
        "\n## Events without a route\n\n\
         The hive records these by itself, or in consequence of another event. An event whose name\n\
         begins with `ext.` was recorded on request of another system.\n\n\
         | event | meaning |\n|---|---|\n",
    );
    for action in Action::ALL
        .iter()
        .filter(|action| !of_routes.contains(action))
    {
        let _ = writeln!(page, "| `{}` | {} |", action.as_str(), action.description());
    }
    page
}

fn row(route: &Route, leaves: Leaves) -> String {
    let needs = match route.access {
        Access::Open => "nothing".to_owned(),
        Access::AnyKey => "any key".to_owned(),
        Access::Needs(permission) => format!("`{}`", permission.as_str()),
    };
    let events = match leaves {
        Leaves::Events(actions) => {
            let names = actions
                .iter()
                .map(|action| format!("`{}`", action.as_str()));
            names.collect::<Vec<_>>().join(", ")
        }
        Leaves::External => "`ext.*`, as the caller names it".to_owned(),
        Leaves::Nothing(why) => format!("none: {why}"),
    };
    format!(
        "| `{} {}` | {needs} | {events} |",
        route.method,
        route.template()
    )
}
