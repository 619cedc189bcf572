//! Receivers that do harm, beside one that does not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{accepted, delivery_that, register, start, submit};
use crate::{
    support::TestApp,
    webhook_support::{Manner, Receiver},
};

/// Events of each measurement.
const EVENTS: usize = 300;
/// `webhooks.response_max_bytes`.
const RESPONSE_MAX: usize = 4096;
/// `webhooks.deadline`.
const DEADLINE_MS: u64 = 2_000;
/// Memory that the hive may take for all of them, in KiB.
const GROWTH_MAX: u64 = 64 * 1024;

/// A receiver, and the attempt that the hive is to record.
struct Case {
    name: &'static str,
    receiver: Receiver,
    url: String,
    status: Option<u16>,
    /// Part of the error; empty: there is none, since the delivery was accepted.
    error: &'static str,
    truncated: bool,
}

fn case(name: &'static str, manner: Manner, status: Option<u16>, error: &'static str) -> Case {
    let receiver = Receiver::start(manner);
    Case {
        name,
        url: receiver.url(),
        receiver,
        status,
        error,
        truncated: false,
    }
}

fn says(text: &str) -> Manner {
    Manner::Says(text.as_bytes().to_vec())
}

fn head_of(headers: impl Iterator<Item = String>) -> Manner {
    let headers: String = headers.collect();
    says(&format!(
        "HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n"
    ))
}

/// The beginning of a gzip stream of zeros: a deflate block expands a thousand times.
fn bomb() -> Manner {
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xec, 0xc1];
    body.resize(1 << 20, 0x55);
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    Manner::Says(answer)
}

/// Bytes that are no text, without an end.
fn flood() -> Manner {
    Manner::Floods("HTTP/1.1 200 OK\r\n\r\n", vec![0xfe; 64 * 1024])
}

fn cases(inside: &str) -> Vec<Case> {
    let second = Duration::from_secs(1);
    let cut = |case: Case| Case {
        truncated: true,
        ..case
    };
    let tls = case("no TLS", Manner::Plain, None, "TLS");
    let tls = Case {
        url: tls.url.replace("http:", "https:"),
        ..tls
    };
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {inside}\r\ncontent-length: 0\r\n\r\n");
    let dripping_body = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    vec![
        case("silent", Manner::Silent, None, "waiting for the answer"),
        case(
            "slow head",
            Manner::Drips("HTTP/1.1 200 OK\r\nx: ", second),
            None,
            "waiting for the answer",
        ),
        case(
            "slow body",
            Manner::Drips(dripping_body, second),
            None,
            "reading the body",
        ),
        cut(case("endless body", flood(), Some(200), "")),
        cut(case("gzip bomb", bomb(), Some(200), "")),
        case(
            "huge header",
            head_of(std::iter::once(format!(
                "x-huge: {}\r\n",
                "x".repeat(8 << 20)
            ))),
            None,
            "head is too large",
        ),
        case(
            "many headers",
            head_of((0..10_000).map(|n| format!("x-{n}: 1\r\n"))),
            None,
            "head is too large",
        ),
        case("redirect", says(&redirect), Some(302), "answered 302"),
        case("closes", Manner::Closes, None, "clos"),
        tls,
        case(
            "429",
            says("HTTP/1.1 429 x\r\nretry-after: 3600\r\ncontent-length: 4\r\n\r\nbusy"),
            Some(429),
            "answered 429",
        ),
        case(
            "garbage after",
            says(
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 \0\u{fffd}garbage\r\n\r\n",
            ),
            Some(200),
            "",
        ),
        case("no HTTP", says("SSH-2.0-OpenSSH_9.9\r\n"), None, "HTTP"),
    ]
}

/// Submits tasks, and returns the time until the receiver has the events of all.
async fn time_of_all(app: &TestApp, good: &Receiver) -> Duration {
    let begun = Instant::now();
    let tasks = submit(app, EVENTS).await;
    accepted(good, &tasks).await;
    begun.elapsed()
}

fn rss_kib(app: &TestApp) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", app.pid())).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

