//! Tests of the tables of webhooks.

use serde::de::DeserializeOwned;

use super::*;

/// Returns the example of an entity of the model.
fn example<T: DeserializeOwned>(name: &str) -> T {
    let all = deia_model::entities().unwrap();
    let entity = all.iter().find(|entity| entity.name == name).unwrap();
    serde_json::from_str(&entity.example).unwrap()
}

fn look(width: Option<u16>) -> Look {
    Look {
        color: false,
        width,
        now: "2026-11-26T08:30:00Z".parse().unwrap(),
    }
}

/// Fails with a line that is wider than the terminal.
fn fits(text: &str, width: u16) {
    for line in text.lines() {
        assert!(line.chars().count() <= usize::from(width), "{text}");
    }
}

#[test]
fn list_keeps_ids_whole_and_fits() {
    let webhook: Webhook = example("Webhook");
    let id = webhook.id.to_string();
    for width in [80, 120, 160] {
        let text = list(std::slice::from_ref(&webhook), &look(Some(width)));
        assert!(text.contains(&id) && text.contains("disabled"), "{text}");
        assert_eq!(text.contains("DESCRIPTION"), width >= 120, "{text}");
        fits(&text, width);
    }
}

#[test]
fn details_say_why_an_endpoint_is_disabled_and_what_it_missed() {
    let webhook: Webhook = example("Webhook");
    let text = details(&webhook, &look(None));
    for part in [
        "disabled by        deia\n",
        "reason             all deliveries failed since 2026-11-20T08:30:00.000Z\n",
        "disabled           2026-11-25T08:30:00.000Z (1d ago)\n",
        "events             task.completed, task.failed\n",
        "of tasks tagged    nightly\n",
        "headers            x-team\n",
        "signatures         v1, v1a\n",
        "last error         the endpoint answered 503\n",
        "failures in a row  12\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(tone(&webhook), Tone::Bad);
    let mut webhook = webhook;
    webhook.status = WebhookStatus::Enabled;
    webhook.disabled = None;
    webhook.spec.events.clear();
    webhook.spec.tags.clear();
    let text = details(&webhook, &look(None));
    assert!(text.contains("events             all\n"), "{text}");
    assert!(
        !text.contains("tagged") && !text.contains("disabled"),
        "{text}"
    );
}

#[test]
fn secret_is_first_and_never_wrapped() {
    let secret = format!("whsec_{}", "A".repeat(88));
    let mut made = WebhookWithSecret {
        webhook: example("Webhook"),
        secret: Some(secret.clone()),
    };
    let text = with_secret(&made, &look(Some(40)));
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("secret") && first.ends_with(&secret),
        "{text}"
    );
    made.secret = None;
    let text = with_secret(&made, &look(Some(80)));
    assert!(text.starts_with("id "), "{text}");
}

#[test]
fn deliveries_and_attempts_fit() {
    let one: Delivery = example("Delivery");
    let text = deliveries(std::slice::from_ref(&one), &look(Some(80)));
    assert!(text.contains(&one.id.to_string()), "{text}");
    fits(&text, 80);
    let attempt = |status, error: Option<&str>, body: &str| DeliveryAttempt {
        attempt: 1,
        at: one.last_attempt_at,
        duration_ms: 1_550,
        status,
        error: error.map(str::to_owned),
        response: body.to_owned(),
        response_truncated: true,
    };
    let detail = DeliveryDetail {
        delivery: one.clone(),
        tries: vec![
            attempt(None, Some("no connection within 15s"), ""),
            attempt(
                Some(503),
                Some("the endpoint answered 503"),
                "busy\u{1b}[2J\nnow",
            ),
        ],
    };
    let text = delivery(&detail, &look(Some(160)));
    assert!(text.contains("1.5s"), "{text}");
    for end in [
        "-  no connection within 15s   -\n",
        "503  the endpoint answered 503  busy\\u001b[2J now...\n",
    ] {
        assert!(text.contains(end), "{end}: {text}");
    }
    fits(&delivery(&detail, &look(Some(80))), 80);
    let none = DeliveryDetail {
        tries: Vec::new(),
        ..detail
    };
    assert!(!delivery(&none, &look(None)).contains("ATTEMPT"));
}

#[test]
fn test_shows_the_answer() {
    let attempt = DeliveryAttempt {
        attempt: 1,
        at: Timestamp::from_millis(0),
        duration_ms: 38,
        status: Some(204),
        error: None,
        response: String::new(),
        response_truncated: false,
    };
    let one = TestDelivery {
        id: "msg_01h455vb4pex5vsknk084sn02q".parse().unwrap(),
        delivered: true,
        attempt,
    };
    assert_eq!(
        test(&one, &look(None)),
        "delivered  yes\nmessage    msg_01h455vb4pex5vsknk084sn02q\ntook       38ms\n\
         status     204\nresponse   -\n"
    );
}

#[test]
fn replays_fit() {
    let replay = Replay {
        id: "replay_01h455vb4pex5vsknk084sn02q".parse().unwrap(),
        from: Timestamp::from_millis(0),
        to: Timestamp::from_millis(1),
        state: ReplayState::Completed,
        progress_percent: 100.0,
        delivered: 1_000_000,
        failed: 3,
        actor: "ada".into(),
        started_at: Timestamp::from_millis(2),
        ended_at: None,
    };
    let text = replays(std::slice::from_ref(&replay), &look(Some(80)));
    assert!(text.contains("completed  100.0 %"), "{text}");
    fits(&text, 80);
}
