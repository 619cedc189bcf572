//! Sessions in browsers: a cookie in the place of a key.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    issuer::{Signer, TestIssuer, now},
    support::{Answer, TestApp, all_events, store_in, task},
};

const SESSION: &str = "/api/v1/auth/session";
const SESSIONS: &str = "/api/v1/auth/sessions";
const WHOAMI: &str = "/api/v1/auth/whoami";
const SUBMIT: &str = "/api/v1/tasks/submit";

/// A browser's part of a session.
struct Browser {
    cookie: String,
    csrf: String,
    body: Value,
}

/// Logs in with a key or a token.
async fn log_in(app: &TestApp, key: &str) -> Browser {
    let opened = app.post_as(key, SESSION, &Value::Null).await.is(201);
    let set = opened.header("set-cookie").to_owned();
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert!(cookie.starts_with("__Host-deia=web_session_"), "{set}");
    assert!(
        attributes.starts_with("Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age="),
        "{set}"
    );
    Browser {
        cookie: cookie.to_owned(),
        csrf: opened.body["csrf_token"].as_str().unwrap().to_owned(),
        body: opened.body,
    }
}

impl Browser {
    /// A request as a page that this hive served makes it.
    fn request(&self, app: &TestApp, method: Method, path: &str) -> RequestBuilder {
        let bare = self.bare(app, method.clone(), path);
        match method {
            Method::GET => bare.header("sec-fetch-site", "same-origin"),
            _ => bare
                .header("origin", &app.url)
                .header("sec-fetch-site", "same-origin")
                .header("x-csrf-token", &self.csrf),
        }
    }

    /// A request with nothing but the cookie.
    fn bare(&self, app: &TestApp, method: Method, path: &str) -> RequestBuilder {
        app.request(method, path).header("cookie", &self.cookie)
    }

    async fn get(&self, app: &TestApp, path: &str) -> Answer {
        app.send(self.request(app, Method::GET, path)).await
    }

    async fn delete(&self, app: &TestApp, path: &str) -> Answer {
        app.send(self.request(app, Method::DELETE, path)).await
    }

    fn secret(&self) -> &str {
        self.cookie.split_once('.').unwrap().1
    }
}

#[tokio::test]
async fn a_session_stands_for_its_key_until_one_logs_out() {
    let app = TestApp::start().await;
    let key = app.key("ada", "external").await;
    let browser = log_in(&app, &key).await;
    let me = app.get_as(&key, WHOAMI).await.is(200).body;
    assert_eq!(browser.get(&app, WHOAMI).await.is(200).body, me);
    let own = browser.get(&app, SESSION).await.is(200).body;
    for field in ["id", "user", "role", "key_id", "csrf_token", "expires_at"] {
        assert_eq!(own[field], browser.body[field], "{field}");
    }
    assert_eq!(
        (&own["user"], &own["role"]),
        (&json!("ada"), &json!("external"))
    );
    assert_eq!(own["key_id"], me["key_id"]);

    let submit = browser.request(&app, Method::POST, SUBMIT).json(&task("x"));
    let accepted = app.send(submit).await.is(202).body;
    let path = format!("/api/v1/tasks/{}", accepted["id"].as_str().unwrap());
    assert_eq!(
        browser.get(&app, &path).await.is(200).body["submitter"],
        "ada"
    );
    let theirs = app.submit(&task("y")).await;
    let path = format!("/api/v1/tasks/{theirs}");
    browser.get(&app, &path).await.refuses(404, "not_found");
    browser
        .get(&app, "/api/v1/auth/keys")
        .await
        .refuses(403, "permission_denied");

    let again = app.send(browser.request(&app, Method::POST, SESSION)).await;
    again.refuses(401, "key_missing");
    app.get_as(&key, SESSION).await.refuses(404, "not_found");

    let out = browser.delete(&app, SESSION).await.is(204);
    assert!(out.header("set-cookie").starts_with("__Host-deia=; "));
    assert!(out.header("set-cookie").ends_with("Max-Age=0"));
    let over = browser.get(&app, WHOAMI).await.refuses(401, "session_over");
    assert!(over.header("www-authenticate").starts_with("Bearer"));
    assert!(
        !app.log().contains(browser.secret()),
        "no cookie in the log"
    );
}

