//! Journeys of receivers of webhooks: the official verifiers of Standard Webhooks in Python,
//! Node and Rust accept what the hive delivers, and nothing else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use deia_model::Timestamp;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::{
    support::{TestApp, task, upper},
    webhook_support::{Delivered, ExampleReceiver, LOOPBACK, Language, Manner, Receiver, register},
};

const HOUR_MS: i64 = 3_600_000;

/// A hive whose webhooks reach this machine, with a bot.
async fn hive(more: &[&str]) -> TestApp {
    let settings = [&LOOPBACK, &["bots.seed=[]"][..], more].concat();
    let app = TestApp::start_with(&settings).await;
    app.bot("upper-1", upper(), &["general"]).await;
    app
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap()
}

/// Returns whether the official library accepts a delivery.
fn verifies(secret: &str, delivered: &Delivered) -> bool {
    let webhook = Webhook::new(secret).unwrap();
    let body = delivered.body.as_bytes();
    webhook.verify(body, &delivered.headers()).is_ok()
}

/// Returns whether one of the `v1a` signatures is of that key. The official libraries do not
/// verify this scheme.
fn verifies_v1a(public_key: &str, delivered: &Delivered) -> bool {
    let key = BASE64.decode(public_key.strip_prefix("whpk_").unwrap().as_bytes());
    let key = UnparsedPublicKey::new(&ED25519, key.unwrap());
    let Delivered {
        id,
        timestamp,
        body,
        ..
    } = delivered;
    let message = format!("{id}.{timestamp}.{body}");
    let signatures = delivered.signature.split(' ');
    let mut of_scheme = signatures.filter_map(|it| it.strip_prefix("v1a,"));
    of_scheme.any(|signature| {
        let signature = BASE64.decode(signature.as_bytes());
        signature.is_ok_and(|it| key.verify(message.as_bytes(), &it).is_ok())
    })
}

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Signs a delivery anew, as of that time.
fn signed_at(secret: &str, delivered: &Delivered, seconds: i64) -> Delivered {
    let webhook = Webhook::new(secret).unwrap();
    let signature = webhook.sign(&delivered.id, seconds, delivered.body.as_bytes());
    Delivered {
        timestamp: seconds.to_string(),
        signature: signature.unwrap(),
        ..delivered.clone()
    }
}

#[actix_rt::test]
async fn official_verifiers_accept_deliveries_and_nothing_else() {
    let app = hive(&[]).await;
    let sink = Receiver::start(Manner::Accepts(Duration::ZERO));
    let endpoint = register(&app, &sink.url(), json!({"signatures": ["v1", "v1a"]})).await;
    let secret = text(&endpoint, "secret");
    let id = app.submit(&task("hello")).await;
    let delivered = sink.gets(1).await.remove(0);
    let body = delivered.json();
    assert_eq!(body["type"], "task.completed");
    assert_eq!(body["data"]["task_id"], *id);

    let public_key = text(&endpoint, "public_key");
    assert!(verifies_v1a(public_key, &delivered));
    assert!(verifies(secret, &delivered));
    for altered in delivered.altered() {
        assert!(!verifies(secret, &altered), "{altered:?}");
        assert!(!verifies_v1a(public_key, &altered), "{altered:?}");
    }
    let now = seconds_now();
    for language in Language::ALL {
        let Some(receiver) = ExampleReceiver::start(language, secret, 0).await else {
            continue;
        };
        for altered in delivered.altered() {
            let status = receiver.answer(&altered).await;
            assert_eq!(status, 401, "{language:?}: {altered:?}");
        }
        for seconds in [now - 400, now + 400] {
            let stale = signed_at(secret, &delivered, seconds);
            assert_eq!(receiver.answer(&stale).await, 401, "{language:?}");
        }
        assert_eq!(receiver.lines(), [""; 0], "{language:?}");
        for _ in 0..2 {
            assert_eq!(receiver.answer(&delivered).await, 204, "{language:?}");
        }
        let expected = format!("task.completed {id} {}", delivered.id);
        app.until("the receiver tells of the event", async |_| {
            !receiver.lines().is_empty()
        })
        .await;
        assert_eq!(receiver.lines(), [expected], "{language:?}: told once");
        let other = ExampleReceiver::start(language, &other_secret(), 0)
            .await
            .unwrap();
        assert_eq!(other.answer(&delivered).await, 401, "{language:?}");
    }
}

fn other_secret() -> String {
    format!("whsec_{}", BASE64.encode(&[7; 32]))
}

#[actix_rt::test]
async fn receivers_of_the_examples_get_the_events_of_a_hive() {
    let app = hive(&["webhooks.retry=[1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]"]).await;
    for language in Language::ALL {
        // As the README says: the secret is known only once the endpoint is registered.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let endpoint = register(&app, &format!("http://{address}/"), json!({})).await;
        let secret = text(&endpoint, "secret");
        let Some(receiver) = ExampleReceiver::start(language, secret, address.port()).await else {
            continue;
        };
        let path = format!("/api/v1/webhooks/{}/test", text(&endpoint, "id"));
        let tested = app.post(&path, &Value::Null).await.is(200).body;
        assert_eq!(tested["delivered"], true, "{language:?}: {tested}");
        let id = app.submit(&task("hello")).await;
        app.until("both deliveries were told", async |_| {
            receiver.lines().len() == 2
        })
        .await;
        let lines = receiver.lines();
        let test = format!("webhook.test - {}", text(&tested, "id"));
        assert_eq!(lines[0], test, "{language:?}");
        let completed = format!("task.completed {id} ");
        assert!(lines[1].starts_with(&completed), "{language:?}: {lines:?}");
    }
}

