//! Answers of each route to each kind of caller: every route of the API's own
//! description, with every kind of credential, beside a committed table.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    issuer::{Signer, TestIssuer},
    support::TestApp,
};

/// A caller, and the code of the refusal that a 401 or 403 to them has.
struct Caller {
    name: &'static str,
    credential: Option<(&'static str, String)>,
    refusal: &'static str,
}

/// Sets up one caller of each kind.
async fn callers(app: &TestApp, issuer: &TestIssuer, signer: &Signer) -> Vec<Caller> {
    let mut callers = Vec::new();
    let mut add = |name, key: Option<String>, refusal| {
        callers.push(Caller {
            name,
            credential: key.map(|key| ("authorization", format!("Bearer {key}"))),
            refusal,
        });
    };
    for role in ["admin", "operator", "viewer", "external", "bot"] {
        add(
            role,
            Some(app.key(&format!("a-{role}"), role).await),
            "permission_denied",
        );
    }
    // An admin's key for one thing that no route asks for yet.
    let scoped = made(
        app,
        json!({"user": "scoped", "role": "admin", "new_user": true, "scopes": ["sys:config:write"]}),
    )
    .await;
    add("scoped", Some(scoped.0), "permission_denied");
    add("none", None, "key_missing");
    add(
        "malformed",
        Some(format!("{}x", app.admin)),
        "key_malformed",
    );
    let unknown = deia_model::ApiKey::generate().unwrap().reveal();
    add("unknown", Some(unknown), "key_unknown");

    let soon = deia_model::Timestamp::now().plus_millis(500);
    let expired = made(
        app,
        json!({"user": "expired", "role": "admin", "new_user": true, "expires_at": soon}),
    )
    .await;
    app.until("the key has expired", async |app| {
        app.get_as(&expired.0, "/api/v1/auth/whoami").await.status == 401
    })
    .await;
    add("expired", Some(expired.0), "key_expired");

    let revoked = made(
        app,
        json!({"user": "revoked", "role": "admin", "new_user": true}),
    )
    .await;
    let path = format!("/api/v1/auth/keys/{}/revoke", revoked.1);
    app.post(&path, &Value::Null).await.is(200);
    add("revoked", Some(revoked.0), "key_revoked");

    let inactive = made(
        app,
        json!({"user": "inactive", "role": "admin", "new_user": true}),
    )
    .await;
    let request = app.request_as(&app.admin, Method::PATCH, "/api/v1/users/inactive");
    app.send(request.json(&json!({"active": false})))
        .await
        .is(200);
    add("inactive", Some(inactive.0), "user_inactive");

    let elsewhere = json!({"user": "elsewhere", "role": "admin", "new_user": true, "allow_ips": ["192.0.2.0/24"]});
    add(
        "elsewhere",
        Some(made(app, elsewhere).await.0),
        "address_not_allowed",
    );

    let claims = issuer.claims("ada", "people");
    add("token", Some(signer.token(&claims)), "permission_denied");
    let forged = Signer::ed25519(&signer.kid).token(&claims);
    add("forged", Some(forged), "token_refused");
    let mut claims = claims;
    claims["exp"] = 1.into();
    add("late", Some(signer.token(&claims)), "token_expired");

    let opened = app.post("/api/v1/auth/session", &Value::Null).await.is(201);
    let (cookie, _) = opened.header("set-cookie").split_once(';').unwrap();
    let (id, _) = cookie.split_once('.').unwrap();
    let over = format!("{id}.{}", "A".repeat(43));
    for (name, cookie, refusal) in [
        ("page", cookie.to_owned(), "cross_site"),
        ("over", over, "session_over"),
    ] {
        callers.push(Caller {
            name,
            credential: Some(("cookie", cookie)),
            refusal,
        });
    }
    callers
}

async fn made(app: &TestApp, body: Value) -> (String, String) {
    let made = app.post("/api/v1/auth/keys", &body).await.is(201).body;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("key"), text("id"))
}

/// A path that the route has and that names nothing there is.
pub(crate) fn path_of(template: &str) -> String {
    let id = match template {
        path if path.contains("/tasks/") => "task_01h455vb4pex5vsknk084sn02q",
        path if path.contains("/keys/") => "key_01h455vb4pex5vsknk084sn02q",
        _ => "nobody",
    };
    let mut path = String::new();
    for (i, part) in template.split('{').enumerate() {
        match part.split_once('}') {
            Some((_, rest)) if i > 0 => path.extend([id, rest]),
            _ => path.push_str(part),
        }
    }
    path
}

