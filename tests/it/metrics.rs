//! `GET /metrics` tells what `docs/METRICS.md` says, in a form that Prometheus reads.

use std::{collections::BTreeMap, fs, path::PathBuf};

use deia_hive::metrics::table::{self, Kind};
use reqwest::Method;
use serde_json::json;

use crate::support::{TestApp, task, upper};

#[test]
fn the_page_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    let page = table::page();
    if std::env::var_os("DEIA_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let hint = "docs/METRICS.md is stale: DEIA_BLESS=1 cargo test --test it metrics";
    assert!(committed == page, "{hint}");
}

/// A family of metrics, as it was reported.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    helped: bool,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> &str {
        let label = self.labels.iter().find(|(label, _)| label == name);
        label.map_or("", |(_, value)| value)
    }
}

/// Reads the text as strictly as OpenMetrics 1.0 wants it written.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').unwrap();
            let (name, said) = rest.split_once(' ').unwrap();
            if word == "HELP" {
                assert!(!families.contains_key(name), "{name} is there twice");
                current = name.to_owned();
            }
            assert_eq!(name, current, "families are not mixed: {line}");
            let family = families.entry(current.clone()).or_default();
            match word {
                "HELP" => family.helped = !said.is_empty(),
                "TYPE" => said.clone_into(&mut family.kind),
                "UNIT" => assert!(name.ends_with(&format!("_{said}")), "{line}"),
                _ => panic!("{line}"),
            }
        } else {
            let sample = sample(line);
            assert!(sample.name.starts_with(&current), "{line} is in {current}");
            families.get_mut(&current).unwrap().samples.push(sample);
        }
    }
    families
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, rest)) => {
            let inside = rest.strip_suffix('}').unwrap();
            let pairs = inside.split("\",").map(|pair| {
                let (label, value) = pair.split_once("=\"").unwrap();
                let value = value.strip_suffix('"').unwrap_or(value);
                (label.to_owned(), value.to_owned())
            });
            (name, pairs.collect())
        }
    };
    Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().unwrap(),
    }
}

async fn scrape(app: &TestApp) -> (String, BTreeMap<String, Family>) {
    let request = app.request_as(&app.admin, Method::GET, "/metrics");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = answer.text().await.unwrap();
    let families = parse(&text);
    (text, families)
}

/// The sum of the samples of that name that have these labels.
fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let all = families.values().flat_map(|family| &family.samples);
    let wanted = all.filter(|sample| {
        sample.name == name && labels.iter().all(|(label, v)| sample.label(label) == *v)
    });
    wanted.map(|sample| sample.value).sum()
}

#[actix_web::test]
async fn what_is_told_is_what_is_documented() {
    let app = TestApp::start().await;
    app.bot("up", upper(), &[]).await;
    let id = app.submit(&task("hello")).await;
    app.result(&id).await;
    app.get("/nowhere").await.refuses(404, "route_not_found");
    let (_, families) = scrape(&app).await;
    let mut told: Vec<(String, String)> = families
        .iter()
        .map(|(name, family)| (name.clone(), family.kind.clone()))
        .collect();
    let mut documented: Vec<(String, String)> = table::all()
        .map(|metric| {
            let name = metric.name;
            let name = match metric.kind {
                Kind::Counter => name.strip_suffix("_total").unwrap(),
                Kind::Info => name.strip_suffix("_info").unwrap(),
                _ => name,
            };
            (name.to_owned(), metric.kind.as_str().to_owned())
        })
        .collect();
    told.sort();
    documented.sort();
    assert_eq!(told, documented);
    let by_family: BTreeMap<&str, _> = table::all()
        .map(|metric| {
            let name = metric.name;
            let name = name.strip_suffix("_total").unwrap_or(name);
            (name.strip_suffix("_info").unwrap_or(name), metric)
        })
        .collect();
    for (name, family) in &families {
        assert!(family.helped, "{name}");
        let metric = by_family[name.as_str()];
        let mut last_bucket = (Vec::new(), 0.0);
        for sample in &family.samples {
            let mut labels: Vec<&str> = sample.labels.iter().map(|(l, _)| l.as_str()).collect();
            if sample.name.ends_with("_bucket") {
                assert!(labels.contains(&"le"), "{sample:?}");
                labels.retain(|label| *label != "le");
                let series: Vec<_> = sample.labels.iter().filter(|(l, _)| l != "le").collect();
                let same = last_bucket.0 == series;
                assert!(!same || sample.value >= last_bucket.1, "{sample:?}");
                last_bucket = (series, sample.value);
            }
            assert_eq!(labels, metric.labels, "{sample:?}");
            if metric.kind == Kind::Counter {
                assert_eq!(sample.name, metric.name);
            }
        }
    }
}

