//! Forged tokens, headers and paths beyond those of `jwt` and `http_keys`: each is a trick
//! that some server has fallen for.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use reqwest::{Method, StatusCode};
use ring::hmac;
use serde_json::{Value, json};

use crate::{
    issuer::{Signer, TestIssuer, encode, now, unsigned},
    support::TestApp,
    wire::{connect, read_to_end},
};

const WHOAMI: &str = "/api/v1/auth/whoami";
const QUIET: [&str; 4] = [
    "bots.seed=[]",
    "auth.jwt.allow_http_on_loopback=true",
    "limits.address.per_second=1000000",
    "limits.address.burst=1000000",
];

async fn hive(issuer: &TestIssuer) -> TestApp {
    let issuers = format!("auth.issuers={}", json!([issuer.settings("idp")]));
    TestApp::start_with(&[&QUIET[..], &[issuers.as_str()]].concat()).await
}

fn with(claims: &Value, name: &str, value: Value) -> String {
    let mut claims = claims.clone();
    claims[name] = value;
    claims.to_string()
}

/// A signature with another text of the same bytes, or of other bytes.
fn resigned(token: &str, change: impl Fn(&[u8]) -> String) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    format!("{signed}.{}", change(&bytes))
}

/// ASN.1 DER of a raw ECDSA signature, which JWS does not use.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| [&[2, 33, 0], half].concat();
    let both = [integer(&raw[..32]), integer(&raw[32..])].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()][..], &both].concat()
}

fn headers(rsa: &Signer, text: &str) -> Vec<(String, String)> {
    let jwk = rsa.jwk();
    let modulus = BASE64URL_NOPAD
        .decode(jwk["n"].as_str().unwrap().as_bytes())
        .unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        BASE64.encode(&modulus)
    );
    let mac = |name: &str, algorithm: hmac::Algorithm, secret: &[u8]| {
        let signed = unsigned(&json!({"alg": name, "kid": "r"}).to_string(), text);
        let tag = hmac::sign(&hmac::Key::new(algorithm, secret), signed.as_bytes());
        format!("{signed}.{}", encode(tag.as_ref()))
    };
    let mut forged = Vec::new();
    for (name, algorithm) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
        ("hs256", hmac::HMAC_SHA256),
    ] {
        for (what, secret) in [
            ("modulus", modulus.as_slice()),
            ("PEM", pem.as_bytes()),
            ("PEM without its last line end", pem.trim_end().as_bytes()),
            ("kid", b"r"),
        ] {
            forged.push((
                format!("{name} with the {what}"),
                mac(name, algorithm, secret),
            ));
        }
    }
    for header in [
        json!({"alg": "nOnE", "kid": "r"}),
        json!({"alg": "", "kid": "r"}),
        json!({"alg": null, "kid": "r"}),
        json!({"alg": ["RS256"], "kid": "r"}),
        json!({"alg": "rs256", "kid": "r"}),
        json!({"alg": "RS256 ", "kid": "r"}),
        json!({"alg": "RS1", "kid": "r"}),
        json!({"alg": "PS256", "kid": "r"}),
        json!({"alg": "RS256", "kid": 1}),
        json!({"alg": "RS256", "kid": ["r"]}),
        json!({"alg": "RS256", "kid": {"r": 1}}),
        json!({"alg": "RS256", "kid": "R"}),
        json!({"alg": "RS256", "kid": "r\u{0}"}),
        json!({"alg": "RS256", "kid": " r"}),
        json!({"alg": "RS256", "kid": "r", "crit": []}),
        json!({"alg": "RS256", "kid": "r", "crit": ["b64"], "b64": false}),
        json!({"alg": "RS256", "kid": "r", "b64": true}),
        json!({"alg": "RS256", "kid": "r", "zip": "DEF"}),
        json!({"alg": "RS256", "kid": "r", "typ": "logout+jwt"}),
        json!({"alg": "RS256", "kid": "r", "enc": "A128GCM"}),
    ] {
        forged.push((
            header.to_string(),
            rsa.token_with(&header.to_string(), text),
        ));
    }
    for header in [
        r#"{"alg":"RS256","\u0061lg":"none","kid":"r"}"#,
        r#"{"alg":"RS256","kid":"r","x":{"a":1,"a":2}}"#,
        r#"{"alg":"RS256","kid":"r"} {}"#,
        r#"["alg","RS256"]"#,
        "\u{feff}{\"alg\":\"RS256\",\"kid\":\"r\"}",
    ] {
        forged.push((header.to_owned(), rsa.token_with(header, text)));
    }
    forged
}

