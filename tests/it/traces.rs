//! The trace of a task, from the submission to its program.

use reqwest::Method;
use serde_json::json;

use crate::support::{TestApp, task};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A bot whose answer is the trace that its program was given.
async fn echo_bot(app: &TestApp) {
    let say = "printf '%s' \"$TRACEPARENT\"";
    let executor = json!({"kind": "command", "command": ["sh", "-c", say]});
    app.bot("echo", executor, &[]).await;
}

/// Submits a task with this header. Returns the trace context that its program was given.
async fn given(app: &TestApp, header: Option<&str>) -> String {
    let mut submit = app.request_as(&app.admin, Method::POST, "/api/v1/tasks/submit");
    if let Some(header) = header {
        submit = submit.header("traceparent", header);
    }
    let accepted = app.send(submit.json(&task("x"))).await.is(202);
    let result = app.result(accepted.body["id"].as_str().unwrap()).await;
    result["output"].as_str().unwrap_or_default().to_owned()
}

#[actix_web::test]
async fn without_a_collector_a_trace_is_passed_on_as_it_came() {
    let app = TestApp::start().await;
    echo_bot(&app).await;
    let sampled = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let not_sampled = format!("00-{TRACE}-00f067aa0ba902b7-00");
    for (header, expected) in [
        (Some(sampled.as_str()), sampled.as_str()),
        (Some(&not_sampled), &not_sampled),
        (Some("00-not-a-trace"), ""),
        (Some(&sampled.to_uppercase()), ""),
        (None, ""),
    ] {
        assert_eq!(given(&app, header).await, expected, "{header:?}");
    }
}

#[cfg(not(feature = "otlp"))]
#[actix_web::test]
async fn a_collector_that_cannot_be_told_is_a_reason_not_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let setting = ["telemetry.otlp_endpoint=http://127.0.0.1:4318/v1/traces"];
    let data_dir = dir.path().join("data");
    let command = crate::support::command(&data_dir, &setting);
    let Err(log) = TestApp::try_start(command, &data_dir).await else {
        panic!("it starts");
    };
    assert!(log.contains("telemetry.otlp_endpoint"), "{log}");
    assert!(log.contains("--features otlp"), "{log}");
    assert!(!data_dir.join("deia.db").exists(), "nothing was begun");
}

#[cfg(feature = "otlp")]
mod exported {
    use std::{
        net::TcpListener,
        sync::{Arc, Mutex},
    };

    use actix_web::{App, HttpResponse, HttpServer, web};

    use super::*;

    /// A span, as it came over the wire.
    #[derive(Clone, Debug)]
    struct Seen {
        trace: String,
        id: String,
        parent: String,
        name: String,
        text: String,
    }

