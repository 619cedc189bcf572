//! Tokens of issuers: taken when they are good, and refused in every way that
//! libraries are known to have fallen for.

use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};

use crate::{
    issuer::{Manner, Signer, TestIssuer, encode, now, unsigned},
    support::{Answer, TestApp, command, task},
};

const WHOAMI: &str = "/api/v1/auth/whoami";

/// A hive that takes tokens of these.
async fn hive(issuers: &[Value], more: &[&str]) -> TestApp {
    let issuers = format!("auth.issuers={}", Value::from(issuers));
    let mut settings = vec![
        "bots.seed=[]",
        "auth.jwt.allow_http_on_loopback=true",
        "limits.address.per_second=1000000",
        "limits.address.burst=1000000",
        issuers.as_str(),
    ];
    settings.extend(more);
    TestApp::start_with(&settings).await
}

fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

async fn whoami(app: &TestApp, token: &str) -> Answer {
    app.get_as(token, WHOAMI).await
}

#[tokio::test]
async fn tokens_by_each_kind_of_key_are_taken() {
    let signers = [Signer::rsa("r"), Signer::p256("e"), Signer::ed25519("d")];
    let issuer = TestIssuer::start(&signers.each_ref()).await;
    let app = hive(&[issuer.settings("idp")], &[]).await;
    for signer in &signers {
        let me = whoami(&app, &signer.token(&issuer.claims("ada", "people"))).await;
        let me = me.is(200).body;
        assert_eq!(
            (&me["user"], &me["role"]),
            (&json!("idp:ada"), &json!("external"))
        );
        assert_eq!(me["key_id"], Value::Null);
    }
    assert_eq!(issuer.asked(), 1, "keys are fetched once");

    let ada = signers[0].token(&issuer.claims("ada", "people"));
    let bob = signers[1].token(&issuer.claims("bob", "people"));
    let accepted = app
        .post_as(&ada, "/api/v1/tasks/submit", &task("x"))
        .await
        .is(202);
    let path = format!("/api/v1/tasks/{}", accepted.body["id"].as_str().unwrap());
    assert_eq!(
        app.get_as(&ada, &path).await.is(200).body["submitter"],
        "idp:ada"
    );
    app.get_as(&bob, &path).await.refuses(404, "not_found");
    app.get_as(&ada, "/api/v1/auth/keys")
        .await
        .refuses(403, "permission_denied");
    // A user of the hive may be called as one of the issuer, and is another.
    let local = app.key("ada", "external").await;
    app.get_as(&local, &path).await.refuses(404, "not_found");
    let root = signers[2].token(&issuer.claims("eve", "root"));
    app.get_as(&root, "/api/v1/auth/keys").await.is(200);
    let named = json!({"user": "idp:ada", "role": "external"});
    app.post("/api/v1/auth/keys", &named)
        .await
        .refuses(422, "invalid_input");
    assert!(!app.log().contains(&ada), "no token in the log");
}

#[tokio::test]
async fn keys_that_are_made_with_a_token_have_a_limited_life() {
    let signer = Signer::ed25519("d");
    let issuer = TestIssuer::start(&[&signer]).await;
    let settings = ["auth.token_key_lifetime=2h"];
    let app = hive(&[issuer.settings("idp")], &settings).await;
    let root = signer.token(&issuer.claims("eve", "root"));
    let keys = "/api/v1/auth/keys";
    let new = json!({"user": "ci", "role": "external"});
    let made = app.post_as(&root, keys, &new).await.is(201).body;
    let expires_at = made["expires_at"].as_str().unwrap().to_owned();
    // Two hours have minutes in common: nothing here depends on how fast it is.
    let year = |text: &str| text[..4].parse::<u32>().unwrap();
    assert!(year(&expires_at) < 2999);
    let late = changed(&new, "expires_at", json!("2999-01-01T00:00:00Z"));
    let refused = app.post_as(&root, keys, &late).await;
    let refused = refused.refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/expires_at"]);
    // Neither by the rotation of a key that never expires.
    let unlimited = app.post(keys, &new).await.is(201).body;
    assert_eq!(unlimited["expires_at"], Value::Null);
    let rotate = format!("{keys}/{}/rotate", unlimited["id"].as_str().unwrap());
    let late = json!({"expires_at": "2999-01-01T00:00:00Z"});
    let refused = app.post_as(&root, &rotate, &late).await;
    refused.refuses(422, "invalid_input");
    let rotated = app.post_as(&root, &rotate, &json!({})).await.is(201).body;
    assert!(rotated["expires_at"].is_string(), "{rotated}");
    // A key of the hive gives what it has.
    let again = app.post(keys, &new).await.is(201).body;
    assert_eq!(again["expires_at"], Value::Null);
}