#[tokio::test]
async fn a_repeated_request_opens_one_session() {
    let app = TestApp::start().await;
    let key = app.key("ada", "external").await;
    let once = async |body: Option<Value>| {
        let request = app.request_as(&key, Method::POST, SESSION);
        let request = request.header("Idempotency-Key", "s1");
        app.send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    };
    let opened = once(None).await.is(201).body;
    for body in [None, Some(json!({}))] {
        let again = once(body).await.refuses(409, "session_opened_already");
        assert!(!again.headers.contains_key("set-cookie"));
        let detail = again.body["detail"].as_str().unwrap();
        assert!(detail.contains(opened["id"].as_str().unwrap()), "{detail}");
    }
    let open = app.get_as(&key, SESSIONS).await.is(200).body;
    assert_eq!(open["items"].as_array().unwrap().len(), 1, "{open:#}");
}

#[tokio::test]
async fn a_key_in_the_header_counts_and_the_cookie_does_not() {
    let app = TestApp::start().await;
    let ada = log_in(&app, &app.key("ada", "viewer").await).await;
    let bob = app.key("bob", "viewer").await;
    let both = ada.bare(&app, Method::GET, WHOAMI).bearer_auth(&bob);
    assert_eq!(app.send(both).await.is(200).body["user"], "bob");
    // A request that a page of another site cannot send needs no token against that.
    let both = ada.bare(&app, Method::POST, SUBMIT).bearer_auth(&app.admin);
    app.send(both.header("sec-fetch-site", "cross-site").json(&task("x")))
        .await
        .is(202);
    for (wrong, code) in [
        ("Bearer nonsense", "key_malformed"),
        ("Basic abc", "key_missing"),
        ("", "key_missing"),
    ] {
        let both = ada.bare(&app, Method::GET, WHOAMI);
        let both = both.header("authorization", wrong);
        app.send(both).await.refuses(401, code);
    }
    let twice = ada
        .bare(&app, Method::GET, WHOAMI)
        .header("cookie", &ada.cookie);
    app.send(twice).await.refuses(401, "key_missing");
    for wrong in [
        "__Host-deia=",
        "__Host-deia=web_session_1.x",
        "__Host-deia=a'--",
    ] {
        let request = app.request(Method::GET, WHOAMI).header("cookie", wrong);
        app.send(request).await.refuses(401, "session_over");
    }
    let (name, _) = ada.cookie.split_once('.').unwrap();
    let forged = format!("{name}.{}", "A".repeat(43));
    let request = app.request(Method::GET, WHOAMI).header("cookie", forged);
    app.send(request).await.refuses(401, "session_over");
}

#[tokio::test]
async fn requests_that_another_site_has_a_browser_send_are_refused() {
    let app = TestApp::start().await;
    let browser = log_in(&app, &app.admin).await;
    let other = log_in(&app, &app.admin).await;
    let submit = |fields: &[(&str, &str)]| {
        let request = browser.bare(&app, Method::POST, SUBMIT).json(&task("x"));
        let fields = fields.iter();
        fields.fold(request, |request, (name, value)| {
            request.header(*name, *value)
        })
    };
    let (token, here) = (("x-csrf-token", &*browser.csrf), ("origin", &*app.url));
    for fields in [
        &[][..],
        &[token],
        &[here],
        &[here, ("x-csrf-token", &other.csrf)],
        &[here, ("x-csrf-token", browser.secret())],
        &[token, ("origin", "https://evil.example")],
        &[token, ("origin", "null")],
        &[token, here, ("sec-fetch-site", "cross-site")],
        &[token, ("sec-fetch-site", "same-site")],
    ] {
        let refused = app.send(submit(fields)).await;
        refused.refuses(403, "cross_site");
    }
    for fields in [
        &[token, here][..],
        &[token, ("sec-fetch-site", "same-origin")],
    ] {
        app.send(submit(fields)).await.is(202);
    }
    for path in [SESSION, SESSIONS] {
        let log_out = browser.bare(&app, Method::DELETE, path);
        app.send(log_out).await.refuses(403, "cross_site");
    }
    let embedded = browser.bare(&app, Method::GET, WHOAMI);
    app.send(embedded.header("sec-fetch-site", "cross-site"))
        .await
        .refuses(403, "cross_site");
    app.send(browser.bare(&app, Method::GET, WHOAMI))
        .await
        .is(200);
}