#[actix_web::test]
async fn work_is_counted_in_every_room() {
    let app = TestApp::start().await;
    let (_, before) = scrape(&app).await;
    assert_eq!(value(&before, "deia_ready", &[]), 1.0);
    app.bot("up", upper(), &[]).await;
    for _ in 0..3 {
        let id = app.submit(&task("hello")).await;
        app.result(&id).await;
    }
    let key = app.key("somebody", "external").await;
    app.get_as(&key, "/metrics")
        .await
        .refuses(403, "permission_denied");
    let (text, after) = scrape(&app).await;
    let submit = [("route", "/api/v1/tasks/submit"), ("method", "POST")];
    for (name, labels, expected) in [
        ("deia_http_requests_total", &submit[..], 3.0),
        ("deia_http_request_duration_seconds_count", &submit[..], 3.0),
        ("deia_http_requests_in_flight", &[], 1.0),
        (
            "deia_http_problems_total",
            &[("code", "permission_denied")],
            1.0,
        ),
        ("deia_task_attempts_total", &[("end", "succeeded")], 3.0),
        (
            "deia_tasks_submitted_total",
            &[("type", "general"), ("priority", "P2")],
            3.0,
        ),
        ("deia_tasks_started_total", &[("type", "general")], 3.0),
        ("deia_tasks_completed_total", &[("type", "general")], 3.0),
        ("deia_task_wait_seconds_count", &[("priority", "P2")], 3.0),
        ("deia_task_attempt_duration_seconds_count", &[], 3.0),
        ("deia_tasks", &[("status", "completed")], 3.0),
        ("deia_scheduler_assigned_tasks_total", &[], 3.0),
        ("deia_bots", &[("status", "healthy")], 1.0),
        ("deia_bots_launched", &[], 1.0),
        (
            "deia_supervision_children",
            &[("path", "hive/core/bots/*"), ("state", "running")],
            1.0,
        ),
        (
            "deia_supervision_children",
            &[("path", "hive/core/scheduler")],
            1.0,
        ),
        ("deia_build_info", &[], 1.0),
    ] {
        assert_eq!(
            value(&after, name, labels),
            expected,
            "{name} {labels:?}\n{text}"
        );
    }
    for name in [
        "deia_store_commands_total",
        "deia_store_commit_duration_seconds_count",
        "deia_store_commit_commands_sum",
        "deia_store_reads_total",
        "deia_store_size_bytes",
        "deia_store_events_total",
        "deia_store_wal_pages",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_threads",
        "process_start_time_seconds",
        "deia_data_dir_free_bytes",
    ] {
        assert!(value(&after, name, &[]) > 0.0, "{name}\n{text}");
    }
    for secret in [app.admin.as_str(), &key, "somebody", "/api/v1/tasks/task_"] {
        assert!(!text.contains(secret), "{secret} is in the metrics");
    }
}

#[actix_web::test]
async fn crashes_and_restarts_are_counted() {
    let app = TestApp::start().await;
    let crashing = json!({"kind": "simulated", "crash_rate": 1.0, "success_rate": 0.0});
    app.bot("crash", crashing, &[]).await;
    let id = app.submit(&task("boom")).await;
    app.result(&id).await;
    let (text, families) = scrape(&app).await;
    let bots = [("path", "hive/core/bots/*")];
    let restarts = value(&families, "deia_supervision_restarts_total", &bots);
    assert!(restarts >= 1.0, "{text}");
    let failed = [bots[0], ("reason", "failed")];
    let exits = value(&families, "deia_supervision_exits_total", &failed);
    assert!(exits >= restarts, "{text}");
    let died = value(
        &families,
        "deia_task_attempts_total",
        &[("end", "bot_died")],
    );
    assert!(died >= 1.0, "{text}");
}
