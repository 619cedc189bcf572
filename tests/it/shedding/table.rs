//! The effect of each level on each route: the route table beside a committed one, and the server
//! beside both.

use std::{fmt::Write as _, fs, path::PathBuf};

use deia::http::{Access, Route, table};
use deia_model::{Feature, Level};
use reqwest::Method;

use super::{set, start};
use crate::access_table::path_of;

const HEAD: &str = "\
# Effect of each level on each route that needs a key. Compared by tests/it/shedding/table.rs; made
# with DEIA_BLESS=1.
#   on           served
#   P0,P1        submissions of P2 and P3 are refused with 503 submission_shed
#   -feature     refused with 503 feature_suspended
#   read-only    refused with 503 read_only
# Event streams of /api/v1/events and /api/v1/tasks/{id}/output are refused from level 1 on.
#
";

fn levels() -> impl Iterator<Item = Level> {
    (0..=4).filter_map(Level::new)
}

/// Returns the effect of a level on a route.
fn effect(route: &Route, level: Level) -> String {
    let shed = |feature: &Feature| feature.is_shed_at(level);
    let submits = route.path.ends_with("/submit") || route.path.ends_with("/batch");
    if level >= Level::READ_ONLY && !route.in_read_only {
        return "read-only".to_owned();
    }
    match route.needs.filter(shed) {
        Some(feature) => format!("-{}", feature.as_str()),
        None if submits && level == Level::CRITICAL_ONLY => "P0,P1".to_owned(),
        None => "on".to_owned(),
    }
}

fn rows() -> String {
    let mut text = HEAD.to_owned();
    let mut routes: Vec<Route> = table();
    routes.retain(|route| route.access != Access::Open);
    routes.sort_by_key(|route| (route.template(), route.method.to_string()));
    for route in routes {
        let effects: Vec<String> = levels().map(|level| effect(&route, level)).collect();
        let name = format!("{} {}", route.method, route.template());
        let row = format!("{name:<56} {}", effects.join(" "));
        writeln!(text, "{}", row.trim_end()).unwrap();
    }
    text
}

#[test]
fn effect_of_each_level_on_each_route_is_as_committed() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/shedding/table.txt");
    let rows = rows();
    if std::env::var_os("DEIA_BLESS").is_some() {
        fs::write(&file, &rows).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap();
    assert_eq!(rows, committed, "DEIA_BLESS=1 writes the table anew");
}

#[test]
fn reads_and_what_ends_or_mends_something_are_served_at_every_level() {
    for route in table() {
        let (method, path) = (&route.method, route.path);
        let served = levels().all(|level| effect(&route, level) == "on");
        let reads = method.is_safe() && route.needs.is_none();
        let mends = [
            "/cancel",
            "/stop",
            "/drain",
            "/pause",
            "/complete",
            "/fail",
            "/heartbeat",
        ];
        let mends = mends.iter().any(|end| path.ends_with(end));
        assert!(served || !(reads || mends), "{method} {path}");
    }
}

#[actix_rt::test]
async fn server_refuses_in_read_only_mode_what_the_table_says() {
    let app = start().await;
    set(&app, 4).await;
    for route in table() {
        let (method, template) = (&route.method, route.template());
        let is_stream = template.ends_with("/lease") || template.ends_with("/restart");
        if route.access == Access::Open || is_stream {
            continue;
        }
        let method: Method = method.as_str().parse().unwrap();
        // A request that comes to its handler is refused for its body: nothing is changed.
        let request = app.request_as(&app.admin, method.clone(), &path_of(&template));
        let answer = app.send(request.body("{")).await;
        let refused = match answer.body["code"].as_str() {
            Some("read_only") => "read-only".to_owned(),
            Some("feature_suspended") => format!("-{}", answer.body["feature"].as_str().unwrap()),
            _ => "on".to_owned(),
        };
        assert_eq!(
            refused,
            effect(&route, Level::READ_ONLY),
            "{method} {template}"
        );
    }
}