#[tokio::test]
async fn a_revoked_key_takes_its_sessions_along() {
    let mut app = TestApp::start().await;
    let body = json!({"user": "ada", "role": "operator"});
    let made = app.post("/api/v1/auth/keys", &body).await.is(201).body;
    let browser = log_in(&app, made["key"].as_str().unwrap()).await;
    browser.get(&app, "/api/v1/bots").await.is(200);
    let revoke = format!("/api/v1/auth/keys/{}/revoke", made["id"].as_str().unwrap());
    app.post(&revoke, &Value::Null).await.is(200);
    browser
        .get(&app, "/api/v1/bots")
        .await
        .refuses(401, "session_over");
    assert!(app.stop().success());
    let events = all_events(&store_in(app.data_dir())).await;
    let of = |action: &str| {
        let events = events
            .iter()
            .map(|event| serde_json::to_value(event).unwrap());
        let of = events.filter(|event| event["action"] == action);
        of.map(|event| event["details"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("auth.login")[0]["key_id"], made["id"]);
    assert_eq!(
        of("auth.logout"),
        [json!({"reason": "withdrawn", "user": "ada"})]
    );
}

#[tokio::test]
async fn a_user_takes_sessions_along() {
    let app = TestApp::start().await;
    let key = app.key("ada", "viewer").await;
    let browser = log_in(&app, &key).await;
    let change = |change: Value| {
        let request = app.request_as(&app.admin, Method::PATCH, "/api/v1/users/ada");
        app.send(request.json(&change))
    };
    change(json!({"active": false})).await.is(200);
    browser.get(&app, WHOAMI).await.refuses(401, "session_over");
    app.get_as(&key, WHOAMI).await.refuses(401, "user_inactive");
    change(json!({"active": true, "role": "external"}))
        .await
        .is(200);
    // The key is in force again, the session stays over.
    browser.get(&app, WHOAMI).await.refuses(401, "session_over");
    let browser = log_in(&app, &key).await;
    let me = browser.get(&app, WHOAMI).await.is(200).body;
    assert_eq!(me, app.get_as(&key, WHOAMI).await.body);
    assert_eq!(me["role"], "external");
    let path = "/api/v1/users/ada/sessions";
    app.send(app.request_as(&key, Method::DELETE, path))
        .await
        .refuses(403, "permission_denied");
    assert_eq!(app.delete(path).await.is(200).body["ended"], 1);
    browser.get(&app, WHOAMI).await.refuses(401, "session_over");
    let browser = log_in(&app, &key).await;
    app.delete("/api/v1/users/ada").await.is(204);
    browser.get(&app, WHOAMI).await.refuses(401, "session_over");
}

#[tokio::test]
async fn sessions_survive_a_crash_and_end_everywhere_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut app = TestApp::start_in(&data, &["bots.seed=[]"]).await;
    let key = app.key("ada", "viewer").await;
    let browsers = [log_in(&app, &key).await, log_in(&app, &key).await];
    let ended = log_in(&app, &key).await;
    ended.delete(&app, SESSION).await.is(204);
    let bob = log_in(&app, &app.key("bob", "viewer").await).await;
    app.kill_9();
    let app = TestApp::start_in(&data, &["bots.seed=[]"]).await;
    for browser in &browsers {
        browser.get(&app, WHOAMI).await.is(200);
    }
    ended.get(&app, WHOAMI).await.refuses(401, "session_over");
    let listed = browsers[0].get(&app, SESSIONS).await.is(200).body;
    let ids: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, [&browsers[0].body["id"], &browsers[1].body["id"]]);
    assert_eq!(listed["items"][0]["ip_address"], "127.0.0.1");
    let gone = browsers[1].delete(&app, SESSIONS).await.is(200);
    assert_eq!(gone.body["ended"], 2);
    for browser in &browsers {
        browser.get(&app, WHOAMI).await.refuses(401, "session_over");
    }
    bob.get(&app, WHOAMI).await.is(200);
    app.get_as(&key, WHOAMI).await.is(200);
    // With the key it goes as well.
    log_in(&app, &key).await;
    let request = app.request_as(&key, Method::DELETE, SESSIONS);
    assert_eq!(app.send(request).await.is(200).body["ended"], 1);
    for browser in browsers.iter().chain([&ended, &bob]) {
        for file in std::fs::read_dir(&data).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap_or_default();
            let secret = browser.secret().as_bytes();
            let there = bytes.windows(secret.len()).any(|part| part == secret);
            assert!(!there, "the secret of a cookie is in {}", path.display());
        }
    }
}

#[tokio::test]
async fn there_are_so_many_sessions_and_no_more() {
    let settings = [
        "bots.seed=[]",
        "auth.sessions.max_per_user=2",
        "auth.sessions.max=3",
    ];
    let app = TestApp::start_with(&settings).await;
    let key = app.key("ada", "viewer").await;
    let first = log_in(&app, &key).await;
    let second = log_in(&app, &key).await;
    let third = log_in(&app, &key).await;
    first.get(&app, WHOAMI).await.refuses(401, "session_over");
    second.get(&app, WHOAMI).await.is(200);
    third.get(&app, WHOAMI).await.is(200);
    log_in(&app, &app.key("bob", "viewer").await).await;
    let eve = app.key("eve", "viewer").await;
    let refused = app.post_as(&eve, SESSION, &Value::Null).await;
    refused.refuses(409, "session_limit_reached");
    app.send(app.request_as(&key, Method::DELETE, SESSIONS))
        .await
        .is(200);
    log_in(&app, &eve).await;
}