    /// The fields of a protobuf message: number, and the bytes of those that have a length.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..64).step_by(7) {
                let (byte, rest) = bytes.split_first().unwrap();
                *bytes = rest;
                value |= u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            value
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let len = match tag & 7 {
                0 => {
                    varint(&mut bytes);
                    0
                }
                1 => 8,
                5 => 4,
                2 => usize::try_from(varint(&mut bytes)).unwrap(),
                other => panic!("wire type {other}"),
            };
            let (value, rest) = bytes.split_at(len);
            found.push((tag >> 3, value));
            bytes = rest;
        }
        found
    }

    fn all(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
        let found = fields(message).into_iter();
        found
            .filter(move |(n, _)| *n == number)
            .map(|(_, value)| value)
    }

    /// The spans of an `ExportTraceServiceRequest`.
    fn spans(body: &[u8]) -> Vec<Seen> {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let scopes: Vec<&[u8]> = all(body, 1).flat_map(|r| all(r, 2)).collect();
        let spans = scopes.into_iter().flat_map(|scope| all(scope, 2));
        spans
            .map(|span| {
                let one = |number| all(span, number).next().unwrap_or_default();
                let attributes: Vec<&[u8]> = all(span, 9).collect();
                Seen {
                    trace: hex(one(1)),
                    id: hex(one(2)),
                    parent: hex(one(4)),
                    name: String::from_utf8(one(5).to_vec()).unwrap(),
                    text: String::from_utf8_lossy(&attributes.concat()).into_owned(),
                }
            })
            .collect()
    }

    /// Takes spans as a collector does; where it listens, and what it got.
    fn collector() -> (String, Arc<Mutex<Vec<Seen>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        let take = move |body: web::Bytes, kept: web::Data<Mutex<Vec<Seen>>>| async move {
            kept.lock().unwrap().extend(spans(&body));
            HttpResponse::Ok()
                .content_type("application/x-protobuf")
                .finish()
        };
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::from(kept.clone()))
                .route("/v1/traces", web::post().to(take))
        });
        let server = server
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap();
        actix_web::rt::spawn(server.run());
        (url, seen)
    }

    #[actix_web::test]
    async fn the_spans_of_a_task_are_of_one_trace_and_the_program_is_below_its_attempt() {
        let (url, seen) = collector();
        let app = TestApp::start_with(&[
            "bots.seed=[]",
            &format!("telemetry.otlp_endpoint={url}"),
            "telemetry.trace_share=0",
            "telemetry.export_interval=20ms",
        ])
        .await;
        echo_bot(&app).await;
        let not_sampled = "00-11111111111111111111111111111111-00f067aa0ba902b7-00";
        assert_eq!(given(&app, Some(not_sampled)).await, not_sampled);
        assert_eq!(given(&app, None).await, "", "none begins with that share");
        let header = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let given = given(&app, Some(&header)).await;
        let named = |name: &str| {
            let seen = seen.lock().unwrap();
            let of_trace = seen
                .iter()
                .find(|span| span.trace == TRACE && span.name == name);
            of_trace.cloned()
        };
        app.until("the spans have come", async |_| named("attempt").is_some())
            .await;
        let request = named("POST /api/v1/tasks/submit").unwrap();
        let (submit, wait) = (named("submit").unwrap(), named("queue wait").unwrap());
        let attempt = named("attempt").unwrap();
        assert_eq!(request.parent, "00f067aa0ba902b7");
        assert_eq!(submit.parent, request.id);
        assert_eq!((&wait.parent, &attempt.parent), (&submit.id, &submit.id));
        assert_eq!(given, format!("00-{TRACE}-{}-01", attempt.id));
        for (span, words) in [
            (
                &request,
                &[
                    "http.request.method",
                    "POST",
                    "http.route",
                    "deia.request_id",
                ][..],
            ),
            (
                &attempt,
                &["deia.task.id", "task_", "deia.bot", "echo", "succeeded"],
            ),
        ] {
            for word in words {
                assert!(span.text.contains(word), "{word}: {span:?}");
            }
        }
        let others = seen.lock().unwrap().iter().any(|span| span.trace != TRACE);
        assert!(!others, "{seen:?}");
    }

    #[actix_web::test]
    async fn a_share_of_the_requests_begins_a_trace() {
        let (url, seen) = collector();
        let app = TestApp::start_with(&[
            "bots.seed=[]",
            &format!("telemetry.otlp_endpoint={url}"),
            "telemetry.trace_share=1",
            "telemetry.export_interval=20ms",
        ])
        .await;
        echo_bot(&app).await;
        let given = given(&app, None).await;
        app.until("its attempt has come", async |_| {
            let seen = seen.lock().unwrap();
            seen.iter()
                .any(|span| span.name == "attempt" && given.contains(&span.id))
        })
        .await;
    }

    #[actix_web::test]
    async fn a_collector_that_never_answers_harms_nobody() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        for address in [silent.local_addr().unwrap(), closed] {
            let mut app = TestApp::start_with(&[
                "bots.seed=[]",
                &format!("telemetry.otlp_endpoint=http://{address}/v1/traces"),
                "telemetry.trace_share=1",
                "telemetry.queue_max=512",
                "telemetry.export_interval=10ms",
            ])
            .await;
            app.bot(
                "sim",
                json!({"kind": "simulated", "behavior": "perfect"}),
                &[],
            )
            .await;
            // More spans than may wait.
            let tasks = vec![task("x"); 800];
            let batch = app
                .post("/api/v1/tasks/batch", &json!({"tasks": tasks}))
                .await;
            for id in batch.is(202).body["ids"].as_array().unwrap() {
                assert_eq!(app.result(id.as_str().unwrap()).await["success"], true);
            }
            // The last spans are not waited for: the stop has a deadline.
            assert!(app.stop().success());
        }
    }
}