fn check(case: &Case, detail: &Value) {
    let name = case.name;
    let attempt = &detail["tries"][0];
    assert_eq!(attempt["status"], json!(case.status), "{name}: {detail:#}");
    let error = attempt["error"].as_str().unwrap_or_default();
    assert_eq!(
        case.error.is_empty(),
        error.is_empty(),
        "{name}: {detail:#}"
    );
    assert!(error.contains(case.error), "{name}: {detail:#}");
    assert!(error.len() < 500, "{name}: {detail:#}");
    let response = attempt["response"].as_str().unwrap_or_default();
    assert!(response.len() <= RESPONSE_MAX, "{name}: {}", response.len());
    assert_eq!(attempt["response_truncated"], case.truncated, "{name}");
    let duration = attempt["duration_ms"].as_u64().unwrap();
    assert!(duration < 10 * DEADLINE_MS, "{name}: {duration} ms");
    if error.contains("the time ran out") {
        assert!(duration >= DEADLINE_MS, "{name}: {duration} ms");
    }
}

#[actix_rt::test]
async fn hostile_receivers_harm_neither_the_hive_nor_their_neighbour() {
    let limit = format!("webhooks.response_max_bytes={RESPONSE_MAX}B");
    let app = start(&[&limit, "webhooks.pause_after_failures=3"]).await;
    let good = Receiver::start(Manner::Accepts(Duration::ZERO));
    let inside = Receiver::start(Manner::Accepts(Duration::ZERO));
    let events = ["task.submitted"];
    let webhook = register(&app, &good.url(), &events).await;
    let alone = time_of_all(&app, &good).await;
    let before = rss_kib(&app);

    let cases = cases(&inside.url());
    let mut paths = Vec::new();
    for case in &cases {
        paths.push(register(&app, &case.url, &events).await);
    }
    let beside = time_of_all(&app, &good).await;
    eprintln!("alone {alone:?}, beside the others {beside:?}");
    // Generous: what is to be seen is a wait for a deadline, times their number.
    let limit = 5 * alone + Duration::from_millis(5 * DEADLINE_MS);
    assert!(
        beside < limit,
        "alone {alone:?}, beside the others {beside:?}"
    );
    for (case, path) in cases.iter().zip(&paths) {
        let detail = delivery_that(&app, path, case.name, |_| true).await;
        check(case, &detail);
    }
    time_of_all(&app, &good).await;
    let grown = rss_kib(&app).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "the hive grew by {grown} KiB");
    assert_eq!(inside.count(), 0, "no redirect is followed");
    assert_eq!(good.count(), 3 * EVENTS, "nothing came twice");
    let shown = app.get(&webhook).await.is(200).body;
    assert_eq!(shown["failures_in_a_row"], 0, "{shown:#}");
    assert!(
        cases
            .iter()
            .all(|it| it.name == "no TLS" || it.name == "closes" || it.receiver.count() > 0)
    );
}

#[actix_rt::test]
async fn asked_delay_is_waited_for_and_a_test_shows_the_answer() {
    let app = start(&["webhooks.response_max_bytes=16B"]).await;
    let busy = says(
        "HTTP/1.1 429 x\r\nretry-after: 3600\r\ncontent-length: 30\r\n\r\ntoo busy to take this, sorry  ",
    );
    let receiver = Receiver::start(busy);
    let webhook = register(&app, &receiver.url(), &["task.submitted"]).await;
    submit(&app, 1).await;
    let detail = delivery_that(&app, &webhook, "it waits", |it| it["state"] == "waiting").await;
    let time = |field: &str| -> deia_model::Timestamp {
        serde_json::from_value(detail[field].clone()).unwrap()
    };
    let wait_ms = time("next_attempt_at").millis_since(time("last_attempt_at"));
    assert!((3_600_000..3_700_000).contains(&wait_ms), "{detail:#}");

    receiver.set(Manner::Floods(
        "HTTP/1.1 500 x\r\n\r\n",
        vec![0, 0xff, b'a', 0xc3],
    ));
    let tested = app
        .post(&format!("{webhook}/test"), &Value::Null)
        .await
        .is(200);
    let attempt = &tested.body["attempt"];
    assert_eq!(
        (&tested.body["delivered"], &attempt["status"]),
        (&json!(false), &json!(500))
    );
    let response = attempt["response"].as_str().unwrap();
    assert!(
        response.len() <= 16 && !response.contains('\0'),
        "{response:?}"
    );
    assert_eq!(attempt["response_truncated"], true);
}