/// The verdict of a route on a caller: `in`, or the status of the refusal.
async fn verdict(app: &TestApp, method: &str, template: &str, caller: &Caller) -> String {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    // A caller that is let in is then refused for the body: nothing is changed.
    let mut request = app.request(method.clone(), &path_of(template)).body("{");
    if let Some((header, value)) = &caller.credential {
        request = request.header(*header, value);
    }
    let answer = app.send(request).await;
    let what = format!("{method} {template} for {}", caller.name);
    if ![401, 403].contains(&answer.status) {
        // A request that names nothing and has a broken body must not cause a server error.
        // (503: the machine of the test may not be healthy.)
        let fine = answer.status < 500 || (answer.status, template) == (503, "/health");
        assert!(fine, "{what}: {answer:?}");
        return "in".into();
    }
    let status = answer.status;
    let refused = answer.refuses(status, caller.refusal);
    let challenged = refused.header("www-authenticate").starts_with("Bearer");
    assert_eq!(challenged, status == 401, "{what}");
    status.to_string()
}

const HEAD: &str = "\
# What each route answers to each kind of caller: `in` (it came to its handler), or
# the status of the refusal. Compared by tests/it/access_table.rs, which fails for a
# route that is not here. Columns:
#   admin operator viewer external bot   a key of that role
#   scoped     a key of an admin, with the scope sys:config:write alone
#   none malformed unknown expired revoked   what is wrong with the key
#   inactive   the user of the key is not active
#   elsewhere  the key may not be used from the caller's address
#   token      a token of an issuer that gives the role external
#   forged late  what is wrong with the token
#   page       the cookie of an admin's session, without what pages of it send along
#   over       a cookie of a session that is over
";

/// The rows of the committed table, by route.
fn committed(text: &str) -> BTreeMap<String, Vec<String>> {
    let rows = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let route = format!("{} {}", words.next().unwrap(), words.next().unwrap());
        (route, words.collect())
    };
    rows.map(row).collect()
}

#[tokio::test]
async fn every_route_answers_every_caller_as_the_table_says() {
    let signer = Signer::ed25519("d");
    let issuer = TestIssuer::start(&[&signer]).await;
    let issuers = format!("auth.issuers={}", Value::from(vec![issuer.settings("idp")]));
    let app = TestApp::start_with(&[
        "bots.seed=[]",
        "limits.enabled=false",
        "auth.jwt.allow_http_on_loopback=true",
        &issuers,
    ])
    .await;
    let callers = callers(&app, &issuer, &signer).await;
    let document = app.get("/api/openapi.json").await.is(200).body;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let mut verdicts = Vec::new();
            for caller in &callers {
                verdicts.push(verdict(&app, &method, path, caller).await);
            }
            found.insert(format!("{method} {path}"), verdicts);
        }
    }
    assert!(found.len() > 40, "{}", found.len());

    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/access_table.txt");
    if std::env::var_os("DEIA_BLESS").is_some() {
        let mut text = HEAD.to_owned();
        let names: Vec<_> = callers.iter().map(|caller| caller.name).collect();
        write!(text, "#\n# {:<52} {}\n", "route", names.join(" ")).unwrap();
        for (route, verdicts) in &found {
            let cells = names.iter().zip(verdicts);
            let cells: Vec<_> = cells
                .map(|(name, verdict)| format!("{verdict:<w$}", w = name.len()))
                .collect();
            writeln!(text, "{route:<54} {}", cells.join(" ").trim_end()).unwrap();
        }
        fs::write(&file, text).unwrap();
    }
    let committed = committed(&fs::read_to_string(&file).unwrap());
    for (route, verdicts) in &found {
        let row = committed.get(route);
        let row = row.unwrap_or_else(|| panic!("{route} has no row in {}", file.display()));
        assert_eq!(verdicts, row, "{route}");
    }
    for route in committed.keys() {
        assert!(
            found.contains_key(route),
            "there is no route {route} any more"
        );
    }
}
