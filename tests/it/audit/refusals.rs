//! Queries that cannot be answered.

use serde_json::json;

use super::{QUERY, append, settled};
use crate::support::TestApp;

#[actix_rt::test]
async fn wrong_parameters_are_named() {
    let app = TestApp::start().await;
    let long = "x".repeat(513);
    for (path, parameter) in [
        ("query?limit=0".to_owned(), "limit"),
        ("query?limit=1001".into(), "limit"),
        ("query?limit=many".into(), "limit"),
        ("query?limit=1&limit=2".into(), "limit"),
        ("query?order=random".into(), "order"),
        ("query?level=severe".into(), "level"),
        ("query?min_level=".into(), "min_level"),
        ("query?result=ok".into(), "result"),
        ("query?action=".into(), "action"),
        ("query?action=Bot".into(), "action"),
        ("query?action=bot.".into(), "action"),
        ("query?action=bot%2A".into(), "action"),
        ("query?actor=".into(), "actor"),
        (format!("query?actor={long}"), "actor"),
        ("query?target=".into(), "target"),
        ("query?target_type=".into(), "target_type"),
        ("query?text=".into(), "text"),
        (format!("query?text={}", &long[..257]), "text"),
        ("query?after=yesterday".into(), "after"),
        ("query?before=2026-11-20".into(), "before"),
        ("query?after=2026-11-20T08:30:00+01:00".into(), "after"),
        ("query?from_entry=-1".into(), "from_entry"),
        ("query?to_entry=1.5".into(), "to_entry"),
        ("query?min_seq=18446744073709551616".into(), "min_seq"),
        ("query?max_seq=x".into(), "max_seq"),
        ("query?key=value".into(), "key"),
        ("query?format=csv".into(), "format"),
        (format!("actor/{long}"), "id"),
        ("actor/ada?actor=ada".into(), "actor"),
        ("target/x?target=x".into(), "target"),
        ("critical?level=info".into(), "level"),
        ("critical?min_level=info".into(), "min_level"),
        ("statistics?after=then".into(), "after"),
        ("statistics?limit=1".into(), "limit"),
        ("export?format=xml".into(), "format"),
        ("export?limit=1".into(), "limit"),
        ("export?action=%20".into(), "action"),
        ("consistency".into(), "from"),
        ("consistency?to=1".into(), "from"),
        ("consistency?from=x".into(), "from"),
        ("consistency?from=1&to=-1".into(), "to"),
        ("checkpoint?size=1".into(), "size"),
        ("log/checkpoint?size=1".into(), "size"),
        ("log/tile/0/000.p/1?x=1".into(), "x"),
        ("proof/0?x=1".into(), "x"),
    ] {
        let refused = app.get(&format!("/api/audit/{path}")).await;
        let refused = refused.refuses(422, "invalid_parameter");
        assert_eq!(refused.body["parameter"], parameter, "{path}");
    }
}

#[actix_rt::test]
async fn cursors_belong_to_one_list() {
    let app = TestApp::start().await;
    for n in 0..3 {
        append(&app, "ext.deploy", &format!("release {n}"), json!({})).await;
    }
    settled(&app).await;
    let page = app.get(&format!("{QUERY}?limit=1")).await.is(200).body;
    let cursor = page["next_cursor"].as_str().unwrap();
    app.get(&format!("{QUERY}?limit=1&cursor={cursor}"))
        .await
        .is(200);
    let of_events = app.get("/api/v1/events?limit=1").await.is(200).body;
    let of_events = of_events["next_cursor"].as_str().unwrap().to_owned();
    for path in [
        format!("{QUERY}?order=oldest&cursor={cursor}"),
        format!("{QUERY}?cursor={of_events}"),
        format!("{QUERY}?cursor=x{cursor}"),
        format!("{QUERY}?cursor="),
        format!("{QUERY}?cursor=%00"),
        format!("/api/audit/critical?cursor={of_events}"),
    ] {
        app.get(&path).await.refuses(422, "bad_cursor");
    }
    // That of a query is none of another list either.
    app.get(&format!("/api/v1/events?cursor={cursor}"))
        .await
        .refuses(422, "bad_cursor");
}

#[actix_rt::test]
async fn things_that_the_trail_does_not_have_are_404() {
    let app = TestApp::start().await;
    let size = settled(&app).await;
    for (path, kind) in [
        (format!("proof/{size}"), "entry"),
        ("proof/18446744073709551615".into(), "entry"),
        ("proof/nobody".into(), "entry"),
        ("proof/-1".into(), "entry"),
        ("log/tile/0/x001/000".into(), "tile"),
        // Not one that is full.
        ("log/tile/0/000".into(), "tile"),
        (format!("log/tile/0/000.p/{}", size + 1), "tile"),
        (format!("log/tile/entries/000.p/{}", size + 1), "tile"),
        ("log/tile/1/000.p/1".into(), "tile"),
        ("log/tile/64/000".into(), "tile"),
        ("log/tile/0/0".into(), "tile"),
        ("log/tile/0/000.p/0".into(), "tile"),
        ("log/tile/0/000.p/01".into(), "tile"),
        ("log/tile/data/000".into(), "tile"),
        ("log/tile/..%2F..%2Fprivate/names".into(), "tile"),
        ("log/tile/%2Fetc/passwd".into(), "tile"),
        ("log/tile/".into(), "tile"),
    ] {
        let refused = app.get(&format!("/api/audit/{path}")).await;
        let refused = refused.refuses(404, "not_found");
        assert_eq!(refused.body["missing"]["kind"], kind, "{path}");
    }
    for path in ["proof", "actor", "target/", "log/tile", "no-such"] {
        app.get(&format!("/api/audit/{path}"))
            .await
            .refuses(404, "route_not_found");
    }
    app.get("/api/audit/log")
        .await
        .refuses(405, "method_not_allowed");
    app.post(QUERY, &json!({}))
        .await
        .refuses(405, "method_not_allowed");
    for (query, parameter) in [
        (format!("from=0&to={}", size + 1), "from"),
        (format!("from={}", size + 1), "from"),
        ("from=2&to=1".into(), "from"),
    ] {
        let refused = app.get(&format!("/api/audit/consistency?{query}")).await;
        let refused = refused.refuses(422, "invalid_parameter");
        assert_eq!(refused.body["parameter"], parameter, "{query}");
    }
}