#[actix_rt::test]
async fn retry_has_the_id_of_the_first_attempt_and_a_signature_of_its_own() {
    let app = hive(&["webhooks.retry=[2s]", "webhooks.retry_jitter=0"]).await;
    let sink = Receiver::start(Manner::Answers(&[500]));
    let endpoint = register(&app, &sink.url(), json!({})).await;
    app.submit(&task("hello")).await;
    let [first, second] = sink.gets(2).await.try_into().unwrap();
    assert_eq!((&first.id, &first.body), (&second.id, &second.body));
    let seconds = |it: &Delivered| it.timestamp.parse::<i64>().unwrap();
    assert!(seconds(&second) > seconds(&first), "{first:?} {second:?}");
    assert_ne!(first.signature, second.signature);
    for delivered in [&first, &second] {
        assert!(verifies(text(&endpoint, "secret"), delivered));
    }
}

#[actix_rt::test]
async fn delivery_that_waited_for_an_hour_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    // Without jitter it is due as soon as its times are an hour older.
    let settings = [
        "bots.seed=[]",
        "webhooks.retry=[1h]",
        "webhooks.retry_jitter=0",
    ];
    let settings = [&LOOPBACK[..], &settings].concat();
    let mut app = TestApp::start_in(&data_dir, &settings).await;
    app.bot("upper-1", upper(), &["general"]).await;
    let sink = Receiver::start(Manner::Answers(&[500]));
    let endpoint = register(&app, &sink.url(), json!({})).await;
    app.submit(&task("hello")).await;
    sink.gets(1).await;
    let path = format!("/api/v1/webhooks/{}", text(&endpoint, "id"));
    app.until("the failure is recorded", async |app| {
        app.get(&path).await.is(200).body["waiting"] == 1
    })
    .await;
    assert!(app.stop().success());
    let store = rusqlite::Connection::open(data_dir.join("deia.db")).unwrap();
    let older = "UPDATE webhook_deliveries SET first_at = first_at - ?1, last_at = last_at - ?1, next_at = next_at - ?1";
    assert_eq!(store.execute(older, [HOUR_MS]).unwrap(), 1);
    let older = "UPDATE webhook_attempts SET at = at - ?1";
    assert_eq!(store.execute(older, [HOUR_MS]).unwrap(), 1);
    drop(store);
    let app = TestApp::start_in(&data_dir, &settings).await;
    let [first, second] = sink.gets(2).await.try_into().unwrap();
    assert_eq!((&first.id, &first.body), (&second.id, &second.body));
    let delivery = format!("{path}/deliveries/{}", first.id);
    app.until("the retry is recorded", async |app| {
        app.get(&delivery).await.is(200).body["state"] == "delivered"
    })
    .await;
    let tries = app.get(&delivery).await.is(200).body["tries"].take();
    let at = |n: usize| text(&tries[n], "at").parse::<Timestamp>().unwrap();
    assert_eq!(tries.as_array().unwrap().len(), 2, "{tries}");
    let waited = at(1).as_millis() - at(0).as_millis();
    assert!(waited >= HOUR_MS, "{tries}");
    let secret = text(&endpoint, "secret");
    assert!(verifies(secret, &second), "{second:?}");
    let was_sent = signed_at(secret, &first, seconds_now() - HOUR_MS / 1_000);
    assert!(!verifies(secret, &was_sent), "as it was sent then");
    for language in Language::ALL {
        if let Some(receiver) = ExampleReceiver::start(language, secret, 0).await {
            assert_eq!(receiver.answer(&second).await, 204, "{language:?}");
        }
    }
    drop(app);
}

#[actix_rt::test]
async fn old_and_new_secret_verify_while_a_secret_is_rotated() {
    let app = hive(&[]).await;
    let sink = Receiver::start(Manner::Accepts(Duration::ZERO));
    let schemes = json!({"signatures": ["v1", "v1a"]});
    let endpoint = register(&app, &sink.url(), schemes).await;
    let rotate = format!("/api/v1/webhooks/{}/rotate-secret", text(&endpoint, "id"));
    let rotated = app.post(&rotate, &json!({"overlap_seconds": 600})).await;
    let rotated = rotated.is(200).body;
    let secrets = [text(&endpoint, "secret"), text(&rotated, "secret")];
    assert_ne!(secrets[0], secrets[1]);
    app.submit(&task("during the overlap")).await;
    let delivered = sink.gets(1).await.remove(0);
    let schemes = delivered
        .signature
        .split(' ')
        .filter_map(|it| it.split_once(','));
    let mut schemes: Vec<_> = schemes.map(|(scheme, _)| scheme).collect();
    schemes.sort_unstable();
    assert_eq!(schemes, ["v1", "v1", "v1a", "v1a"]);
    for side in [&endpoint, &rotated] {
        assert!(verifies_v1a(text(side, "public_key"), &delivered));
    }
    for secret in secrets {
        assert!(verifies(secret, &delivered));
        for language in Language::ALL {
            if let Some(receiver) = ExampleReceiver::start(language, secret, 0).await {
                assert_eq!(receiver.answer(&delivered).await, 204, "{language:?}");
            }
        }
    }
    let last = app.post(&rotate, &json!({"overlap_seconds": 0})).await;
    let last = last.is(200).body;
    app.submit(&task("after it")).await;
    let delivered = sink.gets(2).await.remove(1);
    assert!(verifies(text(&last, "secret"), &delivered));
    for secret in secrets {
        assert!(!verifies(secret, &delivered), "an old secret");
    }
}