fn claims(rsa: &Signer, good: &Value) -> Vec<(String, String)> {
    let text = good.to_string();
    let mut forged = Vec::new();
    for (name, value) in [
        ("exp", json!(-1)),
        ("exp", json!(0)),
        ("exp", json!(true)),
        ("exp", json!([now() + 60])),
        ("exp", json!({})),
        ("exp", json!(1e300)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(true)),
        ("nbf", json!([0])),
        ("nbf", json!(u64::MAX)),
        ("iat", json!("now")),
        ("iat", json!({})),
        ("iat", json!(u64::MAX)),
        ("aud", json!([])),
        ("aud", json!([["deia"]])),
        ("aud", json!({"deia": true})),
        ("aud", json!(7)),
        ("aud", json!("")),
        ("aud", json!("deia ")),
        ("aud", json!("DEIA")),
        ("iss", json!("")),
        ("iss", json!({})),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!(["ada"])),
        ("sub", json!("a\u{0}")),
        ("sub", json!("x".repeat(300))),
    ] {
        let body = with(good, name, value);
        forged.push((
            body.clone(),
            rsa.token_with(r#"{"alg":"RS256","kid":"r"}"#, &body),
        ));
    }
    for body in [
        text.replacen('{', r#"{"s\u0075b":"root","#, 1),
        text.replacen('{', r#"{"x":{"sub":"a","sub":"b"},"#, 1),
        format!("{text}{{}}"),
        format!("[{text}]"),
        "null".to_owned(),
    ] {
        forged.push((
            body.clone(),
            rsa.token_with(r#"{"alg":"RS256","kid":"r"}"#, &body),
        ));
    }
    forged
}

fn signatures(rsa: &Signer, p256: &Signer, good: &Value) -> Vec<(String, String)> {
    let (by_rsa, by_p256) = (rsa.token(good), p256.token(good));
    let last = by_p256.chars().last().unwrap();
    // The last character of 64 bytes carries two bits; the other four must be 0.
    let malleable = match last {
        'A' => 'B',
        'Q' => 'R',
        'g' => 'h',
        _ => 'x',
    };
    vec![
        (
            "bits beyond the last byte".into(),
            format!("{}{malleable}", &by_p256[..by_p256.len() - 1]),
        ),
        ("DER".into(), resigned(&by_p256, |raw| encode(&der(raw)))),
        (
            "zeros".into(),
            resigned(&by_p256, |raw| encode(&vec![0; raw.len()])),
        ),
        (
            "s and r".into(),
            resigned(&by_p256, |raw| encode(&[&raw[32..], &raw[..32]].concat())),
        ),
        (
            "a leading zero".into(),
            resigned(&by_rsa, |raw| encode(&[&[0], raw].concat())),
        ),
        (
            "shortened".into(),
            resigned(&by_rsa, |raw| encode(&raw[1..])),
        ),
        (
            "the alphabet with + and /".into(),
            resigned(&by_rsa, |raw| format!("+/{}", encode(&raw[2..]))),
        ),
        ("padded".into(), format!("{by_p256}==")),
        ("of another token".into(), {
            let (signed, _) = by_rsa.rsplit_once('.').unwrap();
            format!("{signed}.{}", by_p256.rsplit_once('.').unwrap().1)
        }),
        ("a part too few".into(), by_rsa.replacen('.', "", 1)),
        (
            "empty parts".into(),
            format!("{}..", by_rsa.split('.').next().unwrap()),
        ),
        (
            "JSON serialisation".into(),
            json!({"payload": "x", "signature": "y"}).to_string(),
        ),
    ]
}

#[tokio::test]
async fn every_forged_token_is_refused_and_none_is_logged() {
    let (rsa, p256) = (Signer::rsa("r"), Signer::p256("e"));
    let issuer = TestIssuer::start(&[&rsa, &p256]).await;
    let app = hive(&issuer).await;
    let good = issuer.claims("ada", "ops");
    for signer in [&rsa, &p256] {
        app.get_as(&signer.token(&good), WHOAMI).await.is(200);
    }
    let mut forged = headers(&rsa, &good.to_string());
    forged.extend(claims(&rsa, &good));
    forged.extend(signatures(&rsa, &p256, &good));
    assert!(forged.len() > 60);
    for (what, token) in &forged {
        let answer = app.get_as(token, WHOAMI).await;
        // 503: there may be such a key at the issuer by now.
        assert!([401, 503].contains(&answer.status), "{what}: {answer:#?}");
        assert!(!app.log().contains(token.as_str()), "{what}");
    }
    // Claims of roles give what the settings say, and nothing to others.
    for group in [
        json!("admin"),
        json!(["admin"]),
        json!({"root": true}),
        json!(true),
        json!([["root"]]),
    ] {
        let mut claims = good.clone();
        let name = claims
            .as_object()
            .unwrap()
            .iter()
            .find_map(|(name, value)| value.to_string().contains("ops").then(|| name.clone()))
            .unwrap();
        claims[&name] = group;
        let answer = app.get_as(&rsa.token(&claims), WHOAMI).await;
        answer.refuses(403, "token_without_role");
    }
    app.get_as(&rsa.token(&good), WHOAMI).await.is(200);
}

/// The status of a request with these fields.
fn status(app: &TestApp, first: &str, fields: &str) -> u16 {
    use std::io::Write as _;
    let mut stream = connect(app);
    let text = format!("{first} HTTP/1.1\r\nHost: deia\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    // The answer to HEAD has a length and no body.
    let answer = read_to_end(&mut stream);
    let status = answer.split(' ').nth(1).map(str::parse);
    status.unwrap().unwrap()
}

#[tokio::test]
async fn a_key_counts_in_one_authorization_header_only() {
    let app = TestApp::start_with(&QUIET).await;
    let key = &app.admin;
    let get = format!("GET {WHOAMI}");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(
            status(&app, &get, &format!("Authorization: {scheme} {key}\r\n")),
            200
        );
    }
    for value in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        "Bearer =".into(),
        format!("Bearer{key}"),
        format!("Bearer \"{key}\""),
        format!("Bearer {key},"),
        format!("Bearer {key};"),
        format!("Bearer {key} {key}"),
        format!("Bearer {key}, Bearer {key}"),
        format!("Bearer x, Bearer {key}"),
        format!("Bearer Bearer {key}"),
        format!("Bearer token={key}"),
        format!("Bearer {}", key.to_uppercase()),
        format!("Bearer {}", &key[..key.len() - 1]),
        format!("Bearer {key}%00"),
        format!("Token {key}"),
        format!("Key {key}"),
        format!("DPoP {key}"),
        format!("Negotiate {key}"),
        format!("Basic {}", BASE64.encode(format!("admin:{key}").as_bytes())),
        format!("Digest username=\"admin\", response=\"{key}\""),
    ] {
        let fields = format!("Authorization: {value}\r\n");
        assert_eq!(status(&app, &get, &fields), 401, "{value}");
    }
    for name in [
        "Proxy-Authorization",
        "X-Authorization",
        "X-Api-Key",
        "Api-Key",
        "X-Auth-Token",
        "X-Forwarded-Authorization",
        "X-Forwarded-User",
        "X-Remote-User",
        "Remote-User",
        "Cookie",
        "X-HTTP-Authorization",
        "Authentication",
    ] {
        for value in [
            format!("Bearer {key}"),
            key.clone(),
            "admin".into(),
            format!("deia_session={key}"),
        ] {
            assert_eq!(
                status(&app, &get, &format!("{name}: {value}\r\n")),
                401,
                "{name}: {value}"
            );
        }
    }
    // Two of them are none, in whatever order.
    let (good, bad) = (
        format!("Authorization: Bearer {key}\r\n"),
        "Authorization: Bearer x\r\n",
    );
    for fields in [
        format!("{good}{bad}"),
        format!("{bad}{good}"),
        format!("{good}{good}"),
    ] {
        assert!(
            [400, 401].contains(&status(&app, &get, &fields)),
            "{fields}"
        );
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_and_no_header_leads_past_the_permissions() {
    let app = TestApp::start_with(&QUIET).await;
    let eve = app.key("eve", "external").await;
    let authorised = format!("Authorization: Bearer {eve}\r\n");
    for path in [
        "/api/v1/auth/keys",
        "/api/v1/auth/keys/",
        "//api/v1/auth/keys",
        "/api//v1/auth/keys",
        "/./api/v1/auth/keys",
        "/api/v1/./auth/keys",
        "/api/v1/tasks/../auth/keys",
        "/api/v1/tasks/..%2fauth/keys",
        "/api/v1/tasks/%2e%2e/auth/keys",
        "/api/v1/tasks/%2e%2e%2fauth%2fkeys",
        "/api/v1/tasks/..;/auth/keys",
        "/api/v1/auth/keys;a=b",
        "/api/v1/auth/keys%00",
        "/api/v1/auth/keys%20",
        "/api/v1/auth/keys%0a",
        "/api/v1/auth/keys.json",
        "/api/v1/auth/keys/..%5ckeys",
        "/api/v1/auth%2fkeys",
        "/api/v1/auth%252fkeys",
        "/%61pi/v1/auth/keys",
        "/API/v1/auth/keys",
        "/api/v1/auth/KEYS",
        "/api/v1/auth/%6beys",
        "/livez/../api/v1/auth/keys",
        "/livez/..%2fapi/v1/auth/keys",
        "/api/v1/auth/keys?/livez",
        "http://deia/api/v1/auth/keys",
        "/api/v1/users",
        "/api/v1/users/",
        "/api/v1/supervisors/..%2fauth/keys",
        "/api/v1/system/status",
        "/metrics",
        "/metrics/",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"] {
            let got = status(&app, &format!("{method} {path}"), &authorised);
            assert!((400..500).contains(&got), "{method} {path}: {got}");
        }
    }
    let override_to = [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ];
    for name in override_to {
        let fields = format!("{authorised}{name}: DELETE\r\n");
        assert_eq!(
            status(&app, "GET /api/v1/bots/none", &fields),
            403,
            "{name}"
        );
        assert_eq!(
            status(&app, &format!("GET {WHOAMI}"), &fields),
            200,
            "{name}"
        );
    }
    for name in [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Prefix",
        "X-Forwarded-Uri",
        "Content-Location",
    ] {
        let answer = app
            .request(Method::GET, "/livez")
            .header(name, "/api/v1/auth/keys")
            .send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = answer.text().await.unwrap();
        assert!(body.contains("alive"), "{name}: {body}");
    }
    // An address is that of the connection, whatever a header says.
    let held = json!({"user": "far", "role": "viewer", "allow_ips": ["192.0.2.7"]});
    let held = app.post("/api/v1/auth/keys", &held).await.is(201).body;
    let held = held["key"].as_str().unwrap();
    for name in [
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Originating-IP",
        "Client-IP",
        "Credential",
    ] {
        for value in ["192.0.2.7", "for=192.0.2.7", "192.0.2.7, 127.0.0.1"] {
            let fields = format!("Authorization: Bearer {held}\r\n{name}: {value}\r\n");
            assert_eq!(
                status(&app, &format!("GET {WHOAMI}"), &fields),
                403,
                "{name}: {value}"
            );
        }
    }
}