#[tokio::test]
async fn sessions_are_over_when_idle_and_when_they_had_their_time() {
    let settings = [
        "bots.seed=[]",
        "auth.sessions.lifetime=3s",
        "auth.sessions.idle_timeout=3s",
    ];
    let app = TestApp::start_with(&settings).await;
    let browser = log_in(&app, &app.admin).await;
    app.until("it had its time, though it was used", async |app| {
        browser.get(app, WHOAMI).await.status == 401
    })
    .await;
    let settings = ["bots.seed=[]", "auth.sessions.idle_timeout=1s"];
    let app = TestApp::start_with(&settings).await;
    let browser = log_in(&app, &app.admin).await;
    app.until("nobody uses it", async |app| {
        let listed = app.get(SESSIONS).await.is(200).body;
        listed["items"].as_array().unwrap().is_empty()
    })
    .await;
    browser.get(&app, WHOAMI).await.refuses(401, "session_over");
}

#[tokio::test]
async fn a_session_and_its_key_share_a_budget() {
    let settings = [
        "bots.seed=[]",
        "limits.read.per_second=1",
        "limits.read.burst=6",
    ];
    let app = TestApp::start_with(&settings).await;
    let key = app.key("ada", "viewer").await;
    let browsers = [log_in(&app, &key).await, log_in(&app, &key).await];
    let mut limited = 0;
    for _ in 0..10 {
        for browser in &browsers {
            limited += usize::from(browser.get(&app, WHOAMI).await.status == 429);
        }
    }
    assert!(limited > 0, "a new session is no new budget");
}

#[tokio::test]
async fn a_session_lives_no_longer_than_its_token() {
    let signer = Signer::ed25519("d");
    let issuer = TestIssuer::start(&[&signer]).await;
    let issuers = format!("auth.issuers={}", Value::from(vec![issuer.settings("idp")]));
    let settings = [
        "bots.seed=[]",
        "auth.jwt.allow_http_on_loopback=true",
        "auth.jwt.leeway=0s",
        &issuers,
    ];
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut app = TestApp::start_in(&data, &settings).await;
    let mut claims = issuer.claims("ada", "ops");
    let long = log_in(&app, &signer.token(&claims)).await;
    let me = long.get(&app, WHOAMI).await.is(200).body;
    assert_eq!(
        (&me["user"], &me["role"]),
        (&json!("idp:ada"), &json!("operator"))
    );
    claims["exp"] = json!(now() + 3);
    let short = log_in(&app, &signer.token(&claims)).await;
    app.until("the token has expired", async |app| {
        short.get(app, WHOAMI).await.status == 401
    })
    .await;
    long.get(&app, WHOAMI).await.is(200);
    // The issuer is not known any more: nor are its users.
    assert!(app.stop().success());
    let app = TestApp::start_in(&data, &["bots.seed=[]"]).await;
    long.get(&app, WHOAMI).await.refuses(401, "session_over");
}

#[tokio::test]
async fn users_of_issuers_are_logged_out_whatever_they_are_called() {
    let signer = Signer::ed25519("d");
    let issuer = TestIssuer::start(&[&signer]).await;
    let issuers = format!("auth.issuers={}", Value::from(vec![issuer.settings("idp")]));
    let settings = [
        "bots.seed=[]",
        "auth.jwt.allow_http_on_loopback=true",
        &issuers,
    ];
    let app = TestApp::start_with(&settings).await;
    for (name, in_path) in [
        ("a/b", "idp:a%2Fb"),
        ("a/b", "idp%3Aa%2fb"),
        ("a+b", "idp:a%2Bb"),
        ("a+b", "idp:a+b"),
        ("a%b", "idp:a%25b"),
        ("a%2Fb", "idp:a%252Fb"),
    ] {
        let browser = log_in(&app, &signer.token(&issuer.claims(name, "ops"))).await;
        let me = browser.get(&app, WHOAMI).await.is(200).body;
        assert_eq!(me["user"], format!("idp:{name}"));
        let path = format!("/api/v1/users/{in_path}/sessions");
        let ended = app.delete(&path).await.is(200).body;
        assert_eq!(ended["ended"], 1, "{in_path}");
        browser.get(&app, WHOAMI).await.refuses(401, "session_over");
    }
}