#[tokio::test]
async fn the_keys_are_found_by_discovery() {
    let signer = Signer::ed25519("d");
    let issuer = TestIssuer::start(&[&signer]).await;
    let other = TestIssuer::start(&[&signer]).await;
    other.put(
        "/.well-known/openid-configuration",
        &json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", other.url)}),
    );
    let far = TestIssuer::start(&[&signer]).await;
    far.put(
        "/.well-known/openid-configuration",
        &json!({"issuer": far.url, "jwks_uri": "http://192.0.2.1/keys"}),
    );
    let settings =
        |issuer: &TestIssuer, name| changed(&issuer.settings(name), "jwks_url", Value::Null);
    let all = [
        settings(&issuer, "idp"),
        settings(&other, "other"),
        settings(&far, "far"),
    ];
    let app = hive(&all, &[]).await;
    whoami(&app, &signer.token(&issuer.claims("ada", "ops")))
        .await
        .is(200);
    for (broken, why) in [(&other, "of another issuer"), (&far, "not allowed")] {
        let refused = whoami(&app, &signer.token(&broken.claims("ada", "ops"))).await;
        refused.refuses(503, "issuer_unavailable");
        app.until_logged(why).await;
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let (rsa, p256, ed) = (Signer::rsa("r"), Signer::p256("e"), Signer::ed25519("d"));
    let stranger = Signer::p256("e");
    let issuer = TestIssuer::start(&[&rsa, &p256, &ed]).await;
    let other = TestIssuer::start(&[&stranger]).await;
    let app = hive(
        &[issuer.settings("idp"), other.settings("other")],
        &["auth.jwt.refresh_at_most_every=1h"],
    )
    .await;
    let claims = issuer.claims("ada", "ops");
    let text = claims.to_string();
    let good = rsa.token(&claims);
    whoami(&app, &good).await.is(200);
    whoami(&app, &stranger.token(&other.claims("ada", "ops")))
        .await
        .is(200);

    let header = |value: Value| value.to_string();
    let hmac = |secret: &[u8], header: &str| {
        let signed = unsigned(header, &text);
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret),
            signed.as_bytes(),
        );
        format!("{signed}.{}", encode(tag.as_ref()))
    };
    let jwk = rsa.jwk();
    let flipped = {
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        format!("{signed}.{first}{}", &signature[1..])
    };
    let swapped = {
        let parts: Vec<_> = good.split('.').collect();
        let root = issuer.claims("ada", "root").to_string();
        format!("{}.{}.{}", parts[0], encode(root.as_bytes()), parts[2])
    };
    let evil = json!({"alg": "ES256", "kid": "evil", "jku": format!("{}/keys", other.url), "x5u": other.url});
    let embedded = json!({"alg": "ES256", "kid": "e", "jwk": stranger.jwk()});
    let duplicate = text.replacen('{', "{\"sub\":\"root\",", 1);
    let name = |kid: &str| json!({"alg": "RS256", "kid": kid}).to_string();
    let refused = "token_refused";
    let malformed = "token_malformed";
    // There may be such a key by now: it is too soon to ask.
    let unknown = "issuer_unavailable";
    let cases: Vec<(&str, String, &str)> = vec![
        (
            "alg none",
            format!("{}.", unsigned(r#"{"alg":"none"}"#, &text)),
            refused,
        ),
        (
            "alg none with a signature",
            rsa.token_with(r#"{"alg":"none","kid":"r"}"#, &text),
            refused,
        ),
        (
            "alg NoNe",
            format!("{}.", unsigned(r#"{"alg":"NoNe"}"#, &text)),
            refused,
        ),
        ("no alg", rsa.token_with(r#"{"kid":"r"}"#, &text), refused),
        (
            "the modulus as a secret",
            hmac(
                jwk["n"].as_str().unwrap().as_bytes(),
                r#"{"alg":"HS256","kid":"r"}"#,
            ),
            refused,
        ),
        (
            "the JWK as a secret",
            hmac(jwk.to_string().as_bytes(), r#"{"alg":"HS256","kid":"r"}"#),
            refused,
        ),
        ("no secret", hmac(b"", r#"{"alg":"HS256"}"#), refused),
        (
            "a MAC called RS256",
            hmac(
                jwk["n"].as_str().unwrap().as_bytes(),
                r#"{"alg":"RS256","kid":"r"}"#,
            ),
            refused,
        ),
        (
            "an algorithm not in the list",
            rsa.token_with(r#"{"alg":"RS512","kid":"r"}"#, &text),
            refused,
        ),
        (
            "the algorithm of another key",
            p256.token_with(r#"{"alg":"EdDSA","kid":"e"}"#, &text),
            unknown,
        ),
        (
            "the key of another kind",
            p256.token_with(r#"{"alg":"ES256","kid":"r"}"#, &text),
            unknown,
        ),
        (
            "jku and x5u",
            stranger.token_with(&header(evil), &text),
            unknown,
        ),
        (
            "an embedded jwk",
            stranger.token_with(&header(embedded), &text),
            refused,
        ),
        (
            "the key of another issuer",
            stranger.token(&claims),
            refused,
        ),
        (
            "the issuer of another key",
            rsa.token(&other.claims("ada", "ops")),
            unknown,
        ),
        (
            "kid a path",
            rsa.token_with(&name("../../../../dev/null"), &text),
            unknown,
        ),
        (
            "kid SQL",
            rsa.token_with(&name("r' OR '1'='1"), &text),
            unknown,
        ),
        ("kid empty", rsa.token_with(&name(""), &text), unknown),
        (
            "no kid and several keys",
            p256.token_with(r#"{"alg":"RS256"}"#, &text),
            refused,
        ),
        ("a flipped bit", flipped, refused),
        ("other claims", swapped, refused),
        (
            "no signature",
            format!("{}.", good.rsplit_once('.').unwrap().0),
            refused,
        ),
        (
            "kid huge",
            rsa.token_with(&name(&"k".repeat(300)), &text),
            malformed,
        ),
        (
            "crit",
            rsa.token_with(r#"{"alg":"RS256","kid":"r","crit":["exp"]}"#, &text),
            malformed,
        ),
        (
            "two algorithms",
            rsa.token_with(r#"{"alg":"none","kid":"r","alg":"RS256"}"#, &text),
            malformed,
        ),
        (
            "two subjects",
            rsa.token_with(&name("r"), &duplicate),
            malformed,
        ),
        (
            "another typ",
            rsa.token_with(r#"{"alg":"RS256","kid":"r","typ":"dpop+jwt"}"#, &text),
            malformed,
        ),
        (
            "nested",
            rsa.token_with(r#"{"alg":"RS256","kid":"r","cty":"JWT"}"#, &text),
            malformed,
        ),
        ("truncated", good[..good.len() / 2].to_owned(), malformed),
        ("four parts", format!("{good}.x"), malformed),
        ("five parts", format!("{good}.x.y"), malformed),
        ("dots", "..".into(), "key_malformed"),
        ("padded", format!("{good}="), malformed),
        ("huge", format!("{good}{}", "A".repeat(9 << 10)), malformed),
        (
            "wrong aud",
            rsa.token(&changed(&claims, "aud", json!("other"))),
            refused,
        ),
        (
            "no aud",
            rsa.token(&changed(&claims, "aud", Value::Null)),
            refused,
        ),
        (
            "wrong iss",
            rsa.token(&changed(&claims, "iss", json!("https://evil.example"))),
            refused,
        ),
        (
            "iss with a slash",
            rsa.token(&changed(&claims, "iss", json!(format!("{}/", issuer.url)))),
            refused,
        ),
        (
            "no iss",
            rsa.token(&changed(&claims, "iss", Value::Null)),
            refused,
        ),
        (
            "iss a list",
            rsa.token(&changed(&claims, "iss", json!([issuer.url]))),
            refused,
        ),
        (
            "expired",
            rsa.token(&changed(&claims, "exp", json!(now() - 60))),
            "token_expired",
        ),
        (
            "no exp",
            rsa.token(&changed(&claims, "exp", Value::Null)),
            refused,
        ),
        (
            "exp a text",
            rsa.token(&changed(&claims, "exp", json!("never"))),
            refused,
        ),
        (
            "exp far away",
            rsa.token(&changed(&claims, "exp", json!(now() + 400 * 86_400))),
            refused,
        ),
        (
            "not yet valid",
            rsa.token(&changed(&claims, "nbf", json!(now() + 300))),
            refused,
        ),
        (
            "nbf a text",
            rsa.token(&changed(&claims, "nbf", json!("99999999999"))),
            refused,
        ),
        (
            "made in the future",
            rsa.token(&changed(&claims, "iat", json!(now() + 300))),
            refused,
        ),
        (
            "no sub",
            rsa.token(&changed(&claims, "sub", Value::Null)),
            refused,
        ),
        (
            "sub with a line end",
            rsa.token(&changed(&claims, "sub", json!("a\nb"))),
            refused,
        ),
    ];
    for (what, token, code) in &cases {
        let answer = whoami(&app, token).await;
        if *code == unknown {
            let wait: u64 = answer
                .refuses(503, code)
                .header("retry-after")
                .parse()
                .unwrap();
            assert!((3_000..=3_600).contains(&wait), "{what}: {wait}");
        } else {
            let answer = answer.refuses(401, code);
            let challenge = answer.header("www-authenticate");
            assert!(challenge.contains("invalid_token"), "{what}");
        }
        assert!(
            !app.log().contains(token.as_str()),
            "{what}: no token in the log"
        );
    }
    let nobody = rsa.token(&issuer.claims("ada", "admin"));
    whoami(&app, &nobody)
        .await
        .refuses(403, "token_without_role");
    whoami(&app, &good).await.is(200);
    assert_eq!(
        (issuer.asked(), other.asked()),
        (1, 1),
        "unknown keys do not make floods"
    );
}

#[tokio::test]
async fn keys_are_rotated() {
    let (old, new) = (Signer::rsa("2026-1"), Signer::ed25519("2026-2"));
    let issuer = TestIssuer::start(&[&old]).await;
    let app = hive(
        &[issuer.settings("idp")],
        &["auth.jwt.refresh_at_most_every=1s"],
    )
    .await;
    let claims = issuer.claims("ada", "ops");
    let (before, after) = (old.token(&claims), new.token(&claims));
    whoami(&app, &before).await.is(200);
    issuer.publish(&[&old, &new]);
    // The issuer is asked again one second after the first attempt at the latest.
    app.until("the new key is known", async |app| {
        whoami(app, &after).await.status == 200
    })
    .await;
    whoami(&app, &before).await.is(200);
    issuer.publish(&[&new]);
    let unknown = Signer::p256("2026-3").token(&claims);
    app.until("the old key is gone", async |app| {
        whoami(app, &unknown).await;
        let old = whoami(app, &before).await.status;
        assert!([200, 401, 503].contains(&old), "{old}");
        old != 200
    })
    .await;
    whoami(&app, &after).await.is(200);
    // An issuer that withdraws all that it has is not one that cannot be asked.
    for (keys, why) in [
        (json!([]), "no usable signing key"),
        (
            json!([{"kty": "oct", "k": "c2VjcmV0"}]),
            "no usable signing key",
        ),
    ] {
        issuer.put("/keys", &json!({ "keys": keys }));
        app.until("no key is left", async |app| {
            whoami(app, &unknown).await;
            whoami(app, &after).await.status != 200
        })
        .await;
        app.until_logged(why).await;
        issuer.publish(&[&new]);
        app.until("there is one again", async |app| {
            whoami(app, &after).await.status == 200
        })
        .await;
    }
    let mut many = vec![new.jwk()];
    many.extend((0..150).map(|_| old.jwk()));
    issuer.put("/keys", &json!({ "keys": many }));
    app.until("there are too many", async |app| {
        whoami(app, &unknown).await;
        app.log().contains("too many signing keys")
    })
    .await;
    whoami(&app, &after).await.is(200);
}

#[tokio::test]
async fn strangers_do_not_have_a_new_key_refused() {
    let (old, new) = (Signer::p256("2026-1"), Signer::ed25519("2026-2"));
    let issuer = TestIssuer::start(&[&old]).await;
    let app = hive(
        &[issuer.settings("idp")],
        &["auth.jwt.refresh_at_most_every=2s"],
    )
    .await;
    let claims = issuer.claims("ada", "ops");
    whoami(&app, &old.token(&claims)).await.is(200);
    let (fresh, made_up) = (new.token(&claims), Signer::p256("x").token(&claims));
    issuer.publish(&[&old, &new]);
    app.until("the new key is known", async |app| {
        whoami(app, &made_up).await;
        let answer = whoami(app, &fresh).await;
        if answer.status != 200 {
            let wait = answer.refuses(503, "issuer_unavailable");
            let wait: u64 = wait.header("retry-after").parse().unwrap();
            assert!((1..=2).contains(&wait), "{wait}");
            return false;
        }
        true
    })
    .await;
}

#[tokio::test]
async fn bad_tokens_lock_nobody_out() {
    let signer = Signer::p256("e");
    let issuer = TestIssuer::start(&[&signer]).await;
    let settings = ["limits.address.per_second=1", "limits.address.burst=2"];
    let app = hive(&[issuer.settings("idp")], &settings).await;
    let claims = issuer.claims("ada", "ops");
    whoami(&app, &signer.token(&claims)).await.is(200);
    let forged = Signer::p256("e");
    let floods = (0..200).map(|i| {
        let token = forged.token(&changed(&claims, "jti", json!(i)));
        let request = app.request_as(&token, Method::GET, WHOAMI);
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    });
    let floods: Vec<_> = floods.collect();
    for i in 0..20 {
        let token = signer.token(&changed(&claims, "jti", json!(format!("good {i}"))));
        whoami(&app, &token).await.is(200);
        app.get(WHOAMI).await.is(200);
    }
    let mut limited = 0;
    for one in floods {
        let status = one.await.unwrap();
        assert!([401, 429].contains(&status), "{status}");
        limited += usize::from(status == 429);
    }
    assert!(limited > 100, "{limited}");
}

#[tokio::test]
async fn an_issuer_that_is_broken_from_the_start() {
    let signer = Signer::p256("e");
    let (issuer, sound) = (
        TestIssuer::start(&[&signer]).await,
        TestIssuer::start(&[&signer]).await,
    );
    let token = signer.token(&issuer.claims("ada", "ops"));
    let sound_token = signer.token(&sound.claims("ada", "ops"));
    issuer.behaves(Manner::Status(500));
    let settings = [
        "auth.jwt.refresh_at_most_every=1s",
        "auth.jwt.fetch_timeout=1s",
    ];
    let app = hive(
        &[issuer.settings("idp"), sound.settings("sound")],
        &settings,
    )
    .await;
    for (manner, why) in [
        (Manner::Status(500), "status 500"),
        (Manner::Garbage, "not a JWK Set"),
        (Manner::Floods, "longer than"),
        (
            Manner::Redirects(format!("{}/keys", sound.url)),
            "status 302",
        ),
        (Manner::Hangs, "fetch_timeout"),
    ] {
        issuer.behaves(manner);
        app.until("it is logged why", async |app| {
            let refused = whoami(app, &token).await.refuses(503, "issuer_unavailable");
            assert!(!refused.header("retry-after").is_empty());
            whoami(app, &sound_token).await.is(200);
            app.log().contains(why)
        })
        .await;
    }
    issuer.behaves(Manner::Serves);
    app.until("it is well again", async |app| {
        whoami(app, &token).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn an_issuer_that_hangs_delays_nobody_else() {
    let signer = Signer::p256("e");
    let (issuer, sound) = (
        TestIssuer::start(&[&signer]).await,
        TestIssuer::start(&[&signer]).await,
    );
    issuer.behaves(Manner::Hangs);
    let settings = ["auth.jwt.fetch_timeout=60s", "server.workers=1"];
    let app = hive(
        &[issuer.settings("idp"), sound.settings("sound")],
        &settings,
    )
    .await;
    let waiting: Vec<_> = (0..100)
        .map(|i| {
            let token = signer.token(&issuer.claims(&format!("user-{i}"), "ops"));
            let request = app.request_as(&token, Method::GET, WHOAMI);
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let sound_token = signer.token(&sound.claims("ada", "ops"));
    for _ in 0..50 {
        app.get(WHOAMI).await.is(200);
        whoami(&app, &sound_token).await.is(200);
    }
    // 64 wait for the issuer; there is no room for more.
    app.until("the others are sent away", async |_| {
        waiting.iter().filter(|one| one.is_finished()).count() == 36
    })
    .await;
    for one in waiting {
        match one.is_finished() {
            true => assert_eq!(one.await.unwrap(), 503),
            false => one.abort(),
        }
    }
}

#[tokio::test]
async fn known_keys_are_believed_while_the_issuer_is_away() {
    let signer = Signer::rsa("r");
    let issuer = TestIssuer::start(&[&signer]).await;
    let app = hive(
        &[issuer.settings("idp")],
        &[
            "auth.jwt.refresh_every=1s",
            "auth.jwt.refresh_at_most_every=1s",
            "auth.jwt.keys_valid_for=1h",
        ],
    )
    .await;
    let claims = issuer.claims("ada", "root");
    whoami(&app, &signer.token(&claims)).await.is(200);
    issuer.behaves(Manner::Status(503));
    app.until_logged("status 503").await;
    whoami(&app, &signer.token(&changed(&claims, "jti", json!("new"))))
        .await
        .is(200);
    // The child that fetches the keys may be restarted; the keys stay.
    let path = "/api/v1/supervisors/hive/core/issuer-keys/restart";
    app.post(path, &Value::Null).await.is(200);
    whoami(
        &app,
        &signer.token(&changed(&claims, "jti", json!("newer"))),
    )
    .await
    .is(200);
}

#[tokio::test]
async fn keys_that_are_too_old_are_not_believed() {
    let signer = Signer::rsa("r");
    let issuer = TestIssuer::start(&[&signer]).await;
    let app = hive(
        &[issuer.settings("idp")],
        &[
            "auth.jwt.refresh_every=1s",
            "auth.jwt.refresh_at_most_every=1s",
            "auth.jwt.keys_valid_for=2s",
        ],
    )
    .await;
    let token = signer.token(&issuer.claims("ada", "ops"));
    whoami(&app, &token).await.is(200);
    issuer.behaves(Manner::Garbage);
    app.until("they are too old", async |app| {
        whoami(app, &token).await.status == 503
    })
    .await;
    issuer.behaves(Manner::Serves);
    app.until("they are new", async |app| {
        whoami(app, &token).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn tokens_of_one_user_share_a_budget() {
    let signer = Signer::ed25519("d");
    let issuer = TestIssuer::start(&[&signer]).await;
    let settings = ["limits.read.per_second=1", "limits.read.burst=4"];
    let app = hive(&[issuer.settings("idp")], &settings).await;
    let claims = issuer.claims("ada", "ops");
    let mut limited = 0;
    for i in 0..20 {
        let token = signer.token(&changed(&claims, "jti", json!(i)));
        limited += usize::from(whoami(&app, &token).await.status == 429);
    }
    assert!(limited > 0, "a new token is no new budget");
    whoami(&app, &signer.token(&issuer.claims("bob", "ops")))
        .await
        .is(200);
}

#[tokio::test]
async fn an_issuer_without_tls_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let issuers = json!([{"name": "idp", "issuer": "http://id.example.org", "audiences": ["deia"],
        "default_role": "viewer"}]);
    let settings = format!("auth.issuers={issuers}");
    let started = TestApp::try_start(command(&data_dir, &[&settings]), &data_dir).await;
    let log = started.err().unwrap();
    assert!(log.contains("auth.issuers[0].issuer"), "{log}");
}