#[tokio::test]
async fn refused_requests_keep_no_session_alive() {
    let settings = [
        "bots.seed=[]",
        "limits.enabled=false",
        "auth.sessions.idle_timeout=2s",
    ];
    let app = TestApp::start_with(&settings).await;
    let (used, other) = (
        log_in(&app, &app.admin).await,
        log_in(&app, &app.admin).await,
    );
    app.until(
        "it is idle, however often another site comes",
        async |app| {
            used.get(app, WHOAMI).await.is(200);
            let foreign = other.bare(app, Method::POST, SUBMIT).json(&task("x"));
            let refused = app
                .send(foreign.header("sec-fetch-site", "cross-site"))
                .await;
            refused.status == 401
        },
    )
    .await;
    used.get(&app, WHOAMI).await.is(200);
    other.get(&app, WHOAMI).await.refuses(401, "session_over");
}

#[tokio::test]
async fn no_secret_is_kept_with_what_opened_a_session() {
    let app = TestApp::start().await;
    for padding in [0, 200, 230, 250] {
        let agent = format!("{} {}", "x".repeat(padding), app.admin);
        let open = app.request_as(&app.admin, Method::POST, SESSION);
        let opened = app.send(open.header("user-agent", agent.trim())).await;
        let shown = opened.is(201).body["user_agent"]
            .as_str()
            .unwrap()
            .to_owned();
        let expected = format!("{} deia_***", "x".repeat(padding));
        let expected: String = expected.trim().chars().take(256).collect();
        assert_eq!(shown, expected);
    }
}

#[tokio::test]
async fn a_session_ends_with_what_its_token_rests_on() {
    let (kept, withdrawn) = (Signer::ed25519("kept"), Signer::p256("withdrawn"));
    let issuer = TestIssuer::start(&[&kept, &withdrawn]).await;
    let with = |idp: &Value| {
        let issuers = format!("auth.issuers={}", Value::from(vec![idp.clone()]));
        let settings = [
            "bots.seed=[]",
            "limits.enabled=false",
            "auth.jwt.allow_http_on_loopback=true",
            "auth.jwt.refresh_every=1s",
            "auth.jwt.refresh_at_most_every=1s",
            &issuers,
        ];
        settings.map(str::to_owned)
    };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = with(&issuer.settings("idp"));
    let mut app = TestApp::start_in(&data, &settings.each_ref().map(|s| &**s)).await;
    let claims = issuer.claims("ada", "ops");
    let stays = log_in(&app, &kept.token(&claims)).await;
    let goes = log_in(&app, &withdrawn.token(&claims)).await;
    goes.get(&app, WHOAMI).await.is(200);
    issuer.publish(&[&kept]);
    app.until("the key is withdrawn", async |app| {
        goes.get(app, WHOAMI).await.status != 200
    })
    .await;
    goes.get(&app, WHOAMI).await.refuses(401, "session_over");
    stays.get(&app, WHOAMI).await.is(200);
    // Tokens are taken again when the key comes back, the session stays over.
    issuer.publish(&[&kept, &withdrawn]);
    app.until("the key is back", async |app| {
        app.get_as(&withdrawn.token(&claims), WHOAMI).await.status == 200
    })
    .await;
    goes.get(&app, WHOAMI).await.refuses(401, "session_over");
    assert!(app.stop().success());

    // After a restart it is open still, as soon as the keys are there.
    let mut app = TestApp::start_in(&data, &settings.each_ref().map(|s| &**s)).await;
    app.until("the keys are known", async |app| {
        let answer = stays.get(app, WHOAMI).await;
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        answer.status == 200
    })
    .await;
    assert!(app.stop().success());

    let mut idp = issuer.settings("idp");
    idp["roles"]["ops"] = json!("viewer");
    let settings = with(&idp);
    let mut app = TestApp::start_in(&data, &settings.each_ref().map(|s| &**s)).await;
    app.until("the keys are known", async |app| {
        stays.get(app, WHOAMI).await.status != 503
    })
    .await;
    stays.get(&app, WHOAMI).await.refuses(401, "session_over");
    // The end of a session is written at the latest when the hive ends.
    assert!(app.stop().success());
    let events = all_events(&store_in(&data)).await;
    let ended = events
        .iter()
        .map(|event| serde_json::to_value(event).unwrap());
    let reasons: Vec<_> = ended
        .filter(|event| event["action"] == "auth.logout")
        .map(|event| event["details"]["reason"].clone())
        .collect();
    assert_eq!(reasons, ["withdrawn", "withdrawn"]);
}
